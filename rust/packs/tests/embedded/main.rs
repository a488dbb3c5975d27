//! Kernels on a device without a compiler: compiled code that a trusted key signed, interpreted.
//!
//! Run without the compiler, as such a device has it, by `make test-embedded`.

#![allow(missing_docs, reason = "the names of the tests say what they are")]
#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

mod support;

use std::time::{Duration, Instant};

use ruvllm_packs::{Inputs, KernelError, LoadError, Pack, Plane, PlaneMut, Trust};
use serde_json::{Value, json};

use support::{Files, RMS_NORM, load, manifest_of, rms_norm, signed, trust};

const ENDLESS: &[u8] = include_bytes!("endless.cwasm");

fn refused(files: &Files) -> LoadError {
    refused_by(files, &trust())
}

fn refused_by(files: &Files, trust: &Trust) -> LoadError {
    load(files, trust)
        .map(|_: Pack| ())
        .expect_err("it was accepted")
}

fn with(change: impl FnOnce(&mut Value)) -> Files {
    let mut manifest = manifest_of(RMS_NORM);
    change(&mut manifest);
    signed(&manifest, RMS_NORM)
}

#[test]
fn a_kernel_computes() {
    let pack = load(&signed(&manifest_of(RMS_NORM), RMS_NORM), &trust()).unwrap();
    let input: Vec<f32> = (0..3 * 37).map(|index| (index % 17) as f32 - 7.5).collect();
    let weight: Vec<f32> = (0..37).map(|index| index as f32 / 8.0 + 1.0).collect();
    let mut output = vec![0.0; input.len()];
    rms_norm(&pack, (&input, &weight), &mut output).unwrap();
    for (row, found) in input.chunks(37).zip(output.chunks(37)) {
        let squares: f64 = row.iter().map(|value| f64::from(*value).powi(2)).sum();
        let factor = 1.0 / (squares / 37.0).sqrt();
        for ((x, weight), found) in row.iter().zip(&weight).zip(found) {
            let expected = f64::from(*x) * factor * f64::from(*weight);
            assert!((f64::from(*found) - expected).abs() <= 1e-6 + 1e-6 * expected.abs());
        }
    }
}

#[test]
fn an_endless_loop_ends_after_a_tenth_of_a_second() {
    let pack = load(&signed(&manifest_of(ENDLESS), ENDLESS), &trust()).unwrap();
    let kernel = pack.kernel("rmsnorm_f32").unwrap();
    let inputs = Inputs {
        a: None,
        b: &[],
        scratch_bytes: 0,
        params: &[],
    };
    let begin = Instant::now();
    let mut output = [0u8; 16];
    let error = kernel.call(&inputs, &mut PlaneMut::Bytes(&mut output));
    let took = begin.elapsed();
    assert_eq!(error, Err(KernelError::EpochDeadline));
    // Ten ticks: nine whole ones and a part. A busy machine may take longer, and never less.
    assert!(took >= Duration::from_millis(80), "{took:?}");
    assert!(took < Duration::from_secs(5), "{took:?}");
}

/// Every refusal here comes before the code is looked at: nothing of what was changed would stop it.
#[test]
fn a_flipped_bit_is_refused_before_anything_is_loaded() {
    let files = || signed(&manifest_of(RMS_NORM), RMS_NORM);
    for place in [0, RMS_NORM.len() / 2, RMS_NORM.len() - 1] {
        let mut files = files();
        files.module[place] ^= 1;
        assert!(matches!(refused(&files), LoadError::HashMismatch { .. }));
    }
    for place in [0, 31, 32, 63] {
        let mut files = files();
        files.signature[place] ^= 1;
        assert!(matches!(refused(&files), LoadError::NoTrustedKey { .. }));
    }
    let mut files = files();
    let place = files.manifest.len() / 2;
    files.manifest[place] ^= 1;
    assert!(matches!(refused(&files), LoadError::NoTrustedKey { .. }));
}

