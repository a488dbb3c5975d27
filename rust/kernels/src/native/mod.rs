//! The [`Kernels`](crate::Kernels) of each instruction set: check the lengths, enter the instruction
//! set once, call the shared algorithm.
//!
//! A value of these types exists only where the instruction set was found, and has the one that proves it in it: with
//! that an entry is called, and from there on what touches registers alone is safe.

#[cfg(target_arch = "aarch64")]
pub(crate) mod aarch64;
#[cfg(target_arch = "x86_64")]
pub(crate) mod x86;

use crate::matmul::{OutputTile, TileRange, WordRows, quantized_portable};
use crate::simd::portable::PortableLanes;
use crate::weights::PackedMatrix;

/// A product of 16-bit weights in integers, where an instruction set has a fast one.
type MultiplyWords = unsafe fn(&PackedMatrix, &WordRows, &TileRange, &mut OutputTile<'_>);

/// Plain loops, vectorized by the compiler for the baseline of the target.
#[derive(Debug)]
pub(crate) struct PortableKernels {
    lanes: PortableLanes,
}

impl PortableKernels {
    /// They run everywhere.
    pub(crate) fn new() -> Self {
        Self {
            lanes: PortableLanes,
        }
    }
}

/// The float operations of one instruction set: each generic algorithm inside a function that has
/// the features, which a value of its [`Lanes`](crate::simd::Lanes) proves. Sets that differ in their integer products
/// alone share them.
macro_rules! native_entries {
    ($entries:ident, $lanes:ty, $features:literal) => {
        mod $entries {
            use super::*;
            use crate::Activation;
            use crate::attention::flash::{self, Target, Tile};
            use crate::attention::join::{self, Gathered};
            use crate::attention::product::Stored;
            use crate::attention::scratch::Scratch;
            use crate::attention::setting::{QUERY_ROWS, Setting};
            use crate::attention::tile::{self, Walk};
            use crate::attention::{KvData, KvDataMut, KvLayout, KvRows, KvRun, store};
            use crate::lora::{LoraNumbers, rows};
            use crate::matmul::{
                FloatRows, OutputTile, QuantizedRowMut, TileRange, WordRowMut, dense,
            };
            use crate::ops::{activation, norm, quantize, rope, softmax};
            use crate::weights::PackedMatrix;

            #[target_feature(enable = $features)]
            pub(super) fn rms_norm(
                lanes: $lanes,
                input: &[f32],
                weight: &[f32],
                epsilon: f32,
                output: &mut [f32],
            ) {
                norm::rms_norm(lanes, input, weight, epsilon, output);
            }
            #[target_feature(enable = $features)]
            pub(super) fn add(lanes: $lanes, input: &[f32], accumulator: &mut [f32]) {
                norm::add(lanes, input, accumulator);
            }
            #[target_feature(enable = $features)]
            pub(super) fn rotate(
                lanes: $lanes,
                heads: &mut [f32],
                head_dim: usize,
                cosines: &[f32],
                sines: &[f32],
            ) {
                for head in heads.chunks_exact_mut(head_dim) {
                    rope::rotate(lanes, head, cosines, sines);
                }
            }
            #[target_feature(enable = $features)]
            pub(super) fn gate(
                lanes: $lanes,
                kind: Activation,
                gate: &[f32],
                up: &[f32],
                output: &mut [f32],
            ) {
                activation::gate(lanes, kind, gate, up, output);
            }
            #[target_feature(enable = $features)]
            pub(super) fn soft_cap(lanes: $lanes, values: &mut [f32], cap: f32) {
                activation::soft_cap(lanes, values, cap);
            }
            #[target_feature(enable = $features)]
            pub(super) fn softmax(lanes: $lanes, input: &[f32], output: &mut [f32]) {
                softmax::softmax(lanes, input, output);
            }
            #[target_feature(enable = $features)]
            pub(super) fn weight_sums(
                lanes: $lanes,
                values: &[f32],
                scale: (f32, f32),
                sums: &mut [f32],
            ) {
                softmax::weight_sums(lanes, values, scale, sums);
            }
            #[target_feature(enable = $features)]
            pub(super) fn quantize(lanes: $lanes, input: &[f32], row: &mut QuantizedRowMut<'_>) {
                quantize::quantize(lanes, input, row);
            }
            #[target_feature(enable = $features)]
            pub(super) fn quantize_words(lanes: $lanes, input: &[f32], row: &mut WordRowMut<'_>) {
                quantize::quantize_words(lanes, input, row);
            }
            /// # Safety
            ///
            /// `check_product` passed.
            #[target_feature(enable = $features)]
            pub(super) unsafe fn multiply_float(
                lanes: $lanes,
                matrix: &PackedMatrix,
                rows: FloatRows<'_>,
                range: &TileRange,
                output: &mut OutputTile<'_>,
            ) {
                // SAFETY: the caller checked the product.
                unsafe { dense::multiply(lanes, matrix, rows, range, output) }
            }
            pub(super) fn gather(
                lanes: $lanes,
                setting: Setting<'_>,
                segments: std::ops::Range<usize>,
                target: Target<'_, '_>,
            ) {
                match setting.kv.data {
                    KvData::F32(data) => {
                        flash::gather(lanes, data, setting, segments, target, tiles())
                    }
                    KvData::F16(data) => {
                        flash::gather(lanes, data, setting, segments, target, tiles())
                    }
                    KvData::I8(data) => {
                        flash::gather(lanes, data, setting, segments, target, tiles())
                    }
                }
            }
            fn tiles<S: Stored>() -> [Tile<$lanes, S>; QUERY_ROWS] {
                [
                    tile::<S, 1>,
                    tile::<S, 2>,
                    tile::<S, 3>,
                    tile::<S, 4>,
                    tile::<S, 5>,
                    tile::<S, 6>,
                ]
            }
            /// # Safety
            ///
            /// As of the tile itself.
            #[target_feature(enable = $features)]
            unsafe fn tile<S: Stored, const ROWS: usize>(
                walk: &mut Walk<'_, '_, $lanes, S>,
                first_row: usize,
                scratch: &Scratch,
                gathered: &mut Gathered<'_>,
            ) {
                // SAFETY: what the caller promises.
                unsafe { tile::tile::<$lanes, S, ROWS>(walk, first_row, scratch, gathered) }
            }
            #[target_feature(enable = $features)]
            pub(super) fn finish(lanes: $lanes, gathered: &mut Gathered<'_>) {
                join::finish(lanes, gathered);
            }
            #[target_feature(enable = $features)]
            pub(super) fn join_parts(lanes: $lanes, parts: &[f32], gathered: &mut Gathered<'_>) {
                join::join_parts(lanes, parts, gathered);
            }
            #[target_feature(enable = $features)]
            pub(super) fn lora_reduce(
                lanes: $lanes,
                a: LoraNumbers<'_>,
                x: &[f32],
                reduced: &mut [f32],
            ) {
                match a {
                    LoraNumbers::F32(a) => rows::reduce(lanes, a, x, reduced),
                    LoraNumbers::F16(a) => rows::reduce(lanes, a, x, reduced),
                }
            }
            /// # Safety
            ///
            /// `b` is `reduced.len()` rows of its width, and `first + y.len()` is within that.
            #[target_feature(enable = $features)]
            pub(super) unsafe fn lora_expand(
                lanes: $lanes,
                (b, outputs): (LoraNumbers<'_>, usize),
                first: usize,
                reduced: &[f32],
                y: &mut [f32],
            ) {
                // SAFETY: what the caller promises.
                unsafe {
                    match b {
                        LoraNumbers::F32(b) => rows::expand(lanes, (b, outputs), first, reduced, y),
                        LoraNumbers::F16(b) => rows::expand(lanes, (b, outputs), first, reduced, y),
                    }
                }
            }
            /// # Safety
            ///
            /// `KvRun::check` passed.
            #[target_feature(enable = $features)]
            pub(super) unsafe fn store_run(
                lanes: $lanes,
                layout: KvLayout,
                rows: KvRows<'_>,
                run: KvRun,
                piece: &mut KvDataMut<'_>,
            ) {
                // SAFETY: the caller checked the run.
                unsafe { store::store_run(lanes, layout, rows, run, piece) }
            }
        }
    };
}
pub(crate) use native_entries;

/// The `Kernels` of one instruction set, over its entries.
macro_rules! native_kernels {
    ($module:ident, $kernels:ident, $entries:ident, $name:literal, $multiply_quantized:path, $multiply_words:expr) => {
        mod $module {
            use super::*;
            use crate::attention::flash::Target;
            use crate::attention::join::{self, Gathered};
            use crate::attention::setting::Setting;
            use crate::attention::{
                AttentionShape, AttentionTask, KvDataMut, KvLayout, KvRows, KvRun, KvView, RowsMut,
            };
            use crate::kernels::Kernels;
            use crate::lora::LoraNumbers;
            use crate::matmul::{
                FloatRows, OutputTile, QuantizedRowMut, QuantizedRows, TileRange, WordRowMut,
                WordRows, check_product, takes_words,
            };
            use crate::native::MultiplyWords;
            use crate::weights::{BLOCK_INPUTS, PackedMatrix};
            use crate::{Activation, plain};

            const MULTIPLY_WORDS: Option<MultiplyWords> = $multiply_words;

            impl Kernels for $kernels {
                fn name(&self) -> &'static str {
                    $name
                }
                fn rms_norm(
                    &self,
                    input: &[f32],
                    weight: &[f32],
                    epsilon: f32,
                    output: &mut [f32],
                ) {
                    assert_eq!(input.len(), output.len());
                    let rows = input
                        .chunks_exact(weight.len())
                        .zip(output.chunks_exact_mut(weight.len()));
                    for (input, output) in rows {
                        // SAFETY: `self` proves the features.
                        unsafe { $entries::rms_norm(self.lanes, input, weight, epsilon, output) }
                    }
                }
                fn add(&self, input: &[f32], accumulator: &mut [f32]) {
                    assert_eq!(input.len(), accumulator.len());
                    // SAFETY: `self` proves the features.
                    unsafe { $entries::add(self.lanes, input, accumulator) }
                }
                fn rotate(
                    &self,
                    heads: &mut [f32],
                    head_dim: usize,
                    cosines: &[f32],
                    sines: &[f32],
                ) {
                    assert!(cosines.len() == sines.len() && 2 * cosines.len() <= head_dim);
                    // SAFETY: `self` proves the features.
                    unsafe { $entries::rotate(self.lanes, heads, head_dim, cosines, sines) }
                }
                fn gate(
                    &self,
                    activation: Activation,
                    gate: &[f32],
                    up: &[f32],
                    output: &mut [f32],
                ) {
                    assert!(gate.len() == up.len() && gate.len() == output.len());
                    // SAFETY: `self` proves the features.
                    unsafe { $entries::gate(self.lanes, activation, gate, up, output) }
                }
                fn soft_cap(&self, values: &mut [f32], cap: f32) {
                    // SAFETY: `self` proves the features.
                    unsafe { $entries::soft_cap(self.lanes, values, cap) }
                }
                fn softmax(&self, input: &[f32], output: &mut [f32]) {
                    assert_eq!(input.len(), output.len());
                    // SAFETY: `self` proves the features.
                    unsafe { $entries::softmax(self.lanes, input, output) }
                }
                fn weight_sums(&self, values: &[f32], scale: (f32, f32), sums: &mut [f32]) {
                    // SAFETY: `self` proves the features.
                    unsafe { $entries::weight_sums(self.lanes, values, scale, sums) }
                }
                fn quantize(&self, input: &[f32], row: &mut QuantizedRowMut<'_>) {
                    let blocks = input.len() / BLOCK_INPUTS;
                    assert!(
                        row.quants.len() == input.len() && blocks * BLOCK_INPUTS == input.len()
                    );
                    assert!(row.scales.len() == blocks && row.block_sums.len() == blocks);
                    assert!(
                        row.half_sums.len() == 2 * blocks && row.half_debts.len() == 2 * blocks
                    );
                    assert_eq!(row.block_debts.len(), blocks);
                    // SAFETY: `self` proves the features.
                    unsafe { $entries::quantize(self.lanes, input, row) }
                }
                fn multiply_quantized(
                    &self,
                    matrix: &PackedMatrix,
                    rows: &QuantizedRows,
                    range: &TileRange,
                    output: &mut OutputTile<'_>,
                ) {
                    check_product(matrix, (rows.tokens(), rows.columns()), range, output);
                    // SAFETY: `self` proves the features of the products too, and the product was checked.
                    if !unsafe { $multiply_quantized(matrix, rows, range, output) } {
                        plain::multiply_quantized(matrix, rows, range, output);
                    }
                }
                fn has_word_products(&self) -> bool {
                    MULTIPLY_WORDS.is_some()
                }
                fn quantize_words(&self, input: &[f32], row: &mut WordRowMut<'_>) {
                    let blocks = input.len() / BLOCK_INPUTS;
                    assert!(row.words.len() == input.len() && blocks * BLOCK_INPUTS == input.len());
                    assert_eq!(row.scales.len(), blocks);
                    // SAFETY: `self` proves the features.
                    unsafe { $entries::quantize_words(self.lanes, input, row) }
                }
                fn multiply_words(
                    &self,
                    matrix: &PackedMatrix,
                    rows: &WordRows,
                    range: &TileRange,
                    output: &mut OutputTile<'_>,
                ) {
                    let Some(multiply_words) = MULTIPLY_WORDS else {
                        return plain::multiply_words(matrix, rows, range, output);
                    };
                    check_product(matrix, (rows.tokens(), rows.columns()), range, output);
                    assert!(takes_words(matrix), "words meet 16-bit weights alone");
                    // SAFETY: `self` proves the features of the products too; the matrix has 16-bit weights, and
                    // the product was checked.
                    unsafe { multiply_words(matrix, rows, range, output) }
                }
                fn multiply_float(
                    &self,
                    matrix: &PackedMatrix,
                    rows: FloatRows<'_>,
                    range: &TileRange,
                    output: &mut OutputTile<'_>,
                ) {
                    check_product(
                        matrix,
                        (rows.values.len() / rows.columns, rows.columns),
                        range,
                        output,
                    );
                    // SAFETY: `self` proves the features, and the product was checked.
                    unsafe { $entries::multiply_float(self.lanes, matrix, rows, range, output) }
                }
                fn attend(
                    &self,
                    kv: &KvView<'_>,
                    shape: &AttentionShape,
                    task: &AttentionTask<'_>,
                    output: &mut RowsMut<'_>,
                ) {
                    let setting = Setting::new(kv, shape, task);
                    setting.dimensions.check_output(output);
                    let mut statistics = vec![0.0; 2 * setting.dimensions.rows()];
                    let mut gathered = Gathered::new(output.reborrow(), &mut statistics);
                    let segments = task.segments(shape.window);
                    let target = Target::Joined(&mut gathered);
                    $entries::gather(self.lanes, setting, segments, target);
                    // SAFETY: `self` proves the features.
                    unsafe { $entries::finish(self.lanes, &mut gathered) }
                }
                fn attend_segments(
                    &self,
                    kv: &KvView<'_>,
                    shape: &AttentionShape,
                    task: &AttentionTask<'_>,
                    (segments, parts): (std::ops::Range<usize>, &mut [f32]),
                ) {
                    let setting = Setting::new(kv, shape, task);
                    let length = setting.dimensions.part_length();
                    assert_eq!(parts.len(), segments.len() * length, "parts");
                    $entries::gather(self.lanes, setting, segments, Target::Parts(parts));
                }
                fn join_segments(&self, parts: &[f32], head_dim: usize, output: &mut RowsMut<'_>) {
                    let rows = join::check_parts(parts, head_dim, output);
                    let mut statistics = vec![0.0; 2 * rows];
                    let mut gathered = Gathered::new(output.reborrow(), &mut statistics);
                    // SAFETY: `self` proves the features.
                    unsafe {
                        $entries::join_parts(self.lanes, parts, &mut gathered);
                        $entries::finish(self.lanes, &mut gathered);
                    }
                }
                fn lora_reduce(&self, a: LoraNumbers<'_>, x: &[f32], reduced: &mut [f32]) {
                    assert_eq!(a.len(), reduced.len() * x.len(), "A of {} inputs", x.len());
                    // SAFETY: `self` proves the features.
                    unsafe { $entries::lora_reduce(self.lanes, a, x, reduced) }
                }
                fn lora_expand(
                    &self,
                    b: (LoraNumbers<'_>, usize),
                    first: usize,
                    reduced: &[f32],
                    y: &mut [f32],
                ) {
                    assert!(
                        b.0.len() == reduced.len() * b.1 && first + y.len() <= b.1,
                        "B of {} outputs",
                        b.1
                    );
                    // SAFETY: `self` proves the features, and the lengths were checked.
                    unsafe { $entries::lora_expand(self.lanes, b, first, reduced, y) }
                }
                fn store_kv(
                    &self,
                    layout: KvLayout,
                    rows: KvRows<'_>,
                    run: KvRun,
                    piece: &mut KvDataMut<'_>,
                ) {
                    run.check(&rows, layout, piece);
                    // SAFETY: `self` proves the features, and the run was checked.
                    unsafe { $entries::store_run(self.lanes, layout, rows, run, piece) }
                }
            }
        }
    };
}
pub(crate) use native_kernels;

// The macro names the features of an entry; here they are ones that every machine of the target has.
#[cfg(target_arch = "x86_64")]
native_entries!(portable_entries, PortableLanes, "sse2");
#[cfg(target_arch = "aarch64")]
native_entries!(portable_entries, PortableLanes, "neon");
native_kernels!(
    portable,
    PortableKernels,
    portable_entries,
    "portable",
    quantized_portable::multiply,
    None
);
