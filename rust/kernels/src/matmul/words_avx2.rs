//! 16-bit integers times 16-bit integers, a tile of sixteen rows and up to four tokens at a time:
//! `vpmaddwd`, or `vpdpwssd` where AVX-VNNI has it.
//!
//! Two kinds of weights meet tokens here: 16-bit ones as the integers of `words.rs`, and 8-bit ones,
//! whose products do not fit what `vpmaddubsw` adds up in. They become words once a tile and pass by
//! all tokens from the cache; for few tokens 16-bit weights become words on the way to the product.
//! Integer sums are exact, so no result depends on which way it came about.

use std::arch::x86_64::*;

use super::output::OutputTile;
use super::rows::{QuantizedRows, TileRange};
use super::unpack_avx2::Scales;
use super::words::source::{BF16, F16, WORDS};
use super::words::{LAST_BITS, WordRows};
use crate::quant::{HALF_SCALES, SINGLE_SCALES, SUPER_SCALES, ScaleEncoding};
use crate::weights::{BLOCK_INPUTS, Elements, PackedMatrix, QuantLayout, TILE_ROWS};

/// Vectors of a block and half a tile: two inputs of eight rows each.
const VECTORS: usize = BLOCK_INPUTS / 2;
/// Bytes of two inputs of a tile.
const VECTOR_BYTES: usize = 64;
/// Up to so many tokens, weights become words on the way.
const FEW: usize = 4;
/// How far ahead of the conversion memory is asked for, in bytes.
const AHEAD: usize = 8192;

/// Products of pairs of words, added up.
///
/// # Safety
///
/// Needs the instruction set of the instance.
trait WordDot {
    unsafe fn add(sum: __m256i, weights: __m256i, inputs: __m256i) -> __m256i;
}

/// `vpmaddwd` and an addition.
struct Madd;

impl WordDot for Madd {
    #[inline(always)]
    unsafe fn add(sum: __m256i, weights: __m256i, inputs: __m256i) -> __m256i {
        // SAFETY: the caller's.
        unsafe { _mm256_add_epi32(sum, _mm256_madd_epi16(weights, inputs)) }
    }
}

/// `vpdpwssd`.
struct Vnni;

impl WordDot for Vnni {
    #[inline(always)]
    unsafe fn add(sum: __m256i, weights: __m256i, inputs: __m256i) -> __m256i {
        // SAFETY: the caller's.
        unsafe { _mm256_dpwssd_avx_epi32(sum, weights, inputs) }
    }
}

/// A tile and some tokens, as pointers.
#[derive(Clone, Copy)]
struct WordTile {
    /// Weights: as they are packed, or as words.
    weights: *const u8,
    /// What makes words of packed weights, as exponents; unused where they are words.
    worths: *const u8,
    /// What a product of a block and row is worth, `[blocks, 16]`.
    factors: *const f32,
    blocks: usize,
    words: *const i16,
    scales: *const f32,
}

/// Memory of one call.
struct Scratch {
    words: Vec<[__m256i; 2]>,
    factors: Vec<[f32; TILE_ROWS]>,
}

/// 16-bit weights times 14-bit activations, with `vpmaddwd`.
///
/// # Safety
///
/// Needs AVX2, FMA and F16C. The matrix has 16-bit weights in whole blocks, `output` the range's
/// size, the range lies inside matrix and rows, and both have the same number of columns.
#[target_feature(enable = "avx2,fma,f16c")]
pub(crate) unsafe fn multiply(
    matrix: &PackedMatrix,
    rows: &WordRows,
    range: &TileRange,
    output: &mut OutputTile<'_>,
) {
    // SAFETY: the caller's.
    unsafe { multiply_with::<Madd>(matrix, rows, range, output) }
}

/// The same with `vpdpwssd`.
///
/// # Safety
///
/// As `multiply`, and needs AVX-VNNI.
#[target_feature(enable = "avx2,fma,f16c,avxvnni")]
pub(crate) unsafe fn multiply_vnni(
    matrix: &PackedMatrix,
    rows: &WordRows,
    range: &TileRange,
    output: &mut OutputTile<'_>,
) {
    // SAFETY: the caller's.
    unsafe { multiply_with::<Vnni>(matrix, rows, range, output) }
}

