//! Weights in the order in which the kernels stream them.
//!
//! A matrix is cut into tiles of [`TILE_ROWS`] rows. Inside a tile, quantized weights go in blocks
//! of 32 inputs, each one lane a row:
//!
//! ```text
//! 4 bits: 4 vectors of 64 bytes; vector j, lane r, byte b: input 4j+b low, input 16+4j+b high
//! 8 bits: 8 vectors of 64 bytes; vector j, lane r, byte b: input 4j+b
//! ```
//!
//! Their scales stand in a second stream, in the order of use (see [`ScaleEncoding`]): for each 32
//! inputs 16 scales and, where the format has them, 16 minimums; a super-block of 256 has its f16
//! bases first and then small integers. Dense weights go input by input, 16 rows side by side.

use half::f16;

use crate::aligned::AlignedBytes;
use crate::quant::{
    BlockFormat, BlockScales, BlockType, BlockVisitor, QuantError, ScaleEncoding, decode,
};
use crate::threads::ThreadPool;

/// Rows of a tile: the 32-bit lanes of the widest vector.
pub const TILE_ROWS: usize = 16;
/// Inputs of a packed block.
pub const BLOCK_INPUTS: usize = 32;
/// Inputs that share an f16 base in the formats with super-blocks.
pub(crate) const SUPER_INPUTS: usize = 256;

/// Why a matrix cannot be packed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PackError {
    /// The bytes do not make the shape.
    #[error(
        "{rows} rows of {columns} {type_name} values need {expected} bytes, there are {actual}"
    )]
    Length {
        /// Rows asked for.
        rows: usize,
        /// Columns asked for.
        columns: usize,
        /// The type's name.
        type_name: &'static str,
        /// Bytes of that shape.
        expected: usize,
        /// Bytes given.
        actual: usize,
    },
    /// A row is not whole blocks, or there is nothing to pack.
    #[error("rows of {columns} values do not divide into {type_name} blocks of {block}")]
    Shape {
        /// Columns asked for.
        columns: usize,
        /// The type's name.
        type_name: &'static str,
        /// Elements of a block.
        block: usize,
    },
    /// A scale that is NaN or infinite.
    #[error("row {row} holds a {type_name} value or scale that is not finite")]
    NotFinite {
        /// The row in the file.
        row: usize,
        /// The type's name.
        type_name: &'static str,
    },
    /// A row order that is not a permutation of the rows.
    #[error("the row order names row {row} of {rows}")]
    RowOrder {
        /// The row named.
        row: usize,
        /// Rows there are.
        rows: usize,
    },
    /// Decoding failed.
    #[error(transparent)]
    Decode(#[from] QuantError),
}

/// How the elements of a packed matrix are stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Elements {
    /// Dense f32.
    Float,
    /// Dense f16 bits.
    Half,
    /// Dense bf16 bits.
    Bfloat,
    /// Unsigned integers with scales.
    Quantized(QuantLayout),
}

/// What tells one quantized layout from another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct QuantLayout {
    /// 4 or 8 bits a weight.
    pub bits: u32,
    /// Inputs that share a scale: 16 or 32.
    pub group: usize,
    /// What is subtracted from each integer.
    pub zero: u8,
    /// How scales are stored.
    pub encoding: ScaleEncoding,
    /// Whether groups have a minimum that is added.
    pub has_minimum: bool,
}

impl QuantLayout {
    fn of<F: BlockFormat>() -> Self {
        Self {
            bits: F::BITS,
            group: F::GROUP,
            zero: F::ZERO,
            encoding: F::ENCODING,
            has_minimum: F::HAS_MINIMUM,
        }
    }

    /// Scale groups of a block.
    pub(crate) fn groups(self) -> usize {
        BLOCK_INPUTS / self.group
    }

    /// Bytes of the integers of one block of a tile.
    pub(crate) fn block_bytes(self) -> usize {
        TILE_ROWS * BLOCK_INPUTS * self.bits as usize / 8
    }

    /// Bytes of the scales of one block of a tile, without a super-block's bases.
    pub(crate) fn block_scale_bytes(self) -> usize {
        let kinds = 1 + usize::from(self.has_minimum);
        let width = match self.encoding {
            ScaleEncoding::Half => 2,
            ScaleEncoding::Single => 4,
            ScaleEncoding::Super => 1,
        };
        self.groups() * kinds * TILE_ROWS * width
    }

