//! One or two tiles of packed integers and some tokens: what the products of AVX-512 are made of.

use std::arch::x86_64::*;

use super::destination_avx512::Destination;
use super::dot_avx512::WideDot;
use super::unpack_avx512::{Scales, weights};
use crate::quant::coding::stored_bits;
use crate::read_ahead::Asking;
use crate::simd::prefetch;

/// One or two tiles and some tokens, as pointers.
#[derive(Clone, Copy)]
pub(super) struct TilePair {
    pub(super) values: *const u8,
    pub(super) scales: *const u8,
    /// Bytes from one tile to the next.
    pub(super) value_bytes: usize,
    pub(super) scale_bytes: usize,
    pub(super) blocks: usize,
    /// Log of the zero point.
    pub(super) zero_shift: __m128i,
    /// How far ahead of the values memory is asked for, in bytes.
    pub(super) ahead: usize,
    /// The same for their scales.
    pub(super) scales_ahead: usize,
    /// The first block at which it is asked for, and how many blocks it is to the next one.
    pub(super) first_fetch: usize,
    pub(super) fetch_every: usize,
    pub(super) quants: *const i8,
    pub(super) activation_scales: *const f32,
    pub(super) activation_sums: *const f32,
    pub(super) activation_debts: *const i32,
    pub(super) destination: Destination,
}

/// As many tokens at a time as registers allow, then what is left.
///
/// # Safety
///
/// Needs AVX-512 F, BW, DQ and VL; as `multiply`, with `tokens` rows and `TILES` tiles behind the task's pointers.
#[inline(always)]
pub(super) unsafe fn all_tokens<
    D: WideDot,
    const TILES: usize,
    const CODING: u32,
    const GROUPS: usize,
    const ENCODING: u8,
    const MINIMUM: bool,
>(
    dot: D,
    mut task: TilePair,
    tokens: usize,
    (columns, sums_stride): (usize, usize),
    asking: &mut Asking<'_>,
) {
    let mut left = tokens;
    if TILES == 2 {
        // What comes next is asked for in equal parts by all passes: at once it would be more than memory gives meanwhile.
        task.fetch_every = tokens.div_ceil(D::TOKENS);
    }
    // SAFETY: each step covers tokens that are left, and moves the pointers past them.
    unsafe {
        while left > 0 {
            let step = match left {
                8 if TILES == 1 && D::TOKENS_OF_ONE == 8 => {
                    some_tokens::<D, TILES, 8, CODING, GROUPS, ENCODING, MINIMUM>(
                        dot, task, columns, asking,
                    )
                }
                6 | 9.. if D::TOKENS == 6 => {
                    some_tokens::<D, TILES, 6, CODING, GROUPS, ENCODING, MINIMUM>(
                        dot, task, columns, asking,
                    )
                }
                4 | 7.. => some_tokens::<D, TILES, 4, CODING, GROUPS, ENCODING, MINIMUM>(
                    dot, task, columns, asking,
                ),
                3 | 5 | 6 => some_tokens::<D, TILES, 3, CODING, GROUPS, ENCODING, MINIMUM>(
                    dot, task, columns, asking,
                ),
                2 => some_tokens::<D, TILES, 2, CODING, GROUPS, ENCODING, MINIMUM>(
                    dot, task, columns, asking,
                ),
                _ => some_tokens::<D, TILES, 1, CODING, GROUPS, ENCODING, MINIMUM>(
                    dot, task, columns, asking,
                ),
            };
            left -= step;
            task.first_fetch = if TILES == 2 {
                task.first_fetch + 1
            } else {
                usize::MAX
            };
            task.quants = task.quants.add(step * columns);
            task.activation_scales = task.activation_scales.add(step * task.blocks);
            task.activation_sums = task.activation_sums.add(step * sums_stride);
            task.activation_debts = task.activation_debts.add(step * sums_stride);
            task.destination = task.destination.after(step);
        }
    }
}

/// # Safety
///
/// As `multiply`, with `TOKENS` rows and `TILES` tiles behind the task's pointers.
#[inline(always)]
unsafe fn some_tokens<
    D: WideDot,
    const TILES: usize,
    const TOKENS: usize,
    const CODING: u32,
    const GROUPS: usize,
    const ENCODING: u8,
    const MINIMUM: bool,
