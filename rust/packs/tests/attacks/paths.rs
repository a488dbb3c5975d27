//! Cases 23 to 32: files, links, and bytes that change under the host's eyes.

use ruvllm_packs::{Ceilings, LoadError, PackPath, VerifiedPack};
use serde_json::json;

use crate::kernels::{binary, body, rms_norm};
use crate::support::{
    Folder, TestPack, manager, native, norm, options, refused, sandbox, sha256, trust,
};

const KERNEL: &str = "k/rmsnorm_f32.wasm";

#[test]
fn case_23_paths() {
    for good in [
        "a.wasm",
        "k/a.wasm",
        "rope/f32/rope_f32.wasm",
        "a-b_C.1.wasm",
        "command.wasm",
    ] {
        assert_eq!(PackPath::new(good).unwrap().as_str(), good);
    }
    let long = "a".repeat(200);
    let bad = [
        "",
        "../x",
        "k/../x",
        "/etc/passwd",
        "C:\\x",
        "C:/x",
        "k\\x",
        "a/./b",
        "a//b",
        "a/b/",
        "/",
        ".",
        "..",
        ".hidden",
        "a\0b",
        "a b",
        "%2e%2e/x",
        "k/\u{ff0e}\u{ff0e}/x",
        "k/\u{430}.wasm",
        "a:b",
        "a\n",
        "con",
        "NUL.wasm",
        "k/com1.wasm",
        "a/b/c/d/e",
        "x.",
        "~/x",
        "*",
        &long,
    ];
    for path in bad {
        let error = refused(PackPath::new(path));
        assert!(matches!(error, LoadError::Path { .. }), "{path:?}");
        let pack = TestPack::rms_norm("").with("/kernels/0/path", json!(path));
        assert!(
            matches!(refused(pack.verify()), LoadError::Path { .. }),
            "{path:?}"
        );
    }
    // Bytes that are no text do not get as far as a path.
    let pack = TestPack::rms_norm("");
    let mut bytes = pack.manifest_bytes();
    let place = bytes
        .windows(KERNEL.len())
        .position(|part| part == KERNEL.as_bytes())
        .unwrap();
    bytes[place] = 0xff;
    assert!(matches!(
        refused(pack.write_manifest(&bytes).verify()),
        LoadError::Manifest { .. }
    ));
    // One file for two kernels where upper and lower case are the same.
    let module = binary(&rms_norm(""));
    let two = TestPack::new(&[("rmsnorm_f32", module.clone()), ("rmsnorm_f16", module)]);
    let error = refused(
        two.with("/kernels/1/path", json!("K/RMSNORM_F32.wasm"))
            .verify(),
    );
    assert!(matches!(error, LoadError::Manifest { reason } if reason.contains("share the path")));
}

#[cfg(unix)]
fn is_no_file<T>(result: Result<T, LoadError>) -> bool {
    matches!(refused(result), LoadError::File { .. })
}

/// A right pack of which one file was moved out.
#[cfg(unix)]
fn moved(path: &str) -> (Folder, tempfile::TempDir, std::path::PathBuf) {
    let folder = TestPack::rms_norm("").write();
    let outside = tempfile::tempdir().unwrap();
    let target = outside.path().join("file");
    std::fs::rename(folder.file(path), &target).unwrap();
    (folder, outside, target)
}

#[cfg(unix)]
#[test]
fn case_24_links_pipes_and_folders() {
    use std::os::unix::fs::symlink;
    for path in [KERNEL, "kernels.json", "kernels.json.sig", "k"] {
        let (folder, _outside, target) = moved(path);
        symlink(&target, folder.file(path)).unwrap();
        assert!(is_no_file(folder.verify()), "{path} is a link");
    }
    let folder = TestPack::rms_norm("").write();
    let link = tempfile::tempdir().unwrap();
    symlink(folder.path(), link.path().join("pack")).unwrap();
    assert!(is_no_file(VerifiedPack::read(
        &link.path().join("pack"),
        &trust(),
        &Ceilings::default()
    )));
    // A second name of the same bytes is no way out of anything.
    let (folder, _outside, target) = moved(KERNEL);
    std::fs::hard_link(&target, folder.file(KERNEL)).unwrap();
    folder.verify().unwrap();
    let (folder, _outside, _) = moved(KERNEL);
    std::fs::create_dir(folder.file(KERNEL)).unwrap();
    assert!(is_no_file(folder.verify()));
    // Nobody writes to this pipe: opening it must not wait for one.
    for path in [KERNEL, "kernels.json", "kernels.json.sig"] {
        let (folder, _outside, _) = moved(path);
        let made = std::process::Command::new("mkfifo")
            .arg(folder.file(path))
            .status()
            .unwrap();
        assert!(made.success());
        assert!(is_no_file(folder.verify()), "{path} is a pipe");
    }
    assert!(is_no_file(VerifiedPack::read(
        "/dev/null".as_ref(),
        &trust(),
        &Ceilings::default()
    )));
}

