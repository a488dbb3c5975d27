//! Cases 47 and 49 to 55: kernels that pass every check and then misbehave, in the middle of the work.

use std::sync::Arc;

use ruvllm_kernels::{Activation, Kernels};
use ruvllm_packs::{
    Counters, Downgrade, Inputs, Isolation, KernelError, LoadError, Operation, Pack, PackKernels,
    Plane, PlaneMut, Sandbox, SandboxOptions,
};

use crate::kernels::{TRIGGER, body, forward, module, rms_norm_with, wrong_rms_norm};
use crate::modules::call;
use crate::support::{TestPack, close, manager, native, norm, options, refused, sandbox};

/// WebAssembly, and what becomes of it.
fn traps() -> Vec<(&'static str, KernelError)> {
    let oob = || KernelError::MemoryAccessViolation {
        offset: None,
        size: None,
    };
    vec![
        ("unreachable", KernelError::Unreachable),
        ("(drop (i32.load (i32.const -16)))", oob()),
        ("(i32.store (i32.const 0x7fffffff) (i32.const 1))", oob()),
        ("(drop (v128.load (i32.const 1048560)))", oob()),
        (
            "(memory.copy (i32.const 0) (i32.const 0) (i32.const -1))",
            oob(),
        ),
        (
            "(memory.fill (i32.const 131071) (i32.const 0) (i32.const 2000000))",
            oob(),
        ),
        (
            "(drop (i32.div_s (i32.const 1) (i32.const 0)))",
            KernelError::IntegerDivisionByZero,
        ),
        (
            "(drop (i32.rem_u (i32.const 1) (i32.const 0)))",
            KernelError::IntegerDivisionByZero,
        ),
        (
            "(drop (i32.div_s (i32.const 0x80000000) (i32.const -1)))",
            KernelError::IntegerOverflow,
        ),
        (
            "(drop (i32.trunc_f32_s (f32.const 1e20)))",
            KernelError::IntegerOverflow,
        ),
        (
            "(drop (i32.trunc_f32_s (f32.const nan)))",
            KernelError::BadConversion,
        ),
        (
            "(call_indirect (i32.const 0))",
            KernelError::IndirectCallTypeMismatch,
        ),
        (
            "(call_indirect (i32.const 1))",
            KernelError::IndirectCallTypeMismatch,
        ),
        (
            "(call_indirect (i32.const 99))",
            KernelError::IndirectCallTypeMismatch,
        ),
        ("(loop $again (br $again))", KernelError::EpochDeadline),
        ("(call $deep)", KernelError::StackOverflow),
    ]
}

/// A table whose first place is empty and whose second has a function of another type, and a recursion.
const ITEMS: &str = "(table 2 funcref) (elem (i32.const 1) $other) (func $other (param i64) (result i64) i64.const 0)
    (func $deep (call $deep))";

/// Everything else that a kernel may do wrong: as a trick of RMSNorm.
fn mischief() -> Vec<(&'static str, &'static str)> {
    vec![
        ("(return (i32.const 1))", "error_code"),
        ("(return (i32.const 2))", "error_code"),
        ("(return (i32.const 3))", "error_code"),
        ("(return (i32.const 4))", "error_code"),
        ("(return (i32.const 5))", "error_code"),
        ("(return (i32.const 6))", "error_code"),
        ("(return (i32.const 77))", "error_code"),
        ("(return (i32.const -1))", "trap"),
        (
            "(f32.store (local.get $y) (f32.const nan)) (return (i32.const 0))",
            "not_finite",
        ),
        (
            "(f32.store (local.get $y) (f32.const inf)) (return (i32.const 0))",
            "not_finite",
        ),
        (
            "(f32.store (i32.sub (local.get $y) (i32.const 4)) (f32.const 1))",
            "overrun",
        ),
        (
            "(i32.store8 (i32.add (local.get $y) (i32.load offset=20 (local.get $d))) (i32.const 1))",
            "overrun",
        ),
    ]
}

