//! A file as bytes, mapped read-only: the one place of this crate with unsafe code.

use std::fs::{File, Metadata};
use std::path::Path;

use memmap2::Mmap;

use crate::FormatError;

/// Opens a regular file and gives its length.
///
/// The path is looked at before it is opened: opening a pipe waits for a writer, and opening a
/// device may do anything.
pub(crate) fn open_regular(path: &Path) -> Result<(File, u64), FormatError> {
    let refuse_others = |metadata: &Metadata| {
        if metadata.is_file() {
            return Ok(());
        }
        Err(FormatError::not_a_model(path, "not a regular file"))
    };
    let before = std::fs::metadata(path).map_err(FormatError::io("cannot open", path))?;
    refuse_others(&before)?;
    let file = File::open(path).map_err(FormatError::io("cannot open", path))?;
    let metadata = file
        .metadata()
        .map_err(FormatError::io("cannot read the size of", path))?;
    refuse_others(&metadata)?;
    Ok((file, metadata.len()))
}

/// A mapped file.
#[derive(Debug)]
pub(crate) struct Mapping {
    map: Mmap,
}

impl Mapping {
    #[allow(unsafe_code, reason = "mapping a file")]
    pub(crate) fn open(path: &Path) -> Result<Self, FormatError> {
        let (file, length) = open_regular(path)?;
        if length == 0 {
            return Err(FormatError::not_a_model(path, "the file is empty"));
        }
        // SAFETY: the mapping is read-only, and only ever seen as bytes that are
        // checked where they are read. What remains is what every mapped model has: a process that
        // truncates the file while it is loaded makes the system end this one (SIGBUS), and one
        // that overwrites it changes the weights. docs/security.md says so.
        let map = unsafe { Mmap::map(&file) }.map_err(FormatError::io("cannot map", path))?;
        Ok(Self { map })
    }

    /// Asks the system for huge pages, where it keeps files in some: what is read again and again is then found
    /// through a few entries of the address cache.
    pub(crate) fn ask_for_huge_pages(&self) {
        #[cfg(target_os = "linux")]
        // Only a hint: a system without them refuses it.
        drop(self.map.advise(memmap2::Advice::HugePage));
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        &self.map
    }

    /// Tells the system that this process does not need these bytes soon; they stay readable.
    ///
    /// Without it the pages of a file that was packed tensor by tensor would count twice.
    #[allow(unsafe_code, reason = "giving back pages of the mapping")]
    pub(crate) fn release(&self, offset: usize, length: usize) {
        #[cfg(target_os = "linux")]
        {
            // Whole pages inside the range; the neighbours at its ends may still be needed.
            const PAGE: usize = 1 << 16;
            let begin = offset.checked_next_multiple_of(PAGE).unwrap_or(usize::MAX);
            let end = offset.saturating_add(length) / PAGE * PAGE;
            if begin < end && end <= self.map.len() {
                // SAFETY: the mapping is shared with the file and never written, so a page that
                // was dropped comes back from the file with the same bytes when it is read again.
                let outcome = unsafe {
                    self.map.unchecked_advise_range(
                        memmap2::UncheckedAdvice::DontNeed,
                        begin,
                        end - begin,
                    )
                };
                // Only a hint: where the system refuses it, the pages stay until the file is closed.
                drop(outcome);
            }
        }
        #[cfg(not(target_os = "linux"))]
        let _ = (offset, length);
    }
}
