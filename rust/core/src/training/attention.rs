//! Attention of whole texts over themselves in f32, and the way back: scores of some queries at a time, which are computed
//! anew on the way back instead of being kept.

use std::ops::Range;

use ruvllm_kernels::{FloatProduct, Grid, OutputTile};

use crate::model::Compute;
use crate::model::spec::ModelSpec;

use super::heads::{AttentionHeads, Heads};

/// Queries whose scores are there at once.
const QUERIES: usize = 32;

/// The attention of one layer.
#[derive(Clone, Copy)]
pub(super) struct Attention<'a> {
    pub(super) compute: Compute<'a>,
    pub(super) spec: &'a ModelSpec,
    pub(super) window: Option<usize>,
    /// The rows of each text.
    pub(super) texts: &'a [Range<usize>],
    pub(super) rows: usize,
}

/// One head of one text.
#[derive(Clone, Copy)]
struct Head<'a> {
    queries: &'a [f32],
    keys: &'a [f32],
    values: &'a [f32],
    turned_keys: &'a [f32],
    turned_values: &'a [f32],
}

/// Gradients of one head of one text.
struct HeadGradients<'a> {
    attended: &'a [f32],
    queries: &'a mut [f32],
    keys: &'a mut [f32],
    values: &'a mut [f32],
}

/// Scores of some queries with the keys that any of them sees.
struct Scores {
    queries: Range<usize>,
    keys: Range<usize>,
    /// After the cap, `[queries, keys]`.
    capped: Vec<f32>,
    /// Each row's shares; 0 where a query does not see a key.
    shares: Vec<f32>,
}