#[inline(always)]
unsafe fn multiply_with<D: WordDot>(
    matrix: &PackedMatrix,
    rows: &WordRows,
    range: &TileRange,
    output: &mut OutputTile<'_>,
) {
    let (blocks, first) = (rows.blocks(), range.tokens.start);
    let words = &rows.words[first * rows.columns()..];
    let scales = &rows.scales[first * blocks..];
    let many = range.tokens.len() > FEW;
    let is_half = matrix.elements() == Elements::Half;
    // SAFETY: the caller's; a tile holds a vector for every two inputs and a byte of worths for
    // every block and row.
    unsafe {
        let mut scratch = Scratch::new(blocks, many);
        for (index, tile) in range.tiles.clone().enumerate() {
            let packed = matrix.tile_values(tile).as_ptr();
            let worths = matrix.tile_scales(tile).as_ptr();
            for (block, factors) in scratch.factors.iter_mut().enumerate() {
                for (half, factors) in factors.as_chunks_mut::<8>().0.iter_mut().enumerate() {
                    let (worth, _) = word_scales(worths.add(block * TILE_ROWS + half * 8));
                    _mm256_storeu_ps(factors.as_mut_ptr(), worth);
                }
            }
            let mut task = WordTile {
                weights: packed,
                worths,
                factors: scratch.factors.as_ptr().cast(),
                blocks,
                words: words.as_ptr(),
                scales: scales.as_ptr(),
            };
            let place = (range.tokens.len(), index * TILE_ROWS);
            match (many, is_half) {
                (false, true) => all_tokens::<D, F16>(task, place, output),
                (false, false) => all_tokens::<D, BF16>(task, place, output),
                (true, _) => {
                    if is_half {
                        convert_floats::<F16>(task, &mut scratch.words);
                    } else {
                        convert_floats::<BF16>(task, &mut scratch.words);
                    }
                    task.weights = scratch.words.as_ptr().cast();
                    all_tokens::<D, WORDS>(task, place, output);
                }
            }
        }
    }
}

/// 8-bit weights times 8-bit activations, for many tokens; `false` where no instance fits.
///
/// # Safety
///
/// Needs AVX2, FMA and F16C; else as `multiply`, but the matrix is quantized.
#[target_feature(enable = "avx2,fma,f16c")]
pub(super) unsafe fn multiply_bytes(
    matrix: &PackedMatrix,
    layout: QuantLayout,
    (rows, range): (&QuantizedRows, &TileRange),
    output: &mut OutputTile<'_>,
) -> bool {
    if (layout.bits, layout.groups(), layout.has_minimum) != (8, 1, false) {
        return false;
    }
    let (blocks, first) = (rows.blocks(), range.tokens.start);
    let bytes = &rows.quants[first * rows.columns()..][..range.tokens.len() * rows.columns()];
    let words: Vec<i16> = bytes.iter().map(|byte| i16::from(*byte)).collect();
    // SAFETY: the caller's.
    unsafe {
        let mut scratch = Scratch::new(blocks, true);
        for (index, tile) in range.tiles.clone().enumerate() {
            let (values, scales) = (matrix.tile_values(tile), matrix.tile_scales(tile));
            let factors = &mut scratch.factors;
            match layout.encoding {
                ScaleEncoding::Half => read_scales::<HALF_SCALES>(scales.as_ptr(), factors),
                ScaleEncoding::Single => read_scales::<SINGLE_SCALES>(scales.as_ptr(), factors),
                ScaleEncoding::Super => read_scales::<SUPER_SCALES>(scales.as_ptr(), factors),
            }
            convert_bytes(values.as_ptr(), layout.zero, &mut scratch.words);
            let task = WordTile {
                weights: scratch.words.as_ptr().cast(),
                worths: std::ptr::null(),
                factors: scratch.factors.as_ptr().cast(),
                blocks,
                words: words.as_ptr(),
                scales: rows.scales[first * blocks..].as_ptr(),
            };
            let place = (range.tokens.len(), index * TILE_ROWS);
            all_tokens::<Madd, WORDS>(task, place, output);
        }
    }
    true
}

