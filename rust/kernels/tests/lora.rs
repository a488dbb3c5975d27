//! What adapters add to a product: every instruction set against sums in f64, and nobody's rows by another's.
#![allow(clippy::unwrap_used)]

mod support;

use half::f16;
use proptest::prelude::*;
use ruvllm_kernels::quant::BlockType;
use ruvllm_kernels::{
    Activation, Activations, Arena, Epilogue, FloatRows, Kernels, LORA_PANEL, LoraNumbers, Meeting,
    OutputTile, PackedMatrix, Product, RowDelta, ThreadPool, WeightSource, available, multiply,
};
use support::{Numbers, SUM_TOLERANCE, assert_close, cases};

fn halves(values: &[f32]) -> Vec<u16> {
    values
        .iter()
        .map(|value| f16::from_f32(*value).to_bits())
        .collect()
}

/// What is added up is of this magnitude, however little of it is left.
fn with_one(values: &[f32]) -> Vec<f32> {
    [&[1.0], values].concat()
}

fn widened(bits: &[u16]) -> Vec<f32> {
    bits.iter()
        .map(|bits| f16::from_bits(*bits).to_f32())
        .collect()
}

/// B `[rank, outputs]` as a delta takes it; what fills the last panel up is never added.
fn panels(b: &[f32], outputs: usize) -> Vec<f32> {
    let number = |first: usize, row: &[f32], lane: usize| {
        row.get(first + lane)
            .filter(|_| first + lane < outputs)
            .copied()
    };
    let rows: Vec<&[f32]> = b.chunks_exact(outputs).collect();
    (0..outputs)
        .step_by(LORA_PANEL)
        .flat_map(|first| rows.iter().map(move |row| (first, *row)))
        .flat_map(|(first, row)| {
            (0..LORA_PANEL).map(move |lane| number(first, row, lane).unwrap_or(f32::NAN))
        })
        .collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(cases()))]

    #[test]
    fn both_halves_are_the_products(
        rows in 1usize..7, inputs in 1usize..200, rank in 1usize..20, outputs in 1usize..90, cut in 0usize..89,
        seed in any::<u64>()
    ) {
        let mut numbers = Numbers(seed);
        let (x, before) = (numbers.row(rows * inputs), numbers.row(rows * outputs));
        // Numbers that f16 has, so that both kinds hold the same.
        let (a_bits, b_bits) = (halves(&numbers.row(rank * inputs)), halves(&numbers.row(rank * outputs)));
        let (a, b) = (widened(&a_bits), widened(&b_bits));
        let (panels, panel_bits) = (panels(&b, outputs), halves(&panels(&b, outputs)));
        let (first, stride) = (cut.min(outputs - 1), rank + 3);
        let dot = |a: &[f32], x: &[f32]| -> f64 { a.iter().zip(x).map(|(a, x)| f64::from(*a) * f64::from(*x)).sum() };
        for kernels in available() {
            for is_half in [false, true] {
                let of = |floats, bits| if is_half { LoraNumbers::F16(bits) } else { LoraNumbers::F32(floats) };
                let mut reduced = vec![f32::NAN; rows * stride];
                let values = FloatRows { values: &x, columns: inputs };
                kernels.lora_reduce(of(&a, &a_bits), values, (&mut reduced, stride));
                for (x, reduced) in x.chunks_exact(inputs).zip(reduced.chunks_exact(stride)) {
                    let expected: Vec<f32> = a.chunks_exact(inputs).map(|a| dot(a, x) as f32).collect();
                    assert_close("reduce", &with_one(&expected), &with_one(&reduced[..rank]), SUM_TOLERANCE);
                    // Alone and among others, bit for bit.
                    let mut alone = vec![f32::NAN; rank];
                    let x = FloatRows { values: x, columns: inputs };
                    kernels.lora_reduce(of(&a, &a_bits), x, (&mut alone, rank));
                    assert_eq!(&alone, &reduced[..rank]);
                }
                let delta = RowDelta {
                    rows: 5..5 + rows, first_output: 0, outputs, b: of(&panels, &panel_bits),
                    reduced: &reduced, stride, rank,
                };
                let add = |rows: std::ops::Range<usize>| {
                    let mut y: Vec<f32> = rows.clone().flat_map(|row| before[row * outputs + first..(row + 1) * outputs].to_vec()).collect();
                    let meeting = Meeting {
                        rows: 5 + rows.start..5 + rows.end, tile_row: 0, outputs: first..outputs, tile_column: 0,
                    };
                    kernels.lora_expand(&delta, &meeting, &mut OutputTile::new(&mut y, outputs - first));
                    y
                };
                let all = add(0..rows);
                for (row, y) in all.chunks_exact(outputs - first).enumerate() {
                    let expected: Vec<f32> = (first..outputs)
                        .map(|output| {
                            let column: Vec<f32> = b.chunks_exact(outputs).map(|b| b[output]).collect();
                            (f64::from(before[row * outputs + output]) + dot(&column, &reduced[row * stride..])) as f32
                        })
                        .collect();
                    assert_close("expand", &with_one(&expected), &with_one(y), SUM_TOLERANCE);
                    assert_eq!(add(row..row + 1), y);
                }
            }
        }
    }
}

