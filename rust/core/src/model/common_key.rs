//! The part that the keys of a block have in common, where a layer adds a bias to its keys.
//!
//! What a bias makes of a key is known from the position alone, and in Qwen 2 it is up to fifty times as large as what
//! the token makes of it: bytes, not to speak of halves, would leave nothing of the token. So such blocks store keys without
//! it. How a bias is turned differs little inside a block, but for the pairs of dimensions that turn fast, so
//! one key for each block is enough: the mean of the bias over its positions. That of block `b` is that of block 0,
//! turned by the position of the block's first token; and so the product of a query with it is one of two vectors, of
//! which one depends on the query and the layer alone, the other on the block alone.

use ruvllm_kernels::{BLOCK_TOKENS, BlockKeys, QueryRows};

use crate::batch::Batch;

use super::compute::{Compute, ROWS_PER_TASK};
use super::spec::{ModelSpec, RopeScaling, RopeSpec};

impl ModelSpec {
    /// Whether keys come out of a bias that nothing evens out.
    pub fn has_bare_key_bias(&self) -> bool {
        let names = &self.tensors.layer;
        names.attention_input.has_key_bias() && names.key_norm.is_none()
    }

    /// Whether the positions of keys turn them alike in every sequence, so that what of a key the bias makes is known.
    pub fn is_key_bias_known(&self) -> bool {
        let mut ropes = self.ropes.iter();
        ropes.all(|rope| {
            !matches!(
                rope.scaling,
                RopeScaling::DynamicNtk { .. } | RopeScaling::LongRope { .. }
            )
        })
    }
}

/// What the keys of the first block have in common in one layer, `[kv_heads, head_dim]`.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct CommonKey {
    numbers: Vec<f32>,
    head_dim: usize,
    half: usize,
}

impl CommonKey {
    /// Of the keys that `bias` is added to before they are turned.
    pub(super) fn new(bias: &[f32], rope: &RopeSpec, head_dim: usize) -> Self {
        let half = rope.dimensions / 2;
        let frequencies = rope.frequencies(BLOCK_TOKENS);
        let (mut cosines, mut sines) = (vec![0.0; half], vec![0.0; half]);
        let (mut mean_cosines, mut mean_sines) = (vec![0.0; half], vec![0.0; half]);
        // Keys are longer by the magnitude when they are turned: later, with the block.
        let part = 1.0 / (BLOCK_TOKENS as f32 * frequencies.magnitude);
        for position in 0..BLOCK_TOKENS {
            frequencies.fill(position, &mut cosines, &mut sines);
            for pair in 0..half {
                mean_cosines[pair] += cosines[pair] * part;
                mean_sines[pair] += sines[pair] * part;
            }
        }
        let mut numbers = bias.to_vec();
        for head in numbers.chunks_exact_mut(head_dim) {
            for pair in 0..half {
                let (low, high) = (head[pair], head[half + pair]);
                head[pair] = low * mean_cosines[pair] - high * mean_sines[pair];
                head[half + pair] = low * mean_sines[pair] + high * mean_cosines[pair];
            }
        }
        Self {
            numbers,
            head_dim,
            half,
        }
    }

    /// Takes it off the keys of a token, of whose block the first position has these cosines and sines.
    pub(super) fn take_off(&self, compute: Compute<'_>, keys: &mut [f32], turn: (&[f32], &[f32])) {
        let mut common = self.numbers.clone();
        let (cosines, sines) = turn;
        compute
            .kernels
            .rotate(&mut common, self.head_dim, cosines, sines);
        for (number, common) in keys.iter_mut().zip(common) {
            *number -= common;
        }
    }

    /// What of a token's queries meets the [`BlockTurns`]: by pairs, the factors of the cosine and of the sine.
    pub(super) fn meet(&self, queries: &[f32], second: &mut [f32]) {
        let group = queries.len() / self.numbers.len();
        let heads = queries.chunks_exact(self.head_dim);
        let targets = second.chunks_exact_mut(self.head_dim);
        for (head, (query, target)) in heads.zip(targets).enumerate() {
            let common = &self.numbers[head / group * self.head_dim..][..self.head_dim];
            let ([low, high], rest) = halves(query, self.half);
            let ([common_low, common_high], common_rest) = halves(common, self.half);
            let (turned, target_rest) = target.split_at_mut(2 * self.half);
            let (cosine, sine) = turned.split_at_mut(self.half);
            for pair in 0..self.half {
                cosine[pair] = low[pair] * common_low[pair] + high[pair] * common_high[pair];
                sine[pair] = high[pair] * common_low[pair] - low[pair] * common_high[pair];
            }
            for (target, (query, common)) in
                target_rest.iter_mut().zip(rest.iter().zip(common_rest))
            {
                *target = query * common;
            }
        }
    }
}

