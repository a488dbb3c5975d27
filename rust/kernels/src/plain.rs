//! Operations in plain loops, functions by their definition in f64: what the fast versions are compared with, and what
//! they share with it of an operation's definition. Attention has its own, in `attention/plain.rs`.

use crate::Activation;
use crate::matmul::words::{LARGEST_WORD, block_bits, weight_words, word_scales};
use crate::matmul::{
    FloatRows, OutputTile, QuantizedRowMut, QuantizedRows, TileRange, WordRowMut, WordRows,
    check_product, decode_tile, takes_words,
};
use crate::weights::{BLOCK_INPUTS, Elements, PackedMatrix, TILE_ROWS, TileBlock};

/// Values that share a sum in [`Kernels::weight_sums`](crate::Kernels::weight_sums), and a largest one in
/// [`Kernels::block_maxima`](crate::Kernels::block_maxima).
pub const WEIGHT_BLOCK: usize = 64;
/// Below it an exponential counts as nothing; the last that is a normal number.
pub(crate) const LEAST_EXPONENT: f32 = -87.0;

/// How many steps make 1 where `steps` make `largest`. None where that is infinite: values below 1e-34
/// are as good as zeros, and infinitely many steps would come out with either sign.
pub(crate) fn steps_in_one(steps: f32, largest: f32) -> f32 {
    let inverse = steps / largest;
    if inverse.is_finite() { inverse } else { 0.0 }
}

pub(crate) fn rms_norm(input: &[f32], weight: &[f32], epsilon: f32, output: &mut [f32]) {
    for (input, output) in input
        .chunks_exact(weight.len())
        .zip(output.chunks_exact_mut(weight.len()))
    {
        let squares: f64 = input.iter().map(|value| f64::from(*value).powi(2)).sum();
        let root = (squares / weight.len() as f64 + f64::from(epsilon)).sqrt();
        for ((value, weight), output) in input.iter().zip(weight).zip(output) {
            *output = (f64::from(*value) / root * f64::from(*weight)) as f32;
        }
    }
}

pub(crate) fn add(input: &[f32], accumulator: &mut [f32]) {
    for (value, sum) in input.iter().zip(accumulator) {
        *sum += value;
    }
}

pub(crate) fn add_scaled(factor: f32, input: &[f32], accumulator: &mut [f32]) {
    assert_eq!(input.len(), accumulator.len());
    for (value, sum) in input.iter().zip(accumulator) {
        *sum += factor * value;
    }
}

pub(crate) fn dot(first: &[f32], second: &[f32]) -> f32 {
    assert_eq!(first.len(), second.len());
    let pairs = first.iter().zip(second);
    let sum: f64 = pairs.map(|(a, b)| f64::from(*a) * f64::from(*b)).sum();
    sum as f32
}

pub(crate) fn rotate(heads: &mut [f32], head_dim: usize, cosines: &[f32], sines: &[f32]) {
    let half = cosines.len();
    for head in heads.chunks_exact_mut(head_dim) {
        for (index, (cosine, sine)) in cosines.iter().zip(sines).enumerate() {
            let (x, y) = (head[index], head[index + half]);
            head[index] = x * cosine - y * sine;
            head[index + half] = y * cosine + x * sine;
        }
    }
}

pub(crate) fn gate(activation: Activation, gate: &[f32], up: &[f32], output: &mut [f32]) {
    for ((x, up), output) in gate.iter().zip(up).zip(output) {
        let x = f64::from(*x);
        let active = match activation {
            Activation::Silu => x / (1.0 + (-x).exp()),
            Activation::GeluTanh => {
                let inner = (2.0 / std::f64::consts::PI).sqrt() * (x + 0.044_715 * x.powi(3));
                0.5 * x * (1.0 + inner.tanh())
            }
        };
        *output = (active * f64::from(*up)) as f32;
    }
}

pub(crate) fn rms_norm_backward(
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
        let squares: f64 = input.iter().map(|value| f64::from(*value).powi(2)).sum();
        let root = (squares / width as f64 + f64::from(epsilon)).sqrt();
        let weighted = |index: usize| f64::from(weight[index]) * f64::from(output[index]);
        let products = input.iter().enumerate();
        let products: f64 = products
            .map(|(index, value)| f64::from(*value) * weighted(index))
            .sum();
        for (index, gradient) in gradient.iter_mut().enumerate() {
            let pull = f64::from(input[index]) * products / (root.powi(3) * width as f64);
            *gradient += (weighted(index) / root - pull) as f32;
        }
    }
}

