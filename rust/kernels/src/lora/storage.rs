//! The numbers of an adapter, in one place.

use std::ops::Range;

use super::numbers::{LoraNumbers, LoraNumbersMut};
use crate::aligned::AlignedBytes;

/// Bytes from which an adapter has memory of its own from the system, in huge pages: a step goes through all of it.
const OWN_BYTES: usize = 2 << 20;

/// All numbers of an adapter, one behind the other.
#[derive(Debug)]
pub struct LoraStorage(Place);

#[derive(Debug)]
enum Place {
    Floats(Vec<f32>),
    Halves(Vec<u16>),
    Own {
        bytes: AlignedBytes,
        is_single_precision: bool,
    },
}

impl LoraStorage {
    /// So many zeros, in f32 or in f16.
    pub fn zeroed(numbers: usize, is_single_precision: bool) -> std::io::Result<Self> {
        let size = if is_single_precision { 4 } else { 2 };
        let bytes = numbers
            .checked_mul(size)
            .filter(|bytes| isize::try_from(*bytes).is_ok())
            .ok_or(std::io::ErrorKind::OutOfMemory)?;
        Ok(Self(if bytes >= OWN_BYTES {
            Place::Own {
                bytes: AlignedBytes::alone(bytes)?,
                is_single_precision,
            }
        } else if is_single_precision {
            Place::Floats(vec![0.0; numbers])
        } else {
            Place::Halves(vec![0; numbers])
        }))
    }

    /// All of them.
    fn all(&self) -> LoraNumbers<'_> {
        match &self.0 {
            Place::Floats(numbers) => LoraNumbers::F32(numbers),
            Place::Halves(numbers) => LoraNumbers::F16(numbers),
            Place::Own {
                bytes,
                is_single_precision: true,
            } => LoraNumbers::F32(bytes.numbers()),
            Place::Own { bytes, .. } => LoraNumbers::F16(bytes.numbers()),
        }
    }

    /// Some of them.
    ///
    /// # Panics
    ///
    /// Where there are not so many.
    pub fn view(&self, places: Range<usize>) -> LoraNumbers<'_> {
        self.all().part(places)
    }

    /// Some of them, to write.
    ///
    /// # Panics
    ///
    /// Where there are not so many.
    pub fn view_mut(&mut self, places: Range<usize>) -> LoraNumbersMut<'_> {
        match &mut self.0 {
            Place::Floats(numbers) => LoraNumbersMut::F32(&mut numbers[places]),
            Place::Halves(numbers) => LoraNumbersMut::F16(&mut numbers[places]),
            Place::Own {
                bytes,
                is_single_precision: true,
            } => LoraNumbersMut::F32(&mut bytes.numbers_mut()[places]),
            Place::Own { bytes, .. } => LoraNumbersMut::F16(&mut bytes.numbers_mut()[places]),
        }
    }

    /// What they take.
    pub fn bytes(&self) -> usize {
        match self.all() {
            LoraNumbers::F32(numbers) => size_of_val(numbers),
            LoraNumbers::F16(numbers) => size_of_val(numbers),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_wherever_it_lies() {
        for is_single_precision in [true, false] {
            for numbers in [0, 1, 100, OWN_BYTES, OWN_BYTES + 3] {
                let mut storage = LoraStorage::zeroed(numbers, is_single_precision).unwrap();
                let size = if is_single_precision { 4 } else { 2 };
                assert_eq!(storage.bytes(), numbers * size);
                let end = numbers.saturating_sub(1)..numbers;
                match storage.view_mut(end.clone()) {
                    LoraNumbersMut::F32(values) => values.fill(1.5),
                    LoraNumbersMut::F16(values) => values.fill(0x3e00),
                }
                let all = storage.view(0..numbers);
                let found = |place| all.number(place);
                assert!((0..end.start).all(|place| found(place) == 0.0));
                assert!(end.into_iter().all(|place| found(place) == 1.5));
            }
        }
    }

    #[test]
    fn more_than_there_can_be_is_an_error() {
        assert!(LoraStorage::zeroed(usize::MAX / 2, true).is_err());
    }
}