impl Scratch {
    #[inline(always)]
    unsafe fn new(blocks: usize, many: bool) -> Self {
        // SAFETY: the caller has the instruction set.
        let zero = unsafe { _mm256_setzero_si256() };
        Self {
            words: vec![[zero; 2]; if many { blocks * VECTORS } else { 0 }],
            factors: vec![[0.0; TILE_ROWS]; blocks],
        }
    }
}

/// The scales of a tile.
#[inline(always)]
unsafe fn read_scales<const ENCODING: u8>(stream: *const u8, factors: &mut [[f32; TILE_ROWS]]) {
    for half in 0..2 {
        // SAFETY: the caller's; the stream has a group for every block.
        unsafe {
            let mut scales = Scales::<ENCODING, false>::new(stream, half);
            for (block, factors) in factors.iter_mut().enumerate() {
                scales.begin_block(block);
                let (scale, _) = scales.next_group();
                _mm256_storeu_ps(factors[half * 8..].as_mut_ptr(), scale);
            }
        }
    }
}

/// Makes words of a tile of bytes, which stand in fours of a row.
#[inline(always)]
unsafe fn convert_bytes(values: *const u8, zero: u8, words: &mut [[__m256i; 2]]) {
    // SAFETY: the caller's; four inputs of a tile are 64 bytes and make two vectors.
    unsafe {
        let zero = _mm256_set1_epi16(i16::from(zero));
        let first = _mm256_set1_epi64x(i64::from_le_bytes([0, 255, 1, 255, 4, 255, 5, 255]));
        let second = _mm256_set1_epi64x(i64::from_le_bytes([8, 255, 9, 255, 12, 255, 13, 255]));
        let even = _mm256_unpacklo_epi64(first, second);
        let odd = _mm256_add_epi8(even, _mm256_set1_epi16(2));
        for (four, pair) in words.as_chunks_mut::<2>().0.iter_mut().enumerate() {
            let source = values.add(four * VECTOR_BYTES);
            _mm_prefetch::<_MM_HINT_T0>(source.wrapping_add(AHEAD).cast());
            for half in 0..2 {
                let bytes = _mm256_loadu_si256(source.add(half * 32).cast());
                for (word, order) in pair.iter_mut().zip([even, odd]) {
                    word[half] = _mm256_sub_epi16(_mm256_shuffle_epi8(bytes, order), zero);
                }
            }
        }
    }
}

/// Makes words of a tile of 16-bit weights.
#[inline(always)]
unsafe fn convert_floats<const SOURCE: u8>(task: WordTile, words: &mut [[__m256i; 2]]) {
    for (block, words) in words.as_chunks_mut::<VECTORS>().0.iter_mut().enumerate() {
        for half in 0..2 {
            // SAFETY: the caller's; the tile has as many blocks of packed weights as of words.
            unsafe {
                let (_, scale) = word_scales(task.worths.add(block * TILE_ROWS + half * 8));
                for (vector, word) in words.iter_mut().enumerate() {
                    let source = task.weights.add((block * VECTORS + vector) * VECTOR_BYTES);
                    _mm_prefetch::<_MM_HINT_T0>(source.wrapping_add(AHEAD).cast());
                    word[half] = pairs::<SOURCE>(source, half, scale);
                }
            }
        }
    }
}

/// What the words of eight rows are worth, and what makes words of their weights.
#[inline(always)]
unsafe fn word_scales(worths: *const u8) -> (__m256, __m256) {
    // SAFETY: the caller's; eight bytes are read.
    unsafe {
        let exponents = _mm256_cvtepu8_epi32(_mm_loadl_epi64(worths.cast()));
        let inverse = _mm256_sub_epi32(_mm256_set1_epi32(254), exponents);
        let power = |exponents| _mm256_castsi256_ps(_mm256_slli_epi32::<23>(exponents));
        (power(exponents), power(inverse))
    }
}

