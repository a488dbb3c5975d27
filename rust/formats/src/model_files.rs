//! A model's files as one: a GGUF file or its splits, a safetensors file or a folder of shards.

use std::collections::BTreeSet;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use serde_json::Value as Json;

use crate::budget::Budget;
use crate::gguf::{self, Metadata};
use crate::mapping::Mapping;
use crate::shards::{INDEX, shards_of};
use crate::splits::{self, Split, part_path};
use crate::{FormatError, TensorInfo, json, safetensors};

/// Models of a folder that a message lists.
const MOST_LISTED: usize = 8;

/// Which format the files have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FileKind {
    /// One or several GGUF files.
    Gguf,
    /// One or several safetensors files, with a `config.json`.
    SafeTensors,
}

/// An opened model: every description checked, the tensors' bytes mapped.
#[derive(Debug)]
pub struct ModelFiles {
    kind: FileKind,
    paths: Vec<PathBuf>,
    mappings: Vec<Mapping>,
    /// Sorted by name.
    tensors: Vec<TensorInfo>,
    metadata: Option<Metadata>,
    config: Option<Json>,
    generation_config: Option<Json>,
}

impl ModelFiles {
    /// Opens a `.gguf` file (with its splits), a `.safetensors` file, or a folder that holds either.
    pub fn open(path: &Path) -> Result<Self, FormatError> {
        let metadata = std::fs::metadata(path).map_err(FormatError::io("cannot open", path))?;
        if metadata.is_dir() {
            return Self::open_folder(path);
        }
        match path.extension().and_then(|extension| extension.to_str()) {
            Some("safetensors") => {
                let folder = path.parent().unwrap_or(Path::new("."));
                Self::open_safetensors(folder, vec![path.to_owned()])
            }
            _ => Self::open_gguf(path),
        }
    }

    /// Which format the files have.
    pub fn kind(&self) -> FileKind {
        self.kind
    }

    /// GGUF's key-values, of the first split.
    pub fn metadata(&self) -> Option<&Metadata> {
        self.metadata.as_ref()
    }

    /// `config.json`, beside safetensors files.
    pub fn config(&self) -> Option<&Json> {
        self.config.as_ref()
    }

    /// `generation_config.json`, where there is one.
    pub fn generation_config(&self) -> Option<&Json> {
        self.generation_config.as_ref()
    }

    /// All tensors, sorted by name.
    pub fn tensors(&self) -> impl Iterator<Item = &TensorInfo> {
        self.tensors.iter()
    }

    /// All tensors, as they stand one behind the other.
    pub fn tensors_in_file_order(&self) -> Vec<&TensorInfo> {
        let mut tensors: Vec<_> = self.tensors.iter().collect();
        tensors.sort_unstable_by_key(|info| (info.file, info.offset));
        tensors
    }

