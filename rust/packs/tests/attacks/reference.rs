//! The reference pack: it is accepted, and computes what the engine does, to the bit where the machine has
//! a fused multiply-add.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use ruvllm_kernels::{Activation, Kernels, OutputTile, available};
use ruvllm_packs::{
    Counters, Downgrade, Floors, Host, KERNEL_IDS, Operation, PackKernels, PackManager, Trust,
    TrustedKeys, VerifiedPack,
};

use crate::kernels::{binary, body};
use crate::support::{TestPack, close, native, norm, options, sandbox};

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../python/ruvllm/packs")
}

pub(crate) fn trust() -> Trust {
    let key = std::fs::read_to_string(folder().join("trusted_keys/ruvllm-release.pub")).unwrap();
    Trust {
        keys: TrustedKeys::parse([key.trim()], []).unwrap(),
        host: Host::default(),
    }
}

pub(crate) fn pack() -> VerifiedPack {
    VerifiedPack::read(
        &folder().join("kernel-pack-v1.0.0"),
        &trust(),
        &options().ceilings,
    )
    .unwrap()
}

#[test]
fn it_has_every_kernel_and_becomes_active() {
    for native in available() {
        let host = PackManager::new(sandbox(), trust(), native, Floors::default());
        let summary = host.activate_verified(pack(), Downgrade::Refuse).unwrap();
        let mut ids = KERNEL_IDS.map(|(id, _)| id.to_owned());
        ids.sort();
        assert_eq!(summary.kernels, ids);
    }
}

/// Vector code multiplies and adds in one rounding, and so does a pack's on such a machine.
fn agree(native: &dyn Kernels, found: &[f32], expected: &[f32]) {
    let name = native.name();
    if name.starts_with("avx") || name.starts_with("neon") {
        assert!(found == expected, "{name}: other bits");
    }
    assert!(close(found, expected), "{name}");
}

#[test]
fn operations_are_the_packs_and_agree_with_native() {
    let pack = pack().compile(&sandbox()).unwrap();
    for native in available() {
        let counters = Arc::new(Counters::default());
        let packed = PackKernels::new(Arc::clone(&native), &pack, Arc::clone(&counters));
        for columns in [64, 576, 2048] {
            agree(
                &*native,
                &norm(&packed, 3, columns),
                &norm(&*native, 3, columns),
            );
        }
        let values: Vec<f32> = (0..6000)
            .map(|index| (index % 101) as f32 / 9.0 - 5.0)
            .collect();
        for (activation, columns) in [
            (Activation::Silu, 96),
            (Activation::GeluTanh, 6000),
            (Activation::Silu, 33),
        ] {
            let of = |kernels: &dyn Kernels| {
                let mut output = vec![0.0; columns];
                kernels.gate(
                    activation,
                    &values[..columns],
                    &values[..columns],
                    &mut output,
                );
                output
            };
            agree(&*native, &of(&packed), &of(&*native));
        }
        for half in [32, 16] {
            let (cosines, sines) = (&values[..half], &values[half..2 * half]);
            let of = |kernels: &dyn Kernels| {
                let mut heads = values[..9 * 64].to_vec();
                kernels.rotate(&mut heads, 64, cosines, sines);
                heads
            };
            agree(&*native, &of(&packed), &of(&*native));
        }
        for operation in Operation::IN_FORWARD_PASS {
            let counts = counters.of(operation);
            assert!(
                counts.pack > 0 && counts.native == 0,
                "{operation:?}: {counts:?}"
            );
        }
    }
}

/// SwiGLU of the rows of a rectangle.
fn gate_rows(kernels: &dyn Kernels, rows: usize, columns: usize) -> Vec<f32> {
    let values: Vec<f32> = (0..rows * columns)
        .map(|index| (index % 37) as f32 / 8.0 - 2.0)
        .collect();
    let mut output = vec![0.0; rows * columns];
    let mut tile = OutputTile::new(&mut output, columns);
    kernels.gate_rows(Activation::Silu, &values, &values, &mut tile);
    output
}

#[test]
fn rows_of_a_rectangle_are_one_call() {
    let counters = Arc::new(Counters::default());
    let pack = pack().compile(&sandbox()).unwrap();
    let kernels = PackKernels::new(native(), &pack, Arc::clone(&counters));
    // The last is more than one call takes.
    for (rows, columns, calls) in [(1, 96, 1), (40, 96, 1), (40, 1000, 3)] {
        let before = counters.of(Operation::Swiglu).pack;
        let found = gate_rows(&kernels, rows, columns);
        assert!(close(&found, &gate_rows(&*native(), rows, columns)));
        assert_eq!(counters.of(Operation::Swiglu).pack - before, calls);
    }
    let trap = TestPack::new(&[("swiglu_f32", binary(&body("unreachable")))]);
    let counters = Arc::new(Counters::default());
    let kernels = PackKernels::new(native(), &trap.load().unwrap(), Arc::clone(&counters));
    assert_eq!(gate_rows(&kernels, 40, 96), gate_rows(&*native(), 40, 96));
    assert_eq!(counters.of(Operation::Swiglu).fallbacks["trap"], 1);
}
