//! A packed matrix: filled on all threads, read by tiles and by rows.

use std::sync::Mutex;

use half::slice::{HalfBitsSliceExt, HalfFloatSliceExt};
use half::{bf16, f16};

use super::bytes::{PackedBytes, SharedBytes};
use super::layout::{BLOCK_INPUTS, Elements, QuantLayout, TILE_ROWS, TileBlock, lane_bytes};
use super::source::{PackingError, WeightSource};
use super::tiles::{TileBuffers, layout_of, tile_bytes};
use crate::aligned::Arena;
use crate::quant::{BlockType, ScaleEncoding};
use crate::threads::ThreadPool;

/// A matrix `[rows, columns]`, packed.
#[derive(Debug)]
pub struct PackedMatrix {
    rows: usize,
    columns: usize,
    elements: Elements,
    block_type: BlockType,
    values: PackedBytes,
    scales: PackedBytes,
}

/// A matrix that was packed before.
pub struct PackedBefore {
    /// What was packed.
    pub block_type: BlockType,
    /// Outputs.
    pub rows: usize,
    /// Inputs.
    pub columns: usize,
    /// What [`PackedMatrix::values`] were.
    pub values: SharedBytes,
    /// What [`PackedMatrix::scales`] were.
    pub scales: SharedBytes,
}

impl PackedMatrix {
    /// Packs a matrix on all threads of `pool` into memory of `arena`.
    pub fn pack(
        source: &WeightSource<'_>,
        pool: &ThreadPool,
        arena: &Arena,
    ) -> Result<Self, PackingError> {
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

    /// A matrix that was packed before; `None` where the bytes are not as many as it has, or do not begin on a cache line.
    pub fn packed_before(before: PackedBefore) -> Option<Self> {
        let PackedBefore {
            block_type,
            rows,
            columns,
            values,
            scales,
        } = before;
        let is_shape =
            rows > 0 && columns > 0 && columns.is_multiple_of(block_type.block_elements());
        let (elements, _) = layout_of(block_type);
        let (value_bytes, scale_bytes) = tile_bytes(elements, columns);
        let tiles = rows.div_ceil(TILE_ROWS);
        is_shape.then_some(Self {
            rows,
            columns,
            elements,
            block_type,
            values: PackedBytes::shared(values, tiles.checked_mul(value_bytes)?)?,
            scales: PackedBytes::shared(scales, tiles.checked_mul(scale_bytes)?)?,
        })
    }

    /// Room for 32 inputs of another matrix turned over, see [`Kernels::turn_over`](crate::Kernels::turn_over): 32 rows
    /// of 8-bit integers, of so many columns, which are whole blocks, with a scale for each block.
    pub(crate) fn panel(columns: usize, arena: &Arena) -> Result<Self, PackingError> {
        let elements = Elements::Quantized(QuantLayout {
            bits: 8,
            codebook: None,
            group: BLOCK_INPUTS,
            zero: 128,
            encoding: ScaleEncoding::Single,
            has_minimum: false,
        });
        let (value_bytes, scale_bytes) = tile_bytes(elements, columns);
        let tiles = BLOCK_INPUTS / TILE_ROWS;
        Ok(Self {
            rows: BLOCK_INPUTS,
            columns,
            elements,
            block_type: BlockType::F32,
            values: reserve(arena, tiles * value_bytes)?,
            scales: reserve(arena, tiles * scale_bytes)?,
        })
    }

    /// Values and scales of all tiles, to write.
    pub(crate) fn contents_mut(&mut self) -> (&mut [u8], &mut [u8]) {
        (self.values.as_mut_slice(), self.scales.as_mut_slice())
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

    /// The values of all tiles.
    pub fn values(&self) -> &[u8] {
        self.values.as_slice()
    }

    /// The scales of all tiles; empty for f32 elements.
    pub fn scales(&self) -> &[u8] {
        self.scales.as_slice()
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

    /// Panics unless there is such a row, and `output` takes it.
    pub(crate) fn check_row(&self, row: usize, output: &[f32]) {
        assert!(
            row < self.rows && output.len() == self.columns,
            "row {row} of {}",
            self.rows
        );
    }

    /// One row as f32: the embedding's lookup. Of many rows [`Kernels::decode_rows`](crate::Kernels::decode_rows) is quicker.
    ///
    /// # Panics
    ///
    /// Where `row` is not below `rows`, or `output` is not `columns` long.
    pub fn decode_row(&self, row: usize, output: &mut [f32]) {
        self.check_row(row, output);
        let lane = row % TILE_ROWS;
        let tile = row / TILE_ROWS;
        let values = self.tile_values(tile);
        match self.elements {
            Elements::Float => {
                for (value, bytes) in output.iter_mut().zip(values.as_chunks::<64>().0) {
                    *value = f32::from_le_bytes(lane_bytes(bytes, lane));
                }
            }
            Elements::Half => {
                // Turned into f32 so many at a time, by an instruction where there is one.
                let mut halves = [0; 64];
                let sources = values.as_chunks::<32>().0.chunks(halves.len());
                for (sources, targets) in sources.zip(output.chunks_mut(halves.len())) {
                    for (half, bytes) in halves.iter_mut().zip(sources) {
                        *half = u16::from_le_bytes(lane_bytes(bytes, lane));
                    }
                    let halves = halves[..targets.len()].reinterpret_cast::<f16>();
                    halves.convert_to_f32_slice(targets);
                }
            }
            Elements::Bfloat => {
                for (value, bytes) in output.iter_mut().zip(values.as_chunks::<32>().0) {
                    *value = bf16::from_le_bytes(lane_bytes(bytes, lane)).to_f32();
                }
            }
            Elements::Quantized(layout) => {
                let scales = self.tile_scales(tile);
                let blocks = output.as_chunks_mut::<BLOCK_INPUTS>().0.iter_mut();
                for (block, output) in blocks.enumerate() {
                    TileBlock::new(layout, values, scales, block).decode(lane, output);
                }
            }
        }
    }
}

fn reserve(arena: &Arena, bytes: usize) -> Result<PackedBytes, PackingError> {
    let room = arena.zeroed(bytes).map_err(|error| PackingError::Memory {
        bytes,
        problem: error.to_string(),
    })?;
    Ok(PackedBytes::Own(room))
}
