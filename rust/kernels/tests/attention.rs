//! Attention and the writing of keys and values: every implementation against a plain softmax in
//! f64, and every way to cut the same work against every other, bit for bit.
#![allow(clippy::unwrap_used)]

#[path = "support/cache.rs"]
mod cache;
mod support;

use cache::{Cache, Tiers};
use proptest::prelude::*;
use proptest::sample::select;
use ruvllm_kernels::{
    AttentionBatch, AttentionBuffers, AttentionSequence, AttentionShape, AttentionTask,
    AttentionTier, BLOCK_TOKENS, BlockKeys, Kernels, KvData, KvFormat, KvLayout, KvRows, KvRun,
    KvSlot, KvStorage, KvTarget, QueryRows, RowsMut, SEGMENT_TOKENS, Scalar, ThreadPool,
    attend_batch, available, store_batch, store_kv,
};
use support::{Numbers, SUM_TOLERANCE, assert_close, cases};

/// The sizes of a case.
#[derive(Debug, Clone, Copy)]
struct Case {
    layout: KvLayout,
    /// So many of the last tokens are in another cache, of this format.
    tail: Option<(usize, KvFormat)>,
    shape: AttentionShape,
    /// Whether blocks have keys of their own.
    has_block_keys: bool,
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
        if self.layout.format == KvFormat::F32 && self.tail.is_none() {
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

    /// Second queries, and the keys of blocks, each behind the other.
    fn block_keys(&self) -> (Vec<f32>, Vec<f32>) {
        let mut numbers = Numbers(!self.seed);
        let blocks = (self.context + self.tokens).div_ceil(BLOCK_TOKENS);
        let queries = numbers.row(self.tokens * self.width());
        (queries, numbers.row(blocks * self.layout.head_dim))
    }

    /// The keys of blocks as attention takes them; what belongs to no block is no number.
    fn placed(&self, keys: &[f32]) -> Vec<f32> {
        let head_dim = self.layout.head_dim;
        let elements = BlockKeys::elements(self.context + self.tokens, head_dim);
        let mut placed = vec![f32::NAN; elements];
        for (index, number) in keys.iter().enumerate() {
            let (block, dimension) = (index / head_dim, index % head_dim);
            placed[BlockKeys::place(block, dimension, head_dim)] = *number;
        }
        placed
    }

    /// Queries in rows that are `gap` wider than they must be, and the cache.
    fn make(&self, gap: usize) -> (Vec<f32>, Tiers) {
        let mut numbers = Numbers(self.seed);
        let queries = numbers.row(self.tokens * (self.width() + gap));
        let tokens = self.context + self.tokens;
        let tail = self.tail.map(|(length, format)| {
            let heads = (self.layout.kv_heads, self.layout.head_dim);
            let layout = KvLayout::new(self.layout.layers, heads, format);
            let mut tail = Cache::filled(layout, tokens, &mut numbers);
            // What no query sees is nowhere.
            let passed = (self.context + 1).saturating_sub(length) / BLOCK_TOKENS;
            tail.block_table[..passed].fill(u32::MAX);
            (length, tail)
        });
        let behind = tail.as_ref().map_or(0, |(length, _)| *length);
        let mut store = Cache::filled(self.layout, tokens, &mut numbers);
        store
            .block_table
            .truncate(tokens.saturating_sub(behind).div_ceil(BLOCK_TOKENS));
        (queries, Tiers { store, tail })
    }
}

const FORMATS: [KvFormat; 6] = [
    KvFormat::F32,
    KvFormat::I16,
    KvFormat::I8,
    KvFormat::K8V4,
    KvFormat::Q4,
    KvFormat::Q3,
];

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
    let length = prop_oneof![1usize..40, 200usize..400];
    let tail = proptest::option::of((length, select(FORMATS.to_vec())));
    let sees = (window, tail, soft_cap, any::<bool>());
    (sizes, sees, any::<u64>()).prop_map(|(sizes, sees, seed)| {
        let ((kv_heads, group), head_dim, context, tokens, format) = sizes;
        let (window, tail, soft_cap, has_block_keys) = sees;
        Case {
            tail,
            layout: KvLayout::new(2, (kv_heads, head_dim), format),
            shape: AttentionShape {
                num_heads: kv_heads * group,
                scale: 2.0 / (head_dim as f32).sqrt(),
                soft_cap,
                window,
                behind: 0,
            },
            has_block_keys,
            context,
            tokens,
            seed,
        }
    })
}

/// What stands where in a batch: the first row, its position, and how many rows, of each sequence.
type Place = (usize, usize, usize);

