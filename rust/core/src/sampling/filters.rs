//! The filters: which tokens stay in the draw, found without sorting the vocabulary.
//!
//! A filter first gathers every token that could stay, by a bound on its logit that is sure
//! not to lose one, and then decides exactly among those few. Tokens are ranked by weight,
//! equal ones by the lower id; what stays is always a prefix of that ranking.
//! `kept` has their order.

use super::softmax::{BLOCK, Blocks, Softmax};
use crate::ids::TokenId;

/// Up to here sorting is quicker than splitting once more.
const SORTED_AT_ONCE: usize = 64;

/// How many classes of weights [`keep_mass`] sums up before it looks at single ones.
const SHARES: usize = 1024;

/// A token still in the draw. `weight` is its logit until the pipeline makes it a weight.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Candidate {
    pub(super) token: TokenId,
    pub(super) weight: f32,
}

#[expect(
    clippy::trivially_copy_pass_by_ref,
    reason = "the shape that sorting by key takes"
)]
impl Candidate {
    fn new((token, &weight): (TokenId, &f32)) -> Self {
        Self { token, weight }
    }

    /// The class of a weight: 32 for each halving from 1 down, the last for all the rest.
    fn share(&self) -> usize {
        let below_one = 1.0_f32.to_bits().saturating_sub(self.weight.to_bits());
        ((below_one >> 18) as usize).min(SHARES - 1)
    }

    /// Orders the better one first. One number, so that comparing takes no branch.
    pub(super) fn rank(&self) -> u64 {
        // Adding 0 makes -0 and 0 equal; then floats of one sign order as their bits do.
        let bits = (self.weight + 0.0).to_bits();
        let rising = if bits >> 31 == 0 {
            bits | 1 << 31
        } else {
            !bits
        };
        u64::from(!rising) << 32 | u64::from(self.token)
    }
}

/// Leaves in `candidates` every token whose logit is at least `cutoff`, with its logit,
/// by rising id. NaN and -inf are never among them.
pub(super) fn gather(
    logits: &[f32],
    blocks: &Blocks,
    cutoff: f32,
    candidates: &mut Vec<Candidate>,
) {
    let cutoff = cutoff.max(f32::MIN);
    let mut staged = [Candidate {
        token: 0,
        weight: 0.0,
    }; BLOCK];
    candidates.clear();
    for (index, (block, &maximum)) in logits.chunks(BLOCK).zip(&blocks.maxima).enumerate() {
        if maximum < cutoff {
            continue;
        }
        // Written always, counted when it stays: no branch that depends on the values.
        let mut count = 0;
        for (offset, &logit) in block.iter().enumerate() {
            staged[count] = Candidate {
                token: (index * BLOCK + offset) as TokenId,
                weight: logit,
            };
            count += usize::from(logit >= cutoff);
        }
        candidates.extend_from_slice(&staged[..count]);
    }
}

/// Leaves in `candidates` the `count` largest logits by rising id; fewer where NaN and -inf
/// leave no more. `count` is at least 1, and `spare` is memory to be used.
///
/// The `count`-th largest of the blocks' maxima has at least `count` logits at or above it,
/// so nothing below it can be among the largest.
pub(super) fn gather_largest(
    logits: &[f32],
    blocks: &Blocks,
    count: usize,
    spare: &mut Vec<Candidate>,
    candidates: &mut Vec<Candidate>,
) {
    let mut cutoff = f32::MIN;
    if count <= blocks.maxima.len() {
        spare.clear();
        spare.extend((0..).zip(&blocks.maxima).map(Candidate::new));
        let (_, nth, _) = spare.select_nth_unstable_by_key(count - 1, Candidate::rank);
        cutoff = nth.weight;
    }
    gather(logits, blocks, cutoff, candidates);
    keep_largest(candidates, count, spare);
}

/// Keeps the `count` best, all where there are no more. The order stays; `count` is at least 1, and `spare` is memory
/// to be used.
pub(super) fn keep_largest(
    candidates: &mut Vec<Candidate>,
    count: usize,
    spare: &mut Vec<Candidate>,
) {
    if count < candidates.len() {
        spare.clone_from(candidates);
        let (_, nth, _) = spare.select_nth_unstable_by_key(count - 1, Candidate::rank);
        let border = nth.rank();
        candidates.retain(|candidate| candidate.rank() <= border);
    }
}

/// Makes weights of the candidates' logits.
pub(super) fn weigh(candidates: &mut [Candidate], softmax: Softmax) {
    for candidate in candidates {
        candidate.weight = softmax.weight(candidate.weight);
    }
}

/// Keeps what weighs at least so much, and anything at all.
pub(super) fn keep_heavy(candidates: &mut Vec<Candidate>, least: f32) {
    let least = least.max(f32::MIN_POSITIVE);
    candidates.retain(|candidate| candidate.weight >= least);
}

/// The sum of the weights.
pub(super) fn mass(candidates: &[Candidate]) -> f64 {
    candidates.iter().map(|c| f64::from(c.weight)).sum()
}

