//! Cases 33 to 38: packs that were right once.

use std::sync::Arc;

use ruvllm_packs::{Downgrade, Floors, Host, LoadError, PackManager, Trust};
use serde_json::json;

use crate::support::{TestPack, native, refused, sandbox, trust, trusting};

/// A host with the floors of a file, as after a restart.
fn host(path: &std::path::Path, trust: Trust) -> PackManager {
    PackManager::new(sandbox(), trust, native(), Floors::open(path).unwrap())
}

#[test]
fn case_33_older_version() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("floors.json");
    TestPack::rms_norm("")
        .version("1.1.0")
        .activate(&host(&path, trust()))
        .unwrap();
    // Another process, later.
    let host = host(&path, trust());
    let error = refused(TestPack::rms_norm("").version("1.0.9").activate(&host));
    assert!(matches!(error, LoadError::Downgrade { floor, .. } if floor == "1.1.0"));
    assert!(host.current().is_none());
    TestPack::rms_norm("")
        .version("1.1.0")
        .activate(&host)
        .unwrap();
    TestPack::rms_norm("")
        .version("1.2.0")
        .activate(&host)
        .unwrap();
}

#[test]
fn case_34_operator_allows_an_older_version_once() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("floors.json");
    let first = host(&path, trust());
    TestPack::rms_norm("")
        .version("2.0.0")
        .activate(&first)
        .unwrap();
    let older = TestPack::rms_norm("").version("1.5.0").write();
    first.activate(older.path(), Downgrade::AllowOnce).unwrap();
    let host = host(&path, trust());
    let error = refused(TestPack::rms_norm("").version("1.4.0").activate(&host));
    assert!(matches!(error, LoadError::Downgrade { floor, .. } if floor == "1.5.0"));
    host.activate(older.path(), Downgrade::Refuse).unwrap();
}

#[test]
fn case_35_same_version_other_contents() {
    let host = crate::support::manager();
    TestPack::rms_norm("").activate(&host).unwrap();
    let other = TestPack::rms_norm("nop");
    let error = refused(other.activate(&host));
    assert!(matches!(error, LoadError::OtherContents { .. }), "{error}");
    let folder = other.write();
    let error = refused(host.activate(folder.path(), Downgrade::AllowOnce));
    assert!(matches!(error, LoadError::OtherContents { .. }), "{error}");
}

#[test]
fn case_36_expired() {
    let pack = TestPack::rms_norm("").with("/max_runtime_version", json!("0.4.9"));
    let error = refused(pack.verify());
    let LoadError::RuntimeTooNew {
        max_supported,
        actual,
    } = error
    else {
        panic!("{error}")
    };
    assert_eq!(
        (max_supported.as_str(), actual.as_str()),
        ("0.4.9", "0.5.0")
    );
    let host = Host {
        runtime_version: "1.0.1".parse().unwrap(),
    };
    let trust = Trust { host, ..trust() };
    let manager = PackManager::new(sandbox(), trust, native(), Floors::default());
    refused(TestPack::rms_norm("").activate(&manager));
}

#[test]
fn case_37_damaged_floors() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("floors.json");
    for damaged in [
        "",
        "{",
        "[]",
        "{\"test\": 1}",
        "{\"test\": {\"version\": \"x\", \"digest\": \"\", \"signer\": \"\"}}",
    ] {
        std::fs::write(&path, damaged).unwrap();
        assert!(
            matches!(refused(Floors::open(&path)), LoadError::Floors { .. }),
            "{damaged:?}"
        );
    }
    assert!(matches!(
        refused(Floors::open(folder.path())),
        LoadError::Floors { .. }
    ));
    std::fs::remove_file(&path).unwrap();
    // Where it cannot be written, nothing becomes active whose floor would be forgotten.
    let host = PackManager::new(
        sandbox(),
        trust(),
        native(),
        Floors::open(&folder.path().join("no/such/folder.json")).unwrap(),
    );
    assert!(matches!(
        refused(TestPack::rms_norm("").activate(&host)),
        LoadError::Floors { .. }
    ));
    assert!(host.current().is_none());
}

#[test]
fn case_38_same_name_other_key() {
    let both = || trusting(&[1, 2], &[]);
    let host = PackManager::new(sandbox(), both(), native(), Floors::default());
    TestPack::rms_norm("").activate(&host).unwrap();
    let error = refused(
        TestPack::rms_norm("")
            .version("2.0.0")
            .signed_by(2)
            .activate(&host),
    );
    assert!(matches!(error, LoadError::OtherOwner { .. }), "{error}");
    let other = TestPack::rms_norm("").version("2.0.0").signed_by(2);
    other
        .with("/name", json!("another"))
        .activate(&host)
        .unwrap();
    let host = Arc::new(host);
    assert_eq!(host.current().unwrap().name, "another");
}
