//! Packed integers times 8-bit activations, eight rows at a time with AVX2 and four with SSE4.2: `pmaddubsw`, or
//! `vpdpbusd` where AVX-VNNI has it.
//!
//! The same sum as the AVX-512 version: a weight vector is unpacked once for three or four tokens, each
//! token's four activation bytes are broadcast, a zero point starts the integer product. The
//! algorithm is generic over the [`ByteDot`] and becomes vector code inside the functions that
//! have the features.

use std::arch::x86_64::*;

use super::dot_x86::{ByteDot, Maddubs, Vnni};
use super::output::OutputTile;
use super::register_x86::{EightRows, FourRows, Register};
use super::rows::{QuantizedRows, TileRange};
use super::unpack_x86::Scales;
use super::words_avx2;
use crate::quant::coding::{FLOATS, NONLINEAR, ODD, product_bits, stored_bits};
use crate::quant::{BFLOAT_SCALES, HALF_SCALES, SINGLE_SCALES, SUPER_SCALES, ScaleEncoding};
use crate::read_ahead::{Asking, ask_all};
use crate::simd::Lanes;
use crate::weights::{Elements, PackedMatrix, QuantLayout, TILE_ROWS};

/// Up to so many tokens the weights come from memory, which is asked this far ahead, in bytes.
const FEW: usize = 8;
const AHEAD: usize = 8192;

/// The rows of a register and some tokens, as pointers.
#[derive(Clone, Copy)]
struct PartOfTile {
    values: *const u8,
    scales: *const u8,
    /// Which rows of the tile: so many times those of a register stand before them.
    part: usize,
    ahead: usize,
    blocks: usize,
    /// Log of the zero point.
    zero_shift: __m128i,
    quants: *const i8,
    activation_scales: *const f32,
    activation_sums: *const f32,
    activation_debts: *const i32,
}

/// Multiplies the range with `vpmaddubsw`; `false` where no instance fits the layout.
///
/// # Safety
///
/// Needs AVX2, FMA and F16C. `output` has the range's size, the range lies inside matrix and rows,
/// and both have the same number of columns (checked by `Native`).
#[target_feature(enable = "avx2,fma,f16c")]
pub(crate) unsafe fn multiply(
    matrix: &PackedMatrix,
    rows: &QuantizedRows,
    range: &TileRange,
    output: &mut OutputTile<'_>,
) -> bool {
    // SAFETY: AVX2, FMA and F16C are on, and the caller checked the product.
    unsafe {
        match matrix.elements() {
            Elements::Quantized(layout)
                if product_bits(layout.coding()) == 8 && range.tokens.len() > FEW =>
            {
                ask_all(&range.ahead);
                words_avx2::multiply_bytes(matrix, layout, (rows, range), output)
            }
            _ => multiply_with(Maddubs::<EightRows>::new(), matrix, (rows, range), output),
        }
    }
}

/// Multiplies the range with `vpdpbusd`; `false` where no instance fits the layout.
///
/// # Safety
///
/// As `multiply`, and needs AVX-VNNI.
#[target_feature(enable = "avx2,fma,f16c,avxvnni")]
pub(crate) unsafe fn multiply_vnni(
    matrix: &PackedMatrix,
    rows: &QuantizedRows,
    range: &TileRange,
    output: &mut OutputTile<'_>,
) -> bool {
    // SAFETY: AVX-VNNI is on too, and the caller checked the product.
    unsafe { multiply_with(Vnni::new(), matrix, (rows, range), output) }
}

/// Multiplies the range with `pmaddubsw`; `false` where no instance fits the layout.
///
/// # Safety
///
/// Needs SSE4.2; else as `multiply`.
#[target_feature(enable = "sse4.2")]
pub(crate) unsafe fn multiply_sse42(
    matrix: &PackedMatrix,
    rows: &QuantizedRows,
    range: &TileRange,
    output: &mut OutputTile<'_>,
) -> bool {
    // SAFETY: SSE4.2 is on, and the caller checked the product.
    unsafe { multiply_with(Maddubs::<FourRows>::new(), matrix, (rows, range), output) }
}