>(
    dot: D,
    task: TilePair,
    columns: usize,
    asking: &mut Asking<'_>,
) -> usize {
    // SAFETY: the streams of each tile hold `blocks` blocks, the activation pointers `TOKENS` rows.
    unsafe {
        let mut sums = [[_mm512_setzero_ps(); TILES]; TOKENS];
        let mut scales = [Scales::<ENCODING, MINIMUM>::new(task.scales); TILES];
        if TILES == 2 {
            scales[1] = Scales::new(task.scales.add(task.scale_bytes));
        }
        let mut next_fetch = task.first_fetch;
        for block in 0..task.blocks {
            let mut values = [task.values.add(block * 64 * stored_bits(CODING) as usize); TILES];
            if TILES == 2 {
                values[1] = values[0].add(task.value_bytes);
            }
            if block == next_fetch {
                next_fetch += task.fetch_every;
                fetch::<TILES, CODING, ENCODING, MINIMUM>(&task, &values, &scales);
            }
            asking.step();
            for scales in &mut scales {
                scales.begin_block(block);
            }
            let here = (&values, task.quants.add(block * 32), columns);
            for group in 0..GROUPS {
                let mut dots = [[dot.start(_mm512_setzero_si512()); TILES]; TOKENS];
                let place = |token: usize| (token * task.blocks + block) * GROUPS + group;
                if !MINIMUM {
                    for (token, dots) in dots.iter_mut().enumerate() {
                        let debt = _mm512_set1_epi32(*task.activation_debts.add(place(token)));
                        *dots = [dot.start(_mm512_sll_epi32(debt, task.zero_shift)); TILES];
                    }
                }
                add_group::<D, TILES, TOKENS, CODING, GROUPS>(dot, here, group, &mut dots);
                let mut scaled = [(_mm512_setzero_ps(), _mm512_setzero_ps()); TILES];
                for (scaled, scales) in scaled.iter_mut().zip(&mut scales) {
                    *scaled = scales.next_group();
                }
                for token in 0..TOKENS {
                    let factor = *task.activation_scales.add(token * task.blocks + block);
                    let offset = *task.activation_sums.add(place(token));
                    for tile in 0..TILES {
                        let product = _mm512_cvtepi32_ps(dot.total::<CODING>(dots[token][tile]));
                        let (scale, minimum) = scaled[tile];
                        let factor = _mm512_mul_ps(scale, _mm512_set1_ps(factor));
                        let sum = &mut sums[token][tile];
                        *sum = _mm512_fmadd_ps(product, factor, *sum);
                        if MINIMUM {
                            *sum = _mm512_fmadd_ps(minimum, _mm512_set1_ps(offset), *sum);
                        }
                    }
                }
            }
        }
        task.destination.store(sums);
    }
    TOKENS
}

/// Asks for what stands `ahead` bytes further.
#[inline(always)]
fn fetch<const TILES: usize, const CODING: u32, const ENCODING: u8, const MINIMUM: bool>(
    task: &TilePair,
    values: &[*const u8; TILES],
    scales: &[Scales<ENCODING, MINIMUM>; TILES],
) {
    for values in values {
        for line in 0..stored_bits(CODING) as usize {
            prefetch(values.wrapping_add(task.ahead + line * 64));
        }
    }
    // Of one tile they come in one stream with nothing between, which the processor follows by itself.
    if TILES == 2 {
        for scales in scales {
            prefetch(scales.place().wrapping_add(task.scales_ahead));
        }
    }
}

/// Adds the products of all inputs of a group of every row and token.
///
/// # Safety
///
/// As [`add_step`].
#[inline(always)]
unsafe fn add_group<
    D: WideDot,
    const TILES: usize,
    const TOKENS: usize,
    const CODING: u32,
    const GROUPS: usize,
>(
    dot: D,
    here: (&[*const u8; TILES], *const i8, usize),
    group: usize,
    dots: &mut [[D::Sums; TILES]; TOKENS],
) {
    // SAFETY: the caller's pointers stand at a block.
    unsafe {
        if GROUPS == 1 || group == 0 {
            add_step::<D, TILES, TOKENS, CODING, 0>(dot, here, dots);
            add_step::<D, TILES, TOKENS, CODING, 1>(dot, here, dots);
            add_step::<D, TILES, TOKENS, CODING, 2>(dot, here, dots);
            add_step::<D, TILES, TOKENS, CODING, 3>(dot, here, dots);
        }
        if GROUPS == 1 || group == 1 {
            add_step::<D, TILES, TOKENS, CODING, 4>(dot, here, dots);
            add_step::<D, TILES, TOKENS, CODING, 5>(dot, here, dots);
            add_step::<D, TILES, TOKENS, CODING, 6>(dot, here, dots);
            add_step::<D, TILES, TOKENS, CODING, 7>(dot, here, dots);
        }
    }
}

/// Adds the products of four inputs of every row and token.
///
/// # Safety
///
/// `values` stand at a block of each tile, `quants` at the block of the first token.
#[inline(always)]
unsafe fn add_step<
    D: WideDot,
    const TILES: usize,
    const TOKENS: usize,
    const CODING: u32,
    const STEP: usize,
>(
    dot: D,
    (values, quants, columns): (&[*const u8; TILES], *const i8, usize),
    dots: &mut [[D::Sums; TILES]; TOKENS],
) {
    // SAFETY: each tile has a block behind its pointer, and each token 32 quants, of which `STEP` names four.
    unsafe {
        let mut vectors = [dot.weights::<CODING>(_mm512_setzero_si512()); TILES];
        for (vector, values) in vectors.iter_mut().zip(values) {
            *vector = dot.weights::<CODING>(weights::<CODING, STEP>(*values));
        }
        for (token, dots) in dots.iter_mut().enumerate() {
            let four = quants.add(token * columns + 4 * STEP).cast::<i32>();
            let inputs = _mm512_set1_epi32(four.read_unaligned());
            for (sums, vector) in dots.iter_mut().zip(vectors) {
                dot.add::<CODING, STEP>(sums, vector, inputs);
            }
        }
    }
}
