//! Attention in plain loops: what the fast versions are compared with, in the same segments.

use std::ops::Range;

use super::join::check_parts;
use super::layout::{BLOCK_TOKENS, KvFormat, KvLayout};
use super::rotation;
use super::rows::RowsMut;
use super::run::{KvRows, KvRun};
use super::scale::Side;
use super::storage::{KvDataMut, KvView};
use super::stored::{Stored, write_scale};
use super::task::{AttentionShape, AttentionTask, SEGMENT_BLOCKS, SEGMENT_TOKENS, visible};
use super::values::{Halves, Values, Whole};

pub(crate) fn attend(
    kv: &KvView<'_>,
    shape: &AttentionShape,
    task: &AttentionTask<'_>,
    output: &mut RowsMut<'_>,
) {
    let dimensions = task.check(kv, shape);
    dimensions.check_output(output);
    if task.tokens == 0 {
        return;
    }
    let segments = task.segments(shape.window);
    let mut parts = vec![0.0; segments.len() * dimensions.part_length()];
    attend_segments(kv, shape, task, (segments, &mut parts));
    join_segments(&parts, kv.layout, output);
}

pub(crate) fn attend_segments(
    kv: &KvView<'_>,
    shape: &AttentionShape,
    task: &AttentionTask<'_>,
    (segments, parts): (Range<usize>, &mut [f32]),
) {
    let dimensions = task.check(kv, shape);
    let length = dimensions.part_length();
    assert_eq!(parts.len(), segments.len() * length, "parts");
    for (segment, part) in segments.zip(parts.chunks_exact_mut(length)) {
        attend_segment(kv, shape, task, (segment, part));
    }
}

fn attend_segment(
    kv: &KvView<'_>,
    shape: &AttentionShape,
    task: &AttentionTask<'_>,
    (segment, part): (usize, &mut [f32]),
) {
    let dimensions = task.check(kv, shape);
    let blocks = task.blocks(kv, shape.window, segment);
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
        let seen = visible(task.first_position + row / group, shape.window);
        let positions = seen.start.max(blocks.start * BLOCK_TOKENS)
            ..seen
                .end
                .min((segment * SEGMENT_BLOCKS) * BLOCK_TOKENS + SEGMENT_TOKENS);
        let scores = positions.clone().map(|position| {
            let begin = begin(position, KvLayout::key_offset);
            let token = position % BLOCK_TOKENS;
            let key = |dimension| kv.number(begin + kv.layout.key_place(token, dimension));
            let products = query.iter().enumerate();
            let score: f32 = products
                .map(|(dimension, value)| value * key(dimension))
                .sum();
            let score = score * scale(position, Side::Key) * shape.scale;
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
                *sum += weight * kv.value(begin, token, dimension);
            }
        }
    }
}

pub(crate) fn join_segments(parts: &[f32], layout: KvLayout, output: &mut RowsMut<'_>) {
    let head_dim = layout.head_dim;
    let rows = check_parts(parts, head_dim, output);
    let group = output.width() / head_dim;
    for row in 0..rows {
        let target = &mut output.row(row / group)[row % group * head_dim..][..head_dim];
        target.fill(0.0);
        let (mut maximum, mut sum) = (f32::NEG_INFINITY, 0.0);
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
            for (target, value) in target.iter_mut().zip(&part[row * head_dim..]) {
                *target = *target * old + value * new;
            }
        }
        for target in target.iter_mut() {
            *target /= sum;
        }
        rotation::turn(target, layout.turned_together());
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
            KvDataMut::F32(data) => write_head::<f32>(place, &mut data[head], rows),
            KvDataMut::I16(data) => write_head::<i16>(place, &mut data[head], rows),
            KvDataMut::I8(data) if layout.format == KvFormat::K8V4 => {
                write_head::<Halves>(place, &mut data[head], rows);
            }
            KvDataMut::I8(data) => write_head::<i8>(place, &mut data[head], rows),
        }
    }
}

/// One head of a token.
fn write_head<V: Values<Element: Whole>>(
    (layout, position): (KvLayout, usize),
    head: &mut [V::Element],
    (key, value): (&[f32], &[f32]),
) {
    let [key, value] = [key, value].map(|row| {
        let mut row = row.to_vec();
        rotation::turn(&mut row, layout.turned_together());
        row
    });
    let scales = [V::Element::key_scale(&key), V::scale(&value)];
    if V::Element::HAS_SCALES {
        let place = &mut head[layout.panel_elements()..];
        for (side, scale) in [Side::Key, Side::Value].into_iter().zip(scales) {
            write_scale(place, (side, position), scale.unit);
        }
    }
    let (keys, values) = head.split_at_mut(layout.key_panel_elements());
    for (dimension, number) in key.iter().enumerate() {
        keys[layout.key_place(position, dimension)] = V::Element::element(*number, scales[0]);
    }
    for (dimension, number) in value.iter().enumerate() {
        let part = V::part(*number, scales[1]);
        V::put(values, (position, dimension), layout.padded_dim(), part);
    }
}
