//! An image that is mapped.

use std::io::ErrorKind;
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

use super::{ImageMark, SEAL, unsealed};
use crate::mapping::Mapping;
use crate::{FormatError, TensorInfo, safetensors};

/// A mapped image, whose descriptions were checked.
#[derive(Debug)]
pub struct PackedImage {
    mapping: Arc<Mapping>,
    /// Sorted by name.
    tensors: Vec<TensorInfo>,
    data: Range<usize>,
    mark: ImageMark,
    check: u64,
}

/// Some bytes of an image, which stays mapped as long.
#[derive(Debug)]
pub struct ImagePiece {
    mapping: Arc<Mapping>,
    place: Range<usize>,
}

impl PackedImage {
    /// Maps an image; `None` where there is no file.
    pub fn open(path: &Path) -> Result<Option<Self>, FormatError> {
        let mapping = match Mapping::open(path) {
            Err(FormatError::Io { source, .. }) if source.kind() == ErrorKind::NotFound => {
                return Ok(None);
            }
            other => Arc::new(other?),
        };
        mapping.ask_for_huge_pages();
        let bytes = mapping.bytes();
        let tensors = safetensors::parse(bytes)?;
        let not_sealed = || FormatError::not_a_model(path, "no image: its seal is missing");
        let seal = tensors.iter().find(|info| info.name == SEAL);
        let sealed = seal.and_then(|info| Some((info, unsealed(bytes.get(info.place())?)?)));
        let (seal, (mark, check)) = sealed.ok_or_else(not_sealed)?;
        let first = tensors.iter().map(|info| info.offset).min();
        let data = first.unwrap_or(seal.offset)..seal.offset;
        Ok(Some(Self {
            mapping: Arc::clone(&mapping),
            tensors,
            data,
            mark,
            check,
        }))
    }

    /// What it was made of.
    pub fn mark(&self) -> ImageMark {
        self.mark
    }

    /// All bytes that the check is of.
    pub fn data(&self) -> &[u8] {
        self.mapping.bytes().get(self.data.clone()).unwrap_or(&[])
    }

    /// What the check of [`Self::data`] was when the image was made.
    pub fn check(&self) -> u64 {
        self.check
    }

    /// The bytes of a name.
    pub fn piece(&self, name: &str) -> Option<ImagePiece> {
        let found = self
            .tensors
            .binary_search_by(|info| info.name.as_str().cmp(name));
        let info = self.tensors.get(found.ok()?)?;
        Some(ImagePiece {
            mapping: Arc::clone(&self.mapping),
            place: info.place(),
        })
    }
}

impl AsRef<[u8]> for ImagePiece {
    fn as_ref(&self) -> &[u8] {
        self.mapping.bytes().get(self.place.clone()).unwrap_or(&[])
    }
}
