//! What a low-rank adapter adds to a projection: `y += scale * (x A^T) B^T`, in plain loops.
//!
//! A call is for rows that share an adapter. A batch whose sequences have several is that many runs of rows; the output
//! is a rectangle of a wider matrix, so that an adapter of one projection finds it where several are fused.

use half::f16;

use crate::matmul::{FloatRows, OutputTile};

/// An adapter of one projection.
#[derive(Debug, Clone, Copy)]
pub struct LoraAdapter<'a> {
    /// Its matrices, as PEFT stores them.
    pub matrices: LoraMatrices<'a>,
    /// Rows of A, columns of B.
    pub rank: usize,
    /// What the product is multiplied with: alpha / rank, most often.
    pub scale: f32,
}

/// A `[rank, inputs]` and B `[outputs, rank]`.
#[derive(Debug, Clone, Copy)]
pub enum LoraMatrices<'a> {
    /// f32.
    F32 {
        /// A
        a: &'a [f32],
        /// B
        b: &'a [f32],
    },
    /// f16 bits.
    F16 {
        /// A
        a: &'a [u16],
        /// B
        b: &'a [u16],
    },
}

impl LoraAdapter<'_> {
    /// Width of the rows that go in.
    pub fn inputs(&self) -> usize {
        self.lengths().0 / self.rank.max(1)
    }

    /// Width of the rows that it adds to.
    pub fn outputs(&self) -> usize {
        self.lengths().1 / self.rank.max(1)
    }

    fn lengths(&self) -> (usize, usize) {
        match self.matrices {
            LoraMatrices::F32 { a, b } => (a.len(), b.len()),
            LoraMatrices::F16 { a, b } => (a.len(), b.len()),
        }
    }

    /// Whether rows of these widths go through it.
    ///
    /// # Panics
    ///
    /// Where they do not.
    pub fn check(&self, input: &FloatRows<'_>, output: &OutputTile<'_>) {
        let ((a, b), rank) = (self.lengths(), self.rank);
        assert!(
            a > 0 && b > 0 && rank > 0 && a.is_multiple_of(rank) && b.is_multiple_of(rank),
            "{a} and {b} values are no matrices of rank {rank}"
        );
        assert_eq!(
            (input.columns, input.values.len(), output.columns()),
            (self.inputs(), output.rows() * self.inputs(), self.outputs()),
            "the adapter takes rows of {} and adds to {}",
            self.inputs(),
            self.outputs()
        );
    }
}

pub(crate) fn delta(adapter: &LoraAdapter<'_>, input: FloatRows<'_>, output: &mut OutputTile<'_>) {
    adapter.check(&input, output);
    let widened = |bits: &u16| f16::from_bits(*bits).to_f32();
    match adapter.matrices {
        LoraMatrices::F32 { a, b } => add_rows(adapter, (a, b), |value| *value, input, output),
        LoraMatrices::F16 { a, b } => add_rows(adapter, (a, b), widened, input, output),
    }
}

