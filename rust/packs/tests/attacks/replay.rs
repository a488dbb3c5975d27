//! Cases 33 to 38: packs that were right once, also where several processes share the floors.

use std::fs::File;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use ruvllm_packs::{Downgrade, Floors, Host, LoadError, PackManager, Trust};
use serde_json::json;

use crate::support::{TestPack, native, refused, sandbox, trust, trusting};

/// A host with the floors of a file, as after a restart.
fn host(path: &Path, trust: Trust) -> PackManager {
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

/// The version that the file says.
fn floor(path: &Path, name: &str) -> String {
    let floors: serde_json::Value = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
    floors[name]["version"].as_str().unwrap().to_owned()
}

fn named(name: &str, version: &str) -> TestPack {
    TestPack::rms_norm("")
        .version(version)
        .with("/name", json!(name))
}

#[test]
fn case_33_what_another_process_raised() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("floors.json");
    // Both have read a file without floors.
    let (first, second) = (host(&path, trust()), host(&path, trust()));
    named("one", "2.0.0").activate(&first).unwrap();
    let error = refused(named("one", "1.0.0").activate(&second));
    assert!(matches!(error, LoadError::Downgrade { floor, .. } if floor == "2.0.0"));
    // What one of them sets, the other does not write over with what it knew.
    named("two", "3.0.0").activate(&second).unwrap();
    assert_eq!(
        (floor(&path, "one"), floor(&path, "two")),
        ("2.0.0".into(), "3.0.0".into())
    );
    // Nor does it own a name that the other has taken meanwhile.
    let both = host(&path, trusting(&[1, 2], &[]));
    let error = refused(named("two", "4.0.0").signed_by(2).activate(&both));
    assert!(matches!(error, LoadError::OtherOwner { .. }), "{error}");
    // It fails closed, also where the file was damaged while it ran.
    std::fs::write(&path, "{").unwrap();
    let error = refused(named("one", "5.0.0").activate(&second));
    assert!(matches!(error, LoadError::Floors { .. }), "{error}");
    assert_eq!(second.current().unwrap().name, "two");
    assert_eq!(std::fs::read(&path).unwrap(), b"{");
}

#[cfg(unix)]
#[test]
fn case_33_links_and_pipes_beside_the_floors() {
    let folder = tempfile::tempdir().unwrap();
    let (path, victim) = (
        folder.path().join("floors.json"),
        folder.path().join("victim"),
    );
    std::fs::write(&victim, "mine").unwrap();
    // The new file is made where the link is, and what it leads to stays; so does what was left.
    let next = folder.path().join("floors.json.next");
    for version in ["1.0.0", "2.0.0"] {
        let _ = std::fs::remove_file(&next);
        if version == "1.0.0" {
            std::os::unix::fs::symlink(&victim, &next).unwrap();
        } else {
            std::fs::write(&next, "half").unwrap();
        }
        named("one", version)
            .activate(&host(&path, trust()))
            .unwrap();
        assert_eq!(floor(&path, "one"), version);
        assert!(!path.symlink_metadata().unwrap().is_symlink() && !next.exists());
    }
    assert_eq!(std::fs::read(&victim).unwrap(), b"mine");
    // A lock that is a link is not taken, and no pipe is waited for.
    let lock = folder.path().join("floors.json.lock");
    std::fs::remove_file(&lock).unwrap();
    std::os::unix::fs::symlink(&victim, &lock).unwrap();
    let error = refused(named("one", "3.0.0").activate(&host(&path, trust())));
    assert!(matches!(error, LoadError::Floors { .. }), "{error}");
    for place in [&lock, &path] {
        std::fs::remove_file(place).unwrap();
        rustix::fs::mkfifoat(rustix::fs::CWD, place, rustix::fs::Mode::RWXU).unwrap();
        let host = Floors::open(&path);
        let error = match host {
            Ok(_) => refused(named("one", "3.0.0").activate(&self::host(&path, trust()))),
            Err(error) => error,
        };
        assert!(matches!(error, LoadError::Floors { .. }), "{error}");
    }
}

#[test]
fn case_33_raised_between_the_check_and_the_swap() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("floors.json");
    named("one", "1.0.0")
        .activate(&host(&path, trust()))
        .unwrap();
    let text = std::fs::read_to_string(&path).unwrap();
    for downgrade in [Downgrade::Refuse, Downgrade::AllowOnce] {
        std::fs::write(&path, &text).unwrap();
        let lock = File::create(folder.path().join("floors.json.lock")).unwrap();
        lock.lock().unwrap();
        let (late, pack) = (host(&path, trust()), named("one", "1.5.0").write());
        std::thread::scope(|scope| {
            let activation = scope.spawn(|| late.activate(pack.path(), downgrade));
            std::thread::sleep(Duration::from_millis(500));
            assert!(!activation.is_finished(), "it waits for the lock");
            std::fs::write(&path, text.replace("1.0.0", "2.0.0")).unwrap();
            lock.unlock().unwrap();
            // The operator's word was about another floor.
            let error = refused(activation.join().unwrap());
            assert!(matches!(error, LoadError::Downgrade { floor, .. } if floor == "2.0.0"));
        });
        assert!(late.current().is_none());
        assert_eq!(floor(&path, "one"), "2.0.0");
    }
}

#[test]
fn case_33_going_back_lowers_no_floor_of_others() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("floors.json");
    let (first, second) = (host(&path, trust()), host(&path, trust()));
    named("one", "1.0.0").activate(&first).unwrap();
    named("one", "1.1.0").activate(&first).unwrap();
    named("one", "2.0.0").activate(&second).unwrap();
    assert_eq!(first.rollback().unwrap().version, "1.0.0");
    assert_eq!(floor(&path, "one"), "2.0.0");
    let later = host(&path, trust());
    refused(named("one", "1.0.0").activate(&later));
}

#[test]
fn case_33_many_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("floors.json");
    let sandbox = sandbox();
    std::thread::scope(|scope| {
        for thread in 0..6 {
            let (path, sandbox) = (&path, &sandbox);
            scope.spawn(move || {
                let floors = Floors::open(path).unwrap();
                let host = PackManager::new(Arc::clone(sandbox), trust(), native(), floors);
                for turn in 1..=4 {
                    let own = format!("own-{thread}");
                    named(&own, &format!("1.{turn}.0")).activate(&host).unwrap();
                    let shared = format!("1.{}.0", (turn * 7 + thread * 3) % 20);
                    match named("shared", &shared).activate(&host) {
                        Ok(()) | Err(LoadError::Downgrade { .. }) => {}
                        Err(error) => panic!("{error}"),
                    }
                }
            });
        }
    });
    for thread in 0..6 {
        assert_eq!(floor(&path, &format!("own-{thread}")), "1.4.0");
    }
    let highest = (0..6).flat_map(|thread| (1..=4).map(move |turn| (turn * 7 + thread * 3) % 20));
    assert_eq!(
        floor(&path, "shared"),
        format!("1.{}.0", highest.max().unwrap())
    );
}
