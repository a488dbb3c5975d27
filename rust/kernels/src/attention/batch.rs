//! The attention of a whole step: cut into work for all threads, results written in place.
//!
//! A piece of work is some tokens of a sequence against one KV head. Where these are too few to
//! keep the threads busy (one token of one sequence over a long context, say), the context is
//! cut too: a few segments of a piece are then a work of their own, and whoever ends the last joins.
//! Where keys and values are in tiers, the segments of one come behind those of the other.

use std::cmp::Reverse;
use std::ops::Range;
use std::sync::atomic::{AtomicPtr, AtomicUsize, Ordering};

use super::block_keys::BlockKeys;
use super::rows::{QueryRows, RowsMut};
use super::storage::KvView;
use super::task::{AttentionShape, AttentionTask, Dimensions};
use crate::kernels::Kernels;
use crate::threads::ThreadPool;

/// Query rows of a piece, at most (but at least one token): these meet a segment while it is in cache.
const PIECE_ROWS: usize = 48;
/// Pieces a thread should get at least, so that none waits long for the last.
const PIECES_PER_THREAD: usize = 4;
/// Products of a query row and a position, below which other threads are not worth calling.
const SERIAL_COST: usize = 256;

/// Consecutive tokens of one sequence.
#[derive(Debug, Clone, Copy)]
pub struct AttentionSequence<'a> {
    /// The row of the first token, among queries and results.
    pub first_row: usize,
    /// How many tokens.
    pub rows: usize,
    /// The position of the first token; all before and these themselves are in the cache.
    pub first_position: usize,
    /// The blocks of positions `0..first_position + rows`.
    pub block_table: &'a [u32],
}

/// Some of what queries see, in blocks of one layout.
#[derive(Debug, Clone, Copy)]
pub struct AttentionTier<'a> {
    /// Keys and values.
    pub kv: KvView<'a>,
    /// What is the same for every query.
    pub shape: AttentionShape,
    /// The layer.
    pub layer: usize,
    /// Who owns which rows, in order of rows: the same in every tier, but for the blocks.
    pub sequences: &'a [AttentionSequence<'a>],
}

/// The attention of one layer for all rows of a step.
#[derive(Debug, Clone, Copy)]
pub struct AttentionBatch<'a> {
    /// One row a token.
    pub queries: QueryRows<'a>,
    /// What the keys of all tiers lack.
    pub block_keys: Option<BlockKeys<'a>>,
    /// Where keys and values are, two at most. Which tier comes first matters for bits.
    pub tiers: &'a [AttentionTier<'a>],
}

/// So many tiers can be joined.
const MOST_TIERS: usize = 2;

/// Memory of [`attend_batch`], kept between calls.
#[derive(Debug, Default)]
pub struct AttentionBuffers {
    pieces: Vec<Piece>,
    work: Vec<Work>,
    /// What segments gathered, for pieces that are cut.
    parts: Vec<f32>,
}

/// Some tokens of a sequence against one KV head.
#[derive(Debug)]
struct Piece {
    sequence: usize,
    /// Of the sequence.
    tokens: Range<usize>,
    kv_head: usize,
    /// Of each tier.
    segments: [Range<usize>; MOST_TIERS],
    /// Where its parts begin; `None` where it is not cut.
    parts: Option<usize>,
    /// Segments that are not done yet.
    left: AtomicUsize,
    /// Query rows times positions.
    cost: usize,
}

impl Piece {
    /// How many segments.
    fn len(&self) -> usize {
        self.segments.iter().map(Range::len).sum()
    }

    /// Which of the segments of a tier are among those counted through all tiers.
    fn of_tier(&self, tier: usize, counted: &Range<usize>) -> Range<usize> {
        let before: usize = self.segments[..tier].iter().map(Range::len).sum();
        let own = &self.segments[tier];
        let inside = |count: usize| own.start + count.saturating_sub(before).min(own.len());
        inside(counted.start)..inside(counted.end)
    }
}

/// What one thread does at a time: a piece, or some segments of one that is cut.
#[derive(Debug, Clone)]
struct Work {
    piece: usize,
    /// Counted through all tiers.
    segments: Range<usize>,
    cost: usize,
}

