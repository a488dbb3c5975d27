//! Packed integers times 8-bit activations with `smmla`: two rows of eight inputs times two tokens.
//!
//! Twice the products of an `sdot` in one instruction. The packed layout needs one `zip` a vector
//! for it; tokens are laid side by side in pairs once for all tiles. Sums keep the instruction's
//! order, two rows times two tokens, to the end: scales are spread to it, and a lane goes through the
//! very same steps as in the kernel with `sdot`, which takes what is not a multiple of four tokens.

use std::arch::{aarch64::*, asm};
use std::ops::Range;

use super::output::OutputTile;
use super::quantized_neon::{dotprod, instance};
use super::rows::{QuantizedRows, TileRange};
use super::tile_neon::{TileTask, for_each_tile, layout_of, sums_of};
use super::unpack_neon::{HALF_VECTOR, Scales, paired_weights};
use crate::quant::coding::product_bits;
use crate::weights::{BLOCK_INPUTS, PackedMatrix};

/// Tokens that fewest pairs hold; fewer gain nothing from being paired.
const FEWEST: usize = 4;

/// Activations, two tokens side by side.
struct PairedRows {
    blocks: usize,
    groups: usize,
    zero: i32,
    /// `[pairs, columns / 8, 2, 8]`
    quants: Vec<[[i8; 8]; 2]>,
    /// `[pairs, blocks, 2]`
    scales: Vec<[[f32; 1]; 2]>,
    /// `[pairs, blocks * groups, 2]`
    sums: Vec<[[f32; 1]; 2]>,
    /// `[pairs, blocks * groups, 2]`
    debts: Vec<[[i32; 1]; 2]>,
}

/// Lays the values of each pair of tokens side by side, `N` of one and `N` of the other.
fn pair<T: Copy, const N: usize>(
    values: &[T],
    width: usize,
    tokens: &Range<usize>,
) -> Vec<[[T; N]; 2]> {
    let rows = &values[tokens.start * width..tokens.end * width];
    let pairs = rows.chunks_exact(2 * width).flat_map(|pair| {
        let (first, second) = pair.split_at(width);
        first.as_chunks().0.iter().zip(second.as_chunks().0)
    });
    pairs.map(|(first, second)| [*first, *second]).collect()
}

impl PairedRows {
    /// The tokens, of which there is an even number.
    fn new(matrix: &PackedMatrix, rows: &QuantizedRows, tokens: &Range<usize>) -> Option<Self> {
        let layout = layout_of(matrix)?;
        let (sums, debts) = sums_of(rows, layout);
        let (blocks, groups) = (rows.blocks(), layout.groups());
        Some(Self {
            blocks,
            groups,
            zero: i32::from(layout.zero),
            quants: pair(&rows.quants, rows.columns(), tokens),
            scales: pair(&rows.scales, blocks, tokens),
            sums: pair(sums, blocks * groups, tokens),
            debts: pair(debts, blocks * groups, tokens),
        })
    }

    /// A pair's inputs of a block from `8 * step` on.
    ///
    /// # Safety
    ///
    /// There is such a pair, and such a block.
    #[inline(always)]
    unsafe fn inputs(&self, pair: usize, block: usize, step: usize) -> int8x16_t {
        let eights = BLOCK_INPUTS / 8;
        // SAFETY: a pair has `columns / 8` times 2 times 8 quants, of which the block's step is sixteen.
        unsafe {
            let place = (pair * self.blocks + block) * eights + step;
            vld1q_s8(self.quants.as_ptr().add(place).cast())
        }
    }

    /// The scales of both tokens, twice.
    ///
    /// # Safety
    ///
    /// There is such a pair, and such a block.
    #[inline(always)]
    unsafe fn scales(&self, pair: usize, block: usize) -> float32x4_t {
        // SAFETY: a pair has two scales for each block.
        unsafe {
            let place = self.scales.as_ptr().add(pair * self.blocks + block);
            let both = vld1_f32(place.cast());
            vcombine_f32(both, both)
        }
    }

    /// The sums of a group, twice.
    ///
    /// # Safety
    ///
    /// There is such a pair, and such a group of its row.
    #[inline(always)]
    unsafe fn sums(&self, pair: usize, group: usize) -> float32x4_t {
        // SAFETY: a pair has two sums for each group of its row.
        unsafe {
            let place = pair * self.blocks * self.groups + group;
            let both = vld1_f32(self.sums.as_ptr().add(place).cast());
            vcombine_f32(both, both)
        }
    }

