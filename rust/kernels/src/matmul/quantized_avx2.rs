//! Packed integers times 8-bit activations with `vpmaddubsw`: a lane is an output row.
//!
//! The same sum as the AVX-512 version, eight rows at a time. `vpmaddubsw` saturates at 16 bits:
//! 4-bit weights stay far below; 8-bit ones are made signed by flipping their top bit, multiplied
//! as magnitudes with the sign moved to the activation, and the 128 is given back with the sums.

use std::arch::x86_64::*;

use super::output::OutputTile;
use super::rows::{QuantizedRows, TileRange};
use crate::pack::{Elements, PackedMatrix, TILE_ROWS, VECTOR_BYTES, high_bits_place};
use crate::quant::ScaleEncoding;
use crate::simd::Lanes;
use crate::simd::avx2::Avx2;

/// Tokens that share an unpacked block.
const TOKENS: usize = 4;

/// Multiplies the range; `false` where the matrix is not quantized.
///
/// # Safety
///
/// Needs AVX2, FMA and F16C. `output` has the range's length, the range lies inside matrix and
/// rows, and both have the same number of columns (checked by `Native`).
#[target_feature(enable = "avx2,fma,f16c")]
pub(crate) unsafe fn multiply(
    matrix: &PackedMatrix,
    rows: &QuantizedRows,
    range: &TileRange,
    output: &mut OutputTile<'_>,
) -> bool {
    let Elements::Quantized(layout) = matrix.elements() else {
        return false;
    };
    for (index, tile) in range.tiles.clone().enumerate() {
        for half in 0..2 {
            let mut token = range.tokens.start;
            while token < range.tokens.end {
                let count = TOKENS.min(range.tokens.end - token);
                let task = Task {
                    matrix,
                    rows,
                    tile,
                    half,
                    token,
                    count,
                };
                // SAFETY: the caller's contract.
                let sums = unsafe {
                    match (layout.bits, layout.groups()) {
                        (4, 1) => some_tokens::<4, 1>(&task),
                        (4, _) => some_tokens::<4, 2>(&task),
                        (5, _) => some_tokens::<5, 1>(&task),
                        (6, 1) => some_tokens::<6, 1>(&task),
                        (6, _) => some_tokens::<6, 2>(&task),
                        (_, 1) => some_tokens::<8, 1>(&task),
                        _ => some_tokens::<8, 2>(&task),
                    }
                };
                let column = index * TILE_ROWS + half * 8;
                for (offset, sum) in sums.into_iter().enumerate().take(count) {
                    let mut lanes = [0.0; 8];
                    // SAFETY: eight floats.
                    unsafe { Avx2::store(lanes.as_mut_ptr(), sum) };
                    output.put(token - range.tokens.start + offset, column, &lanes);
                }
                token += count;
            }
        }
    }
    true
}

struct Task<'a> {
    matrix: &'a PackedMatrix,
    rows: &'a QuantizedRows,
    tile: usize,
    half: usize,
    token: usize,
    count: usize,
}

#[target_feature(enable = "avx2,fma,f16c")]
unsafe fn some_tokens<const BITS: u32, const GROUPS: usize>(task: &Task<'_>) -> [__m256; TOKENS] {
    let mut sums = [_mm256_setzero_ps(); TOKENS];
    let Elements::Quantized(layout) = task.matrix.elements() else {
        return sums;
    };
    let values = task.matrix.tile_values(task.tile);
    let mut scales = Scales::new(task);
    let blocks = task.rows.blocks();
    let sums_of = if GROUPS == 1 {
        &task.rows.block_sums
    } else {
        &task.rows.half_sums
    };
    // 8-bit weights come out of `unpack` lower by 128.
    let zero = _mm256_set1_ps(if BITS == 8 { 128.0 } else { 0.0 } - f32::from(layout.zero));
    for (block, packed) in values.chunks_exact(layout.block_bytes()).enumerate() {
        // SAFETY: `packed` is one block; the scale stream runs beside it; `token` is a row.
        unsafe {
            let weights = unpack::<BITS>(packed, task.half);
            scales.begin_block(block);
            let groups: [_; GROUPS] = std::array::from_fn(|_| {
                let (scale, minimum) = scales.next_group();
                (scale, _mm256_fmadd_ps(scale, zero, minimum))
            });
            for (index, sum) in sums.iter_mut().enumerate().take(task.count) {
                let token = task.token + index;
                let quants = task.rows.quants[token * task.rows.columns() + block * 32..]
                    .as_ptr()
                    .cast::<i32>();
                let activation = _mm256_set1_ps(task.rows.scales[token * blocks + block]);
                for (group, (scale, minimum)) in groups.into_iter().enumerate() {
                    let dot = dot::<BITS, GROUPS>(&weights, quants, group);
                    *sum = _mm256_fmadd_ps(
                        _mm256_cvtepi32_ps(dot),
                        _mm256_mul_ps(scale, activation),
                        *sum,
                    );
                    let offset = _mm256_set1_ps(sums_of[(token * blocks + block) * GROUPS + group]);
                    *sum = _mm256_fmadd_ps(minimum, offset, *sum);
                }
            }
        }
    }
    sums
}

