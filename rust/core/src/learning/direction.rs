//! Where an adapter begins: the directions in which the states of an answer are largest.

use ruvllm_kernels::Kernels;

/// Multiplications after which the largest direction stands out.
const ITERATIONS: usize = 4;

/// Rows of length 1 at right angles to each other, `[rank, width]`: the leading right singular vectors of `states`
/// `[tokens, width]`, about; where the states have fewer directions, any.
pub(super) fn leading(
    kernels: &dyn Kernels,
    states: &[f32],
    width: usize,
    rank: usize,
) -> Vec<f32> {
    let mut found: Vec<f32> = Vec::with_capacity(rank * width);
    for index in 0..rank {
        let mut vector = any(width, index as u32);
        leave(kernels, &found, &mut vector);
        for _ in 0..ITERATIONS {
            let mut next = vec![0.0; width];
            for state in states.chunks_exact(width) {
                kernels.add_scaled(kernels.dot(state, &vector), state, &mut next);
            }
            // Twice, since the first leaves what rounding made of a large part.
            leave(kernels, &found, &mut next);
            leave(kernels, &found, &mut next);
            if !to_unit(kernels, &mut next) {
                break;
            }
            vector = next;
        }
        to_unit(kernels, &mut vector);
        found.extend_from_slice(&vector);
    }
    found
}

/// Takes out of `vector` what lies along rows of length 1.
fn leave(kernels: &dyn Kernels, rows: &[f32], vector: &mut [f32]) {
    for row in rows.chunks_exact(vector.len()) {
        kernels.add_scaled(-kernels.dot(row, vector), row, vector);
    }
}

/// To length 1; false, and nothing changed, for what has none.
fn to_unit(kernels: &dyn Kernels, vector: &mut [f32]) -> bool {
    let length = kernels.dot(vector, vector).sqrt();
    let has_length = length.is_finite() && length > 1e-20;
    if has_length {
        vector.iter_mut().for_each(|value| *value /= length);
    }
    has_length
}

/// The same numbers of either sign each time, that no state is likely to be at right angles to.
fn any(width: usize, salt: u32) -> Vec<f32> {
    let mut bits = 0x9e37_79b9 ^ salt;
    let step = |_| {
        bits ^= bits << 13;
        bits ^= bits >> 17;
        bits ^= bits << 5;
        (bits >> 8) as f32 / (1 << 23) as f32 - 1.0
    };
    (0..width).map(step).collect()
}
