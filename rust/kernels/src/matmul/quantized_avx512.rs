//! Packed integers times 8-bit activations with `vpdpbusd`: a lane is an output row.
//!
//! Two tiles, so 32 rows, meet up to six tokens at a time: four activation bytes are broadcast once
//! for both, a weight vector is unpacked once for all tokens, and the 24 accumulators stay in
//! registers. A weight is `scale * (integer - zero) + minimum`; a zero point starts the integer
//! product at `-zero * sum of the activations`, a minimum is one multiply-add with that sum. What
//! happens to a token's numbers is the same in the same order whatever stands beside it.

use std::arch::x86_64::*;

use super::output::OutputTile;
use super::rows::{QuantizedRows, TileRange};
use super::unpack_avx512::{Scales, weights};
use crate::pack::{Elements, PackedMatrix, QuantLayout, TILE_ROWS};
use crate::quant::ScaleEncoding;

pub(super) const HALF: u8 = 0;
pub(super) const SINGLE: u8 = 1;
pub(super) const SUPER: u8 = 2;

/// Tokens that pass over one tile together, in one pass where there are no more.
const FEW: usize = 8;

/// How far ahead of one tile's weights memory is asked for, in bytes; two tiles ask for the next two.
const AHEAD: usize = 8192;

/// One or two tiles and some tokens, as pointers.
#[derive(Clone, Copy)]
struct TileTask {
    values: *const u8,
    scales: *const u8,
    /// Bytes from one tile to the next.
    value_bytes: usize,
    scale_bytes: usize,
    blocks: usize,
    /// Log of the zero point.
    zero_shift: __m128i,
    /// How far ahead of the weights memory is asked for, in bytes; 0 where they are in the cache.
    ahead: usize,
    quants: *const i8,
    activation_scales: *const f32,
    activation_sums: *const f32,
    activation_debts: *const i32,
    output: *mut f32,
    output_stride: usize,
    /// Rows of the last tile, and whether results are added.
    last_lanes: __mmask16,
    adds: bool,
}

/// Multiplies the range; `false` where no instance fits the layout.
///
/// # Safety
///
/// Needs AVX-512 F, BW, VL and VNNI. `output` has the range's size, the range lies inside matrix
/// and rows, and both have the same number of columns (checked by `Native`).
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni,avx2,fma,f16c")]
pub(crate) unsafe fn multiply(
    matrix: &PackedMatrix,
    rows: &QuantizedRows,
    range: &TileRange,
    output: &mut OutputTile<'_>,
) -> bool {
    let Elements::Quantized(layout) = matrix.elements() else {
        return false;
    };
    let key = (
        layout.bits,
        layout.groups(),
        layout.encoding,
        layout.has_minimum,
    );
    let multiply_tiles = match key {
        (4, 1, ScaleEncoding::Half, false) => both::<4, 1, HALF, false>(),
        (4, 1, ScaleEncoding::Half, true) => both::<4, 1, HALF, true>(),
        (4, 1, ScaleEncoding::Super, true) => both::<4, 1, SUPER, true>(),
        (4, 2, ScaleEncoding::Super, false) => both::<4, 2, SUPER, false>(),
        (4, 2, ScaleEncoding::Super, true) => both::<4, 2, SUPER, true>(),
        (5, 1, ScaleEncoding::Half, false) => both::<5, 1, HALF, false>(),
        (5, 1, ScaleEncoding::Half, true) => both::<5, 1, HALF, true>(),
        (5, 1, ScaleEncoding::Super, true) => both::<5, 1, SUPER, true>(),
        (6, 2, ScaleEncoding::Super, false) => both::<6, 2, SUPER, false>(),
        (8, 1, ScaleEncoding::Half, false) => both::<8, 1, HALF, false>(),
        (8, 1, ScaleEncoding::Single, false) => both::<8, 1, SINGLE, false>(),
        (8, 1, ScaleEncoding::Super, false) => both::<8, 1, SUPER, false>(),
        _ => return false,
    };
    // SAFETY: the caller's contract.
    unsafe { for_each_pair(matrix, layout, (rows, range), output, multiply_tiles) };
    true
}

type MultiplyTiles = unsafe fn(TileTask, usize, (usize, usize));

/// The instances for one tile and for two.
fn both<const BITS: u32, const GROUPS: usize, const ENCODING: u8, const MINIMUM: bool>()
-> [MultiplyTiles; 2] {
    [
        all_tokens::<1, BITS, GROUPS, ENCODING, MINIMUM>,
        all_tokens::<2, BITS, GROUPS, ENCODING, MINIMUM>,
    ]
}

