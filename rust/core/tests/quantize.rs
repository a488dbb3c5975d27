//! Files in fewer bits: what is carried over, what becomes of each tensor, and what is refused.
#![allow(missing_docs, clippy::unwrap_used)]
#![allow(clippy::disallowed_methods, reason = "files are damaged here")]

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use ruvllm_core::quantize::{Mix, Requantized, Wanted, quantize};
use ruvllm_core::{Error, Result, model};
use ruvllm_formats::gguf::parse;
use ruvllm_kernels::ThreadPool;
use ruvllm_kernels::quant::{BlockType, decode};

fn fixture() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/fixtures/gguf/llama-gqa.gguf")
}

fn wanted(name: &str) -> Result<Wanted> {
    Ok(Wanted {
        mix: Mix::named(name)?,
        entries: Vec::new(),
        importance: HashMap::new(),
    })
}

fn made(path: &Path, name: &str, threads: usize) -> Result<(Vec<u8>, Vec<Requantized>)> {
    made_as(path, &wanted(name)?, threads)
}

fn made_as(path: &Path, wanted: &Wanted, threads: usize) -> Result<(Vec<u8>, Vec<Requantized>)> {
    let mut file = Vec::new();
    let pool = ThreadPool::new(threads);
    let files = model::open(path)?;
    let tensors = quantize(&files, wanted, &pool, &mut file, &mut |_, _| Ok(()))?;
    Ok((file, tensors))
}

/// The fixture with other bytes at the beginning of a tensor.
fn with_value(folder: &Path, tensor: &str, value: f32) -> PathBuf {
    let mut bytes = std::fs::read(fixture()).unwrap();
    let header = parse(&bytes).unwrap();
    let info = header
        .tensors
        .iter()
        .find(|info| info.name == tensor)
        .unwrap();
    bytes[info.place()][64 * 4..65 * 4].copy_from_slice(&value.to_le_bytes());
    let path = folder.join("changed.gguf");
    std::fs::write(&path, bytes).unwrap();
    path
}

fn values(block_type: BlockType, bytes: &[u8]) -> Vec<f32> {
    let mut values =
        vec![0.0; bytes.len() / block_type.block_bytes() * block_type.block_elements()];
    decode(block_type, bytes, &mut values).unwrap();
    values
}

#[test]
fn every_mix_makes_a_file_that_is_read() {
    let original = std::fs::read(fixture()).unwrap();
    let before = parse(&original).unwrap();
    for name in Mix::names() {
        let (file, tensors) = made(&fixture(), name, 2).unwrap();
        let after = parse(&file).unwrap();
        let count = before
            .metadata
            .keys()
            .filter(|key| after.metadata.get(key).is_some())
            .count();
        assert_eq!(count, before.metadata.keys().count(), "{name}");
        assert_eq!(
            after.metadata.get_strings("tokenizer.ggml.tokens"),
            before.metadata.get_strings("tokenizer.ggml.tokens")
        );
        assert_eq!(
            after.metadata.get_u32("general.quantization_version"),
            Some(2)
        );
        let described = tensors.iter().zip(&after.tensors);
        for ((tensor, info), old) in described.zip(&before.tensors) {
            assert_eq!((&tensor.name, &info.shape), (&old.name, &old.shape));
            assert_eq!(tensor.types, ["F32", info.tensor_type.name()], "{name}");
            assert_eq!(
                tensor.bytes,
                [old.byte_length() as u64, info.byte_length() as u64]
            );
            let block_type = BlockType::from_name(info.tensor_type.name()).unwrap();
            let stored = values(block_type, &file[info.place()]);
            let wanted = values(BlockType::F32, &original[old.place()]);
            let largest = wanted
                .iter()
                .fold(0.0_f32, |largest, value| largest.max(value.abs()));
            let pairs = stored.iter().zip(&wanted);
            let error = pairs.fold(0.0_f32, |most, (a, b)| most.max((a - b).abs()));
            assert!(
                error <= 0.2 * largest,
                "{name}: {} {error} of {largest}",
                info.name
            );
        }
    }
}

#[test]
fn threads_change_nothing() {
    let (one, _) = made(&fixture(), "Q4_K_M", 1).unwrap();
    let (three, _) = made(&fixture(), "Q4_K_M", 3).unwrap();
    assert!(one == three);
}

#[test]
fn numbers_that_no_weights_are_made_of_are_refused_by_their_tensor() {
    let folder = tempfile::tempdir().unwrap();
    let (matrix, norm) = ("blk.1.ffn_up.weight", "blk.1.ffn_norm.weight");
    for (value, words) in [
        (f32::NAN, "not finite"),
        (f32::INFINITY, "not finite"),
        (1e6, "beyond 65504"),
    ] {
        let path = with_value(folder.path(), matrix, value);
        let error = made(&path, "Q8_0", 2).unwrap_err().to_string();
        assert!(error.contains(matrix) && error.contains(words), "{error}");
    }
    let path = with_value(folder.path(), matrix, 1e6);
    assert!(made(&path, "BF16", 2).is_ok());
    let mut bytes = std::fs::read(fixture()).unwrap();
    let header = parse(&bytes).unwrap();
    let place = header
        .tensors
        .iter()
        .find(|info| info.name == norm)
        .unwrap()
        .place();
    bytes[place][..4].copy_from_slice(&f32::NAN.to_le_bytes());
    std::fs::write(&path, bytes).unwrap();
    let error = made(&path, "Q8_0", 2).unwrap_err().to_string();
    assert!(error.contains(norm), "{error}");
}

