//! The [`Kernels`](crate::Kernels) of each instruction set: check the lengths, enter the instruction
//! set once, call the shared algorithm.
//!
//! A value of these types exists only where `dispatch` found the instruction set; that is what
//! makes each entry sound. The portable ones need only the baseline of the target.

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
pub(crate) struct PortableKernels;

/// The float operations of one instruction set: each generic algorithm inside a function that has
/// the features. Sets that differ in their integer products alone share them.
macro_rules! native_entries {
    ($entries:ident, $lanes:ty, $features:literal) => {
        mod $entries {
            use super::*;
            use crate::Activation;
            use crate::attention::flash::{self, Target};
            use crate::attention::join::{self, Gathered};
            use crate::attention::setting::Setting;
            use crate::attention::{KvDataMut, KvLayout, KvRows, KvRun, store};
            use crate::matmul::{
                FloatRows, OutputTile, QuantizedRowMut, TileRange, WordRowMut, dense,
            };
            use crate::ops::{activation, norm, quantize, rope, softmax};
            use crate::weights::PackedMatrix;

            #[target_feature(enable = $features)]
            pub(super) unsafe fn rms_norm(
                input: &[f32],
                weight: &[f32],
                epsilon: f32,
                output: &mut [f32],
            ) {
                // SAFETY: the features are on; `Native` checked the lengths.
                unsafe { norm::rms_norm::<$lanes>(input, weight, epsilon, output) }
            }
            #[target_feature(enable = $features)]
            pub(super) unsafe fn add(input: &[f32], accumulator: &mut [f32]) {
                // SAFETY: as above.
                unsafe { norm::add::<$lanes>(input, accumulator) }
            }
            #[target_feature(enable = $features)]
            pub(super) unsafe fn rotate(
                heads: &mut [f32],
                head_dim: usize,
                cosines: &[f32],
                sines: &[f32],
            ) {
                for head in heads.chunks_exact_mut(head_dim) {
                    // SAFETY: as above.
                    unsafe { rope::rotate::<$lanes>(head, cosines, sines) }
                }
            }
            #[target_feature(enable = $features)]
            pub(super) unsafe fn gate(
                kind: Activation,
                gate: &[f32],
                up: &[f32],
                output: &mut [f32],
            ) {
                // SAFETY: as above.
                unsafe { activation::gate::<$lanes>(kind, gate, up, output) }
            }
            #[target_feature(enable = $features)]
            pub(super) unsafe fn soft_cap(values: &mut [f32], cap: f32) {
                // SAFETY: as above.
                unsafe { activation::soft_cap::<$lanes>(values, cap) }
            }
            #[target_feature(enable = $features)]
            pub(super) unsafe fn softmax(input: &[f32], output: &mut [f32]) {
                // SAFETY: as above.
                unsafe { softmax::softmax::<$lanes>(input, output) }
            }
            #[target_feature(enable = $features)]
            pub(super) unsafe fn weight_sums(values: &[f32], scale: (f32, f32), sums: &mut [f32]) {
                // SAFETY: as above.
                unsafe { softmax::weight_sums::<$lanes>(values, scale, sums) }
            }
            #[target_feature(enable = $features)]
            pub(super) unsafe fn quantize(input: &[f32], row: &mut QuantizedRowMut<'_>) {
                // SAFETY: as above.
                unsafe { quantize::quantize::<$lanes>(input, row) }
            }
            #[target_feature(enable = $features)]
            pub(super) unsafe fn quantize_words(input: &[f32], row: &mut WordRowMut<'_>) {
                // SAFETY: as above.
                unsafe { quantize::quantize_words::<$lanes>(input, row) }
            }
            #[target_feature(enable = $features)]
            pub(super) unsafe fn multiply_float(
                matrix: &PackedMatrix,
                rows: FloatRows<'_>,
                range: &TileRange,
                output: &mut OutputTile<'_>,
            ) {
                // SAFETY: as above.
                unsafe { dense::multiply::<$lanes>(matrix, rows, range, output) }
            }
            #[target_feature(enable = $features)]
            pub(super) unsafe fn gather(
                setting: Setting<'_>,
                segments: std::ops::Range<usize>,
                target: Target<'_, '_>,
            ) {
                // SAFETY: as above.
                unsafe { flash::gather::<$lanes>(setting, segments, target) }
            }
            #[target_feature(enable = $features)]
            pub(super) unsafe fn finish(gathered: &mut Gathered<'_>) {
                // SAFETY: as above.
                unsafe { join::finish::<$lanes>(gathered) }
            }
            #[target_feature(enable = $features)]
            pub(super) unsafe fn join_parts(parts: &[f32], gathered: &mut Gathered<'_>) {
                // SAFETY: as above.
                unsafe { join::join_parts::<$lanes>(parts, gathered) }
            }
            #[target_feature(enable = $features)]
            pub(super) unsafe fn store_run(
                layout: KvLayout,
                rows: KvRows<'_>,
                run: KvRun,
                piece: &mut KvDataMut<'_>,
            ) {
                // SAFETY: as above.
                unsafe { store::store_run::<$lanes>(layout, rows, run, piece) }
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
                        // SAFETY: `self` proves the instruction set; the rows are of one length.
                        unsafe { $entries::rms_norm(input, weight, epsilon, output) }
                    }
                }
                fn add(&self, input: &[f32], accumulator: &mut [f32]) {
                    assert_eq!(input.len(), accumulator.len());
                    // SAFETY: as above.
                    unsafe { $entries::add(input, accumulator) }
                }
                fn rotate(
                    &self,
                    heads: &mut [f32],
                    head_dim: usize,
                    cosines: &[f32],
                    sines: &[f32],
                ) {
                    assert!(cosines.len() == sines.len() && 2 * cosines.len() <= head_dim);
                    // SAFETY: `self` proves the instruction set; both halves lie inside each head.
                    unsafe { $entries::rotate(heads, head_dim, cosines, sines) }
                }
                fn gate(
                    &self,
                    activation: Activation,
                    gate: &[f32],
                    up: &[f32],
                    output: &mut [f32],
                ) {
                    assert!(gate.len() == up.len() && gate.len() == output.len());
                    // SAFETY: as above.
                    unsafe { $entries::gate(activation, gate, up, output) }
                }
                fn soft_cap(&self, values: &mut [f32], cap: f32) {
                    // SAFETY: `self` proves the instruction set.
                    unsafe { $entries::soft_cap(values, cap) }
                }
                fn softmax(&self, input: &[f32], output: &mut [f32]) {
                    assert_eq!(input.len(), output.len());
                    // SAFETY: as above.
                    unsafe { $entries::softmax(input, output) }
                }
                fn weight_sums(&self, values: &[f32], scale: (f32, f32), sums: &mut [f32]) {
                    // SAFETY: as above.
                    unsafe { $entries::weight_sums(values, scale, sums) }
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
                    // SAFETY: as above; the row fits.
                    unsafe { $entries::quantize(input, row) }
                }
                fn multiply_quantized(
                    &self,
                    matrix: &PackedMatrix,
                    rows: &QuantizedRows,
                    range: &TileRange,
                    output: &mut OutputTile<'_>,
                ) {
                    check_product(matrix, (rows.tokens(), rows.columns()), range, output);
                    // SAFETY: as above; the range lies inside.
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
                    // SAFETY: as above; the row fits.
                    unsafe { $entries::quantize_words(input, row) }
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
                    // SAFETY: `self` proves the instruction set; the range lies inside.
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
                    // SAFETY: as above; the range lies inside.
                    unsafe { $entries::multiply_float(matrix, rows, range, output) }
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
                    // SAFETY: `self` proves the instruction set; the task was checked.
                    unsafe {
                        $entries::gather(setting, segments, Target::Joined(&mut gathered));
                        $entries::finish(&mut gathered);
                    }
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
                    // SAFETY: as above.
                    unsafe { $entries::gather(setting, segments, Target::Parts(parts)) }
                }
                fn join_segments(&self, parts: &[f32], head_dim: usize, output: &mut RowsMut<'_>) {
                    let rows = join::check_parts(parts, head_dim, output);
                    let mut statistics = vec![0.0; 2 * rows];
                    let mut gathered = Gathered::new(output.reborrow(), &mut statistics);
                    // SAFETY: as above.
                    unsafe {
                        $entries::join_parts(parts, &mut gathered);
                        $entries::finish(&mut gathered);
                    }
                }
                fn store_kv(
                    &self,
                    layout: KvLayout,
                    rows: KvRows<'_>,
                    run: KvRun,
                    piece: &mut KvDataMut<'_>,
                ) {
                    run.check(&rows, layout, piece);
                    // SAFETY: as above; the run was checked.
                    unsafe { $entries::store_run(layout, rows, run, piece) }
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
