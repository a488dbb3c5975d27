//! Packed integers times 8-bit activations on NEON, whatever multiplies the bytes: the walk over
//! tiles, blocks and tokens, and the two kernels that take four inputs of a row at a time.
//!
//! Half a tile, so 8 rows, meets up to eight tokens at a time: a weight vector is unpacked once for
//! all of them, and the 16 integer accumulators stay in registers. A weight is
//! `scale * (integer - zero) + minimum`; a zero point starts the integer product at `-zero * sum of
//! the activations` (8-bit integers are made signed instead), a minimum is one multiply-add with that
//! sum. Integers are exact, and the f32 steps of a row are the same for any number of tokens and in
//! each kernel, so a token's result depends neither on what stands beside it nor on the kernel.

use std::arch::{aarch64::*, asm};

use super::dot_neon::{Dot, Sdot, Widening};
use super::output::OutputTile;
use super::rows::{QuantizedRows, TileRange};
use super::unpack_neon::{HALF_VECTOR, Scales, weights};
use crate::pack::{BLOCK_INPUTS, Elements, PackedMatrix, QuantLayout, TILE_ROWS, VECTOR_BYTES};
use crate::simd::{Lanes, neon::Neon};

/// How far ahead of the weights memory is asked for, in bytes.
const AHEAD: usize = 4096;

/// The streams of one tile.
#[derive(Clone, Copy)]
pub(super) struct Tile {
    pub(super) values: *const u8,
    pub(super) scales: *const u8,
    pub(super) blocks: usize,
    /// How far ahead of the weights memory is asked for, in bytes; 0 where they are in the cache.
    pub(super) ahead: usize,
}

impl Tile {
    /// The integers of a block, and memory asked for the block that stands `ahead` bytes further.
    ///
    /// # Safety
    ///
    /// The tile has the block, packed in `BITS` bits.
    #[inline(always)]
    pub(super) unsafe fn block<const BITS: u32>(&self, block: usize) -> *const u8 {
        // SAFETY: the caller's; asking for memory never faults.
        unsafe {
            let values = self.values.add(block * VECTOR_BYTES * BITS as usize);
            if self.ahead > 0 {
                for line in 0..BITS as usize {
                    let address = values.addr() + self.ahead + line * VECTOR_BYTES;
                    asm!(
                        "prfm pldl1keep, [{}]",
                        in(reg) address,
                        options(nomem, nostack, preserves_flags)
                    );
                }
            }
            values
        }
    }
}

/// The activations of some tokens, from the first one on.
#[derive(Clone, Copy)]
struct Inputs {
    quants: *const i8,
    columns: usize,
    scales: *const f32,
    /// Sums and debts of each group.
    sums: *const f32,
    debts: *const i32,
    /// What the debts are multiplied with.
    zero: i32,
}

/// Where the results of one tile go, from the first token on.
#[derive(Clone, Copy)]
pub(super) struct Target {
    pointer: *mut f32,
    stride: usize,
    /// Rows that the tile has.
    lanes: usize,
    adds: bool,
}

impl Target {
    /// Writes a token's results, or adds them to what is there.
    ///
    /// # Safety
    ///
    /// The output has the token.
    #[inline(always)]
    pub(super) unsafe fn put(&self, token: usize, rows: [float32x4_t; 4]) {
        for (quarter, mut sum) in rows.into_iter().enumerate() {
            let count = self.lanes.saturating_sub(4 * quarter);
            if count == 0 {
                break;
            }
            // SAFETY: the caller's; only lanes that the tile has are touched.
            unsafe {
                let target = self.pointer.add(token * self.stride + 4 * quarter);
                if self.adds {
                    sum = Neon::add(Neon::load_partial(target, count), sum);
                }
                Neon::store_partial(target, sum, count);
            }
        }
    }
}

/// One tile and some tokens.
#[derive(Clone, Copy)]
pub(super) struct TileTask {
    pub(super) tile: Tile,
    inputs: Inputs,
    pub(super) target: Target,
}

impl TileTask {
    /// Goes past `tokens` tokens; the tile is in the cache from now on.
    ///
    /// # Safety
    ///
    /// There are as many.
    pub(super) unsafe fn skip(&mut self, tokens: usize, groups: usize) {
        let blocks = tokens * self.tile.blocks;
        self.tile.ahead = 0;
        // SAFETY: the caller's.
        unsafe {
            self.inputs.quants = self.inputs.quants.add(tokens * self.inputs.columns);
            self.inputs.scales = self.inputs.scales.add(blocks);
            self.inputs.sums = self.inputs.sums.add(blocks * groups);
            self.inputs.debts = self.inputs.debts.add(blocks * groups);
            self.target.pointer = self.target.pointer.add(tokens * self.target.stride);
        }
    }
}