fn add_rows<T>(
    adapter: &LoraAdapter<'_>,
    (a, b): (&[T], &[T]),
    widened: impl Fn(&T) -> f32,
    input: FloatRows<'_>,
    output: &mut OutputTile<'_>,
) {
    let dot = |weights: &[T], values: &[f32]| -> f32 {
        let products = weights.iter().zip(values);
        products
            .map(|(weight, value)| widened(weight) * value)
            .sum()
    };
    let mut reduced = vec![0.0; adapter.rank];
    for (row, x) in input.values.chunks_exact(input.columns).enumerate() {
        for (reduced, a) in reduced.iter_mut().zip(a.chunks_exact(input.columns)) {
            *reduced = adapter.scale * dot(a, x);
        }
        let weights = b.chunks_exact(adapter.rank);
        for (y, b) in output.row_mut(row).iter_mut().zip(weights) {
            *y += dot(b, &reduced);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{LoraAdapter, LoraMatrices};
    use crate::matmul::{FloatRows, OutputTile};
    use crate::{Kernels, Scalar};
    use half::f16;
    use std::panic::{AssertUnwindSafe, catch_unwind};

    fn numbers(count: usize, seed: u64) -> Vec<f32> {
        let number = |index| ((index as u64 * 7919 + seed * 104_729) % 2003) as f32 / 1001.0 - 1.0;
        (0..count).map(number).collect()
    }

    /// Against the product in f64, once as A and then B, and not as the program has it.
    #[test]
    fn what_is_added_is_the_product() {
        for (tokens, inputs, rank, outputs) in [(3, 40, 5, 7), (1, 64, 16, 33), (0, 3, 1, 2)] {
            let (x, before) = (numbers(tokens * inputs, 1), numbers(tokens * outputs, 2));
            let (a, b) = (numbers(rank * inputs, 3), numbers(outputs * rank, 4));
            let bits = |values: &[f32]| -> Vec<u16> {
                values
                    .iter()
                    .map(|value| f16::from_f32(*value).to_bits())
                    .collect()
            };
            let (half_a, half_b) = (bits(&a), bits(&b));
            let of = |matrices| {
                let scale = -0.75;
                let adapter = LoraAdapter {
                    matrices,
                    rank,
                    scale,
                };
                let mut y = before.clone();
                let rows = FloatRows {
                    values: &x,
                    columns: inputs,
                };
                Scalar.lora_delta(&adapter, rows, &mut OutputTile::new(&mut y, outputs));
                y
            };
            // Relative to the magnitudes that are added up; f16 takes 2^-11 of each matrix.
            for (found, allowed) in [
                (of(LoraMatrices::F32 { a: &a, b: &b }), 2e-6),
                (
                    of(LoraMatrices::F16 {
                        a: &half_a,
                        b: &half_b,
                    }),
                    1.1e-3,
                ),
            ] {
                for (index, found) in found.iter().enumerate() {
                    let (token, output) = (index / outputs, index % outputs);
                    let mut expected = f64::from(before[index]);
                    let mut magnitude = expected.abs();
                    for input in 0..inputs {
                        let product = |r: usize| {
                            f64::from(a[r * inputs + input]) * f64::from(b[output * rank + r])
                        };
                        let value = -0.75 * f64::from(x[token * inputs + input]);
                        expected += value * (0..rank).map(product).sum::<f64>();
                        magnitude += value.abs() * (0..rank).map(|r| product(r).abs()).sum::<f64>();
                    }
                    assert!((f64::from(*found) - expected).abs() <= allowed * magnitude);
                }
            }
        }
    }

    /// They are refused by themselves, whatever rows come with them.
    #[test]
    fn matrices_that_are_none() {
        for (a, b, rank) in [(0, 6, 3), (12, 0, 3), (12, 6, 0), (13, 6, 3), (12, 7, 3)] {
            let (a_values, b_values) = (vec![0.0; a], vec![0.0; b]);
            let adapter = LoraAdapter {
                matrices: LoraMatrices::F32 {
                    a: &a_values,
                    b: &b_values,
                },
                rank,
                scale: 1.0,
            };
            let (inputs, outputs) = (adapter.inputs(), adapter.outputs());
            let (x, mut y) = (vec![0.0; inputs], vec![0.0; outputs.max(1)]);
            let rows = FloatRows {
                values: &x,
                columns: inputs,
            };
            let check = || adapter.check(&rows, &OutputTile::new(&mut y, outputs.max(1)));
            let refused = catch_unwind(AssertUnwindSafe(check)).unwrap_err();
            let message = refused.downcast_ref::<String>().unwrap();
            let expected = format!("{a} and {b} values are no matrices of rank {rank}");
            assert_eq!(*message, expected);
        }
    }

    #[test]
    #[should_panic(expected = "the adapter takes rows of 4 and adds to 2")]
    fn rows_of_another_width() {
        let adapter = LoraAdapter {
            matrices: LoraMatrices::F32 {
                a: &[0.0; 12],
                b: &[0.0; 6],
            },
            rank: 3,
            scale: 1.0,
        };
        let rows = FloatRows {
            values: &[0.0; 5],
            columns: 5,
        };
        Scalar.lora_delta(&adapter, rows, &mut OutputTile::new(&mut [0.0; 2], 2));
    }
}
