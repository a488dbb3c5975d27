//! Packed integers times 8-bit activations with `vpdpbusd`: a lane is an output row.
//!
//! For each block of 32 inputs the weights of 16 rows are unpacked once and meet up to twelve
//! tokens, whose four activation bytes are broadcast. A weight is `scale * (integer - zero) +
//! minimum`; zero points and minimums both become one multiply-add with the block's activation
//! sum. A token's additions come in the same order whatever stands beside it.

use std::arch::x86_64::*;

use super::rows::{QuantizedRows, TileRange};
use crate::pack::{Elements, PackedMatrix, QuantLayout, TILE_ROWS};
use crate::quant::ScaleEncoding;

const HALF: u8 = 0;
const SINGLE: u8 = 1;
const SUPER: u8 = 2;

/// One tile and some tokens, as pointers.
#[derive(Clone, Copy)]
struct TileTask {
    values: *const u8,
    scales: *const u8,
    blocks: usize,
    zero: f32,
    quants: *const i8,
    activation_scales: *const f32,
    activation_sums: *const f32,
    output: *mut f32,
    output_stride: usize,
}

/// Multiplies the range; `false` where no instance fits the layout.
///
/// # Safety
///
/// Needs AVX-512 F, BW, VL and VNNI. `output` has the range's length, the range lies inside matrix
/// and rows, and both have the same number of columns (checked by `Native`).
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni,avx2,fma,f16c")]
pub(crate) unsafe fn multiply(
    matrix: &PackedMatrix,
    rows: &QuantizedRows,
    range: &TileRange,
    output: &mut [f32],
) -> bool {
    let Elements::Quantized(layout) = matrix.elements() else {
        return false;
    };
    let multiply_tile = match (
        layout.bits,
        layout.groups(),
        layout.encoding,
        layout.has_minimum,
    ) {
        (4, 1, ScaleEncoding::Half, false) => all_tokens::<4, 1, HALF, false>,
        (4, 1, ScaleEncoding::Half, true) => all_tokens::<4, 1, HALF, true>,
        (4, 1, ScaleEncoding::Super, true) => all_tokens::<4, 1, SUPER, true>,
        (4, 2, ScaleEncoding::Super, false) => all_tokens::<4, 2, SUPER, false>,
        (4, 2, ScaleEncoding::Super, true) => all_tokens::<4, 2, SUPER, true>,
        (8, 1, ScaleEncoding::Half, false) => all_tokens::<8, 1, HALF, false>,
        (8, 1, ScaleEncoding::Half, true) => all_tokens::<8, 1, HALF, true>,
        (8, 1, ScaleEncoding::Single, false) => all_tokens::<8, 1, SINGLE, false>,
        (8, 1, ScaleEncoding::Super, false) => all_tokens::<8, 1, SUPER, false>,
        (8, 1, ScaleEncoding::Super, true) => all_tokens::<8, 1, SUPER, true>,
        (8, 2, ScaleEncoding::Super, false) => all_tokens::<8, 2, SUPER, false>,
        _ => return false,
    };
    // SAFETY: the caller's contract; see `for_each_tile`.
    unsafe { for_each_tile(matrix, layout, (rows, range), output, multiply_tile) };
    true
}

type MultiplyTile = unsafe fn(TileTask, usize, (usize, usize));

