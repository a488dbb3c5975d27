//! Packed integers times 8-bit activations on NEON, whatever multiplies the bytes: the walk over
//! tiles, blocks and tokens, and the two kernels that take four inputs of a row at a time.
//!
//! Half a tile, so 8 rows, meets up to eight tokens at a time: a weight vector is unpacked once for
//! all of them, and the 16 integer accumulators stay in registers. A weight is
//! `scale * (integer - zero) + minimum`; a zero point starts the integer product at `-zero * sum of
//! the activations` (8-bit integers are made signed instead), a minimum is one multiply-add with that
//! sum. Integers are exact, and the f32 steps of a row are the same for any number of tokens and in
//! each kernel, so a token's result depends neither on what stands beside it nor on the kernel.

use std::arch::aarch64::*;

use super::dot_neon::{Dot, Sdot, Widening};
use super::output::OutputTile;
use super::rows::{QuantizedRows, TileRange};
use super::tile_neon::{Inputs, TileTask, for_each_tile, layout_of};
use super::unpack_neon::{HALF_VECTOR, Scales, weights};
use crate::quant::coding::product_bits;
use crate::weights::{BLOCK_INPUTS, PackedMatrix, QuantLayout};

/// The instance of a generic function for a layout, or none.
macro_rules! instance {
    ($layout:expr, $function:ident) => {{
        use crate::quant::ScaleEncoding::{Bfloat, Half, Single, Super};
        use crate::quant::coding::{FLOATS, NONLINEAR, ODD};
        use crate::quant::{BFLOAT_SCALES, HALF_SCALES, SINGLE_SCALES, SUPER_SCALES};
        let layout: crate::weights::QuantLayout = $layout;
        match (
            layout.coding(),
            layout.groups(),
            layout.encoding,
            layout.has_minimum,
        ) {
            (4, 1, Half, false) => Some($function::<4, 1, HALF_SCALES, false> as _),
            (4, 1, Half, true) => Some($function::<4, 1, HALF_SCALES, true> as _),
            (4, 1, Super, true) => Some($function::<4, 1, SUPER_SCALES, true> as _),
            (4, 2, Super, false) => Some($function::<4, 2, SUPER_SCALES, false> as _),
            (4, 2, Super, true) => Some($function::<4, 2, SUPER_SCALES, true> as _),
            (5, 1, Half, false) => Some($function::<5, 1, HALF_SCALES, false> as _),
            (5, 1, Half, true) => Some($function::<5, 1, HALF_SCALES, true> as _),
            (5, 1, Super, true) => Some($function::<5, 1, SUPER_SCALES, true> as _),
            (6, 2, Super, false) => Some($function::<6, 2, SUPER_SCALES, false> as _),
            (8, 1, Half, false) => Some($function::<8, 1, HALF_SCALES, false> as _),
            (8, 1, Single, false) => Some($function::<8, 1, SINGLE_SCALES, false> as _),
            (NONLINEAR, 1, Half, false) => Some($function::<NONLINEAR, 1, HALF_SCALES, false> as _),
            (NONLINEAR, 1, Super, false) => {
                Some($function::<NONLINEAR, 1, SUPER_SCALES, false> as _)
            }
            (ODD, 1, Super, false) => Some($function::<ODD, 1, SUPER_SCALES, false> as _),
            (FLOATS, 1, Bfloat, false) => Some($function::<FLOATS, 1, BFLOAT_SCALES, false> as _),
            _ => None,
        }
    }};
}
pub(super) use instance;

/// A tile times some tokens.
pub(super) type MultiplyTile = unsafe fn(TileTask, usize);

/// The kernel of one way to multiply bytes.
macro_rules! dot_kernel {
    ($kernel:ident, $dot:ty, $features:literal) => {
        pub(crate) mod $kernel {
            use super::*;

            /// Multiplies the range; `false` where no instance fits the layout.
            ///
            /// # Safety
            ///
            /// Needs the features. `output` has the range's size, the range lies inside matrix and
            /// rows, and both have the same number of columns (checked by `Native`).
            #[target_feature(enable = $features)]
            pub(crate) unsafe fn multiply(
                matrix: &PackedMatrix,
                rows: &QuantizedRows,
                range: &TileRange,
                output: &mut OutputTile<'_>,
            ) -> bool {
                let Some(layout) = layout_of(matrix) else {
                    return false;
                };
                let Some(tile) = tile_of(layout) else {
                    return false;
                };
                for_each_tile((matrix, layout), (rows, range), output, |task| {
                    // SAFETY: the features are on; the caller checked the product, and the task begins at the
                    // range's first token.
                    unsafe { tile(task, range.tokens.len()) }
                });
                true
            }

            /// The instance for a layout.
            pub(in crate::matmul) fn tile_of(layout: QuantLayout) -> Option<MultiplyTile> {
                instance!(layout, tile)
            }

            #[target_feature(enable = $features)]
            unsafe fn tile<
                const CODING: u32,
                const GROUPS: usize,
                const ENCODING: u8,
                const MINIMUM: bool,
            >(
                task: TileTask,
                tokens: usize,
            ) {
                // SAFETY: the features of the dot are on, and the caller has the tokens.
                unsafe {
                    let dot = <$dot as Dot<CODING>>::new();
                    all_tokens::<$dot, CODING, GROUPS, ENCODING, MINIMUM>(dot, task, tokens);
                }
            }
        }
    };
}

