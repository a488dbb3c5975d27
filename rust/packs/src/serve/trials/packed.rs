//! Trials of keys and values in groups, and of low-rank adapters.

use super::trial::{
    ABSOLUTE, Expected, FLOATS, Format, HALF_ROUNDING, HALVES, RELATIVE, Trial, numbers,
    read_floats, words,
};
use crate::serve::formulas::{self, Adapter, GROUP, Groups};

/// Groups that are not full along both axes, and some that are.
fn groups(bits: usize) -> [Groups; 4] {
    let shape = |tokens, channels, is_along_tokens| Groups {
        tokens,
        channels,
        is_along_tokens,
        bits,
    };
    [
        shape(3, 40, false),
        shape(35, 6, true),
        shape(2, 64, false),
        shape(32, 5, true),
    ]
}

fn group_params(shape: &Groups) -> Vec<u8> {
    let axis = usize::from(shape.is_along_tokens);
    words(&[shape.tokens, shape.channels, axis, GROUP])
}

fn kv_pack(shape: Groups) -> Trial {
    let mut values = numbers(shape.tokens * shape.channels, 8);
    let members = shape.members();
    // A group whose values are all one, and so without a step.
    for place in &members[0] {
        values[*place] = 1.5;
    }
    let (a, x) = FLOATS.plane(&values);
    let mut expected: Vec<_> = x.iter().map(|value| Expected::near(*value, 0.0)).collect();
    let mut unused = 0;
    for group in &members {
        let values = group.iter().map(|place| x[*place]);
        let least = values.clone().fold(f64::INFINITY, f64::min);
        let range = values.fold(f64::NEG_INFINITY, f64::max) - least;
        // Half a step, and what rounding step and minimum to f16 takes away at the ends.
        let more = range / shape.levels() / 2.0 + HALF_ROUNDING * (range + least.abs());
        for place in group {
            expected[*place].allowed += more;
        }
        unused += GROUP - group.len();
    }
    expected.extend((0..unused).map(|_| Expected::exactly(0.0)));
    Trial {
        name: format!("{shape:?}"),
        params: group_params(&shape),
        a,
        b: Vec::new(),
        scratch_bytes: 0,
        output: vec![0xFF; members.len() * shape.group_bytes()],
        expected,
        read: Box::new(move |bytes| shape.unpack(bytes)),
    }
}

fn kv_unpack(shape: Groups) -> Trial {
    let mut a = Vec::new();
    for (number, _) in shape.members().iter().enumerate() {
        let head = numbers(2, 9 + number as u32);
        a.extend(HALVES.plane(&[head[0].abs() / 16.0, head[1]]).0);
        let codes = numbers(shape.group_bytes() - 4, 99 + number as u32);
        a.extend(codes.iter().map(|code| ((code + 4.0) * 31.9) as u8));
    }
    let elements = shape.tokens * shape.channels;
    let values = shape.unpack(&a).into_iter().take(elements);
    Trial {
        name: format!("{shape:?}"),
        params: group_params(&shape),
        a,
        b: Vec::new(),
        scratch_bytes: 0,
        output: vec![0; 4 * elements],
        expected: values.map(|value| Expected::near(value, 0.0)).collect(),
        read: Box::new(read_floats),
    }
}

fn shapes() -> [(usize, Adapter); 3] {
    let shape = |inputs, rank, outputs, scale| Adapter {
        inputs,
        rank,
        outputs,
        scale,
    };
    [
        (3, shape(40, 5, 7, 0.5)),
        (1, shape(64, 8, 33, -2.0)),
        (2, shape(37, 16, 64, 1.0)),
    ]
}

fn lora(tokens: usize, shape: Adapter, matrices: &Format) -> Trial {
    // Within 1, so that sums stay where f32 is fine.
    let small = |count, seed| {
        numbers(count, seed)
            .iter()
            .map(|value| value / 4.0)
            .collect()
    };
    let [x, y]: [Vec<f32>; 2] =
        [(shape.inputs, 10), (shape.outputs, 11)].map(|(width, seed)| small(tokens * width, seed));
    let [down, up]: [Vec<f32>; 2] = [(shape.inputs, 12), (shape.outputs, 13)]
        .map(|(width, seed)| small(shape.rank * width, seed));
    let ((a, x), (output, y)) = (FLOATS.plane(&x), FLOATS.plane(&y));
    let ((mut b, down), (behind, up)) = (matrices.plane(&down), matrices.plane(&up));
    b.extend(behind);
    let near = |(value, magnitude): (f64, f64)| Expected {
        value,
        allowed: f64::from(ABSOLUTE) + f64::from(RELATIVE) * magnitude,
    };
    let expected = formulas::lora(&shape, &x, (&down, &up), &y);
    let scale = (shape.scale as f32).to_bits() as usize;
    Trial {
        name: format!("{tokens} tokens, {shape:?}"),
        params: words(&[tokens, shape.inputs, shape.rank, shape.outputs, scale]),
        a,
        b,
        scratch_bytes: 16 * shape.rank.div_ceil(4),
        output,
        expected: expected.into_iter().map(near).collect(),
        read: Box::new(read_floats),
    }
}

pub(super) fn kv_packs(bits: usize) -> Vec<Trial> {
    groups(bits).map(kv_pack).into()
}

pub(super) fn kv_unpacks(bits: usize) -> Vec<Trial> {
    groups(bits).map(kv_unpack).into()
}

/// With matrices of this format.
pub(super) fn adapters(matrices: &Format) -> Vec<Trial> {
    let shapes = shapes();
    shapes
        .map(|(tokens, shape)| lora(tokens, shape, matrices))
        .into()
}