/// Two inputs of eight rows as pairs of words.
#[inline(always)]
unsafe fn pairs<const SOURCE: u8>(source: *const u8, half: usize, scale: __m256) -> __m256i {
    // SAFETY: the caller's; an input is sixteen rows of two bytes, a pair of words eight of four.
    unsafe {
        if SOURCE == WORDS {
            return _mm256_loadu_si256(source.add(half * 32).cast());
        }
        let word = |input: usize| {
            let bits = _mm_loadu_si128(source.add(input * 32 + half * 16).cast());
            let value = if SOURCE == F16 {
                _mm256_cvtph_ps(bits)
            } else {
                _mm256_castsi256_ps(_mm256_slli_epi32::<16>(_mm256_cvtepu16_epi32(bits)))
            };
            // The sum's last bits are the integer, rounded to even.
            _mm256_castps_si256(_mm256_fmadd_ps(value, scale, _mm256_set1_ps(LAST_BITS)))
        };
        _mm256_blend_epi16::<0b1010_1010>(word(0), _mm256_slli_epi32::<16>(word(1)))
    }
}

/// A tile with every token.
#[inline(always)]
unsafe fn all_tokens<D: WordDot, const SOURCE: u8>(
    mut task: WordTile,
    (tokens, column): (usize, usize),
    output: &mut OutputTile<'_>,
) {
    let mut row = 0;
    while row < tokens {
        let place = (row, column);
        // SAFETY: each step covers tokens that are left, and moves the pointers past them.
        unsafe {
            let step = match tokens - row {
                4.. => some_tokens::<D, 4, SOURCE>(task, place, output),
                3 => some_tokens::<D, 3, SOURCE>(task, place, output),
                2 => some_tokens::<D, 2, SOURCE>(task, place, output),
                _ => some_tokens::<D, 1, SOURCE>(task, place, output),
            };
            row += step;
            task.words = task.words.add(step * task.blocks * BLOCK_INPUTS);
            task.scales = task.scales.add(step * task.blocks);
        }
    }
}

#[inline(always)]
unsafe fn some_tokens<D: WordDot, const TOKENS: usize, const SOURCE: u8>(
    task: WordTile,
    (row, column): (usize, usize),
    output: &mut OutputTile<'_>,
) -> usize {
    let columns = task.blocks * BLOCK_INPUTS;
    // SAFETY: the tile holds `blocks` blocks, the activation pointers `TOKENS` rows.
    unsafe {
        let mut sums = [[_mm256_setzero_ps(); 2]; TOKENS];
        for block in 0..task.blocks {
            let mut dots = [[_mm256_setzero_si256(); 2]; TOKENS];
            let mut scales = [_mm256_setzero_ps(); 2];
            if SOURCE != WORDS {
                for (half, scale) in scales.iter_mut().enumerate() {
                    (_, *scale) = word_scales(task.worths.add(block * TILE_ROWS + half * 8));
                }
            }
            for vector in 0..VECTORS {
                let source = task.weights.add((block * VECTORS + vector) * VECTOR_BYTES);
                if SOURCE != WORDS {
                    _mm_prefetch::<_MM_HINT_T0>(source.wrapping_add(AHEAD).cast());
                }
                let weights = [
                    pairs::<SOURCE>(source, 0, scales[0]),
                    pairs::<SOURCE>(source, 1, scales[1]),
                ];
                for (token, dots) in dots.iter_mut().enumerate() {
                    let inputs = task.words.add(token * columns + block * BLOCK_INPUTS);
                    let inputs = inputs.cast::<i32>().add(vector).read_unaligned();
                    let inputs = _mm256_set1_epi32(inputs);
                    dots[0] = D::add(dots[0], weights[0], inputs);
                    dots[1] = D::add(dots[1], weights[1], inputs);
                }
            }
            for (token, (sums, dots)) in sums.iter_mut().zip(dots).enumerate() {
                let scale = _mm256_set1_ps(*task.scales.add(token * task.blocks + block));
                for (half, (sum, dot)) in sums.iter_mut().zip(dots).enumerate() {
                    let factor = task.factors.add(block * TILE_ROWS + half * 8);
                    let factor = _mm256_mul_ps(_mm256_loadu_ps(factor), scale);
                    *sum = _mm256_fmadd_ps(_mm256_cvtepi32_ps(dot), factor, *sum);
                }
            }
        }
        for (token, sums) in sums.into_iter().enumerate() {
            let mut lanes = [0.0; TILE_ROWS];
            _mm256_storeu_ps(lanes.as_mut_ptr(), sums[0]);
            _mm256_storeu_ps(lanes[8..].as_mut_ptr(), sums[1]);
            output.put(row + token, column, &lanes);
        }
    }
    TOKENS
}
