//! Zeroed memory on cache lines, in huge pages where the system has them.
//!
//! A model has hundreds of matrices, most of them smaller than a huge page; side by side in one
//! mapping they are read through a few entries of the address cache instead of thousands, which is
//! worth half of the speed at which two threads read memory.

use std::ptr::NonNull;
use std::sync::{Arc, Mutex, PoisonError};

use memmap2::{MmapMut, MmapOptions};

/// What one mapping holds at least; it is committed as it is written.
const MAPPING_BYTES: usize = 64 << 20;
/// A huge page of the systems that we know.
const HUGE_PAGE_BYTES: usize = 2 << 20;
/// Buffers begin here, so that a vector load never straddles two cache lines.
const LINE_BYTES: usize = 64;

/// Hands out zeroed buffers; the memory goes back when the last of them is dropped.
#[derive(Debug, Default)]
pub struct Arena {
    current: Mutex<Option<Rest>>,
}

/// What is left of a mapping.
#[derive(Debug)]
struct Rest {
    mapping: Arc<Mapping>,
    used: usize,
}

/// Keeps the memory mapped; its bytes belong to the buffers.
struct Mapping {
    map: Mutex<MmapMut>,
    /// The first byte that is handed out.
    begin: NonNull<u8>,
    length: usize,
}

// SAFETY: `begin` points into `map`, and what it points to is only handed out in disjoint ranges.
unsafe impl Send for Mapping {}
// SAFETY: through a shared reference the lock is all that is used of the mapping.
unsafe impl Sync for Mapping {}

impl Arena {
    /// `length` zero bytes.
    pub(crate) fn zeroed(&self, length: usize) -> std::io::Result<AlignedBytes> {
        let room = length
            .checked_next_multiple_of(LINE_BYTES)
            .ok_or(std::io::ErrorKind::OutOfMemory)?;
        let mut current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        let fitting = current
            .as_mut()
            .filter(|rest| rest.mapping.length - rest.used >= room);
        let rest = match fitting {
            Some(rest) => rest,
            None => current.insert(Rest {
                mapping: Mapping::new(room.max(MAPPING_BYTES), HugePages::Everywhere)?,
                used: 0,
            }),
        };
        // SAFETY: `used + room` is inside the mapping.
        let pointer = unsafe { rest.mapping.begin.add(rest.used) };
        rest.used += room;
        Ok(AlignedBytes {
            pointer,
            length,
            mapping: Some(Arc::clone(&rest.mapping)),
        })
    }
}

/// Where a mapping asks for huge pages.
#[derive(Clone, Copy, PartialEq, Eq)]
enum HugePages {
    /// Also where one holds little more than the end of a buffer: others follow.
    Everywhere,
    /// Where a buffer fills them.
    Filled,
}

impl Mapping {
    fn new(length: usize, huge: HugePages) -> std::io::Result<Arc<Self>> {
        let whole = length
            .checked_add(HUGE_PAGE_BYTES)
            .ok_or(std::io::ErrorKind::OutOfMemory)?;
        // What is reserved and never written shall not count: the system puts mappings that touch together, and
        // where one is then larger than its memory, it refuses to fork the process.
        let mut map = MmapOptions::new().len(whole).no_reserve_swap().map_anon()?;
        let skipped = map
            .as_ptr()
            .align_offset(HUGE_PAGE_BYTES)
            .min(HUGE_PAGE_BYTES);
        let filled = length / HUGE_PAGE_BYTES * HUGE_PAGE_BYTES;
        let asked = match huge {
            HugePages::Everywhere => 0..whole,
            HugePages::Filled => skipped..skipped + filled,
        };
        #[cfg(target_os = "linux")]
        {
            // Only a hint: a system without huge pages refuses it and serves small ones.
            let _ = map.advise_range(memmap2::Advice::HugePage, asked.start, asked.len());
        }
        #[cfg(not(target_os = "linux"))]
        let _ = asked;
        let begin = NonNull::from(&mut map[skipped..]).cast();
        Ok(Arc::new(Self {
            map: Mutex::new(map),
            begin,
            length,
        }))
    }
}

impl Mapping {
    /// Gives whole huge pages back, counted from `begin`; they belong to one buffer, which is exclusive.
    #[cfg(target_os = "linux")]
    fn release(&self, bytes: std::ops::Range<usize>) {
        let map = self.map.lock().unwrap_or_else(PoisonError::into_inner);
        let offset = self.begin.as_ptr() as usize - map.as_ptr() as usize + bytes.start;
        // SAFETY: the range is inside the mapping and on page borders, and nothing but the buffer that
        // calls, exclusively, points to it. Private pages read as zeros afterwards, which are bytes.
        // Where the system refuses, the pages stay as they are.
        let _ = unsafe {
            map.unchecked_advise_range(memmap2::UncheckedAdvice::DontNeed, offset, bytes.len())
        };
    }

    /// Other systems keep the pages until the mapping goes.
    #[cfg(not(target_os = "linux"))]
    fn release(&self, _bytes: std::ops::Range<usize>) {}
}

impl std::fmt::Debug for Mapping {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mapped = self.map.lock().map_or(0, |map| map.len());
        write!(formatter, "Mapping({mapped} bytes)")
    }
}

