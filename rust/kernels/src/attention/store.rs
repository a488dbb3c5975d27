//! Writing keys and values into blocks, many tokens at once.

use half::f16;

use super::layout::{BLOCK_TOKENS, KvLayout};
use super::product::Stored;
use super::run::KvRun;
use super::scale::{self, Scale, Side};
use super::storage::KvDataMut;
use crate::kernels::Kernels;
use crate::simd::Lanes;
use crate::threads::ThreadPool;

/// Numbers below which handing work to other threads costs more than it saves.
const SERIAL_NUMBERS: usize = 1 << 11;

/// Where one token's keys and values go.
#[derive(Debug, Clone, Copy)]
pub struct KvSlot {
    /// The block.
    pub block: u32,
    /// The position inside the block.
    pub position: usize,
    /// The layer.
    pub layer: usize,
}

/// Rows of keys and values, `[kv_heads, head_dim]` each, as they stand in a projection.
#[derive(Debug, Clone, Copy)]
pub struct KvRows<'a> {
    /// Row `i` of the keys begins at `i * stride`.
    pub keys: &'a [f32],
    /// Row `i` of the values begins at `i * stride`.
    pub values: &'a [f32],
    /// From one row to the next.
    pub stride: usize,
}

/// One layer of a pool, to write.
#[derive(Debug)]
pub struct KvTarget<'a> {
    /// The layout of every block.
    pub layout: KvLayout,
    /// All blocks.
    pub data: KvDataMut<'a>,
    /// The layer.
    pub layer: usize,
}

impl KvRun {
    /// Panics unless the rows are there, a block has their positions, and `piece` is a layer of one.
    pub(crate) fn check(&self, rows: &KvRows<'_>, layout: KvLayout, piece: &KvDataMut<'_>) {
        let width = layout.kv_heads * layout.head_dim;
        let last = (self.first_row + self.rows).saturating_sub(1);
        let fits = |values: &[f32]| last * rows.stride + width <= values.len();
        assert!(
            self.rows > 0 && self.position + self.rows <= BLOCK_TOKENS,
            "{self:?}"
        );
        assert!(
            rows.stride >= width && fits(rows.keys) && fits(rows.values),
            "{self:?} in rows of {width}"
        );
        let numbers = piece.elements();
        assert_eq!(numbers, layout.layer_elements(), "a layer of a block");
    }
}

/// Writes the rows of every run to their block, in parallel where that pays.
///
/// # Panics
///
/// Where a block is named twice or lies outside the pool, or the rows do not fit.
pub fn store_batch(
    kernels: &dyn Kernels,
    pool: &ThreadPool,
    target: KvTarget<'_>,
    rows: KvRows<'_>,
    runs: &mut [KvRun],
) {
    let layout = target.layout;
    let width = layout.kv_heads * layout.head_dim;
    assert!(target.layer < layout.layers, "layer {}", target.layer);
    // In the order of the pool, it can be taken apart into the blocks that are written.
    runs.sort_unstable_by_key(|run| run.block);
    let pieces = match target.data {
        KvDataMut::F32(data) => pieces(layout, target.layer, data, runs)
            .map(|(run, piece)| (run, KvDataMut::F32(piece)))
            .collect::<Vec<_>>(),
        KvDataMut::F16(data) => pieces(layout, target.layer, data, runs)
            .map(|(run, piece)| (run, KvDataMut::F16(piece)))
            .collect(),
        KvDataMut::I8(data) => pieces(layout, target.layer, data, runs)
            .map(|(run, piece)| (run, KvDataMut::I8(piece)))
            .collect(),
    };
    let store = |(run, mut piece): (KvRun, KvDataMut<'_>)| {
        kernels.store_kv(layout, rows, run, &mut piece);
    };
    let numbers: usize = runs.iter().map(|run| 2 * run.rows * width).sum();
    if numbers <= SERIAL_NUMBERS {
        pieces.into_iter().for_each(store);
    } else {
        pool.for_each(pieces, 1, store);
    }
}

/// The layer's numbers in the block of each run.
fn pieces<'a, T>(
    layout: KvLayout,
    layer: usize,
    mut data: &'a mut [T],
    runs: &'a [KvRun],
) -> impl Iterator<Item = (KvRun, &'a mut [T])> {
    let mut taken = 0;
    runs.iter().map(move |run| {
        let begin = layout.key_offset(run.block, layer, 0);
        assert!(begin >= taken, "block {} is named twice", run.block);
        let rest = std::mem::take(&mut data).split_at_mut_checked(begin - taken);
        let piece = rest.and_then(|(_, rest)| rest.split_at_mut_checked(layout.layer_elements()));
        let Some((piece, rest)) = piece else {
            panic!("block {} is outside the pool", run.block)
        };
        data = rest;
        taken = begin + layout.layer_elements();
        (*run, piece)
    })
}

