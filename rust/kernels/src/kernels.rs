//! The whole border to arithmetic: one method an operation, each with the plain program as default.
//!
//! An implementation overrides what it speeds up. Every method checks the lengths it is given and
//! panics where a caller breaks them: callers are this workspace's own code, and values from files
//! were checked when they were loaded.

use std::ops::Range;
use std::sync::Arc;

use crate::attention::{self, AttentionTask, KvDataMut, KvLayout, KvRows, KvRun, RowsMut};
use crate::kv_groups::{self, KvGroups};
use crate::lora::{self, LoraAdapter, LoraNumbers, Meeting, RowDelta};
use crate::matmul::{
    FloatProduct, FloatRows, OutputRows, OutputTile, QuantizedRowMut, QuantizedRows, TileRange,
    WordRowMut, WordRows, float_product, transposed, turn_over,
};
use crate::weights::PackedMatrix;
use crate::{Activation, plain};

/// An implementation of the arithmetic.
pub trait Kernels: Send + Sync + std::fmt::Debug {
    /// What `RUVLLM_ISA` calls it.
    fn name(&self) -> &'static str;

    /// What a whole step computes with, where that may be exchanged between two steps; `None`: this.
    fn for_step(&self) -> Option<Arc<dyn Kernels>> {
        None
    }

    /// RMSNorm of each row of `weight.len()` values.
    fn rms_norm(&self, input: &[f32], weight: &[f32], epsilon: f32, output: &mut [f32]) {
        plain::rms_norm(input, weight, epsilon, output);
    }

    /// `accumulator += input`
    fn add(&self, input: &[f32], accumulator: &mut [f32]) {
        plain::add(input, accumulator);
    }

    /// `accumulator += factor * input`
    fn add_scaled(&self, factor: f32, input: &[f32], accumulator: &mut [f32]) {
        plain::add_scaled(factor, input, accumulator);
    }

    /// The sum of the products of two rows.
    fn dot(&self, first: &[f32], second: &[f32]) -> f32 {
        plain::dot(first, second)
    }

    /// Rotates the first `2 * cosines.len()` dimensions of every head of `head_dim` values.
    fn rotate(&self, heads: &mut [f32], head_dim: usize, cosines: &[f32], sines: &[f32]) {
        plain::rotate(heads, head_dim, cosines, sines);
    }

    /// `output = activation(gate) * up`
    fn gate(&self, activation: Activation, gate: &[f32], up: &[f32], output: &mut [f32]) {
        plain::gate(activation, gate, up, output);
    }

    /// [`Self::gate`] of as many rows as a rectangle has.
    fn gate_rows(
        &self,
        activation: Activation,
        gate: &[f32],
        up: &[f32],
        output: &mut OutputTile<'_>,
    ) {
        let columns = output.columns();
        let rows = gate.chunks_exact(columns).zip(up.chunks_exact(columns));
        for (row, (gate, up)) in rows.enumerate() {
            self.gate(activation, gate, up, output.row_mut(row));
        }
    }

    /// `x = cap * tanh(x / cap)`
    fn soft_cap(&self, values: &mut [f32], cap: f32) {
        plain::soft_cap(values, cap);
    }

    /// `e^x / sum(e^x)`; -infinity becomes 0, and a row of nothing else, or with NaN, NaN.
    fn softmax(&self, input: &[f32], output: &mut [f32]) {
        plain::softmax(input, output);
    }

    /// The logarithms of a row's [`Self::softmax`], each as exact where the share itself is too small for a number, and the
    /// shares.
    fn log_softmax(&self, input: &[f32], logs: &mut [f32], shares: &mut [f32]) {
        plain::log_softmax(input, logs, shares);
    }

    /// The largest of every [`WEIGHT_BLOCK`](crate::WEIGHT_BLOCK) values; NaN is passed over, and a block of nothing else has
    /// -infinity.
    fn block_maxima(&self, values: &[f32], maxima: &mut [f32]) {
        plain::block_maxima(values, maxima);
    }

    /// For every [`WEIGHT_BLOCK`](crate::WEIGHT_BLOCK) values the sum of `e^((value - maximum) * inverse_temperature)`.
    ///
    /// What is above the maximum weighs 1; what weighs less than `e^-87`, and NaN, nothing.
    fn weight_sums(
        &self,
        values: &[f32],
        (maximum, inverse_temperature): (f32, f32),
        sums: &mut [f32],
    ) {
        plain::weight_sums(values, (maximum, inverse_temperature), sums);
    }

    /// One row of activations in 8 bits.
    fn quantize(&self, input: &[f32], row: &mut QuantizedRowMut<'_>) {
        plain::quantize(input, row);
    }

    /// Packed quantized weights times 8-bit rows; `output` is as large as the range.
    fn multiply_quantized(
        &self,
        matrix: &PackedMatrix,
        rows: &QuantizedRows,
        range: &TileRange,
        output: &mut OutputTile<'_>,
    ) {
        plain::multiply_quantized(matrix, rows, range, output);
    }

    /// Whether 16-bit weights meet integers here faster than floats; see [`Self::multiply_words`].
    fn has_word_products(&self) -> bool {
        false
    }

    /// One row of activations in 14 bits.
    fn quantize_words(&self, input: &[f32], row: &mut WordRowMut<'_>) {
        plain::quantize_words(input, row);
    }

    /// Packed 16-bit weights times 14-bit rows; `output` is as large as the range.
    fn multiply_words(
        &self,
        matrix: &PackedMatrix,
        rows: &WordRows,
        range: &TileRange,
        output: &mut OutputTile<'_>,
    ) {
        plain::multiply_words(matrix, rows, range, output);
    }

