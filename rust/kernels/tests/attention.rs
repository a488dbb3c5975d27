//! Attention and the writing of keys and values: every implementation against a plain softmax in
//! f64, and every way to cut the same work against every other, bit for bit.
#![allow(clippy::unwrap_used)]

mod support;

use proptest::prelude::*;
use proptest::sample::select;
use ruvllm_kernels::{
    AttentionBatch, AttentionBuffers, AttentionSequence, AttentionShape, AttentionTask,
    BLOCK_TOKENS, Kernels, KvData, KvDataMut, KvFormat, KvLayout, KvRows, KvRun, KvSlot, KvStorage,
    KvTarget, KvView, QueryRows, RowsMut, SEGMENT_TOKENS, Scalar, ThreadPool, attend_batch,
    available, store_batch, store_kv,
};
use support::{Numbers, SUM_TOLERANCE, assert_close, cases, turned};

/// Two layers of keys and values of one sequence, with NaN wherever nothing is stored.
struct Cache {
    storage: KvStorage,
    layout: KvLayout,
    block_table: Vec<u32>,
}

impl Cache {
    fn filled(layout: KvLayout, tokens: usize, numbers: &mut Numbers) -> Self {
        let blocks = tokens.div_ceil(BLOCK_TOKENS);
        let mut cache = Self {
            storage: KvStorage::zeroed(layout, blocks + 2).unwrap(),
            layout,
            // Backwards, so that no two blocks follow each other in the pool.
            block_table: (0..blocks as u32)
                .map(|block| blocks as u32 + 1 - block)
                .collect(),
        };
        match cache.storage.data_mut() {
            KvDataMut::F32(data) => data.fill(f32::NAN),
            // Two such words, or four such bytes, are a scale that is no number.
            KvDataMut::I16(data) => data.fill(-1),
            KvDataMut::I8(data) => data.fill(-1),
        }
        let width = layout.kv_heads * layout.head_dim;
        for position in 0..tokens {
            let (keys, values) = (numbers.row(width), numbers.row(width));
            let slot = KvSlot {
                block: cache.block_table[position / BLOCK_TOKENS],
                position: position % BLOCK_TOKENS,
                layer: 1,
            };
            store_kv(layout, &mut cache.storage.data_mut(), slot, &keys, &values);
        }
        cache
    }