/// The layout of a matrix that the kernels have instances for.
pub(super) fn layout_of(matrix: &PackedMatrix) -> Option<QuantLayout> {
    match matrix.elements() {
        // What the instances take for granted beside what they are generic over.
        Elements::Quantized(layout)
            if (layout.bits != 8 || layout.zero == 128)
                && (!layout.has_minimum || layout.zero == 0) =>
        {
            Some(layout)
        }
        _ => None,
    }
}

/// The sums of quants, and what zero points take, of each group.
pub(super) fn sums_of(rows: &QuantizedRows, layout: QuantLayout) -> (&[f32], &[i32]) {
    if layout.groups() == 1 {
        (&rows.block_sums, &rows.block_debts)
    } else {
        (&rows.half_sums, &rows.half_debts)
    }
}

/// Takes the tiles of a range one by one.
pub(super) fn for_each_tile(
    (matrix, layout): (&PackedMatrix, QuantLayout),
    (rows, range): (&QuantizedRows, &TileRange),
    output: &mut OutputTile<'_>,
    multiply_tile: impl Fn(TileTask),
) {
    let (sums, debts) = sums_of(rows, layout);
    let first = range.tokens.start;
    let first_group = first * rows.blocks() * layout.groups();
    for (index, tile) in range.tiles.clone().enumerate() {
        let column = index * TILE_ROWS;
        multiply_tile(TileTask {
            tile: Tile {
                values: matrix.tile_values(tile).as_ptr(),
                scales: matrix.tile_scales(tile).as_ptr(),
                blocks: rows.blocks(),
                ahead: AHEAD,
            },
            inputs: Inputs {
                quants: rows.quants[first * rows.columns()..].as_ptr(),
                columns: rows.columns(),
                scales: rows.scales[first * rows.blocks()..].as_ptr(),
                sums: sums[first_group..].as_ptr(),
                debts: debts[first_group..].as_ptr(),
                zero: i32::from(layout.zero),
            },
            target: Target {
                pointer: output.as_mut_ptr().wrapping_add(column),
                stride: output.stride(),
                lanes: TILE_ROWS.min(output.columns() - column),
                adds: output.adds(),
            },
        });
    }
}

