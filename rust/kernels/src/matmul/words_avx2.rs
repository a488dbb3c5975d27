//! 16-bit integers times 16-bit integers, a tile of sixteen rows and up to four tokens at a time:
//! `vpmaddwd`, or `vpdpwssd` where AVX-VNNI has it.
//!
//! Two kinds of weights meet tokens here: 16-bit ones as the integers of `words.rs`, and 8-bit ones,
//! whose products do not fit what `vpmaddubsw` adds up in. They become words once a tile and pass by
//! all tokens from the cache; for few tokens 16-bit weights become words on the way to the product.
//! Integer sums are exact, so no result depends on which way it came about.

use std::arch::x86_64::*;

use super::convert_avx2::{
    AHEAD, VECTOR_BYTES, VECTORS, convert_bytes, convert_floats, pairs, read_scales, word_scales,
};
use super::dot_x86::{Madd, VnniWords, WordDot};
use super::output::OutputTile;
use super::rows::{QuantizedRows, TileRange};
use super::words::WordRows;
use super::words::source::{BF16, F16, WORDS};
use crate::quant::coding::{FLOATS, NONLINEAR, ODD, product_bits};
use crate::quant::{BFLOAT_SCALES, HALF_SCALES, SINGLE_SCALES, SUPER_SCALES, ScaleEncoding};
use crate::weights::{BLOCK_INPUTS, Elements, PackedMatrix, QuantLayout, TILE_ROWS};

/// Up to so many tokens, weights become words on the way.
const FEW: usize = 4;

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
    // SAFETY: AVX2, FMA and F16C are on, and the caller checked the product.
    unsafe { multiply_with(Madd::new(), matrix, rows, range, output) }
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
    // SAFETY: AVX-VNNI is on too, and the caller checked the product.
    unsafe { multiply_with(VnniWords::new(), matrix, rows, range, output) }
}

/// # Safety
///
/// As `multiply`.
#[inline(always)]
unsafe fn multiply_with<D: WordDot>(
    dot: D,
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
    // SAFETY: a tile holds a vector for every two inputs and a byte of worths for every block and row; `words`
    // and `scales`
    // begin at the range's first token.
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
                (false, true) => all_tokens::<D, F16>(dot, task, place, output),
                (false, false) => all_tokens::<D, BF16>(dot, task, place, output),
                (true, _) => {
                    if is_half {
                        convert_floats::<F16>((packed, worths), &mut scratch.words);
                    } else {
                        convert_floats::<BF16>((packed, worths), &mut scratch.words);
                    }
                    task.weights = scratch.words.as_ptr().cast();
                    all_tokens::<D, WORDS>(dot, task, place, output);
                }
            }
        }
    }
}

/// Weights whose integers have 8 bits times 8-bit activations, for many tokens; `false` where no instance fits.
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
    let bits = product_bits(layout.coding());
    if (bits, layout.groups(), layout.has_minimum) != (8, 1, false) {
        return false;
    }
    let (blocks, first) = (rows.blocks(), range.tokens.start);
    let bytes = &rows.quants[first * rows.columns()..][..range.tokens.len() * rows.columns()];
    let words: Vec<i16> = bytes.iter().map(|byte| i16::from(*byte)).collect();
    // SAFETY: a tile holds its blocks, and its scales a group for each; the activations begin at the range's first token.
    unsafe {
        let mut scratch = Scratch::new(blocks, true);
        for (index, tile) in range.tiles.clone().enumerate() {
            let (values, scales) = (matrix.tile_values(tile), matrix.tile_scales(tile));
            let factors = &mut scratch.factors;
            match layout.encoding {
                ScaleEncoding::Half => read_scales::<HALF_SCALES>(scales.as_ptr(), factors),
                ScaleEncoding::Bfloat => read_scales::<BFLOAT_SCALES>(scales.as_ptr(), factors),
                ScaleEncoding::Single => read_scales::<SINGLE_SCALES>(scales.as_ptr(), factors),
                ScaleEncoding::Super => read_scales::<SUPER_SCALES>(scales.as_ptr(), factors),
            }
            let (values, zero) = (values.as_ptr(), layout.zero);
            match layout.coding() {
                NONLINEAR => convert_bytes::<NONLINEAR>(values, zero, &mut scratch.words),
                ODD => convert_bytes::<ODD>(values, zero, &mut scratch.words),
                FLOATS => convert_bytes::<FLOATS>(values, zero, &mut scratch.words),
                _ => convert_bytes::<8>(values, zero, &mut scratch.words),
            }
            let task = WordTile {
                weights: scratch.words.as_ptr().cast(),
                worths: std::ptr::null(),
                factors: scratch.factors.as_ptr().cast(),
                blocks,
                words: words.as_ptr(),
                scales: rows.scales[first * blocks..].as_ptr(),
            };
            let place = (range.tokens.len(), index * TILE_ROWS);
            all_tokens::<Madd, WORDS>(Madd::new(), task, place, output);
        }
    }
    true
}

impl Scratch {
    /// # Safety
    ///
    /// Needs AVX2.
    #[inline(always)]
    unsafe fn new(blocks: usize, many: bool) -> Self {
        // SAFETY: one register is filled; the caller has AVX2.
        let zero = unsafe { _mm256_setzero_si256() };
        Self {
            words: vec![[zero; 2]; if many { blocks * VECTORS } else { 0 }],
            factors: vec![[0.0; TILE_ROWS]; blocks],
        }
    }
}

/// A tile with every token.
///
/// # Safety
///
/// Needs AVX2, FMA and F16C; `tokens` rows stand behind the tile's pointers, and `blocks` blocks of each stream.
#[inline(always)]
unsafe fn all_tokens<D: WordDot, const SOURCE: u8>(
    dot: D,
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
                4.. => some_tokens::<D, 4, SOURCE>(dot, task, place, output),
                3 => some_tokens::<D, 3, SOURCE>(dot, task, place, output),
                2 => some_tokens::<D, 2, SOURCE>(dot, task, place, output),
                _ => some_tokens::<D, 1, SOURCE>(dot, task, place, output),
            };
            row += step;
            task.words = task.words.add(step * task.blocks * BLOCK_INPUTS);
            task.scales = task.scales.add(step * task.blocks);
        }
    }
}

/// # Safety
///
/// As [`all_tokens`], with `TOKENS` rows.
#[inline(always)]
unsafe fn some_tokens<D: WordDot, const TOKENS: usize, const SOURCE: u8>(
    dot: D,
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
                    dots[0] = dot.add(dots[0], weights[0], inputs);
                    dots[1] = dot.add(dots[1], weights[1], inputs);
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
