//! Filling a tile: rows of a file's blocks into lanes.

use half::{bf16, f16};

use super::layout::{
    BLOCK_INPUTS, Elements, NIBBLES, QuantLayout, SUPER_INPUTS, TILE_ROWS, VECTOR_BYTES,
    WORD_LEADING_BIT, high_bits_place,
};
use super::source::{PackingError, WeightSource};
use crate::quant::coding::Codebook;
use crate::quant::{BlockFormat, BlockScales, BlockType, BlockVisitor, ScaleEncoding, decode};

/// One tile being filled.
pub(super) struct TileBuffers<'a> {
    pub(super) values: &'a mut [u8],
    pub(super) scales: &'a mut [u8],
}

pub(super) type PackTile =
    fn(&WeightSource<'_>, usize, &mut TileBuffers<'_>) -> Result<(), PackingError>;

struct ChooseLayout;

impl BlockVisitor for ChooseLayout {
    type Output = (QuantLayout, PackTile);
    fn visit<F: BlockFormat>(self) -> Self::Output {
        (QuantLayout::of::<F>(), pack_quantized_tile::<F>)
    }
}
pub(super) fn layout_of(block_type: BlockType) -> (Elements, PackTile) {
    match (block_type.visit(ChooseLayout), block_type) {
        (Some((layout, pack)), _) => (Elements::Quantized(layout), pack),
        (None, BlockType::F16) => (Elements::Half, pack_dense_tile::<2>),
        (None, BlockType::Bf16) => (Elements::Bfloat, pack_dense_tile::<2>),
        (None, _) => (Elements::Float, pack_dense_tile::<4>),
    }
}

pub(super) fn tile_bytes(elements: Elements, columns: usize) -> (usize, usize) {
    match elements {
        Elements::Float => (columns * TILE_ROWS * 4, 0),
        Elements::Half | Elements::Bfloat => {
            (columns * TILE_ROWS * 2, columns / BLOCK_INPUTS * TILE_ROWS)
        }
        Elements::Quantized(layout) => (
            columns / BLOCK_INPUTS * layout.block_bytes(),
            layout.tile_scale_bytes(columns),
        ),
    }
}

/// The rows of a tile that the matrix has, as (lane, packed row).
fn tile_rows(source: &WeightSource<'_>, tile: usize) -> impl Iterator<Item = (usize, usize)> {
    let first = tile * TILE_ROWS;
    (first..(first + TILE_ROWS).min(source.rows)).map(move |row| (row - first, row))
}

/// The exponent, as f32 has it, of what one step of a block's 14-bit integers is worth: a power of
/// two with which the largest of the block has 13 bits and a sign.
fn word_worth(block: &[f32; BLOCK_INPUTS]) -> u8 {
    let largest = block
        .iter()
        .fold(0.0f32, |most, value| most.max(value.abs()));
    let exponent = (largest.to_bits() >> 23) as u8;
    // So far below 1 it does not matter, and both the power and its inverse stay normal.
    exponent.max(32) - WORD_LEADING_BIT
}

fn pack_dense_tile<const WIDTH: usize>(
    source: &WeightSource<'_>,
    tile: usize,
    buffers: &mut TileBuffers<'_>,
) -> Result<(), PackingError> {
    let mut decoded = vec![0.0; source.columns];
    for (lane, row) in tile_rows(source, tile) {
        let bytes = source.row(row);
        decode(source.block_type, bytes, &mut decoded)?;
        if !decoded.iter().all(|value| value.is_finite()) {
            let type_name = source.block_type.name();
            return Err(PackingError::NotFinite {
                row: source.file_row(row),
                type_name,
            });
        }
        let targets = buffers.values.chunks_exact_mut(TILE_ROWS * WIDTH);
        for (value, target) in bytes.as_chunks::<WIDTH>().0.iter().zip(targets) {
            target[lane * WIDTH..(lane + 1) * WIDTH].copy_from_slice(value);
        }
        let blocks = decoded.as_chunks::<BLOCK_INPUTS>().0.iter();
        for (block, worth) in blocks.zip(buffers.scales.chunks_exact_mut(TILE_ROWS)) {
            worth[lane] = word_worth(block);
        }
    }
    Ok(())
}

