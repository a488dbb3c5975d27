//! Keys and values in 8 bits: what is stored, how far it is from what was given, and that a token's
//! bytes depend on nothing but the token.
#![allow(clippy::unwrap_used)]

mod support;

use proptest::prelude::*;
use ruvllm_kernels::{
    AttentionShape, AttentionTask, BLOCK_TOKENS, Kernels, KvData, KvDataMut, KvFormat, KvLayout,
    KvRows, KvRun, KvSlot, KvStorage, KvTarget, QueryRows, RowsMut, ThreadPool, available,
    store_batch, store_kv,
};
use support::{Numbers, cases};

const fn layout(kv_heads: usize, head_dim: usize, format: KvFormat) -> KvLayout {
    KvLayout {
        layers: 1,
        kv_heads,
        head_dim,
        format,
    }
}

fn bytes(storage: &KvStorage) -> &[i8] {
    match storage.view().data {
        KvData::I8(data) => data,
        KvData::F32(_) | KvData::F16(_) => unreachable!("the layout says bytes"),
    }
}

/// The scale of token `index` of a head; those of values follow the sixteen of keys.
fn scale(storage: &KvStorage, (block, kv_head, index): (u32, usize, usize)) -> f32 {
    let place = storage.view().layout.scale_offset(block, 0, kv_head) + 4 * index;
    let data = bytes(storage);
    f32::from_ne_bytes(std::array::from_fn(|byte| data[place + byte] as u8))
}

/// Stores rows from a position of block 0 on.
fn store(kernels: &dyn Kernels, storage: &mut KvStorage, position: usize, rows: KvRows<'_>) {
    let layout = storage.view().layout;
    let target = KvTarget {
        layout,
        data: storage.data_mut(),
        layer: 0,
    };
    let run = KvRun {
        block: 0,
        position,
        first_row: 0,
        rows: rows.keys.len() / rows.stride,
    };
    store_batch(kernels, &ThreadPool::new(1), target, rows, &mut [run]);
}

#[test]
fn a_block_is_half_of_one_of_f16_and_its_parts_stand_on_cache_lines() {
    let (bytes, halves) = (layout(3, 64, KvFormat::I8), layout(3, 64, KvFormat::F16));
    // Keys and values, and of each sixteen scales of four bytes.
    assert_eq!(bytes.block_bytes(), 3 * (2 * 16 * 64 + 2 * 16 * 4));
    assert!(100 * bytes.block_bytes() <= 54 * halves.block_bytes());
    for kv_head in 0..3 {
        for block in 0..2 {
            let places = [
                bytes.key_offset(block, 0, kv_head),
                bytes.scale_offset(block, 0, kv_head),
                bytes.value_offset(block, 0, kv_head),
            ];
            assert!(places.iter().all(|place| place.is_multiple_of(64)));
        }
    }
}

#[test]
fn numbers_are_rounded_to_even_under_the_largest() {
    let head_dim = 17;
    let mut row = vec![0.0; head_dim];
    // The unit of the keys is 1, of the values 1/2.
    row[..8].copy_from_slice(&[-127.0, 0.5, 1.5, 2.5, -0.5, -1.5, 126.5, 0.49]);
    let expected = [-127, 0, 2, 2, 0, -2, 126, 0];
    let half: Vec<f32> = row.iter().map(|number| number / 2.0).collect();
    for kernels in available() {
        let mut storage = KvStorage::zeroed(layout(1, head_dim, KvFormat::I8), 1).unwrap();
        let (keys, values) = (row.repeat(16), half.repeat(16));
        let rows = KvRows {
            keys: &keys,
            values: &values,
            stride: head_dim,
        };
        store(&*kernels, &mut storage, 0, rows);
        for token in 0..BLOCK_TOKENS {
            assert_eq!(scale(&storage, (0, 0, token)), 1.0);
            assert_eq!(scale(&storage, (0, 0, BLOCK_TOKENS + token)), 0.5);
            let values = &bytes(&storage)[16 * head_dim + 128..][token * head_dim..];
            for (dimension, expected) in expected.into_iter().enumerate() {
                let key = bytes(&storage)[dimension * BLOCK_TOKENS + token];
                assert_eq!(
                    (key, values[dimension]),
                    (expected, expected),
                    "{}",
                    kernels.name()
                );
            }
        }
    }
}

/// Zeros, denormals, what is infinite or no number: the same bytes everywhere, and no others' business.
#[test]
fn strange_vectors_keep_to_themselves() {
    for head_dim in [16, 21] {
        let width = 2 * head_dim;
        let mut rows = Numbers(3).row(16 * width);
        let strange = [
            [0.0, -0.0],
            [1e-40, -1e-44],
            [f32::NAN, 1.0],
            [f32::INFINITY, 1.0],
            [2.0, f32::NEG_INFINITY],
            [f32::MAX, f32::MIN],
        ];
        for (row, numbers) in rows.chunks_exact_mut(width).zip(strange) {
            row[..head_dim].fill(numbers[0]);
            row[head_dim - 1] = numbers[1];
        }
        let layout = layout(2, head_dim, KvFormat::I8);
        let mut expected = KvStorage::zeroed(layout, 1).unwrap();
        for (position, row) in rows.chunks_exact(width).enumerate() {
            let slot = KvSlot {
                block: 0,
                position,
                layer: 0,
            };
            store_kv(layout, &mut expected.data_mut(), slot, row, row);
        }
        for token in 0..BLOCK_TOKENS {
            let scales = [0, 1].map(|kv_head| scale(&expected, (0, kv_head, token)));
            assert!(scales[1].is_finite() && scales[1] > 0.0);
            match token {
                0 | 1 => assert_eq!(scales[0].to_bits(), 0),
                2..=4 => assert!(scales[0].is_nan()),
                _ => assert!(scales[0].is_finite() && scales[0] > 0.0),
            }
        }
        for kernels in available() {
            let mut actual = KvStorage::zeroed(layout, 1).unwrap();
            let rows = KvRows {
                keys: &rows,
                values: &rows,
                stride: width,
            };
            store(&*kernels, &mut actual, 0, rows);
            assert_eq!(bytes(&expected), bytes(&actual), "{}", kernels.name());
        }
    }
}

