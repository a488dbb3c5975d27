//! Keys and values as integers: what is stored, how far it is from what was given, and that a token's
//! integers depend on nothing but the token.
#![allow(clippy::unwrap_used)]

mod support;

use half::f16;
use proptest::prelude::*;
use proptest::sample::select;
use ruvllm_kernels::{
    AttentionShape, AttentionTask, BLOCK_TOKENS, Kernels, KvData, KvFormat, KvLayout, KvRows,
    KvRun, KvSlot, KvStorage, KvTarget, QueryRows, RowsMut, ThreadPool, available, store_batch,
    store_kv,
};
use support::{Numbers, cases, turned};

const fn layout(kv_heads: usize, head_dim: usize, format: KvFormat) -> KvLayout {
    KvLayout::new(1, (kv_heads, head_dim), format)
}

const INTEGERS: [KvFormat; 5] = [
    KvFormat::I16,
    KvFormat::I8,
    KvFormat::K8V4,
    KvFormat::Q4,
    KvFormat::Q3,
];
/// Those in which each number is one element.
const WHOLE: [KvFormat; 2] = [KvFormat::I16, KvFormat::I8];

/// All bytes of the pool.
fn bytes(storage: &KvStorage) -> Vec<u8> {
    let blocks = storage.view().blocks();
    let bytes = (0..blocks).flat_map(|block| storage.block(block).iter().copied());
    bytes.collect()
}

/// One number of a head as it is stored, from where its keys or its values begin.
fn number(storage: &KvStorage, place: usize) -> i32 {
    match storage.view().data {
        KvData::I16(data) => i32::from(data[place]),
        KvData::I8(data) => i32::from(data[place]),
        KvData::F32(_) => unreachable!("the layout says integers"),
    }
}

