//! Weights in the order in which the kernels stream them.
//!
//! A matrix is cut into tiles of [`TILE_ROWS`] rows. Inside a tile, quantized weights go in blocks
//! of 32 inputs, each one lane a row:
//!
//! ```text
//! 4 bits: 4 vectors of 64 bytes; vector j, lane r, byte b: input 4j+b low, input 16+4j+b high
//! 5, 6 bits: the same for the low four; then 1 or 2 vectors of the bits above them,
//!         1 bit: byte b of lane r holds input 4j+b at bit j
//!         2 bits: vector p, byte b of lane r holds input 16p+4j+b at bits 2j, 2j+1
//! 8 bits: 8 vectors of 64 bytes; vector j, lane r, byte b: input 4j+b
//! ```
//!
//! Their scales stand in a second stream, in the order of use (see [`crate::quant::ScaleEncoding`]): for each 32
//! inputs 16 scales and, where the format has them, 16 minimums; a super-block of 256 has its f16
//! bases first and then small integers. Dense weights go input by input, 16 rows side by side; 16-bit
//! ones have a byte for each row and block, the power of two of `matmul/words.rs`.

mod layout;
mod source;
mod tiles;

use std::sync::Mutex;

use half::{bf16, f16};

pub use layout::{Elements, QuantLayout};
pub(crate) use layout::{TileBlock, VECTOR_BYTES, high_bits_place};
pub use source::{PackError, PackSource};

use crate::aligned::{AlignedBytes, Arena};
use crate::quant::BlockType;
use crate::threads::ThreadPool;
use layout::lane_bytes;
use tiles::{TileBuffers, layout_of, tile_bytes};

/// Rows of a tile: the 32-bit lanes of the widest vector.
pub const TILE_ROWS: usize = 16;
/// Inputs of a packed block.
pub const BLOCK_INPUTS: usize = 32;
/// The place of the highest bit of a 14-bit integer but for its sign.
const WORD_LEADING_BIT: u8 = 12;
/// Inputs that share an f16 base in the formats with super-blocks.
pub(crate) const SUPER_INPUTS: usize = 256;
/// A matrix `[rows, columns]`, packed.
#[derive(Debug)]
pub struct PackedMatrix {
    rows: usize,
    columns: usize,
    elements: Elements,
    block_type: BlockType,
    values: AlignedBytes,
    scales: AlignedBytes,
}
impl PackedMatrix {
    /// Packs a matrix on all threads of `pool` into memory of `arena`.
    pub fn pack(
        source: &PackSource<'_>,
        pool: &ThreadPool,
        arena: &Arena,
    ) -> Result<Self, PackError> {
        source.check()?;
        let (elements, pack_tile) = layout_of(source.block_type);
        let tiles = source.rows.div_ceil(TILE_ROWS);
        let (value_bytes, scale_bytes) = tile_bytes(elements, source.columns);
        let mut matrix = Self {
            rows: source.rows,
            columns: source.columns,
            elements,
            block_type: source.block_type,
            values: reserve(arena, tiles * value_bytes)?,
            scales: reserve(arena, tiles * scale_bytes)?,
        };
        let buffers: Vec<_> = {
            let mut values = matrix.values.as_mut_slice();
            let mut scales = matrix.scales.as_mut_slice();
            (0..tiles)
                .map(|_| {
                    let (value, rest) = std::mem::take(&mut values).split_at_mut(value_bytes);
                    values = rest;
                    let (scale, rest) = std::mem::take(&mut scales).split_at_mut(scale_bytes);
                    scales = rest;
                    Mutex::new(Some(TileBuffers {
                        values: value,
                        scales: scale,
                    }))
                })
                .collect()
        };
        let failure = Mutex::new(None);
        let chunk = tiles.div_ceil(pool.threads() * 4).max(1);
        pool.run(tiles.div_ceil(chunk), &|index| {
            for tile in index * chunk..((index + 1) * chunk).min(tiles) {
                let buffers = buffers[tile].lock().ok().and_then(|mut slot| slot.take());
                let outcome =
                    buffers.map_or(Ok(()), |mut buffers| pack_tile(source, tile, &mut buffers));
                if let (Err(error), Ok(mut slot)) = (outcome, failure.lock()) {
                    slot.get_or_insert(error);
                }
            }
        });
        drop(buffers);
        match failure.into_inner() {
            Ok(Some(error)) => Err(error),
            _ => Ok(matrix),
        }
    }

    /// Outputs.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Inputs.
    pub fn columns(&self) -> usize {
        self.columns
    }

    /// Tiles, the last one filled up with zero rows.
    pub fn tiles(&self) -> usize {
        self.rows.div_ceil(TILE_ROWS)
    }

    /// How the elements are stored.
    pub fn elements(&self) -> Elements {
        self.elements
    }

    /// The type that the file had.
    pub fn block_type(&self) -> BlockType {
        self.block_type
    }

    /// Bytes in memory.
    pub fn bytes(&self) -> usize {
        self.values.len() + self.scales.len()
    }

    /// The values of one tile.
    pub(crate) fn tile_values(&self, tile: usize) -> &[u8] {
        let bytes = self.values.len() / self.tiles();
        &self.values.as_slice()[tile * bytes..(tile + 1) * bytes]
    }

    /// The values of a tile and of all behind it.
    pub(crate) fn values_from(&self, tile: usize) -> &[u8] {
        let bytes = self.values.len() / self.tiles();
        &self.values.as_slice()[tile * bytes..]
    }

    /// The scales of one tile; empty for f32 elements.
    pub(crate) fn tile_scales(&self, tile: usize) -> &[u8] {
        let bytes = self.scales.len() / self.tiles();
        &self.scales.as_slice()[tile * bytes..(tile + 1) * bytes]
    }

    /// One row as f32: the embedding's lookup.
    ///
    /// # Panics
    ///
    /// Where `row` is not below `rows`, or `output` is not `columns` long.
    pub fn decode_row(&self, row: usize, output: &mut [f32]) {
        assert!(
            row < self.rows && output.len() == self.columns,
            "row {row} of {}",
            self.rows
        );
        let lane = row % TILE_ROWS;
        let tile = row / TILE_ROWS;
        let values = self.tile_values(tile);
        match self.elements {
            Elements::Float => {
                for (value, bytes) in output.iter_mut().zip(values.as_chunks::<64>().0) {
                    *value = f32::from_le_bytes(lane_bytes(bytes, lane));
                }
            }
            Elements::Half | Elements::Bfloat => {
                for (value, bytes) in output.iter_mut().zip(values.as_chunks::<32>().0) {
                    let bits = u16::from_le_bytes(lane_bytes(bytes, lane));
                    *value = if self.elements == Elements::Half {
                        f16::from_bits(bits).to_f32()
                    } else {
                        bf16::from_bits(bits).to_f32()
                    };
                }
            }
            Elements::Quantized(layout) => {
                let scales = self.tile_scales(tile);
                for (block, output) in output.chunks_exact_mut(BLOCK_INPUTS).enumerate() {
                    let view = TileBlock::new(layout, values, scales, block);
                    for (input, value) in output.iter_mut().enumerate() {
                        *value = view.value(lane, input);
                    }
                }
            }
        }
    }
}

fn reserve(arena: &Arena, bytes: usize) -> Result<AlignedBytes, PackError> {
    arena.zeroed(bytes).map_err(|error| PackError::Memory {
        bytes,
        problem: error.to_string(),
    })
}
