//! A GGUF file written as it was read.
#![allow(missing_docs, clippy::unwrap_used)]

use std::path::Path;

use ruvllm_formats::ModelFiles;
use ruvllm_formats::gguf::{Entry, GgufWriter, PlannedTensor, entries, parse};

fn fixture() -> (ModelFiles, Vec<u8>) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/fixtures/gguf");
    let path = folder.join("llama-gqa.gguf");
    (
        ModelFiles::open(&path).unwrap(),
        std::fs::read(&path).unwrap(),
    )
}

fn planned(files: &ModelFiles) -> Vec<PlannedTensor> {
    let tensors = files.tensors_in_file_order().into_iter();
    let plan = tensors.map(|info| PlannedTensor {
        name: info.name.clone(),
        tensor_type: info.tensor_type,
        shape: info.shape.clone(),
    });
    plan.collect()
}

#[test]
fn a_copy_has_the_same_bytes() {
    let (files, bytes) = fixture();
    let mut writer =
        GgufWriter::begin(Vec::new(), &files.entries().unwrap(), &planned(&files)).unwrap();
    for info in files.tensors_in_file_order() {
        let (_, tensor) = files.tensor(&info.name).unwrap();
        // In pieces of no round size.
        tensor
            .chunks(999)
            .for_each(|some| writer.write(some).unwrap());
    }
    let (copy, written) = writer.finish().unwrap();
    assert_eq!(written as usize, copy.len());
    assert!(copy == bytes, "{} and {} bytes", copy.len(), bytes.len());
}

#[test]
fn tensors_begin_where_the_entries_say() {
    let (files, _) = fixture();
    let mut all = files.entries().unwrap();
    all.push(Entry::number("general.alignment", 4096));
    let mut writer = GgufWriter::begin(Vec::new(), &all, &planned(&files)).unwrap();
    for info in files.tensors_in_file_order() {
        writer.write(files.tensor(&info.name).unwrap().1).unwrap();
    }
    let (copy, _) = writer.finish().unwrap();
    let header = parse(&copy).unwrap();
    assert!(
        header
            .tensors
            .iter()
            .all(|info| info.place().start.is_multiple_of(4096))
    );
    let carried = entries(&copy).unwrap();
    assert_eq!(
        carried.last().unwrap(),
        &Entry::number("general.alignment", 4096)
    );
    let said = [Entry::text("a", "text\u{e9}"), Entry::float("b", 0.5)];
    let (written, _) = GgufWriter::begin(Vec::new(), &said, &[])
        .unwrap()
        .finish()
        .unwrap();
    let read = parse(&written).unwrap().metadata;
    assert_eq!(
        (read.get_str("a"), read.get_f32("b")),
        (Some("text\u{e9}"), Some(0.5))
    );
    for number in [0, 3, 1 << 21] {
        let entry = Entry::number("general.alignment", number);
        let error = GgufWriter::begin(Vec::new(), &[entry], &[]).unwrap_err();
        assert!(error.to_string().contains("a power of two"), "{error}");
    }
}

#[test]
fn more_or_fewer_bytes_are_refused() {
    let (files, _) = fixture();
    let plan = &planned(&files)[..1];
    let length = files.tensors_in_file_order()[0].byte_length();
    let mut writer = GgufWriter::begin(Vec::new(), &[], plan).unwrap();
    assert!(writer.write(&vec![0; length + 1]).is_err());
    writer.write(&vec![0; length - 1]).unwrap();
    writer.write(&[0]).unwrap();
    let error = writer.write(&[0]).unwrap_err();
    assert!(
        error.to_string().contains("all tensors are complete"),
        "{error}"
    );
    let mut writer = GgufWriter::begin(Vec::new(), &[], plan).unwrap();
    writer.write(&vec![0; length - 1]).unwrap();
    let error = writer.finish().unwrap_err();
    assert!(
        error.to_string().contains("1 tensors are not complete"),
        "{error}"
    );
}