    /// Bytes of the bases that stand before every super-block.
    pub(crate) fn super_header_bytes(self) -> usize {
        match self.encoding {
            ScaleEncoding::Super => (1 + usize::from(self.has_minimum)) * TILE_ROWS * 2,
            _ => 0,
        }
    }

    fn tile_scale_bytes(self, columns: usize) -> usize {
        columns / BLOCK_INPUTS * self.block_scale_bytes()
            + columns / SUPER_INPUTS * self.super_header_bytes()
    }

    /// Offset of a block's scales inside its tile.
    pub(crate) fn scale_offset(self, block: usize) -> usize {
        let headers = block / (SUPER_INPUTS / BLOCK_INPUTS) + 1;
        block * self.block_scale_bytes() + headers * self.super_header_bytes()
    }
}

/// A matrix `[rows, columns]`, packed.
#[derive(Debug, Clone)]
pub struct PackedMatrix {
    rows: usize,
    columns: usize,
    elements: Elements,
    block_type: BlockType,
    values: AlignedBytes,
    scales: AlignedBytes,
}

/// What to pack: a row-major matrix as the file has it.
#[derive(Debug, Clone, Copy)]
pub struct PackSource<'a> {
    /// The file's type.
    pub block_type: BlockType,
    /// `rows * columns` values of that type.
    pub bytes: &'a [u8],
    /// Outputs.
    pub rows: usize,
    /// Inputs.
    pub columns: usize,
    /// Packed row `i` is the file's row `row_order[i]`; `None` keeps the order.
    pub row_order: Option<&'a [u32]>,
}

impl PackSource<'_> {
    fn row_bytes(&self) -> usize {
        self.columns / self.block_type.block_elements() * self.block_type.block_bytes()
    }

    fn file_row(&self, packed_row: usize) -> usize {
        self.row_order
            .map_or(packed_row, |order| order[packed_row] as usize)
    }

    fn row(&self, packed_row: usize) -> &[u8] {
        let length = self.row_bytes();
        let begin = self.file_row(packed_row) * length;
        &self.bytes[begin..begin + length]
    }

    fn check(&self) -> Result<(), PackError> {
        let type_name = self.block_type.name();
        let block = self.block_type.block_elements();
        if self.rows == 0 || self.columns == 0 || !self.columns.is_multiple_of(block) {
            return Err(PackError::Shape {
                columns: self.columns,
                type_name,
                block,
            });
        }
        let expected = self.row_bytes().saturating_mul(self.rows);
        if expected != self.bytes.len() {
            let (rows, columns) = (self.rows, self.columns);
            return Err(PackError::Length {
                rows,
                columns,
                type_name,
                expected,
                actual: self.bytes.len(),
            });
        }
        match self.row_order {
            Some(order) if order.len() != self.rows => Err(PackError::RowOrder {
                row: order.len(),
                rows: self.rows,
            }),
            Some(order) => match order.iter().find(|row| **row as usize >= self.rows) {
                Some(row) => Err(PackError::RowOrder {
                    row: *row as usize,
                    rows: self.rows,
                }),
                None => Ok(()),
            },
            None => Ok(()),
        }
    }
}

/// One tile being filled.
struct TileBuffers<'a> {
    values: &'a mut [u8],
    scales: &'a mut [u8],
}

type PackTile = fn(&PackSource<'_>, usize, &mut TileBuffers<'_>) -> Result<(), PackError>;

struct ChooseLayout;

impl BlockVisitor for ChooseLayout {
    type Output = (QuantLayout, PackTile);
    fn visit<F: BlockFormat>(self) -> Self::Output {
        (QuantLayout::of::<F>(), pack_quantized_tile::<F>)
    }
}

impl PackedMatrix {
    /// Packs a matrix on all threads of `pool`.
    pub fn pack(source: &PackSource<'_>, pool: &ThreadPool) -> Result<Self, PackError> {
        source.check()?;
        let (elements, pack_tile) = layout_of(source.block_type);
        let tiles = source.rows.div_ceil(TILE_ROWS);
        let (value_bytes, scale_bytes) = tile_bytes(elements, source.columns);
        let mut matrix = Self {
            rows: source.rows,
            columns: source.columns,
            elements,
            block_type: source.block_type,
            values: AlignedBytes::zeroed(tiles * value_bytes),
            scales: AlignedBytes::zeroed(tiles * scale_bytes),
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
                    std::sync::Mutex::new(Some(TileBuffers {
                        values: value,
                        scales: scale,
                    }))
                })
                .collect()
        };
        let failure = std::sync::Mutex::new(None);
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

    /// The scales of one tile; empty for dense elements.
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
                        half::bf16::from_bits(bits).to_f32()
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

