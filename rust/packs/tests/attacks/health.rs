//! Kernels that the forward pass does not call, and that compute something else: refused before they serve anyone.

use ruvllm_packs::{KERNEL_IDS, LoadError, PackManager};

use crate::kernels::{binary, forward, module};
use crate::support::{TestPack, manager, refused};

/// Bytes of the parameters by the beginning of an id, as the interface's page has them.
const PARAMS: [(&str, u32); 6] = [
    ("rope", 24),
    ("rmsnorm", 20),
    ("swiglu", 8),
    ("kv_pack", 16),
    ("kv_unpack", 16),
    ("lora_apply", 20),
];
/// Those that are compared with the native kernels.
const FORWARD: [&str; 3] = ["rmsnorm_f32", "rope_f32", "swiglu_f32"];

fn others() -> impl Iterator<Item = (&'static str, u32)> {
    let ids = KERNEL_IDS.into_iter().map(|(id, _)| id);
    ids.filter(|id| !FORWARD.contains(id)).map(|id| {
        let params = PARAMS.iter().find(|(begin, _)| id.starts_with(begin));
        (id, params.unwrap().1)
    })
}

/// The kernel is named, and the pack before stays.
fn is_refused(host: &PackManager, id: &str, text: &str) -> String {
    let pack = TestPack::new(&[(id, binary(text))]).version("2.0.0");
    let LoadError::HealthCheckFailed { kernel, reason } = refused(pack.activate(host)) else {
        panic!("{id}: refused for something else")
    };
    assert_eq!(kernel, id);
    assert_eq!(host.current().unwrap().version, "1.0.0");
    reason
}

/// A host with a pack that is right.
fn host() -> PackManager {
    let host = manager();
    TestPack::rms_norm("").activate(&host).unwrap();
    host
}

#[test]
fn case_52_wrong_values_outside_the_forward_pass() {
    let output = "(i32.load offset=16 (local.get $d))";
    let size = "(i32.load offset=20 (local.get $d))";
    let rubbish = [
        // What was there before.
        "i32.const 0".to_owned(),
        // Input A, as far as it goes.
        format!(
            "(memory.copy {output} (i32.load (local.get $d))
               (select {size} (i32.load offset=4 (local.get $d))
                 (i32.lt_u {size} (i32.load offset=4 (local.get $d))))) i32.const 0"
        ),
        // Zeros, and bytes that are NaN in every format.
        format!("(memory.fill {output} (i32.const 0) {size}) i32.const 0"),
        format!("(memory.fill {output} (i32.const 0x7f) {size}) i32.const 0"),
        format!("(memory.fill {output} (i32.const 0xff) {size}) i32.const 0"),
    ];
    let host = host();
    for (id, params) in others() {
        for code in &rubbish {
            let flags = if id.starts_with("lora") { 2 } else { 0 };
            let reason = is_refused(&host, id, &module(params, flags, &forward(code)));
            assert!(
                reason.contains("value 0 is") || reason.contains("value 1"),
                "{id}: {reason}"
            );
        }
    }
    // No floor was raised.
    TestPack::rms_norm("").activate(&host).unwrap();
}

#[test]
fn case_52_failures_outside_the_forward_pass() {
    let host = host();
    for (id, params) in others() {
        for (code, expected) in [
            ("unreachable", "unreachable"),
            ("i32.const 3", "INVALID_PARAMS"),
            (
                "(i32.store8 (i32.sub (i32.load offset=16 (local.get $d)) (i32.const 1)) (i32.const 1)) i32.const 0",
                "outside its output",
            ),
        ] {
            let reason = is_refused(&host, id, &module(params, 0, &forward(code)));
            assert!(reason.contains(expected), "{id}: {reason}");
        }
        let reason = is_refused(&host, id, &module(params + 4, 0, &forward("i32.const 0")));
        assert!(reason.starts_with("its parameters have"), "{id}: {reason}");
    }
}
