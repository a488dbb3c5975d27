//! `model.safetensors.index.json`: which files hold a model's tensors.
//!
//! Of the index only the names of the files are kept; where a tensor lies, the files say themselves.

use std::collections::BTreeSet;
use std::fmt;
use std::path::{Path, PathBuf};

use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, Visitor};

use crate::FormatError;
use crate::error::{quoted, reader_words};
use crate::json::{Limits, SkippedText, Strict, Text};
use crate::mapping::Mapping;
use crate::splits::MOST_PARTS;

pub(crate) const INDEX: &str = "model.safetensors.index.json";
/// Indexes of models with a hundred thousand tensors are a third of this.
const LARGEST_INDEX: usize = 32 << 20;
/// Longer than a file system's longest name.
const LONGEST_NAME: usize = 255;

/// The shards that the folder's index names, each a plain file name of the folder.
pub(crate) fn shards_of(folder: &Path) -> Result<Vec<PathBuf>, FormatError> {
    let path = folder.join(INDEX);
    let mapping = Mapping::open(&path)?;
    let bytes = mapping.bytes();
    if bytes.len() > LARGEST_INDEX {
        let problem = format!("{} bytes; at most {LARGEST_INDEX} are allowed", bytes.len());
        return Err(FormatError::json(&path, problem));
    }
    let refused = |error| FormatError::json(&path, reader_words(&error));
    let mut deserializer = serde_json::Deserializer::from_slice(bytes);
    let names = Index.deserialize(&mut deserializer).map_err(refused)?;
    deserializer.end().map_err(refused)?;
    if names.is_empty() {
        return Err(FormatError::json(&path, "it names no files"));
    }
    Ok(names.into_iter().map(|name| folder.join(name)).collect())
}

/// Only a name: nothing that leads to another folder, drive or stream.
fn is_plain(name: &str) -> bool {
    name.ends_with(".safetensors")
        && !name.starts_with('.')
        && !name.contains(['/', '\\', ':'])
        && !name.contains(char::is_control)
}

struct Index;

impl<'de> DeserializeSeed<'de> for Index {
    type Value = BTreeSet<String>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for Index {
    type Value = BTreeSet<String>;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("an object with a 'weight_map'")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Self::Value, A::Error> {
        let mut names = None;
        let longest = LONGEST_NAME;
        while let Some(key) = entries.next_key_seed(Text { longest })? {
            if key != "weight_map" {
                entries.next_value_seed(Strict(&Limits::new(1000, 1 << 16)))?;
            } else if names.replace(entries.next_value_seed(WeightMap)?).is_some() {
                return Err(A::Error::custom("the key 'weight_map' stands twice"));
            }
        }
        names.ok_or_else(|| A::Error::custom("'weight_map' is missing"))
    }
}

struct WeightMap;

impl<'de> DeserializeSeed<'de> for WeightMap {
    type Value = BTreeSet<String>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for WeightMap {
    type Value = BTreeSet<String>;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("an object 'weight_map' of file names")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Self::Value, A::Error> {
        let mut names = BTreeSet::new();
        let longest = LONGEST_NAME;
        while let Some(()) = entries.next_key_seed(SkippedText)? {
            let name = entries.next_value_seed(Text { longest })?;
            if !is_plain(&name) {
                let name = quoted(&name);
                return Err(A::Error::custom(format_args!(
                    "it names the file '{name}', which is no plain .safetensors name"
                )));
            }
            names.insert(name);
            if names.len() > MOST_PARTS as usize {
                return Err(A::Error::custom(format_args!(
                    "it names more than {MOST_PARTS} files"
                )));
            }
        }
        Ok(names)
    }
}
