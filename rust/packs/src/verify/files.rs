//! The files of a pack: plain paths below its folder, regular files, read once and never more than a cap.
//!
//! On Unix every step of a path is opened relative to the folder before it and without following
//! links, so nothing that is swapped meanwhile leads out of the pack; opening does not wait, so a
//! pipe cannot stop the host. What comes back is bytes: nobody opens a file of a pack again.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use crate::error::LoadError;

/// Longest path, and most parts of one.
const LONGEST_PATH: usize = 128;
const MOST_PARTS: usize = 4;
/// What Windows takes for a device, whatever comes behind the first dot.
const DEVICES: [&str; 6] = ["con", "prn", "aux", "nul", "com", "lpt"];

/// A path of a manifest that passed the rules: `part(/part)*` of ASCII letters, digits, `_`, `-`
/// and `.`, no part beginning with a dot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PackPath(String);

impl PackPath {
    /// Checks a path.
    pub fn new(text: &str) -> Result<Self, LoadError> {
        match fault(text) {
            None => Ok(Self(text.to_owned())),
            Some(reason) => Err(LoadError::Path {
                path: text.chars().take(LONGEST_PATH).collect(),
                reason,
            }),
        }
    }

    /// The path, with `/` between its parts.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

fn fault(text: &str) -> Option<&'static str> {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"_-.".contains(&byte);
    if text.is_empty() {
        return Some("is empty");
    }
    if text.len() > LONGEST_PATH || text.split('/').count() > MOST_PARTS {
        return Some("is too long or too deep");
    }
    for part in text.split('/') {
        let stem = part.split('.').next().unwrap_or_default();
        let stem = stem.trim_end_matches(|c: char| c.is_ascii_digit());
        if part.is_empty() {
            return Some("has an empty part, or begins or ends with a slash");
        }
        if part.starts_with('.') || part.ends_with('.') {
            return Some("has a part that begins or ends with a dot");
        }
        if !part.bytes().all(plain) {
            return Some("has a character other than letters, digits, '_', '-' and '.'");
        }
        if DEVICES.iter().any(|name| stem.eq_ignore_ascii_case(name)) {
            return Some("names a device of Windows");
        }
    }
    None
}

/// The folder of a pack, held open.
#[derive(Debug)]
pub(crate) struct PackFolder {
    #[cfg(unix)]
    folder: std::os::fd::OwnedFd,
    #[cfg(not(unix))]
    folder: std::path::PathBuf,
}

impl PackFolder {
    /// Reads a whole file of at most `limit` bytes.
    pub(crate) fn read(&self, path: &PackPath, limit: u64) -> Result<Vec<u8>, LoadError> {
        let fault = |reason: String| LoadError::File {
            path: path.0.clone(),
            reason,
        };
        let file = self
            .open_file(path)
            .map_err(|error| fault(error.to_string()))?;
        let data = file.metadata().map_err(|error| fault(error.to_string()))?;
        if !data.is_file() {
            return Err(fault("not a regular file".to_owned()));
        }
        let mut bytes = Vec::new();
        // A file may grow after its size was asked for; what is read is what counts.
        file.take(limit + 1)
            .read_to_end(&mut bytes)
            .map_err(|error| fault(error.to_string()))?;
        if bytes.len() as u64 > limit {
            return Err(LoadError::TooLarge {
                path: path.0.clone(),
                limit,
            });
        }
        Ok(bytes)
    }
}

#[cfg(unix)]
impl PackFolder {
    /// Opens a pack's folder, which is no link.
    pub(crate) fn open(root: &Path) -> Result<Self, LoadError> {
        let folder = rustix::fs::open(root, folder_flags(), rustix::fs::Mode::empty());
        let folder = folder.map_err(|error| LoadError::File {
            path: root.display().to_string(),
            reason: format!("not a folder that can be opened ({error})"),
        })?;
        Ok(Self { folder })
    }

    fn open_file(&self, path: &PackPath) -> std::io::Result<File> {
        use rustix::fs::{Mode, OFlags, openat};
        let mut folder = None;
        let mut parts = path.0.split('/').peekable();
        while let Some(part) = parts.next() {
            let parent = folder.as_ref().unwrap_or(&self.folder);
            if parts.peek().is_some() {
                folder = Some(openat(parent, part, folder_flags(), Mode::empty())?);
            } else {
                let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
                return Ok(openat(parent, part, flags, Mode::empty())?.into());
            }
        }
        Err(std::io::ErrorKind::InvalidInput.into())
    }
}

#[cfg(unix)]
fn folder_flags() -> rustix::fs::OFlags {
    use rustix::fs::OFlags;
    OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC
}

#[cfg(not(unix))]
impl PackFolder {
    /// Opens a pack's folder, which is no link.
    pub(crate) fn open(root: &Path) -> Result<Self, LoadError> {
        let fault = |reason: String| LoadError::File {
            path: root.display().to_string(),
            reason,
        };
        let data = root.symlink_metadata().map_err(|e| fault(e.to_string()))?;
        if !data.is_dir() {
            return Err(fault("not a folder".to_owned()));
        }
        let folder = root.to_owned();
        Ok(Self { folder })
    }

    /// Looks at each part before it is opened: where links can be made while this reads, hashes of
    /// the bytes that were read still hold.
    fn open_file(&self, path: &PackPath) -> std::io::Result<File> {
        let mut full = self.folder.clone();
        for part in path.0.split('/') {
            full.push(part);
            if full.symlink_metadata()?.is_symlink() {
                return Err(std::io::Error::other("a link"));
            }
        }
        if !full.symlink_metadata()?.is_file() {
            return Err(std::io::Error::other("not a regular file"));
        }
        File::open(full)
    }
}