/// # Safety
///
/// As `multiply`.
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni,avx2,fma,f16c")]
unsafe fn for_each_tile(
    matrix: &PackedMatrix,
    layout: QuantLayout,
    (rows, range): (&QuantizedRows, &TileRange),
    output: &mut [f32],
    multiply_tile: MultiplyTile,
) {
    let blocks = rows.blocks();
    let sums_stride = blocks * layout.groups();
    let sums = if layout.groups() == 1 {
        &rows.block_sums
    } else {
        &rows.half_sums
    };
    let first = range.tokens.start;
    for (index, tile) in range.tiles.clone().enumerate() {
        let task = TileTask {
            values: matrix.tile_values(tile).as_ptr(),
            scales: matrix.tile_scales(tile).as_ptr(),
            blocks,
            zero: -f32::from(layout.zero),
            quants: rows.quants[first * rows.columns()..].as_ptr(),
            activation_scales: rows.scales[first * blocks..].as_ptr(),
            activation_sums: sums[first * sums_stride..].as_ptr(),
            output: output[index * TILE_ROWS..].as_mut_ptr(),
            output_stride: range.output_stride(),
        };
        // SAFETY: the pointers begin at the range's first token and tile, and the range is inside.
        unsafe { multiply_tile(task, range.tokens.len(), (rows.columns(), sums_stride)) };
    }
}

/// Twelve tokens at a time, then what is left.
///
/// # Safety
///
/// As `multiply`, with `tokens` rows behind the task's pointers.
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni,avx2,fma,f16c")]
unsafe fn all_tokens<
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
                12.. => {
                    some_tokens::<12, BITS, GROUPS, ENCODING, MINIMUM>(task, columns);
                    12
                }
                8.. => {
                    some_tokens::<8, BITS, GROUPS, ENCODING, MINIMUM>(task, columns);
                    8
                }
                4.. => {
                    some_tokens::<4, BITS, GROUPS, ENCODING, MINIMUM>(task, columns);
                    4
                }
                2.. => {
                    some_tokens::<2, BITS, GROUPS, ENCODING, MINIMUM>(task, columns);
                    2
                }
                _ => {
                    some_tokens::<1, BITS, GROUPS, ENCODING, MINIMUM>(task, columns);
                    1
                }
            };
            left -= step;
            task.quants = task.quants.add(step * columns);
            task.activation_scales = task.activation_scales.add(step * task.blocks);
            task.activation_sums = task.activation_sums.add(step * sums_stride);
            task.output = task.output.add(step * task.output_stride);
        }
    }
}

/// # Safety
///
/// As `multiply`, with `TOKENS` rows behind the task's pointers.
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni,avx2,fma,f16c")]
unsafe fn some_tokens<
    const TOKENS: usize,
    const BITS: u32,
    const GROUPS: usize,
    const ENCODING: u8,
    const MINIMUM: bool,
>(
    task: TileTask,
    columns: usize,
) {
    let mut sums = [_mm512_setzero_ps(); TOKENS];
    let mut values = task.values;
    let mut scales = Scales::<ENCODING, MINIMUM>::new(task.scales, task.zero);
    // SAFETY: both streams hold `blocks` blocks, the activation pointers `TOKENS` rows.
    unsafe {
        for block in 0..task.blocks {
            let weights = unpack::<BITS>(values);
            values = values.add(16 * 32 * BITS as usize / 8);
            scales.begin_block(block);
            let mut scale = [_mm512_setzero_ps(); GROUPS];
            let mut minimum = [_mm512_setzero_ps(); GROUPS];
            for group in 0..GROUPS {
                (scale[group], minimum[group]) = scales.next_group();
            }
            for (token, sum) in sums.iter_mut().enumerate() {
                let quants = task.quants.add(token * columns + block * 32).cast::<i32>();
                let activation =
                    _mm512_set1_ps(*task.activation_scales.add(token * task.blocks + block));
                let activation_sums = task
                    .activation_sums
                    .add((token * task.blocks + block) * GROUPS);
                for group in 0..GROUPS {
                    let mut dot = _mm512_setzero_si512();
                    for vector in 0..8 / GROUPS {
                        let index = group * (8 / GROUPS) + vector;
                        let inputs = _mm512_set1_epi32(quants.add(index).read_unaligned());
                        dot = _mm512_dpbusd_epi32(dot, weights[index], inputs);
                    }
                    let factor = _mm512_mul_ps(scale[group], activation);
                    *sum = _mm512_fmadd_ps(_mm512_cvtepi32_ps(dot), factor, *sum);
                    let offset = _mm512_set1_ps(*activation_sums.add(group));
                    *sum = _mm512_fmadd_ps(minimum[group], offset, *sum);
                }
            }
        }
        for (token, sum) in sums.into_iter().enumerate() {
            _mm512_storeu_ps(task.output.add(token * task.output_stride), sum);
        }
    }
}