    /// Packed weights of any kind times f32 rows; `output` is as large as the range.
    fn multiply_float(
        &self,
        matrix: &PackedMatrix,
        rows: FloatRows<'_>,
        range: &TileRange,
        output: &mut OutputTile<'_>,
    ) {
        plain::multiply_float(matrix, rows, range, output);
    }

    /// Some rows of packed weights as f32, one behind the other: bit for bit what [`PackedMatrix::decode_row`] gives.
    fn decode_rows(&self, matrix: &PackedMatrix, rows: &[u32], output: &mut [f32]) {
        plain::decode_rows(matrix, rows, output);
    }

    /// `output += rows * matrix[:, blocks]` for blocks of 32 inputs of packed weights of any kind: what gradients of outputs
    /// are to inputs. `output` is as wide as the blocks.
    fn multiply_transposed(
        &self,
        matrix: &PackedMatrix,
        rows: OutputRows<'_>,
        blocks: &Range<usize>,
        output: &mut OutputTile<'_>,
    ) {
        transposed::plain(matrix, rows, blocks, output);
    }

    /// Packs a block of 32 inputs of quantized weights turned over into a panel that is as wide as the matrix is high: in 8
    /// bits, with a scale for every 32 outputs.
    fn turn_over(&self, matrix: &PackedMatrix, block: usize, panel: &mut PackedMatrix) {
        turn_over::plain(matrix, block, panel);
    }

    /// `output += left * right` for two matrices of f32, also where a product's output would be replaced.
    fn add_product(&self, product: &FloatProduct<'_>, output: &mut OutputTile<'_>) {
        product.check((output.rows(), output.columns()));
        float_product::plain(product, output);
    }

    /// The way back through [`Self::rms_norm`]: adds to `gradient` what `output_gradient` is to its input.
    fn rms_norm_backward(
        &self,
        input: &[f32],
        (weight, epsilon): (&[f32], f32),
        output_gradient: &[f32],
        gradient: &mut [f32],
    ) {
        plain::rms_norm_backward(input, (weight, epsilon), output_gradient, gradient);
    }

    /// The way back through [`Self::gate`]: gate and up are replaced by their gradients.
    fn gate_backward(
        &self,
        activation: Activation,
        output_gradient: &[f32],
        (gate, up): (&mut [f32], &mut [f32]),
    ) {
        plain::gate_backward(activation, output_gradient, (gate, up));
    }

    /// Attention of some queries over one KV head; a row of `output` is `[group, head_dim]`. Where keys and values are in
    /// tiers, each is a task with the same queries.
    fn attend(&self, tiers: &[AttentionTask<'_>], output: &mut RowsMut<'_>) {
        attention::plain::attend(tiers, output);
    }

    /// What consecutive segments of a tier add to [`Self::attend`], for [`Self::join_segments`] of
    /// the same implementation. The part of each is, for `rows = tokens * group`, weighted values
    /// `[rows, head_dim]`, maxima `[rows]` and sums `[rows]`.
    fn attend_segments(&self, task: &AttentionTask<'_>, parts: (Range<usize>, &mut [f32])) {
        attention::plain::attend_segments(task, parts);
    }

    /// Joins the parts of all segments of all tiers in order; bit for bit what [`Self::attend`] gives.
    fn join_segments(&self, tiers: &[(KvLayout, &[f32])], output: &mut RowsMut<'_>) {
        attention::plain::join_segments(tiers, output);
    }

    /// Writes keys and values to `piece`, one layer of the run's block.
    fn store_kv(&self, layout: KvLayout, rows: KvRows<'_>, run: KvRun, piece: &mut KvDataMut<'_>) {
        attention::plain::store_run(layout, rows, run, piece);
    }

    /// `output += scale * (input A^T) B^T` for rows that share an adapter, also where a product's output would be replaced.
    fn lora_delta(
        &self,
        adapter: &LoraAdapter<'_>,
        input: FloatRows<'_>,
        output: &mut OutputTile<'_>,
    ) {
        lora::delta(adapter, input, output);
    }

    /// `reduced[row][r] = a[r] . x[row]`, the numbers of a row `stride` behind those of the one before.
    fn lora_reduce(
        &self,
        a: LoraNumbers<'_>,
        x: FloatRows<'_>,
        (reduced, stride): (&mut [f32], usize),
    ) {
        lora::rows::check_reduce(a, x, reduced, stride);
        lora::rows::plain_reduce(a, x, reduced, stride);
    }

    /// Adds `reduced B` to the rows and columns of a tile that are the delta's.
    fn lora_expand(&self, delta: &RowDelta<'_>, meeting: &Meeting, tile: &mut OutputTile<'_>) {
        meeting.check(delta, tile);
        lora::rows::plain_expand(delta, meeting, tile);
    }

    /// Rows of keys or values in groups of few bits. A group with a value that is not finite, or whose minimum or step is
    /// too large for f16, reads as NaN.
    fn group_kv(&self, shape: KvGroups, input: &[f32], groups: &mut [u8]) {
        kv_groups::pack(shape, input, groups);
    }

    /// The rows that [`Self::group_kv`] put into groups.
    fn ungroup_kv(&self, shape: KvGroups, groups: &[u8], output: &mut [f32]) {
        kv_groups::unpack(shape, groups, output);
    }
}

/// The plain program: the oracle of every test and the fallback of every machine.
#[derive(Debug, Clone, Copy)]
pub struct Scalar;

impl Kernels for Scalar {
    fn name(&self) -> &'static str {
        "scalar"
    }
}