fn both_ways() -> [SandboxOptions; 2] {
    [false, true].map(|signal_traps| SandboxOptions {
        signal_traps,
        ..options()
    })
}

#[test]
fn case_47_every_trap() {
    for options in both_ways() {
        let sandbox = Arc::new(Sandbox::new(options).unwrap());
        for (code, expected) in traps() {
            let text = module(
                0,
                0,
                &format!("{ITEMS} {}", forward(&format!("{code} i32.const 0"))),
            );
            let pack = TestPack::of(&text).load_in(&sandbox).unwrap();
            for _ in 0..2 {
                assert_eq!(call(&pack), Err(expected.clone()), "{code}");
            }
        }
    }
    for (code, name) in [
        (1, "INVALID_INPUT"),
        (2, "INVALID_OUTPUT"),
        (3, "INVALID_PARAMS"),
        (4, "OUT_OF_MEMORY"),
        (5, "NOT_IMPLEMENTED"),
        (6, "INTERNAL_ERROR"),
    ] {
        let pack = TestPack::of(&body(&format!("i32.const {code}")))
            .load()
            .unwrap();
        let message = Some(name.to_owned());
        assert_eq!(call(&pack), Err(KernelError::KernelTrap { code, message }));
    }
}

/// A pack over native kernels, after the health check.
fn packed(pack: &TestPack, options: SandboxOptions) -> (PackKernels, Arc<Counters>) {
    let pack = pack
        .load_in(&Arc::new(Sandbox::new(options).unwrap()))
        .unwrap();
    let counters = Arc::new(Counters::default());
    (
        PackKernels::new(native(), &pack, Arc::clone(&counters)),
        counters,
    )
}

#[test]
fn case_49_writing_outside_the_output() {
    let out = "(i32.load offset=16 (local.get $d))";
    let size = "(i32.load offset=20 (local.get $d))";
    let places = [
        format!("(i32.sub {out} (i32.const 1))"),
        format!("(i32.sub {out} (i32.const 64))"),
        format!("(i32.add {out} {size})"),
        format!("(i32.add (i32.add {out} {size}) (i32.const 63))"),
    ];
    for place in places {
        let pack = TestPack::of(&body(&format!(
            "(i32.store8 {place} (i32.const 1)) i32.const 0"
        )))
        .load()
        .unwrap();
        assert_eq!(call(&pack), Err(KernelError::OutputOverrun), "{place}");
    }
    // Over its inputs: they are copies, and the host's are borrowed.
    let all = "(memory.fill (i32.load (local.get $d)) (i32.const 9) (i32.load offset=4 (local.get $d)))
        (memory.fill (i32.load offset=8 (local.get $d)) (i32.const 9) (i32.load offset=12 (local.get $d))) i32.const 0";
    assert_eq!(
        call(&TestPack::of(&body(all)).load().unwrap()).unwrap(),
        [0.0; 4]
    );
}

#[test]
fn case_50_sizes_that_do_not_fit() {
    let pack = TestPack::of(&body("i32.const 0")).load().unwrap();
    let kernel = pack.kernel("rmsnorm_f32").unwrap();
    let large = vec![0.0; 16 << 14];
    let few = [0.0; 4];
    let try_call = |a: &[f32], scratch_bytes: usize| {
        let b = [Plane::Floats(&few)];
        let inputs = Inputs {
            a: Some(Plane::Floats(a)),
            b: &b,
            scratch_bytes,
            params: &[],
        };
        kernel.call(&inputs, &mut PlaneMut::Floats(&mut [0.0; 4]))
    };
    for scratch in [1 << 20, u32::MAX as usize, usize::MAX - 200, usize::MAX] {
        let error = try_call(&few, scratch).unwrap_err();
        assert!(
            matches!(
                error,
                KernelError::TooLarge {
                    limit: 0x10_0000,
                    ..
                }
            ) && !error.is_fault()
        );
    }
    assert!(matches!(
        try_call(&large, 0),
        Err(KernelError::TooLarge { .. })
    ));
    try_call(&large[..200_000], 0).unwrap();
}

