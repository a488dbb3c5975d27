//! Honest files: what was written is what is read, byte for byte.

use std::path::Path;

use ruvllm_formats::{FileKind, Metadata, ModelFiles, TensorType, Value, gguf, safetensors};

use super::allocator::peak_of;
use super::build::{
    Gguf, Q4_0, Tensor, array, model_folder, safetensors as safetensors_file, safetensors_of,
    string, vector, write,
};

/// Every tensor of the model has the bytes that were written.
fn same_tensors(files: &ModelFiles, written: &[Tensor]) {
    let mut names: Vec<&str> = files.tensors().map(|info| info.name.as_str()).collect();
    assert!(names.is_sorted());
    assert_eq!(names.len(), written.len());
    for tensor in written {
        let name = std::str::from_utf8(&tensor.name).unwrap();
        let (info, bytes) = files.tensor(name).unwrap();
        assert_eq!(bytes, tensor.bytes, "{name}");
        assert_eq!(info.byte_length(), bytes.len());
        let shape: Vec<u64> = info.shape.iter().map(|size| *size as u64).rev().collect();
        assert_eq!(shape, tensor.dimensions);
        names.retain(|other| *other != name);
        // Pages that were given back are read again.
        files.release(info);
        assert_eq!(files.tensor(name).unwrap().1, tensor.bytes);
    }
    assert!(names.is_empty());
    assert!(files.tensor("not there").is_none());
}

fn opened(folder: &Path, file: &Gguf) -> ModelFiles {
    let path = file.write(folder, "x.gguf");
    let files = ModelFiles::open(&path).unwrap();
    assert_eq!(files.kind(), FileKind::Gguf);
    assert_eq!(files.paths(), [path]);
    assert_eq!(files.total_bytes(), file.bytes().len() as u64);
    files
}

#[test]
fn versions_2_and_3_are_read() {
    for version in [2, 3] {
        let folder = tempfile::tempdir().unwrap();
        let file = Gguf {
            version,
            ..Gguf::honest()
        };
        same_tensors(&opened(folder.path(), &file), &file.tensors);
        assert_eq!(gguf::parse(&file.bytes()).unwrap().version, version);
    }
}

#[test]
fn a_file_without_anything_is_read() {
    let folder = tempfile::tempdir().unwrap();
    same_tensors(&opened(folder.path(), &Gguf::new()), &[]);
}

#[test]
fn alignments_are_followed() {
    for alignment in [1u32, 8, 64, 4096, 1 << 20] {
        let folder = tempfile::tempdir().unwrap();
        let file = Gguf {
            alignment: alignment as usize,
            ..Gguf::honest()
        };
        let file = file.value("general.alignment", 4, alignment.to_le_bytes());
        same_tensors(&opened(folder.path(), &file), &file.tensors);
    }
}

#[test]
fn shapes_have_four_dimensions_and_blocks() {
    let mut matrix = vector("matrix", 0, 0);
    matrix.dimensions = vec![2, 3, 4, 5];
    matrix.bytes = (0..480u32).map(|index| index as u8).collect();
    let mut quantized = vector("quantized", 0, 0);
    (quantized.kind, quantized.dimensions) = (Q4_0, vec![64, 3]);
    quantized.bytes = (0..3 * 2 * 18u32).map(|index| index as u8).collect();
    let file = Gguf::new().tensor(quantized).tensor(matrix);
    let folder = tempfile::tempdir().unwrap();
    let files = opened(folder.path(), &file);
    same_tensors(&files, &file.tensors);
    let (info, _) = files.tensor("quantized").unwrap();
    assert_eq!(
        (info.shape.as_slice(), info.tensor_type),
        (&[3, 64][..], TensorType::Q4_0)
    );
    assert_eq!(info.element_count(), 192);
}

/// Each key with its type and bytes has the value that is expected.
fn same_values(rows: &[(&str, u32, Vec<u8>, Value)]) {
    let mut file = Gguf::new();
    for (key, kind, bytes, _) in rows {
        file = file.value(key, *kind, bytes);
    }
    let metadata = gguf::parse(&file.bytes()).unwrap().metadata;
    for (key, _, _, expected) in rows {
        assert_eq!(metadata.get(key), Some(expected), "{key}");
    }
    assert_eq!(metadata.keys().count(), rows.len());
}

#[test]
fn single_values_of_every_type_are_read() {
    let text = "grüße, \u{1f999}";
    same_values(&[
        ("u8", 0, vec![200], Value::Unsigned(200)),
        ("i8", 1, (-5i8).to_le_bytes().into(), Value::Signed(-5)),
        (
            "u16",
            2,
            60_000u16.to_le_bytes().into(),
            Value::Unsigned(60_000),
        ),
        (
            "i16",
            3,
            (-300i16).to_le_bytes().into(),
            Value::Signed(-300),
        ),
        ("u32", 4, vec![255; 4], Value::Unsigned(u32::MAX.into())),
        ("i32", 5, 7i32.to_le_bytes().into(), Value::Unsigned(7)),
        ("f32", 6, 1.5f32.to_le_bytes().into(), Value::Float(1.5)),
        ("false", 7, vec![0], Value::Bool(false)),
        ("true", 7, vec![1], Value::Bool(true)),
        ("text", 8, string(text), Value::String(text.to_owned())),
        ("no text", 8, string(""), Value::String(String::new())),
        ("u64", 10, vec![255; 8], Value::Unsigned(u64::MAX)),
        (
            "i64",
            11,
            i64::MIN.to_le_bytes().into(),
            Value::Signed(i64::MIN),
        ),
        (
            "f64",
            12,
            (-0.1f64).to_le_bytes().into(),
            Value::Float(-0.1),
        ),
    ]);
}

