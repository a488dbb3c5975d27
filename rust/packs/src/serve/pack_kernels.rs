//! The engine's arithmetic with some operations done by a pack.
//!
//! Two uses: over one pack, which is what a step computes with; and as a switch, which a model keeps,
//! computes natively, and gives each step the pack that is active when it begins. So a step has one
//! pack from its first layer to its last, whatever is activated meanwhile.

use std::ops::Range;
use std::sync::Arc;

use ruvllm_kernels::{
    Activation, AttentionTask, FloatProduct, FloatRows, Kernels, KvDataMut, KvGroups, KvLayout,
    KvRows, KvRun, LoraAdapter, LoraNumbers, Meeting, OutputRows, OutputTile, PackedMatrix,
    QuantizedRowMut, QuantizedRows, RowDelta, RowsMut, TileRange, WordRowMut, WordRows,
};

use crate::pack::Pack;
use crate::serve::attempts::{Attempts, Outcome};
use crate::serve::counters::{Counters, Operation};
use crate::serve::operations::{self, FLOATS_AT_ONCE};

/// Native kernels, and a pack over them.
#[derive(Debug)]
pub struct PackKernels {
    native: Arc<dyn Kernels>,
    attempts: Attempts,
    partial_sums: u32,
    switch: Option<Arc<dyn Switch>>,
}

/// What knows the pack that is active now.
pub(crate) trait Switch: Send + Sync + std::fmt::Debug {
    /// What a step that begins now computes with.
    fn active(&self) -> Option<Arc<PackKernels>>;
}

impl PackKernels {
    /// The operations of a pack over native ones.
    pub fn new(native: Arc<dyn Kernels>, pack: &Pack, counters: Arc<Counters>) -> Self {
        Self::with(native, Attempts::new(pack, counters), None)
    }

    /// Native kernels that give each step the pack of the moment.
    pub(crate) fn switching(
        native: Arc<dyn Kernels>,
        counters: Arc<Counters>,
        switch: Arc<dyn Switch>,
    ) -> Self {
        Self::with(native, Attempts::without_pack(counters), Some(switch))
    }

    fn with(native: Arc<dyn Kernels>, attempts: Attempts, switch: Option<Arc<dyn Switch>>) -> Self {
        Self {
            partial_sums: partial_sums(native.name()),
            native,
            attempts,
            switch,
        }
    }

    /// Whether a kernel of it failed so often that it is not called any more.
    pub fn is_broken(&self) -> bool {
        self.attempts.is_broken()
    }

    /// What went wrong last, for people.
    pub fn last_fault(&self) -> Option<String> {
        self.attempts.last_fault()
    }
}

/// How many partial sums the native kernels of that name add a row up in.
fn partial_sums(name: &str) -> u32 {
    if name.starts_with("avx512") {
        16
    } else if name.starts_with("neon") {
        4
    } else {
        8
    }
}

/// What is taken at once of rows that are so wide: whole ones.
fn floats_at_once(width: usize) -> usize {
    (FLOATS_AT_ONCE / width.max(1)).max(1) * width.max(1)
}

