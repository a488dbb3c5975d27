//! Writing keys and values into a block, many tokens at once.

use super::eighths::Eighths;
use super::layout::{BLOCK_TOKENS, KvFormat, KvLayout, Side};
use super::packing::{Halves, Packing};
use super::rotation;
use super::run::{KvRows, KvRun};
use super::storage::KvDataMut;
use super::stored::Stored;
use crate::simd::Lanes;

/// Writes the rows of a run to `piece`, the layer's numbers in its block.
///
/// # Safety
///
/// [`KvRun::check`] passed.
#[inline(always)]
pub(crate) unsafe fn store_run<L: Lanes>(
    lanes: L,
    layout: KvLayout,
    rows: KvRows<'_>,
    run: KvRun,
    piece: &mut KvDataMut<'_>,
) {
    // SAFETY: the caller checked the run.
    unsafe {
        match piece {
            KvDataMut::F32(piece) => store_heads::<L, f32, f32>(lanes, layout, (rows, run), piece),
            KvDataMut::I16(piece) => store_heads::<L, i16, i16>(lanes, layout, (rows, run), piece),
            KvDataMut::I8(piece) => match layout.format {
                KvFormat::K8V4 => store_heads::<L, i8, Halves>(lanes, layout, (rows, run), piece),
                KvFormat::Q4 => store_heads::<L, Halves, Halves>(lanes, layout, (rows, run), piece),
                KvFormat::Q3 => {
                    store_heads::<L, Eighths, Eighths>(lanes, layout, (rows, run), piece);
                }
                KvFormat::F32 | KvFormat::I16 | KvFormat::I8 => {
                    store_heads::<L, i8, i8>(lanes, layout, (rows, run), piece);
                }
            },
        }
    }
}

/// # Safety
///
/// As [`store_run`].
#[inline(always)]
unsafe fn store_heads<L: Lanes, K: Packing, V: Packing<Element = K::Element>>(
    lanes: L,
    layout: KvLayout,
    (rows, run): (KvRows<'_>, KvRun),
    piece: &mut [K::Element],
) {
    let mut turned = Turned::new(layout);
    let heads = piece.chunks_exact_mut(layout.head_elements());
    for (head, piece) in heads.take(layout.kv_heads).enumerate() {
        let begin = run.first_row * rows.stride + head * layout.head_dim;
        let (keys, rest) = piece.split_at_mut(layout.panel_elements(Side::Key));
        let (scales, values) = rest.split_at_mut(rest.len() - layout.panel_elements(Side::Value));
        // SAFETY: the run was checked, so each source has `run.rows` rows of `head_dim`, and each target has
        // the sixteen of a block.
        unsafe {
            let (numbers, stride) = turned.turn(&rows.keys[begin..], run.rows, rows.stride);
            let mut source = Source::new(numbers, stride);
            source.scale::<K>((numbers, layout), (Side::Key, run), scales);
            store_keys::<L, K>(lanes, &source, run, layout.head_dim, keys);
            let (numbers, stride) = turned.turn(&rows.values[begin..], run.rows, rows.stride);
            let mut source = Source::new(numbers, stride);
            source.scale::<V>((numbers, layout), (Side::Value, run), scales);
            store_values::<L, V>(lanes, &source, run, layout, values);
        }
    }
}

/// Rows of one head, as they are stored: turned where the format asks for it.
struct Turned {
    layout: KvLayout,
    rows: Vec<f32>,
}

impl Turned {
    fn new(layout: KvLayout) -> Self {
        let numbers = if layout.turned_together() > 1 {
            BLOCK_TOKENS * layout.head_dim
        } else {
            0
        };
        Self {
            layout,
            rows: vec![0.0; numbers],
        }
    }

    /// The rows, and how far they are apart.
    #[inline(always)]
    fn turn<'a>(&'a mut self, rows: &'a [f32], count: usize, stride: usize) -> (&'a [f32], usize) {
        let (head_dim, length) = (self.layout.head_dim, self.layout.turned_together());
        if length <= 1 {
            return (rows, stride);
        }
        let targets = self.rows.chunks_exact_mut(head_dim);
        for (index, target) in targets.take(count).enumerate() {
            target.copy_from_slice(&rows[index * stride..][..head_dim]);
            rotation::turn(target, length);
        }
        (&self.rows, head_dim)
    }
}

/// Rows of one head.
struct Source {
    first: *const f32,
    stride: usize,
    /// What each row is multiplied by before it is stored.
    factors: [f32; BLOCK_TOKENS],
}

impl Source {
    #[inline(always)]
    fn new(rows: &[f32], stride: usize) -> Self {
        Self {
            first: rows.as_ptr(),
            stride,
            factors: [1.0; BLOCK_TOKENS],
        }
    }

