//! What goes into the maps: it adds up over chunks, and asks for whole ones. The sums themselves are compared in Python.
#![allow(missing_docs, clippy::unwrap_used)]

use std::path::Path;
use std::sync::Arc;

use ruvllm_core::Error;
use ruvllm_core::model::{ActivationPrecision, LoadOptions, Model, importance, load, open};
use ruvllm_kernels::ThreadPool;

fn model(name: &str) -> Arc<Model> {
    let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/fixtures");
    let options = LoadOptions {
        kernels: ruvllm_kernels::best(),
        pool: Arc::new(ThreadPool::new(2)),
        precision: ActivationPrecision::Auto,
        images: None,
    };
    let files = open(&fixtures.join(name)).unwrap();
    Arc::new(load(&files, &options, &mut |_, _| Ok(())).unwrap())
}

fn tokens(count: u32, salt: u32) -> Vec<u32> {
    (0..count)
        .map(|index| 3 + (index * 37 + salt * 101) % 300)
        .collect()
}

#[test]
fn chunks_add_up_and_name_every_matrix_of_a_layer() {
    for (name, per_layer) in [("models/llama-gqa", 7), ("models/phi3-fused", 4)] {
        let model = model(name);
        let mut seen = Vec::new();
        let mut progress = |done, total| {
            seen.push((done, total));
            Ok(())
        };
        let (first, second) = (tokens(40, 1), tokens(40, 2));
        let whole = importance(&model, &[&first[..], &second].concat(), 40, &mut progress).unwrap();
        assert_eq!(seen, [(40, 80), (80, 80)], "{name}");
        assert_eq!(whole.len(), per_layer * model.spec().layers.len(), "{name}");
        let parts =
            [first, second].map(|tokens| importance(&model, &tokens, 40, &mut |_, _| Ok(())));
        let [first, second] = parts.map(Result::unwrap);
        for ((name, both), (one, other)) in whole.iter().zip(first.iter().zip(&second)) {
            assert_eq!((name, name), (&one.0, &other.0));
            for (sum, (a, b)) in both.iter().zip(one.1.iter().zip(&other.1)) {
                assert!((sum - a - b).abs() <= 1e-5 * sum.abs(), "{name}");
                assert!(*sum > 0.0, "{name}");
            }
        }
    }
}

#[test]
fn what_is_no_chunk_is_refused_and_a_stop_stops() {
    let model = model("models/llama-gqa");
    let too_long = model.spec().max_context + 1;
    for (count, chunk) in [(0, 8), (7, 8), (8, 0), (2000, too_long)] {
        let found = importance(&model, &tokens(count, 0), chunk, &mut |_, _| Ok(()));
        assert!(matches!(found, Err(Error::Config(_))), "{count} {chunk}");
    }
    let stop = || Err(Error::InvalidOperation("stop".to_owned()));
    assert!(importance(&model, &tokens(16, 0), 8, &mut |_, _| stop()).is_err());
    assert!(importance(&model, &[70_000; 8], 8, &mut |_, _| Ok(())).is_err());
}