fn lane_bytes<const N: usize>(bytes: &[u8], lane: usize) -> [u8; N] {
    std::array::from_fn(|byte| bytes[lane * N + byte])
}

fn layout_of(block_type: BlockType) -> (Elements, PackTile) {
    match (block_type.visit(ChooseLayout), block_type) {
        (Some((layout, pack)), _) => (Elements::Quantized(layout), pack),
        (None, BlockType::F16) => (Elements::Half, pack_dense_tile::<2>),
        (None, BlockType::Bf16) => (Elements::Bfloat, pack_dense_tile::<2>),
        (None, _) => (Elements::Float, pack_dense_tile::<4>),
    }
}

fn tile_bytes(elements: Elements, columns: usize) -> (usize, usize) {
    match elements {
        Elements::Float => (columns * TILE_ROWS * 4, 0),
        Elements::Half | Elements::Bfloat => (columns * TILE_ROWS * 2, 0),
        Elements::Quantized(layout) => (
            columns / BLOCK_INPUTS * layout.block_bytes(),
            layout.tile_scale_bytes(columns),
        ),
    }
}

/// The rows of a tile that the matrix has, as (lane, packed row).
fn tile_rows(source: &PackSource<'_>, tile: usize) -> impl Iterator<Item = (usize, usize)> {
    let first = tile * TILE_ROWS;
    (first..(first + TILE_ROWS).min(source.rows)).map(move |row| (row - first, row))
}

fn pack_dense_tile<const WIDTH: usize>(
    source: &PackSource<'_>,
    tile: usize,
    buffers: &mut TileBuffers<'_>,
) -> Result<(), PackError> {
    let mut decoded = vec![0.0; source.columns];
    for (lane, row) in tile_rows(source, tile) {
        let bytes = source.row(row);
        decode(source.block_type, bytes, &mut decoded)?;
        if !decoded.iter().all(|value| value.is_finite()) {
            let type_name = source.block_type.name();
            return Err(PackError::NotFinite {
                row: source.file_row(row),
                type_name,
            });
        }
        let targets = buffers.values.chunks_exact_mut(TILE_ROWS * WIDTH);
        for (value, target) in bytes.as_chunks::<WIDTH>().0.iter().zip(targets) {
            target[lane * WIDTH..(lane + 1) * WIDTH].copy_from_slice(value);
        }
    }
    Ok(())
}

fn pack_quantized_tile<F: BlockFormat>(
    source: &PackSource<'_>,
    tile: usize,
    buffers: &mut TileBuffers<'_>,
) -> Result<(), PackError> {
    let layout = QuantLayout::of::<F>();
    let mut quants = [0u8; SUPER_INPUTS];
    let mut scales = BlockScales::default();
    for (lane, row) in tile_rows(source, tile) {
        for (index, block) in source.row(row).chunks_exact(F::BYTES).enumerate() {
            F::unpack(block, &mut quants[..F::ELEMENTS], &mut scales);
            if !(scales.base.is_finite() && scales.base_minimum.is_finite()) {
                let type_name = source.block_type.name();
                return Err(PackError::NotFinite {
                    row: source.file_row(row),
                    type_name,
                });
            }
            let first_block = index * F::ELEMENTS / BLOCK_INPUTS;
            place_scales(layout, buffers.scales, first_block, lane, &scales);
            for (offset, inputs) in quants[..F::ELEMENTS]
                .as_chunks::<BLOCK_INPUTS>()
                .0
                .iter()
                .enumerate()
            {
                let bytes = layout.block_bytes();
                let target = &mut buffers.values[(first_block + offset) * bytes..][..bytes];
                if F::BITS == 4 {
                    place_nibbles(inputs, lane, target);
                } else {
                    place_bytes(inputs, lane, target);
                }
            }
        }
    }
    Ok(())
}

fn place_nibbles(inputs: &[u8; BLOCK_INPUTS], lane: usize, target: &mut [u8]) {
    for vector in 0..4 {
        let bytes = &mut target[vector * 64 + lane * 4..][..4];
        for (byte, value) in bytes.iter_mut().enumerate() {
            *value = inputs[4 * vector + byte] | (inputs[16 + 4 * vector + byte] << 4);
        }
    }
}

fn place_bytes(inputs: &[u8; BLOCK_INPUTS], lane: usize, target: &mut [u8]) {
    for (vector, values) in inputs.as_chunks::<4>().0.iter().enumerate() {
        target[vector * 64 + lane * 4..][..4].copy_from_slice(values);
    }
}