    fn view(&self) -> KvView<'_> {
        self.storage.view()
    }

    fn number(&self, offset: usize) -> f64 {
        match self.view().data {
            KvData::F32(data) => f64::from(data[offset]),
            KvData::I16(data) => f64::from(data[offset]),
            KvData::I8(data) => f64::from(data[offset]),
        }
    }

    /// The scale of a key, or of a value, which stand sixteen further on.
    fn scale(&self, block: u32, kv_head: usize, index: usize) -> f64 {
        match self.view().data {
            KvData::F32(_) => 1.0,
            KvData::I16(data) => {
                let place = self.layout.scale_offset(block, 1, kv_head) + 2 * index;
                let [low, high] = [data[place], data[place + 1]].map(|word| u32::from(word as u16));
                f64::from(f32::from_bits(low | high << 16))
            }
            KvData::I8(data) => {
                let place = self.layout.scale_offset(block, 1, kv_head) + 4 * index;
                let bytes = std::array::from_fn(|byte| data[place + byte] as u8);
                f64::from(f32::from_ne_bytes(bytes))
            }
        }
    }

    /// A number of a key, where those of the block begin: numbers that are multiplied together stand side by side.
    fn key(&self, begin: usize, token: usize, dimension: usize) -> f64 {
        self.number(match self.layout.format {
            KvFormat::F32 => begin + dimension * 16 + token,
            _ => begin + dimension / 2 * 32 + token * 2 + dimension % 2,
        })
    }

    /// A number of a value, where those of the block begin: rows, and in them what fills them up.
    fn value(&self, begin: usize, token: usize, dimension: usize) -> f64 {
        let padded = self.layout.head_dim.div_ceil(16) * 16;
        let beside = token / 2 * 2 * padded + dimension * 2 + token % 2;
        match self.layout.format {
            KvFormat::F32 => self.number(begin + token * padded + dimension),
            KvFormat::I16 | KvFormat::I8 => self.number(begin + beside),
            KvFormat::K8V4 => {
                // A half is a number of -8..=7 and stands for an odd one.
                let byte = (self.number(begin + token / 2 * padded + dimension) as i8) as u8;
                let half = f64::from(if token.is_multiple_of(2) {
                    byte & 0xF
                } else {
                    byte >> 4
                });
                2.0 * (if half < 8.0 { half } else { half - 16.0 }) + 1.0
            }
        }
    }

    /// A query or a result as the format turns it.
    fn turned(&self, numbers: Vec<f64>) -> Vec<f64> {
        match self.layout.format {
            KvFormat::F32 | KvFormat::I16 => numbers,
            KvFormat::I8 | KvFormat::K8V4 => turned(&numbers),
        }
    }

    /// The attention of one query of head `head` at `position`, by the textbook.
    fn expected(
        &self,
        shape: &AttentionShape,
        query: &[f32],
        (position, head): (usize, usize),
    ) -> Vec<f32> {
        let kv_head = head / (shape.num_heads / self.layout.kv_heads);
        let first = shape
            .window
            .map_or(0, |window| (position + 1).saturating_sub(window));
        let query = self.turned(query.iter().copied().map(f64::from).collect());
        let place = |position: usize| {
            (
                self.block_table[position / BLOCK_TOKENS],
                position % BLOCK_TOKENS,
            )
        };
        let scores = (first..=position).map(|position| {
            let (block, token) = place(position);
            let begin = self.layout.key_offset(block, 1, kv_head);
            let products = query.iter().enumerate();
            let score: f64 = products
                .map(|(dimension, value)| value * self.key(begin, token, dimension))
                .sum();
            let score = score * self.scale(block, kv_head, token) * f64::from(shape.scale);
            shape.soft_cap.map_or(score, |cap| {
                f64::from(cap) * (score / f64::from(cap)).tanh()
            })
        });
        let scores: Vec<f64> = scores.collect();
        let highest = scores.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let total: f64 = scores.iter().map(|score| (score - highest).exp()).sum();
        let mut output = vec![0.0; self.layout.head_dim];
        for (position, score) in (first..=position).zip(scores) {
            let (block, token) = place(position);
            let begin = self.layout.value_offset(block, 1, kv_head);
            let scale = self.scale(block, kv_head, BLOCK_TOKENS + token);
            for (dimension, sum) in output.iter_mut().enumerate() {
                let value = self.value(begin, token, dimension) * scale;
                *sum += (score - highest).exp() / total * value;
            }
        }
        let output = self.turned(output).into_iter();
        output.map(|sum| sum as f32).collect()
    }
}

/// The sizes of a case.
#[derive(Debug, Clone, Copy)]
struct Case {
    layout: KvLayout,
    shape: AttentionShape,
    /// Positions before the first query.
    context: usize,
    tokens: usize,
    seed: u64,
}

impl Case {
    fn width(&self) -> usize {
        self.shape.num_heads * self.layout.head_dim
    }

    fn group(&self) -> usize {
        self.shape.num_heads / self.layout.kv_heads
    }

    /// What rounding queries and weights to 16 bits may change, of numbers of magnitude 1: a query by half a unit each
    /// dimension, of which 32 766 are its length, and so a weight by twice that times a key; the weights of a segment by
    /// half a unit each, of which the largest has 32 767, or all of them half a million.
    fn rounding(&self, queries: &[f32]) -> f32 {
        if self.layout.format == KvFormat::F32 {
            return 0.0;
        }
        let head_dim = self.layout.head_dim;
        let length = |query: &[f32]| {
            query
                .iter()
                .map(|number| number * number)
                .sum::<f32>()
                .sqrt()
        };
        let longest = queries.windows(head_dim).map(length).fold(0.0, f32::max);
        let score = 0.5 / 32_766.0 * longest * head_dim as f32 * self.shape.scale;
        let weights = 0.5 * SEGMENT_TOKENS as f32 / 32_767.0;
        2.0 * score + weights
    }

    /// Queries in rows that are `gap` wider than they must be, and the cache.
    fn make(&self, gap: usize) -> (Vec<f32>, Cache) {
        let mut numbers = Numbers(self.seed);
        let queries = numbers.row(self.tokens * (self.width() + gap));
        let tokens = self.context + self.tokens;
        (queries, Cache::filled(self.layout, tokens, &mut numbers))
    }
}

const FORMATS: [KvFormat; 4] = [KvFormat::F32, KvFormat::I16, KvFormat::I8, KvFormat::K8V4];

