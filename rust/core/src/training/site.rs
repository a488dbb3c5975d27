//! One linear map of a layer with what is trained beside it: there, and the way back.

use ruvllm_kernels::{
    FloatProduct, FloatRows, Grid, LoraNumbers, TransposedBuffers, TransposedProduct, add_product,
    add_transposed,
};

use crate::model::{Compute, InputBuffers, Linear};

use super::tensors::TrainedMap;

/// Rows that one thread reduces at a time.
const ROWS_PER_TASK: usize = 16;

/// Frozen weights, and the scale of what is trained beside them.
#[derive(Clone, Copy)]
pub(super) struct SiteWeights<'a> {
    pub(super) compute: Compute<'a>,
    pub(super) linear: &'a Linear,
    pub(super) scale: f32,
}

/// What goes in, and what came of it.
#[derive(Clone, Copy)]
pub(super) struct SiteRows<'a> {
    /// `[rows, inputs]`
    pub(super) input: &'a [f32],
    /// `scale * A x`, `[rows, rank]`, map behind map.
    pub(super) reduced: &'a [f32],
}

impl SiteWeights<'_> {
    /// `output = W x + bias + scale * B A x`; `reduced` becomes what the way back needs of it.
    pub(super) fn forward(
        self,
        maps: &[TrainedMap],
        input: &[f32],
        buffers: &mut InputBuffers,
        (reduced, output): (&mut Vec<f32>, &mut Vec<f32>),
    ) {
        let (rows, width) = (self.rows(input), self.linear.width());
        output.resize(rows * width, 0.0);
        self.linear.apply(self.compute, input, buffers, output);
        self.reduce(maps, input, reduced);
        for (map, reduced) in maps.iter().zip(reduced_of(maps, rows, reduced)) {
            let rank = map.b.shape().1;
            let product = FloatProduct {
                left: Grid::rows(reduced, rank),
                right: &map.b.value,
                right_stride: map.place.outputs,
                depth: rank,
            };
            self.add(&product, (output, width), columns(map));
        }
    }

    /// The part of it that the way back needs.
    pub(super) fn reduce(self, maps: &[TrainedMap], input: &[f32], reduced: &mut Vec<f32>) {
        let rows = self.rows(input);
        reduced.clear();
        for map in maps {
            let (rank, columns) = map.a.shape();
            let first = reduced.len();
            reduced.resize(first + rows * rank, 0.0);
            let targets = reduced[first..].chunks_mut(ROWS_PER_TASK * rank);
            let work = input.chunks(ROWS_PER_TASK * columns).zip(targets);
            let a = LoraNumbers::F32(&map.a.value);
            let reduce = |(values, target): (&[f32], &mut [f32])| {
                let x = FloatRows { values, columns };
                let kernels = self.compute.kernels;
                kernels.lora_reduce(a, x, (&mut *target, rank));
                for value in target {
                    *value *= self.scale;
                }
            };
            self.compute.pool.for_each(work.collect(), 1, reduce);
        }
    }

    /// Adds to the gradients of A and B, and to `input_gradient`, where that is wanted, what `gradient` of the output is to
    /// the input.
    pub(super) fn backward(
        self,
        maps: &mut [TrainedMap],
        rows: SiteRows<'_>,
        gradient: &[f32],
        mut input_gradient: Option<(&mut [f32], &mut TransposedBuffers)>,
    ) {
        let Compute { kernels, pool, .. } = self.compute;
        if let Some((target, buffers)) = &mut input_gradient {
            let matrices = self.linear.matrices();
            let product = TransposedProduct {
                matrices,
                rows: gradient,
                precision: self.compute.row_precision(matrices),
            };
            add_transposed(kernels, pool, &product, buffers, target);
        }
        let (count, width) = (self.rows(rows.input), self.linear.width());
        let mut first = 0;
        for map in maps {
            let (rank, inputs) = map.a.shape();
            let outputs = Grid {
                values: &gradient[map.place.first_output..],
                row_stride: width,
                column_stride: 1,
            };
            let product = |left, right, right_stride, depth| FloatProduct {
                left,
                right,
                right_stride,
                depth,
            };
            let reduced = &rows.reduced[first..first + count * rank];
            let b = product(
                Grid::rows(reduced, rank).turned(),
                outputs.values,
                width,
                count,
            );
            let own = (&mut map.b.gradient[..], map.place.outputs);
            self.add(&b, own, 0..map.place.outputs);
            let mut through = vec![0.0; count * rank];
            let through_b = product(outputs, &map.b_by_rows[..], rank, map.place.outputs);
            self.add(&through_b, (&mut through, rank), 0..rank);
            for value in &mut through {
                *value *= self.scale;
            }
            let through = Grid::rows(&through, rank);
            let a = product(through.turned(), rows.input, inputs, count);
            self.add(&a, (&mut map.a.gradient, inputs), 0..inputs);
            if let Some((target, _)) = &mut input_gradient {
                let x = product(through, &map.a.value[..], inputs, rank);
                self.add(&x, (target, inputs), 0..inputs);
            }
            first += count * rank;
        }
    }

    fn add(
        self,
        product: &FloatProduct<'_>,
        target: (&mut [f32], usize),
        columns: std::ops::Range<usize>,
    ) {
        let Compute { kernels, pool, .. } = self.compute;
        add_product(kernels, pool, product, target, columns);
    }

    fn rows(self, input: &[f32]) -> usize {
        input.len() / self.linear.matrices()[0].columns()
    }
}

/// The outputs of a map among those of its site.
fn columns(map: &TrainedMap) -> std::ops::Range<usize> {
    map.place.first_output..map.place.first_output + map.place.outputs
}

/// What each map has of [`SiteRows::reduced`].
fn reduced_of<'a>(
    maps: &'a [TrainedMap],
    rows: usize,
    reduced: &'a [f32],
) -> impl Iterator<Item = &'a [f32]> {
    maps.iter().scan(0, move |first, map| {
        let begin = *first;
        *first += rows * map.a.shape().0;
        Some(&reduced[begin..*first])
    })
}