#[test]
fn arrays_of_every_type_are_read() {
    let texts = [string("a"), string(""), string("ü")].concat();
    let inner = [array(0, 1, &[9]), array(7, 1, &[1])].concat();
    let integers = |values: &[i64]| Value::Integers(values.to_vec());
    let nested = Value::Arrays(vec![integers(&[9]), Value::Bools(vec![true])]);
    let rows = [
        ("u8", array(0, 2, &[0, 255]), integers(&[0, 255])),
        ("i8", array(1, 2, &[0, 255]), integers(&[0, -1])),
        ("u16", array(2, 1, &[255; 2]), integers(&[65_535])),
        ("i16", array(3, 1, &[255; 2]), integers(&[-1])),
        (
            "u32",
            array(4, 2, &[1, 0, 0, 0, 2, 0, 0, 0]),
            integers(&[1, 2]),
        ),
        ("i32", array(5, 1, &[255; 4]), integers(&[-1])),
        (
            "u64",
            array(10, 1, &i64::MAX.to_le_bytes()),
            integers(&[i64::MAX]),
        ),
        (
            "i64",
            array(11, 1, &i64::MIN.to_le_bytes()),
            integers(&[i64::MIN]),
        ),
        (
            "f32",
            array(6, 1, &2.5f32.to_le_bytes()),
            Value::Floats(vec![2.5]),
        ),
        (
            "f64",
            array(12, 1, &0.25f64.to_le_bytes()),
            Value::Floats(vec![0.25]),
        ),
        (
            "bool",
            array(7, 3, &[1, 0, 1]),
            Value::Bools(vec![true, false, true]),
        ),
        (
            "text",
            array(8, 3, &texts),
            Value::Strings(["a", "", "ü"].into_iter().collect()),
        ),
        (
            "none",
            array(8, 0, &[]),
            Value::Strings([].into_iter().collect()),
        ),
        ("nested", array(9, 2, &inner), nested),
    ];
    same_values(&rows.map(|(key, bytes, expected)| (key, 9, bytes, expected)));
}

#[test]
fn getters_give_what_fits() {
    let metadata = Metadata::from_values(
        [
            ("small", Value::Unsigned(200)),
            ("negative", Value::Signed(-5)),
            ("large", Value::Unsigned(u64::MAX)),
            ("float", Value::Float(1.5)),
            ("bool", Value::Bool(true)),
            ("texts", Value::Strings(["a", "ü"].into_iter().collect())),
            ("floats", Value::Floats(vec![f32::NAN])),
        ]
        .map(|(key, value)| (key.to_owned(), value)),
    );
    let integers = ["small", "negative", "large", "float"].map(|key| metadata.get_u32(key));
    assert_eq!(integers, [Some(200), None, None, None]);
    assert_eq!(
        (metadata.get_bool("bool"), metadata.get_bool("small")),
        (Some(true), None)
    );
    assert_eq!(
        (metadata.get_f32("float"), metadata.get_f32("small")),
        (Some(1.5), None)
    );
    let texts = metadata.get_strings("texts").unwrap();
    assert_eq!((texts.get(1), texts.get(2)), (Some("ü"), None));
    assert!(metadata.get_f32s("floats").unwrap()[0].is_nan());
    assert_eq!(metadata.get_str("missing"), None);
}

#[test]
fn a_large_vocabulary_fits() {
    let tokens: Vec<u8> = (0..262_144)
        .flat_map(|token| string(format!("token{token}")))
        .collect();
    let merges: Vec<u8> = (0..514_906)
        .flat_map(|merge| string(format!("merge {merge:06}")))
        .collect();
    let file = Gguf::new()
        .value("tokens", 9, array(8, 262_144, &tokens))
        .value("scores", 9, array(6, 262_144, &vec![0; 4 * 262_144]))
        .value("types", 9, array(5, 262_144, &vec![0; 4 * 262_144]))
        .value("merges", 9, array(8, 514_906, &merges));
    let bytes = file.bytes();
    let (header, peak) = peak_of(|| gguf::parse(&bytes).unwrap());
    assert_eq!(
        header.metadata.get_strings("merges").unwrap().len(),
        514_906
    );
    assert!(
        peak < 2 * bytes.len(),
        "{peak} bytes for a file of {}",
        bytes.len()
    );
}

