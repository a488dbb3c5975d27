//! The numbers of a pool: zeroed memory in huge pages, and views of it by format.

use super::eighths::Eighths;
use super::layout::{KvFormat, KvLayout, Side};
use super::packing::{Halves, Packing};
use super::small_scale;
use super::stored::read_scale;
use crate::aligned::{AlignedBytes, Arena};

/// The numbers of a pool.
///
/// The system commits them as blocks are written, in huge pages where it can: attention jumps from
/// block to block, and with small pages nearly each jump would miss the translation buffer.
#[derive(Debug)]
pub struct KvStorage {
    bytes: AlignedBytes,
    layout: KvLayout,
}

impl KvStorage {
    /// `blocks` zeroed blocks.
    pub fn zeroed(layout: KvLayout, blocks: usize) -> std::io::Result<Self> {
        let bytes = layout
            .block_bytes()
            .checked_mul(blocks)
            .filter(|bytes| isize::try_from(*bytes).is_ok())
            .ok_or(std::io::ErrorKind::OutOfMemory)?;
        Ok(Self {
            bytes: Arena::default().zeroed(bytes)?,
            layout,
        })
    }

    /// The pool, to read.
    pub fn view(&self) -> KvView<'_> {
        self.view_as(self.layout)
    }

    /// The pool, to read blocks of another layout, which are as large.
    pub fn view_as(&self, layout: KvLayout) -> KvView<'_> {
        self.check(layout);
        let bytes = &self.bytes;
        let data = match layout.format {
            KvFormat::F32 => KvData::F32(bytes.numbers()),
            KvFormat::I16 => KvData::I16(bytes.numbers()),
            KvFormat::I8 | KvFormat::K8V4 | KvFormat::Q4 | KvFormat::Q3 => {
                KvData::I8(bytes.numbers())
            }
        };
        KvView { layout, data }
    }

    /// The numbers, to write.
    pub fn data_mut(&mut self) -> KvDataMut<'_> {
        self.data_mut_as(self.layout)
    }

    /// The numbers, to write blocks of another layout, which are as large.
    pub fn data_mut_as(&mut self, layout: KvLayout) -> KvDataMut<'_> {
        self.check(layout);
        let bytes = &mut self.bytes;
        match layout.format {
            KvFormat::F32 => KvDataMut::F32(bytes.numbers_mut()),
            KvFormat::I16 => KvDataMut::I16(bytes.numbers_mut()),
            KvFormat::I8 | KvFormat::K8V4 | KvFormat::Q4 | KvFormat::Q3 => {
                KvDataMut::I8(bytes.numbers_mut())
            }
        }
    }
}

impl KvStorage {
    fn check(&self, layout: KvLayout) {
        assert_eq!(
            layout.block_bytes(),
            self.layout.block_bytes(),
            "blocks of another size"
        );
    }

    /// The bytes of a block.
    pub fn block(&self, block: usize) -> &[u8] {
        let length = self.layout.block_bytes();
        &self.bytes.as_slice()[block * length..][..length]
    }

    /// The bytes of a block, to write.
    pub fn block_mut(&mut self, block: usize) -> &mut [u8] {
        let length = self.layout.block_bytes();
        &mut self.bytes.as_mut_slice()[block * length..][..length]
    }

    /// Copies a block over another one.
    pub fn copy_block(&mut self, from: usize, to: usize) {
        let length = self.layout.block_bytes();
        let bytes = self.bytes.as_mut_slice();
        bytes.copy_within(from * length..(from + 1) * length, to * length);
    }

    /// Gives the memory of these bytes back to the system, as far as they are whole huge pages. What
    /// is read there afterwards is zero or what was written before.
    pub fn release(&mut self, bytes: std::ops::Range<usize>) {
        self.bytes.release(bytes);
    }
}

