//! Adapters, and packed keys and values, through the engine's border to arithmetic: the pack's results beside the native
//! ones, and the native ones where a kernel fails.

use std::sync::Arc;

use ruvllm_kernels::{
    FloatRows, GroupAxis, GroupBits, Kernels, KvGroups, LoraAdapter, LoraMatrices, OutputTile,
};
use ruvllm_packs::{CallCounts, Counters, Operation, PackKernels};

use crate::kernels::{binary, forward, module};
use crate::reference::pack;
use crate::support::{TestPack, native, sandbox};

/// Between -1 and 1.
fn numbers(count: usize, seed: usize) -> Vec<f32> {
    let number = |index| ((index * 7919 + seed * 104_729) % 2003) as f32 / 1001.0 - 1.0;
    (0..count).map(number).collect()
}

const INPUTS: usize = 64;
const OUTPUTS: usize = 97;
const RANK: usize = 5;

/// Rows with what an adapter adds to them.
fn adapted(kernels: &dyn Kernels, matrices: LoraMatrices<'_>, rows: usize) -> Vec<f32> {
    let (x, mut y) = (numbers(rows * INPUTS, 1), numbers(rows * OUTPUTS, 2));
    let (rank, scale) = (RANK, -0.5);
    let adapter = LoraAdapter {
        matrices,
        rank,
        scale,
    };
    let input = FloatRows {
        values: &x,
        columns: INPUTS,
    };
    kernels.lora_delta(&adapter, input, &mut OutputTile::new(&mut y, OUTPUTS));
    y
}

fn shapes() -> Vec<KvGroups> {
    let mut found = Vec::new();
    for bits in [GroupBits::Four, GroupBits::Eight] {
        for axis in [GroupAxis::Channels, GroupAxis::Tokens] {
            // The last is more than one call takes.
            for (tokens, channels) in [(3, 40), (35, 6), (0, 8), (300, 100)] {
                found.push(KvGroups {
                    tokens,
                    channels,
                    axis,
                    bits,
                });
            }
        }
    }
    found
}

fn packed_kv(kernels: &dyn Kernels, shape: KvGroups) -> Vec<u8> {
    let mut groups = vec![0xFF; shape.bytes()];
    kernels.group_kv(shape, &numbers(shape.values(), 3), &mut groups);
    groups
}

fn unpacked_kv(kernels: &dyn Kernels, shape: KvGroups, groups: &[u8]) -> Vec<f32> {
    let mut values = vec![f32::NAN; shape.values()];
    kernels.ungroup_kv(shape, groups, &mut values);
    values
}

/// The reference pack over the best native kernels.
fn reference_pack() -> (PackKernels, Arc<Counters>) {
    let counters = Arc::new(Counters::default());
    let pack = pack().compile(&sandbox()).unwrap();
    (
        PackKernels::new(native(), &pack, Arc::clone(&counters)),
        counters,
    )
}

fn calls(pack: u64) -> CallCounts {
    CallCounts {
        pack,
        ..CallCounts::default()
    }
}

#[test]
fn an_adapters_delta_is_the_packs() {
    let (a, b) = (numbers(RANK * INPUTS, 4), numbers(OUTPUTS * RANK, 5));
    // 1, 0.5, -0.25 and so on, in f16.
    let halves = |count: usize| -> Vec<u16> {
        (0..count)
            .map(|index| [0x3c00, 0x3800, 0xb400, 0x0000, 0xbc00][index % 5])
            .collect()
    };
    let (half_a, half_b) = (halves(RANK * INPUTS), halves(OUTPUTS * RANK));
    let (packed, counters) = reference_pack();
    for matrices in [
        LoraMatrices::F32 { a: &a, b: &b },
        LoraMatrices::F16 {
            a: &half_a,
            b: &half_b,
        },
    ] {
        for rows in [0, 1, 250] {
            let found = adapted(&packed, matrices, rows);
            let expected = adapted(&*native(), matrices, rows);
            assert_eq!(expected == numbers(rows * OUTPUTS, 2), rows == 0);
            // Of the most that can be added up in a value.
            let allowed = 2e-6 * (1.0 + 0.5 * (RANK * INPUTS) as f32);
            let is_near = |(a, b): (&f32, &f32)| (a - b).abs() <= allowed;
            assert!(found.iter().zip(&expected).all(is_near), "{rows} rows");
        }
    }
    // 161 floats a row go in and out, so 101 rows at once: no call, 1, and 3, for each type.
    assert_eq!(counters.of(Operation::LoraApply), calls(2 * (1 + 3)));
}

