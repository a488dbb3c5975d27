//! Trials of rotary embedding, RMSNorm and gated activation in the formats that the engine has no rows of.

use super::trial::{
    Expected, FLOATS, HALF_ROUNDING, HALVES, Trial, numbers, read_floats, read_halves, words,
};
use crate::serve::formulas::{self, GROUP, Rotation};

/// Values that were rounded to f16 once.
fn rounded(values: Vec<f64>) -> Vec<Expected> {
    let near = |value: f64| Expected::near(value, HALF_ROUNDING * value.abs());
    values.into_iter().map(near).collect()
}

pub(super) fn ropes_of_halves() -> Vec<Trial> {
    ropes().map(rope_f16).into()
}

fn ropes() -> [Rotation; 3] {
    let shape = |batch, sequence, heads, head_dim, rotary_dims, is_adjacent| Rotation {
        batch,
        sequence,
        heads,
        head_dim,
        rotary_dims,
        is_adjacent,
    };
    [
        shape(2, 3, 2, 40, 36, false),
        shape(1, 2, 3, 64, 64, false),
        shape(1, 2, 3, 40, 24, true),
    ]
}

/// Heads that are whole blocks; in the second some of a block's dimensions turn, and another block is copied.
pub(super) fn ropes_of_blocks() -> Vec<Trial> {
    let [a, b, c] = ropes();
    [
        Rotation {
            head_dim: 64,
            rotary_dims: 64,
            ..a
        },
        Rotation {
            head_dim: 96,
            rotary_dims: 48,
            ..b
        },
        Rotation {
            head_dim: 64,
            rotary_dims: 32,
            ..c
        },
    ]
    .map(rope_q8)
    .into()
}

fn rope_params(shape: &Rotation) -> Vec<u8> {
    words(&[
        shape.batch,
        shape.sequence,
        shape.heads,
        shape.head_dim,
        shape.rotary_dims,
        usize::from(shape.is_adjacent),
    ])
}

/// Cosines and sines as a plane, and each by itself.
fn angles(shape: &Rotation) -> (Vec<u8>, Vec<f64>, Vec<f64>) {
    let angles = numbers(shape.angles(), 4);
    let (sines, cosines): (Vec<_>, Vec<_>) = angles.iter().map(|angle| angle.sin_cos()).unzip();
    let (mut plane, cosines) = FLOATS.plane(&cosines);
    let (behind, sines) = FLOATS.plane(&sines);
    plane.extend(behind);
    (plane, cosines, sines)
}

fn rope_f16(shape: Rotation) -> Trial {
    let (a, x) = HALVES.plane(&numbers(shape.elements(), 3));
    let (b, cosines, sines) = angles(&shape);
    Trial {
        name: format!("{shape:?}"),
        params: rope_params(&shape),
        output: vec![0; a.len()],
        a,
        b,
        scratch_bytes: 0,
        expected: rounded(formulas::rope(&shape, &x, &cosines, &sines)),
        read: Box::new(read_halves),
    }
}

/// Bytes of a block: f32 scale, 32 signed bytes.
const BLOCK_BYTES: usize = 4 + GROUP;

fn read_blocks(bytes: &[u8]) -> Vec<f64> {
    let block = |block: &[u8]| {
        let scale = read_floats(&block[..4])[0];
        let values = block[4..]
            .iter()
            .map(move |byte| scale * f64::from(*byte as i8));
        values.collect::<Vec<_>>()
    };
    bytes.chunks_exact(BLOCK_BYTES).flat_map(block).collect()
}

fn rope_q8(shape: Rotation) -> Trial {
    let mut a = Vec::new();
    for scale in numbers(shape.elements() / GROUP, 7) {
        a.extend((0.01 + scale.abs() / 64.0).to_le_bytes());
        let values = numbers(GROUP, scale.to_bits());
        // -4 to 4 become -126 to 126.
        a.extend(values.iter().map(|value| (value * 31.5) as i8 as u8));
    }
    let x = read_blocks(&a);
    let (b, cosines, sines) = angles(&shape);
    let y = formulas::rope(&shape, &x, &cosines, &sines);
    let mut expected = Vec::new();
    for (number, block) in y.chunks_exact(GROUP).enumerate() {
        let begin = number * GROUP % shape.head_dim;
        let largest = block
            .iter()
            .fold(0.0f64, |most, value| most.max(value.abs()));
        // Half a step; and what is copied, is copied exactly.
        let is_turned = begin < shape.rotary_dims;
        expected.extend(block.iter().map(|value| {
            if is_turned {
                Expected::near(*value, largest / 127.0 / 2.0)
            } else {
                Expected::exactly(*value)
            }
        }));
    }
    Trial {
        name: format!("{shape:?}"),
        params: rope_params(&shape),
        output: vec![0; a.len()],
        a,
        b,
        scratch_bytes: 4 * shape.head_dim,
        expected,
        read: Box::new(read_blocks),
    }
}

fn rms_norm_f16(
    (rows, columns, epsilon, offset, partial_sums): (usize, usize, f32, f32, usize),
) -> Trial {
    let (a, x) = HALVES.plane(&numbers(rows * columns, 1));
    let (b, weight) = FLOATS.plane(&numbers(columns, 2));
    let [epsilon_bits, offset_bits] = [epsilon, offset].map(|value| value.to_bits() as usize);
    let options = (f64::from(epsilon), f64::from(offset));
    Trial {
        name: format!("{rows} x {columns}"),
        params: words(&[rows, columns, epsilon_bits, offset_bits, partial_sums]),
        output: vec![0; a.len()],
        a,
        b,
        scratch_bytes: 0,
        expected: rounded(formulas::rms_norm(&x, &weight, options)),
        read: Box::new(read_halves),
    }
}

fn swiglu_f16((elements, is_gelu): (usize, bool)) -> Trial {
    let (a, gate) = HALVES.plane(&numbers(elements, 5));
    let (b, up) = HALVES.plane(&numbers(elements, 6));
    Trial {
        name: format!("{elements} values, GELU: {is_gelu}"),
        params: words(&[elements, usize::from(is_gelu)]),
        output: vec![0; a.len()],
        a,
        b,
        scratch_bytes: 0,
        expected: rounded(formulas::gate(is_gelu, &gate, &up)),
        read: Box::new(read_halves),
    }
}

pub(super) fn rms_norms() -> Vec<Trial> {
    let cases = [
        (3, 50, 1e-5, 0.0, 16),
        // An epsilon that f16 tells from none.
        (2, 64, 0.5, 1.0, 8),
        (1, 37, 0.0, 0.5, 4),
    ];
    cases.map(rms_norm_f16).into()
}

pub(super) fn gates() -> Vec<Trial> {
    [(75, false), (64, false), (75, true)]
        .map(swiglu_f16)
        .into()
}
