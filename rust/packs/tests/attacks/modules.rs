//! Cases 19, 39 to 46 and 48: modules that the sandbox does not take, or does not let run on.

use std::sync::Arc;
use std::time::{Duration, Instant};

use ruvllm_packs::{
    Ceilings, Inputs, KernelError, LoadError, Pack, Plane, PlaneMut, Sandbox, SandboxOptions,
};

use crate::kernels::{body, forward, info, module, rms_norm};
use crate::support::{TestPack, options, refused};

/// Why loading a module is refused.
fn reason(text: &str) -> String {
    match refused(TestPack::of(text).load()) {
        LoadError::Module { reason, .. } => reason,
        error => panic!("{error}"),
    }
}

/// One call with four numbers in and out.
pub(crate) fn call(pack: &Pack) -> Result<Vec<f32>, KernelError> {
    let mut output = vec![7.0; 4];
    let inputs = Inputs {
        a: Some(Plane::Floats(&[1.0, 2.0, 3.0, 4.0])),
        b: &[Plane::Floats(&[0.5; 4])],
        scratch_bytes: 32,
        params: &[],
    };
    let kernel = pack.kernel("rmsnorm_f32").unwrap();
    let result = kernel.call(&inputs, &mut PlaneMut::Floats(&mut output));
    if result.is_err() {
        assert_eq!(output, [7.0; 4], "a failed call leaves the output alone");
    }
    result.map(|()| output)
}

#[test]
fn case_19_entry_points() {
    let pack = |name: &str| TestPack::rms_norm("").with_entry(name);
    pack("kernel_forward").load().unwrap();
    for name in ["missing", "memory"] {
        let error = refused(pack(name).load());
        assert!(
            matches!(error, LoadError::Module { reason, .. } if reason.contains("no function")),
            "{name}"
        );
    }
    for name in ["", "a b", "a.b", "kernel_forward\u{0}"] {
        assert!(
            matches!(refused(pack(name).verify()), LoadError::Manifest { .. }),
            "{name:?}"
        );
    }
    let others = [
        "(func (export \"kernel_forward\") (result i32) i32.const 0)",
        "(func (export \"kernel_forward\") (param i32))",
        "(func (export \"kernel_forward\") (param i64) (result i32) i32.const 0)",
        "(func (export \"kernel_forward\") (param i32 i32) (result i32) i32.const 0)",
        "(global (export \"kernel_forward\") i32 (i32.const 0))",
    ];
    for other in others {
        assert!(
            reason(&module(0, 0, other)).contains("no function"),
            "{other}"
        );
    }
}

#[test]
fn case_39_imports() {
    let imports = [
        "(import \"wasi_snapshot_preview1\" \"fd_write\" (func (param i32 i32 i32 i32) (result i32)))",
        "(import \"env\" \"memory\" (memory 1))",
        "(import \"env\" \"g\" (global i32))",
        "(import \"env\" \"t\" (table 1 funcref))",
        "(import \"\" \"\" (func))",
    ];
    for import in imports {
        let text = rms_norm("").replacen("(module", &format!("(module {import}"), 1);
        let text = if import.contains("(memory") {
            text.replace(
                "(memory (export \"memory\") 2)",
                "(export \"memory\" (memory 0))",
            )
        } else {
            text
        };
        assert!(reason(&text).contains("imports"), "{import}");
    }
}

#[test]
fn case_40_start_function() {
    for start in ["unreachable", "(loop $again (br $again))", "nop"] {
        let text =
            rms_norm("").replace("(module", &format!("(module (start $s) (func $s {start})"));
        assert!(reason(&text).contains("start function"), "{start}");
    }
}

#[test]
fn case_41_proposals_that_are_off() {
    let memory = "(memory (export \"memory\") 2)";
    let plain = rms_norm("");
    reason(&plain.replace(memory, "(memory (export \"memory\") 2 2 shared)"));
    reason(&plain.replace(memory, "(memory (export \"memory\") 2) (memory 1)"));
    reason(&plain.replace(memory, "(memory (export \"memory\") i64 2)"));
    let items = [
        "(func (param i32) (result i32) (i32.atomic.load (local.get 0)))",
        "(type (struct (field i32)))",
        "(tag)",
        "(func (param externref))",
        "(table 1 externref)",
        "(func $f (result i32) (return_call $f))",
        "(func (param i64 i64 i64 i64) (result i64 i64) (i64.add128 (local.get 0) (local.get 1) (local.get 2) (local.get 3)))",
    ];
    for item in items {
        reason(&plain.replace(memory, &format!("{memory} {item}")));
    }
}

#[test]
fn case_42_no_memory() {
    let text = rms_norm("");
    let memory = "(memory (export \"memory\") 2)";
    assert!(reason(&text.replace(memory, "(memory 2)")).contains("no memory"));
    assert!(
        reason(&text.replace(
            memory,
            "(memory 2) (global (export \"memory\") i32 (i32.const 0))"
        ))
        .contains("no memory")
    );
    let empty = text.replace(memory, "(memory (export \"memory\") 0)");
    assert!(reason(&empty).contains("empty"));
}

#[test]
fn case_43_memory_and_tables_above_the_limit() {
    let text = rms_norm("");
    let pages = |count: u32| text.replace("\"memory\") 2)", &format!("\"memory\") {count})"));
    TestPack::of(&pages(16)).load().unwrap();
    assert!(reason(&pages(17)).contains("17 pages"));
    let table = |count: u32| {
        module(
            20,
            0,
            &format!("(table {count} funcref) {}", forward("i32.const 0")),
        )
    };
    TestPack::of(&table(16)).load().unwrap();
    assert!(reason(&table(17)).contains("table"));
    reason(&module(
        20,
        0,
        &format!(
            "(table 1 funcref) (table 1 funcref) {}",
            forward("i32.const 0")
        ),
    ));
}