fn pack_quantized_tile<F: BlockFormat>(
    source: &WeightSource<'_>,
    tile: usize,
    buffers: &mut TileBuffers<'_>,
) -> Result<(), PackingError> {
    let layout = QuantLayout::of::<F>();
    let places = F::CODEBOOK.map(Codebook::places);
    let mut quants = [0u8; SUPER_INPUTS];
    let mut scales = BlockScales::default();
    for (lane, row) in tile_rows(source, tile) {
        for (index, block) in source.row(row).chunks_exact(F::BYTES).enumerate() {
            F::unpack(block, &mut quants[..F::ELEMENTS], &mut scales);
            if !(scales.base.is_finite() && scales.base_minimum.is_finite()) {
                let type_name = source.block_type.name();
                return Err(PackingError::NotFinite {
                    row: source.file_row(row),
                    type_name,
                });
            }
            let first_block = index * F::ELEMENTS / BLOCK_INPUTS;
            place_scales(layout, buffers.scales, first_block, lane, &scales);
            if let Some(places) = &places {
                for quant in &mut quants[..F::ELEMENTS] {
                    *quant = places[usize::from(*quant)];
                }
            }
            for (offset, inputs) in quants[..F::ELEMENTS]
                .as_chunks::<BLOCK_INPUTS>()
                .0
                .iter()
                .enumerate()
            {
                let bytes = layout.block_bytes();
                let target = &mut buffers.values[(first_block + offset) * bytes..][..bytes];
                match F::BITS {
                    4 => place_nibbles(inputs, lane, target),
                    8 => place_bytes(inputs, lane, target),
                    bits => {
                        let (nibbles, planes) = target.split_at_mut(4 * VECTOR_BYTES);
                        place_nibbles(inputs, lane, nibbles);
                        if bits == 5 {
                            place_high_bits::<1>(inputs, lane, planes);
                        } else {
                            place_high_bits::<2>(inputs, lane, planes);
                        }
                    }
                }
            }
        }
    }
    Ok(())
}

/// The four weights of a vector that a lane has.
fn words(inputs: &[u8; BLOCK_INPUTS]) -> [u32; BLOCK_INPUTS / 4] {
    std::array::from_fn(|vector| {
        let place = 4 * vector;
        u32::from_le_bytes([0, 1, 2, 3].map(|byte| inputs[place + byte]))
    })
}

fn put_word(target: &mut [u8], vector: usize, lane: usize, word: u32) {
    target[vector * VECTOR_BYTES + lane * 4..][..4].copy_from_slice(&word.to_le_bytes());
}

fn place_nibbles(inputs: &[u8; BLOCK_INPUTS], lane: usize, target: &mut [u8]) {
    let words = words(inputs);
    for vector in 0..4 {
        let nibbles = (words[vector] & NIBBLES) | ((words[4 + vector] & NIBBLES) << 4);
        put_word(target, vector, lane, nibbles);
    }
}

/// What is above the low four bits: `WIDTH` bits a weight, in `WIDTH` vectors.
fn place_high_bits<const WIDTH: usize>(
    inputs: &[u8; BLOCK_INPUTS],
    lane: usize,
    target: &mut [u8],
) {
    let mut planes = [0; WIDTH];
    for (vector, word) in words(inputs).into_iter().enumerate() {
        let (plane, shift) = high_bits_place(WIDTH as u32, vector);
        planes[plane] |= ((word >> 4) & NIBBLES) << shift;
    }
    for (vector, plane) in planes.into_iter().enumerate() {
        put_word(target, vector, lane, plane);
    }
}

fn place_bytes(inputs: &[u8; BLOCK_INPUTS], lane: usize, target: &mut [u8]) {
    for (vector, word) in words(inputs).into_iter().enumerate() {
        put_word(target, vector, lane, word);
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
        ScaleEncoding::Bfloat => {
            let scale = bf16::from_f32(scales.base).to_le_bytes();
            stream[begin + lane * 2..][..2].copy_from_slice(&scale);
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
