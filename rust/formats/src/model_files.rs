//! A model's files as one: a GGUF file or its splits, a safetensors file or a folder of shards.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use serde_json::Value as Json;

use crate::gguf::{self, Metadata};
use crate::mapping::Mapping;
use crate::{FormatError, TensorInfo, json, safetensors};

/// More parts than any published model has.
const MOST_PARTS: u32 = 1000;
const INDEX: &str = "model.safetensors.index.json";

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
    tensors: BTreeMap<String, TensorInfo>,
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
        self.tensors.values()
    }

    /// A tensor and its bytes.
    pub fn tensor(&self, name: &str) -> Option<(&TensorInfo, &[u8])> {
        let info = self.tensors.get(name)?;
        let bytes = self
            .mappings
            .get(info.file)?
            .bytes()
            .get(info.offset..info.offset + info.length)?;
        Some((info, bytes))
    }

    /// Tells the system that a tensor's bytes are not needed soon.
    pub fn release(&self, info: &TensorInfo) {
        if let Some(mapping) = self.mappings.get(info.file) {
            mapping.release(info.offset, info.length);
        }
    }

    /// Bytes of all files.
    pub fn total_bytes(&self) -> u64 {
        self.mappings
            .iter()
            .map(|mapping| mapping.bytes().len() as u64)
            .sum()
    }

    /// The files.
    pub fn paths(&self) -> &[PathBuf] {
        &self.paths
    }

    fn open_folder(folder: &Path) -> Result<Self, FormatError> {
        let entries = std::fs::read_dir(folder).map_err(FormatError::io("cannot list", folder))?;
        let names: BTreeSet<String> = entries
            .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
            .collect();
        if names.contains("config.json") && names.contains(INDEX) {
            return Self::open_safetensors(folder, shards_of(folder)?);
        }
        if names.contains("config.json") && names.contains("model.safetensors") {
            return Self::open_safetensors(folder, vec![folder.join("model.safetensors")]);
        }
        let ggufs: Vec<&String> = names
            .iter()
            .filter(|name| is_gguf(name) && split_name(name).is_none_or(|split| split.number == 1))
            .collect();
        match ggufs[..] {
            [name] => Self::open_gguf(&folder.join(name)),
            [] => Err(FormatError::not_a_model(
                folder,
                format!(
                    "the folder holds neither a .gguf file nor config.json with model.safetensors or {INDEX}"
                ),
            )),
            _ => Err(FormatError::not_a_model(
                folder,
                format!("the folder holds several models, name one: {ggufs:?}"),
            )),
        }
    }

    fn open_safetensors(folder: &Path, paths: Vec<PathBuf>) -> Result<Self, FormatError> {
        let config = json::read_object(&folder.join("config.json"))?;
        let generation = folder.join("generation_config.json");
        let generation_config = generation
            .is_file()
            .then(|| json::read_object(&generation))
            .transpose()?;
        let mut files = Self::empty(FileKind::SafeTensors, Some(config), generation_config);
        for path in paths {
            let mapping = Mapping::open(&path)?;
            let tensors = safetensors::parse(mapping.bytes())?;
            files.add(path, mapping, tensors)?;
        }
        Ok(files)
    }

    fn open_gguf(path: &Path) -> Result<Self, FormatError> {
        let mut files = Self::empty(FileKind::Gguf, None, None);
        let first = Mapping::open(path)?;
        let header = gguf::parse(first.bytes())?;
        let parts = header.metadata.get_u32("split.count").unwrap_or(1);
        let expected_tensors = header.metadata.get_u32("split.tensors.count");
        if parts > 1 {
            check_part(path, &header.metadata, 0, parts)?;
        }
        files.add(path.to_owned(), first, header.tensors)?;
        for part in 1..parts {
            let path = part_path(path, part, parts)?;
            let mapping = Mapping::open(&path)?;
            let header = gguf::parse(mapping.bytes())?;
            check_part(&path, &header.metadata, part, parts)?;
            files.add(path, mapping, header.tensors)?;
        }
        if let Some(expected) =
            expected_tensors.filter(|expected| *expected as usize != files.tensors.len())
        {
            let problem = format!(
                "its splits hold {} tensors, split.tensors.count says {expected}",
                files.tensors.len()
            );
            return Err(FormatError::not_a_model(path, problem));
        }
        files.metadata = Some(header.metadata);
        Ok(files)
    }

    fn empty(kind: FileKind, config: Option<Json>, generation_config: Option<Json>) -> Self {
        Self {
            kind,
            paths: Vec::new(),
            mappings: Vec::new(),
            tensors: BTreeMap::new(),
            metadata: None,
            config,
            generation_config,
        }
    }

    fn add(
        &mut self,
        path: PathBuf,
        mapping: Mapping,
        tensors: Vec<TensorInfo>,
    ) -> Result<(), FormatError> {
        let file = self.mappings.len();
        for info in tensors {
            if self.tensors.contains_key(&info.name) {
                let problem = format!("it stands in two files, the second is {}", path.display());
                return Err(FormatError::tensor(&info.name, problem));
            }
            self.tensors
                .insert(info.name.clone(), TensorInfo { file, ..info });
        }
        self.paths.push(path);
        self.mappings.push(mapping);
        Ok(())
    }
}