/// # Safety
///
/// As `multiply`.
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni,avx2,fma,f16c")]
unsafe fn for_each_pair(
    matrix: &PackedMatrix,
    layout: QuantLayout,
    (rows, range): (&QuantizedRows, &TileRange),
    output: &mut OutputTile<'_>,
    multiply_tiles: [MultiplyTiles; 2],
) {
    let blocks = rows.blocks();
    let groups = layout.groups();
    let (sums, debts) = if groups == 1 {
        (&rows.block_sums, &rows.block_debts)
    } else {
        (&rows.half_sums, &rows.half_debts)
    };
    let first = range.tokens.start;
    let mut tile = range.tiles.start;
    while tile < range.tiles.end {
        // Few tokens wait for memory: one stream, read once, is what comes fastest.
        let pair = range.tokens.len() > FEW && tile + 1 < range.tiles.end;
        let tiles = 1 + usize::from(pair);
        let column = (tile - range.tiles.start) * TILE_ROWS;
        let left = output.columns() - column;
        let last_lanes = (left - (tiles - 1) * TILE_ROWS).min(TILE_ROWS);
        // SAFETY: the pointers begin at the range's first token and this tile; the range is inside.
        unsafe {
            let task = TileTask {
                values: matrix.tile_values(tile).as_ptr(),
                scales: matrix.tile_scales(tile).as_ptr(),
                value_bytes: matrix.tile_values(tile).len(),
                scale_bytes: matrix.tile_scales(tile).len(),
                blocks,
                zero_shift: _mm_cvtsi32_si128(layout.zero.max(1).trailing_zeros() as i32),
                ahead: AHEAD.max((tiles - 1) * 2 * matrix.tile_values(tile).len()),
                quants: rows.quants[first * rows.columns()..].as_ptr(),
                activation_scales: rows.scales[first * blocks..].as_ptr(),
                activation_sums: sums[first * blocks * groups..].as_ptr(),
                activation_debts: debts[first * blocks * groups..].as_ptr(),
                output: output.as_mut_ptr().add(column),
                output_stride: output.stride(),
                last_lanes: ((1u32 << last_lanes) - 1) as __mmask16,
                adds: output.adds(),
            };
            let widths = (rows.columns(), blocks * groups);
            multiply_tiles[tiles - 1](task, range.tokens.len(), widths);
        }
        tile += tiles;
    }
}

/// Six tokens at a time, then what is left.
///
/// # Safety
///
/// As `multiply`, with `tokens` rows and `TILES` tiles behind the task's pointers.
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni,avx2,fma,f16c")]
unsafe fn all_tokens<
    const TILES: usize,
    const BITS: u32,
    const GROUPS: usize,
    const ENCODING: u8,
    const MINIMUM: bool,
>(
    mut task: TileTask,
    tokens: usize,
    (columns, sums_stride): (usize, usize),
) {
    let mut left = tokens;
    // SAFETY: each step covers tokens that are left, and moves the pointers past them.
    unsafe {
        while left > 0 {
            let step = match left {
                8 if TILES == 1 => {
                    some_tokens::<TILES, FEW, BITS, GROUPS, ENCODING, MINIMUM>(task, columns)
                }
                4 | 7 | 8 => {
                    some_tokens::<TILES, 4, BITS, GROUPS, ENCODING, MINIMUM>(task, columns)
                }
                6.. => some_tokens::<TILES, 6, BITS, GROUPS, ENCODING, MINIMUM>(task, columns),
                3 | 5 => some_tokens::<TILES, 3, BITS, GROUPS, ENCODING, MINIMUM>(task, columns),
                2 => some_tokens::<TILES, 2, BITS, GROUPS, ENCODING, MINIMUM>(task, columns),
                _ => some_tokens::<TILES, 1, BITS, GROUPS, ENCODING, MINIMUM>(task, columns),
            };
            left -= step;
            task.ahead = 0;
            task.quants = task.quants.add(step * columns);
            task.activation_scales = task.activation_scales.add(step * task.blocks);
            task.activation_sums = task.activation_sums.add(step * sums_stride);
            task.activation_debts = task.activation_debts.add(step * sums_stride);
            task.output = task.output.add(step * task.output_stride);
        }
    }
}

/// # Safety
///
/// As `multiply`, with `TOKENS` rows and `TILES` tiles behind the task's pointers.
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni,avx2,fma,f16c")]
unsafe fn some_tokens<
    const TILES: usize,
    const TOKENS: usize,
    const BITS: u32,
    const GROUPS: usize,
    const ENCODING: u8,
    const MINIMUM: bool,
