//! 16-bit weights as 14-bit integers times 14-bit activations with `vpdpwssd`.
//!
//! Weights become integers (see `words.rs`) in the order of the products: each lane two consecutive
//! inputs of a row. For few tokens that happens in registers, on the way to the product; for many, in
//! panels of two tiles and a few blocks, which stay in the first cache while up to six tokens at a time
//! pass by. Sums between panels are kept as they are, so no bit depends on the panels.

use std::arch::asm;
use std::arch::x86_64::*;
use std::ops::Range;

use super::destination_avx512::Destination;
use super::output::OutputTile;
use super::rows::TileRange;
use super::words::source::{BF16, F16, WORDS};
use super::words::{LAST_BITS, WordRows};
use crate::weights::{BLOCK_INPUTS, Elements, PackedMatrix, TILE_ROWS, VECTOR_BYTES};

/// Vectors of a block: two inputs of sixteen rows each.
const VECTORS: usize = BLOCK_INPUTS / 2;
/// Tokens that meet one tile at a time where there are no more.
const FEW: usize = 8;
/// Tokens that meet two tiles at a time.
const MANY: usize = 6;
/// How far ahead of the conversion memory is asked for, in bytes.
const AHEAD: usize = 8192;

/// Blocks of a panel: words of two tiles take half of the first cache, beside a block of some tokens.
const PANEL: usize = 8;

/// Some blocks of some tiles and some tokens, as pointers.
#[derive(Clone, Copy)]
struct WordTiles {
    /// Weights of the first tile: as they are packed, or as words.
    weights: *const u8,
    /// What a word is worth, as exponents.
    worths: *const u8,
    /// Bytes from one tile to the next.
    weight_bytes: usize,
    worth_bytes: usize,
    blocks: usize,
    /// Blocks of a row of activations.
    row_blocks: usize,
    words: *const i16,
    scales: *const f32,
    /// `[tokens, tiles]`: the sums over the blocks before, or over these.
    sums: *mut __m512,
    /// Whether there are blocks before these, and whether there are none behind.
    goes_on: bool,
    ends: bool,
    /// Packed weights of the first tile that become words next, and the lines of them that each block asks memory for.
    next: *const u8,
    next_bytes: usize,
    next_lines: usize,
    destination: Destination,
}

impl WordTiles {
    /// Asks memory for a block's share of what becomes words next.
    #[inline(always)]
    fn ask_ahead(&self, tiles: usize, block: usize) {
        for line in block * self.next_lines..(block + 1) * self.next_lines {
            let line = self.next.wrapping_add(line * VECTOR_BYTES);
            for tile in 0..tiles {
                // SAFETY: every x86-64 processor has the instruction, which may name any address.
                unsafe {
                    _mm_prefetch::<_MM_HINT_T1>(line.wrapping_add(tile * self.next_bytes).cast());
                }
            }
        }
    }
}

/// Multiplies the range.
///
/// # Safety
///
/// Needs AVX-512 F, BW, DQ, VL and VNNI. The matrix has 16-bit weights in whole blocks, `output`
/// the range's size, the range lies inside matrix and rows, and both have the same number of
/// columns.
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni,avx2,fma,f16c")]
pub(crate) unsafe fn multiply(
    matrix: &PackedMatrix,
    rows: &WordRows,
    range: &TileRange,
    output: &mut OutputTile<'_>,
) {
    let (tokens, row_blocks) = (range.tokens.len(), rows.blocks());
    let many = tokens > FEW;
    let room = if many { 2 * PANEL * VECTORS } else { 0 };
    let mut panel = vec![_mm512_setzero_si512(); room];
    let mut sums = vec![[_mm512_setzero_ps(); 2]; if many { tokens } else { 0 }];
    let size = if many { PANEL } else { row_blocks.max(1) };
    let mut tile = range.tiles.start;
    while tile < range.tiles.end {
        let tiles = 1 + usize::from(many && tile + 1 < range.tiles.end);
        let column = (tile - range.tiles.start) * TILE_ROWS;
        let (packed, worths) = (matrix.tile_values(tile), matrix.tile_scales(tile));
        for first in (0..row_blocks).step_by(size) {
            let blocks = first..row_blocks.min(first + size);
            if many {
                for index in 0..tiles {
                    convert(matrix, tile + index, &blocks, (&mut panel[index..], tiles));
                }
            }
            let (weights, weight_bytes) = if many {
                (panel.as_ptr().cast(), VECTOR_BYTES)
            } else {
                (packed.as_ptr(), packed.len())
            };
            let place = range.tokens.start * row_blocks + first;
            let task = WordTiles {
                weights,
                worths: worths[first * TILE_ROWS..].as_ptr(),
                weight_bytes,
                worth_bytes: worths.len(),
                blocks: blocks.len(),
                row_blocks,
                words: rows.words[place * BLOCK_INPUTS..].as_ptr(),
                scales: rows.scales[place..].as_ptr(),
                sums: sums.as_mut_ptr().cast(),
                next: next_panel(matrix, (tile, tiles), blocks.end),
                next_bytes: packed.len(),
                next_lines: (PANEL * VECTORS).div_ceil(tokens.div_ceil(MANY).max(1) * PANEL),
                goes_on: first > 0,
                ends: blocks.end == row_blocks,
                destination: Destination::new(output, column, tiles),
            };
            // SAFETY: the pointers begin at the range's first token and this tile; the range is inside.
            unsafe {
                match (matrix.elements(), tiles) {
                    (_, 2) => all_tokens::<2, WORDS>(task, tokens),
                    _ if many => all_tokens::<1, WORDS>(task, tokens),
                    (Elements::Half, _) => all_tokens::<1, F16>(task, tokens),
                    _ => all_tokens::<1, BF16>(task, tokens),
                }
            }
        }
        tile += tiles;
    }
}

