//! The same model as a safetensors folder and as a GGUF file gives the same spec.

use std::path::PathBuf;

use ruvllm_core::model::families::spec_from_files;
use ruvllm_core::model::spec::ModelSpec;
use ruvllm_formats::ModelFiles;

fn spec(path: &str) -> (ModelFiles, ModelSpec) {
    let fixtures = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/fixtures");
    let files = ModelFiles::open(&PathBuf::from(fixtures).join(path)).expect("a fixture");
    let spec = spec_from_files(&files).expect("a spec");
    (files, spec)
}

/// Every tensor of the file is a weight that the spec names, or consumed.
fn assert_all_named(files: &ModelFiles, spec: &ModelSpec) {
    let names = format!("{:?}", spec.tensors);
    for info in files.tensors() {
        let parts: Vec<&str> = info.name.split('.').collect();
        let is_index = |part: &&str| part.parse::<usize>().is_ok();
        let generic: Vec<&str> = parts
            .iter()
            .map(|part| if is_index(part) { "{}" } else { part })
            .collect();
        let is_named = names.contains(&format!("\"{}\"", generic.join(".")));
        assert!(
            is_named || spec.consumed_tensors.contains(&info.name),
            "{} of {}",
            info.name,
            spec.architecture
        );
    }
}

#[test]
fn every_tensor_of_the_reference_models_is_named() {
    for name in [
        "llama-gqa",
        "llama3-rope-tied",
        "mistral-window",
        "qwen2-bias-tied",
        "qwen3-qknorm",
        "phi3-fused",
        "phi3-longrope",
        "gemma2-softcap",
        "gemma3-dual-rope",
    ] {
        let (files, spec) = spec(&format!("models/{name}"));
        assert_all_named(&files, &spec);
    }
}

#[test]
fn both_kinds_of_files_give_the_same_spec() {
    for name in [
        "llama-gqa",
        "llama3-rope-tied",
        "qwen2-bias-tied",
        "qwen3-qknorm",
    ] {
        let (files, gguf) = spec(&format!("gguf/{name}.gguf"));
        assert_all_named(&files, &gguf);
        let (_, mut config) = spec(&format!("models/{name}"));
        let [ours, theirs] = [&gguf, &config].map(|spec| spec.ropes[0].frequencies(100));
        for (one, other) in ours.inverse.iter().zip(&theirs.inverse) {
            assert!((one - other).abs() <= 1e-6 * other, "{name}: {one} {other}");
        }
        // What only one of the two kinds of files holds.
        config.ropes.clone_from(&gguf.ropes);
        config.architecture.clone_from(&gguf.architecture);
        config.name.clone_from(&gguf.name);
        config.tensors.clone_from(&gguf.tensors);
        config.consumed_tensors.clone_from(&gguf.consumed_tensors);
        config.rotary_layout = gguf.rotary_layout;
        config.special_tokens = gguf.special_tokens.clone();
        assert_eq!(config, gguf, "{name}");
    }
}