impl Attention<'_> {
    /// From `[rows, (heads + 2 kv_heads) head_dim]` to `[rows, heads head_dim]`.
    pub(super) fn forward(
        self,
        rotated: &[f32],
        buffers: &mut AttentionHeads,
        attended: &mut [f32],
    ) {
        self.gather(rotated, buffers);
        let AttentionHeads { attended: own, .. } = buffers;
        let mut own = std::mem::take(own);
        own.clear();
        own.resize(self.rows * self.query_width(), 0.0);
        let heads = self.heads(buffers);
        let work = heads
            .into_iter()
            .zip(self.layout().split_mut(&mut own))
            .collect();
        self.compute
            .pool
            .for_each(work, 1, |(head, output): (_, &mut [f32])| {
                self.attend(head, output);
            });
        self.layout().scatter(
            &own,
            self.spec.num_heads,
            (attended, self.query_width(), 0),
            1.0,
        );
        buffers.attended = own;
    }

    /// The gradient of what [`Self::forward`] was given, from that of what it gave.
    pub(super) fn backward(
        self,
        rotated: &[f32],
        attended_gradient: &[f32],
        buffers: &mut AttentionHeads,
        rotated_gradient: &mut [f32],
    ) {
        self.gather(rotated, buffers);
        let dim = self.spec.head_dim;
        let length = self.rows * self.query_width();
        let mut own = std::mem::take(&mut buffers.attended);
        own.resize(length, 0.0);
        self.layout()
            .by_heads(attended_gradient, self.query_width(), 0, (&mut own, 1.0));
        let mut gradients = [
            std::mem::take(&mut buffers.query_gradients),
            std::mem::take(&mut buffers.key_gradients),
            std::mem::take(&mut buffers.value_gradients),
        ];
        for gradient in &mut gradients {
            gradient.clear();
            gradient.resize(length, 0.0);
        }
        let [queries, keys, values] = &mut gradients;
        let all = self.layout().split_mut(queries).into_iter();
        let all = all
            .zip(self.layout().split_mut(keys))
            .zip(self.layout().split_mut(values));
        let all = all.zip(self.layout().split(&own));
        let work = self.heads(buffers).into_iter().zip(all).collect();
        self.compute.pool.for_each(
            work,
            1,
            |(head, (((queries, keys), values), attended)): (Head<'_>, _)| {
                let mut gradients = HeadGradients {
                    attended,
                    queries,
                    keys,
                    values,
                };
                self.attend_back(head, &mut gradients);
            },
        );
        let (heads, kv_heads) = (self.spec.num_heads, self.spec.num_kv_heads);
        let width = (heads + 2 * kv_heads) * dim;
        let scale = self.spec.attention_scale;
        rotated_gradient.fill(0.0);
        let [queries, keys, values] = gradients;
        self.layout()
            .scatter(&queries, heads, (&mut *rotated_gradient, width, 0), scale);
        let first_key = heads * dim;
        let target = (&mut *rotated_gradient, width, first_key);
        self.layout().scatter(&keys, kv_heads, target, 1.0);
        let first_value = first_key + kv_heads * dim;
        let target = (&mut *rotated_gradient, width, first_value);
        self.layout().scatter(&values, kv_heads, target, 1.0);
        buffers.query_gradients = queries;
        buffers.key_gradients = keys;
        buffers.value_gradients = values;
        buffers.attended = own;
    }

    /// Bytes of scores that all threads have at once, at most.
    pub(super) fn score_bytes(self) -> usize {
        let longest = self.texts.iter().map(Range::len).max().unwrap_or(0);
        4 * 3 * QUERIES.min(longest) * longest * self.compute.pool.threads()
    }

    fn query_width(self) -> usize {
        self.spec.num_heads * self.spec.head_dim
    }

    fn gather(self, rotated: &[f32], buffers: &mut AttentionHeads) {
        let (dim, kv_heads, heads) = (self.spec.head_dim, self.spec.num_kv_heads, self.layout());
        let first_key = self.query_width();
        let first_value = first_key + kv_heads * dim;
        let width = first_value + kv_heads * dim;
        buffers.queries.resize(self.rows * first_key, 0.0);
        let scaled = (&mut buffers.queries[..], self.spec.attention_scale);
        heads.by_heads(rotated, width, 0, scaled);
        let sides = [
            (first_key, &mut buffers.keys, &mut buffers.turned_keys),
            (first_value, &mut buffers.values, &mut buffers.turned_values),
        ];
        for (first, plain, turned) in sides {
            plain.resize(self.rows * kv_heads * dim, 0.0);
            turned.resize(plain.len(), 0.0);
            heads.by_heads(rotated, width, first, (plain, 1.0));
            heads.turn(plain, turned);
        }
    }

    fn layout(&self) -> Heads<'_> {
        Heads {
            pool: self.compute.pool,
            head_dim: self.spec.head_dim,
            texts: self.texts,
            rows: self.rows,
        }
    }

    /// Every head of every text, in the order of [`Heads::split`].
    fn heads(self, buffers: &AttentionHeads) -> Vec<Head<'_>> {
        let (keys, values) = (
            self.layout().split(&buffers.keys),
            self.layout().split(&buffers.values),
        );
        let turned_keys = self.layout().split(&buffers.turned_keys);
        let turned_values = self.layout().split(&buffers.turned_values);
        let group = self.spec.num_heads / self.spec.num_kv_heads;
        let texts = self.texts.len();
        let queries = self
            .layout()
            .split(&buffers.queries)
            .into_iter()
            .enumerate();
        queries
            .map(|(index, queries)| {
                let shared = index / texts / group * texts + index % texts;
                Head {
                    queries,
                    keys: keys[shared],
                    values: values[shared],
                    turned_keys: turned_keys[shared],
                    turned_values: turned_values[shared],
                }
            })
            .collect()
    }

    /// Some queries of a text at a time.
    fn blocks(length: usize) -> impl Iterator<Item = Range<usize>> {
        let firsts = (0..length).step_by(QUERIES);
        firsts.map(move |first| first..length.min(first + QUERIES))
    }

    /// The keys that a query sees.
    fn seen(self, query: usize) -> Range<usize> {
        let first = self
            .window
            .map_or(0, |window| (query + 1).saturating_sub(window));
        first..query + 1
    }

    fn scores(self, head: Head<'_>, queries: Range<usize>) -> Scores {
        let dim = self.spec.head_dim;
        let length = head.keys.len() / dim;
        let keys = self.seen(queries.start).start..queries.end;
        let mut capped = vec![0.0; queries.len() * keys.len()];
        let product = FloatProduct {
            left: Grid::rows(&head.queries[queries.start * dim..], dim),
            right: &head.turned_keys[keys.start..],
            right_stride: length,
            depth: dim,
        };
        let kernels = self.compute.kernels;
        kernels.add_product(&product, &mut OutputTile::new(&mut capped, keys.len()));
        if let Some(cap) = self.spec.attention_soft_cap {
            kernels.soft_cap(&mut capped, cap);
        }
        let mut shares = vec![0.0; capped.len()];
        let rows = capped.chunks_exact(keys.len());
        let rows = rows.zip(shares.chunks_exact_mut(keys.len()));
        for (query, (capped, shares)) in queries.clone().zip(rows) {
            let seen = self.seen(query);
            let seen = seen.start - keys.start..seen.end - keys.start;
            kernels.softmax(&capped[seen.clone()], &mut shares[seen]);
        }
        Scores {
            queries,
            keys,
            capped,
            shares,
        }
    }

    fn attend(self, head: Head<'_>, output: &mut [f32]) {
        let dim = self.spec.head_dim;
        for queries in Self::blocks(head.keys.len() / dim) {
            let scores = self.scores(head, queries);
            let product = FloatProduct {
                left: Grid::rows(&scores.shares, scores.keys.len()),
                right: &head.values[scores.keys.start * dim..],
                right_stride: dim,
                depth: scores.keys.len(),
            };
            let output = &mut output[scores.queries.start * dim..scores.queries.end * dim];
            let kernels = self.compute.kernels;
            kernels.add_product(&product, &mut OutputTile::new(output, dim));
        }
    }

    /// With shares P of scores S, values V, and `dP = dO V^T`: `dV = P^T dO`, `dS = P (dP - sum(P dP))`, times the slope of
    /// the cap, `dQ = dS K` and `dK = dS^T Q`.
    fn attend_back(self, head: Head<'_>, gradients: &mut HeadGradients<'_>) {
        let (dim, kernels) = (self.spec.head_dim, self.compute.kernels);
        let length = head.keys.len() / dim;
        for queries in Self::blocks(length) {
            let scores = self.scores(head, queries);
            let (rows, width) = (&scores.queries, scores.keys.len());
            let of_rows = rows.start * dim..rows.end * dim;
            let of_keys = scores.keys.start * dim..scores.keys.end * dim;
            let outputs = &gradients.attended[of_rows.clone()];
            let product = |left, right, right_stride, depth| FloatProduct {
                left,
                right,
                right_stride,
                depth,
            };
            let mut scores_gradient = vec![0.0; scores.shares.len()];
            let through = &head.turned_values[scores.keys.start..];
            let through = product(Grid::rows(outputs, dim), through, length, dim);
            let mut target = OutputTile::new(&mut scores_gradient, width);
            kernels.add_product(&through, &mut target);
            let shares = Grid::rows(&scores.shares, width).turned();
            let to_values = product(shares, outputs, dim, rows.len());
            let mut target = OutputTile::new(&mut gradients.values[of_keys.clone()], dim);
            kernels.add_product(&to_values, &mut target);
            self.through_shares(&scores, &mut scores_gradient);
            let slopes = Grid::rows(&scores_gradient, width);
            let to_queries = product(slopes, &head.keys[of_keys.clone()], dim, width);
            let mut target = OutputTile::new(&mut gradients.queries[of_rows.clone()], dim);
            kernels.add_product(&to_queries, &mut target);
            let to_keys = product(slopes.turned(), &head.queries[of_rows], dim, rows.len());
            let mut target = OutputTile::new(&mut gradients.keys[of_keys], dim);
            kernels.add_product(&to_keys, &mut target);
        }
    }

    /// From gradients of shares to those of scores.
    fn through_shares(self, scores: &Scores, gradient: &mut [f32]) {
        let width = scores.keys.len();
        let rows = gradient
            .chunks_exact_mut(width)
            .zip(scores.shares.chunks_exact(width))
            .zip(scores.capped.chunks_exact(width));
        for ((gradient, shares), capped) in rows {
            let mean = self.compute.kernels.dot(gradient, shares);
            for (gradient, share) in gradient.iter_mut().zip(shares) {
                *gradient = share * (*gradient - mean);
            }
            if let Some(cap) = self.spec.attention_soft_cap {
                for (gradient, capped) in gradient.iter_mut().zip(capped) {
                    *gradient *= 1.0 - (capped / cap).powi(2);
                }
            }
        }
    }
}
