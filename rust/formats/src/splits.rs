//! GGUF models in several files: what their names and their `split.*` keys say.

use std::path::{Path, PathBuf};

use crate::gguf::Metadata;
use crate::{FormatError, TensorInfo};

/// More parts than any published model has.
pub(crate) const MOST_PARTS: u32 = 1000;

/// What a file says of the model that it is a part of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Split {
    /// From 0.
    number: u32,
    /// Parts in all; 1 for a model in one file.
    pub(crate) count: u32,
    /// Tensors of all parts.
    tensors: Option<u32>,
}

impl Split {
    pub(crate) fn read(path: &Path, metadata: &Metadata) -> Result<Self, FormatError> {
        let number = |key: &str| match (metadata.get(key), metadata.get_u32(key)) {
            (Some(_), None) => Err(FormatError::not_a_model(
                path,
                format!("{key} is no integer from 0 to {}", u32::MAX),
            )),
            (_, value) => Ok(value),
        };
        // Tools that join parts leave a count of 0.
        let count = number("split.count")?.unwrap_or(0).max(1);
        Ok(Self {
            number: number("split.no")?.unwrap_or(0),
            count,
            tensors: number("split.tensors.count")?,
        })
    }

    /// Refuses a file that is not the part that is wanted, from 0.
    pub(crate) fn expect(self, path: &Path, part: u32, count: u32) -> Result<(), FormatError> {
        if self.number == part && self.count == count {
            return Ok(());
        }
        let problem = format!(
            "it says that it is part {} of {} (split.no {}); part {} of {count} is expected here",
            u64::from(self.number) + 1,
            self.count,
            self.number,
            part + 1
        );
        Err(FormatError::not_a_model(path, problem))
    }

    pub(crate) fn check_tensors(
        self,
        path: &Path,
        tensors: &[TensorInfo],
    ) -> Result<(), FormatError> {
        match self.tensors {
            Some(expected) if expected as usize != tensors.len() => {
                let problem = format!(
                    "its files hold {} tensors, split.tensors.count says {expected}",
                    tensors.len()
                );
                Err(FormatError::not_a_model(path, problem))
            }
            _ => Ok(()),
        }
    }
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

/// Whether a model may begin with the file of this name.
pub(crate) fn begins_model(name: &str) -> bool {
    let is_gguf = Path::new(name)
        .extension()
        .is_some_and(|extension| extension == "gguf");
    is_gguf && !name.starts_with('.') && split_name(name).is_none_or(|split| split.number == 1)
}

/// Where a part lies, beside the first.
pub(crate) fn part_path(first: &Path, part: u32, count: u32) -> Result<PathBuf, FormatError> {
    let name = first
        .file_name()
        .and_then(|name| name.to_str())
        .and_then(split_name);
    match name {
        Some(split) if split.number == 1 && split.count == count && count <= MOST_PARTS => {
            Ok(first.with_file_name(format!("{}-{:05}-of-{count:05}.gguf", split.stem, part + 1)))
        }
        _ => Err(FormatError::not_a_model(
            first,
            format!(
                "it is a split of {count} files; name the first, NAME-00001-of-{count:05}.gguf (at most {MOST_PARTS})"
            ),
        )),
    }
}
