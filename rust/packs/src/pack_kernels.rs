//! The engine's arithmetic with some operations done by a pack.
//!
//! Two uses: over one pack, which is what a step computes with; and as a switch, which a model keeps,
//! computes natively, and gives each step the pack that is active when it begins. So a step has one
//! pack from its first layer to its last, whatever is activated meanwhile.

use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};

use ruvllm_kernels::{
    Activation, AttentionShape, AttentionTask, FloatRows, Kernels, KvDataMut, KvLayout, KvRows,
    KvRun, KvView, OutputTile, PackedMatrix, QuantizedRowMut, QuantizedRows, RowsMut, TileRange,
    WordRowMut, WordRows,
};

use crate::counters::{BROKEN, Counters, Operation, reason_of};
use crate::error::KernelError;
use crate::kernel::Kernel;
use crate::operations::{self, FLOATS_AT_ONCE};
use crate::pack::Pack;

/// Native kernels, and a pack over them.
#[derive(Debug)]
pub struct PackKernels {
    native: Arc<dyn Kernels>,
    /// By operation.
    kernels: [Option<Arc<Kernel>>; Operation::ALL.len()],
    counters: Arc<Counters>,
    partial_sums: u32,
    last_fault: Mutex<Option<String>>,
    switch: Option<Arc<dyn Switch>>,
}

/// What knows the pack that is active now.
pub(crate) trait Switch: Send + Sync + std::fmt::Debug {
    /// What a step that begins now computes with.
    fn active(&self) -> Option<Arc<PackKernels>>;
}

/// How an operation went.
enum Outcome {
    Done,
    /// The native kernel computes.
    Native,
    /// It does, and where its result is finite, the pack's kernel is at fault.
    NotFinite,
}

impl PackKernels {
    /// The operations of a pack over native ones.
    pub fn new(native: Arc<dyn Kernels>, pack: &Pack, counters: Arc<Counters>) -> Self {
        let kernels =
            Operation::ALL.map(|operation| pack.kernel(operation.kernel_id()).map(Arc::clone));
        Self::with(native, kernels, counters, None)
    }

    /// Native kernels that give each step the pack of the moment.
    pub(crate) fn switching(
        native: Arc<dyn Kernels>,
        counters: Arc<Counters>,
        switch: Arc<dyn Switch>,
    ) -> Self {
        Self::with(native, [None, None, None], counters, Some(switch))
    }

    fn with(
        native: Arc<dyn Kernels>,
        kernels: [Option<Arc<Kernel>>; Operation::ALL.len()],
        counters: Arc<Counters>,
        switch: Option<Arc<dyn Switch>>,
    ) -> Self {
        Self {
            partial_sums: partial_sums(native.name()),
            native,
            kernels,
            counters,
            last_fault: Mutex::new(None),
            switch,
        }
    }

    /// Whether a kernel of it failed so often that it is not called any more.
    pub fn is_broken(&self) -> bool {
        self.kernels
            .iter()
            .flatten()
            .any(|kernel| kernel.is_broken())
    }

    /// What went wrong last, for people.
    pub fn last_fault(&self) -> Option<String> {
        self.last_fault
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// Lets the pack try.
    fn attempt(
        &self,
        operation: Operation,
        call: impl FnOnce(&Kernel) -> Result<(), KernelError>,
    ) -> Outcome {
        let Some(kernel) = &self.kernels[operation as usize] else {
            self.counters.count_native(operation);
            return Outcome::Native;
        };
        if kernel.is_broken() {
            self.counters.count_native(operation);
            self.counters.count_fallback(operation, BROKEN);
            return Outcome::Native;
        }
        let Err(error) = call(kernel) else {
            kernel.count(None);
            self.counters.count_pack(operation);
            return Outcome::Done;
        };
        self.counters.count_native(operation);
        if error == KernelError::NotFinite {
            return Outcome::NotFinite;
        }
        self.blame(operation, &error);
        Outcome::Native
    }

    fn blame(&self, operation: Operation, error: &KernelError) {
        self.counters.count_fallback(operation, reason_of(error));
        if let Some(kernel) = &self.kernels[operation as usize] {
            kernel.count(Some(error));
            if error.is_fault() {
                let mut last = self
                    .last_fault
                    .lock()
                    .unwrap_or_else(PoisonError::into_inner);
                *last = Some(format!("{}: {error}", kernel.id()));
            }
        }
    }

    /// NaN and infinities of the inputs are not the kernel's fault; the native result tells.
    fn judge(&self, operation: Operation, native: &[f32]) {
        if native.iter().all(|value| value.is_finite()) {
            self.blame(operation, &KernelError::NotFinite);
        }
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
            let outcome = self.attempt(Operation::RmsNorm, |kernel| {
                let options = (epsilon, self.partial_sums);
                operations::rms_norm(kernel, (input, weight), options, output)
            });
            if let Outcome::Done = outcome {
                continue;
            }
            self.native.rms_norm(input, weight, epsilon, output);
            if let Outcome::NotFinite = outcome {
                self.judge(Operation::RmsNorm, output);
            }
        }
    }