    /// Gives each row its scale, which is written to those of its head.
    #[inline(always)]
    fn scale<P: Packing>(
        &mut self,
        (numbers, layout): (&[f32], KvLayout),
        (side, run): (Side, KvRun),
        scales: &mut [P::Element],
    ) {
        if !P::Element::HAS_SCALES {
            return;
        }
        for row in 0..run.rows {
            let scale = P::scale(side, &numbers[row * self.stride..][..layout.head_dim]);
            P::write_scale(scales, (side, run.position + row), scale.unit);
            self.factors[row] = scale.inverse;
        }
    }
}

/// Keys dimension by dimension.
///
/// # Safety
///
/// There are `run.rows` rows of `head_dim` numbers.
#[inline(always)]
unsafe fn store_keys<L: Lanes, K: Packing>(
    lanes: L,
    rows: &Source,
    run: KvRun,
    head_dim: usize,
    keys: &mut [K::Element],
) {
    let (stride, together) = (rows.stride, K::Element::TOGETHER);
    let mut token = 0;
    while token < run.rows {
        let tokens = L::WIDTH.min(run.rows - token);
        for dimension in (0..head_dim).step_by(L::WIDTH) {
            let count = L::WIDTH.min(head_dim - dimension);
            // SAFETY: as many dimensions as `count` and tokens as `tokens` are left of the rows; whole columns
            // go to rows of sixteen that hold as many more.
            unsafe {
                let source = rows.first.add(token * stride + dimension);
                let factors = &rows.factors[token..][..tokens];
                if tokens == L::WIDTH && count == L::WIDTH {
                    let (panel, position) = (keys.as_mut_ptr(), run.position + token);
                    let factors = lanes.load(factors.as_ptr());
                    let mut columns = [factors; 2];
                    lanes.for_each_column(source, stride, |column, vector| {
                        columns[column % together] = vector;
                        if column % together == together - 1 {
                            let row = dimension + column / together * together;
                            let place = (row, position, BLOCK_TOKENS);
                            K::store_together(lanes, panel, place, columns, [factors; 2]);
                        }
                    });
                } else {
                    for (row, factor) in factors.iter().enumerate() {
                        let source = source.add(row * stride);
                        let parts = K::parts(lanes, vector(lanes, source, count), *factor);
                        for (index, part) in parts[..count].iter().enumerate() {
                            let place = (dimension + index, run.position + token + row);
                            K::put(keys, place, BLOCK_TOKENS, *part);
                        }
                    }
                }
            }
        }
        token += tokens;
    }
}

/// Values token by token, or as many at once as stand side by side.
///
/// # Safety
///
/// As [`store_keys`].
#[inline(always)]
unsafe fn store_values<L: Lanes, V: Packing>(
    lanes: L,
    rows: &Source,
    run: KvRun,
    layout: KvLayout,
    values: &mut [V::Element],
) {
    let (head_dim, width) = (layout.head_dim, layout.padded_dim());
    let together = V::Element::TOGETHER;
    let mut token = 0;
    while token < run.rows {
        let position = run.position + token;
        let are_all = position.is_multiple_of(together) && run.rows - token >= together;
        let tokens = if are_all { together } else { 1 };
        for dimension in (0..head_dim).step_by(L::WIDTH) {
            let count = L::WIDTH.min(head_dim - dimension);
            // SAFETY: as many dimensions as `count` and tokens as `tokens` are left of the rows; what stands side by
            // side of whole vectors has its place in the block.
            unsafe {
                let source = |token: usize| rows.first.add(token * rows.stride + dimension);
                if are_all && count == L::WIDTH {
                    let both = [token, token + together - 1];
                    let vectors = both.map(|token| lanes.load(source(token)));
                    let factors = both.map(|token| lanes.splat(rows.factors[token]));
                    let place = (position, dimension, width);
                    V::store_together(lanes, values.as_mut_ptr(), place, vectors, factors);
                } else {
                    for token in token..token + tokens {
                        let vector = vector(lanes, source(token), count);
                        let parts = V::parts(lanes, vector, rows.factors[token]);
                        for (index, part) in parts[..count].iter().enumerate() {
                            let place = (run.position + token, dimension + index);
                            V::put(values, place, width, *part);
                        }
                    }
                }
            }
        }
        token += tokens;
    }
}

/// Up to a vector of numbers, 0 behind them.
///
/// # Safety
///
/// `count` numbers, at most a vector of them, are valid to read.
#[inline(always)]
unsafe fn vector<L: Lanes>(lanes: L, source: *const f32, count: usize) -> L::Vector {
    // SAFETY: the caller has the numbers.
    unsafe {
        if count == L::WIDTH {
            lanes.load(source)
        } else {
            lanes.load_partial(source, count)
        }
    }
}