/// A call with one number, repeated.
fn call_with(pack: &Pack, number: f32, count: usize) -> Result<Vec<f32>, KernelError> {
    let input = vec![number; count];
    let mut output = vec![number; count];
    let inputs = Inputs {
        a: Some(Plane::Floats(&input)),
        b: &[Plane::Floats(&input)],
        scratch_bytes: 4 * count,
        params: &[],
    };
    let kernel = pack.kernel("rmsnorm_f32").unwrap();
    kernel
        .call(&inputs, &mut PlaneMut::Floats(&mut output))
        .map(|()| output)
}

const SECRET: f32 = 1234.5;

#[test]
fn case_51_what_an_earlier_call_left() {
    let secret = SECRET.to_bits();
    // 9 where the secret stands anywhere in the memory; before that, it fills scratch and output with A.
    let search = format!(
        "(local $i i32) (local $end i32)
         (local.set $end (i32.mul (memory.size) (i32.const 65536)))
         (if (f32.ne (f32.load (i32.load (local.get $d))) (f32.const {SECRET})) (then (loop $next
           (if (i32.eq (i32.load (local.get $i)) (i32.const {secret})) (then (return (i32.const 9))))
           (local.set $i (i32.add (local.get $i) (i32.const 4)))
           (br_if $next (i32.lt_u (local.get $i) (local.get $end))))))
         (memory.copy (i32.load offset=16 (local.get $d)) (i32.load (local.get $d)) (i32.load offset=20 (local.get $d)))
         (memory.copy (i32.load offset=24 (local.get $d)) (i32.load (local.get $d)) (i32.load offset=28 (local.get $d)))
         i32.const 0"
    );
    for flags in [0, 1, 2] {
        let text = module(0, flags, &forward(&search));
        let pack = TestPack::of(&text).load().unwrap();
        for (large, small) in [(1000, 3), (1000, 1000), (3, 1000), (20_000, 1)] {
            assert_eq!(
                call_with(&pack, SECRET, large).unwrap(),
                vec![SECRET; large]
            );
            assert_eq!(
                call_with(&pack, 1.0, small).unwrap(),
                vec![1.0; small],
                "{flags}: {large}, {small}"
            );
        }
    }
}

#[test]
fn case_51_what_a_kernel_keeps_for_itself() {
    // It remembers a secret in its own memory, and tells the next caller.
    let stash = format!(
        "(if (f32.eq (f32.load (i32.load (local.get $d))) (f32.const {SECRET}))
           (then (i32.store (i32.const 64) (i32.const 1)) (return (i32.const 0))))
         (if (i32.load (i32.const 64)) (then (return (i32.const 9)))) i32.const 0"
    );
    let tells = |isolation: Isolation| {
        let sandbox = Sandbox::new(SandboxOptions {
            isolation,
            ..options()
        })
        .unwrap();
        let pack = TestPack::of(&body(&stash))
            .load_in(&Arc::new(sandbox))
            .unwrap();
        call_with(&pack, SECRET, 4).unwrap();
        call_with(&pack, 1.0, 4).is_err()
    };
    assert!(
        tells(Isolation::Tensors),
        "the documented limit of the faster way"
    );
    assert!(!tells(Isolation::Instances));
}

#[test]
fn case_52_outputs_that_are_no_numbers() {
    let nan = rms_norm_with("", "").replace("(f32.div (f32.const 1)", "(f32.div (f32.const nan)");
    for text in [
        nan,
        wrong_rms_norm(),
        body("i32.const 0"),
        module(20, 0, &forward("i32.const 0")),
    ] {
        let error = refused(TestPack::of(&text).activate(&manager()));
        assert!(
            matches!(error, LoadError::HealthCheckFailed { .. }),
            "{error}"
        );
    }
    // Where the input has NaN, so has the result, and nobody is to blame.
    let (kernels, counters) = packed(&TestPack::rms_norm(""), options());
    for _ in 0..10 {
        let mut output = [0.0; 64];
        kernels.rms_norm(&[f32::NAN; 64], &[1.0; 64], 1e-5, &mut output);
        assert!(output.iter().all(|value| value.is_nan()));
    }
    assert!(!kernels.is_broken() && counters.of(Operation::RmsNorm).fallbacks.is_empty());
}