dot_kernel!(widening, Widening, "neon");
dot_kernel!(dotprod, Sdot, "neon,dotprod");

/// As many tokens at a time as accumulators fit the registers, then what is left.
///
/// # Safety
///
/// As `multiply`, with `tokens` rows behind the task's pointers.
#[inline(always)]
unsafe fn all_tokens<
    D: Dot<CODING>,
    const CODING: u32,
    const GROUPS: usize,
    const ENCODING: u8,
    const MINIMUM: bool,
>(
    dot: D,
    mut task: TileTask,
    tokens: usize,
) {
    let mut left = tokens;
    // SAFETY: each step covers tokens that are left, and moves the pointers past them.
    unsafe {
        while left > 0 {
            let step = match left {
                8.. if D::TOKENS == 8 => {
                    some_tokens::<D, 8, CODING, GROUPS, ENCODING, MINIMUM>(dot, &task)
                }
                4.. => some_tokens::<D, 4, CODING, GROUPS, ENCODING, MINIMUM>(dot, &task),
                2.. => some_tokens::<D, 2, CODING, GROUPS, ENCODING, MINIMUM>(dot, &task),
                _ => some_tokens::<D, 1, CODING, GROUPS, ENCODING, MINIMUM>(dot, &task),
            };
            left -= step;
            task.skip(step, GROUPS);
        }
    }
}

/// # Safety
///
/// As `multiply`, with `TOKENS` rows behind the task's pointers.
#[inline(always)]
unsafe fn some_tokens<
    D: Dot<CODING>,
    const TOKENS: usize,
    const CODING: u32,
    const GROUPS: usize,
    const ENCODING: u8,
    const MINIMUM: bool,
>(
    dot: D,
    task: &TileTask,
) -> usize {
    let (tile, inputs) = (&task.tile, &task.inputs);
    // SAFETY: the tile's streams hold `blocks` blocks, the activation pointers `TOKENS` rows.
    unsafe {
        let mut sums = [[vdupq_n_f32(0.0); 4]; TOKENS];
        let mut scales = Scales::<ENCODING, MINIMUM>::new(tile.scales);
        for block in 0..tile.blocks {
            let values = tile.block::<CODING>(block);
            scales.begin_block(block);
            for group in 0..GROUPS {
                let group = Group::<'_, CODING, GROUPS, ENCODING, MINIMUM> {
                    values,
                    scales: &scales,
                    blocks: tile.blocks,
                    block,
                    index: group,
                };
                if TOKENS == 1 {
                    // With code of their own for each half, the sums stay in registers.
                    group.add_half::<D, TOKENS>(dot, 0, inputs, &mut sums);
                    group.add_half::<D, TOKENS>(dot, 1, inputs, &mut sums);
                } else {
                    for half in 0..2 {
                        group.add_half::<D, TOKENS>(dot, half, inputs, &mut sums);
                    }
                }
                scales.end_group();
            }
        }
        for (token, sums) in sums.into_iter().enumerate() {
            task.target.put(token, sums);
        }
    }
    TOKENS
}

/// Inputs of a tile that share their scales.
#[derive(Clone, Copy)]
struct Group<'a, const CODING: u32, const GROUPS: usize, const ENCODING: u8, const MINIMUM: bool> {
    /// The integers of the block.
    values: *const u8,
    scales: &'a Scales<ENCODING, MINIMUM>,
    blocks: usize,
    block: usize,
    /// Which one of the block.
    index: usize,
}

