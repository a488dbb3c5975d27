//! What filters keep of the tokens that are allowed, where the likeliest few tell: all the others need not be
//! looked for.

use super::allowed::Allowed;
use super::filters::{Candidate, gather, keep_heavy, mass, weigh};
use super::params::SamplingParams;
use super::scratch::Scratch;
use super::softmax::Softmax;
use crate::Result;

/// At most so many tokens are asked about, one by one; a mask of all takes about as long.
const MOST_ASKED: usize = 12;

/// What is lighter than this share of what top-p leaves out is not asked about.
const LEAST_SHARE: f64 = 1.0 / 8.0;

/// Sums of weights are taken for so much more, or less, than they are.
const ROUNDING: f64 = 1e-5;

/// Leaves in the scratch what filters keep of the allowed tokens, by rising id and with their weights, if that is
/// certain whichever of the tokens that are not asked about may come as well.
pub(super) fn keep_settled(
    logits: &[f32],
    params: &SamplingParams,
    scratch: &mut Scratch,
    allowed: &mut dyn Allowed,
) -> Result<bool> {
    if params.looks_at_all() {
        return Ok(false);
    }
    let top_p = f64::from(params.top_p);
    let least = if top_p < 1.0 {
        (1.0 - top_p) * LEAST_SHARE
    } else {
        f64::from(params.min_p) * (1.0 - ROUNDING)
    };
    if least <= 0.0 {
        return Ok(false);
    }
    scratch.scan(logits)?;
    let Scratch {
        blocks,
        candidates,
        spare: kept,
    } = scratch;
    let softmax = Softmax::new(blocks.maximum, params.temperature);
    gather(logits, blocks, softmax.cutoff(least), candidates);
    if candidates.len() > MOST_ASKED {
        return Ok(false);
    }
    weigh(candidates, softmax);
    candidates.sort_unstable_by_key(Candidate::rank);
    let mut beyond = 0.0;
    if top_p < 1.0 {
        beyond = (softmax.total(logits, blocks) - mass(candidates)).max(0.0);
        // Where it would not be certain if each of them were allowed, nobody is asked.
        if border(candidates, beyond, top_p).is_none() {
            return Ok(false);
        }
    }
    if !ask(candidates, beyond, params, allowed, kept)? {
        return Ok(false);
    }
    // They are weighed as they would be were the others not there.
    let softmax = Softmax::new(logits[kept[0].token as usize], params.temperature);
    for candidate in kept.iter_mut() {
        candidate.weight = softmax.weight(logits[candidate.token as usize]);
    }
    keep_heavy(kept, params.min_p);
    kept.sort_unstable_by_key(|candidate| candidate.token);
    std::mem::swap(candidates, kept);
    Ok(true)
}

/// Asks about the likeliest, best first, as far as needed; whether it is certain which of them top-k and top-p keep, at
/// least one. All others together weigh `beyond`.
fn ask(
    likeliest: &[Candidate],
    beyond: f64,
    params: &SamplingParams,
    allowed: &mut dyn Allowed,
    kept: &mut Vec<Candidate>,
) -> Result<bool> {
    let top_p = f64::from(params.top_p);
    let mut unknown = beyond + mass(likeliest);
    kept.clear();
    for candidate in likeliest {
        unknown = (unknown - f64::from(candidate.weight)).max(0.0);
        if allowed.allows(candidate.token)? {
            kept.push(*candidate);
        } else if kept.is_empty() && top_p >= 1.0 {
            // min-p counts from the likeliest that is allowed, and would look further than was gathered.
            return Ok(false);
        }
        let is_full = params.top_k > 0 && kept.len() == params.top_k;
        if is_full {
            unknown = 0.0;
        }
        let count = if top_p < 1.0 {
            border(kept, unknown, top_p)
        } else {
            is_full.then_some(kept.len())
        };
        if let Some(count) = count {
            kept.truncate(count);
            return Ok(true);
        }
        if is_full {
            return Ok(false);
        }
    }
    Ok(top_p >= 1.0 && !kept.is_empty())
}

/// How many of the best reach the share `top_p` of all that is allowed: these, and of others so much at most as
/// weighs `unknown`. `None` where that depends on how much of it.
fn border(best: &[Candidate], unknown: f64, top_p: f64) -> Option<usize> {
    let known = mass(best);
    let (fewest, most) = (
        top_p * known * (1.0 - ROUNDING),
        top_p * (known + unknown) * (1.0 + ROUNDING),
    );
    let mut reached = 0.0;
    for (place, candidate) in best.iter().enumerate() {
        if reached >= fewest {
            return None;
        }
        reached += f64::from(candidate.weight);
        if reached >= most {
            return Some(place + 1);
        }
    }
    None
}