#[test]
fn case_44_growing() {
    // 0 where growing by 15 pages from 2 failed, else an error code.
    let grow = "(if (result i32) (i32.eq (memory.grow (i32.const 15)) (i32.const -1)) (then (i32.const 0)) (else (i32.const 9)))";
    call(&TestPack::of(&body(grow)).load().unwrap()).unwrap();
    let grow = grow.replace("15", "14");
    let error = call(&TestPack::of(&body(&grow)).load().unwrap()).unwrap_err();
    assert!(
        matches!(error, KernelError::KernelTrap { code: 9, .. }),
        "{error}"
    );
    let grow = "(if (result i32) (i32.eq (table.grow 0 (ref.null func) (i32.const 100)) (i32.const -1)) (then (i32.const 0)) (else (i32.const 9)))";
    // Tables cannot grow without the proposal for references.
    reason(&module(
        0,
        0,
        &format!("(table 1 funcref) {}", forward(grow)),
    ));
}

#[test]
fn case_45_endless_loops() {
    let endless = "(loop $again (br $again)) unreachable";
    let begin = Instant::now();
    // In what stands for `init`: the function that is called when an instance is made.
    let info = format!("(func (export \"kernel_info\") (param i32) (result i32) {endless})");
    let text = format!(
        "(module (memory (export \"memory\") 2) {info} {})",
        forward("i32.const 0")
    );
    assert!(reason(&text).contains("budget"));
    assert_eq!(
        call(&TestPack::of(&body(endless)).load().unwrap()),
        Err(KernelError::EpochDeadline)
    );
    assert!(
        begin.elapsed() < Duration::from_secs(20),
        "{:?}",
        begin.elapsed()
    );
}

#[test]
fn case_45_the_budget_is_the_manifests() {
    let options = SandboxOptions {
        ticking: ruvllm_packs::Ticking::ByHand,
        ..options()
    };
    let sandbox = Arc::new(Sandbox::new(options).unwrap());
    let pack = TestPack::of(&body("(loop $again (br $again)) unreachable")).with_ticks(5);
    let pack = pack.load_in(&sandbox).unwrap();
    let running = std::thread::spawn(move || call(&pack));
    for _ in 0..4 {
        std::thread::sleep(Duration::from_millis(30));
        sandbox.tick();
    }
    std::thread::sleep(Duration::from_millis(30));
    assert!(!running.is_finished(), "four ticks of five");
    // More than one: the call may have begun after some of the four.
    while !running.is_finished() {
        sandbox.tick();
        std::thread::sleep(Duration::from_millis(5));
    }
    assert_eq!(running.join().unwrap(), Err(KernelError::EpochDeadline));
}

#[test]
fn case_46_recursion() {
    let text = module(0, 0, &forward("(call $forward (local.get $d))"));
    let pack = TestPack::of(&text).load().unwrap();
    assert_eq!(call(&pack), Err(KernelError::StackOverflow));
    // On a thread with the stack that Rust gives them, too.
    let other = std::thread::spawn(move || call(&pack));
    assert_eq!(other.join().unwrap(), Err(KernelError::StackOverflow));
}

#[test]
fn case_48_what_takes_long_to_compile() {
    let functions = |count: usize| {
        module(
            0,
            0,
            &format!("{} {}", "(func)".repeat(count), forward("i32.const 0")),
        )
    };
    TestPack::of(&functions(254)).load().unwrap();
    assert!(reason(&functions(255)).contains("functions"));
    let table = format!("(block (br_table {} (i32.const 0)))", "0 ".repeat(20_000));
    assert!(reason(&body(&format!("{table} i32.const 0"))).contains("jump tables"));
    // Larger than the host takes, before it is even read whole.
    let data = format!("(data (i32.const 0) \"{}\")", "x".repeat(2 << 20));
    let error = refused(
        TestPack::of(&module(0, 0, &format!("{data} {}", forward("i32.const 0")))).verify(),
    );
    assert!(
        matches!(error, LoadError::TooLarge { limit, .. } if limit == Ceilings::default().module_bytes)
    );
    let hurried = SandboxOptions {
        compile_limit: Duration::ZERO,
        ..options()
    };
    let error = refused(TestPack::rms_norm("").load_in(&Arc::new(Sandbox::new(hurried).unwrap())));
    assert_eq!(
        error,
        LoadError::CompileTimeout {
            limit: Duration::ZERO
        }
    );
}

#[test]
fn what_kernel_info_says_is_checked() {
    let with = |from: &str, to: &str| {
        let info = info(0, 0).replace(from, to);
        reason(&format!(
            "(module (memory (export \"memory\") 2) {info} {})",
            forward("i32.const 0")
        ))
    };
    assert!(with("(i32.store (local.get 0) (i32.const 1))", "").contains("version 0"));
    assert!(with("(i32.const 4096)", "(i32.const 131073)").contains("heap"));
    assert!(with("(i32.const 4096)", "(i32.const -1)").contains("heap"));
    assert!(with("(i32.const 16)", "(i32.const 64)").contains("alignment"));
    assert!(with("i32.const 0)", "i32.const 5)").contains("NOT_IMPLEMENTED"));
}
