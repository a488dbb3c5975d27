//! Packed integers times 8-bit activations, a lane an output row: `vpdpbusd`, or `vpmaddubsw` where
//! there is no VNNI.
//!
//! Two tiles, so 32 rows, meet up to six tokens at a time: four activation bytes are broadcast once
//! for both, a weight vector is unpacked once for all tokens, and the accumulators stay in registers.
//! The algorithm is generic over the [`WideDot`] and becomes vector code inside the two functions
//! that have the features. A weight is `scale * (integer - zero) + minimum`; a zero point starts the integer
//! product at `-zero * sum of the activations`, a minimum is one multiply-add with that sum. What
//! happens to a token's numbers is the same in the same order whatever stands beside it.

use std::arch::x86_64::*;

use super::destination_avx512::Destination;
use super::dot_avx512::{Maddubs, Vnni, WideDot};
use super::output::OutputTile;
use super::rows::{QuantizedRows, TileRange};
use super::tile_avx512::{TilePair, all_tokens};
use crate::quant::coding::{FLOATS, NONLINEAR, ODD};
use crate::quant::{BFLOAT_SCALES, HALF_SCALES, SINGLE_SCALES, SUPER_SCALES, ScaleEncoding};
use crate::read_ahead::Asking;
use crate::weights::{Elements, PackedMatrix, QuantLayout, TILE_ROWS};

/// Up to so many tokens pass over one tile at a time, for the weights come from memory.
const FEW: usize = 8;

/// About so many of more tokens pass over two at a time.
const TOKENS: usize = 6;

/// How far ahead of one tile's weights memory is asked for, in bytes; two tiles ask for the next two.
const AHEAD: usize = 8192;

/// Multiplies the range with `vpdpbusd`; `false` where no instance fits the layout.
///
/// # Safety
///
/// Needs AVX-512 F, BW, DQ, VL and VNNI. `output` has the range's size, the range lies inside matrix
/// and rows, and both have the same number of columns (checked by `Native`).
pub(crate) unsafe fn multiply(
    matrix: &PackedMatrix,
    rows: &QuantizedRows,
    range: &TileRange,
    output: &mut OutputTile<'_>,
) -> bool {
    // SAFETY: the caller has VNNI too, and checked the product.
    unsafe { multiply_with::<Vnni>(matrix, rows, range, output) }
}

/// The same with `vpmaddubsw`.
///
/// # Safety
///
/// As `multiply`, without VNNI.
pub(crate) unsafe fn multiply_base(
    matrix: &PackedMatrix,
    rows: &QuantizedRows,
    range: &TileRange,
    output: &mut OutputTile<'_>,
) -> bool {
    // SAFETY: the caller has all but VNNI, and checked the product.
    unsafe { multiply_with::<Maddubs>(matrix, rows, range, output) }
}

/// # Safety
///
/// As `multiply`, with the instruction set of `D`.
unsafe fn multiply_with<D: Enter>(
    matrix: &PackedMatrix,
    rows: &QuantizedRows,
    range: &TileRange,
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
    let multiply_tiles = match key {
        (4, 1, ScaleEncoding::Half, false) => D::both::<4, 1, HALF_SCALES, false>(),
        (4, 1, ScaleEncoding::Half, true) => D::both::<4, 1, HALF_SCALES, true>(),
        (4, 1, ScaleEncoding::Super, true) => D::both::<4, 1, SUPER_SCALES, true>(),
        (4, 2, ScaleEncoding::Super, false) => D::both::<4, 2, SUPER_SCALES, false>(),
        (4, 2, ScaleEncoding::Super, true) => D::both::<4, 2, SUPER_SCALES, true>(),
        (5, 1, ScaleEncoding::Half, false) => D::both::<5, 1, HALF_SCALES, false>(),
        (5, 1, ScaleEncoding::Half, true) => D::both::<5, 1, HALF_SCALES, true>(),
        (5, 1, ScaleEncoding::Super, true) => D::both::<5, 1, SUPER_SCALES, true>(),
        (6, 2, ScaleEncoding::Super, false) => D::both::<6, 2, SUPER_SCALES, false>(),
        (8, 1, ScaleEncoding::Half, false) => D::both::<8, 1, HALF_SCALES, false>(),
        (8, 1, ScaleEncoding::Single, false) => D::both::<8, 1, SINGLE_SCALES, false>(),
        (NONLINEAR, 1, ScaleEncoding::Half, false) => D::both::<NONLINEAR, 1, HALF_SCALES, false>(),
        (NONLINEAR, 1, ScaleEncoding::Super, false) => {
            D::both::<NONLINEAR, 1, SUPER_SCALES, false>()
        }
        (ODD, 1, ScaleEncoding::Super, false) => D::both::<ODD, 1, SUPER_SCALES, false>(),
        (FLOATS, 1, ScaleEncoding::Bfloat, false) => D::both::<FLOATS, 1, BFLOAT_SCALES, false>(),
        _ => return false,
    };
    // SAFETY: the caller has the instructions of the instances, and checked the product.
    unsafe { for_each_pair(matrix, layout, (rows, range), output, multiply_tiles) };
    true
}