/// # Safety
///
/// As `multiply`, with the instructions of the dot.
#[inline(always)]
unsafe fn multiply_with<D: ByteDot>(
    dot: D,
    matrix: &PackedMatrix,
    work: (&QuantizedRows, &TileRange),
    output: &mut OutputTile<'_>,
) -> bool {
    let Elements::Quantized(layout) = matrix.elements() else {
        return false;
    };
    let key = (
        layout.coding(),
        layout.groups(),
        layout.encoding,
        layout.has_minimum,
    );
    macro_rules! all {
        ($coding:tt, $groups:tt, $encoding:tt, $minimum:tt) => {
            all::<D, $coding, $groups, $encoding, $minimum>((dot, matrix, layout), work, output)
        };
    }
    // SAFETY: the caller checked the product, and each arm is the instance of the layout.
    unsafe {
        match key {
            (4, 1, ScaleEncoding::Half, false) => all!(4, 1, HALF_SCALES, false),
            (4, 1, ScaleEncoding::Half, true) => all!(4, 1, HALF_SCALES, true),
            (4, 1, ScaleEncoding::Super, true) => all!(4, 1, SUPER_SCALES, true),
            (4, 2, ScaleEncoding::Super, false) => all!(4, 2, SUPER_SCALES, false),
            (4, 2, ScaleEncoding::Super, true) => all!(4, 2, SUPER_SCALES, true),
            (5, 1, ScaleEncoding::Half, false) => all!(5, 1, HALF_SCALES, false),
            (5, 1, ScaleEncoding::Half, true) => all!(5, 1, HALF_SCALES, true),
            (5, 1, ScaleEncoding::Super, true) => all!(5, 1, SUPER_SCALES, true),
            (6, 2, ScaleEncoding::Super, false) => all!(6, 2, SUPER_SCALES, false),
            (8, 1, ScaleEncoding::Half, false) => all!(8, 1, HALF_SCALES, false),
            (8, 1, ScaleEncoding::Single, false) => all!(8, 1, SINGLE_SCALES, false),
            (NONLINEAR, 1, ScaleEncoding::Half, false) => all!(NONLINEAR, 1, HALF_SCALES, false),
            (NONLINEAR, 1, ScaleEncoding::Super, false) => all!(NONLINEAR, 1, SUPER_SCALES, false),
            (ODD, 1, ScaleEncoding::Super, false) => all!(ODD, 1, SUPER_SCALES, false),
            (FLOATS, 1, ScaleEncoding::Bfloat, false) => all!(FLOATS, 1, BFLOAT_SCALES, false),
            _ => return false,
        }
    }
    true
}

/// Every part of a tile with every token of the range.
///
/// # Safety
///
/// As `multiply`, for the layout that the instance is of.
#[inline(always)]
unsafe fn all<
    D: ByteDot,
    const CODING: u32,
    const GROUPS: usize,
    const ENCODING: u8,
    const MINIMUM: bool,
>(
    (dot, matrix, layout): (D, &PackedMatrix, QuantLayout),
    (rows, range): (&QuantizedRows, &TileRange),
    output: &mut OutputTile<'_>,
) {
    let blocks = rows.blocks();
    let (sums, debts) = if GROUPS == 1 {
        (&rows.block_sums, &rows.block_debts)
    } else {
        (&rows.half_sums, &rows.half_debts)
    };
    let count = range.tokens.len();
    let parts = TILE_ROWS / width::<D>();
    let passes = parts * range.tiles.len() * count.div_ceil(D::tokens(CODING));
    let mut asking = Asking::in_steps(&range.ahead, passes * blocks);
    let tiles = range.tiles.clone();
    let each_part = tiles.flat_map(|tile| (0..parts).map(move |part| (tile, part)));
    for (index, (tile, part)) in each_part.enumerate() {
        let mut done = 0;
        while done < count {
            let first = range.tokens.start + done;
            let task = PartOfTile {
                values: matrix.tile_values(tile).as_ptr(),
                scales: matrix.tile_scales(tile).as_ptr(),
                part,
                ahead: AHEAD * usize::from(done == 0 && part == 0 && count <= FEW),
                blocks,
                // SAFETY: one register is filled, of a set that every machine of the target has.
                zero_shift: unsafe {
                    _mm_cvtsi32_si128(layout.zero.max(1).trailing_zeros() as i32)
                },
                quants: rows.quants[first * rows.columns()..].as_ptr(),
                activation_scales: rows.scales[first * blocks..].as_ptr(),
                activation_sums: sums[first * blocks * GROUPS..].as_ptr(),
                activation_debts: debts[first * blocks * GROUPS..].as_ptr(),
            };
            let target = (&mut *output, done, index * width::<D>());
            let left = count - done;
            // SAFETY: so many tokens stand behind the pointers.
            done += unsafe {
                next::<D, CODING, GROUPS, ENCODING, MINIMUM>(dot, task, left, target, &mut asking)
            };
        }
    }
}

/// As many tokens as fit the registers; how many that were.
///
/// # Safety
///
/// `left` tokens stand behind the part's pointers.
#[inline(always)]
unsafe fn next<
    D: ByteDot,
    const CODING: u32,
    const GROUPS: usize,
    const ENCODING: u8,
    const MINIMUM: bool,