/// The instance of a generic function for a layout, or none.
macro_rules! instance {
    ($layout:expr, $function:ident) => {{
        use crate::matmul::unpack_neon::{HALF, SINGLE, SUPER};
        use crate::quant::ScaleEncoding::{Half, Single, Super};
        let layout: crate::pack::QuantLayout = $layout;
        match (
            layout.bits,
            layout.groups(),
            layout.encoding,
            layout.has_minimum,
        ) {
            (4, 1, Half, false) => Some($function::<4, 1, HALF, false> as _),
            (4, 1, Half, true) => Some($function::<4, 1, HALF, true> as _),
            (4, 1, Super, true) => Some($function::<4, 1, SUPER, true> as _),
            (4, 2, Super, false) => Some($function::<4, 2, SUPER, false> as _),
            (4, 2, Super, true) => Some($function::<4, 2, SUPER, true> as _),
            (5, 1, Half, false) => Some($function::<5, 1, HALF, false> as _),
            (5, 1, Half, true) => Some($function::<5, 1, HALF, true> as _),
            (5, 1, Super, true) => Some($function::<5, 1, SUPER, true> as _),
            (6, 2, Super, false) => Some($function::<6, 2, SUPER, false> as _),
            (8, 1, Half, false) => Some($function::<8, 1, HALF, false> as _),
            (8, 1, Single, false) => Some($function::<8, 1, SINGLE, false> as _),
            (8, 1, Super, false) => Some($function::<8, 1, SUPER, false> as _),
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
                    // SAFETY: the caller's contract; the task begins at the range's first token.
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
                const BITS: u32,
                const GROUPS: usize,
                const ENCODING: u8,
                const MINIMUM: bool,
            >(
                task: TileTask,
                tokens: usize,
            ) {
                // SAFETY: the caller's.
                unsafe { all_tokens::<$dot, BITS, GROUPS, ENCODING, MINIMUM>(task, tokens) }
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
    D: Dot<BITS>,
    const BITS: u32,
    const GROUPS: usize,
    const ENCODING: u8,
    const MINIMUM: bool,
>(
    mut task: TileTask,
    tokens: usize,
) {
    let mut left = tokens;
    // SAFETY: each step covers tokens that are left, and moves the pointers past them.
    unsafe {
        while left > 0 {
            let step = match left {
                8.. if D::TOKENS == 8 => {
                    some_tokens::<D, 8, BITS, GROUPS, ENCODING, MINIMUM>(&task)
                }
                4.. => some_tokens::<D, 4, BITS, GROUPS, ENCODING, MINIMUM>(&task),
                2.. => some_tokens::<D, 2, BITS, GROUPS, ENCODING, MINIMUM>(&task),
                _ => some_tokens::<D, 1, BITS, GROUPS, ENCODING, MINIMUM>(&task),
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
    D: Dot<BITS>,
    const TOKENS: usize,
    const BITS: u32,
    const GROUPS: usize,
    const ENCODING: u8,
    const MINIMUM: bool,
>(
    task: &TileTask,
) -> usize {
    let (tile, inputs) = (&task.tile, &task.inputs);
    // SAFETY: the tile's streams hold `blocks` blocks, the activation pointers `TOKENS` rows.
    unsafe {
        let mut sums = [[vdupq_n_f32(0.0); 4]; TOKENS];
        let mut scales = Scales::<ENCODING, MINIMUM>::new(tile.scales);
        for block in 0..tile.blocks {
            let values = tile.block::<BITS>(block);
            let quants = inputs.quants.add(block * BLOCK_INPUTS);
            scales.begin_block(block);
            for group in 0..GROUPS {
                let place = |token: usize| (token * tile.blocks + block) * GROUPS + group;
                for half in 0..2 {
                    let mut dots = [D::begin(vdupq_n_s32(0)); TOKENS];
                    if BITS != 8 && !MINIMUM {
                        for (token, dot) in dots.iter_mut().enumerate() {
                            let debt = *inputs.debts.add(place(token)) * inputs.zero;
                            *dot = D::begin(vdupq_n_s32(debt));
                        }
                    }
                    let values = values.add(half * HALF_VECTOR);
                    if GROUPS == 1 || group == 0 {
                        add_low::<D, TOKENS, BITS>(values, (quants, inputs.columns), &mut dots);
                    }
                    if GROUPS == 1 || group == 1 {
                        add_high::<D, TOKENS, BITS>(values, (quants, inputs.columns), &mut dots);
                    }
                    let (scale, minimum) = scales.of_half(half);
                    for (token, dots) in dots.into_iter().enumerate() {
                        let factor = *inputs.scales.add(token * tile.blocks + block);
                        let offset = *inputs.sums.add(place(token));
                        for (quarter, dot) in D::finish(dots).into_iter().enumerate() {
                            let sum = &mut sums[token][2 * half + quarter];
                            let factor = vmulq_n_f32(scale[quarter], factor);
                            *sum = vfmaq_f32(*sum, vcvtq_f32_s32(dot), factor);
                            if MINIMUM {
                                *sum = vfmaq_n_f32(*sum, minimum[quarter], offset);
                            }
                        }
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

/// Adds the products of the first sixteen inputs of a block.
///
/// # Safety
///
/// `values` stand at the half's bytes of a block, `quants` at the block of the first token.
#[inline(always)]
unsafe fn add_low<D: Dot<BITS>, const TOKENS: usize, const BITS: u32>(
    values: *const u8,
    quants: (*const i8, usize),
    dots: &mut [D::Sums; TOKENS],
) {
    // SAFETY: the caller's.
    unsafe {
        let inputs = sixteen(quants);
        add_step::<D, TOKENS, BITS, 0>(weights::<BITS, 0>(values), &inputs, dots);
        add_step::<D, TOKENS, BITS, 1>(weights::<BITS, 1>(values), &inputs, dots);
        add_step::<D, TOKENS, BITS, 2>(weights::<BITS, 2>(values), &inputs, dots);
        add_step::<D, TOKENS, BITS, 3>(weights::<BITS, 3>(values), &inputs, dots);
    }
}

/// Adds the products of the other sixteen.
///
/// # Safety
///
/// As `add_low`.
#[inline(always)]
unsafe fn add_high<D: Dot<BITS>, const TOKENS: usize, const BITS: u32>(
    values: *const u8,
    (quants, columns): (*const i8, usize),
    dots: &mut [D::Sums; TOKENS],
) {
    // SAFETY: the caller's.
    unsafe {
        let inputs = sixteen((quants.add(16), columns));
        add_step::<D, TOKENS, BITS, 0>(weights::<BITS, 4>(values), &inputs, dots);
        add_step::<D, TOKENS, BITS, 1>(weights::<BITS, 5>(values), &inputs, dots);
        add_step::<D, TOKENS, BITS, 2>(weights::<BITS, 6>(values), &inputs, dots);
        add_step::<D, TOKENS, BITS, 3>(weights::<BITS, 7>(values), &inputs, dots);
    }
}

/// Sixteen inputs of each token.
#[inline(always)]
unsafe fn sixteen<const TOKENS: usize>(
    (quants, columns): (*const i8, usize),
) -> [int8x16_t; TOKENS] {
    // SAFETY: the caller's.
    std::array::from_fn(|token| unsafe { vld1q_s8(quants.add(token * columns)) })
}

/// Adds the products of four inputs of eight rows and every token.
#[inline(always)]
unsafe fn add_step<D: Dot<BITS>, const TOKENS: usize, const BITS: u32, const LANE: i32>(
    weights: [int8x16_t; 2],
    inputs: &[int8x16_t; TOKENS],
    dots: &mut [D::Sums; TOKENS],
) {
    for (dot, inputs) in dots.iter_mut().zip(inputs) {
        // SAFETY: the caller has the instructions of `D`.
        unsafe { D::add::<LANE>(dot, weights, *inputs) }
    }
}