/// Computes the attention of every row into `output`, `[tokens, num_heads * head_dim]`.
///
/// # Panics
///
/// Where the lengths do not fit, sequences overlap, or a block is outside the pool.
pub fn attend_batch(
    kernels: &dyn Kernels,
    pool: &ThreadPool,
    batch: &AttentionBatch<'_>,
    buffers: &mut AttentionBuffers,
    output: &mut [f32],
) {
    let width = batch.check(output);
    let cost = batch.cut(pool.threads(), buffers);
    let step = Step {
        kernels,
        batch,
        pieces: &buffers.pieces,
        parts: AtomicPtr::new(buffers.parts.as_mut_ptr()),
        output: AtomicPtr::new(output.as_mut_ptr()),
        width,
    };
    if cost <= SERIAL_COST {
        buffers.work.iter().for_each(|work| step.run(work));
    } else {
        let work = &buffers.work;
        pool.run(work.len(), &|index| step.run(&work[index]));
    }
}

impl<'a> AttentionBatch<'a> {
    /// What makes it sound that threads write their rows and heads without asking; how wide a row is.
    fn check(&self, output: &[f32]) -> usize {
        let dimensions = |tier: &AttentionTier<'_>| {
            let layout = tier.kv.layout;
            (tier.shape.num_heads, layout.kv_heads, layout.head_dim)
        };
        let rows = |sequence: &AttentionSequence<'_>| {
            (sequence.first_row, sequence.rows, sequence.first_position)
        };
        assert!(
            (1..=MOST_TIERS).contains(&self.tiers.len()),
            "{} tiers",
            self.tiers.len()
        );
        let first = &self.tiers[0];
        for tier in self.tiers {
            assert!(
                dimensions(tier) == dimensions(first)
                    && tier
                        .sequences
                        .iter()
                        .map(rows)
                        .eq(first.sequences.iter().map(rows)),
                "tiers of different shapes or rows"
            );
        }
        let (num_heads, kv_heads, head_dim) = dimensions(first);
        assert!(
            kv_heads > 0 && num_heads.is_multiple_of(kv_heads),
            "{num_heads} query heads over {kv_heads} KV heads"
        );
        let mut end = 0;
        for sequence in first.sequences {
            assert!(
                sequence.first_row >= end,
                "row {} stands in two sequences",
                sequence.first_row
            );
            end = sequence.first_row + sequence.rows;
        }
        let width = num_heads * head_dim;
        let holds = |own: BlockKeys<'_>| own.queries.holds(end, width);
        assert!(self.block_keys.is_none_or(holds), "second queries");
        assert!(
            self.queries.holds(end, width) && output.len() >= end * width,
            "queries and output of {end} rows, {width} wide"
        );
        width
    }

    /// Query heads of a KV head.
    fn group(&self) -> usize {
        self.tiers[0].shape.num_heads / self.tiers[0].kv.layout.kv_heads
    }

    fn dimensions(&self, piece: &Piece) -> Dimensions {
        Dimensions {
            tokens: piece.tokens.len(),
            group: self.group(),
            head_dim: self.tiers[0].kv.layout.head_dim,
        }
    }

    fn task(&self, piece: &Piece, tier: &AttentionTier<'a>) -> AttentionTask<'a> {
        let sequence = &tier.sequences[piece.sequence];
        let first_row = sequence.first_row + piece.tokens.start;
        AttentionTask {
            kv: tier.kv,
            shape: tier.shape,
            queries: self.queries.starting_at(first_row),
            block_keys: self.block_keys.map(|own| BlockKeys {
                queries: own.queries.starting_at(first_row),
                ..own
            }),
            tokens: piece.tokens.len(),
            first_position: sequence.first_position + piece.tokens.start,
            block_table: sequence.block_table,
            layer: tier.layer,
            kv_head: piece.kv_head,
        }
    }

    /// Fills `buffers` with the work of the step, the longest first; its cost in all.
    fn cut(&self, threads: usize, buffers: &mut AttentionBuffers) -> usize {
        self.cut_rows(&mut buffers.pieces);
        let total: usize = buffers.pieces.iter().map(|piece| piece.cost).sum();
        let fair = if threads == 1 {
            total
        } else {
            total / (threads * PIECES_PER_THREAD)
        };
        buffers.work.clear();
        let mut parts = 0;
        for (index, piece) in buffers.pieces.iter_mut().enumerate() {
            let segments = piece.len();
            let mut step = segments;
            if piece.cost > fair && segments > 1 {
                piece.parts = Some(parts);
                parts += segments * self.dimensions(piece).part_length();
                step = (segments * fair / 2).div_ceil(piece.cost).max(1);
            }
            for first in (0..segments).step_by(step.max(1)) {
                let part = first..segments.min(first + step);
                buffers.work.push(Work {
                    piece: index,
                    cost: piece.cost * part.len() / segments,
                    segments: part,
                });
            }
        }
        if buffers.parts.len() < parts {
            buffers.parts.resize(parts, 0.0);
        }
        buffers.work.sort_by_key(|work| Reverse(work.cost));
        total
    }

    fn cut_rows(&self, pieces: &mut Vec<Piece>) {
        let kv_heads = self.tiers[0].kv.layout.kv_heads;
        let group = self.group();
        let step = (PIECE_ROWS / group).max(1);
        pieces.clear();
        for (index, sequence) in self.tiers[0].sequences.iter().enumerate() {
            for first in (0..sequence.rows).step_by(step) {
                let mut piece = Piece {
                    sequence: index,
                    tokens: first..sequence.rows.min(first + step),
                    kv_head: 0,
                    segments: [0..0, 0..0],
                    parts: None,
                    left: AtomicUsize::new(0),
                    cost: 0,
                };
                for (index, tier) in self.tiers.iter().enumerate() {
                    let task = self.task(&piece, tier);
                    piece.cost += piece.tokens.len() * group * task.seen().len();
                    piece.segments[index] = task.segments();
                }
                for kv_head in 0..kv_heads {
                    pieces.push(Piece {
                        kv_head,
                        tokens: piece.tokens.clone(),
                        segments: piece.segments.clone(),
                        left: AtomicUsize::new(piece.len()),
                        ..piece
                    });
                }
            }
        }
    }
}

