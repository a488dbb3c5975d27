//! Cases 57 to 62: changing packs while they are in use.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use ruvllm_packs::{Downgrade, Floors, LoadError, Operation, PackManager};

use crate::kernels::{TRIGGER, binary, rms_norm, wrong_rms_norm};
use crate::support::{TestPack, close, manager, native, norm, refused, sandbox, trust};

/// RMSNorm that is a little larger, within what a health check allows: tells packs apart.
fn larger(factor: &str, version: &str) -> TestPack {
    let text = rms_norm("").replace(
        "(f32.div (f32.const 1)",
        &format!("(f32.div (f32.const {factor})"),
    );
    TestPack::new(&[("rmsnorm_f32", binary(&text))])
        .version(version)
        .with_ticks(1000)
}

/// A host whose clock the test moves.
fn with_clock(floors: Floors) -> (PackManager, Arc<AtomicU64>) {
    let seconds = Arc::new(AtomicU64::new(0));
    let clock = Arc::clone(&seconds);
    let clock = Arc::new(move || Duration::from_secs(clock.load(Ordering::SeqCst)));
    (
        PackManager::with_clock(sandbox(), trust(), native(), floors, clock),
        seconds,
    )
}

fn version(host: &PackManager) -> Option<String> {
    host.current().map(|pack| pack.version)
}

#[test]
fn case_57_a_bad_pack_leaves_the_old_one() {
    let host = manager();
    TestPack::rms_norm("").activate(&host).unwrap();
    let before = host.current();
    let bad = [
        TestPack::rms_norm("").version("2.0.0").signed_by(2),
        TestPack::rms_norm("")
            .version("2.0.0")
            .with("/kernels/0/hash", serde_json::json!("sha256:00")),
        TestPack::of("(module)").version("2.0.0"),
    ];
    for pack in bad {
        pack.activate(&host).unwrap_err();
        assert_eq!(host.current(), before);
    }
    host.activate(Path::new("/no/such/pack"), Downgrade::Refuse)
        .unwrap_err();
    assert_eq!(host.current(), before);
    assert!(host.previous().is_none());
}

#[test]
fn case_58_a_failed_health_check_raises_no_floor() {
    let host = manager();
    TestPack::rms_norm("").activate(&host).unwrap();
    let error = refused(
        TestPack::of(&wrong_rms_norm())
            .version("3.0.0")
            .activate(&host),
    );
    assert!(
        matches!(error, LoadError::HealthCheckFailed { .. }),
        "{error}"
    );
    assert_eq!(version(&host).as_deref(), Some("1.0.0"));
    // Nor does it count as work done for anyone.
    assert_eq!(host.counters().of(Operation::RmsNorm).pack, 0);
    TestPack::rms_norm("")
        .version("2.0.0")
        .activate(&host)
        .unwrap();
}

#[test]
fn case_59_a_step_has_one_pack() {
    let host = manager();
    let kernels = host.kernels();
    let folders = [("1", "1.0.0"), ("1.00001", "1.0.1")]
        .map(|(factor, version)| larger(factor, version).write());
    let results: Vec<Vec<f32>> = folders
        .iter()
        .map(|folder| {
            host.activate(folder.path(), Downgrade::AllowOnce).unwrap();
            norm(&*kernels.for_step().unwrap(), 2, 64)
        })
        .collect();
    assert_ne!(results[0], results[1]);
    let seen = [AtomicU64::new(0), AtomicU64::new(0)];
    let is_over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for _ in 0..16 {
            scope.spawn(|| {
                while !is_over.load(Ordering::Relaxed) {
                    let step = kernels.for_step().unwrap();
                    let first = norm(&*step, 2, 64);
                    let which = results
                        .iter()
                        .position(|result| *result == first)
                        .expect("old or new");
                    seen[which].fetch_add(1, Ordering::Relaxed);
                    for _ in 0..20 {
                        assert!(norm(&*step, 2, 64) == first, "a step of two packs");
                    }
                }
            });
        }
        for turn in 0..12 {
            host.activate(folders[turn % 2].path(), Downgrade::AllowOnce)
                .unwrap();
            if turn % 4 == 3 {
                host.rollback().unwrap();
            }
        }
        is_over.store(true, Ordering::Relaxed);
    });
    assert!(
        seen.iter().all(|count| count.load(Ordering::Relaxed) > 0),
        "{seen:?}"
    );
    let counts = host.counters().of(Operation::RmsNorm);
    assert!(counts.fallbacks.is_empty(), "{:?}", counts.fallbacks);
}

