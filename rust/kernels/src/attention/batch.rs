//! The attention of a whole step: cut into work for all threads, results written in place.
//!
//! A piece of work is some tokens of a sequence against one KV head. Where these are too few to
//! keep the threads busy (one token of one sequence over a long context, say), the context is
//! cut too: a few segments of a piece are then a work of their own, and whoever ends the last joins.

use std::cmp::Reverse;
use std::ops::Range;
use std::sync::atomic::{AtomicPtr, AtomicUsize, Ordering};

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

/// The attention of one layer for all rows of a step.
#[derive(Debug, Clone, Copy)]
pub struct AttentionBatch<'a> {
    /// Keys and values.
    pub kv: KvView<'a>,
    /// What is the same for every query.
    pub shape: AttentionShape,
    /// The layer.
    pub layer: usize,
    /// One row a token.
    pub queries: QueryRows<'a>,
    /// Who owns which rows, in order of rows.
    pub sequences: &'a [AttentionSequence<'a>],
}

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
    segments: Range<usize>,
    /// Where its parts begin; `None` where it is not cut.
    parts: Option<usize>,
    /// Segments that are not done yet.
    left: AtomicUsize,
    /// Query rows times positions.
    cost: usize,
}

/// What one thread does at a time: a piece, or some segments of one that is cut.
#[derive(Debug, Clone)]
struct Work {
    piece: usize,
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
    let width = batch.shape.num_heads * batch.kv.layout.head_dim;
    batch.check(width, output);
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
    /// What makes it sound that threads write their rows and heads without asking.
    fn check(&self, width: usize, output: &[f32]) {
        let kv_heads = self.kv.layout.kv_heads;
        assert!(
            kv_heads > 0 && self.shape.num_heads.is_multiple_of(kv_heads),
            "{} query heads over {kv_heads} KV heads",
            self.shape.num_heads
        );
        let mut end = 0;
        for sequence in self.sequences {
            assert!(
                sequence.first_row >= end,
                "row {} stands in two sequences",
                sequence.first_row
            );
            end = sequence.first_row + sequence.rows;
        }
        assert!(
            self.queries.holds(end, width) && output.len() >= end * width,
            "queries and output of {end} rows, {width} wide"
        );
    }

    fn dimensions(&self, piece: &Piece) -> Dimensions {
        Dimensions {
            tokens: piece.tokens.len(),
            group: self.shape.num_heads / self.kv.layout.kv_heads,
            head_dim: self.kv.layout.head_dim,
        }
    }

    fn task(&self, piece: &Piece) -> AttentionTask<'a> {
        let sequence = &self.sequences[piece.sequence];
        AttentionTask {
            queries: self
                .queries
                .starting_at(sequence.first_row + piece.tokens.start),
            tokens: piece.tokens.len(),
            first_position: sequence.first_position + piece.tokens.start,
            block_table: sequence.block_table,
            layer: self.layer,
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
            let segments = piece.segments.clone();
            let mut step = segments.len();
            if piece.cost > fair && segments.len() > 1 {
                piece.parts = Some(parts);
                parts += segments.len() * self.dimensions(piece).part_length();
                step = (segments.len() * fair / 2).div_ceil(piece.cost).max(1);
            }
            for first in segments.clone().step_by(step.max(1)) {
                let part = first..segments.end.min(first + step);
                buffers.work.push(Work {
                    piece: index,
                    cost: piece.cost * part.len() / segments.len(),
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
        let kv_heads = self.kv.layout.kv_heads;
        let group = self.shape.num_heads / kv_heads;
        let step = (PIECE_ROWS / group).max(1);
        pieces.clear();
        for (index, sequence) in self.sequences.iter().enumerate() {
            for first in (0..sequence.rows).step_by(step) {
                let mut piece = Piece {
                    sequence: index,
                    tokens: first..sequence.rows.min(first + step),
                    kv_head: 0,
                    segments: 0..0,
                    parts: None,
                    left: AtomicUsize::new(0),
                    cost: 0,
                };
                let task = self.task(&piece);
                let seen = task.seen(self.shape.window);
                piece.cost = piece.tokens.len() * group * seen.len();
                piece.segments = task.segments(self.shape.window);
                for kv_head in 0..kv_heads {
                    pieces.push(Piece {
                        kv_head,
                        tokens: piece.tokens.clone(),
                        segments: piece.segments.clone(),
                        left: AtomicUsize::new(piece.segments.len()),
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
        let batch = self.batch;
        let task = batch.task(piece);
        let Some(begin) = piece.parts else {
            let mut output = self.output(piece);
            return self
                .kernels
                .attend(&batch.kv, &batch.shape, &task, &mut output);
        };
        let dimensions = batch.dimensions(piece);
        let place =
            |segment: usize| begin + (segment - piece.segments.start) * dimensions.part_length();
        let Range { start, end } = work.segments;
        // SAFETY: `cut` gave each piece a range of its own with room for all its segments, and each
        // segment is part of one work.
        let parts = unsafe { self.parts(place(start)..place(end)) };
        let own = (work.segments.clone(), parts);
        self.kernels
            .attend_segments(&batch.kv, &batch.shape, &task, own);
        // The last one sees what the others wrote before they counted down.
        let done = work.segments.len();
        if piece.left.fetch_sub(done, Ordering::AcqRel) == done {
            // SAFETY: all segments of the piece are done, and their slices are gone.
            let parts = unsafe { self.parts(begin..place(piece.segments.end)) };
            let mut output = self.output(piece);
            self.kernels
                .join_segments(parts, batch.kv.layout, &mut output);
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
        let row = self.batch.sequences[piece.sequence].first_row + piece.tokens.start;
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