/// Writes the rows of a run to `piece`, the layer's numbers in its block.
///
/// # Safety
///
/// Needs the instruction set of `L`; the run was checked against the rows.
#[inline(always)]
pub(crate) unsafe fn store_run<L: Lanes>(
    layout: KvLayout,
    rows: KvRows<'_>,
    run: KvRun,
    piece: &mut KvDataMut<'_>,
) {
    // SAFETY: the caller's.
    unsafe {
        match piece {
            KvDataMut::F32(piece) => store_heads::<L, f32>(layout, rows, run, piece),
            KvDataMut::F16(piece) => store_heads::<L, u16>(layout, rows, run, piece),
            KvDataMut::I8(piece) => store_heads::<L, i8>(layout, rows, run, piece),
        }
    }
}

#[inline(always)]
unsafe fn store_heads<L: Lanes, S: Stored>(
    layout: KvLayout,
    rows: KvRows<'_>,
    run: KvRun,
    piece: &mut [S],
) {
    let heads = piece.chunks_exact_mut(layout.head_elements());
    for (head, piece) in heads.take(layout.kv_heads).enumerate() {
        let begin = run.first_row * rows.stride + head * layout.head_dim;
        let (keys, rest) = piece.split_at_mut(layout.panel_elements());
        let (scales, values) = rest.split_at_mut(rest.len() - layout.panel_elements());
        let mut source = |rows: &'_ [f32], stride, side| {
            let first = &rows[begin..];
            Source {
                first: first.as_ptr(),
                stride,
                factors: factors::<S>((first, stride), (run, layout.head_dim), (scales, side)),
            }
        };
        // SAFETY: the caller's: each source has `run.rows` rows of `head_dim`, and each target has
        // the sixteen of a block.
        unsafe {
            let key_rows = source(rows.keys, rows.stride, Side::Key);
            let value_rows = source(rows.values, rows.stride, Side::Value);
            store_keys::<L, S>(&key_rows, run, layout.head_dim, keys);
            store_values::<L, S>(&value_rows, run, layout.head_dim, values);
        }
    }
}

/// Rows of one head.
struct Source {
    first: *const f32,
    stride: usize,
    /// What each row is multiplied by before it is stored.
    factors: [f32; BLOCK_TOKENS],
}

/// The factors of some rows; their inverses, the scales, are written where the format has them.
#[inline(always)]
fn factors<S: Stored>(
    (rows, stride): (&[f32], usize),
    (run, head_dim): (KvRun, usize),
    (scales, side): (&mut [S], Side),
) -> [f32; BLOCK_TOKENS] {
    let mut factors = [1.0; BLOCK_TOKENS];
    if S::HAS_SCALES {
        for (row, factor) in factors[..run.rows].iter_mut().enumerate() {
            let scale = Scale::of(&rows[row * stride..][..head_dim]);
            S::write_scale(scales, side.place(run.position + row), scale.unit);
            *factor = scale.inverse;
        }
    }
    factors
}

/// Keys dimension by dimension.
#[inline(always)]
unsafe fn store_keys<L: Lanes, S: Stored>(
    rows: &Source,
    run: KvRun,
    head_dim: usize,
    keys: &mut [S],
) {
    let stride = rows.stride;
    let mut token = 0;
    while token < run.rows {
        let together = L::WIDTH.min(run.rows - token);
        for dimension in (0..head_dim).step_by(L::WIDTH) {
            let count = L::WIDTH.min(head_dim - dimension);
            let begin = dimension * BLOCK_TOKENS + run.position + token;
            // SAFETY: the caller's; as many dimensions as `count` and tokens as `together` are left.
            unsafe {
                let source = rows.first.add(token * stride + dimension);
                let factors = &rows.factors[token..][..together];
                if together == L::WIDTH && count == L::WIDTH {
                    let target = keys[begin..].as_mut_ptr();
                    let factors = L::load(factors.as_ptr());
                    L::for_each_column(source, stride, |column, vector| {
                        let vector = scaled::<L, S>(vector, factors);
                        S::store::<L>(target.add(column * BLOCK_TOKENS), vector);
                    });
                } else {
                    for (row, factor) in factors.iter().enumerate() {
                        let source = source.add(row * stride);
                        let numbers = converted::<L, S>(source, count, *factor);
                        let targets = keys[begin + row..].iter_mut().step_by(BLOCK_TOKENS);
                        for (target, number) in targets.zip(&numbers[..count]) {
                            *target = *number;
                        }
                    }
                }
            }
        }
        token += together;
    }
}

