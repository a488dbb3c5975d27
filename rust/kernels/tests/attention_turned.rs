//! What turning heads is for: dimensions that stand out cost the others nothing, and values of 4 bits are as exact as
//! 4 bits can be.
#![allow(clippy::unwrap_used)]

mod support;

use std::panic::AssertUnwindSafe;

use ruvllm_kernels::{
    AttentionShape, AttentionTask, BLOCK_TOKENS, Kernels, KvData, KvDataMut, KvFormat, KvLayout,
    KvRows, KvRun, KvSlot, KvStorage, KvView, QueryRows, RowsMut, available, store_kv,
};
use support::Numbers;

const HEAD_DIM: usize = 64;
const TOKENS: usize = 192;

/// Numbers of about a bell's shape, of which those of some dimensions are larger.
fn rows(numbers: &mut Numbers, count: usize, outlier: f32) -> Vec<f32> {
    let rows = (0..count * HEAD_DIM).map(|index| {
        let number: f32 = (0..6).map(|_| numbers.next()).sum();
        let stands_out = [3, 20].contains(&(index % HEAD_DIM));
        number * if stands_out { outlier } else { 1.0 }
    });
    rows.collect()
}

/// One layer of one head.
const fn layout(head_dim: usize, format: KvFormat) -> KvLayout {
    KvLayout::new(1, (1, head_dim), format)
}

fn attention(
    kernels: &dyn Kernels,
    format: KvFormat,
    query: &[f32],
    (keys, values): (&[f32], &[f32]),
) -> Vec<f32> {
    let table: Vec<u32> = (0..TOKENS.div_ceil(BLOCK_TOKENS) as u32).collect();
    let layout = layout(HEAD_DIM, format);
    let mut storage = KvStorage::zeroed(layout, table.len()).unwrap();
    let rows = keys
        .chunks_exact(HEAD_DIM)
        .zip(values.chunks_exact(HEAD_DIM));
    for (position, (key, value)) in rows.enumerate() {
        let slot = KvSlot {
            block: table[position / BLOCK_TOKENS],
            position: position % BLOCK_TOKENS,
            layer: 0,
        };
        store_kv(layout, &mut storage.data_mut(), slot, key, value);
    }
    let shape = AttentionShape {
        num_heads: 1,
        scale: 0.02,
        soft_cap: None,
        window: None,
        behind: 0,
    };
    let task = AttentionTask {
        kv: storage.view(),
        shape,
        queries: QueryRows {
            values: query,
            stride: HEAD_DIM,
        },
        block_keys: None,
        tokens: 1,
        first_position: TOKENS - 1,
        block_table: &table,
        layer: 0,
        kv_head: 0,
    };
    let mut output = vec![f32::NAN; HEAD_DIM];
    let mut target = RowsMut::new(&mut output, HEAD_DIM);
    kernels.attend(&[task], &mut target);
    output
}

/// The error of what attention gives beside that of the cache in f32, over its size, without the dimensions that stand out.
fn error(kernels: &dyn Kernels, format: KvFormat, outliers: (f32, f32)) -> f64 {
    let mut numbers = Numbers(11);
    let (mut wrong, mut all) = (0.0, 0.0);
    for _ in 0..12 {
        let query = rows(&mut numbers, 1, 1.0 / outliers.0);
        let keys = rows(&mut numbers, TOKENS, outliers.0);
        let values = rows(&mut numbers, TOKENS, outliers.1);
        let exact = attention(kernels, KvFormat::F32, &query, (&keys, &values));
        let found = attention(kernels, format, &query, (&keys, &values));
        for (index, (exact, found)) in exact.iter().zip(&found).enumerate() {
            if ![3, 20].contains(&index) {
                wrong += f64::from(exact - found).powi(2);
                all += f64::from(*exact).powi(2);
            }
        }
    }
    (wrong / all).sqrt()
}

/// With two numbers of a key sixteen times as large as the others, a scale for all of them leaves the others four bits less;
/// turned, all are three times as large as they were, which costs a bit and a half.
#[test]
fn keys_that_stand_out_cost_little() {
    for kernels in available() {
        let even = error(&*kernels, KvFormat::I8, (1.0, 1.0));
        let uneven = error(&*kernels, KvFormat::I8, (16.0, 1.0));
        assert!(even < 0.01, "{}: {even}", kernels.name());
        assert!(uneven < 4.0 * even, "{}: {uneven}, {even}", kernels.name());
    }
}

/// The best sixteen levels of even distance leave 0.107 of a bell, and a scale for each value does a little better. Numbers that
/// stand out make all three times as large; not turned, they would leave the others three quarters of error.
#[test]
fn values_of_four_bits_are_as_exact_as_these_can_be() {
    for kernels in available() {
        let even = error(&*kernels, KvFormat::K8V4, (1.0, 1.0));
        let uneven = error(&*kernels, KvFormat::K8V4, (1.0, 16.0));
        assert!((0.05..0.11).contains(&even), "{}: {even}", kernels.name());
        assert!(uneven < 0.35, "{}: {uneven}", kernels.name());
    }
}

/// The best eight levels leave 0.186 of a bell (Max, 1960), here of keys and of values.
#[test]
fn numbers_of_three_bits_are_as_exact_as_these_can_be() {
    for kernels in available() {
        let even = error(&*kernels, KvFormat::Q3, (1.0, 1.0));
        let uneven = error(&*kernels, KvFormat::Q3, (1.0, 16.0));
        assert!((0.15..0.2).contains(&even), "{}: {even}", kernels.name());
        assert!(uneven < 0.7, "{}: {uneven}", kernels.name());
    }
}

/// Views and targets are made of parts that anyone may put together: other elements than the format's are refused before a
/// pointer is made of them.
#[test]
fn elements_of_another_format_are_refused() {
    let layout = layout(16, KvFormat::K8V4);
    let words = vec![0i16; 4096];
    let view = KvView {
        layout,
        data: KvData::I16(&words),
    };
    let row = [1.0; 16];
    let shape = AttentionShape {
        num_heads: 1,
        scale: 1.0,
        soft_cap: None,
        window: None,
        behind: 0,
    };
    let task = AttentionTask {
        kv: view,
        shape,
        queries: QueryRows {
            values: &row,
            stride: 16,
        },
        block_keys: None,
        tokens: 1,
        first_position: 0,
        block_table: &[0],
        layer: 0,
        kv_head: 0,
    };
    let run = KvRun {
        block: 0,
        position: 0,
        first_row: 0,
        rows: 1,
    };
    let rows = KvRows {
        keys: &row,
        values: &row,
        stride: 16,
    };
    for kernels in available() {
        let attended = std::panic::catch_unwind(AssertUnwindSafe(|| {
            let mut output = [0.0; 16];
            let mut target = RowsMut::new(&mut output, 16);
            kernels.attend(&[task], &mut target);
        }));
        let stored = std::panic::catch_unwind(AssertUnwindSafe(|| {
            let mut piece = vec![0i16; layout.block_elements()];
            kernels.store_kv(layout, rows, run, &mut KvDataMut::I16(&mut piece));
        }));
        assert!(attended.is_err() && stored.is_err(), "{}", kernels.name());
    }
}