/// What threads share.
struct Step<'a> {
    kernels: &'a dyn Kernels,
    batch: &'a AttentionBatch<'a>,
    pieces: &'a [Piece],
    parts: AtomicPtr<f32>,
    output: AtomicPtr<f32>,
    width: usize,
}

impl Step<'_> {
    fn run(&self, work: &Work) {
        let piece = &self.pieces[work.piece];
        let tiers = self.batch.tiers;
        let tasks: [_; MOST_TIERS] = std::array::from_fn(|tier| {
            let tier = tiers.get(tier).unwrap_or(&tiers[0]);
            self.batch.task(piece, tier)
        });
        let tasks = &tasks[..tiers.len()];
        let Some(begin) = piece.parts else {
            return self.kernels.attend(tasks, &mut self.output(piece));
        };
        let length = self.batch.dimensions(piece).part_length();
        let mut place = begin + work.segments.start * length;
        for (index, task) in tasks.iter().enumerate() {
            let segments = piece.of_tier(index, &work.segments);
            let end = place + segments.len() * length;
            // SAFETY: `cut` gave each piece a range of its own with room for all its segments, and each
            // segment is part of one work.
            let parts = unsafe { self.parts(place..end) };
            self.kernels.attend_segments(task, (segments, parts));
            place = end;
        }
        // The last one sees what the others wrote before they counted down.
        let done = work.segments.len();
        if piece.left.fetch_sub(done, Ordering::AcqRel) == done {
            // SAFETY: all segments of the piece are done, and their slices are gone.
            let parts = unsafe { self.parts(begin..begin + piece.len() * length) };
            let (first, second) = parts.split_at(piece.segments[0].len() * length);
            let parts = [first, second];
            let tiers = tiers.iter().zip(parts);
            let parts: Vec<_> = tiers.map(|(tier, part)| (tier.kv.layout, part)).collect();
            self.kernels.join_segments(&parts, &mut self.output(piece));
        }
    }

    /// # Safety
    ///
    /// The range lies in the buffer, and nobody else uses it while the slice lives.
    #[allow(
        clippy::mut_from_ref,
        reason = "threads share the buffer; the caller answers for the range"
    )]
    unsafe fn parts(&self, range: Range<usize>) -> &mut [f32] {
        // SAFETY: the range lies in the buffer and is this caller's alone; the buffer is borrowed mutably while
        // the step runs.
        unsafe {
            let begin = self.parts.load(Ordering::Relaxed).add(range.start);
            std::slice::from_raw_parts_mut(begin, range.len())
        }
    }

    /// The rows and columns of a piece.
    fn output(&self, piece: &Piece) -> RowsMut<'_> {
        let dimensions = self.batch.dimensions(piece);
        let sequence = &self.batch.tiers[0].sequences[piece.sequence];
        let row = sequence.first_row + piece.tokens.start;
        let columns = dimensions.group * dimensions.head_dim;
        // SAFETY: `check` made sure that sequences do not share rows and that all rows are inside
        // the output, which is borrowed mutably while the step runs; `cut_rows` makes pieces of
        // disjoint tokens and heads, and each piece is written once.
        unsafe {
            let begin = self.output.load(Ordering::Relaxed);
            let begin = begin.add(row * self.width + piece.kv_head * columns);
            RowsMut::from_parts(begin, dimensions.tokens, (columns, self.width))
        }
    }
}
