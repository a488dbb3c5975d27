//! Honest files that chance has changed: they are read or refused, never more.

use std::path::Path;

use proptest::prelude::*;
use proptest::sample::Index;
use ruvllm_formats::{FormatError, ModelFiles, gguf, safetensors};

use super::allocator::peak_of;
use super::build::{Gguf, array, model_folder, safetensors_of, string};

/// A change of some bytes.
#[derive(Debug, Clone)]
enum Edit {
    Flip(Index, u8),
    Number(Index, u64),
    Cut(Index),
    Remove(Index, u8),
    Repeat(Index, Index, u8),
}

/// Numbers at which arithmetic breaks, and small ones.
fn number() -> impl Strategy<Value = u64> {
    let near = prop::sample::select(vec![
        0,
        1 << 16,
        1 << 31,
        1 << 32,
        1 << 59,
        1 << 61,
        1 << 63,
    ]);
    let near = (near, 0..5u64)
        .prop_map(|(number, step): (u64, u64)| number.wrapping_add(step).wrapping_sub(2));
    prop_oneof![near, 0..300u64, any::<u64>()]
}

fn edit() -> impl Strategy<Value = Edit> {
    let place = any::<Index>;
    prop_oneof![
        4 => (place(), 0..8u8).prop_map(|(at, bit)| Edit::Flip(at, bit)),
        4 => (place(), number()).prop_map(|(at, number)| Edit::Number(at, number)),
        1 => place().prop_map(Edit::Cut),
        1 => (place(), 1..40u8).prop_map(|(at, length)| Edit::Remove(at, length)),
        2 => (place(), place(), 1..80u8).prop_map(|(from, to, length)| Edit::Repeat(from, to, length)),
    ]
}

/// Changes most of which hit the first `header` bytes.
fn changed(mut file: Vec<u8>, header: usize, edits: &[Edit]) -> Vec<u8> {
    for edit in edits {
        let length = file.len().min(header);
        if length < 8 {
            break;
        }
        match edit {
            Edit::Flip(at, bit) => file[at.index(length)] ^= 1 << bit,
            Edit::Number(at, number) => {
                let at = at.index(length - 7);
                file[at..at + 8].copy_from_slice(&number.to_le_bytes());
            }
            Edit::Cut(at) => file.truncate(at.index(file.len())),
            Edit::Remove(at, bytes) => {
                let at = at.index(length);
                file.drain(at..(at + *bytes as usize).min(length));
            }
            Edit::Repeat(from, to, bytes) => {
                let from = from.index(length);
                let piece = file[from..(from + *bytes as usize).min(length)].to_vec();
                let to = to.index(length);
                file.splice(to..to, piece);
            }
        }
    }
    file
}

fn valid_gguf() -> Gguf {
    let texts = [string("one"), string("two")].concat();
    Gguf::honest()
        .value("general.alignment", 4, 32u32.to_le_bytes())
        .value("bools", 9, array(7, 2, &[0, 1]))
        .value(
            "nested",
            9,
            array(
                9,
                2,
                &[array(8, 2, &texts), array(1, 3, &[1, 2, 3])].concat(),
            ),
        )
        .split(0, 1, 2)
}

/// A real file, of many keys and tensors.
fn fixture(name: &str) -> Vec<u8> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/fixtures");
    std::fs::read(path.join(name)).unwrap()
}

/// Parsing is over soon and keeps little; an allocation beyond the bound is a hole.
fn parsed<T>(
    bytes: &[u8],
    parse: fn(&[u8]) -> Result<T, FormatError>,
) -> Result<bool, TestCaseError> {
    let (outcome, peak) = peak_of(|| parse(bytes).map(drop));
    let bound = 64 * bytes.len() + (64 << 10);
    prop_assert!(peak <= bound, "{peak} bytes for {} of file", bytes.len());
    if let Err(error) = &outcome {
        let message = error.to_string();
        prop_assert!(
            message.len() < 600 && !message.contains(char::is_control),
            "{message:?}"
        );
    }
    Ok(outcome.is_ok())
}

/// Every tensor of an opened model has its bytes, and all together are no more than the files.
fn in_range(files: &ModelFiles) -> Result<(), TestCaseError> {
    let mut total = 0;
    for info in files.tensors() {
        let (_, bytes) = files.tensor(&info.name).unwrap();
        prop_assert_eq!(bytes.len(), info.byte_length());
        prop_assert!(!bytes.is_empty());
        total += bytes.len() as u64;
        files.release(info);
    }
    prop_assert!(total <= files.total_bytes());
    Ok(())
}

/// The number of cases stands in `PROPTEST_CASES`; failing cases are printed, not kept in files.
fn config() -> ProptestConfig {
    ProptestConfig {
        failure_persistence: None,
        ..ProptestConfig::default()
    }
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn changed_gguf_files_are_read_or_refused(edits in prop::collection::vec(edit(), 1..6)) {
        let file = valid_gguf();
        let header = file.header().len();
        let bytes = changed(file.bytes(), header, &edits);
        if parsed(&bytes, gguf::parse)? {
            let folder = tempfile::tempdir().unwrap();
            let path = super::build::write(folder.path(), "x.gguf", &bytes);
            // Its `split.*` keys may now be wrong.
            if let Ok(files) = ModelFiles::open(&path) {
                in_range(&files)?;
            }
        }
    }

    #[test]
    fn changed_real_gguf_files_are_read_or_refused(edits in prop::collection::vec(edit(), 1..4)) {
        let bytes = changed(fixture("gguf/llama-gqa.gguf"), 16 << 10, &edits);
        parsed(&bytes, gguf::parse)?;
    }

    #[test]
    fn changed_safetensors_files_are_read_or_refused(edits in prop::collection::vec(edit(), 1..6)) {
        let file = safetensors_of(&[("first", &[1; 40]), ("second", &[2; 9]), ("third", &[3; 100])]);
        let header = file.len() - 149;
        let bytes = changed(file, header, &edits);
        if parsed(&bytes, safetensors::parse)? {
            let folder = tempfile::tempdir().unwrap();
            in_range(&ModelFiles::open(&model_folder(folder.path(), &bytes)).unwrap())?;
        }
    }

    #[test]
    fn changed_real_safetensors_files_are_read_or_refused(edits in prop::collection::vec(edit(), 1..4)) {
        let bytes = changed(fixture("models/llama-gqa/model.safetensors"), 2 << 10, &edits);
        parsed(&bytes, safetensors::parse)?;
    }

    #[test]
    fn any_bytes_are_refused(bytes in prop::collection::vec(any::<u8>(), 0..200), gguf in any::<bool>()) {
        let begin: &[u8] = if gguf { b"GGUF\x03\0\0\0" } else { &[] };
        let bytes = [begin, &bytes].concat();
        parsed(&bytes, gguf::parse)?;
        parsed(&bytes, safetensors::parse)?;
    }
}
