//! Writing the keys and values of a whole step: taken apart into blocks, one thread a block.

use super::layout::KvLayout;
use super::run::{KvRows, KvRun};
use super::storage::KvDataMut;
use crate::kernels::Kernels;
use crate::threads::ThreadPool;

/// Numbers below which handing work to other threads costs more than it saves.
const SERIAL_NUMBERS: usize = 1 << 11;

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
        KvDataMut::I16(data) => pieces(layout, target.layer, data, runs)
            .map(|(run, piece)| (run, KvDataMut::I16(piece)))
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