/// Writes the scales of one file block, which covers one or eight packed blocks.
fn place_scales(
    layout: QuantLayout,
    stream: &mut [u8],
    first_block: usize,
    lane: usize,
    scales: &BlockScales,
) {
    let mut put_half = |offset: usize, value: f32| {
        stream[offset + lane * 2..][..2].copy_from_slice(&f16::from_f32(value).to_le_bytes());
    };
    let begin = layout.scale_offset(first_block);
    match layout.encoding {
        ScaleEncoding::Single => {
            stream[begin + lane * 4..][..4].copy_from_slice(&scales.base.to_le_bytes());
        }
        ScaleEncoding::Half => {
            put_half(begin, scales.base);
            if layout.has_minimum {
                put_half(begin + TILE_ROWS * 2, scales.base_minimum);
            }
        }
        ScaleEncoding::Super => {
            let header = begin - layout.super_header_bytes();
            put_half(header, scales.base);
            if layout.has_minimum {
                put_half(header + TILE_ROWS * 2, scales.base_minimum);
            }
            let kinds = 1 + usize::from(layout.has_minimum);
            for group in 0..SUPER_INPUTS / layout.group {
                let offset = begin + group * kinds * TILE_ROWS + lane;
                stream[offset] = scales.sub[group].cast_unsigned();
                if layout.has_minimum {
                    stream[offset + TILE_ROWS] = scales.sub_minimum[group].cast_unsigned();
                }
            }
        }
    }
}

/// One block of a tile, read value by value: the plain view of the layout.
#[derive(Clone, Copy)]
pub(crate) struct TileBlock<'a> {
    layout: QuantLayout,
    values: &'a [u8],
    header: &'a [u8],
    scales: &'a [u8],
}

impl<'a> TileBlock<'a> {
    pub(crate) fn new(
        layout: QuantLayout,
        values: &'a [u8],
        scales: &'a [u8],
        block: usize,
    ) -> Self {
        let bytes = layout.block_bytes();
        let blocks_of_super = SUPER_INPUTS / BLOCK_INPUTS;
        let header = layout.scale_offset(block / blocks_of_super * blocks_of_super)
            - layout.super_header_bytes();
        Self {
            layout,
            values: &values[block * bytes..(block + 1) * bytes],
            header: &scales[header..header + layout.super_header_bytes()],
            scales: &scales[layout.scale_offset(block)..][..layout.block_scale_bytes()],
        }
    }

    /// The stored integer, zero point not yet subtracted.
    pub(crate) fn integer(&self, lane: usize, input: usize) -> u8 {
        if self.layout.bits == 8 {
            return self.values[input / 4 * 64 + lane * 4 + input % 4];
        }
        let byte = self.values[input % 16 / 4 * 64 + lane * 4 + input % 4];
        if input < 16 { byte & 15 } else { byte >> 4 }
    }

    /// Scale and minimum of a group, so that a weight is `scale * (integer - zero) + minimum`.
    pub(crate) fn scale(&self, lane: usize, group: usize) -> (f32, f32) {
        let kinds = 1 + usize::from(self.layout.has_minimum);
        let half =
            |bytes: &[u8], index: usize| f16::from_le_bytes(lane_bytes(bytes, index)).to_f32();
        let index = group * kinds * TILE_ROWS + lane;
        let minimum = index + TILE_ROWS;
        let (scale, minimum_of): (f32, &dyn Fn() -> f32) = match self.layout.encoding {
            ScaleEncoding::Single => (f32::from_le_bytes(lane_bytes(self.scales, index)), &|| 0.0),
            ScaleEncoding::Half => (half(self.scales, index), &|| half(self.scales, minimum)),
            ScaleEncoding::Super => (
                half(self.header, lane) * f32::from(self.scales[index].cast_signed()),
                &|| {
                    half(self.header, TILE_ROWS + lane)
                        * f32::from(self.scales[minimum].cast_signed())
                },
            ),
        };
        (
            scale,
            if self.layout.has_minimum {
                minimum_of()
            } else {
                0.0
            },
        )
    }

    /// One weight.
    pub(crate) fn value(&self, lane: usize, input: usize) -> f32 {
        let (scale, minimum) = self.scale(lane, input / self.layout.group);
        let integer = f32::from(self.integer(lane, input)) - f32::from(self.layout.zero);
        scale * integer + minimum
    }
}
