//! What copying costs: the same calls with tensors of the host's, and with tensors that lie in the kernel's memory.

use std::sync::Arc;

use ruvllm_packs::{Arena, Inputs, Pack, Plane, PlaneMut, PlaneSizes};

use crate::{Anything, measure_for};

/// Whatever the kernel, a result made from this and [`b`] again and again stays an ordinary number.
const A: f32 = 30.0;

/// One kernel called both ways.
struct Case {
    name: &'static str,
    id: &'static str,
    /// Floats of A, which is as long as the output, and of B.
    floats: (usize, usize),
    params: &'static [u32],
    calls: usize,
}

const CASES: [Case; 4] = [
    Case {
        name: "RMSNorm 1 x 4096",
        id: "rmsnorm_f32",
        floats: (4096, 4096),
        params: &[1, 4096, 0, 0, 16],
        calls: 20_000,
    },
    Case {
        name: "SwiGLU 11008",
        id: "swiglu_f32",
        floats: (11008, 11008),
        params: &[11008, 0],
        calls: 20_000,
    },
    Case {
        name: "RoPE 32 heads of 128",
        id: "rope_f32",
        floats: (4096, 128),
        params: &[1, 1, 32, 128, 128, 0],
        calls: 20_000,
    },
    Case {
        name: "RoPE [1, 512, 32, 128] in one call",
        id: "rope_f32",
        floats: (512 * 32 * 128, 512 * 128),
        params: &[1, 512, 32, 128, 128, 0],
        calls: 40,
    },
];

/// Prints both for kernels of the reference pack; its sandbox has arenas.
pub(crate) fn print(pack: &Pack) -> Result<(), Anything> {
    println!("-- copies, and tensors in the kernel's memory (arena)");
    for case in &CASES {
        let kernel = Arc::clone(pack.kernel(case.id).ok_or("no such kernel")?);
        let params: Vec<u8> = case
            .params
            .iter()
            .flat_map(|word| word.to_le_bytes())
            .collect();
        let (a, b) = (vec![A; case.floats.0], b(case.floats.1));
        let mut y = a.clone();
        measure_for(&format!("copies {}", case.name), case.calls, || {
            let inputs = Inputs {
                a: Some(Plane::Floats(&a)),
                b: &[Plane::Floats(&b)],
                scratch_bytes: 0,
                params: &params,
            };
            kernel.call(&inputs, &mut PlaneMut::Floats(&mut y)).is_ok()
        });
        let sizes = PlaneSizes {
            a: 4 * a.len(),
            b: 4 * b.len(),
            output: 4 * a.len(),
            scratch: 0,
        };
        let mut arena = Some(filled(kernel.arena(sizes, &params)?, &a, &b));
        measure_for(&format!("arena  {}", case.name), case.calls, || {
            arena = arena.take().and_then(|arena| arena.call().ok());
            arena.is_some()
        });
    }
    Ok(())
}

/// Ones, then zeros: for a rotation, cosines and sines that turn nothing.
fn b(count: usize) -> Vec<f32> {
    (0..count)
        .map(|index| f32::from(index < count / 2))
        .collect()
}

fn filled<'a>(mut arena: Arena<'a>, a: &[f32], b: &[f32]) -> Arena<'a> {
    let put = |place: &mut [u8], values: &[f32]| {
        let bytes = values.iter().flat_map(|value| value.to_le_bytes());
        place
            .iter_mut()
            .zip(bytes)
            .for_each(|(place, byte)| *place = byte);
    };
    put(arena.input_a(), a);
    put(arena.input_b(), b);
    arena
}