/// A product of three rows and matrices of 40, 24 and 24 outputs, or of two of 40, with what is added.
fn product(
    kernels: &dyn Kernels,
    matrices: &[PackedMatrix],
    (x, columns): (&[f32], usize),
    epilogue: Epilogue,
    deltas: &[RowDelta<'_>],
) -> Vec<f32> {
    let rows = FloatRows { values: x, columns };
    let product = Product {
        matrices,
        activations: Activations::Float(rows),
        epilogue,
        deltas,
        bias: None,
        ahead: &[],
        meanwhile: &[],
    };
    let mut output = vec![0.5; x.len() / columns * product.width()];
    multiply(kernels, &ThreadPool::new(2), &product, &mut output);
    output
}

fn packed(outputs: usize, columns: usize, numbers: &mut Numbers) -> (PackedMatrix, Vec<f32>) {
    let values = numbers.row(outputs * columns);
    let bytes: Vec<u8> = values
        .iter()
        .flat_map(|value| value.to_le_bytes())
        .collect();
    let source = WeightSource {
        block_type: BlockType::F32,
        bytes: &bytes,
        rows: outputs,
        columns,
        row_order: None,
    };
    let matrix = PackedMatrix::pack(&source, &ThreadPool::new(1), &Arena::default()).unwrap();
    (matrix, values)
}

const COLUMNS: usize = 64;
const RANK: usize = 3;
const STRIDE: usize = 5;

/// A product of three rows, of which the second has an adapter over the middle of all outputs, which crosses matrices,
/// and the third one over the last.
struct Case {
    epilogue: Epilogue,
    x: Vec<f32>,
    matrices: Vec<PackedMatrix>,
    weights: Vec<f32>,
    adapters: [Place; 2],
}

/// One adapter: of a row, from an output on, for so many.
struct Place {
    row: usize,
    first: usize,
    count: usize,
    a: Vec<f32>,
    b: Vec<f32>,
}

impl Case {
    fn new(epilogue: Epilogue, heights: &[usize], numbers: &mut Numbers) -> Self {
        let (matrices, weights): (Vec<_>, Vec<_>) = heights
            .iter()
            .map(|outputs| packed(*outputs, COLUMNS, numbers))
            .unzip();
        let outputs: usize = heights.iter().sum();
        let adapters = [(1, 10, 50), (2, outputs - 7, 7)].map(|(row, first, count)| Place {
            row,
            first,
            count,
            a: numbers.row(RANK * COLUMNS),
            b: numbers.row(RANK * count),
        });
        Self {
            epilogue,
            x: numbers.row(3 * COLUMNS),
            matrices,
            weights: weights.concat(),
            adapters,
        }
    }

    /// With weights that have `B A` in them.
    fn exact(&self, row: usize, output: usize) -> f64 {
        let x = &self.x[row * COLUMNS..(row + 1) * COLUMNS];
        let weight = |column: usize| {
            let mut weight = f64::from(self.weights[output * COLUMNS + column]);
            for place in self.adapters.iter().filter(|place| place.row == row) {
                if (place.first..place.first + place.count).contains(&output) {
                    for r in 0..RANK {
                        let b = f64::from(place.b[r * place.count + output - place.first]);
                        weight += b * f64::from(place.a[r * COLUMNS + column]);
                    }
                }
            }
            weight
        };
        x.iter()
            .enumerate()
            .map(|(column, x)| weight(column) * f64::from(*x))
            .sum()
    }

    fn expected(&self, width: usize) -> Vec<f32> {
        let value = |index: usize| {
            let (row, output) = (index / width, index % width);
            let exact = self.exact(row, output);
            match self.epilogue {
                Epilogue::Replace => exact,
                Epilogue::Add => 0.5 + exact,
                Epilogue::Gate(_) => {
                    exact / (1.0 + (-exact).exp()) * self.exact(row, output + width)
                }
            }
        };
        (0..3 * width).map(|index| value(index) as f32).collect()
    }

    fn computed(&self, kernels: &dyn Kernels) -> Vec<f32> {
        let reduced = self.adapters.each_ref().map(|place| {
            let mut reduced = vec![f32::NAN; STRIDE];
            let x = &self.x[place.row * COLUMNS..(place.row + 1) * COLUMNS];
            let x = FloatRows {
                values: x,
                columns: COLUMNS,
            };
            kernels.lora_reduce(LoraNumbers::F32(&place.a), x, (&mut reduced, STRIDE));
            reduced
        });
        let b = self
            .adapters
            .each_ref()
            .map(|place| panels(&place.b, place.count));
        let deltas: Vec<_> = self
            .adapters
            .iter()
            .zip(&reduced)
            .zip(&b)
            .map(|((place, reduced), b)| RowDelta {
                rows: place.row..place.row + 1,
                first_output: place.first,
                outputs: place.count,
                b: LoraNumbers::F32(b),
                reduced,
                stride: STRIDE,
                rank: RANK,
            })
            .collect();
        self.product(kernels, &deltas)
    }

    fn product(&self, kernels: &dyn Kernels, deltas: &[RowDelta<'_>]) -> Vec<f32> {
        let input = (&self.x[..], COLUMNS);
        product(kernels, &self.matrices, input, self.epilogue, deltas)
    }
}

#[test]
fn what_is_added_is_as_if_the_weights_had_it() {
    let mut numbers = Numbers(3);
    for (epilogue, heights) in [
        (Epilogue::Replace, &[40, 24, 24][..]),
        (Epilogue::Add, &[40, 24, 24]),
        (Epilogue::Gate(Activation::Silu), &[40, 40]),
    ] {
        let case = Case::new(epilogue, heights, &mut numbers);
        for kernels in available() {
            let (found, without) = (case.computed(&*kernels), case.product(&*kernels, &[]));
            let width = found.len() / 3;
            assert_close("product", &case.expected(width), &found, SUM_TOLERANCE);
            assert_eq!(found[..width], without[..width], "a row without an adapter");
            assert_ne!(found[width..2 * width], without[width..2 * width]);
        }
    }
}

#[test]
#[should_panic(expected = "outputs 30.. and 11 more of 40")]
fn an_adapter_that_leaves_its_product() {
    let mut numbers = Numbers(4);
    let (matrix, _) = packed(40, 64, &mut numbers);
    let delta = RowDelta {
        rows: 0..1,
        first_output: 30,
        outputs: 11,
        b: LoraNumbers::F32(&[0.0; LORA_PANEL]),
        reduced: &[0.0],
        stride: 1,
        rank: 1,
    };
    let x = numbers.row(64);
    product(
        &ruvllm_kernels::Scalar,
        &[matrix],
        (&x, 64),
        Epilogue::Replace,
        &[delta],
    );
}