/// The dimensions that turn with each other, and those that do not turn.
fn halves(head: &[f32], half: usize) -> ([&[f32]; 2], &[f32]) {
    let (turned, rest) = head.split_at(2 * half);
    let (low, high) = turned.split_at(half);
    ([low, high], rest)
}

/// Cosines and sines of the first position of every block, as attention takes the keys of blocks; it grows with the
/// longest sequence.
#[derive(Debug, Default)]
pub(crate) struct BlockTurns {
    numbers: Vec<f32>,
    covered: usize,
}

impl BlockTurns {
    /// Has those of so many positions.
    pub(super) fn cover(&mut self, rope: &RopeSpec, head_dim: usize, positions: usize) {
        let blocks = positions.div_ceil(BLOCK_TOKENS);
        if blocks <= self.covered {
            return;
        }
        let half = rope.dimensions / 2;
        let frequencies = rope.frequencies(BLOCK_TOKENS);
        // What does not turn meets ones; keys of blocks that are not there yet are never met.
        self.numbers
            .resize(BlockKeys::elements(positions, head_dim), 1.0);
        let (mut cosines, mut sines) = (vec![0.0; half], vec![0.0; half]);
        for block in self.covered..blocks {
            frequencies.fill(block * BLOCK_TOKENS, &mut cosines, &mut sines);
            let turned = cosines.iter().chain(&sines);
            for (dimension, number) in turned.enumerate() {
                self.numbers[BlockKeys::place(block, dimension, head_dim)] = *number;
            }
        }
        self.covered = blocks;
    }

    /// The cosines and sines of a position's block.
    fn of_position(
        &self,
        position: usize,
        head_dim: usize,
        (cosines, sines): (&mut [f32], &mut [f32]),
    ) {
        let block = position / BLOCK_TOKENS;
        for (dimension, number) in cosines.iter_mut().chain(sines).enumerate() {
            *number = self.numbers[BlockKeys::place(block, dimension, head_dim)];
        }
    }
}

/// The common keys of a layer at work on a batch.
#[derive(Clone, Copy)]
pub(super) struct CommonKeys<'a> {
    pub(super) key: &'a CommonKey,
    pub(super) turns: &'a BlockTurns,
}

impl<'a> CommonKeys<'a> {
    /// Takes them off the keys in rows of queries, keys and values, and writes what of the queries meets them to rows of `second`.
    pub(super) fn part(
        self,
        compute: Compute<'_>,
        batch: &Batch,
        projected: &mut [f32],
        second: &mut Vec<f32>,
    ) {
        let key_width = self.key.numbers.len();
        let tokens = batch.tokens.len();
        let width = projected.len() / tokens;
        let query_width = width - 2 * key_width;
        second.resize(tokens * query_width, 0.0);
        let positions = batch.sequences.iter().flat_map(|sequence| {
            let rows = 0..sequence.rows;
            rows.map(|row| (sequence.first_row + row, sequence.first_position + row))
        });
        let mut of_rows = vec![0; tokens];
        positions.for_each(|(row, position)| of_rows[row] = position);
        let rows = projected.chunks_exact_mut(width);
        let rows = rows.zip(second.chunks_exact_mut(query_width)).zip(of_rows);
        let part = |((row, second), position): ((&mut [f32], &mut [f32]), usize)| {
            let (queries, rest) = row.split_at_mut(query_width);
            let mut turn = vec![0.0; 2 * self.key.half];
            let (cosines, sines) = turn.split_at_mut(self.key.half);
            let head_dim = self.key.head_dim;
            self.turns
                .of_position(position, head_dim, (&mut *cosines, &mut *sines));
            let keys = &mut rest[..key_width];
            self.key.take_off(compute, keys, (cosines, sines));
            self.key.meet(queries, second);
        };
        compute.pool.for_each(rows.collect(), ROWS_PER_TASK, part);
    }