#[test]
fn case_53_the_result_is_the_native_ones() {
    let traps = traps();
    let traps = traps.iter().map(|(trick, error)| {
        let reason = if *error == KernelError::EpochDeadline {
            "deadline"
        } else {
            "trap"
        };
        (*trick, reason)
    });
    let expected = norm(&*native(), 3, TRIGGER);
    for (trick, reason) in traps.chain(mischief()) {
        let text = rms_norm_with(ITEMS, trick);
        let manager = manager();
        TestPack::of(&text).activate(&manager).unwrap();
        let kernels = manager.kernels().for_step().unwrap();
        assert!(
            close(&norm(&*kernels, 2, 64), &norm(&*native(), 2, 64)),
            "{trick}"
        );
        assert_eq!(
            norm(&*kernels, 3, TRIGGER),
            expected,
            "{trick}: bit for bit the native result"
        );
        let counts = manager.counters().of(Operation::RmsNorm);
        assert_eq!((counts.pack, counts.native), (1, 1), "{trick}");
        assert_eq!(
            counts.fallbacks.into_iter().collect::<Vec<_>>(),
            [(reason, 1)],
            "{trick}"
        );
        assert!(manager.current().unwrap().last_fault.is_some());
        // The next call is fine.
        norm(&*kernels, 2, 64);
        assert_eq!(manager.counters().of(Operation::RmsNorm).pack, 2, "{trick}");
    }
}

#[test]
fn case_54_a_kernel_that_keeps_failing() {
    let (kernels, counters) = packed(&TestPack::rms_norm("unreachable"), options());
    norm(&kernels, 1, TRIGGER);
    norm(&kernels, 1, TRIGGER);
    // A success in between begins the count anew.
    norm(&kernels, 1, 64);
    norm(&kernels, 1, TRIGGER);
    norm(&kernels, 1, TRIGGER);
    assert!(!kernels.is_broken());
    norm(&kernels, 1, TRIGGER);
    assert!(kernels.is_broken());
    assert_eq!(norm(&kernels, 1, 64), norm(&*native(), 1, 64));
    let counts = counters.of(Operation::RmsNorm);
    assert_eq!((counts.pack, counts.native), (1, 6));
    assert_eq!(
        counts.fallbacks.into_iter().collect::<Vec<_>>(),
        [("broken", 1), ("trap", 5)]
    );
}

#[test]
fn case_55_many_threads_and_no_panic() {
    let sandbox = sandbox();
    for (trick, _) in mischief() {
        let pack = TestPack::rms_norm(trick)
            .with_ticks(1000)
            .load_in(&sandbox)
            .unwrap();
        let kernels = PackKernels::new(native(), &pack, Arc::default());
        let expected = norm(&*native(), 2, TRIGGER);
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for _ in 0..20 {
                        assert_eq!(norm(&kernels, 2, TRIGGER), expected);
                        norm(&kernels, 1, 64);
                    }
                });
            }
        });
    }
}

#[test]
fn operations_that_a_pack_does_not_have_are_native() {
    let manager = manager();
    manager
        .activate(TestPack::rms_norm("").write().path(), Downgrade::Refuse)
        .unwrap();
    let kernels = manager.kernels().for_step().unwrap();
    let mut output = [0.0; 8];
    kernels.gate(Activation::Silu, &[1.0; 8], &[2.0; 8], &mut output);
    let counts = manager.counters().of(Operation::Swiglu);
    assert_eq!((counts.pack, counts.native), (0, 1));
    assert_eq!(manager.counters().of(Operation::Rope).native, 0);
}
