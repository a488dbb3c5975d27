//! An image being made.

use std::fs::File;
use std::io::{Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use super::{ImageMark, LINE_BYTES, PAGE_BYTES, SEAL, SEAL_BYTES, seal};
use crate::FormatError;
use crate::mapping::Mapping;

/// Most that the header needs for a piece, beside its name.
const ENTRY_BYTES: usize = 128;
/// Written at a time, from multiples of it: the system then keeps the file in huge pages, as far as it has them.
const WRITTEN_BYTES: usize = 2 << 20;
/// Bytes of the header's own length, in front of it.
const LENGTH_BYTES: usize = 8;

/// Writes pieces one behind the other under another name; the file has its own when it is whole.
#[derive(Debug)]
pub struct ImageWriter {
    path: PathBuf,
    /// What is written; gone when the image was finished.
    unfinished: Option<PathBuf>,
    file: File,
    /// What is not in the file yet.
    buffer: Vec<u8>,
    /// Where pieces begin.
    data: usize,
    /// Bytes of pieces.
    written: usize,
    /// Name and place of each.
    pieces: Vec<(String, usize, usize)>,
}

impl ImageWriter {
    /// Begins an image in a folder that is made where it is missing; `names` are those that may come.
    pub fn create<'a>(
        path: &Path,
        names: impl IntoIterator<Item = &'a str>,
    ) -> Result<Self, FormatError> {
        let room: usize = names
            .into_iter()
            .chain([SEAL])
            .map(|name| name.escape_default().count() + ENTRY_BYTES)
            .sum();
        let data = (LENGTH_BYTES + 2 + room).next_multiple_of(PAGE_BYTES);
        if let Some(folder) = path.parent() {
            std::fs::create_dir_all(folder).map_err(FormatError::io("cannot make", folder))?;
        }
        let mut unfinished = path.as_os_str().to_owned();
        unfinished.push(format!(".{}.part", std::process::id()));
        let unfinished = PathBuf::from(unfinished);
        let create = File::create(&unfinished);
        let file = create.map_err(FormatError::io("cannot create", &unfinished))?;
        let mut writer = Self {
            path: path.to_owned(),
            unfinished: Some(unfinished),
            file,
            buffer: Vec::with_capacity(WRITTEN_BYTES),
            data,
            written: 0,
            pieces: Vec::new(),
        };
        writer.write(&vec![b' '; data])?;
        Ok(writer)
    }

    /// Writes a piece.
    pub fn add(&mut self, name: &str, bytes: &[u8]) -> Result<(), FormatError> {
        let filled = bytes.len().next_multiple_of(LINE_BYTES);
        self.write(bytes)?;
        self.write(&[0; LINE_BYTES][..filled - bytes.len()])?;
        let end = self.written + filled;
        self.pieces.push((name.to_owned(), self.written, end));
        self.written = end;
        Ok(())
    }

    /// Writes what the image was made of and, of all its pieces, `check`; then it has its name.
    pub fn finish(
        mut self,
        mark: ImageMark,
        check: &dyn Fn(&[u8]) -> u64,
    ) -> Result<(), FormatError> {
        let Some(unfinished) = self.unfinished.clone() else {
            return Ok(());
        };
        self.flush()?;
        let written = Mapping::open(&unfinished)?;
        let check = check(written.bytes().get(self.data..).unwrap_or(&[]));
        drop(written);
        self.write(&seal(mark, check))?;
        let end = self.written + SEAL_BYTES;
        self.pieces.push((SEAL.to_owned(), self.written, end));
        self.flush()?;
        let header = self.header()?;
        let begin = self.file.seek(SeekFrom::Start(0));
        begin.map_err(FormatError::io("cannot write", &self.path))?;
        self.write(&((self.data - LENGTH_BYTES) as u64).to_le_bytes())?;
        self.write(header.as_bytes())?;
        self.flush()?;
        let done = self.file.sync_all();
        let done = done.and_then(|()| std::fs::rename(&unfinished, &self.path));
        done.map_err(FormatError::io("cannot write", &self.path))?;
        self.unfinished = None;
        Ok(())
    }

    fn header(&self) -> Result<String, FormatError> {
        let entries = self.pieces.iter().map(|(name, begin, end)| {
            let description = serde_json::json!({
                "dtype": "U8", "shape": [end - begin], "data_offsets": [begin, end],
            });
            (name.clone(), description)
        });
        let header = serde_json::Value::Object(entries.collect()).to_string();
        if header.len() > self.data - LENGTH_BYTES {
            return Err(FormatError::not_a_model(
                &self.path,
                "more pieces than the image has room for",
            ));
        }
        Ok(header)
    }

    fn write(&mut self, mut bytes: &[u8]) -> Result<(), FormatError> {
        while !bytes.is_empty() {
            let (some, rest) = bytes.split_at(bytes.len().min(WRITTEN_BYTES - self.buffer.len()));
            self.buffer.extend_from_slice(some);
            bytes = rest;
            if self.buffer.len() == WRITTEN_BYTES {
                self.flush()?;
            }
        }
        Ok(())
    }

    fn flush(&mut self) -> Result<(), FormatError> {
        let written = self.file.write_all(&self.buffer);
        self.buffer.clear();
        written.map_err(FormatError::io("cannot write", &self.path))
    }
}

impl Drop for ImageWriter {
    fn drop(&mut self) {
        if let Some(unfinished) = &self.unfinished {
            // Nobody looks for it; where it cannot be removed it only takes room.
            let _ = std::fs::remove_file(unfinished);
        }
    }
}