/// Values token by token.
#[inline(always)]
unsafe fn store_values<L: Lanes, S: Stored>(
    rows: &Source,
    run: KvRun,
    head_dim: usize,
    values: &mut [S],
) {
    for (token, factor) in rows.factors[..run.rows].iter().enumerate() {
        let target = &mut values[(run.position + token) * head_dim..][..head_dim];
        for (index, target) in target.chunks_mut(L::WIDTH).enumerate() {
            // SAFETY: the caller's; source and target have as many numbers left as the chunk.
            unsafe {
                let source = rows.first.add(token * rows.stride + index * L::WIDTH);
                if target.len() == L::WIDTH {
                    let vector = scaled::<L, S>(L::load(source), L::splat(*factor));
                    S::store::<L>(target.as_mut_ptr(), vector);
                } else {
                    let numbers = converted::<L, S>(source, target.len(), *factor);
                    target.copy_from_slice(&numbers[..target.len()]);
                }
            }
        }
    }
}

/// Up to a vector of numbers as they are stored.
///
/// # Safety
///
/// Needs the instruction set of `L`; `count` numbers are valid to read.
#[inline(always)]
unsafe fn converted<L: Lanes, S: Stored>(
    source: *const f32,
    count: usize,
    factor: f32,
) -> [S; BLOCK_TOKENS] {
    let mut numbers = [S::ZERO; BLOCK_TOKENS];
    // SAFETY: the caller's; a vector is at most as long as the array.
    unsafe {
        let vector = if count == L::WIDTH {
            L::load(source)
        } else {
            L::load_partial(source, count)
        };
        let vector = scaled::<L, S>(vector, L::splat(factor));
        S::store::<L>(numbers.as_mut_ptr(), vector);
    }
    numbers
}

/// A vector in the unit in which it is stored.
///
/// # Safety
///
/// Needs the instruction set of `L`.
#[inline(always)]
unsafe fn scaled<L: Lanes, S: Stored>(vector: L::Vector, factors: L::Vector) -> L::Vector {
    if S::HAS_SCALES {
        // SAFETY: the caller's.
        unsafe { L::mul(vector, factors) }
    } else {
        vector
    }
}

/// Writes the keys and values of one token, `[kv_heads, head_dim]` each: the plain program.
///
/// # Panics
///
/// Where the slot is outside the pool, or the rows are not of the layout's width.
pub fn store_kv(
    layout: KvLayout,
    data: &mut KvDataMut<'_>,
    slot: KvSlot,
    keys: &[f32],
    values: &[f32],
) {
    let width = layout.kv_heads * layout.head_dim;
    assert!(
        keys.len() == width && values.len() == width,
        "rows of {width} numbers"
    );
    assert!(
        slot.position < BLOCK_TOKENS && slot.layer < layout.layers,
        "slot {slot:?}"
    );
    let begin = layout.key_offset(slot.block, slot.layer, 0);
    write_token(layout, data, (begin, slot.position), (keys, values));
}

/// The same, where the layer's numbers of the block begin at `begin`.
pub(crate) fn write_token(
    layout: KvLayout,
    data: &mut KvDataMut<'_>,
    (begin, position): (usize, usize),
    (keys, values): (&[f32], &[f32]),
) {
    let head_dim = layout.head_dim;
    for kv_head in 0..layout.kv_heads {
        let columns = kv_head * head_dim..(kv_head + 1) * head_dim;
        let begin = begin + kv_head * layout.head_elements();
        for (side, row) in [
            (Side::Key, &keys[columns.clone()]),
            (Side::Value, &values[columns]),
        ] {
            let scale = Scale::of(row);
            if let KvDataMut::I8(data) = data {
                let scales = begin + layout.panel_elements();
                scale::write(data, scales + side.place(position), scale.unit);
            }
            for (dimension, number) in row.iter().enumerate() {
                let offset = match side {
                    Side::Key => dimension * BLOCK_TOKENS + position,
                    Side::Value => layout.key_panel_elements() + position * head_dim + dimension,
                };
                match data {
                    KvDataMut::F32(data) => data[begin + offset] = *number,
                    KvDataMut::F16(data) => data[begin + offset] = f16::from_f32(*number).to_bits(),
                    KvDataMut::I8(data) => data[begin + offset] = scale.byte(*number),
                }
            }
        }
    }
}