>(
    task: TileTask,
    columns: usize,
) -> usize {
    let mut sums = [[_mm512_setzero_ps(); TILES]; TOKENS];
    // SAFETY: the streams of each tile hold `blocks` blocks, the activation pointers `TOKENS` rows.
    unsafe {
        let mut scales = [Scales::<ENCODING, MINIMUM>::new(task.scales); TILES];
        if TILES == 2 {
            scales[1] = Scales::new(task.scales.add(task.scale_bytes));
        }
        for block in 0..task.blocks {
            let mut values = [task.values.add(block * 64 * BITS as usize); TILES];
            if TILES == 2 {
                values[1] = values[0].add(task.value_bytes);
            }
            fetch::<TILES, BITS>(&values, task.ahead);
            for scales in &mut scales {
                scales.begin_block(block);
            }
            let quants = task.quants.add(block * 32);
            for group in 0..GROUPS {
                let mut dots = [[_mm512_setzero_si512(); TILES]; TOKENS];
                let place = |token: usize| (token * task.blocks + block) * GROUPS + group;
                if !MINIMUM {
                    for (token, dots) in dots.iter_mut().enumerate() {
                        let debt = _mm512_set1_epi32(*task.activation_debts.add(place(token)));
                        *dots = [_mm512_sll_epi32(debt, task.zero_shift); TILES];
                    }
                }
                if GROUPS == 1 || group == 0 {
                    add_step::<TILES, TOKENS, BITS, 0>(&values, (quants, columns), &mut dots);
                    add_step::<TILES, TOKENS, BITS, 1>(&values, (quants, columns), &mut dots);
                    add_step::<TILES, TOKENS, BITS, 2>(&values, (quants, columns), &mut dots);
                    add_step::<TILES, TOKENS, BITS, 3>(&values, (quants, columns), &mut dots);
                }
                if GROUPS == 1 || group == 1 {
                    add_step::<TILES, TOKENS, BITS, 4>(&values, (quants, columns), &mut dots);
                    add_step::<TILES, TOKENS, BITS, 5>(&values, (quants, columns), &mut dots);
                    add_step::<TILES, TOKENS, BITS, 6>(&values, (quants, columns), &mut dots);
                    add_step::<TILES, TOKENS, BITS, 7>(&values, (quants, columns), &mut dots);
                }
                let mut scaled = [(_mm512_setzero_ps(), _mm512_setzero_ps()); TILES];
                for (scaled, scales) in scaled.iter_mut().zip(&mut scales) {
                    *scaled = scales.next_group();
                }
                for token in 0..TOKENS {
                    let factor = *task.activation_scales.add(token * task.blocks + block);
                    let offset = *task.activation_sums.add(place(token));
                    for tile in 0..TILES {
                        let dot = _mm512_cvtepi32_ps(dots[token][tile]);
                        let (scale, minimum) = scaled[tile];
                        let factor = _mm512_mul_ps(scale, _mm512_set1_ps(factor));
                        let sum = &mut sums[token][tile];
                        *sum = _mm512_fmadd_ps(dot, factor, *sum);
                        if MINIMUM {
                            *sum = _mm512_fmadd_ps(minimum, _mm512_set1_ps(offset), *sum);
                        }
                    }
                }
            }
        }
        store(&task, sums);
    }
    TOKENS
}

/// Asks for the block that stands `ahead` bytes further.
#[inline]
#[target_feature(enable = "avx512f")]
fn fetch<const TILES: usize, const BITS: u32>(values: &[*const u8; TILES], ahead: usize) {
    if ahead > 0 {
        for values in values {
            for line in 0..BITS as usize {
                let address = values.wrapping_add(ahead + line * 64);
                _mm_prefetch::<_MM_HINT_T0>(address.cast());
            }
        }
    }
}

/// Writes the results, or adds them to what is there.
///
/// # Safety
///
/// The task's output has `TOKENS` rows of `TILES` tiles, the last one of `last_lanes`.
#[inline]
#[target_feature(enable = "avx512f")]
unsafe fn store<const TILES: usize, const TOKENS: usize>(
    task: &TileTask,
    sums: [[__m512; TILES]; TOKENS],
) {
    for (token, sums) in sums.into_iter().enumerate() {
        for (tile, mut sum) in sums.into_iter().enumerate() {
            let lanes = if tile + 1 == TILES {
                task.last_lanes
            } else {
                __mmask16::MAX
            };
            // SAFETY: the caller's.
            unsafe {
                let target = task
                    .output
                    .add(token * task.output_stride + tile * TILE_ROWS);
                if task.adds {
                    sum = _mm512_add_ps(_mm512_maskz_loadu_ps(lanes, target), sum);
                }
                _mm512_mask_storeu_ps(target, lanes, sum);
            }
        }
    }
}

/// Adds the products of four inputs of every row and token.
///
/// # Safety
///
/// `values` stand at a block of each tile, `quants` at the block of the first token.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vnni")]
unsafe fn add_step<const TILES: usize, const TOKENS: usize, const BITS: u32, const STEP: usize>(
    values: &[*const u8; TILES],
    (quants, columns): (*const i8, usize),
    dots: &mut [[__m512i; TILES]; TOKENS],
) {
    // SAFETY: the caller's.
    unsafe {
        let mut vectors = [_mm512_setzero_si512(); TILES];
        for (vector, values) in vectors.iter_mut().zip(values) {
            *vector = weights::<BITS, STEP>(*values);
        }
        for (token, dots) in dots.iter_mut().enumerate() {
            let four = quants.add(token * columns + 4 * STEP).cast::<i32>();
            let inputs = _mm512_set1_epi32(four.read_unaligned());
            for (dot, vector) in dots.iter_mut().zip(vectors) {
                *dot = _mm512_dpbusd_epi32(*dot, vector, inputs);
            }
        }
    }
}