#[test]
fn splits_are_one_model() {
    let folder = tempfile::tempdir().unwrap();
    let mut written = Vec::new();
    for number in 0..3u16 {
        let mut file = Gguf::new().split(number, 3, 6);
        if number == 0 {
            file = file.text("general.architecture", "llama");
        }
        for index in 0..=number {
            let name = format!("tensor.{}", 9 - number * 3 - index);
            file.tensors
                .push(vector(&name, 5 + u64::from(index), index as u8));
        }
        written.extend(file.tensors.clone());
        file.write(folder.path(), &format!("m-{:05}-of-00003.gguf", number + 1));
    }
    let first = folder.path().join("m-00001-of-00003.gguf");
    // By the first part's name, or by the folder.
    for path in [first.as_path(), folder.path()] {
        let files = ModelFiles::open(path).unwrap();
        same_tensors(&files, &written);
        assert_eq!(files.paths().len(), 3);
        let metadata = files.metadata().unwrap();
        assert_eq!(metadata.get_str("general.architecture"), Some("llama"));
    }
}

#[test]
fn joined_parts_are_a_model() {
    // What tools that join parts leave behind.
    let file = Gguf::honest().split(0, 0, 2);
    let folder = tempfile::tempdir().unwrap();
    same_tensors(&opened(folder.path(), &file), &file.tensors);
}

#[test]
fn a_folder_of_one_gguf_is_that_model() {
    let folder = tempfile::tempdir().unwrap();
    Gguf::honest().write(folder.path(), "a.gguf");
    write(folder.path(), "._a.gguf", "what another system leaves");
    write(folder.path(), "config.json", "not read");
    assert_eq!(
        ModelFiles::open(folder.path()).unwrap().kind(),
        FileKind::Gguf
    );
}

#[test]
fn safetensors_are_read() {
    let folder = tempfile::tempdir().unwrap();
    let tensors: [(&str, &[u8]); 3] = [("b", &[1, 2, 3]), ("a", &[4; 100]), ("ü", &[5])];
    model_folder(folder.path(), safetensors_of(&tensors));
    write(
        folder.path(),
        "generation_config.json",
        r#"{"eos_token_id":[2,3]}"#,
    );
    for path in [
        folder.path().to_owned(),
        folder.path().join("model.safetensors"),
    ] {
        let files = ModelFiles::open(&path).unwrap();
        assert_eq!(files.kind(), FileKind::SafeTensors);
        assert!(files.metadata().is_none());
        assert_eq!(files.config().unwrap()["model_type"], "llama");
        assert_eq!(files.generation_config().unwrap()["eos_token_id"][1], 3);
        for (name, bytes) in tensors {
            assert_eq!(files.tensor(name).unwrap().1, bytes);
        }
    }
}

#[test]
fn every_dtype_is_read() {
    for (dtype, tensor_type, size) in [
        ("F64", TensorType::F64, 8),
        ("F32", TensorType::F32, 4),
        ("F16", TensorType::F16, 2),
        ("BF16", TensorType::Bf16, 2),
        ("I64", TensorType::I64, 8),
        ("I32", TensorType::I32, 4),
        ("I16", TensorType::I16, 2),
        ("I8", TensorType::I8, 1),
        ("U64", TensorType::U64, 8),
        ("U32", TensorType::U32, 4),
        ("U16", TensorType::U16, 2),
        ("U8", TensorType::U8, 1),
        ("BOOL", TensorType::Bool, 1),
        ("F8_E4M3", TensorType::F8E4M3, 1),
        ("F8_E5M2", TensorType::F8E5M2, 1),
    ] {
        let length = 6 * size;
        // A scalar, a matrix, and spaces after the header as writers pad it.
        let header = format!(
            r#"{{"s":{{"dtype":"{dtype}","shape":[],"data_offsets":[{length},{}]}},"m":{{"shape":[2,3],"dtype":"{dtype}","data_offsets":[0,{length}]}}}}   "#,
            length + size
        );
        let tensors = safetensors::parse(&safetensors_file(header, &vec![1; 7 * size])).unwrap();
        assert_eq!(tensors.len(), 2);
        assert!(tensors.iter().all(|info| info.tensor_type == tensor_type));
        assert_eq!(tensors[0].shape, [2, 3]);
        assert_eq!(tensors[1].element_count(), 1);
    }
}

#[test]
fn shards_are_one_model() {
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), "config.json", "{}");
    write(
        folder.path(),
        "model-1.safetensors",
        safetensors_of(&[("z", &[1, 2]), ("a", &[3])]),
    );
    write(
        folder.path(),
        "model-2.safetensors",
        safetensors_of(&[("m", &[4, 5, 6])]),
    );
    write(
        folder.path(),
        "model.safetensors.index.json",
        r#"{"metadata":{"total_size":6},"weight_map":{"z":"model-1.safetensors","a":"model-1.safetensors","m":"model-2.safetensors"}}"#,
    );
    let files = ModelFiles::open(folder.path()).unwrap();
    assert_eq!(files.paths().len(), 2);
    assert_eq!(files.tensor("z").unwrap().1, [1, 2]);
    assert_eq!(files.tensor("a").unwrap().1, [3]);
    assert_eq!(files.tensor("m").unwrap().1, [4, 5, 6]);
    let names: Vec<&str> = files.tensors().map(|info| info.name.as_str()).collect();
    assert_eq!(names, ["a", "m", "z"]);
}
