//! A GGUF file being written, front to back: nothing is kept but the descriptions.

use std::io::{self, Write};

use super::{DEFAULT_ALIGNMENT, Entry, LARGEST_ALIGNMENT, MAGIC};
use crate::tensor::shape_bytes;
use crate::{FormatError, TensorType};

const VERSION: u32 = 3;
const ALIGNMENT_KEY: &str = "general.alignment";
/// Zeros to fill up with.
const ZEROS: [u8; 64] = [0; 64];

/// A tensor that is to come.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlannedTensor {
    /// Its name.
    pub name: String,
    /// The type of its elements.
    pub tensor_type: TensorType,
    /// Outermost first.
    pub shape: Vec<usize>,
}

/// Takes the bytes of the planned tensors one after the other, in any pieces.
#[derive(Debug)]
pub struct GgufWriter<W> {
    target: W,
    alignment: u64,
    /// Bytes of the tensors that are not complete, the next one last.
    left: Vec<u64>,
    written: u64,
}

impl<W: Write> GgufWriter<W> {
    /// Writes everything but the tensors' bytes.
    pub fn begin(
        target: W,
        entries: &[Entry<'_>],
        tensors: &[PlannedTensor],
    ) -> Result<Self, FormatError> {
        let alignment = alignment_of(entries)?;
        let (mut head, mut left, mut place) = (Vec::new(), Vec::new(), 0);
        head.extend(MAGIC);
        head.extend(VERSION.to_le_bytes());
        head.extend((tensors.len() as u64).to_le_bytes());
        head.extend((entries.len() as u64).to_le_bytes());
        for entry in entries {
            write_text(&mut head, &entry.key);
            head.extend(entry.bytes.iter());
        }
        for tensor in tensors {
            let bytes = shape_bytes(&tensor.name, tensor.tensor_type, &tensor.shape)? as u64;
            write_text(&mut head, &tensor.name);
            head.extend((tensor.shape.len() as u32).to_le_bytes());
            // GGUF has the innermost dimension first.
            for dimension in tensor.shape.iter().rev() {
                head.extend((*dimension as u64).to_le_bytes());
            }
            head.extend(tensor.tensor_type.number().to_le_bytes());
            head.extend(u64::to_le_bytes(place));
            place = (place + bytes).next_multiple_of(alignment);
            left.push(bytes);
        }
        left.reverse();
        let mut writer = Self {
            target,
            alignment,
            left,
            written: 0,
        };
        writer
            .put(&head)
            .and_then(|()| writer.fill())
            .map_err(cannot_write)?;
        Ok(writer)
    }

    /// The next bytes of the tensor whose turn it is; more than it has are refused.
    pub fn write(&mut self, bytes: &[u8]) -> Result<(), FormatError> {
        let Some(left) = self.left.last_mut() else {
            return Err(cannot_write(io::Error::other("all tensors are complete")));
        };
        *left = left.checked_sub(bytes.len() as u64).ok_or_else(|| {
            cannot_write(io::Error::other(
                "more bytes than the tensor was planned with",
            ))
        })?;
        let is_complete = *left == 0;
        self.put(bytes).map_err(cannot_write)?;
        if is_complete {
            self.left.pop();
            self.fill().map_err(cannot_write)?;
        }
        Ok(())
    }

    /// The target, once every tensor is complete; and how many bytes the file has.
    pub fn finish(mut self) -> Result<(W, u64), FormatError> {
        if !self.left.is_empty() {
            let problem = format!("{} tensors are not complete", self.left.len());
            return Err(cannot_write(io::Error::other(problem)));
        }
        self.target.flush().map_err(cannot_write)?;
        Ok((self.target, self.written))
    }

    fn put(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.target.write_all(bytes)?;
        self.written += bytes.len() as u64;
        Ok(())
    }

    /// Zeros up to where the next tensor may begin.
    fn fill(&mut self) -> io::Result<()> {
        let mut missing = (self.written.next_multiple_of(self.alignment) - self.written) as usize;
        while missing > 0 {
            let some = missing.min(ZEROS.len());
            self.put(&ZEROS[..some])?;
            missing -= some;
        }
        Ok(())
    }
}

fn cannot_write(source: io::Error) -> FormatError {
    FormatError::io("cannot write", "the model".as_ref())(source)
}

fn write_text(head: &mut Vec<u8>, text: &str) {
    head.extend((text.len() as u64).to_le_bytes());
    head.extend(text.as_bytes());
}

/// As the entries say, which a reader believes as well.
fn alignment_of(entries: &[Entry<'_>]) -> Result<u64, FormatError> {
    let Some(entry) = entries.iter().find(|entry| entry.key == ALIGNMENT_KEY) else {
        return Ok(DEFAULT_ALIGNMENT);
    };
    // Behind the type, a number of one to eight bytes; the lowest comes first.
    let bytes = entry.bytes.get(size_of::<u32>()..).unwrap_or_default();
    let number = bytes
        .iter()
        .rev()
        .fold(0_u64, |number, byte| number << 8 | u64::from(*byte));
    if !number.is_power_of_two() || number > LARGEST_ALIGNMENT {
        let problem = format!("{number}; a power of two up to {LARGEST_ALIGNMENT} is allowed");
        return Err(FormatError::invalid(ALIGNMENT_KEY, 0, problem));
    }
    Ok(number)
}