/// Where what becomes words after `block` of some tiles begins: the next panel, or the first of the next tiles.
fn next_panel(matrix: &PackedMatrix, (tile, tiles): (usize, usize), block: usize) -> *const u8 {
    let packed = matrix.tile_values(tile);
    let offset = block * VECTORS * VECTOR_BYTES;
    let skipped = if offset < packed.len() { 0 } else { tiles - 1 };
    packed
        .as_ptr()
        .wrapping_add(offset + skipped * packed.len())
}

/// Makes integers of some blocks of a tile.
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,f16c")]
fn convert(
    matrix: &PackedMatrix,
    tile: usize,
    blocks: &Range<usize>,
    (panel, tiles): (&mut [__m512i], usize),
) {
    let packed = matrix.tile_values(tile).as_ptr();
    let worths = matrix.tile_scales(tile).as_chunks::<TILE_ROWS>().0;
    let half = matrix.elements() == Elements::Half;
    for (block, words) in blocks.clone().zip(panel.chunks_mut(tiles * VECTORS)) {
        // SAFETY: sixteen bytes; the tile has as many blocks of packed weights as of worths.
        unsafe {
            let (_, scale) = word_scales(worths[block].as_ptr());
            for (vector, word) in words.iter_mut().step_by(tiles).enumerate() {
                let source = packed.add((block * VECTORS + vector) * VECTOR_BYTES);
                *word = if half {
                    pairs::<F16>(source, scale)
                } else {
                    pairs::<BF16>(source, scale)
                };
            }
        }
    }
}

/// What the words of sixteen rows are worth, and what makes words of their weights.
///
/// # Safety
///
/// `worths` are sixteen bytes.
#[inline]
#[target_feature(enable = "avx512f")]
unsafe fn word_scales(worths: *const u8) -> (__m512, __m512) {
    // SAFETY: the caller gives sixteen bytes to read.
    let exponents = unsafe { _mm512_cvtepu8_epi32(_mm_loadu_si128(worths.cast())) };
    let inverse = _mm512_sub_epi32(_mm512_set1_epi32(254), exponents);
    let power = |exponents| _mm512_castsi512_ps(_mm512_slli_epi32::<23>(exponents));
    (power(exponents), power(inverse))
}

/// Two inputs of sixteen rows as pairs of words.
///
/// # Safety
///
/// `source` is valid for 64 bytes.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,f16c")]
unsafe fn pairs<const SOURCE: u8>(source: *const u8, scale: __m512) -> __m512i {
    // SAFETY: the caller gives 64 bytes to read: two inputs of sixteen rows, or words of them.
    unsafe {
        if SOURCE == WORDS {
            return _mm512_loadu_si512(source.cast());
        }
        let word = |bits: *const u8| {
            let bits = _mm256_loadu_si256(bits.cast());
            let value = if SOURCE == F16 {
                _mm512_cvtph_ps(bits)
            } else {
                _mm512_castsi512_ps(_mm512_slli_epi32::<16>(_mm512_cvtepu16_epi32(bits)))
            };
            // The sum's last bits are the integer, rounded to even.
            _mm512_castps_si512(_mm512_fmadd_ps(value, scale, _mm512_set1_ps(LAST_BITS)))
        };
        let odd = _mm512_slli_epi32::<16>(word(source.add(32)));
        _mm512_mask_mov_epi16(word(source), 0xaaaa_aaaa, odd)
    }
}