/// Keeps the smallest set of best candidates whose weights reach `needed`, at least one, and
/// all when they do not. The order stays; `spare` is memory to be used.
pub(super) fn keep_mass(
    candidates: &mut Vec<Candidate>,
    mut needed: f64,
    spare: &mut Vec<Candidate>,
) {
    let mut shares = [0.0; SHARES];
    for candidate in candidates.iter() {
        shares[candidate.share()] += f64::from(candidate.weight);
    }
    let mut reached = 0;
    while reached < SHARES - 1 && shares[reached] < needed {
        needed -= shares[reached];
        reached += 1;
    }
    spare.clear();
    spare.extend(candidates.iter().filter(|c| c.share() == reached));
    let border = crossing(spare, needed, |c| f64::from(c.weight));
    candidates.retain(|candidate| candidate.rank() <= border);
}

/// The rank of the candidate at which what they weigh, summed up best first, reaches `needed`; of the
/// last one when it never does, and beyond every rank when there is none. Changes the order
/// of `candidates`.
///
/// Splits at the middle and goes on in the half that holds the place: linear time.
pub(super) fn crossing(
    mut candidates: &mut [Candidate],
    mut needed: f64,
    weight: impl Fn(&Candidate) -> f64,
) -> u64 {
    while candidates.len() > SORTED_AT_ONCE {
        let half = candidates.len() / 2;
        candidates.select_nth_unstable_by_key(half, Candidate::rank);
        let (upper, lower) = candidates.split_at_mut(half);
        let upper_mass: f64 = upper.iter().map(&weight).sum();
        candidates = if upper_mass >= needed {
            upper
        } else {
            needed -= upper_mass;
            lower
        };
    }
    candidates.sort_unstable_by_key(Candidate::rank);
    let mut border = u64::MAX;
    for candidate in candidates {
        border = candidate.rank();
        needed -= weight(candidate);
        if needed <= 0.0 {
            break;
        }
    }
    border
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scanned(logits: &[f32]) -> Blocks {
        let mut blocks = Blocks::default();
        blocks.scan(logits);
        blocks
    }

    fn tokens(candidates: &[Candidate]) -> Vec<TokenId> {
        let mut tokens: Vec<TokenId> = candidates.iter().map(|c| c.token).collect();
        tokens.sort_unstable();
        tokens
    }

    /// Logits that go up and down, with many equal ones.
    fn wavy(length: usize) -> Vec<f32> {
        (0..length)
            .map(|i| ((i * 7919) % 1013) as f32 / 16.0)
            .collect()
    }

    #[test]
    fn gathering_leaves_out_nan_and_masked() {
        let logits = [1.0, f32::NAN, f32::NEG_INFINITY, -5.0, f32::INFINITY];
        let mut found = Vec::new();
        gather(&logits, &scanned(&logits), f32::NEG_INFINITY, &mut found);
        assert_eq!(tokens(&found), [0, 3, 4]);
        gather(&logits, &scanned(&logits), 1.0, &mut found);
        assert_eq!(tokens(&found), [0, 4]);
    }

    #[test]
    fn the_largest_are_those_of_a_full_sort() {
        let shapes = [wavy(5000), vec![2.5; 300], {
            let mut rising = wavy(1000);
            rising.sort_unstable_by(f32::total_cmp);
            rising
        }];
        for logits in shapes {
            let mut sorted: Vec<usize> = (0..logits.len()).collect();
            sorted.sort_by(|&a, &b| logits[b].total_cmp(&logits[a]));
            for count in [1, 2, 5, 63, 64, 65, 79, 200, 299, 4999, 9999] {
                let mut expected: Vec<TokenId> =
                    sorted.iter().take(count).map(|&i| i as TokenId).collect();
                expected.sort_unstable();
                let (mut spare, mut found) = (Vec::new(), Vec::new());
                gather_largest(&logits, &scanned(&logits), count, &mut spare, &mut found);
                assert_eq!(tokens(&found), expected, "{count} of {}", logits.len());
            }
        }
    }

    #[test]
    fn kept_masses_are_those_of_a_full_sort() {
        for length in [1, 2, 63, 64, 65, 129, 1000] {
            let weights = wavy(length);
            let candidates: Vec<Candidate> = (0..).zip(&weights).map(Candidate::new).collect();
            let mut sorted = candidates.clone();
            sorted.sort_by_key(Candidate::rank);
            let kept = |needed: f64| {
                let (mut kept, mut spare) = (candidates.clone(), Vec::new());
                keep_mass(&mut kept, needed, &mut spare);
                assert!(kept.is_sorted_by_key(|candidate| candidate.token));
                tokens(&kept)
            };
            // Multiples of 1/16 add up exactly, so the borders can be hit exactly too.
            let mut sum = 0.0;
            for (place, candidate) in sorted.iter().enumerate() {
                if candidate.weight == 0.0 {
                    break;
                }
                sum += f64::from(candidate.weight);
                let expected = tokens(&sorted[..=place]);
                assert_eq!(kept(sum), expected, "{place} of {length}");
                assert_eq!(kept(sum - 0.001), expected, "{place} of {length}");
            }
            assert_eq!(kept(0.0), [sorted[0].token]);
            assert_eq!(kept(1e9).len(), length);
        }
    }
}