/// The scale of token `index` of a head; those of values follow the sixteen of keys.
fn scale(storage: &KvStorage, (block, kv_head, index): (u32, usize, usize)) -> f32 {
    let layout = storage.view().layout;
    let begin = layout.scale_offset(block, 0, kv_head) * layout.format.bytes();
    let data = bytes(storage);
    if layout.format == KvFormat::Q3 {
        // A code of a floating point number: six bits of exponent, two of mantissa.
        return match data[begin + index] {
            0 => 0.0,
            255 => f32::NAN,
            code => 2f32.powi(i32::from(code / 4) - 40) * (1.0 + f32::from(code % 4) / 4.0),
        };
    }
    let place = begin + 4 * index;
    f32::from_ne_bytes(std::array::from_fn(|byte| data[place + byte]))
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
fn a_block_of_bytes_is_half_of_one_of_words_and_its_parts_stand_on_cache_lines() {
    // Keys and values, and of each sixteen scales of four bytes.
    for (format, bytes, bits) in [
        (KvFormat::I16, 2, 16 + 16),
        (KvFormat::I8, 1, 8 + 8),
        (KvFormat::K8V4, 1, 8 + 4),
        (KvFormat::Q4, 1, 4 + 4),
    ] {
        let layout = layout(3, 64, format);
        let numbers = 16 * 64;
        assert_eq!(layout.block_bytes(), 3 * (numbers * bits / 8 + 2 * 16 * 4));
        for kv_head in 0..3 {
            for block in 0..2 {
                let places = [
                    layout.key_offset(block, 0, kv_head),
                    layout.scale_offset(block, 0, kv_head),
                    layout.value_offset(block, 0, kv_head),
                ];
                assert!(
                    places
                        .iter()
                        .all(|place| (place * bytes).is_multiple_of(64))
                );
            }
        }
    }
    // Three bits a number, and scales of one byte.
    let layout_of_three = layout(3, 64, KvFormat::Q3);
    assert_eq!(
        layout_of_three.block_bytes(),
        3 * (16 * 64 * 6 / 8 + 2 * 16)
    );
    // What is no whole number of sixteen is filled up.
    assert_eq!(
        layout(1, 17, KvFormat::I8).block_bytes(),
        layout(1, 32, KvFormat::I8).block_bytes()
    );
}

/// Rows whose keys have a unit of 1 and whose values have one of 1/2, and the integers that they become.
fn rounded(format: KvFormat) -> (Vec<f32>, Vec<f32>, [i32; 8]) {
    let mut row = vec![0.0; 17];
    let (key, expected) = match format {
        // The length of the key is 32 766.
        KvFormat::I16 => (
            [-32_766.0, 0.5, 0.4, 0.0, -0.5, 0.0, 0.0, 0.49],
            [-32_766, 0, 0, 0, 0, 0, 0, 0],
        ),
        _ => (
            [-127.0, 0.5, 1.5, 2.5, -0.5, -1.5, 126.5, 0.49],
            [-127, 0, 2, 2, 0, -2, 126, 0],
        ),
    };
    row[..8].copy_from_slice(&key);
    let value = match format {
        KvFormat::I16 => row
            .iter()
            .map(|number| number / 32_766.0 * 4095.0 / 2.0)
            .collect(),
        _ => row.iter().map(|number| number / 2.0).collect(),
    };
    (row, value, expected)
}

#[test]
fn numbers_are_rounded_to_even_under_the_scale() {
    let head_dim = 17;
    for format in WHOLE {
        let (key, value, expected) = rounded(format);
        for kernels in available() {
            let layout = layout(1, head_dim, format);
            let mut storage = KvStorage::zeroed(layout, 1).unwrap();
            let rows = KvRows {
                keys: &key.repeat(16),
                values: &value.repeat(16),
                stride: head_dim,
            };
            store(&*kernels, &mut storage, 0, rows);
            for token in 0..BLOCK_TOKENS {
                assert_eq!(scale(&storage, (0, 0, token)), 1.0);
                assert_eq!(scale(&storage, (0, 0, BLOCK_TOKENS + token)), 0.5);
                for (dimension, expected) in expected.into_iter().enumerate() {
                    // Pairs of dimensions, and of tokens; heads of 32.
                    let key = dimension / 2 * 32 + 2 * token + dimension % 2;
                    let value = token / 2 * 64 + 2 * dimension + token % 2;
                    let value = layout.value_offset(0, 0, 0) + value;
                    let (key, value) = (number(&storage, key), number(&storage, value));
                    let largest = if format == KvFormat::I16 && dimension == 0 {
                        -4095
                    } else {
                        expected
                    };
                    assert_eq!((key, value), (expected, largest), "{}", kernels.name());
                }
            }
        }
    }
}

/// Zeros, denormals, what is infinite or no number: the same bytes everywhere, and no others' business.
#[test]
fn strange_vectors_keep_to_themselves() {
    for (head_dim, format) in [16, 21]
        .into_iter()
        .flat_map(|width| INTEGERS.map(|it| (width, it)))
    {
        let width = 2 * head_dim;
        let mut rows = Numbers(3).row(16 * width);
        let strange = [
            [0.0, -0.0],
            [1e-40, -1e-44],
            [f32::NAN, 1.0],
            [f32::INFINITY, 1.0],
            [2.0, f32::NEG_INFINITY],
            // Not longer than what a float can be.
            [f32::MAX / 8.0, f32::MIN / 8.0],
        ];
        for (row, numbers) in rows.chunks_exact_mut(width).zip(strange) {
            row[..head_dim].fill(numbers[0]);
            row[head_dim - 1] = numbers[1];
        }
        let layout = layout(2, head_dim, format);
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
                // Scales of eight bits do not reach that far.
                5 if format == KvFormat::Q3 => assert!(scales[0].is_nan()),
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
    /// unit times the query's magnitudes (and half a unit of the query times the key's), a weight by twice that at most, and a
    /// value by half a unit.
    #[test]
    fn attention_is_as_near_as_rounding_allows(
        head_dim in prop_oneof![Just(64usize), Just(80), 1usize..40],
        tokens in 1usize..300,
        format in select(WHOLE.to_vec()),
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
        let layout = layout(1, head_dim, format);
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
        // As they are stored: bytes are of heads that were turned.
        let stored = |row: &[f32]| -> Vec<f64> {
            let row: Vec<f64> = row.iter().copied().map(f64::from).collect();
            if format == KvFormat::I8 { turned(&row) } else { row }
        };
        let magnitude: f64 = stored(&query).iter().map(|number| number.abs()).sum();
        let magnitude = magnitude as f32;
        let largest = |rows: &[f32]| {
            let rows = rows.chunks_exact(head_dim).flat_map(stored);
            rows.fold(0.0, |largest, number| number.abs().max(largest)) as f32
        };
        // A number that is turned back is off by the length of all that were turned with it, at most.
        let together = (head_dim & head_dim.wrapping_neg()) as f32;
        let dimensions = head_dim as f32;
        // Magnitudes of keys and values are below 1.
        let (key_unit, value_unit) = match format {
            KvFormat::I16 => (dimensions.sqrt() / 32_766.0, 1.0 / 4095.0),
            _ => (largest(&keys) / 127.0, largest(&values) * together.sqrt() / 127.0),
        };
        let query_error = 0.5 / 32_766.0 * dimensions.sqrt() * dimensions;
        let score_error = (0.5 * key_unit * magnitude + query_error) * scale;
        // The weights of a segment are off by half a unit each; the last part is for the sums in f32.
        let weights = 0.5 * 256.0 / 32_767.0;
        let bound = (2.0 * score_error).exp() - 1.0 + 0.5 * value_unit + weights + 2e-5;
        let bound = f64::from(bound);
        let shape = AttentionShape { num_heads: 1, scale, soft_cap: None, window: None, behind: 0 };
        let task = AttentionTask {
            kv: storage.view(),
            shape,
            queries: QueryRows { values: &query, stride: head_dim },
            block_keys: None,
            tokens: 1,
            first_position: tokens - 1,
            block_table: &table,
            layer: 0,
            kv_head: 0,
        };
        for kernels in available() {
            let mut actual = vec![f32::NAN; head_dim];
            let mut output = RowsMut::new(&mut actual, head_dim);
            kernels.attend(&[task], &mut output);
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
        format in select(INTEGERS.to_vec()),
        seed in any::<u64>(),
    ) {
        let width = kv_heads * head_dim;
        let layout = layout(kv_heads, head_dim, format);
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
            alone.block_mut(0).copy_from_slice(batched.block(0));
            let other = KvRows { keys: &together[..width], values: &together[..width], stride: width };
            store(&*kernels, &mut alone, position, other);
            let rows = KvRows { keys: &row, values: &row, stride: width };
            store(&*kernels, &mut alone, position, rows);
            prop_assert!(bytes(&batched) == bytes(&alone), "{}", kernels.name());
        }
    }
}

/// The last query over all keys, in words.
fn in_words(query: &[f32], keys: &[f32], values: &[f32], scale: f32) -> Vec<f32> {
    let head_dim = query.len();
    let tokens = keys.len() / head_dim;
    let table: Vec<u32> = (0..tokens.div_ceil(BLOCK_TOKENS) as u32).collect();
    let layout = layout(1, head_dim, KvFormat::I16);
    let mut storage = KvStorage::zeroed(layout, table.len()).unwrap();
    let rows = KvRows {
        keys,
        values,
        stride: head_dim,
    };
    let mut runs: Vec<KvRun> = KvRun::of_table(&table, 0, tokens, 0).collect();
    let kernels = available().into_iter().next().unwrap();
    let target = KvTarget {
        layout,
        data: storage.data_mut(),
        layer: 0,
    };
    store_batch(&*kernels, &ThreadPool::new(1), target, rows, &mut runs);
    let shape = AttentionShape {
        num_heads: 1,
        scale,
        soft_cap: None,
        window: None,
        behind: 0,
    };
    let task = AttentionTask {
        kv: storage.view(),
        shape,
        queries: QueryRows {
            values: query,
            stride: head_dim,
        },
        block_keys: None,
        tokens: 1,
        first_position: tokens - 1,
        block_table: &table,
        layer: 0,
        kv_head: 0,
    };
    let mut output = vec![f32::NAN; head_dim];
    kernels.attend(&[task], &mut RowsMut::new(&mut output, head_dim));
    output
}

/// Words are as near to what was given as f16 would be: of the textbook's result from keys and values in f16 the error is
/// as large, whether numbers are alike or some stand out as in real keys.
#[test]
fn words_are_as_exact_as_halves() {
    for outlier in [1.0, 30.0] {
        let (head_dim, tokens) = (128, 256);
        let mut numbers = Numbers(7);
        let mut errors = [0.0; 2];
        for _ in 0..8 {
            let mut rows = |count: usize| {
                let mut rows = numbers.row(count * head_dim);
                let first = rows.iter_mut().step_by(head_dim);
                first.for_each(|number| *number *= outlier);
                rows
            };
            let (mut query, keys, values) = (rows(1), rows(tokens), rows(tokens));
            query[0] /= outlier;
            let scale = 3.0 / (head_dim as f32).sqrt();
            let halves = |numbers: &[f32]| -> Vec<f32> {
                let halves = numbers.iter().map(|number| f16::from_f32(*number).to_f32());
                halves.collect()
            };
            let expected = textbook(&query, &keys, &values, f64::from(scale));
            let rounded = textbook(&query, &halves(&keys), &halves(&values), f64::from(scale));
            let actual = in_words(&query, &keys, &values, scale);
            for (index, expected) in expected.iter().enumerate() {
                errors[0] += (expected - rounded[index]).powi(2);
                errors[1] += (expected - f64::from(actual[index])).powi(2);
            }
        }
        let [halves, words] = errors.map(f64::sqrt);
        assert!(
            words < 1.5 * halves,
            "{words} beside {halves} of f16, outliers of {outlier}"
        );
    }
}