/// The numbers of a pool, to read.
#[derive(Debug, Clone, Copy)]
pub enum KvData<'a> {
    /// f32.
    F32(&'a [f32]),
    /// Words, and the words of their scales.
    I16(&'a [i16]),
    /// Bytes, and the bytes of their scales.
    I8(&'a [i8]),
}

/// The numbers of a pool, to write.
#[derive(Debug)]
pub enum KvDataMut<'a> {
    /// f32.
    F32(&'a mut [f32]),
    /// Words, and the words of their scales.
    I16(&'a mut [i16]),
    /// Bytes, and the bytes of their scales.
    I8(&'a mut [i8]),
}

impl KvDataMut<'_> {
    /// Whether these are the elements of a format.
    pub(super) fn are_of(&self, format: KvFormat) -> bool {
        match format {
            KvFormat::F32 => matches!(self, Self::F32(_)),
            KvFormat::I16 => matches!(self, Self::I16(_)),
            KvFormat::I8 | KvFormat::K8V4 | KvFormat::Q4 | KvFormat::Q3 => {
                matches!(self, Self::I8(_))
            }
        }
    }

    /// Numbers, the place of scales included.
    pub(crate) fn elements(&self) -> usize {
        match self {
            Self::F32(data) => data.len(),
            Self::I16(data) => data.len(),
            Self::I8(data) => data.len(),
        }
    }
}

/// A pool and its layout, to read.
#[derive(Debug, Clone, Copy)]
pub struct KvView<'a> {
    /// The layout of every block.
    pub layout: KvLayout,
    /// All blocks.
    pub data: KvData<'a>,
}

impl KvView<'_> {
    /// Whether the numbers are those of the layout's format.
    pub(super) fn is_of_its_format(&self) -> bool {
        match self.layout.format {
            KvFormat::F32 => matches!(self.data, KvData::F32(_)),
            KvFormat::I16 => matches!(self.data, KvData::I16(_)),
            KvFormat::I8 | KvFormat::K8V4 | KvFormat::Q4 | KvFormat::Q3 => {
                matches!(self.data, KvData::I8(_))
            }
        }
    }

    /// How many whole blocks there are.
    pub fn blocks(&self) -> usize {
        let elements = match self.data {
            KvData::F32(data) => data.len(),
            KvData::I16(data) => data.len(),
            KvData::I8(data) => data.len(),
        };
        elements / self.layout.block_elements().max(1)
    }

    /// One number of a key or a value as f32, before its scale, where those of its side of the head begin at `offset`.
    pub(super) fn number_of(&self, side: Side, offset: usize, at: (usize, usize)) -> f32 {
        let (place, width) = self.layout.row_place(side, at);
        match self.data {
            KvData::F32(data) => f32::number(&data[offset..], place, width),
            KvData::I16(data) => i16::number(&data[offset..], place, width),
            KvData::I8(data) => match self.layout.format.bits_of(side) {
                3 => Eighths::number(&data[offset..], place, width),
                4 => Halves::number(&data[offset..], place, width),
                8 => i8::number(&data[offset..], place, width),
                bits => unreachable!("bytes hold no numbers of {bits} bits"),
            },
        }
    }

    /// What a token's numbers are multiplied by, where the head's scales begin at `offset`.
    pub(super) fn scale(&self, offset: usize, side: Side, token: usize) -> f32 {
        match self.data {
            KvData::F32(_) => 1.0,
            KvData::I16(data) => read_scale(&data[offset..], side, token),
            KvData::I8(data) if self.layout.format.has_small_scales() => {
                small_scale::scale(data[offset + side.index(token)] as u8)
            }
            KvData::I8(data) => read_scale(&data[offset..], side, token),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn views_have_the_pool_s_length_and_are_zero() {
        for (_, format) in KvFormat::NAMED {
            let layout = KvLayout::new(2, (3, 5), format);
            let mut storage = KvStorage::zeroed(layout, 7).unwrap();
            assert_eq!(storage.view().blocks(), 7);
            match storage.data_mut() {
                KvDataMut::F32(numbers) => numbers[6 * layout.block_elements()] = 1.0,
                KvDataMut::I16(numbers) => numbers[6 * layout.block_elements()] = 1,
                KvDataMut::I8(numbers) => numbers[6 * layout.block_elements()] = 1,
            }
            let begin = 6 * layout.block_bytes();
            for block in 0..7 {
                let sum: u64 = storage
                    .block(block)
                    .iter()
                    .map(|byte| u64::from(*byte))
                    .sum();
                assert_eq!(sum > 0, block * layout.block_bytes() == begin);
            }
            assert!(KvStorage::zeroed(layout, usize::MAX / 2).is_err());
            assert_eq!(KvStorage::zeroed(layout, 0).unwrap().view().blocks(), 0);
        }
    }
}
