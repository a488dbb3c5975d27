//! Asking for the panels of keys and values before they are read.

use crate::simd::prefetch;

/// Bytes of a cache line.
const LINE: usize = 64;

/// Memory that will be read soon, in order: as much is asked for as is consumed.
pub(super) struct Ahead<'a, S> {
    panels: &'a [&'a [S]],
    /// Bytes of the first panel that were asked for.
    offset: usize,
}

impl<'a, S> Ahead<'a, S> {
    /// Panels of which the first `distance` bytes are asked for at once.
    #[inline(always)]
    pub(super) fn start(panels: &'a [&'a [S]], distance: usize) -> Self {
        let mut ahead = Self { panels, offset: 0 };
        ahead.advance(distance);
        ahead
    }

    /// Asks for the next `bytes`.
    #[inline(always)]
    pub(super) fn advance(&mut self, mut bytes: usize) {
        while bytes > 0 {
            let [panel, rest @ ..] = self.panels else {
                return;
            };
            let wanted = bytes.min(size_of_val(*panel) - self.offset);
            let begin = panel.as_ptr().cast::<u8>().wrapping_add(self.offset);
            for line in (0..wanted).step_by(LINE) {
                prefetch(begin.wrapping_add(line));
            }
            bytes -= wanted;
            self.offset += wanted;
            if self.offset == size_of_val(*panel) {
                self.panels = rest;
                self.offset = 0;
            }
        }
    }
}