#[test]
fn case_25_files_that_nobody_names() {
    let folder = TestPack::rms_norm("").write();
    folder.put("k/extra.wasm", b"not even a module");
    let pack = folder.verify().unwrap().compile(&sandbox()).unwrap();
    assert_eq!(
        pack.kernels()
            .map(|kernel| kernel.id().to_owned())
            .collect::<Vec<_>>(),
        ["rmsnorm_f32"]
    );
}

#[test]
fn case_26_too_large() {
    let folder = TestPack::rms_norm("").write();
    let limit = folder.get(KERNEL).len() as u64 - 1;
    let ceilings = Ceilings {
        module_bytes: limit,
        ..Ceilings::default()
    };
    let error = refused(VerifiedPack::read(folder.path(), &trust(), &ceilings));
    assert_eq!(
        error,
        LoadError::TooLarge {
            path: KERNEL.to_owned(),
            limit
        }
    );
    folder.put("kernels.json", &vec![b' '; (1 << 20) + 1]);
    assert!(matches!(
        refused(folder.verify()),
        LoadError::TooLarge { .. }
    ));
}

#[test]
fn case_28_swapped_before_loading() {
    let folder = TestPack::rms_norm("").write();
    let other = binary(&rms_norm("unreachable"));
    folder.put(KERNEL, &other);
    match refused(folder.verify()) {
        LoadError::HashMismatch { kernel, actual, .. } => {
            assert_eq!((kernel.as_str(), actual), ("rmsnorm_f32", sha256(&other)));
        }
        error => panic!("{error}"),
    }
}

#[test]
fn case_29_swapped_between_verification_and_compilation() {
    let manager = manager();
    let folder = TestPack::rms_norm("").write();
    let verified = folder.verify().unwrap();
    folder.put(KERNEL, &binary(&body("unreachable")));
    std::fs::remove_file(folder.file("kernels.json.sig")).unwrap();
    manager
        .activate_verified(verified, ruvllm_packs::Downgrade::Refuse)
        .unwrap();
    let kernels = manager.kernels().for_step().unwrap();
    assert!(crate::support::close(
        &norm(&*kernels, 2, 64),
        &norm(&*native(), 2, 64)
    ));
    assert_eq!(
        manager.counters().of(ruvllm_packs::Operation::RmsNorm).pack,
        1
    );
}

#[test]
fn case_30_manifest_swapped_after_verification() {
    let folder = TestPack::rms_norm("").write();
    let verified = folder.verify().unwrap();
    folder.put("kernels.json", b"{}");
    let pack = verified.compile(&sandbox()).unwrap();
    assert_eq!(pack.version().to_string(), "1.0.0");
}

/// What loading says of a kernel of these bytes, rightly hashed and signed.
fn of_bytes(bytes: &[u8]) -> String {
    match refused(TestPack::new(&[("rmsnorm_f32", bytes.to_vec())]).load()) {
        LoadError::Module { reason, .. } => reason,
        error => panic!("{error}"),
    }
}

#[test]
fn case_31_compiled_code_and_components() {
    assert!(of_bytes(b"\x7fELF\x02\x01\x01\0 and so on").contains("compiled code is never loaded"));
    assert!(of_bytes(b"").contains("no WebAssembly module"));
    assert!(
        of_bytes(rms_norm("").as_bytes()).contains("no WebAssembly module"),
        "the text format"
    );
    assert!(of_bytes(b"\0asm\x0d\0\x01\0").contains("component"));
    of_bytes(b"\0asm\x02\0\0\0");
}

#[test]
fn case_32_compiled_code_of_other_engines() {
    // What a host would have compiled ahead, whole, cut, and of an engine of another configuration.
    let module = binary(&rms_norm(""));
    let engine = wasmtime::Engine::default();
    let compiled = engine.precompile_module(&module).unwrap();
    for bytes in [&compiled[..], &compiled[..compiled.len() / 2]] {
        assert!(of_bytes(bytes).contains("compiled code is never loaded"));
    }
    let half = &module[..module.len() / 2];
    of_bytes(half);
    assert_eq!(options().ceilings, Ceilings::default());
}
