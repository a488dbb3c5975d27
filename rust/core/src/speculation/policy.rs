//! How many guesses of each answer are computed: as many as pay, by what they are likely to give and what their
//! rows cost.
//!
//! A step gives each answer one token, and one more for each guess that comes true. What counts is tokens by time,
//! all answers together; and no answer may come slower for the guesses of others. With many answers in a step
//! their rows cost as much as they give, and nothing is guessed any more.

use super::costs::{MOST_ROWS, StepCosts};

/// Guesses of one answer in one step, at most.
pub const MOST_GUESSES: usize = 8;
/// A step with guesses must promise so much more than one without: what was seen is not exact.
pub(super) const LEAST_GAIN: f64 = 1.04;
/// What an answer may lose for others.
pub(super) const LEAST_PACE: f64 = 0.98;

/// An answer in a step.
#[derive(Debug, Clone, Default)]
pub struct Candidate {
    /// Rows that it has anyway.
    pub rows: usize,
    /// How likely it is that its first guess comes true, its first two, and so on: never rising.
    pub chances: Vec<f64>,
}

/// How many guesses of each candidate are computed.
pub fn lengths(costs: &StepCosts, candidates: &[Candidate]) -> Vec<usize> {
    let mut best = vec![0; candidates.len()];
    let mut guesses: Vec<(usize, f64)> = candidates
        .iter()
        .enumerate()
        .flat_map(|(index, one)| one.chances.iter().map(move |chance| (index, *chance)))
        .collect();
    if guesses.is_empty() {
        return best;
    }
    // Likeliest first; of one answer they stay in order, since the sort is stable and chances never rise.
    guesses.sort_by(|one, other| other.1.total_cmp(&one.1));
    let rows: usize = candidates.iter().map(|one| one.rows).sum();
    let alone = costs.times(rows);
    let mut tokens = vec![1.0; candidates.len()];
    let mut lengths = best.clone();
    let (mut total, mut best_gain) = (candidates.len() as f64, LEAST_GAIN);
    for (added, (index, chance)) in guesses.into_iter().enumerate() {
        if rows + added >= MOST_ROWS {
            break;
        }
        tokens[index] += chance;
        lengths[index] += 1;
        total += chance;
        let slower = costs.times(rows + added + 1) / alone;
        let gain = total / candidates.len() as f64 / slower;
        let least = tokens.iter().copied().fold(f64::INFINITY, f64::min);
        if gain > best_gain && least / slower >= LEAST_PACE {
            best_gain = gain;
            best.clone_from(&lengths);
        }
    }
    best
}