impl Kernels for PackKernels {
    fn name(&self) -> &'static str {
        self.native.name()
    }

    fn for_step(&self) -> Option<Arc<dyn Kernels>> {
        let active = self.switch.as_ref()?.active()?;
        Some(active)
    }

    fn rms_norm(&self, input: &[f32], weight: &[f32], epsilon: f32, output: &mut [f32]) {
        let some = floats_at_once(weight.len());
        for (input, output) in input.chunks(some).zip(output.chunks_mut(some)) {
            let outcome = self.attempts.attempt(Operation::RmsNorm, |kernel| {
                let options = (epsilon, self.partial_sums);
                operations::rms_norm(kernel, (input, weight), options, output)
            });
            if let Outcome::Done = outcome {
                continue;
            }
            self.native.rms_norm(input, weight, epsilon, output);
            if let Outcome::NotFinite = outcome {
                self.attempts.judge(Operation::RmsNorm, output);
            }
        }
    }

    fn rotate(&self, heads: &mut [f32], head_dim: usize, cosines: &[f32], sines: &[f32]) {
        for heads in heads.chunks_mut(floats_at_once(head_dim)) {
            let outcome = self.attempts.attempt(Operation::Rope, |kernel| {
                operations::rope(kernel, (heads, head_dim), cosines, sines)
            });
            if let Outcome::Done = outcome {
                continue;
            }
            self.native.rotate(heads, head_dim, cosines, sines);
            if let Outcome::NotFinite = outcome {
                self.attempts.judge(Operation::Rope, heads);
            }
        }
    }

    fn gate(&self, activation: Activation, gate: &[f32], up: &[f32], output: &mut [f32]) {
        let chunks = gate.chunks(FLOATS_AT_ONCE).zip(up.chunks(FLOATS_AT_ONCE));
        for ((gate, up), output) in chunks.zip(output.chunks_mut(FLOATS_AT_ONCE)) {
            let outcome = self.attempts.attempt(Operation::Swiglu, |kernel| {
                operations::swiglu(kernel, activation, (gate, up), output)
            });
            if let Outcome::Done = outcome {
                continue;
            }
            self.native.gate(activation, gate, up, output);
            if let Outcome::NotFinite = outcome {
                self.attempts.judge(Operation::Swiglu, output);
            }
        }
    }

    /// One call for all rows: a row of the rectangle is a hundred values or so, and the kernel takes thousands.
    fn gate_rows(
        &self,
        activation: Activation,
        gate: &[f32],
        up: &[f32],
        output: &mut OutputTile<'_>,
    ) {
        if !self.attempts.has(Operation::Swiglu) {
            return self.native.gate_rows(activation, gate, up, output);
        }
        if let 1 = output.rows() {
            return self.gate(activation, gate, up, output.row_mut(0));
        }
        let mut gated = vec![0.0; gate.len()];
        self.gate(activation, gate, up, &mut gated);
        for (row, values) in gated.chunks_exact(output.columns()).enumerate() {
            output.row_mut(row).copy_from_slice(values);
        }
    }

    fn add(&self, input: &[f32], accumulator: &mut [f32]) {
        self.native.add(input, accumulator);
    }

    fn add_scaled(&self, factor: f32, input: &[f32], accumulator: &mut [f32]) {
        self.native.add_scaled(factor, input, accumulator);
    }

    fn dot(&self, first: &[f32], second: &[f32]) -> f32 {
        self.native.dot(first, second)
    }

    fn soft_cap(&self, values: &mut [f32], cap: f32) {
        self.native.soft_cap(values, cap);
    }

    fn softmax(&self, input: &[f32], output: &mut [f32]) {
        self.native.softmax(input, output);
    }

    fn log_softmax(&self, input: &[f32], logs: &mut [f32], shares: &mut [f32]) {
        self.native.log_softmax(input, logs, shares);
    }

    fn block_maxima(&self, values: &[f32], maxima: &mut [f32]) {
        self.native.block_maxima(values, maxima);
    }

    fn decode_rows(&self, matrix: &PackedMatrix, rows: &[u32], output: &mut [f32]) {
        self.native.decode_rows(matrix, rows, output);
    }

    fn weight_sums(&self, values: &[f32], scale: (f32, f32), sums: &mut [f32]) {
        self.native.weight_sums(values, scale, sums);
    }

    fn quantize(&self, input: &[f32], row: &mut QuantizedRowMut<'_>) {
        self.native.quantize(input, row);
    }

    fn multiply_quantized(
        &self,
        matrix: &PackedMatrix,
        rows: &QuantizedRows,
        range: &TileRange,
        output: &mut OutputTile<'_>,
    ) {
        self.native.multiply_quantized(matrix, rows, range, output);
    }

    fn has_word_products(&self) -> bool {
        self.native.has_word_products()
    }

    fn quantize_words(&self, input: &[f32], row: &mut WordRowMut<'_>) {
        self.native.quantize_words(input, row);
    }

    fn multiply_words(
        &self,
        matrix: &PackedMatrix,
        rows: &WordRows,
        range: &TileRange,
        output: &mut OutputTile<'_>,
    ) {
        self.native.multiply_words(matrix, rows, range, output);
    }

    fn multiply_float(
        &self,
        matrix: &PackedMatrix,
        rows: FloatRows<'_>,
        range: &TileRange,
        output: &mut OutputTile<'_>,
    ) {
        self.native.multiply_float(matrix, rows, range, output);
    }

    fn multiply_transposed(
        &self,
        matrix: &PackedMatrix,
        rows: OutputRows<'_>,
        blocks: &Range<usize>,
        output: &mut OutputTile<'_>,
    ) {
        self.native
            .multiply_transposed(matrix, rows, blocks, output);
    }

    fn turn_over(&self, matrix: &PackedMatrix, block: usize, panel: &mut PackedMatrix) {
        self.native.turn_over(matrix, block, panel);
    }

    fn add_product(&self, product: &FloatProduct<'_>, output: &mut OutputTile<'_>) {
        self.native.add_product(product, output);
    }

    fn rms_norm_backward(
        &self,
        input: &[f32],
        norm: (&[f32], f32),
        output_gradient: &[f32],
        gradient: &mut [f32],
    ) {
        self.native
            .rms_norm_backward(input, norm, output_gradient, gradient);
    }

    fn gate_backward(
        &self,
        activation: Activation,
        output_gradient: &[f32],
        halves: (&mut [f32], &mut [f32]),
    ) {
        self.native
            .gate_backward(activation, output_gradient, halves);
    }

    fn attend(&self, tiers: &[AttentionTask<'_>], output: &mut RowsMut<'_>) {
        self.native.attend(tiers, output);
    }

    fn attend_segments(&self, task: &AttentionTask<'_>, parts: (Range<usize>, &mut [f32])) {
        self.native.attend_segments(task, parts);
    }

    fn join_segments(&self, tiers: &[(KvLayout, &[f32])], output: &mut RowsMut<'_>) {
        self.native.join_segments(tiers, output);
    }

    fn store_kv(&self, layout: KvLayout, rows: KvRows<'_>, run: KvRun, piece: &mut KvDataMut<'_>) {
        self.native.store_kv(layout, rows, run, piece);
    }

    fn lora_delta(
        &self,
        adapter: &LoraAdapter<'_>,
        input: FloatRows<'_>,
        output: &mut OutputTile<'_>,
    ) {
        adapter.check(&input, output);
        let place = operations::lora_place(adapter);
        if !self.attempts.has(place) {
            return self.native.lora_delta(adapter, input, output);
        }
        let (columns, width) = (input.columns, output.columns());
        let some = operations::lora_rows_at_once(adapter);
        let mut sums = Vec::new();
        for (number, values) in input.values.chunks(some * columns).enumerate() {
            let rows = number * some..number * some + values.len() / columns;
            sums.clear();
            rows.clone()
                .for_each(|row| sums.extend_from_slice(output.row_mut(row)));
            let outcome = self.attempts.attempt(place, |kernel| {
                operations::lora_delta(kernel, adapter, values, &mut sums)
            });
            if !matches!(outcome, Outcome::Done) {
                let mut sums = OutputTile::new(&mut sums, width);
                self.native
                    .lora_delta(adapter, FloatRows { values, columns }, &mut sums);
            }
            if let Outcome::NotFinite = outcome {
                self.attempts.judge(place, &sums);
            }
            for (row, sums) in rows.zip(sums.chunks_exact(width)) {
                output.row_mut(row).copy_from_slice(sums);
            }
        }
    }

    fn lora_reduce(&self, a: LoraNumbers<'_>, x: FloatRows<'_>, reduced: (&mut [f32], usize)) {
        self.native.lora_reduce(a, x, reduced);
    }

    fn lora_expand(&self, delta: &RowDelta<'_>, meeting: &Meeting, tile: &mut OutputTile<'_>) {
        self.native.lora_expand(delta, meeting, tile);
    }

    fn group_kv(&self, shape: KvGroups, input: &[f32], groups: &mut [u8]) {
        shape.check(input.len(), groups.len());
        let place = operations::kv_place(Operation::KvPack, shape.bits);
        for part in operations::kv_parts(shape) {
            let (input, groups) = (&input[part.values.clone()], &mut groups[part.bytes.clone()]);
            let outcome = self.attempts.attempt(place, |kernel| {
                operations::group_kv(kernel, part.shape, input, groups)
            });
            if !matches!(outcome, Outcome::Done) {
                self.native.group_kv(part.shape, input, groups);
            }
        }
    }

    fn ungroup_kv(&self, shape: KvGroups, groups: &[u8], output: &mut [f32]) {
        shape.check(output.len(), groups.len());
        let place = operations::kv_place(Operation::KvUnpack, shape.bits);
        for part in operations::kv_parts(shape) {
            let (groups, output) = (
                &groups[part.bytes.clone()],
                &mut output[part.values.clone()],
            );
            let outcome = self.attempts.attempt(place, |kernel| {
                operations::ungroup_kv(kernel, part.shape, groups, output)
            });
            if !matches!(outcome, Outcome::Done) {
                self.native.ungroup_kv(part.shape, groups, output);
            }
            if let Outcome::NotFinite = outcome {
                self.attempts.judge(place, output);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    /// A method that is not passed on would run the plain program, correctly and very slowly.
    #[test]
    fn every_operation_is_passed_on() {
        let methods = |source: &str| -> BTreeSet<String> {
            let lines = source
                .lines()
                .filter_map(|line| line.strip_prefix("    fn "));
            lines
                .filter_map(|line| line.split('(').next())
                .map(str::to_owned)
                .collect()
        };
        let kernels = include_str!("../../../kernels/src/kernels.rs");
        let begin = kernels.find("pub trait Kernels").unwrap();
        let end = kernels.find("pub struct Scalar").unwrap();
        let wanted = methods(&kernels[begin..end]);
        let own = include_str!("pack_kernels.rs");
        let own = &own[own.find("impl Kernels for PackKernels").unwrap()..];
        assert!(wanted.len() > 15, "{wanted:?}");
        assert_eq!(methods(own).intersection(&wanted).count(), wanted.len());
    }
}
