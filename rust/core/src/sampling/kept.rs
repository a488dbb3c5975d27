//! What the filters keep, in their order: top-n-sigma → top-k → typical-p → top-p → min-p.

use super::deviation::deviation;
use super::filters::{gather, gather_largest, keep_heavy, keep_largest, keep_mass, mass, weigh};
use super::params::SamplingParams;
use super::scratch::Scratch;
use super::softmax::Softmax;
use super::typical::keep_typical;

/// Leaves in the scratch, which has scanned the logits, what filters keep of them, by rising id and with their weights, at
/// least one.
pub(super) fn keep(logits: &[f32], params: &SamplingParams, scratch: &mut Scratch) {
    if params.looks_at_all() {
        keep_step_by_step(logits, params, scratch);
    } else {
        keep_by_bounds(logits, params, scratch);
    }
}

/// Top-k, top-p and min-p alone: what they keep are the best few, and a bound mostly leaves out the rest at once.
fn keep_by_bounds(logits: &[f32], params: &SamplingParams, scratch: &mut Scratch) {
    let Scratch {
        blocks,
        candidates,
        spare,
    } = scratch;
    let softmax = Softmax::new(blocks.maximum, params.temperature);
    let top_p = f64::from(params.top_p);
    let least = f64::from(params.min_p);
    if params.top_k > 0 && params.top_k < logits.len() {
        gather_largest(logits, blocks, params.top_k, spare, candidates);
        weigh(candidates, softmax);
        if top_p < 1.0 {
            let needed = top_p * mass(candidates);
            keep_mass(candidates, needed, spare);
        }
    } else if top_p < 1.0 {
        let total = softmax.total(logits, blocks);
        let average = total / logits.len() as f64;
        let needed = top_p * total;
        // The first bound mostly is enough. If not: all weights below the second cannot
        // together be what top-p leaves out. Half, for rounding.
        for bound in [
            average * (1.0 - top_p).sqrt(),
            average * (1.0 - top_p) / 2.0,
        ] {
            let cutoff = softmax.cutoff(bound.max(least / 2.0));
            gather(logits, blocks, cutoff, candidates);
            weigh(candidates, softmax);
            if bound <= least || mass(candidates) >= needed {
                break;
            }
        }
        keep_mass(candidates, needed, spare);
    } else {
        gather(logits, blocks, softmax.cutoff(least / 2.0), candidates);
        weigh(candidates, softmax);
    }
    keep_heavy(candidates, params.min_p);
}

/// The same with top-n-sigma and typical-p, to which every logit matters, and which may leave out the best.
fn keep_step_by_step(logits: &[f32], params: &SamplingParams, scratch: &mut Scratch) {
    let Scratch {
        blocks,
        candidates,
        spare,
    } = scratch;
    if params.top_n_sigma > 0.0 {
        let maximum = blocks.maximum.min(f32::MAX);
        let distance = f64::from(params.top_n_sigma) * deviation(logits, maximum);
        let cutoff = (f64::from(maximum) - distance) as f32;
        gather(logits, blocks, cutoff, candidates);
        if params.top_k > 0 {
            keep_largest(candidates, params.top_k, spare);
        }
    } else if params.top_k > 0 {
        gather_largest(logits, blocks, params.top_k, spare, candidates);
    } else {
        gather(logits, blocks, f32::MIN, candidates);
    }
    let softmax = Softmax::new(blocks.maximum, params.temperature);
    weigh(candidates, softmax);
    keep_heavy(candidates, 0.0);
    if params.typical_p < 1.0 {
        let share = f64::from(params.typical_p);
        keep_typical(candidates, share, (logits, softmax), spare);
    }
    if params.top_p < 1.0 {
        let needed = f64::from(params.top_p) * mass(candidates);
        keep_mass(candidates, needed, spare);
    }
    let heaviest = candidates.iter().map(|candidate| candidate.weight);
    let heaviest = heaviest.fold(0.0, f32::max);
    keep_heavy(candidates, params.min_p * heaviest);
}