pub(crate) fn gate_backward(
    activation: Activation,
    output_gradient: &[f32],
    (gate, up): (&mut [f32], &mut [f32]),
) {
    assert!(gate.len() == up.len() && gate.len() == output_gradient.len());
    for ((output, gate), up) in output_gradient.iter().zip(gate).zip(up) {
        let (output, x, factor) = (f64::from(*output), f64::from(*gate), f64::from(*up));
        let (active, slope) = match activation {
            Activation::Silu => {
                let share = 1.0 / (1.0 + (-x).exp());
                (x * share, share * (1.0 + x * (1.0 - share)))
            }
            Activation::GeluTanh => {
                let factor = (2.0 / std::f64::consts::PI).sqrt();
                let tanh = (factor * (x + 0.044_715 * x.powi(3))).tanh();
                let inner_slope = factor * (1.0 + 3.0 * 0.044_715 * x * x);
                let slope = 0.5 * (1.0 + tanh) + 0.5 * x * (1.0 - tanh * tanh) * inner_slope;
                (0.5 * x * (1.0 + tanh), slope)
            }
        };
        *gate = (output * factor * slope) as f32;
        *up = (output * active) as f32;
    }
}

pub(crate) fn soft_cap(values: &mut [f32], cap: f32) {
    for value in values {
        *value = (f64::from(cap) * (f64::from(*value) / f64::from(cap)).tanh()) as f32;
    }
}

pub(crate) fn softmax(input: &[f32], output: &mut [f32]) {
    assert_eq!(input.len(), output.len());
    let highest = input.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let weight = |value: &f32| (f64::from(*value) - f64::from(highest)).exp();
    let total: f64 = input.iter().map(weight).sum();
    for (value, share) in input.iter().zip(output) {
        *share = (weight(value) / total) as f32;
    }
}

pub(crate) fn log_softmax(input: &[f32], logs: &mut [f32], shares: &mut [f32]) {
    assert!(input.len() == logs.len() && input.len() == shares.len());
    let highest = input.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let distance = |value: &f32| f64::from(*value) - f64::from(highest);
    let total: f64 = input.iter().map(|value| distance(value).exp()).sum();
    for ((value, log), share) in input.iter().zip(logs).zip(shares) {
        let exact = distance(value) - total.ln();
        (*log, *share) = (exact as f32, exact.exp() as f32);
    }
}

pub(crate) fn block_maxima(values: &[f32], maxima: &mut [f32]) {
    assert_eq!(maxima.len(), values.len().div_ceil(WEIGHT_BLOCK));
    for (block, maximum) in values.chunks(WEIGHT_BLOCK).zip(maxima) {
        *maximum = block.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    }
}

pub(crate) fn weight_sums(
    values: &[f32],
    (maximum, inverse_temperature): (f32, f32),
    sums: &mut [f32],
) {
    let weight = |value: &f32| match (value - maximum) * inverse_temperature {
        exponent if exponent >= LEAST_EXPONENT => exponent.min(0.0).exp(),
        _ => 0.0,
    };
    for (block, sum) in values.chunks(WEIGHT_BLOCK).zip(sums) {
        *sum = block.iter().map(weight).sum();
    }
}

pub(crate) fn decode_rows(matrix: &PackedMatrix, rows: &[u32], output: &mut [f32]) {
    assert_eq!(output.len(), rows.len() * matrix.columns());
    for (row, output) in rows.iter().zip(output.chunks_exact_mut(matrix.columns())) {
        matrix.decode_row(*row as usize, output);
    }
}

pub(crate) fn quantize(input: &[f32], row: &mut QuantizedRowMut<'_>) {
    for (block, values) in input.chunks_exact(BLOCK_INPUTS).enumerate() {
        let largest = values
            .iter()
            .fold(0.0f32, |largest, value| largest.max(value.abs()));
        let inverse = steps_in_one(127.0, largest);
        let scale = largest / 127.0;
        let quants = &mut row.quants[block * BLOCK_INPUTS..(block + 1) * BLOCK_INPUTS];
        for (value, quant) in values.iter().zip(quants.iter_mut()) {
            *quant = (value * inverse).round_ties_even() as i8;
        }
        let sums = [0, 16].map(|first| {
            let half = &quants[first..first + 16];
            half.iter().map(|quant| i32::from(*quant)).sum()
        });
        row.describe_block(block, scale, sums);
    }
}

pub(crate) fn multiply_quantized(
    matrix: &PackedMatrix,
    rows: &QuantizedRows,
    range: &TileRange,
    output: &mut OutputTile<'_>,
) {
    check_product(matrix, (rows.tokens(), rows.columns()), range, output);
    let Elements::Quantized(layout) = matrix.elements() else {
        panic!("a dense matrix has no integers; multiply_float is for it")
    };
    for (tile, lane, token) in cells(range) {
        let (values, scales) = (matrix.tile_values(tile), matrix.tile_scales(tile));
        let mut sum = 0.0;
        for block in 0..rows.blocks() {
            let view = TileBlock::new(layout, values, scales, block);
            let quants =
                &rows.quants[token * rows.columns() + block * BLOCK_INPUTS..][..BLOCK_INPUTS];
            let activation = rows.scales[token * rows.blocks() + block];
            for group in 0..layout.groups() {
                let inputs = group * layout.group..(group + 1) * layout.group;
                let (mut dot, mut total) = (0, 0);
                for input in inputs {
                    let quant = i32::from(quants[input]);
                    dot += (i32::from(view.integer(lane, input)) - i32::from(layout.zero)) * quant;
                    total += quant;
                }
                let (scale, minimum) = view.scale(lane, group);
                sum += scale * activation * dot as f32 + minimum * activation * total as f32;
            }
        }
        put_cell(range, (tile, lane, token), sum, output);
    }
}