/// Contexts that end within a segment, at its end, and some segments later.
fn case(most_tokens: usize) -> impl Strategy<Value = Case> {
    let heads = (1usize..3, 1usize..9);
    let head_dim = prop_oneof![
        Just(16usize),
        Just(64),
        Just(80),
        Just(96),
        Just(128),
        Just(256),
        1usize..40
    ];
    let context = prop_oneof![
        0usize..70,
        Just(SEGMENT_TOKENS - 1),
        Just(SEGMENT_TOKENS),
        200usize..900
    ];
    let window = proptest::option::of(prop_oneof![1usize..40, 200usize..600]);
    let soft_cap = proptest::option::of(1.0f32..50.0);
    let sizes = (
        heads,
        head_dim,
        context,
        1..=most_tokens,
        select(FORMATS.to_vec()),
    );
    (sizes, window, soft_cap, any::<u64>()).prop_map(|(sizes, window, soft_cap, seed)| {
        let ((kv_heads, group), head_dim, context, tokens, format) = sizes;
        Case {
            layout: KvLayout {
                layers: 2,
                kv_heads,
                head_dim,
                format,
            },
            shape: AttentionShape {
                num_heads: kv_heads * group,
                scale: 2.0 / (head_dim as f32).sqrt(),
                soft_cap,
                window,
            },
            context,
            tokens,
            seed,
        }
    })
}

/// The whole case in one call, as a batch.
fn in_batches(
    kernels: &dyn Kernels,
    pool: &ThreadPool,
    case: &Case,
    (queries, cache): (&[f32], &Cache),
    steps: &[usize],
) -> Vec<f32> {
    let width = case.width();
    let stride = queries.len() / case.tokens;
    let mut output = vec![f32::NAN; case.tokens * width];
    let mut buffers = AttentionBuffers::default();
    let mut first = 0;
    for rows in steps {
        let sequences = [AttentionSequence {
            first_row: 0,
            rows: *rows,
            first_position: case.context + first,
            block_table: &cache.block_table,
        }];
        let batch = AttentionBatch {
            kv: cache.view(),
            shape: case.shape,
            layer: 1,
            queries: QueryRows {
                values: &queries[first * stride..],
                stride,
            },
            sequences: &sequences,
        };
        let output = &mut output[first * width..];
        attend_batch(kernels, pool, &batch, &mut buffers, output);
        first += rows;
    }
    output
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(cases()))]

    #[test]
    fn attention_agrees_with_the_textbook(case in case(9), gap in 0usize..20) {
        let (queries, cache) = case.make(gap);
        let (width, group, head_dim) = (case.width(), case.group(), case.layout.head_dim);
        let kv_head = case.layout.kv_heads - 1;
        let rows = QueryRows { values: &queries[..queries.len() - gap], stride: width + gap };
        let task = AttentionTask {
            queries: rows,
            tokens: case.tokens,
            first_position: case.context,
            block_table: &cache.block_table,
            layer: 1,
            kv_head,
        };
        let mut expected = Vec::new();
        for token in 0..case.tokens {
            for head in kv_head * group..(kv_head + 1) * group {
                let query = &queries[token * (width + gap) + head * head_dim..][..head_dim];
                expected.extend(cache.expected(&case.shape, query, (case.context + token, head)));
            }
        }
        let tolerance = SUM_TOLERANCE + case.rounding(&queries);
        for kernels in available() {
            let mut actual = vec![f32::NAN; expected.len()];
            let mut output = RowsMut::new(&mut actual, group * head_dim);
            kernels.attend(&cache.view(), &case.shape, &task, &mut output);
            assert_close(kernels.name(), &expected, &actual, tolerance);
        }
    }

    #[test]
    fn bits_do_not_depend_on_the_way_to_cut(case in case(40), cut in any::<u64>(), threads in 1usize..6) {
        let (queries, cache) = case.make(3);
        let pool = ThreadPool::new(threads);
        let alone = ThreadPool::new(1);
        let mut numbers = Numbers(cut);
        let mut chunks = Vec::new();
        while chunks.iter().sum::<usize>() < case.tokens {
            let left = case.tokens - chunks.iter().sum::<usize>();
            chunks.push((1 + (numbers.next().abs() * 15.0) as usize).min(left));
        }
        for kernels in available() {
            let data = (&queries[..], &cache);
            let ones = vec![1; case.tokens];
            let expected = in_batches(&*kernels, &alone, &case, data, &ones);
            prop_assert!(expected.iter().all(|value| value.is_finite()));
            for (pool, steps) in [(&pool, &ones), (&pool, &chunks), (&pool, &vec![case.tokens]), (&alone, &vec![case.tokens])] {
                let actual = in_batches(&*kernels, pool, &case, data, steps);
                prop_assert_eq!(&expected, &actual, "{} in {:?}", kernels.name(), steps);
            }
        }
    }

    #[test]
    fn written_blocks_are_those_of_the_plain_program(
        (kv_heads, head_dim) in (1usize..4, prop_oneof![Just(64usize), Just(80), 1usize..70]),
        format in select(FORMATS.to_vec()),
        lengths in proptest::collection::vec((0usize..BLOCK_TOKENS, 1usize..=BLOCK_TOKENS), 1..9),
        (seed, threads) in (any::<u64>(), 1usize..4),
    ) {
        let layout = KvLayout { layers: 2, kv_heads, head_dim, format };
        let width = kv_heads * head_dim;
        let mut numbers = Numbers(seed);
        let scales = [1.0, 1e-4, 3e-8, 7e4];
        let total: usize = lengths.iter().map(|(_, rows)| rows).sum();
        let stride = 2 * width + 5;
        let values: Vec<f32> = (0..total * stride)
            .map(|index| numbers.next() * scales[index % 4])
            .collect();
        let rows = KvRows { keys: &values[2..], values: &values[2 + width..], stride };
        let mut first_row = 0;
        let mut runs = Vec::new();
        for (index, (position, count)) in lengths.iter().enumerate() {
            let rows = (*count).min(BLOCK_TOKENS - position);
            // Some order other than that of the pool.
            let block = (index * 7 % 10) as u32;
            runs.push(KvRun { block, position: *position, first_row, rows });
            first_row += rows;
        }
        let mut expected = KvStorage::zeroed(layout, 10).unwrap();
        for run in &runs {
            for row in 0..run.rows {
                let begin = (run.first_row + row) * stride;
                let slot = KvSlot { block: run.block, position: run.position + row, layer: 1 };
                let (keys, values) = (&rows.keys[begin..][..width], &rows.values[begin..][..width]);
                store_kv(layout, &mut expected.data_mut(), slot, keys, values);
            }
        }
        let pool = ThreadPool::new(threads);
        for kernels in available() {
            let mut actual = KvStorage::zeroed(layout, 10).unwrap();
            let target = KvTarget { layout, data: actual.data_mut(), layer: 1 };
            store_batch(&*kernels, &pool, target, rows, &mut runs.clone());
            prop_assert!(bits(&expected) == bits(&actual), "{}", kernels.name());
        }
    }
}