type MultiplyTiles = unsafe fn(TilePair, usize, (usize, usize), &mut Asking<'_>);

/// Where the algorithm is compiled with the features of a [`WideDot`].
trait Enter: WideDot {
    /// The instances for one tile and for two.
    fn both<const CODING: u32, const GROUPS: usize, const ENCODING: u8, const MINIMUM: bool>()
    -> [MultiplyTiles; 2];
}

macro_rules! enter {
    ($dot:ident, $entry:ident, $features:literal) => {
        impl Enter for $dot {
            fn both<
                const CODING: u32,
                const GROUPS: usize,
                const ENCODING: u8,
                const MINIMUM: bool,
            >() -> [MultiplyTiles; 2] {
                [
                    $entry::<1, CODING, GROUPS, ENCODING, MINIMUM>,
                    $entry::<2, CODING, GROUPS, ENCODING, MINIMUM>,
                ]
            }
        }

        /// # Safety
        ///
        /// As `all_tokens`.
        #[target_feature(enable = $features)]
        unsafe fn $entry<
            const TILES: usize,
            const CODING: u32,
            const GROUPS: usize,
            const ENCODING: u8,
            const MINIMUM: bool,
        >(
            task: TilePair,
            tokens: usize,
            widths: (usize, usize),
            asking: &mut Asking<'_>,
        ) {
            // SAFETY: the features of the dot are on, and the caller has the tokens and tiles.
            unsafe {
                let dot = $dot::new();
                all_tokens::<$dot, TILES, CODING, GROUPS, ENCODING, MINIMUM>(
                    dot, task, tokens, widths, asking,
                );
            }
        }
    };
}
enter!(
    Vnni,
    with_vnni,
    "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni,avx2,fma,f16c"
);
enter!(
    Maddubs,
    without_vnni,
    "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma,f16c"
);

/// # Safety
///
/// As `multiply`, with the instruction set of the instances.
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma,f16c")]
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
    let passes = match range.tokens.len() {
        ..=FEW => range.tiles.len(),
        tokens => range.tiles.len().div_ceil(2) * tokens.div_ceil(TOKENS),
    };
    let mut asking = Asking::in_steps(&range.ahead, passes * blocks);
    let mut tile = range.tiles.start;
    while tile < range.tiles.end {
        // Few tokens wait for memory: one stream, read once, is what comes fastest.
        let pair = range.tokens.len() > FEW && tile + 1 < range.tiles.end;
        let tiles = 1 + usize::from(pair);
        let column = (tile - range.tiles.start) * TILE_ROWS;
        let (values, scales) = (matrix.tile_values(tile), matrix.tile_scales(tile));
        let ahead = AHEAD.max((tiles - 1) * 2 * values.len());
        // SAFETY: the pointers begin at the range's first token and this tile; the range is inside.
        unsafe {
            let task = TilePair {
                values: values.as_ptr(),
                scales: scales.as_ptr(),
                value_bytes: values.len(),
                scale_bytes: scales.len(),
                blocks,
                zero_shift: _mm_cvtsi32_si128(layout.zero.max(1).trailing_zeros() as i32),
                ahead,
                scales_ahead: ahead * scales.len() / values.len().max(1),
                first_fetch: 0,
                fetch_every: 1,
                quants: rows.quants[first * rows.columns()..].as_ptr(),
                activation_scales: rows.scales[first * blocks..].as_ptr(),
                activation_sums: sums[first * blocks * groups..].as_ptr(),
                activation_debts: debts[first * blocks * groups..].as_ptr(),
                destination: Destination::new(output, column, tiles),
            };
            let widths = (rows.columns(), blocks * groups);
            multiply_tiles[tiles - 1](task, range.tokens.len(), widths, &mut asking);
        }
        tile += tiles;
    }
}