/// The eight vectors of a block: vector `j` holds inputs `4j..4j+4` of every row.
///
/// # Safety
///
/// `values` is valid for one packed block.
#[inline]
#[target_feature(enable = "avx512f,avx512bw")]
unsafe fn unpack<const BITS: u32>(values: *const u8) -> [__m512i; 8] {
    let mut weights = [_mm512_setzero_si512(); 8];
    let low = _mm512_set1_epi8(15);
    // SAFETY: a block is 256 bytes with 4 bits, 512 with 8.
    unsafe {
        for vector in 0..(BITS as usize) {
            let packed = _mm512_loadu_si512(values.add(vector * 64).cast());
            if BITS == 4 {
                weights[vector] = _mm512_and_si512(packed, low);
                weights[vector + 4] = _mm512_and_si512(_mm512_srli_epi16::<4>(packed), low);
            } else {
                weights[vector] = packed;
            }
        }
    }
    weights
}

/// Reads the scale stream of a tile.
struct Scales<const ENCODING: u8, const MINIMUM: bool> {
    next: *const u8,
    zero: __m512,
    base: __m512,
    base_minimum: __m512,
}

impl<const ENCODING: u8, const MINIMUM: bool> Scales<ENCODING, MINIMUM> {
    #[inline]
    #[target_feature(enable = "avx512f")]
    fn new(stream: *const u8, zero: f32) -> Self {
        let none = _mm512_setzero_ps();
        Self {
            next: stream,
            zero: _mm512_set1_ps(zero),
            base: none,
            base_minimum: none,
        }
    }

    /// # Safety
    ///
    /// `next` stands at the beginning of `block`.
    #[inline]
    #[target_feature(enable = "avx512f")]
    unsafe fn begin_block(&mut self, block: usize) {
        if ENCODING == SUPER && block.is_multiple_of(8) {
            // SAFETY: a super-block begins with its bases.
            unsafe {
                self.base = self.take_half();
                if MINIMUM {
                    self.base_minimum = self.take_half();
                }
            }
        }
    }

    /// The scale and the minimum of the next group, a lane a row.
    ///
    /// # Safety
    ///
    /// `next` stands at the beginning of a group.
    #[inline]
    #[target_feature(enable = "avx512f")]
    unsafe fn next_group(&mut self) -> (__m512, __m512) {
        // SAFETY: a group holds 16 scales, then 16 minimums where the layout has them.
        unsafe {
            let scale = self.take(self.base);
            let minimum = if MINIMUM {
                self.take(self.base_minimum)
            } else {
                _mm512_mul_ps(scale, self.zero)
            };
            (scale, minimum)
        }
    }

    #[inline]
    #[target_feature(enable = "avx512f")]
    unsafe fn take(&mut self, base: __m512) -> __m512 {
        // SAFETY: the caller's.
        unsafe {
            match ENCODING {
                HALF => self.take_half(),
                SINGLE => {
                    let value = _mm512_loadu_ps(self.next.cast());
                    self.next = self.next.add(64);
                    value
                }
                _ => {
                    let small = _mm512_cvtepi8_epi32(_mm_loadu_si128(self.next.cast()));
                    self.next = self.next.add(16);
                    _mm512_mul_ps(base, _mm512_cvtepi32_ps(small))
                }
            }
        }
    }

    #[inline]
    #[target_feature(enable = "avx512f")]
    unsafe fn take_half(&mut self) -> __m512 {
        // SAFETY: the caller's.
        unsafe {
            let value = _mm512_cvtph_ps(_mm256_loadu_si256(self.next.cast()));
            self.next = self.next.add(32);
            value
        }
    }
}