    /// What the zero point takes from the products of a group, twice.
    ///
    /// # Safety
    ///
    /// As [`Self::sums`].
    #[inline(always)]
    unsafe fn debts(&self, pair: usize, group: usize) -> int32x4_t {
        // SAFETY: a pair has two debts for each group of its row.
        unsafe {
            let place = pair * self.blocks * self.groups + group;
            let both = vld1_s32(self.debts.as_ptr().add(place).cast());
            let both = vmul_n_s32(both, self.zero);
            vcombine_s32(both, both)
        }
    }
}

/// Multiplies the range; `false` where no instance fits the layout.
///
/// # Safety
///
/// Needs NEON, dotprod and i8mm. `output` has the range's size, the range lies inside matrix and
/// rows, and both have the same number of columns (checked by `Native`).
#[target_feature(enable = "neon,dotprod,i8mm")]
pub(crate) unsafe fn multiply(
    matrix: &PackedMatrix,
    rows: &QuantizedRows,
    range: &TileRange,
    output: &mut OutputTile<'_>,
) -> bool {
    let tokens = range.tokens.len();
    let paired = tokens / FEWEST * FEWEST;
    if paired == 0 {
        // SAFETY: the caller checked the product, and has what `sdot` needs.
        return unsafe { dotprod::multiply(matrix, rows, range, output) };
    }
    let first = range.tokens.start;
    let pairs = PairedRows::new(matrix, rows, &(first..first + paired));
    let (Some(layout), Some(pairs)) = (layout_of(matrix), pairs) else {
        return false;
    };
    let instance: Option<MultiplyPairs> = instance!(layout, all_pairs);
    let (Some(multiply_pairs), Some(multiply_rest)) = (instance, dotprod::tile_of(layout)) else {
        return false;
    };
    for_each_tile((matrix, layout), (rows, range), output, |mut task| {
        // SAFETY: the caller checked the product; the task begins at the range's first token, the pairs cover
        // `paired` of them.
        unsafe {
            multiply_pairs(task, &pairs, paired / 2);
            task.skip(paired, layout.groups());
            multiply_rest(task, tokens - paired);
        }
    });
    true
}

type MultiplyPairs = unsafe fn(TileTask, &PairedRows, usize);

/// Four pairs at a time, then two.
///
/// # Safety
///
/// As `multiply`; there are `pairs` pairs, an even number.
#[target_feature(enable = "neon,dotprod,i8mm")]
unsafe fn all_pairs<
    const CODING: u32,
    const GROUPS: usize,
    const ENCODING: u8,
    const MINIMUM: bool,
>(
    mut task: TileTask,
    rows: &PairedRows,
    pairs: usize,
) {
    let mut first = 0;
    while first < pairs {
        // SAFETY: each step covers pairs that are left.
        unsafe {
            first += if pairs - first >= 4 {
                some_pairs::<4, CODING, GROUPS, ENCODING, MINIMUM>(task, rows, first)
            } else {
                some_pairs::<2, CODING, GROUPS, ENCODING, MINIMUM>(task, rows, first)
            };
        }
        task.tile.ahead = 0;
    }
}

/// # Safety
///
/// As `multiply`; there are `PAIRS` pairs from `first` on.
#[target_feature(enable = "neon,dotprod,i8mm")]
unsafe fn some_pairs<
    const PAIRS: usize,
    const CODING: u32,
    const GROUPS: usize,
    const ENCODING: u8,
    const MINIMUM: bool,