/// The eight vectors of half a tile: vector `j` holds inputs `4j..4j+4` of eight rows.
#[inline]
#[target_feature(enable = "avx2")]
unsafe fn unpack<const BITS: u32>(packed: &[u8], half: usize) -> [__m256i; 8] {
    let mut weights = [_mm256_setzero_si256(); 8];
    let low = _mm256_set1_epi8(15);
    // SAFETY: half a vector is 32 bytes, and a block has at least `BITS` vectors.
    let vector = |index: usize| unsafe {
        _mm256_loadu_si256(
            packed[index * VECTOR_BYTES + half * 32..][..32]
                .as_ptr()
                .cast(),
        )
    };
    if BITS == 8 {
        let flip = _mm256_set1_epi8(i8::MIN);
        for (index, weights) in weights.iter_mut().enumerate() {
            *weights = _mm256_xor_si256(vector(index), flip);
        }
        return weights;
    }
    for index in 0..4 {
        let loaded = vector(index);
        weights[index] = _mm256_and_si256(loaded, low);
        weights[index + 4] = _mm256_and_si256(_mm256_srli_epi16::<4>(loaded), low);
    }
    if BITS > 4 {
        let mask = _mm256_set1_epi8((1 << (BITS - 4)) - 1);
        for (index, weights) in weights.iter_mut().enumerate() {
            let (plane, shift) = high_bits_place(BITS - 4, index);
            let shift = _mm_cvtsi32_si128(shift as i32);
            let high = _mm256_and_si256(_mm256_srl_epi16(vector(4 + plane), shift), mask);
            *weights = _mm256_or_si256(*weights, _mm256_slli_epi16::<4>(high));
        }
    }
    weights
}

/// The integer product of one group: 32-bit lanes, a row each.
#[inline]
#[target_feature(enable = "avx2")]
unsafe fn dot<const BITS: u32, const GROUPS: usize>(
    weights: &[__m256i; 8],
    quants: *const i32,
    group: usize,
) -> __m256i {
    let ones = _mm256_set1_epi16(1);
    // Products that a 16-bit lane can add up: each is below 2 * 127 * 2^BITS.
    let together = if BITS == 8 { 1 } else { 1 << (7 - BITS) };
    let mut pairs = _mm256_setzero_si256();
    let mut total = _mm256_setzero_si256();
    let vectors = group * 8 / GROUPS..(group + 1) * 8 / GROUPS;
    for (vector, weights) in vectors.clone().zip(&weights[vectors]) {
        // SAFETY: a block has eight groups of four activations.
        let inputs = _mm256_set1_epi32(unsafe { quants.add(vector).read_unaligned() });
        if BITS == 8 {
            let magnitude = _mm256_abs_epi8(*weights);
            let products = _mm256_maddubs_epi16(magnitude, _mm256_sign_epi8(inputs, *weights));
            total = _mm256_add_epi32(total, _mm256_madd_epi16(products, ones));
        } else {
            pairs = _mm256_add_epi16(pairs, _mm256_maddubs_epi16(*weights, inputs));
            if (vector + 1).is_multiple_of(together) {
                total = _mm256_add_epi32(total, _mm256_madd_epi16(pairs, ones));
                pairs = _mm256_setzero_si256();
            }
        }
    }
    _mm256_add_epi32(total, _mm256_madd_epi16(pairs, ones))
}

/// Reads the scales of half a tile.
struct Scales<'a> {
    stream: &'a [u8],
    encoding: ScaleEncoding,
    has_minimum: bool,
    half: usize,
    base: __m256,
    base_minimum: __m256,
}

impl<'a> Scales<'a> {
    #[inline]
    #[target_feature(enable = "avx2")]
    fn new(task: &Task<'a>) -> Self {
        let (encoding, has_minimum) = match task.matrix.elements() {
            Elements::Quantized(layout) => (layout.encoding, layout.has_minimum),
            _ => (ScaleEncoding::Half, false),
        };
        let stream = task.matrix.tile_scales(task.tile);
        let none = _mm256_setzero_ps();
        Self {
            stream,
            encoding,
            has_minimum,
            half: task.half,
            base: none,
            base_minimum: none,
        }
    }

    #[inline]
    #[target_feature(enable = "avx2,f16c")]
    fn begin_block(&mut self, block: usize) {
        if self.encoding == ScaleEncoding::Super && block.is_multiple_of(8) {
            self.base = self.take_half();
            if self.has_minimum {
                self.base_minimum = self.take_half();
            }
        }
    }

    #[inline]
    #[target_feature(enable = "avx2,f16c")]
    fn next_group(&mut self) -> (__m256, __m256) {
        let scale = self.take(self.base);
        let minimum = if self.has_minimum {
            self.take(self.base_minimum)
        } else {
            _mm256_setzero_ps()
        };
        (scale, minimum)
    }

    #[inline]
    #[target_feature(enable = "avx2,f16c")]
    fn take(&mut self, base: __m256) -> __m256 {
        match self.encoding {
            ScaleEncoding::Half => self.take_half(),
            ScaleEncoding::Single => {
                let bytes = &self.bytes(64)[self.half * 32..][..32];
                // SAFETY: 32 bytes.
                unsafe { _mm256_loadu_ps(bytes.as_ptr().cast()) }
            }
            ScaleEncoding::Super => {
                let bytes = &self.bytes(16)[self.half * 8..][..8];
                // SAFETY: 8 bytes.
                let small = unsafe { _mm_loadl_epi64(bytes.as_ptr().cast()) };
                _mm256_mul_ps(base, _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(small)))
            }
        }
    }

    #[inline]
    #[target_feature(enable = "avx2,f16c")]
    fn take_half(&mut self) -> __m256 {
        let bytes = &self.bytes(32)[self.half * 16..][..16];
        // SAFETY: 16 bytes.
        _mm256_cvtph_ps(unsafe { _mm_loadu_si128(bytes.as_ptr().cast()) })
    }

    fn bytes(&mut self, count: usize) -> &'a [u8] {
        let (taken, rest) = self.stream.split_at(count);
        self.stream = rest;
        taken
    }
}