    fn rotate(&self, heads: &mut [f32], head_dim: usize, cosines: &[f32], sines: &[f32]) {
        for heads in heads.chunks_mut(floats_at_once(head_dim)) {
            let outcome = self.attempt(Operation::Rope, |kernel| {
                operations::rope(kernel, (heads, head_dim), cosines, sines)
            });
            if let Outcome::Done = outcome {
                continue;
            }
            self.native.rotate(heads, head_dim, cosines, sines);
            if let Outcome::NotFinite = outcome {
                self.judge(Operation::Rope, heads);
            }
        }
    }

    fn gate(&self, activation: Activation, gate: &[f32], up: &[f32], output: &mut [f32]) {
        let chunks = gate.chunks(FLOATS_AT_ONCE).zip(up.chunks(FLOATS_AT_ONCE));
        for ((gate, up), output) in chunks.zip(output.chunks_mut(FLOATS_AT_ONCE)) {
            let outcome = self.attempt(Operation::Swiglu, |kernel| {
                operations::swiglu(kernel, activation, (gate, up), output)
            });
            if let Outcome::Done = outcome {
                continue;
            }
            self.native.gate(activation, gate, up, output);
            if let Outcome::NotFinite = outcome {
                self.judge(Operation::Swiglu, output);
            }
        }
    }

    fn add(&self, input: &[f32], accumulator: &mut [f32]) {
        self.native.add(input, accumulator);
    }

    fn soft_cap(&self, values: &mut [f32], cap: f32) {
        self.native.soft_cap(values, cap);
    }

    fn softmax(&self, input: &[f32], output: &mut [f32]) {
        self.native.softmax(input, output);
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

    fn attend(
        &self,
        kv: &KvView<'_>,
        shape: &AttentionShape,
        task: &AttentionTask<'_>,
        output: &mut RowsMut<'_>,
    ) {
        self.native.attend(kv, shape, task, output);
    }

    fn attend_segments(
        &self,
        kv: &KvView<'_>,
        shape: &AttentionShape,
        task: &AttentionTask<'_>,
        parts: (Range<usize>, &mut [f32]),
    ) {
        self.native.attend_segments(kv, shape, task, parts);
    }

    fn join_segments(&self, parts: &[f32], head_dim: usize, output: &mut RowsMut<'_>) {
        self.native.join_segments(parts, head_dim, output);
    }

    fn store_kv(&self, layout: KvLayout, rows: KvRows<'_>, run: KvRun, piece: &mut KvDataMut<'_>) {
        self.native.store_kv(layout, rows, run, piece);
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
        let kernels = include_str!("../../kernels/src/kernels.rs");
        let begin = kernels.find("pub trait Kernels").unwrap();
        let end = kernels.find("pub struct Scalar").unwrap();
        let wanted = methods(&kernels[begin..end]);
        let own = include_str!("pack_kernels.rs");
        let own = &own[own.find("impl Kernels for PackKernels").unwrap()..];
        assert!(wanted.len() > 15, "{wanted:?}");
        assert_eq!(methods(own).intersection(&wanted).count(), wanted.len());
    }
}