impl<const CODING: u32, const GROUPS: usize, const ENCODING: u8, const MINIMUM: bool>
    Group<'_, CODING, GROUPS, ENCODING, MINIMUM>
{
    /// Adds the products of the rows `8 * half..`.
    ///
    /// # Safety
    ///
    /// As `multiply`, with `TOKENS` rows behind the pointers of `inputs`.
    #[inline(always)]
    unsafe fn add_half<D: Dot<CODING>, const TOKENS: usize>(
        &self,
        dot: D,
        half: usize,
        inputs: &Inputs,
        sums: &mut [[float32x4_t; 4]; TOKENS],
    ) {
        // SAFETY: the group's scales, and what is named of each token's inputs, lie in the streams of `blocks` blocks.
        unsafe {
            let dots = self.products::<D, TOKENS>(dot, half, inputs);
            let (scale, minimum) = self.scales.of_half(half);
            for (token, dots) in dots.into_iter().enumerate() {
                let factor = *inputs.scales.add(token * self.blocks + self.block);
                let offset = *inputs.sums.add(self.place(token));
                for (quarter, product) in dot.finish(dots).into_iter().enumerate() {
                    let sum = &mut sums[token][2 * half + quarter];
                    let factor = vmulq_n_f32(scale[quarter], factor);
                    *sum = vfmaq_f32(*sum, vcvtq_f32_s32(product), factor);
                    if MINIMUM {
                        *sum = vfmaq_n_f32(*sum, minimum[quarter], offset);
                    }
                }
            }
        }
    }

    /// The integer products.
    ///
    /// # Safety
    ///
    /// As `add_half`.
    #[inline(always)]
    unsafe fn products<D: Dot<CODING>, const TOKENS: usize>(
        &self,
        dot: D,
        half: usize,
        inputs: &Inputs,
    ) -> [D::Sums; TOKENS] {
        // SAFETY: the block has its values behind `values`, and each token 32 quants and a debt for the group.
        unsafe {
            let mut dots = [dot.begin(vdupq_n_s32(0)); TOKENS];
            if product_bits(CODING) != 8 && !MINIMUM {
                for (token, sums) in dots.iter_mut().enumerate() {
                    let debt = *inputs.debts.add(self.place(token)) * inputs.zero;
                    *sums = dot.begin(vdupq_n_s32(debt));
                }
            }
            let values = self.values.add(half * HALF_VECTOR);
            let quants = inputs.quants.add(self.block * BLOCK_INPUTS);
            if GROUPS == 1 || self.index == 0 {
                let inputs = sixteen((quants, inputs.columns));
                add_step::<D, TOKENS, CODING, 0, 0>(dot, values, &inputs, &mut dots);
                add_step::<D, TOKENS, CODING, 1, 1>(dot, values, &inputs, &mut dots);
                add_step::<D, TOKENS, CODING, 2, 2>(dot, values, &inputs, &mut dots);
                add_step::<D, TOKENS, CODING, 3, 3>(dot, values, &inputs, &mut dots);
            }
            if GROUPS == 1 || self.index == 1 {
                let inputs = sixteen((quants.add(16), inputs.columns));
                add_step::<D, TOKENS, CODING, 4, 0>(dot, values, &inputs, &mut dots);
                add_step::<D, TOKENS, CODING, 5, 1>(dot, values, &inputs, &mut dots);
                add_step::<D, TOKENS, CODING, 6, 2>(dot, values, &inputs, &mut dots);
                add_step::<D, TOKENS, CODING, 7, 3>(dot, values, &inputs, &mut dots);
            }
            dots
        }
    }

    /// A token's group among its own and those of the tokens before.
    #[inline(always)]
    fn place(&self, token: usize) -> usize {
        (token * self.blocks + self.block) * GROUPS + self.index
    }
}

/// Sixteen inputs of each token.
///
/// # Safety
///
/// They are there, from one token to the next `columns` further.
#[inline(always)]
unsafe fn sixteen<const TOKENS: usize>(
    (quants, columns): (*const i8, usize),
) -> [int8x16_t; TOKENS] {
    // SAFETY: the caller has sixteen bytes of each token.
    std::array::from_fn(|token| unsafe { vld1q_s8(quants.add(token * columns)) })
}

/// Adds the products of four inputs of eight rows and every token.
///
/// # Safety
///
/// `values` stands at the half's bytes of a block.
#[inline(always)]
unsafe fn add_step<
    D: Dot<CODING>,
    const TOKENS: usize,
    const CODING: u32,
    const STEP: usize,
    const LANE: i32,
>(
    dot: D,
    values: *const u8,
    inputs: &[int8x16_t; TOKENS],
    dots: &mut [D::Sums; TOKENS],
) {
    // SAFETY: the caller has the half's bytes of a block.
    let weights = unsafe { weights::<CODING, STEP>(values) };
    for (sums, inputs) in dots.iter_mut().zip(inputs) {
        dot.add::<LANE>(sums, weights, *inputs);
    }
}