#[test]
fn another_name_and_a_stop() {
    let error = Mix::named("Q4_K").unwrap_err().to_string();
    assert!(
        error.contains("allowed here: F32, F16") && error.contains("Q4_K_M"),
        "{error}"
    );
    let files = model::open(&fixture()).unwrap();
    let (mut seen, mut file) = (Vec::new(), Vec::new());
    let stopped = quantize(
        &files,
        &wanted("Q8_0").unwrap(),
        &ThreadPool::new(1),
        &mut file,
        &mut |done, total| {
            seen.push((done, total));
            if seen.len() < 5 {
                Ok(())
            } else {
                Err(Error::InvalidOperation("stop".to_owned()))
            }
        },
    );
    assert_eq!(stopped, Err(Error::InvalidOperation("stop".to_owned())));
    assert_eq!(seen.len(), 5);
    assert!(
        seen.windows(2)
            .all(|pair| pair[0].0 < pair[1].0 && pair[0].1 == pair[1].1)
    );
}

/// The folder of which the fixture was made; its tensors are compared in Python, family by family.
#[test]
fn a_folder_in_any_number_of_threads() {
    let folder =
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/fixtures/models/llama-gqa");
    let (one, tensors) = made(&folder, "Q8_0", 1).unwrap();
    let (three, _) = made(&folder, "Q8_0", 3).unwrap();
    assert!(one == three);
    let header = parse(&one).unwrap();
    let original = parse(&std::fs::read(fixture()).unwrap()).unwrap();
    assert_eq!(header.tensors.len(), original.tensors.len());
    assert_eq!(tensors.len(), header.tensors.len());
    let query = tensors.iter().find(|one| one.name == "blk.0.attn_q.weight");
    assert_eq!(query.unwrap().types, ["F32", "Q8_0"]);
}

#[test]
fn what_matters_is_nearer_and_must_be_of_the_model() {
    let name = "blk.1.ffn_up.weight";
    let original = std::fs::read(fixture()).unwrap();
    let header = parse(&original).unwrap();
    let of = |header: &ruvllm_formats::gguf::GgufHeader| {
        let found = header.tensors.iter().find(|info| info.name == name);
        found.unwrap().clone()
    };
    let before = of(&header);
    let exact = values(BlockType::F32, &original[before.place()]);
    let columns = before.shape[1];
    let weights: Vec<f32> = (0..columns)
        .map(|column| if column % 5 == 0 { 50.0 } else { 1.0 })
        .collect();
    let error = |importance: HashMap<String, Vec<f32>>| {
        let wanted = Wanted {
            importance,
            ..wanted("Q4_0").unwrap()
        };
        let (file, _) = made_as(&fixture(), &wanted, 2).unwrap();
        let after = of(&parse(&file).unwrap());
        let stored = values(BlockType::Q4_0, &file[after.place()]);
        let pairs = stored.iter().zip(&exact).enumerate();
        pairs.fold(0.0, |sum, (index, (a, b))| {
            sum + (a - b).powi(2) * weights[index % columns]
        })
    };
    let (plain, weighted) = (
        error(HashMap::new()),
        error(HashMap::from([(name.to_owned(), weights.clone())])),
    );
    assert!(weighted < 0.9 * plain, "{weighted} {plain}");
    for (name, weights, words) in [
        ("blk.9.ffn_up.weight", weights.clone(), "of another model"),
        (name, vec![1.0; columns - 1], "finite numbers"),
        (name, vec![-1.0; columns], "finite numbers"),
        (name, vec![f32::NAN; columns], "finite numbers"),
    ] {
        let wanted = Wanted {
            importance: HashMap::from([(name.to_owned(), weights)]),
            ..wanted("Q4_0").unwrap()
        };
        let error = made_as(&fixture(), &wanted, 1).unwrap_err().to_string();
        assert!(error.contains(name) && error.contains(words), "{error}");
    }
}

#[test]
fn entries_stand_above_those_of_the_file() {
    let text = |text: &str| {
        let length = (text.len() as u64).to_le_bytes();
        [&8_u32.to_le_bytes()[..], &length, text.as_bytes()].concat()
    };
    let wanted = Wanted {
        entries: vec![
            ("general.name".to_owned(), text("another")),
            ("quantize.imatrix.file".to_owned(), text("imatrix.gguf")),
        ],
        ..wanted("Q8_0").unwrap()
    };
    let (file, _) = made_as(&fixture(), &wanted, 1).unwrap();
    let said = parse(&file).unwrap().metadata;
    assert_eq!(said.get_str("general.name"), Some("another"));
    assert_eq!(said.get_str("quantize.imatrix.file"), Some("imatrix.gguf"));
}