/// # Safety
///
/// As `multiply`, with `tokens` rows behind the task's pointers and `TILES` tiles.
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni,avx2,fma,f16c")]
unsafe fn all_tokens<const TILES: usize, const SOURCE: u8>(mut task: WordTiles, tokens: usize) {
    let mut left = tokens;
    // SAFETY: each step covers tokens that are left, and moves the pointers past them.
    unsafe {
        while left > 0 {
            let step = match left {
                8 if TILES == 1 => some_tokens::<TILES, FEW, SOURCE>(task),
                4 | 7 | 8 => some_tokens::<TILES, 4, SOURCE>(task),
                MANY.. => some_tokens::<TILES, MANY, SOURCE>(task),
                3 | 5 => some_tokens::<TILES, 3, SOURCE>(task),
                2 => some_tokens::<TILES, 2, SOURCE>(task),
                _ => some_tokens::<TILES, 1, SOURCE>(task),
            };
            left -= step;
            task.words = task.words.add(step * task.row_blocks * BLOCK_INPUTS);
            task.scales = task.scales.add(step * task.row_blocks);
            task.sums = task.sums.wrapping_add(step * TILES);
            task.next = task
                .next
                .wrapping_add(PANEL * task.next_lines * VECTOR_BYTES);
            task.destination = task.destination.after(step);
        }
    }
}

/// # Safety
///
/// As `all_tokens`, with `TOKENS` rows.
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni,avx2,fma,f16c")]
unsafe fn some_tokens<const TILES: usize, const TOKENS: usize, const SOURCE: u8>(
    task: WordTiles,
) -> usize {
    let columns = task.row_blocks * BLOCK_INPUTS;
    // Two tiles are words of a panel, a vector of each in turn.
    let vector_bytes = TILES * VECTOR_BYTES;
    let kept = task.sums.cast::<[[__m512; TILES]; TOKENS]>();
    // SAFETY: each tile holds `blocks` blocks, the activation pointers `TOKENS` rows; where blocks stand before or
    // behind, so many sums do.
    unsafe {
        let mut sums = if task.goes_on {
            kept.read()
        } else {
            [[_mm512_setzero_ps(); TILES]; TOKENS]
        };
        for block in 0..task.blocks {
            let mut dots = [[_mm512_setzero_si512(); TILES]; TOKENS];
            let mut worths = [_mm512_setzero_ps(); TILES];
            let mut scales = [_mm512_setzero_ps(); TILES];
            for tile in 0..TILES {
                let place = task.worths.add(tile * task.worth_bytes + block * TILE_ROWS);
                (worths[tile], scales[tile]) = word_scales(place);
            }
            if SOURCE == WORDS {
                task.ask_ahead(TILES, block);
            }
            for vector in 0..VECTORS {
                let weights = task.weights.add((block * VECTORS + vector) * vector_bytes);
                if SOURCE != WORDS {
                    _mm_prefetch::<_MM_HINT_T0>(weights.wrapping_add(AHEAD).cast());
                }
                let mut words = [_mm512_setzero_si512(); TILES];
                for tile in 0..TILES {
                    let weights = weights.add(tile * task.weight_bytes);
                    words[tile] = pairs::<SOURCE>(weights, scales[tile]);
                }
                for (token, dots) in dots.iter_mut().enumerate() {
                    let inputs = task.words.add(token * columns + block * BLOCK_INPUTS);
                    let inputs = inputs.cast::<i32>().add(vector).read_unaligned();
                    for (dot, words) in dots.iter_mut().zip(words) {
                        *dot = add_pairs::<SOURCE>(*dot, words, _mm512_set1_epi32(inputs));
                    }
                }
            }
            for token in 0..TOKENS {
                let factor = _mm512_set1_ps(*task.scales.add(token * task.row_blocks + block));
                for tile in 0..TILES {
                    let factor = _mm512_mul_ps(worths[tile], factor);
                    let dot = _mm512_cvtepi32_ps(dots[token][tile]);
                    sums[token][tile] = _mm512_fmadd_ps(dot, factor, sums[token][tile]);
                }
            }
        }
        if task.ends {
            task.destination.store(sums);
        } else {
            kept.write(sums);
        }
    }
    TOKENS
}

/// Adds to each lane the products of its two words.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vnni")]
fn add_pairs<const SOURCE: u8>(dots: __m512i, words: __m512i, inputs: __m512i) -> __m512i {
    if SOURCE != WORDS {
        return _mm512_dpwssd_epi32(dots, words, inputs);
    }
    let mut sums = dots;
    // The compiler takes the intrinsic apart into a product and a sum, which are ready sooner. That is good for few
    // tokens; the sums of many never wait for one another, and a second instruction costs a quarter of the rate.
    // SAFETY: only registers are touched, by an instruction that the features have.
    unsafe {
        asm!(
            "vpdpwssd {sums}, {words}, {inputs}",
            sums = inout(zmm_reg) sums,
            words = in(zmm_reg) words,
            inputs = in(zmm_reg) inputs,
            options(pure, nomem, nostack, preserves_flags),
        );
    }
    sums
}
