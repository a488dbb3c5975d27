//! Asking memory for what the next job reads, while there is nothing else to do.
//!
//! Between two products of one token the threads wait for each other and for the small operations
//! between; the memory would wait with them.

use std::ops::Range;

/// What a core's second-level cache takes without losing what it holds.
const BYTES: usize = 64 << 10;
const LINE_BYTES: usize = 64;

/// Some memory to ask for, line by line. Only a hint: the address is never read from.
#[derive(Debug, Clone, Copy, Default)]
pub struct ReadAhead {
    address: usize,
    lines: usize,
}

impl ReadAhead {
    /// Some memory.
    pub fn of<T>(memory: &[T]) -> Self {
        Self {
            address: memory.as_ptr() as usize,
            lines: size_of_val(memory) / LINE_BYTES,
        }
    }

    /// The beginning of some memory, as much as can be asked for at once.
    pub(crate) fn beginning_of<T>(memory: &[T]) -> Self {
        let all = Self::of(memory);
        Self {
            lines: all.lines.min(BYTES / LINE_BYTES),
            ..all
        }
    }

    /// Asks for the next line; `false` when there is none.
    pub(crate) fn ask(&mut self) -> bool {
        if self.lines == 0 {
            return false;
        }
        fetch(self.address as *const u8);
        self.address += LINE_BYTES;
        self.lines -= 1;
        true
    }
}

/// Some of several pieces of memory, from one line to another as if they were one.
pub(crate) fn lines_of(
    pieces: &[ReadAhead],
    lines: Range<usize>,
) -> impl Iterator<Item = ReadAhead> {
    let mut before = 0;
    pieces.iter().filter_map(move |piece| {
        let (first, end) = (before, before + piece.lines);
        before = end;
        let own = lines.start.max(first)..lines.end.min(end);
        (own.start < own.end).then(|| ReadAhead {
            address: piece.address + (own.start - first) * LINE_BYTES,
            lines: own.len(),
        })
    })
}

/// Asks for all of them at once.
pub(crate) fn ask_all(pieces: &[ReadAhead]) {
    Asking::in_steps(pieces, 1).step();
}

/// How many lines some pieces of memory have.
pub(crate) fn lines_in(pieces: &[ReadAhead]) -> usize {
    pieces.iter().map(|piece| piece.lines).sum()
}

/// Asks for pieces of memory a few lines at a time, while something is computed: a core has few requests
/// to memory under way, and whoever makes many at once waits for them.
#[derive(Debug, Clone)]
pub(crate) struct Asking<'a> {
    address: usize,
    end: usize,
    later: std::slice::Iter<'a, ReadAhead>,
    at_once: u32,
}

impl<'a> Asking<'a> {
    /// All of them in so many steps.
    pub(crate) fn in_steps(pieces: &'a [ReadAhead], steps: usize) -> Self {
        Self {
            address: 0,
            end: 0,
            later: pieces.iter(),
            at_once: lines_in(pieces).div_ceil(steps.max(1)) as u32,
        }
    }

    /// One of the steps.
    #[inline(always)]
    pub(crate) fn step(&mut self) {
        for _ in 0..self.at_once {
            let Some(line) = self.next_line() else {
                return;
            };
            fetch(line as *const u8);
        }
    }

    #[inline(always)]
    fn next_line(&mut self) -> Option<usize> {
        if self.address >= self.end && !self.begin_next() {
            return None;
        }
        let line = self.address;
        self.address += LINE_BYTES;
        Some(line)
    }

    #[cold]
    #[inline(never)]
    fn begin_next(&mut self) -> bool {
        let Some(next) = self.later.find(|piece| piece.lines > 0) else {
            self.at_once = 0;
            return false;
        };
        self.address = next.address;
        self.end = next.address + next.lines * LINE_BYTES;
        true
    }
}

#[inline]
fn fetch(address: *const u8) {
    #[cfg(target_arch = "x86_64")]
    {
        use std::arch::x86_64::{_MM_HINT_T1, _mm_prefetch};
        // SAFETY: a hint: any address may be asked for.
        unsafe { _mm_prefetch::<_MM_HINT_T1>(address.cast()) };
    }
    #[cfg(target_arch = "aarch64")]
    // SAFETY: a hint: any address may be asked for.
    unsafe {
        std::arch::asm!("prfm pldl2keep, [{0}]", in(reg) address, options(nostack, readonly));
    }
    #[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
    let _ = address;
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pieces() -> Vec<ReadAhead> {
        let piece = |address, lines| ReadAhead { address, lines };
        vec![piece(6400, 3), piece(0, 0), piece(64, 1), piece(1280, 5)]
    }

    fn lines(pieces: &[ReadAhead]) -> Vec<usize> {
        let lines = |piece: &ReadAhead| {
            (0..piece.lines)
                .map(|line| piece.address + line * 64)
                .collect()
        };
        pieces
            .iter()
            .flat_map(|piece| -> Vec<_> { lines(piece) })
            .collect()
    }

    #[test]
    fn shares_are_all_of_it_and_nothing_twice() {
        let pieces = pieces();
        for shares in 1..=12 {
            let until = |share| lines_in(&pieces) * share / shares;
            let all: Vec<_> = (0..shares)
                .flat_map(|share| lines_of(&pieces, until(share)..until(share + 1)))
                .collect();
            assert_eq!(lines(&all), lines(&pieces));
        }
    }

    #[test]
    fn as_many_steps_as_were_said_ask_for_all() {
        let pieces = pieces();
        for steps in [1, 2, 4, 9, 100] {
            let mut asking = Asking::in_steps(&pieces, steps);
            assert!(asking.at_once as usize * steps >= lines_in(&pieces));
            assert!(asking.at_once as usize <= lines_in(&pieces).div_ceil(steps));
            let asked: Vec<_> = std::iter::from_fn(|| asking.next_line()).collect();
            assert_eq!(asked, lines(&pieces));
            assert_eq!(asking.at_once, 0);
        }
        Asking::in_steps(&[], 0).step();
    }

    #[test]
    fn a_beginning_is_no_more_than_a_core_keeps() {
        let memory = vec![0_u16; BYTES];
        assert_eq!(lines_in(&[ReadAhead::of(&memory)]), 2 * BYTES / LINE_BYTES);
        let beginning = ReadAhead::beginning_of(&memory);
        assert_eq!(beginning.address, memory.as_ptr() as usize);
        assert_eq!(lines_in(&[beginning]), BYTES / LINE_BYTES);
    }
}