/// The shards that an index names, each a plain file name of the folder.
fn shards_of(folder: &Path) -> Result<Vec<PathBuf>, FormatError> {
    let path = folder.join(INDEX);
    let index = json::read_object(&path)?;
    let problem = |problem: String| FormatError::Json {
        path: path.clone(),
        problem,
    };
    let Some(Json::Object(map)) = index.get("weight_map") else {
        return Err(problem("'weight_map' is missing or no object".to_owned()));
    };
    let mut names = BTreeSet::new();
    for (tensor, name) in map {
        let name = name.as_str().unwrap_or_default();
        let plain = name.ends_with(".safetensors")
            && !name.contains(['/', '\\', '\0'])
            && !name.starts_with('.');
        if !plain {
            return Err(problem(format!(
                "tensor '{tensor}' names the file '{name}', which is no plain .safetensors name"
            )));
        }
        names.insert(name);
    }
    if names.is_empty() || names.len() > MOST_PARTS as usize {
        return Err(problem(format!(
            "it names {} files; 1 to {MOST_PARTS} are allowed",
            names.len()
        )));
    }
    Ok(names.into_iter().map(|name| folder.join(name)).collect())
}

fn is_gguf(name: &str) -> bool {
    Path::new(name)
        .extension()
        .is_some_and(|extension| extension == "gguf")
}

/// A name such as `model-00002-of-00003.gguf`.
struct SplitName<'a> {
    stem: &'a str,
    number: u32,
    count: u32,
}

fn split_name(name: &str) -> Option<SplitName<'_>> {
    let (rest, count) = name.strip_suffix(".gguf")?.rsplit_once("-of-")?;
    let (stem, number) = rest.rsplit_once('-')?;
    let digits = |text: &str| text.len() == 5 && text.bytes().all(|byte| byte.is_ascii_digit());
    if !digits(number) || !digits(count) {
        return None;
    }
    Some(SplitName {
        stem,
        number: number.parse().ok()?,
        count: count.parse().ok()?,
    })
}

fn part_path(first: &Path, part: u32, parts: u32) -> Result<PathBuf, FormatError> {
    let name = first
        .file_name()
        .and_then(|name| name.to_str())
        .and_then(split_name);
    match name {
        Some(split) if split.number == 1 && split.count == parts && parts <= MOST_PARTS => {
            Ok(first.with_file_name(format!("{}-{:05}-of-{parts:05}.gguf", split.stem, part + 1)))
        }
        _ => Err(FormatError::not_a_model(
            first,
            format!(
                "it is a split of {parts} files; name the first, NAME-00001-of-{parts:05}.gguf (at most {MOST_PARTS})"
            ),
        )),
    }
}

fn check_part(path: &Path, metadata: &Metadata, part: u32, parts: u32) -> Result<(), FormatError> {
    let (number, count) = (
        metadata.get_u32("split.no"),
        metadata.get_u32("split.count"),
    );
    if number == Some(part) && count == Some(parts) {
        return Ok(());
    }
    let problem = format!(
        "split.no is {number:?} and split.count {count:?}; part {} of {parts} has split.no {part}",
        part + 1
    );
    Err(FormatError::not_a_model(path, problem))
}