pub(crate) fn quantize_words(input: &[f32], row: &mut WordRowMut<'_>) {
    let blocks = input
        .chunks_exact(BLOCK_INPUTS)
        .zip(row.words.chunks_exact_mut(BLOCK_INPUTS));
    for ((values, words), scale) in blocks.zip(row.scales.iter_mut()) {
        let largest = values
            .iter()
            .fold(0.0f32, |largest, value| largest.max(value.abs()));
        let inverse = steps_in_one(LARGEST_WORD, largest);
        *scale = largest / LARGEST_WORD;
        for (value, word) in values.iter().zip(words) {
            *word = (value * inverse).round_ties_even() as i16;
        }
    }
}

pub(crate) fn multiply_words(
    matrix: &PackedMatrix,
    rows: &WordRows,
    range: &TileRange,
    output: &mut OutputTile<'_>,
) {
    check_product(matrix, (rows.tokens(), rows.columns()), range, output);
    assert!(takes_words(matrix), "words meet 16-bit weights alone");
    for (tile, lane, token) in cells(range) {
        let (values, worths) = (matrix.tile_values(tile), matrix.tile_scales(tile));
        let mut sum = 0.0;
        for block in 0..rows.blocks() {
            let (worth, scale) = word_scales(worths[block * TILE_ROWS + lane]);
            let bits = block_bits(values, block, lane);
            let weights = weight_words(matrix.elements(), bits, scale);
            let begin = token * rows.columns() + block * BLOCK_INPUTS;
            let words = &rows.words[begin..begin + BLOCK_INPUTS];
            let products = weights.iter().zip(words);
            let dot: i32 = products
                .map(|(weight, word)| i32::from(*weight) * i32::from(*word))
                .sum();
            sum += worth * rows.scales[token * rows.blocks() + block] * dot as f32;
        }
        put_cell(range, (tile, lane, token), sum, output);
    }
}

pub(crate) fn multiply_float(
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
    let mut weights = Vec::new();
    for tile in range.tiles.clone() {
        float_tile(matrix, tile, &mut weights);
        for token in range.tokens.clone() {
            let inputs = &rows.values[token * rows.columns..(token + 1) * rows.columns];
            for lane in 0..TILE_ROWS {
                let products = inputs
                    .iter()
                    .zip(weights.iter().skip(lane).step_by(TILE_ROWS));
                let sum = products.map(|(input, weight)| input * weight).sum();
                put_cell(range, (tile, lane, token), sum, output);
            }
        }
    }
}

/// Any tile as f32 `[columns, 16]`.
fn float_tile(matrix: &PackedMatrix, tile: usize, weights: &mut Vec<f32>) {
    let values = matrix.tile_values(tile);
    weights.clear();
    match matrix.elements() {
        Elements::Quantized(_) => decode_tile(matrix, tile, weights),
        Elements::Float => weights.extend(
            values
                .as_chunks::<4>()
                .0
                .iter()
                .map(|bytes| f32::from_le_bytes(*bytes)),
        ),
        Elements::Half => weights.extend(
            values
                .as_chunks::<2>()
                .0
                .iter()
                .map(|bytes| half::f16::from_le_bytes(*bytes).to_f32()),
        ),
        Elements::Bfloat => weights.extend(
            values
                .as_chunks::<2>()
                .0
                .iter()
                .map(|bytes| half::bf16::from_le_bytes(*bytes).to_f32()),
        ),
    }
}

/// Every (tile, lane, token) of a range.
fn cells(range: &TileRange) -> impl Iterator<Item = (usize, usize, usize)> {
    let tokens = range.tokens.clone();
    range.tiles.clone().flat_map(move |tile| {
        let tokens = tokens.clone();
        (0..TILE_ROWS).flat_map(move |lane| tokens.clone().map(move |token| (tile, lane, token)))
    })
}

fn put_cell(
    range: &TileRange,
    (tile, lane, token): (usize, usize, usize),
    sum: f32,
    output: &mut OutputTile<'_>,
) {
    let column = (tile - range.tiles.start) * TILE_ROWS + lane;
    output.put(token - range.tokens.start, column, &[sum]);
}