#[test]
fn groups_are_the_packs_byte_for_byte() {
    let (packed, counters) = reference_pack();
    for shape in shapes() {
        let groups = packed_kv(&*native(), shape);
        assert_eq!(packed_kv(&packed, shape), groups, "{shape:?}");
        let values = unpacked_kv(&*native(), shape, &groups);
        assert_eq!(unpacked_kv(&packed, shape, &groups), values, "{shape:?}");
    }
    // 300 tokens of 100 channels are 163 at once, or 192 in whole groups.
    for operation in [Operation::KvPack, Operation::KvUnpack] {
        assert_eq!(
            counters.of(operation),
            calls(4 * (1 + 1 + 2)),
            "{operation:?}"
        );
    }
}

#[test]
fn groups_that_are_no_numbers_are_nobodys_fault() {
    let (packed, counters) = reference_pack();
    for shape in shapes().into_iter().filter(|shape| shape.tokens == 3) {
        let bytes: Vec<u8> = [0, 0x7e].repeat(shape.bytes() / 2);
        for _ in 0..4 {
            let values = unpacked_kv(&packed, shape, &bytes);
            assert!(values.iter().all(|value| value.is_nan()));
        }
    }
    assert!(!packed.is_broken());
    let counts = counters.of(Operation::KvUnpack);
    assert!(
        counts.native == 16 && counts.fallbacks.is_empty(),
        "{counts:?}"
    );
}

#[test]
fn case_53_failures_are_the_native_results() {
    let (a, b) = (numbers(RANK * INPUTS, 4), numbers(OUTPUTS * RANK, 5));
    let matrices = LoraMatrices::F32 { a: &a, b: &b };
    let shape = shapes()[0];
    let (deltas, groups) = (
        adapted(&*native(), matrices, 3),
        packed_kv(&*native(), shape),
    );
    let values = unpacked_kv(&*native(), shape, &groups);
    let nan = "(f32.store (i32.load offset=16 (local.get $d)) (f32.const nan)) i32.const 0";
    let kinds = [
        ("unreachable", "trap"),
        ("i32.const 6", "error_code"),
        (nan, "not_finite"),
    ];
    for (code, reason) in kinds {
        let kernel = |params| binary(&module(params, 2, &forward(code)));
        let pack = TestPack::new(&[
            ("lora_apply_f32", kernel(20)),
            ("kv_pack_q4", kernel(16)),
            ("kv_unpack_q4", kernel(16)),
        ]);
        let counters = Arc::new(Counters::default());
        let pack = pack.load().unwrap();
        let packed = PackKernels::new(native(), &pack, Arc::clone(&counters));
        assert_eq!(adapted(&packed, matrices, 3), deltas, "{code}");
        assert_eq!(unpacked_kv(&packed, shape, &groups), values, "{code}");
        // Bytes have no values that are not finite; what is packed wrongly, only the health check sees.
        if reason != "not_finite" {
            assert_eq!(packed_kv(&packed, shape), groups, "{code}");
        }
        for operation in [Operation::LoraApply, Operation::KvUnpack] {
            let counts = counters.of(operation);
            assert_eq!((counts.pack, counts.native), (0, 1), "{code}");
            assert_eq!(
                counts.fallbacks.into_iter().collect::<Vec<_>>(),
                [(reason, 1)]
            );
        }
    }
}

#[test]
fn what_a_pack_lacks_is_native() {
    let (a, b) = (numbers(RANK * INPUTS, 4), numbers(OUTPUTS * RANK, 5));
    let matrices = LoraMatrices::F32 { a: &a, b: &b };
    let counters = Arc::new(Counters::default());
    let pack = TestPack::rms_norm("").load().unwrap();
    let packed = PackKernels::new(native(), &pack, Arc::clone(&counters));
    assert_eq!(
        adapted(&packed, matrices, 3),
        adapted(&*native(), matrices, 3)
    );
    let counts = counters.of(Operation::LoraApply);
    assert_eq!((counts.pack, counts.native), (0, 1));
}