/// What bytes may be read and written as.
///
/// # Safety
///
/// Any bits are a value of the type, and any value's bytes may be written.
pub(crate) unsafe trait AnyBits {}
// SAFETY: all bits of 32 are floats, of which some are no numbers.
unsafe impl AnyBits for f32 {}
// SAFETY: an integer has a value for all its bits.
unsafe impl AnyBits for u16 {}
// SAFETY: an integer has a value for all its bits.
unsafe impl AnyBits for i8 {}
// SAFETY: an integer has a value for all its bits.
unsafe impl AnyBits for i16 {}

/// A buffer of its own.
pub(crate) struct AlignedBytes {
    pointer: NonNull<u8>,
    length: usize,
    /// Holds the memory.
    mapping: Option<Arc<Mapping>>,
}

// SAFETY: the bytes belong to this value alone.
unsafe impl Send for AlignedBytes {}
// SAFETY: shared references only read.
unsafe impl Sync for AlignedBytes {}

impl AlignedBytes {
    /// `length` zero bytes in a mapping of their own, which goes with them; no more memory than they fill.
    pub(crate) fn alone(length: usize) -> std::io::Result<Self> {
        let mapping = Mapping::new(length, HugePages::Filled)?;
        Ok(Self {
            pointer: mapping.begin,
            length,
            mapping: Some(mapping),
        })
    }

    /// How many bytes.
    pub(crate) fn len(&self) -> usize {
        self.length
    }

    /// The bytes.
    pub(crate) fn as_slice(&self) -> &[u8] {
        // SAFETY: `length` mapped bytes that no other buffer has; the mapping lives as long.
        unsafe { std::slice::from_raw_parts(self.pointer.as_ptr(), self.length) }
    }

    /// Gives the memory of a range back to the system where it can, as far as it is whole huge pages of
    /// the mapping; what is read there afterwards is zero or what was written before.
    pub(crate) fn release(&mut self, range: std::ops::Range<usize>) {
        let Some(mapping) = &self.mapping else { return };
        let begin = self.pointer.as_ptr() as usize - mapping.begin.as_ptr() as usize;
        let whole = |bytes: usize| begin + bytes.min(self.length);
        let from = whole(range.start).next_multiple_of(HUGE_PAGE_BYTES);
        let to = whole(range.end) / HUGE_PAGE_BYTES * HUGE_PAGE_BYTES;
        if from < to {
            mapping.release(from..to);
        }
    }

    /// The bytes, to write.
    pub(crate) fn as_mut_slice(&mut self) -> &mut [u8] {
        // SAFETY: `length` mapped bytes that no other buffer has, borrowed exclusively; the mapping lives as long.
        unsafe { std::slice::from_raw_parts_mut(self.pointer.as_ptr(), self.length) }
    }

    /// The bytes as numbers.
    pub(crate) fn numbers<T: AnyBits>(&self) -> &[T] {
        // SAFETY: any bits are a `T`, and `align_to` takes care of the alignment.
        let (before, numbers, _) = unsafe { self.as_slice().align_to() };
        assert!(before.is_empty(), "numbers begin on their alignment");
        numbers
    }

    /// The bytes as numbers, to write.
    pub(crate) fn numbers_mut<T: AnyBits>(&mut self) -> &mut [T] {
        // SAFETY: any bits are a `T` and any `T` may be written; `align_to_mut` takes care of the alignment.
        let (before, numbers, _) = unsafe { self.as_mut_slice().align_to_mut() };
        assert!(before.is_empty(), "numbers begin on their alignment");
        numbers
    }
}

impl std::fmt::Debug for AlignedBytes {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "AlignedBytes({})", self.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buffers_are_zero_aligned_and_apart() {
        let arena = Arena::default();
        let lengths = [1, 0, 4097, MAPPING_BYTES, 64, 3 * HUGE_PAGE_BYTES + 5];
        let mut buffers: Vec<_> = lengths
            .iter()
            .map(|length| arena.zeroed(*length).unwrap())
            .collect();
        drop(arena);
        for (number, buffer) in buffers.iter_mut().enumerate() {
            assert_eq!(buffer.as_slice().as_ptr() as usize % LINE_BYTES, 0);
            assert!(buffer.as_slice().iter().all(|byte| *byte == 0));
            buffer.as_mut_slice().fill(number as u8 + 1);
        }
        for (number, (buffer, length)) in buffers.iter().zip(lengths).enumerate() {
            assert_eq!(buffer.len(), length);
            assert!(
                buffer
                    .as_slice()
                    .iter()
                    .all(|byte| *byte == number as u8 + 1)
            );
        }
    }

    #[test]
    fn released_pages_are_zero_or_as_before_and_their_neighbours_stay() {
        let mut buffer = Arena::default().zeroed(4 * HUGE_PAGE_BYTES).unwrap();
        buffer.as_mut_slice().fill(1);
        // One whole huge page is inside.
        buffer.release(HUGE_PAGE_BYTES / 2..HUGE_PAGE_BYTES * 5 / 2);
        let bytes = buffer.as_slice();
        assert!(bytes[..HUGE_PAGE_BYTES].iter().all(|byte| *byte == 1));
        assert!(bytes[2 * HUGE_PAGE_BYTES..].iter().all(|byte| *byte == 1));
        let released = &bytes[HUGE_PAGE_BYTES..2 * HUGE_PAGE_BYTES];
        let expected = u8::from(!cfg!(target_os = "linux"));
        assert!(released.iter().all(|byte| *byte == expected));
        buffer.as_mut_slice().fill(2);
        assert!(buffer.as_slice().iter().all(|byte| *byte == 2));
    }

    #[test]
    fn a_size_beyond_the_address_space_is_an_error() {
        assert!(Arena::default().zeroed(usize::MAX).is_err());
    }
}
