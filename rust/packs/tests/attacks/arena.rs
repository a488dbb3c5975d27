//! Tensors in a kernel's own memory: only where the host says so, only in their ranges, and nothing for the next.

use std::sync::Arc;

use ruvllm_packs::{
    Arena, Inputs, Isolation, Kernel, KernelError, Plane, PlaneMut, PlaneSizes, Sandbox,
    SandboxOptions,
};

use crate::kernels::{body, forward, module, rms_norm};
use crate::support::{TestPack, close, norm, options};

/// Says in its first output word whether any byte from there to the end of the output is not zero.
const LOOKS: &str = "(local $at i32) (local $end i32) (local $found i32)
    (local.set $at (i32.load offset=16 (local.get $d)))
    (local.set $end (i32.add (local.get $at) (i32.load offset=20 (local.get $d))))
    (loop $each
      (local.set $found (i32.or (local.get $found) (i32.load (local.get $at))))
      (local.set $at (i32.add (local.get $at) (i32.const 4)))
      (br_if $each (i32.lt_u (local.get $at) (local.get $end))))
    (i32.store (i32.load offset=16 (local.get $d)) (local.get $found))
    i32.const 0";

fn trusting() -> SandboxOptions {
    SandboxOptions {
        arenas: true,
        ..options()
    }
}

fn kernel(text: &str, options: SandboxOptions) -> Arc<Kernel> {
    let sandbox = Arc::new(Sandbox::new(options).unwrap());
    let pack = TestPack::of(text).load_in(&sandbox).unwrap();
    Arc::clone(pack.kernel("rmsnorm_f32").unwrap())
}

fn sizes(a: usize, b: usize, output: usize) -> PlaneSizes {
    PlaneSizes {
        a,
        b,
        output,
        scratch: 0,
    }
}

fn put(target: &mut [u8], values: impl Iterator<Item = f32>) {
    for (place, value) in target.chunks_exact_mut(4).zip(values) {
        place.copy_from_slice(&value.to_le_bytes());
    }
}

fn floats(bytes: &[u8]) -> Vec<f32> {
    let words = bytes.as_chunks::<4>().0;
    words.iter().map(|word| f32::from_le_bytes(*word)).collect()
}

#[test]
fn it_is_off_unless_the_host_says_so() {
    let kernel = kernel(&rms_norm(""), options());
    let error = kernel.arena(sizes(16, 16, 16), &[0; 20]).unwrap_err();
    assert!(
        matches!(&error, KernelError::Instance { reason } if reason.contains("arenas")),
        "{error}"
    );
}

#[test]
fn it_computes_what_copies_do() {
    let (rows, columns) = (3, 40);
    let kernel = kernel(&rms_norm(""), trusting());
    let params = [rows as u32, columns as u32, 1e-5f32.to_bits(), 0, 16].map(u32::to_le_bytes);
    let all = 4 * rows * columns;
    let mut arena = kernel
        .arena(sizes(all, 4 * columns, all), params.as_flattened())
        .unwrap();
    // More than once: what the kernel wrote over is laid out anew.
    for _ in 0..3 {
        put(
            arena.input_a(),
            (0..rows * columns).map(|index| (index % 17) as f32 - 7.5),
        );
        put(
            arena.input_b(),
            (0..columns).map(|index| index as f32 / 8.0 + 1.0),
        );
        arena = arena.call().unwrap();
        let expected = norm(&*crate::support::native(), rows, columns);
        assert!(close(&floats(arena.output()), &expected));
    }
}

#[test]
fn planes_have_their_sizes_and_memory_its_end() {
    let kernel = kernel(&rms_norm(""), trusting());
    let mut arena = kernel.arena(sizes(48, 20, 36), &[0; 20]).unwrap();
    let lengths = |arena: &mut Arena<'_>| {
        [
            arena.input_a().len(),
            arena.input_b().len(),
            arena.output().len(),
        ]
    };
    assert_eq!(lengths(&mut arena), [48, 20, 36]);
    drop(arena);
    // 16 pages, by the manifest.
    for a in [16 << 16, usize::MAX - 8, usize::MAX] {
        let error = kernel.arena(sizes(a, 16, 16), &[0; 20]).unwrap_err();
        assert!(matches!(error, KernelError::TooLarge { .. }), "{error}");
    }
    assert!(kernel.arena(sizes(1 << 16, 16, 16), &[0; 20]).is_ok());
}

#[test]
fn nothing_is_left_for_the_next() {
    let looks = kernel(&body(LOOKS), trusting());
    let mut y = [0u8; 1024];
    for _ in 0..2 {
        let mut arena = looks.arena(sizes(2048, 2048, 2048), &[]).unwrap();
        assert!(arena.input_a().iter().all(|byte| *byte == 0));
        assert!(arena.input_b().iter().all(|byte| *byte == 0));
        assert!(arena.output().iter().all(|byte| *byte == 0));
        arena.input_a().fill(7);
        arena.input_b().fill(7);
        arena.output().fill(7);
        drop(arena.call().unwrap());
        // A call with copies, which leaves its own.
        let inputs = Inputs {
            a: Some(Plane::Bytes(&[5; 3000])),
            b: &[],
            scratch_bytes: 0,
            params: &[],
        };
        looks.call(&inputs, &mut PlaneMut::Bytes(&mut y)).unwrap();
        assert_eq!(y[..4], [0; 4], "a call found bytes of an arena");
    }
}

#[test]
fn a_kernel_that_writes_beside_its_output_loses_the_arena() {
    let over = "(i32.store8 (i32.add (i32.load offset=16 (local.get $d)) (i32.load offset=20 (local.get $d)))
        (i32.const 1)) i32.const 0";
    let kernel = kernel(&module(0, 0, &forward(over)), trusting());
    let arena = kernel.arena(sizes(16, 0, 16), &[]).unwrap();
    assert_eq!(arena.call().unwrap_err(), KernelError::OutputOverrun);
    assert!(kernel.arena(sizes(16, 0, 16), &[]).is_ok());
}

#[test]
fn a_trap_loses_the_arena_and_not_the_kernel() {
    let kernel = kernel(&body("unreachable"), trusting());
    for _ in 0..2 {
        let arena = kernel.arena(sizes(16, 0, 16), &[]).unwrap();
        assert_eq!(arena.call().unwrap_err(), KernelError::Unreachable);
    }
}

#[test]
fn two_callers_have_two_arenas() {
    let options = SandboxOptions {
        isolation: Isolation::Instances,
        ..trusting()
    };
    let kernel = kernel(&body(LOOKS), options);
    let mut first = kernel.arena(sizes(64, 0, 64), &[]).unwrap();
    first.output().fill(3);
    let second = kernel.arena(sizes(64, 0, 64), &[]).unwrap();
    let mut second = second.call().unwrap();
    assert_eq!(second.output()[..4], [0; 4]);
    assert_eq!(first.output()[..4], [3; 4]);
}
