//! `Kernels` over the functions that enter an instruction set: check the lengths, enter it.

/// The `Kernels` of one instruction set, over its entries.
macro_rules! native_kernels {
    ($module:ident, $kernels:ident, ($entries:ident, $attention:ident), $name:literal, $multiply_quantized:path, $multiply_words:expr) => {
        mod $module {
            use super::*;
            use crate::attention::flash::Target;
            use crate::attention::join::{self, Gathered};
            use crate::attention::setting::Setting;
            use crate::attention::{AttentionTask, KvDataMut, KvLayout, KvRows, KvRun, RowsMut};
            use crate::kernels::Kernels;
            use crate::lora::{LoraNumbers, Meeting, RowDelta, rows};
            use crate::matmul::{
                FloatProduct, FloatRows, OutputRows, OutputTile, QuantizedRowMut, QuantizedRows,
                TileRange, WordRowMut, WordRows, check_product, takes_words, transposed, turn_over,
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
                fn add_scaled(&self, factor: f32, input: &[f32], accumulator: &mut [f32]) {
                    assert_eq!(input.len(), accumulator.len());
                    // SAFETY: `self` proves the features.
                    unsafe { $entries::add_scaled(self.lanes, factor, input, accumulator) }
                }
                fn dot(&self, first: &[f32], second: &[f32]) -> f32 {
                    assert_eq!(first.len(), second.len());
                    // SAFETY: `self` proves the features.
                    unsafe { $entries::dot(self.lanes, first, second) }
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
                fn log_softmax(&self, input: &[f32], logs: &mut [f32], shares: &mut [f32]) {
                    assert!(input.len() == logs.len() && input.len() == shares.len());
                    // SAFETY: `self` proves the features.
                    unsafe { $entries::log_softmax(self.lanes, input, logs, shares) }
                }
                fn block_maxima(&self, values: &[f32], maxima: &mut [f32]) {
                    assert_eq!(maxima.len(), values.len().div_ceil(plain::WEIGHT_BLOCK));
                    // SAFETY: `self` proves the features.
                    unsafe { $entries::block_maxima(self.lanes, values, maxima) }
                }
                fn decode_rows(&self, matrix: &PackedMatrix, rows: &[u32], output: &mut [f32]) {
                    assert_eq!(output.len(), rows.len() * matrix.columns());
                    // SAFETY: `self` proves the features.
                    unsafe { $entries::decode_rows(self.lanes, matrix, rows, output) }
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
                fn multiply_transposed(
                    &self,
                    matrix: &PackedMatrix,
                    rows: OutputRows<'_>,
                    blocks: &std::ops::Range<usize>,
                    output: &mut OutputTile<'_>,
                ) {
                    transposed::check(matrix, rows, blocks, output);
                    // SAFETY: `self` proves the features, and the product was checked.
                    unsafe {
                        $entries::multiply_transposed(self.lanes, matrix, rows, blocks, output)
                    }
                }
                fn turn_over(&self, matrix: &PackedMatrix, block: usize, panel: &mut PackedMatrix) {
                    turn_over::check(matrix, block, panel);
                    // SAFETY: `self` proves the features.
                    unsafe { $entries::turn_over(self.lanes, matrix, block, panel) }
                }
                fn add_product(&self, product: &FloatProduct<'_>, output: &mut OutputTile<'_>) {
                    product.check((output.rows(), output.columns()));
                    // SAFETY: `self` proves the features, and the product was checked.
                    unsafe { $entries::add_product(self.lanes, product, output) }
                }
                fn rms_norm_backward(
                    &self,
                    input: &[f32],
                    (weight, epsilon): (&[f32], f32),
                    output_gradient: &[f32],
                    gradient: &mut [f32],
                ) {
                    assert!(input.len() == output_gradient.len() && input.len() == gradient.len());
                    let width = weight.len();
                    let rows = input
                        .chunks_exact(width)
                        .zip(output_gradient.chunks_exact(width))
                        .zip(gradient.chunks_exact_mut(width));
                    for ((input, output), gradient) in rows {
                        let norm = (input, weight, epsilon);
                        // SAFETY: `self` proves the features.
                        unsafe { $entries::rms_norm_backward(self.lanes, norm, output, gradient) }
                    }
                }
                fn gate_backward(
                    &self,
                    activation: Activation,
                    output_gradient: &[f32],
                    (gate, up): (&mut [f32], &mut [f32]),
                ) {
                    assert!(gate.len() == up.len() && gate.len() == output_gradient.len());
                    let halves = (gate, up);
                    // SAFETY: `self` proves the features.
                    unsafe {
                        $entries::gate_backward(self.lanes, activation, output_gradient, halves)
                    }
                }
                fn attend(&self, tiers: &[AttentionTask<'_>], output: &mut RowsMut<'_>) {
                    let [first, ..] = tiers else { return };
                    let dimensions = first.check();
                    dimensions.check_output(output);
                    let mut statistics = vec![0.0; 2 * dimensions.rows()];
                    let mut gathered = Gathered::new(output.reborrow(), &mut statistics);
                    let mut layout = first.kv.layout;
                    for task in tiers {
                        let setting = Setting::new(task);
                        assert_eq!(setting.dimensions, dimensions, "tiers of different shapes");
                        join::pass_on(layout, task.kv.layout, &mut gathered);
                        layout = task.kv.layout;
                        let target = Target::Joined(&mut gathered);
                        $attention::gather(self.pairs, (setting, task.segments()), target);
                    }
                    // SAFETY: `self` proves the features.
                    unsafe { $entries::finish(self.lanes, layout, &mut gathered) }
                }
                fn attend_segments(
                    &self,
                    task: &AttentionTask<'_>,
                    (segments, parts): (std::ops::Range<usize>, &mut [f32]),
                ) {
                    let setting = Setting::new(task);
                    let length = setting.dimensions.part_length();
                    assert_eq!(parts.len(), segments.len() * length, "parts");
                    let target = Target::Parts(parts);
                    $attention::gather(self.pairs, (setting, segments), target);
                }
                fn join_segments(&self, tiers: &[(KvLayout, &[f32])], output: &mut RowsMut<'_>) {
                    let (rows, _) = join::check_parts(tiers, output);
                    let mut statistics = vec![0.0; 2 * rows];
                    let mut gathered = Gathered::new(output.reborrow(), &mut statistics);
                    let mut layout = tiers[0].0;
                    for (own, parts) in tiers {
                        join::pass_on(layout, *own, &mut gathered);
                        layout = *own;
                        // SAFETY: `self` proves the features.
                        unsafe { $entries::join_parts(self.lanes, parts, &mut gathered) }
                    }
                    // SAFETY: `self` proves the features, here too.
                    unsafe { $entries::finish(self.lanes, layout, &mut gathered) }
                }
                fn lora_reduce(
                    &self,
                    a: LoraNumbers<'_>,
                    x: FloatRows<'_>,
                    (reduced, stride): (&mut [f32], usize),
                ) {
                    rows::check_reduce(a, x, reduced, stride);
                    // SAFETY: `self` proves the features.
                    unsafe { $entries::lora_reduce(self.lanes, a, x, (reduced, stride)) }
                }
                fn lora_expand(
                    &self,
                    delta: &RowDelta<'_>,
                    meeting: &Meeting,
                    tile: &mut OutputTile<'_>,
                ) {
                    meeting.check(delta, tile);
                    // SAFETY: `self` proves the features, and the meeting was checked.
                    unsafe { $entries::lora_expand(self.lanes, delta, meeting, tile) }
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