    /// As attention takes them, behind [`Self::part`].
    pub(super) fn of_blocks(self, second: &'a [f32], query_width: usize) -> BlockKeys<'a> {
        BlockKeys {
            queries: QueryRows {
                values: second,
                stride: query_width,
            },
            keys: &self.turns.numbers,
        }
    }
}

#[cfg(test)]
mod tests {
    use ruvllm_kernels::{Kernels, Scalar, ThreadPool};

    use super::*;
    use crate::model::ActivationPrecision;
    use crate::model::spec::YarnScaling;

    const HEAD_DIM: usize = 32;

    fn numbers(count: usize, seed: usize) -> Vec<f32> {
        let number = |index: usize| ((index * 37 + seed * 11) as f32 * 0.7).sin();
        (0..count).map(number).collect()
    }

    fn yarn(dimensions: usize) -> RopeSpec {
        RopeSpec {
            base: 10_000.0,
            dimensions,
            scaling: RopeScaling::Yarn(YarnScaling {
                factor: 4.0,
                original_context: 512,
                beta_fast: 32.0,
                beta_slow: 1.0,
                magnitude: 1.14,
                truncate: true,
            }),
        }
    }

    fn dot(a: &[f32], b: &[f32]) -> f64 {
        let products = a.iter().zip(b);
        products.map(|(a, b)| f64::from(*a) * f64::from(*b)).sum()
    }

    /// Two heads of keys and four of queries: what is stored and what is kept apart are together what a key was, be all
    /// dimensions turned or some; and what is stored is small, where a bias is large in pairs that turn slowly.
    #[test]
    fn a_score_is_the_sum_of_both_parts() {
        let pool = ThreadPool::new(1);
        let compute = Compute {
            kernels: &Scalar,
            pool: &pool,
            precision: ActivationPrecision::Float,
            profile: None,
        };
        for dimensions in [HEAD_DIM, 24] {
            let (rope, half) = (yarn(dimensions), dimensions / 2);
            let mut bias = vec![0.0; 2 * HEAD_DIM];
            for head in bias.chunks_exact_mut(HEAD_DIM) {
                (head[half - 2], head[dimensions - 1], head[HEAD_DIM - 1]) = (90.0, -70.0, 60.0);
            }
            let common = CommonKey::new(&bias, &rope, HEAD_DIM);
            let frequencies = rope.frequencies(1);
            let mut turns = BlockTurns::default();
            // It grows, and what was there stays.
            turns.cover(&rope, HEAD_DIM, 40);
            turns.cover(&rope, HEAD_DIM, 700);
            for position in [0, 5, 15, 16, 39, 300, 699] {
                let (mut cosines, mut sines) = (vec![0.0; half], vec![0.0; half]);
                frequencies.fill(position, &mut cosines, &mut sines);
                let own = numbers(2 * HEAD_DIM, position);
                let mut keys: Vec<f32> = own.iter().zip(&bias).map(|(a, b)| a + b).collect();
                Scalar.rotate(&mut keys, HEAD_DIM, &cosines, &sines);
                let queries = numbers(4 * HEAD_DIM, position + 1);
                let whole = keys.clone();
                turns.of_position(position, HEAD_DIM, (&mut cosines, &mut sines));
                common.take_off(compute, &mut keys, (&cosines, &sines));
                assert!(keys.iter().all(|number| number.abs() < 6.0), "{keys:?}");
                let mut second = vec![f32::NAN; queries.len()];
                common.meet(&queries, &mut second);
                let block: Vec<f32> = (0..HEAD_DIM)
                    .map(|dimension| BlockKeys::place(position / BLOCK_TOKENS, dimension, HEAD_DIM))
                    .map(|place| turns.numbers[place])
                    .collect();
                for head in 0..4 {
                    let (query, key) = (head * HEAD_DIM, head / 2 * HEAD_DIM);
                    let of = |rows: &[f32], begin: usize| rows[begin..][..HEAD_DIM].to_vec();
                    let expected = dot(&of(&queries, query), &of(&whole, key));
                    let stored = dot(&of(&queries, query), &of(&keys, key));
                    let found = stored + dot(&of(&second, query), &block);
                    assert!((found - expected).abs() < 1e-3, "{found} for {expected}");
                }
            }
        }
    }
}
