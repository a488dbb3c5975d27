//! Writers of GGUF and safetensors files, true and lying ones: every field can be set by hand.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

pub(crate) const F32: u32 = 0;
pub(crate) const Q4_0: u32 = 2;
pub(crate) const Q4_K: u32 = 12;

/// A string as GGUF writes it.
pub(crate) fn string(text: impl AsRef<[u8]>) -> Vec<u8> {
    let text = text.as_ref();
    [&(text.len() as u64).to_le_bytes(), text].concat()
}

/// The body of an array: element type, count, elements.
pub(crate) fn array(kind: u32, count: u64, elements: &[u8]) -> Vec<u8> {
    [&kind.to_le_bytes()[..], &count.to_le_bytes(), elements].concat()
}

/// A tensor's description and its bytes; the dimensions innermost first, as in the file.
#[derive(Debug, Clone)]
pub(crate) struct Tensor {
    pub(crate) name: Vec<u8>,
    pub(crate) dimension_count: Option<u32>,
    pub(crate) dimensions: Vec<u64>,
    pub(crate) kind: u32,
    pub(crate) offset: Option<u64>,
    pub(crate) bytes: Vec<u8>,
}

/// An honest F32 vector whose bytes depend on `seed`.
pub(crate) fn vector(name: &str, length: u64, seed: u8) -> Tensor {
    let bytes = (0..length * 4).map(|index| seed.wrapping_add((index * 7) as u8));
    Tensor {
        name: name.into(),
        dimension_count: None,
        dimensions: vec![length],
        kind: F32,
        offset: None,
        bytes: bytes.collect(),
    }
}

/// A GGUF file in the making.
#[derive(Debug, Clone)]
pub(crate) struct Gguf {
    pub(crate) magic: [u8; 4],
    pub(crate) version: u32,
    pub(crate) tensor_count: Option<u64>,
    pub(crate) value_count: Option<u64>,
    pub(crate) alignment: usize,
    pub(crate) values: Vec<u8>,
    pub(crate) values_written: u64,
    pub(crate) tensors: Vec<Tensor>,
}

impl Gguf {
    pub(crate) fn new() -> Self {
        Self {
            magic: *b"GGUF",
            version: 3,
            tensor_count: None,
            value_count: None,
            alignment: 32,
            values: Vec::new(),
            values_written: 0,
            tensors: Vec::new(),
        }
    }

    /// A small honest file.
    pub(crate) fn honest() -> Self {
        Self::new()
            .text("general.architecture", "llama")
            .value("llama.block_count", 4, 2u32.to_le_bytes())
            .value(
                "tokens",
                9,
                array(8, 2, &[string("a"), string("bc")].concat()),
            )
            .value("scores", 9, array(6, 2, &[0; 8]))
            .tensor(vector("first.weight", 10, 1))
            .tensor(vector("second.weight", 20, 9))
    }

    /// A key with a value of any type and any bytes.
    pub(crate) fn value(mut self, key: &str, kind: u32, bytes: impl AsRef<[u8]>) -> Self {
        self.values.extend(string(key));
        self.values.extend(kind.to_le_bytes());
        self.values.extend(bytes.as_ref());
        self.values_written += 1;
        self
    }

    pub(crate) fn text(self, key: &str, text: &str) -> Self {
        self.value(key, 8, string(text))
    }

    /// The keys of a part of a model.
    pub(crate) fn split(self, number: u16, count: u16, tensors: i32) -> Self {
        self.value("split.no", 2, number.to_le_bytes())
            .value("split.count", 2, count.to_le_bytes())
            .value("split.tensors.count", 5, tensors.to_le_bytes())
    }

    /// Bytes among the key-values, without a key that counts.
    pub(crate) fn raw_value(mut self, bytes: &[u8]) -> Self {
        self.values.extend(bytes);
        self.values_written += 1;
        self
    }