>(
    dot: D,
    task: PartOfTile,
    left: usize,
    target: (&mut OutputTile<'_>, usize, usize),
    asking: &mut Asking<'_>,
) -> usize {
    // SAFETY: no instance takes more tokens than are left.
    unsafe {
        match left {
            4.. if D::tokens(CODING) == 4 => {
                some::<D, 4, CODING, GROUPS, ENCODING, MINIMUM>(dot, task, target, asking)
            }
            3.. => some::<D, 3, CODING, GROUPS, ENCODING, MINIMUM>(dot, task, target, asking),
            2.. => some::<D, 2, CODING, GROUPS, ENCODING, MINIMUM>(dot, task, target, asking),
            _ => some::<D, 1, CODING, GROUPS, ENCODING, MINIMUM>(dot, task, target, asking),
        }
    }
}

/// Rows of a register.
const fn width<D: ByteDot>() -> usize {
    <<D::Register as Register>::Lanes as Lanes>::WIDTH
}

type Vector<D> = <<<D as ByteDot>::Register as Register>::Lanes as Lanes>::Vector;

/// # Safety
///
/// `COUNT` tokens stand behind the part's pointers.
#[inline(always)]
unsafe fn some<
    D: ByteDot,
    const COUNT: usize,
    const CODING: u32,
    const GROUPS: usize,
    const ENCODING: u8,
    const MINIMUM: bool,
>(
    dot: D,
    task: PartOfTile,
    (output, row, column): (&mut OutputTile<'_>, usize, usize),
    asking: &mut Asking<'_>,
) -> usize {
    // SAFETY: the streams hold `blocks` blocks, the activation pointers `COUNT` rows.
    let sums =
        unsafe { products::<D, COUNT, CODING, GROUPS, ENCODING, MINIMUM>(dot, task, asking) };
    for (token, sum) in sums.into_iter().enumerate() {
        let mut lanes = [0.0; TILE_ROWS];
        dot.register()
            .lanes()
            .store_up_to(&mut lanes[..width::<D>()], sum);
        output.put(row + token, column, &lanes[..width::<D>()]);
    }
    COUNT
}

/// # Safety
///
/// As [`some`].
#[inline(always)]
unsafe fn products<
    D: ByteDot,
    const COUNT: usize,
    const CODING: u32,
    const GROUPS: usize,
    const ENCODING: u8,
    const MINIMUM: bool,
>(
    dot: D,
    task: PartOfTile,
    asking: &mut Asking<'_>,
) -> [Vector<D>; COUNT] {
    let columns = task.blocks * 32;
    let (register, lanes) = (dot.register(), dot.register().lanes());
    let mut sums = [lanes.splat(0.0); COUNT];
    let mut scales = Scales::<_, ENCODING, MINIMUM>::new(lanes, task.scales, task.part);
    // SAFETY: the streams hold `blocks` blocks of the layout, and the activation pointers `COUNT` rows of as many.
    unsafe {
        for block in 0..task.blocks {
            let values = task.values.add(block * 64 * stored_bits(CODING) as usize);
            if task.ahead > 0 {
                for line in 0..stored_bits(CODING) as usize {
                    let address = values.wrapping_add(task.ahead + line * 64);
                    _mm_prefetch::<_MM_HINT_T0>(address.cast());
                }
            }
            asking.step();
            let values = values.add(task.part * width::<D>() * 4);
            let quants = (task.quants.add(block * 32), columns);
            scales.begin_block(block);
            for group in 0..GROUPS {
                let mut dots = [dot.zero(); COUNT];
                if GROUPS == 1 || group == 0 {
                    dot.add::<COUNT, CODING, 0>(values, quants, &mut dots);
                    dot.add::<COUNT, CODING, 1>(values, quants, &mut dots);
                    dot.add::<COUNT, CODING, 2>(values, quants, &mut dots);
                    dot.add::<COUNT, CODING, 3>(values, quants, &mut dots);
                }
                if GROUPS == 1 || group == 1 {
                    dot.add::<COUNT, CODING, 4>(values, quants, &mut dots);
                    dot.add::<COUNT, CODING, 5>(values, quants, &mut dots);
                    dot.add::<COUNT, CODING, 6>(values, quants, &mut dots);
                    dot.add::<COUNT, CODING, 7>(values, quants, &mut dots);
                }
                let (scale, minimum) = scales.next_group();
                for token in 0..COUNT {
                    let place = (token * task.blocks + block) * GROUPS + group;
                    let mut sum = dot.total::<CODING>(dots[token]);
                    if !MINIMUM {
                        let debt = register.splat_four(*task.activation_debts.add(place));
                        sum = register.add_sums(sum, register.scale_sums(debt, task.zero_shift));
                    }
                    let factor = *task.activation_scales.add(token * task.blocks + block);
                    let factor = lanes.mul(scale, lanes.splat(factor));
                    let total = &mut sums[token];
                    *total = lanes.fma(register.floats(sum), factor, *total);
                    if MINIMUM {
                        let offset = lanes.splat(*task.activation_sums.add(place));
                        *total = lanes.fma(minimum, offset, *total);
                    }
                }
            }
        }
    }
    sums
}
