//! Where the sums of one or two tiles go, as vectors of AVX-512.

use std::arch::x86_64::*;

use super::output::OutputTile;
use crate::weights::TILE_ROWS;

/// Some columns of an output, from a row on.
#[derive(Clone, Copy)]
pub(super) struct Destination {
    pointer: *mut f32,
    stride: usize,
    /// Columns of the last tile.
    last_lanes: __mmask16,
    adds: bool,
}

impl Destination {
    /// The columns of `tiles` tiles from `column` on; the last one may have more lanes than are left.
    pub(super) fn new(output: &mut OutputTile<'_>, column: usize, tiles: usize) -> Self {
        let last_lanes = (output.columns() - column - (tiles - 1) * TILE_ROWS).min(TILE_ROWS);
        Self {
            pointer: output.as_mut_ptr().wrapping_add(column),
            stride: output.stride(),
            last_lanes: ((1u32 << last_lanes) - 1) as __mmask16,
            adds: output.adds(),
        }
    }

    /// The rows after the next `rows`.
    pub(super) fn after(self, rows: usize) -> Self {
        Self {
            pointer: self.pointer.wrapping_add(rows * self.stride),
            ..self
        }
    }

    /// Writes the results, or adds them to what is there.
    ///
    /// # Safety
    ///
    /// Needs AVX-512 F; there are `TOKENS` rows and `TILES` tiles, which nobody else touches.
    #[inline(always)]
    pub(super) unsafe fn store<const TILES: usize, const TOKENS: usize>(
        self,
        sums: [[__m512; TILES]; TOKENS],
    ) {
        for (token, sums) in sums.into_iter().enumerate() {
            for (tile, mut sum) in sums.into_iter().enumerate() {
                let lanes = if tile + 1 == TILES {
                    self.last_lanes
                } else {
                    __mmask16::MAX
                };
                // SAFETY: the rows and columns are there and nobody else's; lanes beyond the last tile's are masked.
                unsafe {
                    let target = self.pointer.add(token * self.stride + tile * TILE_ROWS);
                    if self.adds {
                        sum = _mm512_add_ps(_mm512_maskz_loadu_ps(lanes, target), sum);
                    }
                    _mm512_mask_storeu_ps(target, lanes, sum);
                }
            }
        }
    }
}
