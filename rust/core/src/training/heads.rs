//! Heads of rows one behind the other, and in each of them the texts, so that what is multiplied stands together.

use std::ops::Range;

use ruvllm_kernels::ThreadPool;

/// Queries, keys and values, head by head and in it text by text, so that what is multiplied stands together.
#[derive(Debug, Default)]
pub(super) struct AttentionHeads {
    /// `[heads, rows, head_dim]`, multiplied with the scale.
    pub(super) queries: Vec<f32>,
    /// `[kv_heads, rows, head_dim]`
    pub(super) keys: Vec<f32>,
    pub(super) values: Vec<f32>,
    /// `[kv_heads, texts, head_dim, text rows]`
    pub(super) turned_keys: Vec<f32>,
    pub(super) turned_values: Vec<f32>,
    /// `[heads, rows, head_dim]`: what is attended, or its gradient.
    pub(super) attended: Vec<f32>,
    pub(super) query_gradients: Vec<f32>,
    pub(super) key_gradients: Vec<f32>,
    pub(super) value_gradients: Vec<f32>,
}

impl AttentionHeads {
    /// What they take.
    pub(super) fn bytes(&self) -> usize {
        let all = [
            &self.queries,
            &self.keys,
            &self.values,
            &self.turned_keys,
            &self.turned_values,
            &self.attended,
            &self.query_gradients,
            &self.key_gradients,
            &self.value_gradients,
        ];
        4 * all.map(Vec::capacity).iter().sum::<usize>()
    }
}

/// How heads are laid out.
#[derive(Clone, Copy)]
pub(super) struct Heads<'a> {
    pub(super) pool: &'a ThreadPool,
    pub(super) head_dim: usize,
    /// The rows of each text.
    pub(super) texts: &'a [Range<usize>],
    pub(super) rows: usize,
}

impl Heads<'_> {
    /// Copies heads that stand side by side in rows to where they stand one behind the other.
    pub(super) fn by_heads(
        self,
        rows: &[f32],
        width: usize,
        first: usize,
        (target, factor): (&mut [f32], f32),
    ) {
        let dim = self.head_dim;
        let heads = target
            .chunks_exact_mut((self.rows * dim).max(1))
            .enumerate();
        self.pool
            .for_each(heads.collect(), 1, |(head, target): (usize, &mut [f32])| {
                let first = first + head * dim;
                let sources = rows.chunks_exact(width);
                for (source, target) in sources.zip(target.chunks_exact_mut(dim)) {
                    for (target, value) in target.iter_mut().zip(&source[first..first + dim]) {
                        *target = factor * value;
                    }
                }
            });
    }

    /// The way back of that, into zeros: heads that share one of `heads` are added up.
    pub(super) fn scatter(
        self,
        source: &[f32],
        heads: usize,
        (target, width, first): (&mut [f32], usize, usize),
        factor: f32,
    ) {
        let dim = self.head_dim;
        let group = source.len() / (self.rows * dim).max(1) / heads;
        let is_sum = group > 1;
        let rows = target.chunks_exact_mut(width).enumerate();
        self.pool
            .for_each(rows.collect(), 16, |(row, target): (usize, &mut [f32])| {
                for head in 0..heads * group {
                    let place = first + head / group * dim;
                    let source = &source[(head * self.rows + row) * dim..][..dim];
                    let targets = target[place..place + dim].iter_mut().zip(source);
                    if is_sum {
                        targets.for_each(|(target, value)| *target += factor * value);
                    } else {
                        targets.for_each(|(target, value)| *target = factor * value);
                    }
                }
            });
    }

    /// The texts of each head.
    pub(super) fn split(self, values: &[f32]) -> Vec<&[f32]> {
        let dim = self.head_dim;
        let heads = values.chunks_exact((self.rows * dim).max(1));
        heads
            .flat_map(|head| {
                let texts = self.texts.iter();
                texts.map(move |text| &head[text.start * dim..text.end * dim])
            })
            .collect()
    }

    pub(super) fn split_mut(self, values: &mut [f32]) -> Vec<&mut [f32]> {
        let dim = self.head_dim;
        let mut parts = Vec::new();
        for mut head in values.chunks_exact_mut((self.rows * dim).max(1)) {
            for text in self.texts {
                let (part, rest) = head.split_at_mut(text.len() * dim);
                parts.push(part);
                head = rest;
            }
        }
        parts
    }

    /// Each part of [`Self::split`] with its rows as columns.
    pub(super) fn turn(self, plain: &[f32], turned: &mut [f32]) {
        let dim = self.head_dim;
        let work = self.split(plain).into_iter().zip(self.split_mut(turned));
        self.pool
            .for_each(work.collect(), 1, |(rows, turned): (&[f32], &mut [f32])| {
                let count = rows.len() / dim;
                for (index, row) in rows.chunks_exact(dim).enumerate() {
                    for (dimension, value) in row.iter().enumerate() {
                        turned[dimension * count + index] = *value;
                    }
                }
            });
    }
}