/// The same sequences over each cache.
fn placed<'a>(
    caches: &[(&'a Cache, AttentionShape)],
    places: &[Place],
) -> Vec<Vec<AttentionSequence<'a>>> {
    let over = |cache: &'a Cache| {
        let sequences = places.iter().map(|place| AttentionSequence {
            first_row: place.0,
            rows: place.2,
            first_position: place.1,
            block_table: &cache.block_table,
        });
        sequences.collect()
    };
    caches.iter().map(|(cache, _)| over(cache)).collect()
}

/// Each cache as a tier.
fn in_tiers<'a>(
    caches: &[(&'a Cache, AttentionShape)],
    sequences: &'a [Vec<AttentionSequence<'a>>],
) -> Vec<AttentionTier<'a>> {
    let tiers = caches.iter().zip(sequences);
    let tier =
        |((cache, shape), sequences): (&(&'a Cache, AttentionShape), &'a Vec<_>)| AttentionTier {
            kv: cache.view(),
            shape: *shape,
            layer: 1,
            sequences,
        };
    tiers.map(tier).collect()
}

/// The whole case in one call, as a batch.
fn in_batches(
    kernels: &dyn Kernels,
    pool: &ThreadPool,
    case: &Case,
    (queries, cache): (&[f32], &Tiers),
    steps: &[usize],
) -> Vec<f32> {
    let width = case.width();
    let stride = queries.len() / case.tokens;
    let mut output = vec![f32::NAN; case.tokens * width];
    let mut buffers = AttentionBuffers::default();
    let mut first = 0;
    let (second, keys) = case.block_keys();
    let keys = case.placed(&keys);
    for rows in steps {
        let caches = cache.each(case.shape);
        let sequences = placed(&caches, &[(0, case.context + first, *rows)]);
        let tiers = in_tiers(&caches, &sequences);
        let batch = AttentionBatch {
            queries: QueryRows {
                values: &queries[first * stride..],
                stride,
            },
            block_keys: case.has_block_keys.then_some(BlockKeys {
                queries: QueryRows {
                    values: &second[first * width..],
                    stride: width,
                },
                keys: &keys,
            }),
            tiers: &tiers,
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
        let (second, keys) = case.block_keys();
        let placed = case.placed(&keys);
        let block_keys = case.has_block_keys.then_some(BlockKeys {
            queries: QueryRows { values: &second, stride: width },
            keys: &placed,
        });
        let tasks = cache.each(case.shape).into_iter().map(|(cache, shape)| AttentionTask {
            kv: cache.view(),
            shape,
            queries: rows,
            block_keys,
            tokens: case.tokens,
            first_position: case.context,
            block_table: &cache.block_table,
            layer: 1,
            kv_head,
        });
        let tasks: Vec<_> = tasks.collect();
        let mut expected = Vec::new();
        for token in 0..case.tokens {
            for head in kv_head * group..(kv_head + 1) * group {
                let query = &queries[token * (width + gap) + head * head_dim..][..head_dim];
                let second = &second[token * width + head * head_dim..][..head_dim];
                let of_block = |block: usize| {
                    let key = &keys[block * head_dim..][..head_dim];
                    let products = second.iter().zip(key);
                    let sum: f64 = products.map(|(a, b)| f64::from(*a) * f64::from(*b)).sum();
                    if case.has_block_keys { sum } else { 0.0 }
                };
                let place = (case.context + token, head);
                expected.extend(cache.expected(&case.shape, query, place, &of_block));
            }
        }
        let tolerance = SUM_TOLERANCE + case.rounding(&queries);
        for kernels in available() {
            let mut actual = vec![f32::NAN; expected.len()];
            let mut output = RowsMut::new(&mut actual, group * head_dim);
            kernels.attend(&tasks, &mut output);
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
        let layout = KvLayout::new(2, (kv_heads, head_dim), format);
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
    KvLayout::new(2, (3, 64), format)
}
const BATCH_SHAPE: AttentionShape = AttentionShape {
    num_heads: 9,
    scale: 0.125,
    soft_cap: None,
    window: None,
    behind: 0,
};

/// A batch of many sequences of different lengths, and each of them alone.
#[test]
fn sequences_of_a_batch_do_not_touch_each_other() {
    for format in FORMATS {
        check_sequences_of_a_batch(format, None);
    }
}

/// The same where the last tokens are elsewhere.
#[test]
fn nor_do_they_in_tiers() {
    check_sequences_of_a_batch(KvFormat::Q4, Some((40, KvFormat::I8)));
    check_sequences_of_a_batch(KvFormat::Q3, Some((128, KvFormat::I8)));
    check_sequences_of_a_batch(KvFormat::K8V4, Some((300, KvFormat::I16)));
    check_sequences_of_a_batch(KvFormat::I8, Some((17, KvFormat::F32)));
}

fn check_sequences_of_a_batch(format: KvFormat, tail: Option<(usize, KvFormat)>) {
    let mut numbers = Numbers(7);
    let cache = Tiers {
        store: Cache::filled(batch_layout(format), 1100, &mut numbers),
        tail: tail.map(|(length, format)| {
            let tail = Cache::filled(batch_layout(format), 1100, &mut numbers);
            (length, tail)
        }),
    };
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
    let places = sizes.map(|(first_position, rows)| {
        let place = (first_row, first_position, rows);
        first_row += rows + usize::from(rows == 1);
        place
    });
    let mut buffers = AttentionBuffers::default();
    let mut run = |kernels: &dyn Kernels, threads, places: &[Place]| {
        let mut output = vec![-3.0; 170 * width];
        let caches = cache.each(BATCH_SHAPE);
        let sequences = placed(&caches, places);
        let tiers = in_tiers(&caches, &sequences);
        let batch = AttentionBatch {
            queries: QueryRows {
                values: &queries,
                stride,
            },
            block_keys: None,
            tiers: &tiers,
        };
        let pool = ThreadPool::new(threads);
        attend_batch(kernels, &pool, &batch, &mut buffers, &mut output);
        output
    };
    for kernels in available() {
        let together = run(&*kernels, 4, &places);
        let mut owned = [false; 170];
        for place in places {
            let alone = run(&*kernels, 1, &[place]);
            let rows = place.0..place.0 + place.2;
            let columns = rows.start * width..rows.end * width;
            assert_eq!(together[columns.clone()], alone[columns], "{place:?}");
            owned[rows].fill(true);
        }
        for (row, owned) in together.chunks_exact(width).zip(owned) {
            assert_eq!(row.iter().all(|value| *value == -3.0), !owned);
        }
    }
}

/// Tiers of one layer belong together.
#[test]
fn tiers_that_do_not_go_together_are_refused() {
    let mut numbers = Numbers(3);
    let layout = |heads, width| KvLayout::new(2, (heads, width), KvFormat::I8);
    let own = Cache::filled(layout(1, 16), 40, &mut numbers);
    let others = [layout(1, 32), layout(2, 16), layout(1, 16)];
    let others = others.map(|layout| Cache::filled(layout, 40, &mut numbers));
    let queries = numbers.row(4 * 64);
    let refused = |caches: &[(&Cache, usize)]| {
        let shape = AttentionShape::new(2, 1.0, None, None);
        let rows = caches.iter().map(|(_, rows)| *rows);
        let caches: Vec<_> = caches.iter().map(|(cache, _)| (*cache, shape)).collect();
        let each = caches.iter().zip(rows);
        let sequences = each.flat_map(|(cache, rows)| placed(&[*cache], &[(0, 30, rows)]));
        let sequences: Vec<_> = sequences.collect();
        let tiers = in_tiers(&caches, &sequences);
        let batch = AttentionBatch {
            queries: QueryRows {
                values: &queries,
                stride: 64,
            },
            block_keys: None,
            tiers: &tiers,
        };
        std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            let (pool, mut buffers) = (ThreadPool::new(1), AttentionBuffers::default());
            attend_batch(&Scalar, &pool, &batch, &mut buffers, &mut [0.0; 4 * 64]);
        }))
        .is_err()
    };
    let [wider, more, like] = &others;
    assert!(!refused(&[(&own, 3), (like, 3)]));
    assert!(refused(&[(&own, 3), (wider, 3)]) && refused(&[(&own, 3), (more, 3)]));
    assert!(refused(&[(&own, 3), (like, 2)]), "other rows");
    assert!(refused(&[]) && refused(&[(&own, 1), (like, 1), (like, 1)]));
}

/// What threads write without asking is checked before.
#[test]
fn a_batch_that_does_not_fit_is_refused() {
    let layout = KvLayout::new(1, (1, 4), KvFormat::F32);
    let storage = KvStorage::zeroed(layout, 2).unwrap();
    let shape = AttentionShape {
        num_heads: 2,
        scale: 1.0,
        soft_cap: None,
        window: None,
        behind: 0,
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
        let tier = AttentionTier {
            kv: storage.view(),
            shape,
            layer: 0,
            sequences: &sequences,
        };
        let batch = AttentionBatch {
            queries: QueryRows {
                values: &queries,
                stride: 8,
            },
            block_keys: None,
            tiers: &[tier],
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
    let layout = KvLayout::new(1, (1, 4), KvFormat::I16);
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
