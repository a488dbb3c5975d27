//! Cases 13 to 22: manifests that are signed and wrong all the same.

use ruvllm_packs::{Host, LoadError, Trust, VerifiedPack};
use serde_json::{Value, json};

use crate::support::{TestPack, options, refused, trust};

/// The manifest's text, rightly signed.
fn of_text(text: &str) -> LoadError {
    refused(
        TestPack::rms_norm("")
            .write_manifest(text.as_bytes())
            .verify(),
    )
}

fn text() -> String {
    String::from_utf8(TestPack::rms_norm("").manifest_bytes()).unwrap()
}

fn assert_manifest(error: &LoadError, word: &str) {
    match error {
        LoadError::Manifest { reason } if reason.contains(word) => {}
        other => panic!("{other} says nothing of {word}"),
    }
}

/// The reason for which a changed value is refused.
fn changed(pointer: &str, value: Value) -> LoadError {
    refused(TestPack::rms_norm("").with(pointer, value).verify())
}

#[test]
fn case_13_a_key_twice() {
    let twice = [
        (
            "\"name\": \"test\",",
            "\"name\": \"test\", \"name\": \"other\",",
        ),
        (
            "\"max_epoch_ticks\": 200,",
            "\"max_epoch_ticks\": 200, \"max_epoch_ticks\": 10,",
        ),
        (
            "\"epsilon\": {",
            "\"epsilon\": {\"type\": \"f32\"}, \"epsilon\": {",
        ),
        ("\"fallbacks\": {}", "\"fallbacks\": {}, \"fallbacks\": {}"),
    ];
    for (once, twice) in twice {
        assert!(text().contains(once), "{once}");
        assert_manifest(&of_text(&text().replacen(once, twice, 1)), "duplicate");
    }
}

#[test]
fn case_14_a_kernel_twice() {
    let mut pack = TestPack::rms_norm("");
    let kernel = pack.manifest["kernels"][0].clone();
    pack.manifest["kernels"]
        .as_array_mut()
        .unwrap()
        .push(kernel);
    assert_manifest(&refused(pack.verify()), "two kernels");
}

#[test]
fn case_15_unknown_fields() {
    for pointer in [
        "",
        "/author",
        "/kernels/0",
        "/kernels/0/resource_limits",
        "/kernels/0/platforms",
    ] {
        let mut pack = TestPack::rms_norm("");
        let place = pack.manifest.pointer_mut(pointer).unwrap();
        place
            .as_object_mut()
            .unwrap()
            .insert("surprise".to_owned(), json!(1));
        assert_manifest(&refused(pack.verify()), "unknown field `surprise`");
    }
    assert_manifest(
        &changed("/kernels/0/id", json!("attention_f32")),
        "no place",
    );
    assert_manifest(
        &changed("/$schema", json!("https://example.org")),
        "$schema",
    );
}

#[test]
fn case_16_too_deep_or_too_long() {
    let deep = "[".repeat(200_000);
    assert_manifest(&of_text(&deep), "expected");
    // Where any value may stand for a while.
    let shape = text().replacen("\"rows\"", &deep, 1);
    assert_manifest(&of_text(&shape), "recursion limit");
    let long = text().replace("for tests", &"x".repeat(1 << 20));
    assert!(matches!(of_text(&long), LoadError::TooLarge { limit, .. } if limit == 1 << 20));
    assert_manifest(&changed("/description", json!("x".repeat(5000))), "longer");
    let kernels = vec![TestPack::rms_norm("").manifest["kernels"][0].clone(); 65];
    assert_manifest(&changed("/kernels", json!(kernels)), "1 to 64");
    assert_manifest(&changed("/kernels", json!([])), "1 to 64");
}

#[test]
fn case_17_numbers_out_of_bounds() {
    let limits = "/kernels/0/resource_limits";
    for value in [
        json!(0),
        json!(1001),
        json!(u64::MAX),
        json!(-1),
        json!(1.5),
        json!("20"),
        json!(1e300),
    ] {
        changed(&format!("{limits}/max_epoch_ticks"), value);
    }
    for value in [
        json!(0),
        json!(257),
        json!(65536),
        json!(u64::from(u32::MAX) + 1),
        json!(-1),
    ] {
        changed(&format!("{limits}/max_memory_pages"), value);
    }
    assert_manifest(
        &changed(&format!("{limits}/max_table_elements"), json!(1025)),
        "max_table_elements",
    );
    for number in ["NaN", "Infinity", "1e999", "-NaN"] {
        of_text(&text().replace(
            "\"max_epoch_ticks\": 200",
            &format!("\"max_epoch_ticks\": {number}"),
        ));
    }
}