#[test]
fn without_a_trusted_key_nothing_is_loaded() {
    let files = signed(&manifest_of(RMS_NORM), RMS_NORM);
    let error = refused_by(&files, &Trust::default());
    assert_eq!(error, LoadError::NoTrustedKey { trusted: 0 });
}

/// What is not said, by who signs, to be compiled code for this device is never taken for it.
#[test]
fn the_author_must_say_that_it_is_compiled() {
    let platforms = "/kernels/0/platforms";
    let saying = |value: Value| with(|manifest| *manifest.pointer_mut(platforms).unwrap() = value);
    let error = refused(&saying(json!({"wasmtime": {"min_version": "48.0.0"}})));
    assert!(matches!(error, LoadError::MissingFeature { feature, .. } if feature == "pulley"));
    let error = refused(&saying(json!({"pulley": {"wasmtime": "47.0.0"}})));
    assert!(matches!(error, LoadError::RuntimeTooNew { .. }));
    let error = refused(&saying(json!({"pulley": {"wasmtime": "49.0.0"}})));
    assert!(matches!(error, LoadError::RuntimeTooOld { .. }));
}

#[test]
fn a_device_gives_little() {
    let limits = "/kernels/0/resource_limits";
    for (name, value) in [
        ("max_memory_pages", 3),
        ("max_epoch_ticks", 11),
        ("max_table_elements", 65),
    ] {
        let files = with(|manifest| manifest.pointer_mut(limits).unwrap()[name] = json!(value));
        let error = refused(&files);
        assert!(
            matches!(&error, LoadError::Manifest { reason } if reason.contains(name)),
            "{error}"
        );
    }
    let large = vec![0; (128 << 10) + 1];
    let error = refused(&signed(&manifest_of(&large), &large));
    assert!(matches!(error, LoadError::TooLarge { .. }));
}

#[test]
fn memory_ends_at_two_pages() {
    let pack = load(&signed(&manifest_of(RMS_NORM), RMS_NORM), &trust()).unwrap();
    let call = |scratch_bytes: usize| {
        let params = [1u32, 4, 0, 0, 16].map(u32::to_le_bytes);
        let inputs = Inputs {
            a: Some(Plane::Floats(&[2.0; 4])),
            b: &[Plane::Floats(&[1.0; 4])],
            scratch_bytes,
            params: params.as_flattened(),
        };
        let kernel = pack.kernel("rmsnorm_f32").unwrap();
        kernel.call(&inputs, &mut PlaneMut::Floats(&mut [0.0; 4]))
    };
    assert_eq!(call(120_000), Ok(()));
    assert!(matches!(call(131_072), Err(KernelError::TooLarge { .. })));
}

#[test]
fn what_is_not_compiled_is_refused() {
    let module = b"\0asm\x01\0\0\0";
    let error = refused(&signed(&manifest_of(module), module));
    assert!(
        matches!(&error, LoadError::Module { reason, .. } if reason.contains("no compiler")),
        "{error}"
    );
}

/// With the compiler in the build: the compiled kernels here are what their texts give.
#[cfg(feature = "compiler")]
#[test]
fn the_kernels_are_what_their_texts_give() {
    use ruvllm_packs::{Sandbox, SandboxOptions};
    let sandbox = Sandbox::new(SandboxOptions::embedded()).unwrap();
    for (text, compiled) in [
        (include_str!("rmsnorm.wat"), RMS_NORM),
        (include_str!("endless.wat"), ENDLESS),
    ] {
        let module = wat::parse_str(text).unwrap();
        assert!(
            sandbox.precompile(&module).unwrap() == compiled,
            "make them anew: the Makefile says how, at test-embedded"
        );
    }
}

#[cfg(feature = "compiler")]
#[test]
fn a_device_has_no_simd() {
    use ruvllm_packs::{Sandbox, SandboxOptions};
    let sandbox = Sandbox::new(SandboxOptions::embedded()).unwrap();
    let text = "(module (func (drop (v128.const i64x2 0 0))))";
    let error = sandbox
        .precompile(&wat::parse_str(text).unwrap())
        .unwrap_err();
    assert!(error.contains("SIMD"), "{error}");
}
