//! Locally typical sampling (Meister, Pimentel, Wiher and Cotterell, 2022): tokens about as surprising as is to be expected.

use super::filters::{Candidate, crossing};
use super::softmax::Softmax;
use super::surprise::Surprise;

/// Keeps the smallest set of candidates whose surprise is nearest to what is to be expected and whose probability reaches
/// `share`, at least one. They have weights by `softmax`, none of them 0; the order stays; `spare` is memory to be used.
pub(super) fn keep_typical(
    candidates: &mut Vec<Candidate>,
    share: f64,
    (logits, softmax): (&[f32], Softmax),
    spare: &mut Vec<Candidate>,
) {
    let surprise = Surprise::among(candidates, logits, softmax);
    let logit = |candidate: &Candidate| logits[candidate.token as usize];
    // The nearest is the best one; of those as near the one with the lower id.
    let by_distance = |candidate: &Candidate| Candidate {
        token: candidate.token,
        weight: -(surprise.of(logit(candidate)) - surprise.mean).abs() as f32,
    };
    let weight = |candidate: &Candidate| f64::from(softmax.weight(logit(candidate)));
    let needed = share * candidates.iter().map(weight).sum::<f64>();
    spare.clear();
    spare.extend(candidates.iter().map(by_distance));
    let border = crossing(spare, needed, weight);
    candidates.retain(|candidate| by_distance(candidate).rank() <= border);
}