#[test]
fn case_60_a_second_upgrade_within_the_grace() {
    let (host, _) = with_clock(Floors::default());
    for version in ["1.0.0", "1.1.0", "1.2.0"] {
        TestPack::rms_norm("")
            .version(version)
            .activate(&host)
            .unwrap();
    }
    assert_eq!(host.previous().unwrap().version, "1.1.0");
    assert_eq!(host.rollback().unwrap().version, "1.1.0");
    assert_eq!(refused(host.rollback()), LoadError::NoPreviousPack);
    assert_eq!(version(&host).as_deref(), Some("1.1.0"));
}

#[test]
fn case_61_nothing_to_go_back_to() {
    let (host, seconds) = with_clock(Floors::default());
    assert_eq!(refused(host.rollback()), LoadError::NoPreviousPack);
    TestPack::rms_norm("").activate(&host).unwrap();
    assert_eq!(refused(host.rollback()), LoadError::NoPreviousPack);
    TestPack::rms_norm("")
        .version("1.1.0")
        .activate(&host)
        .unwrap();
    seconds.store(299, Ordering::SeqCst);
    assert!(host.previous().is_some());
    seconds.store(300, Ordering::SeqCst);
    assert_eq!(refused(host.rollback()), LoadError::NoPreviousPack);
    assert_eq!(version(&host).as_deref(), Some("1.1.0"));
}

#[test]
fn case_62_the_previous_pack_goes_when_its_last_step_ends() {
    let (host, seconds) = with_clock(Floors::default());
    let kernels = host.kernels();
    TestPack::rms_norm("").activate(&host).unwrap();
    let step = kernels.for_step().unwrap();
    TestPack::rms_norm("")
        .version("1.1.0")
        .activate(&host)
        .unwrap();
    seconds.store(400, Ordering::SeqCst);
    assert!(host.previous().is_none());
    let before = host.counters().of(Operation::RmsNorm).pack;
    assert!(close(&norm(&*step, 2, 64), &norm(&*native(), 2, 64)));
    assert_eq!(
        host.counters().of(Operation::RmsNorm).pack,
        before + 1,
        "the old pack still computes"
    );
    let weak = Arc::downgrade(&step);
    drop(step);
    assert!(weak.upgrade().is_none(), "nobody holds it any more");
}

#[test]
fn a_pack_that_breaks_gives_way_to_the_one_before() {
    let (host, seconds) = with_clock(Floors::default());
    let kernels = host.kernels();
    TestPack::rms_norm("").activate(&host).unwrap();
    TestPack::rms_norm("unreachable")
        .version("1.1.0")
        .activate(&host)
        .unwrap();
    let expected = norm(&*native(), 1, TRIGGER);
    for _ in 0..3 {
        assert_eq!(norm(&*kernels.for_step().unwrap(), 1, TRIGGER), expected);
    }
    assert!(close(
        &norm(&*kernels.for_step().unwrap(), 1, TRIGGER),
        &expected
    ));
    assert_eq!(version(&host).as_deref(), Some("1.0.0"));
    assert_eq!(host.automatic_rollbacks(), 1);
    // Its floor stays: an operator has to say that the older one is to be loaded again.
    let older = TestPack::rms_norm("").write();
    assert!(matches!(
        refused(host.activate(older.path(), Downgrade::Refuse)),
        LoadError::Downgrade { .. }
    ));
    // After the grace there is nothing to go back to, and every call is native.
    TestPack::rms_norm("unreachable")
        .version("1.2.0")
        .activate(&host)
        .unwrap();
    seconds.store(1000, Ordering::SeqCst);
    for _ in 0..5 {
        assert_eq!(norm(&*kernels.for_step().unwrap(), 1, TRIGGER), expected);
    }
    assert_eq!(host.automatic_rollbacks(), 1);
    assert!(host.current().unwrap().is_broken);
}

#[test]
fn rollback_makes_the_older_version_acceptable_again() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("floors.json");
    let (host, _) = with_clock(Floors::open(&path).unwrap());
    let older = TestPack::rms_norm("").write();
    host.activate(older.path(), Downgrade::Refuse).unwrap();
    TestPack::rms_norm("")
        .version("1.1.0")
        .activate(&host)
        .unwrap();
    assert_eq!(host.rollback().unwrap().version, "1.0.0");
    let (restarted, _) = with_clock(Floors::open(&path).unwrap());
    restarted.activate(older.path(), Downgrade::Refuse).unwrap();
}

#[test]
fn without_a_pack_everything_is_native() {
    let host = manager();
    let kernels = host.kernels();
    assert!(kernels.for_step().is_none());
    assert_eq!(norm(&*kernels, 2, 64), norm(&*native(), 2, 64));
    TestPack::rms_norm("").activate(&host).unwrap();
    assert!(kernels.for_step().is_some());
    host.deactivate();
    assert!(kernels.for_step().is_none());
    assert_eq!(host.rollback().unwrap().version, "1.0.0");
}