fn bits(storage: &KvStorage) -> Vec<u32> {
    match storage.view().data {
        KvData::F32(data) => data.iter().map(|number| number.to_bits()).collect(),
        KvData::I16(data) => data.iter().map(|word| u32::from(*word as u16)).collect(),
        KvData::I8(data) => data.iter().map(|byte| u32::from(*byte as u8)).collect(),
    }
}

fn batch_layout(format: KvFormat) -> KvLayout {
    KvLayout {
        layers: 2,
        kv_heads: 3,
        head_dim: 64,
        format,
    }
}
const BATCH_SHAPE: AttentionShape = AttentionShape {
    num_heads: 9,
    scale: 0.125,
    soft_cap: None,
    window: None,
};

/// A batch of many sequences of different lengths, and each of them alone.
#[test]
fn sequences_of_a_batch_do_not_touch_each_other() {
    for format in FORMATS {
        check_sequences_of_a_batch(format);
    }
}

fn check_sequences_of_a_batch(format: KvFormat) {
    let mut numbers = Numbers(7);
    let cache = Cache::filled(batch_layout(format), 1100, &mut numbers);
    let (width, stride) = (9 * 64, 9 * 64 + 6 * 64);
    // (position of the first token, tokens); between some of them rows that nobody owns.
    let sizes = [
        (1050, 1),
        (0, 33),
        (500, 1),
        (250, 20),
        (17, 2),
        (1000, 100),
    ];
    let queries = numbers.row(170 * stride);
    let mut first_row = 0;
    let sequences = sizes.map(|(first_position, rows)| {
        let sequence = AttentionSequence {
            first_row,
            rows,
            first_position,
            block_table: &cache.block_table,
        };
        first_row += rows + usize::from(rows == 1);
        sequence
    });
    let mut buffers = AttentionBuffers::default();
    let mut run = |kernels: &dyn Kernels, threads, sequences: &[AttentionSequence<'_>]| {
        let mut output = vec![-3.0; 170 * width];
        let batch = AttentionBatch {
            kv: cache.view(),
            shape: BATCH_SHAPE,
            layer: 1,
            queries: QueryRows {
                values: &queries,
                stride,
            },
            sequences,
        };
        let pool = ThreadPool::new(threads);
        attend_batch(kernels, &pool, &batch, &mut buffers, &mut output);
        output
    };
    for kernels in available() {
        let together = run(&*kernels, 4, &sequences);
        let mut owned = [false; 170];
        for sequence in sequences {
            let alone = run(&*kernels, 1, &[sequence]);
            let rows = sequence.first_row..sequence.first_row + sequence.rows;
            let columns = rows.start * width..rows.end * width;
            assert_eq!(together[columns.clone()], alone[columns], "{sequence:?}");
            owned[rows].fill(true);
        }
        for (row, owned) in together.chunks_exact(width).zip(owned) {
            assert_eq!(row.iter().all(|value| *value == -3.0), !owned);
        }
    }
}