    pub(crate) fn tensor(mut self, tensor: Tensor) -> Self {
        self.tensors.push(tensor);
        self
    }

    /// A tensor of 64 F32 with something wrong.
    pub(crate) fn tensor_with(self, spoil: impl FnOnce(&mut Tensor)) -> Self {
        let mut tensor = vector("spoiled", 64, 3);
        spoil(&mut tensor);
        self.tensor(tensor)
    }

    /// Everything before the tensors' bytes, not padded.
    pub(crate) fn header(&self) -> Vec<u8> {
        let mut file = Vec::new();
        file.extend(self.magic);
        file.extend(self.version.to_le_bytes());
        let tensors = self.tensors.len() as u64;
        file.extend(self.tensor_count.unwrap_or(tensors).to_le_bytes());
        file.extend(
            self.value_count
                .unwrap_or(self.values_written)
                .to_le_bytes(),
        );
        file.extend(&self.values);
        let mut next = 0;
        for tensor in &self.tensors {
            file.extend(string(&tensor.name));
            let dimensions = tensor.dimensions.len() as u32;
            file.extend(tensor.dimension_count.unwrap_or(dimensions).to_le_bytes());
            tensor
                .dimensions
                .iter()
                .for_each(|dimension| file.extend(dimension.to_le_bytes()));
            file.extend(tensor.kind.to_le_bytes());
            file.extend(tensor.offset.unwrap_or(next).to_le_bytes());
            next += tensor.bytes.len().next_multiple_of(self.alignment) as u64;
        }
        file
    }

    pub(crate) fn bytes(&self) -> Vec<u8> {
        let mut file = self.header();
        for tensor in &self.tensors {
            file.resize(file.len().next_multiple_of(self.alignment), 0);
            file.extend(&tensor.bytes);
        }
        file.resize(file.len().next_multiple_of(self.alignment), 0);
        file
    }

    pub(crate) fn write(&self, folder: &Path, name: &str) -> PathBuf {
        write(folder, name, self.bytes())
    }
}

/// A file of the folder.
pub(crate) fn write(folder: &Path, name: &str, bytes: impl AsRef<[u8]>) -> PathBuf {
    let path = folder.join(name);
    std::fs::write(&path, bytes).unwrap();
    path
}

/// A file that has `length` bytes and takes no room: what is not written reads as zeros.
pub(crate) fn write_sparse(folder: &Path, name: &str, bytes: &[u8], length: u64) -> PathBuf {
    let path = write(folder, name, bytes);
    let file = std::fs::OpenOptions::new().write(true).open(&path).unwrap();
    file.set_len(length).unwrap();
    path
}

/// A safetensors file of a header and data, the header's length true.
pub(crate) fn safetensors(header: impl AsRef<[u8]>, data: &[u8]) -> Vec<u8> {
    let header = header.as_ref();
    [&(header.len() as u64).to_le_bytes(), header, data].concat()
}

/// An honest safetensors file of U8 vectors.
pub(crate) fn safetensors_of(tensors: &[(&str, &[u8])]) -> Vec<u8> {
    let mut header = String::from(r#"{"__metadata__":{"format":"pt"}"#);
    let mut data = Vec::new();
    for (name, bytes) in tensors {
        let (begin, end) = (data.len(), data.len() + bytes.len());
        let length = bytes.len();
        write!(
            header,
            r#","{name}":{{"dtype":"U8","shape":[{length}],"data_offsets":[{begin},{end}]}}"#
        )
        .unwrap();
        data.extend_from_slice(bytes);
    }
    header.push('}');
    safetensors(header, &data)
}

/// A safetensors file beside an honest `config.json`.
pub(crate) fn model_folder(folder: &Path, file: impl AsRef<[u8]>) -> PathBuf {
    write(folder, "config.json", r#"{"model_type":"llama"}"#);
    write(folder, "model.safetensors", file);
    folder.to_owned()
}
