//! What a NEON kernel of packed integers gets: a tile of a matrix, some tokens, a place for results.

use std::arch::{aarch64::*, asm};

use super::output::OutputTile;
use super::rows::{QuantizedRows, TileRange};
use crate::quant::coding::{product_bits, stored_bits};
use crate::read_ahead::ask_all;
use crate::simd::{Lanes, neon::Neon};
use crate::weights::{Elements, PackedMatrix, QuantLayout, TILE_ROWS, VECTOR_BYTES};

/// How far ahead of the weights memory is asked for, in bytes.
const AHEAD: usize = 4096;

/// The streams of one tile.
#[derive(Clone, Copy)]
pub(super) struct Tile {
    pub(super) values: *const u8,
    pub(super) scales: *const u8,
    pub(super) blocks: usize,
    /// How far ahead of the weights memory is asked for, in bytes; 0 where they are in the cache.
    pub(super) ahead: usize,
}

impl Tile {
    /// The integers of a block, and memory asked for the block that stands `ahead` bytes further.
    ///
    /// # Safety
    ///
    /// The tile has the block, of that coding.
    #[inline(always)]
    pub(super) unsafe fn block<const CODING: u32>(&self, block: usize) -> *const u8 {
        // SAFETY: the tile has the block; asking for memory never faults.
        unsafe {
            let values = self
                .values
                .add(block * VECTOR_BYTES * stored_bits(CODING) as usize);
            if self.ahead > 0 {
                for line in 0..stored_bits(CODING) as usize {
                    let address = values.addr() + self.ahead + line * VECTOR_BYTES;
                    asm!(
                        "prfm pldl1keep, [{}]",
                        in(reg) address,
                        options(nomem, nostack, preserves_flags)
                    );
                }
            }
            values
        }
    }
}

/// The activations of some tokens, from the first one on.
#[derive(Clone, Copy)]
pub(super) struct Inputs {
    pub(super) quants: *const i8,
    pub(super) columns: usize,
    pub(super) scales: *const f32,
    /// Sums and debts of each group.
    pub(super) sums: *const f32,
    pub(super) debts: *const i32,
    /// What the debts are multiplied with.
    pub(super) zero: i32,
}

/// Where the results of one tile go, from the first token on.
#[derive(Clone, Copy)]
pub(super) struct Target {
    pointer: *mut f32,
    stride: usize,
    /// Rows that the tile has.
    lanes: usize,
    adds: bool,
}

impl Target {
    /// Writes a token's results, or adds them to what is there.
    ///
    /// # Safety
    ///
    /// The output has the token.
    #[inline(never)]
    pub(super) unsafe fn put(&self, token: usize, rows: [float32x4_t; 4]) {
        for (quarter, mut sum) in rows.into_iter().enumerate() {
            let count = self.lanes.saturating_sub(4 * quarter);
            if count == 0 {
                break;
            }
            // SAFETY: the output has the token, and of its columns only those that the tile has rows for are touched.
            unsafe {
                let target = self.pointer.add(token * self.stride + 4 * quarter);
                if self.adds {
                    sum = Neon::new().add(Neon::new().load_partial(target, count), sum);
                }
                Neon::new().store_partial(target, sum, count);
            }
        }
    }
}

/// One tile and some tokens.
#[derive(Clone, Copy)]
pub(super) struct TileTask {
    pub(super) tile: Tile,
    pub(super) inputs: Inputs,
    pub(super) target: Target,
}

impl TileTask {
    /// Goes past `tokens` tokens; the tile is in the cache from now on.
    ///
    /// # Safety
    ///
    /// There are as many.
    pub(super) unsafe fn skip(&mut self, tokens: usize, groups: usize) {
        let blocks = tokens * self.tile.blocks;
        self.tile.ahead = 0;
        // SAFETY: the caller has as many tokens, so the pointers stand at the next one or at the end.
        unsafe {
            self.inputs.quants = self.inputs.quants.add(tokens * self.inputs.columns);
            self.inputs.scales = self.inputs.scales.add(blocks);
            self.inputs.sums = self.inputs.sums.add(blocks * groups);
            self.inputs.debts = self.inputs.debts.add(blocks * groups);
            self.target.pointer = self.target.pointer.add(tokens * self.target.stride);
        }
    }
}

/// The layout of a matrix that the kernels have instances for.
pub(super) fn layout_of(matrix: &PackedMatrix) -> Option<QuantLayout> {
    match matrix.elements() {
        // What the instances take for granted beside what they are generic over.
        Elements::Quantized(layout)
            if (product_bits(layout.coding()) != 8 || layout.zero == 128)
                && (!layout.has_minimum || layout.zero == 0) =>
        {
            Some(layout)
        }
        _ => None,
    }
}

/// The sums of quants, and what zero points take, of each group.
pub(super) fn sums_of(rows: &QuantizedRows, layout: QuantLayout) -> (&[f32], &[i32]) {
    if layout.groups() == 1 {
        (&rows.block_sums, &rows.block_debts)
    } else {
        (&rows.half_sums, &rows.half_debts)
    }
}

/// Takes the tiles of a range one by one.
pub(super) fn for_each_tile(
    (matrix, layout): (&PackedMatrix, QuantLayout),
    (rows, range): (&QuantizedRows, &TileRange),
    output: &mut OutputTile<'_>,
    multiply_tile: impl Fn(TileTask),
) {
    ask_all(&range.ahead);
    let (sums, debts) = sums_of(rows, layout);
    let first = range.tokens.start;
    let first_group = first * rows.blocks() * layout.groups();
    for (index, tile) in range.tiles.clone().enumerate() {
        let column = index * TILE_ROWS;
        multiply_tile(TileTask {
            tile: Tile {
                values: matrix.tile_values(tile).as_ptr(),
                scales: matrix.tile_scales(tile).as_ptr(),
                blocks: rows.blocks(),
                ahead: AHEAD,
            },
            inputs: Inputs {
                quants: rows.quants[first * rows.columns()..].as_ptr(),
                columns: rows.columns(),
                scales: rows.scales[first * rows.blocks()..].as_ptr(),
                sums: sums[first_group..].as_ptr(),
                debts: debts[first_group..].as_ptr(),
                zero: i32::from(layout.zero),
            },
            target: Target {
                pointer: output.as_mut_ptr().wrapping_add(column),
                stride: output.stride(),
                lanes: TILE_ROWS.min(output.columns() - column),
                adds: output.adds(),
            },
        });
    }
}