>(
    task: TileTask,
    rows: &PairedRows,
    first: usize,
) -> usize {
    let mut sums = [[vdupq_n_f32(0.0); 8]; PAIRS];
    // SAFETY: the tile's streams hold `blocks` blocks, and `rows` those pairs.
    unsafe {
        let mut scales = Scales::<ENCODING, MINIMUM>::new(task.tile.scales);
        for block in 0..task.tile.blocks {
            let values = task.tile.block::<CODING>(block);
            scales.begin_block(block);
            for group in 0..GROUPS {
                let in_row = block * GROUPS + group;
                for half in 0..2 {
                    let mut dots = [[vdupq_n_s32(0); 4]; PAIRS];
                    if product_bits(CODING) != 8 && !MINIMUM {
                        dots = std::array::from_fn(|pair| [rows.debts(first + pair, in_row); 4]);
                    }
                    let inputs = |pair, step| rows.inputs(first + pair, block, step);
                    let values = values.add(half * HALF_VECTOR);
                    // What shares packed bytes goes together where one group has it all.
                    if GROUPS == 1 {
                        add_step::<PAIRS, CODING, 0>(values, inputs, &mut dots);
                        add_step::<PAIRS, CODING, 2>(values, inputs, &mut dots);
                        add_step::<PAIRS, CODING, 1>(values, inputs, &mut dots);
                        add_step::<PAIRS, CODING, 3>(values, inputs, &mut dots);
                    } else if group == 0 {
                        add_step::<PAIRS, CODING, 0>(values, inputs, &mut dots);
                        add_step::<PAIRS, CODING, 1>(values, inputs, &mut dots);
                    } else {
                        add_step::<PAIRS, CODING, 2>(values, inputs, &mut dots);
                        add_step::<PAIRS, CODING, 3>(values, inputs, &mut dots);
                    }
                    let (scale, minimum) = scales.of_half(half);
                    let (scale, minimum) = (twice(scale), twice(minimum));
                    for (pair, dots) in dots.into_iter().enumerate() {
                        let factor = rows.scales(first + pair, block);
                        let offset = rows.sums(first + pair, in_row);
                        for (two_rows, dot) in dots.into_iter().enumerate() {
                            let sum = &mut sums[pair][4 * half + two_rows];
                            let factor = vmulq_f32(scale[two_rows], factor);
                            *sum = vfmaq_f32(*sum, vcvtq_f32_s32(dot), factor);
                            if MINIMUM {
                                *sum = vfmaq_f32(*sum, minimum[two_rows], offset);
                            }
                        }
                    }
                }
                scales.end_group();
            }
        }
        for (pair, sums) in sums.into_iter().enumerate() {
            let quarters = |join: fn(float32x4_t, float32x4_t) -> float32x4_t| {
                std::array::from_fn(|quarter| join(sums[2 * quarter], sums[2 * quarter + 1]))
            };
            let token = 2 * (first + pair);
            task.target.put(token, quarters(|a, b| vuzp1q_f32(a, b)));
            task.target
                .put(token + 1, quarters(|a, b| vuzp2q_f32(a, b)));
        }
    }
    PAIRS
}

/// Eight rows' values, each once for either token of a pair.
#[inline(always)]
unsafe fn twice([low, high]: [float32x4_t; 2]) -> [float32x4_t; 4] {
    // SAFETY: NEON is the baseline of the target; only registers are touched.
    unsafe {
        [
            vzip1q_f32(low, low),
            vzip2q_f32(low, low),
            vzip1q_f32(high, high),
            vzip2q_f32(high, high),
        ]
    }
}

/// Adds the products of eight inputs of eight rows and every pair.
///
/// # Safety
///
/// `values` stand at the half's bytes of a block, `inputs` gives those of the block.
#[inline(always)]
unsafe fn add_step<const PAIRS: usize, const CODING: u32, const STEP: usize>(
    values: *const u8,
    inputs: impl Fn(usize, usize) -> int8x16_t,
    dots: &mut [[int32x4_t; 4]; PAIRS],
) {
    // SAFETY: the half's bytes of a block are behind `values`; the caller has `smmla`, which touches nothing but
    // registers.
    unsafe {
        let weights = paired_weights::<CODING, STEP>(values);
        for (pair, dots) in dots.iter_mut().enumerate() {
            let inputs = inputs(pair, STEP);
            for (dot, weights) in dots.iter_mut().zip(weights) {
                // The intrinsic is not stable yet. Not `pure`: the compiler keeps the order, in which
                // all accumulators fit the registers.
                asm!(
                    "smmla {sum:v}.4s, {weights:v}.16b, {inputs:v}.16b",
                    sum = inout(vreg) *dot,
                    weights = in(vreg) weights,
                    inputs = in(vreg) inputs,
                    options(nomem, nostack, preserves_flags)
                );
            }
        }
    }
}