/// What threads write without asking is checked before.
#[test]
fn a_batch_that_does_not_fit_is_refused() {
    let layout = KvLayout {
        layers: 1,
        kv_heads: 1,
        head_dim: 4,
        format: KvFormat::F32,
    };
    let storage = KvStorage::zeroed(layout, 2).unwrap();
    let shape = AttentionShape {
        num_heads: 2,
        scale: 1.0,
        soft_cap: None,
        window: None,
    };
    let refused = |sequences: &[(usize, usize, &[u32])], queries: usize, output: usize| {
        let sequences: Vec<_> = sequences
            .iter()
            .map(|(first_row, rows, block_table)| AttentionSequence {
                first_row: *first_row,
                rows: *rows,
                first_position: 0,
                block_table,
            })
            .collect();
        let (queries, mut output) = (vec![0.5; queries], vec![0.0; output]);
        let batch = AttentionBatch {
            kv: storage.view(),
            shape,
            layer: 0,
            queries: QueryRows {
                values: &queries,
                stride: 8,
            },
            sequences: &sequences,
        };
        std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            let (pool, mut buffers) = (ThreadPool::new(2), AttentionBuffers::default());
            attend_batch(&Scalar, &pool, &batch, &mut buffers, &mut output);
        }))
        .is_err()
    };
    assert!(!refused(&[(0, 2, &[0]), (2, 1, &[1])], 24, 24));
    assert!(refused(&[(0, 2, &[0]), (1, 1, &[1])], 24, 24), "overlap");
    assert!(refused(&[(0, 3, &[0])], 24, 23), "output");
    assert!(refused(&[(0, 3, &[0])], 23, 24), "queries");
    assert!(refused(&[(0, 3, &[2])], 24, 24), "block");
    assert!(refused(&[(0, 3, &[])], 24, 24), "table");
}

#[test]
fn runs_that_do_not_fit_are_refused() {
    let layout = KvLayout {
        layers: 1,
        kv_heads: 1,
        head_dim: 4,
        format: KvFormat::I16,
    };
    let run = |block, position, first_row, rows| KvRun {
        block,
        position,
        first_row,
        rows,
    };
    let refused = |runs: &[KvRun]| {
        let values = vec![1.0; 20 * 4];
        std::panic::catch_unwind(|| {
            let mut storage = KvStorage::zeroed(layout, 3).unwrap();
            let target = KvTarget {
                layout,
                data: storage.data_mut(),
                layer: 0,
            };
            let rows = KvRows {
                keys: &values,
                values: &values,
                stride: 4,
            };
            let pool = ThreadPool::new(2);
            store_batch(&Scalar, &pool, target, rows, &mut runs.to_vec());
        })
        .is_err()
    };
    assert!(!refused(&[run(2, 0, 0, 16), run(0, 3, 16, 4)]));
    assert!(refused(&[run(1, 0, 0, 2), run(1, 2, 2, 2)]), "twice");
    assert!(refused(&[run(3, 0, 0, 2)]), "outside the pool");
    assert!(refused(&[run(0, 15, 0, 2)]), "beyond the block");
    assert!(refused(&[run(0, 0, 5, 16)]), "beyond the rows");
}