/// One query over some tokens of one head, in plain f64, from the numbers as they were given.
fn textbook(query: &[f32], keys: &[f32], values: &[f32], scale: f64) -> Vec<f64> {
    let head_dim = query.len();
    let weights = keys.chunks_exact(head_dim).map(|key| {
        let products = query.iter().zip(key);
        let score: f64 = products.map(|(a, b)| f64::from(*a) * f64::from(*b)).sum();
        (score * scale).exp()
    });
    let mut output = vec![0.0; head_dim];
    let mut total = 0.0;
    for (weight, value) in weights.zip(values.chunks_exact(head_dim)) {
        total += weight;
        for (sum, number) in output.iter_mut().zip(value) {
            *sum += weight * f64::from(*number);
        }
    }
    output.into_iter().map(|sum| sum / total).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(cases()))]

    /// From what was given, not from what was stored: rounding moves a score by no more than half a
    /// unit times the query's magnitudes, a weight by twice that at most, and a value by half a unit.
    #[test]
    fn attention_is_as_near_as_rounding_allows(
        head_dim in prop_oneof![Just(64usize), Just(80), 1usize..40],
        tokens in 1usize..300,
        seed in any::<u64>(),
    ) {
        let mut numbers = Numbers(seed);
        let (query, keys, values) = (
            numbers.row(head_dim),
            numbers.row(tokens * head_dim),
            numbers.row(tokens * head_dim),
        );
        let scale = 1.0 / (head_dim as f32).sqrt();
        let expected = textbook(&query, &keys, &values, f64::from(scale));
        let blocks = tokens.div_ceil(BLOCK_TOKENS);
        let table: Vec<u32> = (0..blocks as u32).rev().collect();
        let layout = layout(1, head_dim, KvFormat::I8);
        let mut storage = KvStorage::zeroed(layout, blocks).unwrap();
        for position in 0..tokens {
            let slot = KvSlot {
                block: table[position / BLOCK_TOKENS],
                position: position % BLOCK_TOKENS,
                layer: 0,
            };
            let columns = position * head_dim..(position + 1) * head_dim;
            let (keys, values) = (&keys[columns.clone()], &values[columns]);
            store_kv(layout, &mut storage.data_mut(), slot, keys, values);
        }
        let magnitude: f32 = query.iter().map(|number| number.abs()).sum();
        let score_error = 0.5 / 127.0 * magnitude * scale;
        // Magnitudes of keys and values are below 1; the last part is for the sums in f32.
        let bound = f64::from((2.0 * score_error).exp() - 1.0 + 0.5 / 127.0 + 2e-5);
        let shape = AttentionShape { num_heads: 1, scale, soft_cap: None, window: None };
        let task = AttentionTask {
            queries: QueryRows { values: &query, stride: head_dim },
            tokens: 1,
            first_position: tokens - 1,
            block_table: &table,
            layer: 0,
            kv_head: 0,
        };
        for kernels in available() {
            let mut actual = vec![f32::NAN; head_dim];
            let mut output = RowsMut::new(&mut actual, head_dim);
            kernels.attend(&storage.view(), &shape, &task, &mut output);
            for (expected, actual) in expected.iter().zip(&actual) {
                let error = (expected - f64::from(*actual)).abs();
                prop_assert!(error <= bound, "{}: {error} of {bound}", kernels.name());
            }
        }
    }

    #[test]
    fn a_token_s_bytes_depend_on_nothing_else(
        (kv_heads, head_dim) in (1usize..4, prop_oneof![Just(64usize), 1usize..70]),
        position in 0..BLOCK_TOKENS,
        seed in any::<u64>(),
    ) {
        let width = kv_heads * head_dim;
        let layout = layout(kv_heads, head_dim, KvFormat::I8);
        let mut numbers = Numbers(seed);
        let row = numbers.row(width);
        // Beside neighbours that are a thousand times as large, and alone over what stood there before.
        let mut together: Vec<f32> = numbers.row(16 * width).iter().map(|x| 1000.0 * x).collect();
        together[position * width..][..width].copy_from_slice(&row);
        for kernels in available() {
            let mut batched = KvStorage::zeroed(layout, 1).unwrap();
            let rows = KvRows { keys: &together, values: &together, stride: width };
            store(&*kernels, &mut batched, 0, rows);
            let mut alone = KvStorage::zeroed(layout, 1).unwrap();
            let KvDataMut::I8(data) = alone.data_mut() else {
                unreachable!("the layout says bytes")
            };
            data.copy_from_slice(bytes(&batched));
            let other = KvRows { keys: &together[..width], values: &together[..width], stride: width };
            store(&*kernels, &mut alone, position, other);
            let rows = KvRows { keys: &row, values: &row, stride: width };
            store(&*kernels, &mut alone, position, rows);
            prop_assert!(bytes(&batched) == bytes(&alone), "{}", kernels.name());
        }
    }
}
