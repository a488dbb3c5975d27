//! A step has one arithmetic from its first layer to its logits, whatever is exchanged between two steps.
#![allow(missing_docs, unreachable_pub, clippy::unwrap_used)]

mod support;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use ruvllm_core::model::{ActivationPrecision, LoadOptions, load, open};
use ruvllm_core::sequence::Task;
use ruvllm_kernels::{Kernels, Scalar, ThreadPool};
use support::{engine, fixture, greedy, model, request, run_all};

const CAPPED: &str = "models/gemma2-softcap";

/// The plain program, counted.
#[derive(Debug, Default)]
struct Counted {
    norms: AtomicUsize,
    caps: AtomicUsize,
    /// What a step computes with in its place.
    active: Option<Arc<Counted>>,
}

impl Kernels for Counted {
    fn name(&self) -> &'static str {
        "counted"
    }

    fn for_step(&self) -> Option<Arc<dyn Kernels>> {
        self.active.clone().map(|active| active as Arc<dyn Kernels>)
    }

    fn rms_norm(&self, input: &[f32], weight: &[f32], epsilon: f32, output: &mut [f32]) {
        self.norms.fetch_add(1, Ordering::Relaxed);
        Scalar.rms_norm(input, weight, epsilon, output);
    }

    fn soft_cap(&self, values: &mut [f32], cap: f32) {
        self.caps.fetch_add(1, Ordering::Relaxed);
        Scalar.soft_cap(values, cap);
    }
}

#[test]
fn logits_are_computed_with_what_the_layers_were() {
    let active = Arc::new(Counted::default());
    let switch = Arc::new(Counted {
        active: Some(Arc::clone(&active)),
        ..Counted::default()
    });
    let options = LoadOptions {
        kernels: Arc::clone(&switch) as Arc<dyn Kernels>,
        pool: Arc::new(ThreadPool::new(2)),
        precision: ActivationPrecision::Auto,
        images: None,
    };
    let files = open(&fixture(CAPPED)).unwrap();
    let exchanged = Arc::new(load(&files, &options, &mut |_, _| Ok(())).unwrap());
    assert!(exchanged.spec().final_soft_cap.is_some());
    let mut engine = engine(&exchanged, 8);
    let tokens: Vec<u32> = (3..20).collect();
    let id = engine
        .add(request(&tokens, Task::Generate(greedy(3))))
        .unwrap();
    let outcomes = run_all(&mut engine, 9);
    let mut native = support::engine(&model(CAPPED), 8);
    native
        .add(request(&tokens, Task::Generate(greedy(3))))
        .unwrap();
    assert_eq!(outcomes[&id].tokens, run_all(&mut native, 9)[&id].tokens);
    let counts = |kernels: &Counted| {
        let of = |count: &AtomicUsize| count.load(Ordering::Relaxed);
        (of(&kernels.norms) > 0, of(&kernels.caps))
    };
    // One row of logits a token: of the prompt's first part nothing was wanted.
    assert_eq!(counts(&active), (true, 3));
    assert_eq!(counts(&switch), (false, 0));
}
