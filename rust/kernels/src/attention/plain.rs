//! Attention in plain loops: what the fast versions are compared with, in the same segments.

use std::ops::Range;

use super::block_keys::BlockKeys;
use super::eighths::Eighths;
use super::join::check_parts;
use super::layout::{BLOCK_TOKENS, KvFormat, KvLayout, SEGMENT_BLOCKS, SEGMENT_TOKENS, Side};
use super::packing::{Halves, Packing};
use super::rotation;
use super::rows::RowsMut;
use super::run::{KvRows, KvRun};
use super::storage::{KvDataMut, KvView};
use super::stored::Stored;
use super::task::AttentionTask;

pub(crate) fn attend(tiers: &[AttentionTask<'_>], output: &mut RowsMut<'_>) {
    let mut parts = Vec::new();
    for task in tiers {
        let dimensions = task.check();
        dimensions.check_output(output);
        let segments = task.segments();
        let mut own = vec![0.0; segments.len() * dimensions.part_length()];
        attend_segments(task, (segments, &mut own));
        parts.push((task.kv.layout, own));
    }
    if tiers.iter().all(|task| task.tokens > 0) {
        let parts: Vec<_> = parts
            .iter()
            .map(|(layout, own)| (*layout, &own[..]))
            .collect();
        join_segments(&parts, output);
    }
}

pub(crate) fn attend_segments(
    task: &AttentionTask<'_>,
    (segments, parts): (Range<usize>, &mut [f32]),
) {
    let dimensions = task.check();
    let length = dimensions.part_length();
    assert_eq!(parts.len(), segments.len() * length, "parts");
    for (segment, part) in segments.zip(parts.chunks_exact_mut(length)) {
        attend_segment(task, (segment, part));
    }
}

fn attend_segment(task: &AttentionTask<'_>, (segment, part): (usize, &mut [f32])) {
    let AttentionTask { kv, shape, .. } = task;
    let dimensions = task.check();
    let blocks = task.blocks(segment);
    let (group, head_dim, rows) = (dimensions.group, dimensions.head_dim, dimensions.rows());
    let (values, statistics) = part.split_at_mut(rows * head_dim);
    let (maxima, sums) = statistics.split_at_mut(rows);
    let (layer, kv_head) = (task.layer, task.kv_head);
    // Where something of a position's block begins, by its place in the pool.
    let begin = |position: usize, offset: fn(KvLayout, u32, usize, usize) -> usize| {
        let block = task.block_table[position / BLOCK_TOKENS];
        offset(kv.layout, block, layer, kv_head)
    };
    let scale = |position: usize, side: Side| {
        let scales = begin(position, KvLayout::scale_offset);
        kv.scale(scales, side, position % BLOCK_TOKENS)
    };
    for (row, output) in values.chunks_exact_mut(head_dim).enumerate() {
        let head = task.kv_head * group + row % group;
        let query = &task.queries.values[row / group * task.queries.stride + head * head_dim..];
        let mut query = query[..head_dim].to_vec();
        rotation::turn(&mut query, kv.layout.turned_together());
        let seen = shape.visible(task.first_position + row / group);
        let positions = seen.start.max(blocks.start * BLOCK_TOKENS)
            ..seen
                .end
                .min((segment * SEGMENT_BLOCKS) * BLOCK_TOKENS + SEGMENT_TOKENS);
        let scores = positions.clone().map(|position| {
            let begin = begin(position, KvLayout::key_offset);
            let token = position % BLOCK_TOKENS;
            let key = |dimension| kv.number_of(Side::Key, begin, (token, dimension));
            let products = query.iter().enumerate();
            let score: f32 = products
                .map(|(dimension, value)| value * key(dimension))
                .sum();
            let own = block_product(task, (row / group, head), position);
            let score = (score * scale(position, Side::Key) + own) * shape.scale;
            shape
                .soft_cap
                .map_or(score, |cap| cap * (score / cap).tanh())
        });
        let mut weights: Vec<f32> = scores.collect();
        maxima[row] = weights.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        sums[row] = 0.0;
        output.fill(0.0);
        for (position, weight) in positions.zip(&mut weights) {
            let weight = (*weight - maxima[row]).exp();
            sums[row] += weight;
            let weight = weight * scale(position, Side::Value);
            let begin = begin(position, KvLayout::value_offset);
            let token = position % BLOCK_TOKENS;
            for (dimension, sum) in output.iter_mut().enumerate() {
                *sum += weight * kv.number_of(Side::Value, begin, (token, dimension));
            }
        }
    }
}

/// What a position's block adds to the product of a query and its key.
fn block_product(task: &AttentionTask<'_>, (token, head): (usize, usize), position: usize) -> f32 {
    let Some(own) = task.block_keys else {
        return 0.0;
    };
    let head_dim = task.kv.layout.head_dim;
    let query = &own.queries.values[token * own.queries.stride + head * head_dim..];
    let products = query[..head_dim].iter().enumerate();
    let place = |dimension| BlockKeys::place(position / BLOCK_TOKENS, dimension, head_dim);
    products
        .map(|(dimension, value)| value * own.keys[place(dimension)])
        .sum()
}

pub(crate) fn join_segments(tiers: &[(KvLayout, &[f32])], output: &mut RowsMut<'_>) {
    let (rows, head_dim) = check_parts(tiers, output);
    let group = output.width() / head_dim;
    for row in 0..rows {
        let target = &mut output.row(row / group)[row % group * head_dim..][..head_dim];
        target.fill(0.0);
        let (mut maximum, mut sum) = (f32::NEG_INFINITY, 0.0);
        for (layout, parts) in tiers {
            for part in parts.chunks_exact(rows * (head_dim + 2)) {
                let (part_maximum, part_sum) = (
                    part[rows * head_dim + row],
                    part[rows * (head_dim + 1) + row],
                );
                if part_maximum == f32::NEG_INFINITY {
                    continue;
                }
                let highest = part_maximum.max(maximum);
                let (old, new) = ((maximum - highest).exp(), (part_maximum - highest).exp());
                (maximum, sum) = (highest, sum * old + part_sum * new);
                let mut values = part[row * head_dim..][..head_dim].to_vec();
                rotation::turn(&mut values, layout.turned_together());
                for (target, value) in target.iter_mut().zip(&values) {
                    *target = *target * old + value * new;
                }
            }
        }
        for target in target.iter_mut() {
            *target /= sum;
        }
    }
}

/// Writes the rows of a run to `piece`, the layer's numbers in its block.
pub(crate) fn store_run(layout: KvLayout, rows: KvRows<'_>, run: KvRun, piece: &mut KvDataMut<'_>) {
    run.check(&rows, layout, piece);
    let width = layout.kv_heads * layout.head_dim;
    for row in 0..run.rows {
        let begin = (run.first_row + row) * rows.stride;
        let token = (&rows.keys[begin..][..width], &rows.values[begin..][..width]);
        write_token(layout, piece, (0, run.position + row), token);
    }
}

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
fn write_token(
    layout: KvLayout,
    data: &mut KvDataMut<'_>,
    (begin, position): (usize, usize),
    rows: (&[f32], &[f32]),
) {
    for kv_head in 0..layout.kv_heads {
        let columns = kv_head * layout.head_dim..(kv_head + 1) * layout.head_dim;
        let begin = begin + kv_head * layout.head_elements();
        let head = begin..begin + layout.head_elements();
        let place = (layout, position);
        let rows = (&rows.0[columns.clone()], &rows.1[columns]);
        match data {
            KvDataMut::F32(data) => write_head::<f32, f32>(place, &mut data[head], rows),
            KvDataMut::I16(data) => write_head::<i16, i16>(place, &mut data[head], rows),
            KvDataMut::I8(data) => match layout.format {
                KvFormat::K8V4 => write_head::<i8, Halves>(place, &mut data[head], rows),
                KvFormat::Q4 => write_head::<Halves, Halves>(place, &mut data[head], rows),
                KvFormat::Q3 => write_head::<Eighths, Eighths>(place, &mut data[head], rows),
                KvFormat::F32 | KvFormat::I16 | KvFormat::I8 => {
                    write_head::<i8, i8>(place, &mut data[head], rows);
                }
            },
        }
    }
}

/// The keys and values of one token as they were stored, `[kv_heads, head_dim]` each.
///
/// # Panics
///
/// Where the slot is outside the pool.
pub fn load_kv(kv: &KvView<'_>, slot: KvSlot) -> (Vec<f32>, Vec<f32>) {
    let layout = kv.layout;
    let side = |side: Side, offset: fn(KvLayout, u32, usize, usize) -> usize| {
        let heads = (0..layout.kv_heads).flat_map(|kv_head| {
            let begin = offset(layout, slot.block, slot.layer, kv_head);
            let scales = layout.scale_offset(slot.block, slot.layer, kv_head);
            let scale = kv.scale(scales, side, slot.position);
            let at = |dimension| (slot.position, dimension);
            let numbers = (0..layout.head_dim).map(|index| kv.number_of(side, begin, at(index)));
            let mut head: Vec<f32> = numbers.map(|number| number * scale).collect();
            rotation::turn(&mut head, layout.turned_together());
            head
        });
        heads.collect()
    };
    (
        side(Side::Key, KvLayout::key_offset),
        side(Side::Value, KvLayout::value_offset),
    )
}

/// One head of a token.
fn write_head<K: Packing, V: Packing<Element = K::Element>>(
    (layout, position): (KvLayout, usize),
    head: &mut [K::Element],
    (key, value): (&[f32], &[f32]),
) {
    let (keys, rest) = head.split_at_mut(layout.panel_elements(Side::Key));
    let (scales, values) = rest.split_at_mut(rest.len() - layout.panel_elements(Side::Value));
    write_side::<K>((layout, Side::Key, position), keys, scales, key);
    write_side::<V>((layout, Side::Value, position), values, scales, value);
}

/// A key or a value of one head.
fn write_side<P: Packing>(
    (layout, side, position): (KvLayout, Side, usize),
    numbers: &mut [P::Element],
    scales: &mut [P::Element],
    row: &[f32],
) {
    let mut row = row.to_vec();
    rotation::turn(&mut row, layout.turned_together());
    let scale = P::scale(side, &row);
    if P::Element::HAS_SCALES {
        P::write_scale(scales, (side, position), scale.unit);
    }
    for (dimension, number) in row.iter().enumerate() {
        let (place, width) = layout.row_place(side, (position, dimension));
        P::put(numbers, place, width, P::part(*number, scale));
    }
}