#[test]
fn case_18_hashes() {
    let good = TestPack::rms_norm("").manifest["kernels"][0]["hash"]
        .as_str()
        .unwrap()
        .to_owned();
    let digits = good.strip_prefix("sha256:").unwrap();
    let bad = [
        format!("sha256:{}", digits.to_uppercase()),
        format!("SHA256:{digits}"),
        format!("md5:{}", &digits[..32]),
        digits.to_owned(),
        good[..70].to_owned(),
        format!("{good}0"),
        String::new(),
    ];
    for hash in bad {
        assert_manifest(&changed("/kernels/0/hash", json!(hash)), "hash");
    }
    let mut pack = TestPack::rms_norm("");
    pack.manifest["kernels"][0]
        .as_object_mut()
        .unwrap()
        .remove("hash");
    assert_manifest(&refused(pack.verify()), "missing field `hash`");
}

#[test]
fn case_20_unknown_references() {
    let known = json!({"rmsnorm_f32": "rmsnorm_reference"});
    TestPack::rms_norm("")
        .with("/fallbacks", known)
        .verify()
        .unwrap();
    let unknown = json!({"rmsnorm_f32": "rope_reference"});
    assert_manifest(&changed("/fallbacks", unknown), "stands in");
    assert_manifest(
        &changed("/fallbacks", json!({"rope_f32": "rope_reference"})),
        "no kernel",
    );
}

#[test]
fn case_21_circle_of_fallbacks() {
    assert_manifest(
        &changed("/fallbacks", json!({"rmsnorm_f32": "rmsnorm_f32"})),
        "stands in",
    );
}

#[test]
fn case_22_versions() {
    for version in [
        "1",
        "1.0",
        "v1.0.0",
        "1.0.0.0",
        "01.0.0",
        "1.0.0-alpha",
        "1.0.0+build",
        "",
    ] {
        for place in ["/version", "/min_runtime_version", "/max_runtime_version"] {
            refused(TestPack::rms_norm("").with(place, json!(version)).verify());
        }
    }
    let error = changed("/min_runtime_version", json!("1.0.1"));
    assert_manifest(&error, "above");
    // Both bounds are included.
    let exact = TestPack::rms_norm("").with("/min_runtime_version", json!("0.5.0"));
    exact
        .with("/max_runtime_version", json!("0.5.0"))
        .verify()
        .unwrap();
    let error = changed("/min_runtime_version", json!("0.5.1"));
    assert!(
        matches!(error, LoadError::RuntimeTooOld { part: "ruvllm", .. }),
        "{error}"
    );
    // Of a host before its release the release counts.
    let host = Host {
        runtime_version: "0.5.0-rc.1".parse().unwrap(),
    };
    let trust = Trust { host, ..trust() };
    let folder = TestPack::rms_norm("")
        .with("/min_runtime_version", json!("0.5.0"))
        .write();
    VerifiedPack::read(folder.path(), &trust, &options().ceilings).unwrap();
}

#[test]
fn platforms_and_features() {
    let platform = "/kernels/0/platforms";
    let changed =
        |pointer: &str, value| refused(TestPack::rms_norm("").with(pointer, value).load());
    let error = changed(
        &format!("{platform}/wasmtime/features"),
        json!(["simd", "threads"]),
    );
    assert!(matches!(error, LoadError::MissingFeature { feature, .. } if feature == "threads"));
    let error = changed(platform, json!({"wamr": {"min_version": "1.3.0"}}));
    assert!(matches!(error, LoadError::MissingFeature { feature, .. } if feature == "wasmtime"));
    let error = changed(&format!("{platform}/wasmtime/min_version"), json!("49.0.0"));
    assert!(matches!(
        error,
        LoadError::RuntimeTooOld {
            part: "wasmtime",
            ..
        }
    ));
    let pulley = json!({"wasmtime": "48.0.0"});
    let error = changed(platform, json!({"pulley": pulley}));
    assert!(matches!(error, LoadError::MissingFeature { feature, .. } if feature == "wasmtime"));
    let both = json!({"pulley": pulley, "wasmtime": {"min_version": "48.0.0"}});
    assert_manifest(&changed(platform, both), "cannot be for");
}
