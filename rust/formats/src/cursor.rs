//! Reading with checked arithmetic: no length is believed before it was compared.

use crate::FormatError;

/// A position in a file's bytes.
#[derive(Debug, Clone)]
pub(crate) struct Cursor<'a> {
    bytes: &'a [u8],
    offset: usize,
}

impl<'a> Cursor<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, offset: 0 }
    }

    pub(crate) fn offset(&self) -> usize {
        self.offset
    }

    pub(crate) fn left(&self) -> usize {
        self.bytes.len() - self.offset
    }

    /// The next `length` bytes.
    pub(crate) fn take(&mut self, length: u64, what: &str) -> Result<&'a [u8], FormatError> {
        let left = self.left();
        match usize::try_from(length) {
            Ok(length) if length <= left => {
                let taken = &self.bytes[self.offset..self.offset + length];
                self.offset += length;
                Ok(taken)
            }
            _ => Err(FormatError::Truncated {
                what: what.to_owned(),
                offset: self.offset,
                needed: length,
                left,
            }),
        }
    }

    pub(crate) fn array<const N: usize>(&mut self, what: &str) -> Result<[u8; N], FormatError> {
        let mut array = [0; N];
        array.copy_from_slice(self.take(N as u64, what)?);
        Ok(array)
    }

    pub(crate) fn u32(&mut self, what: &str) -> Result<u32, FormatError> {
        Ok(u32::from_le_bytes(self.array(what)?))
    }

    pub(crate) fn u64(&mut self, what: &str) -> Result<u64, FormatError> {
        Ok(u64::from_le_bytes(self.array(what)?))
    }

    /// A count of things of which each needs at least `smallest` bytes.
    pub(crate) fn count(&mut self, smallest: u64, what: &str) -> Result<usize, FormatError> {
        let offset = self.offset;
        let count = self.u64(what)?;
        let needed = count.saturating_mul(smallest);
        if needed > self.left() as u64 {
            return Err(FormatError::Truncated {
                what: what.to_owned(),
                offset,
                needed,
                left: self.left(),
            });
        }
        usize::try_from(count)
            .map_err(|_| FormatError::invalid(what, offset, "a count beyond this machine"))
    }

    /// A string with its length before it; UTF-8, at most `longest` bytes.
    pub(crate) fn string(&mut self, longest: u64, what: &str) -> Result<&'a str, FormatError> {
        let offset = self.offset;
        let length = self.u64(what)?;
        if length > longest && length <= self.left() as u64 {
            let problem = format!("{length} bytes long; at most {longest} are allowed");
            return Err(FormatError::invalid(what, offset, problem));
        }
        let bytes = self.take(length, what)?;
        std::str::from_utf8(bytes)
            .map_err(|error| FormatError::invalid(what, offset, format!("not UTF-8: {error}")))
    }
}