    /// GGUF's key-values as they stand in the first file.
    pub fn entries(&self) -> Result<Vec<gguf::Entry<'_>>, FormatError> {
        match (self.kind, self.mappings.first()) {
            (FileKind::Gguf, Some(first)) => gguf::entries(first.bytes()),
            _ => Ok(Vec::new()),
        }
    }

    /// A tensor and its bytes.
    pub fn tensor(&self, name: &str) -> Option<(&TensorInfo, &[u8])> {
        let index = self
            .tensors
            .binary_search_by(|info| info.name.as_str().cmp(name))
            .ok()?;
        let info = self.tensors.get(index)?;
        let end = info.offset.checked_add(info.length)?;
        let bytes = self.mappings.get(info.file)?.bytes();
        let bytes = bytes.get(info.offset..end)?;
        Some((info, bytes))
    }

    /// Tells the system that a tensor's bytes are not needed soon.
    pub fn release(&self, info: &TensorInfo) {
        self.release_first(info, info.length);
    }

    /// The same of its first `length` bytes.
    pub fn release_first(&self, info: &TensorInfo, length: usize) {
        if let Some(mapping) = self.mappings.get(info.file) {
            mapping.release(info.offset, length.min(info.length));
        }
    }

    /// Bytes of all files.
    pub fn total_bytes(&self) -> u64 {
        self.all_bytes().map(|bytes| bytes.len() as u64).sum()
    }

    /// Each of the files.
    pub(crate) fn all_bytes(&self) -> impl Iterator<Item = &[u8]> {
        self.mappings.iter().map(Mapping::bytes)
    }

    /// The files.
    pub fn paths(&self) -> &[PathBuf] {
        &self.paths
    }

    fn open_folder(folder: &Path) -> Result<Self, FormatError> {
        let entries = std::fs::read_dir(folder).map_err(FormatError::io("cannot list", folder))?;
        let ggufs: BTreeSet<String> = entries
            .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
            .filter(|name| splits::begins_model(name))
            .take(MOST_LISTED + 1)
            .collect();
        if exists(&folder.join("config.json")) {
            if exists(&folder.join(INDEX)) {
                return Self::open_safetensors(folder, shards_of(folder)?);
            }
            let single = folder.join("model.safetensors");
            if exists(&single) {
                return Self::open_safetensors(folder, vec![single]);
            }
        }
        let mut names = ggufs.iter();
        match (names.next(), names.next()) {
            (Some(name), None) => Self::open_gguf(&folder.join(name)),
            (None, _) => Err(FormatError::not_a_model(
                folder,
                format!(
                    "the folder holds neither a .gguf file nor config.json with model.safetensors or {INDEX}"
                ),
            )),
            _ => {
                let listed: Vec<&String> = ggufs.iter().take(MOST_LISTED).collect();
                let more = if ggufs.len() > MOST_LISTED {
                    " and more"
                } else {
                    ""
                };
                Err(FormatError::not_a_model(
                    folder,
                    format!("the folder holds several models, name one: {listed:?}{more}"),
                ))
            }
        }
    }

    fn open_safetensors(folder: &Path, paths: Vec<PathBuf>) -> Result<Self, FormatError> {
        let config = json::read_object(&folder.join("config.json"))?;
        let generation = folder.join("generation_config.json");
        let generation_config = exists(&generation)
            .then(|| json::read_object(&generation))
            .transpose()?;
        let mut files = Self::empty(FileKind::SafeTensors);
        let mut budget = Budget::tensors();
        for path in paths {
            let mapping = Mapping::open(&path)?;
            let tensors = safetensors::parse_within(mapping.bytes(), &mut budget)?;
            files.add(path, mapping, tensors);
        }
        files.sort()?;
        files.config = Some(config);
        files.generation_config = generation_config;
        Ok(files)
    }

    fn open_gguf(first: &Path) -> Result<Self, FormatError> {
        let mut files = Self::empty(FileKind::Gguf);
        let mut budgets = gguf::Budgets::default();
        let mapping = Mapping::open(first)?;
        let header = gguf::parse_within(mapping.bytes(), &mut budgets)?;
        let split = Split::read(first, &header.metadata)?;
        split.expect(first, 0, split.count)?;
        files.add(first.to_owned(), mapping, header.tensors);
        for part in 1..split.count {
            let path = part_path(first, part, split.count)?;
            let mapping = Mapping::open(&path)?;
            // Only the first part's key-values are kept, but all are charged: a thousand sparse
            // parts would cost their sender nothing and this process minutes.
            let part_header = gguf::parse_within(mapping.bytes(), &mut budgets)?;
            Split::read(&path, &part_header.metadata)?.expect(&path, part, split.count)?;
            files.add(path, mapping, part_header.tensors);
        }
        files.sort()?;
        split.check_tensors(first, &files.tensors)?;
        files.metadata = Some(header.metadata);
        Ok(files)
    }

    fn empty(kind: FileKind) -> Self {
        Self {
            kind,
            paths: Vec::new(),
            mappings: Vec::new(),
            tensors: Vec::new(),
            metadata: None,
            config: None,
            generation_config: None,
        }
    }

    fn add(&mut self, path: PathBuf, mapping: Mapping, tensors: Vec<TensorInfo>) {
        let file = self.mappings.len();
        self.tensors.reserve_exact(tensors.len());
        self.tensors
            .extend(tensors.into_iter().map(|info| TensorInfo { file, ..info }));
        self.paths.push(path);
        self.mappings.push(mapping);
    }

    /// Sorts by name, and refuses a name that stands in two files.
    fn sort(&mut self) -> Result<(), FormatError> {
        self.tensors.sort_unstable_by(|first, second| {
            (&first.name, first.file).cmp(&(&second.name, second.file))
        });
        let twice = self.tensors.windows(2).find_map(|pair| match pair {
            [first, second] if first.name == second.name => Some(second),
            _ => None,
        });
        match twice {
            None => Ok(()),
            Some(second) => {
                let path = self.paths[second.file].display();
                let problem = format!("it stands in two files, the second is {path}");
                Err(FormatError::tensor(&second.name, problem))
            }
        }
    }
}

/// Whether there is anything of this name, be it a link to nothing or a folder: what is wrong with
/// it is then said where it is opened.
fn exists(path: &Path) -> bool {
    !matches!(std::fs::symlink_metadata(path), Err(error) if error.kind() == ErrorKind::NotFound)
}
