//! What an engine knows of guesses: who makes them, what steps cost, and how many came true.

use crate::batch::{Batch, BatchSequence};
use crate::ids::TokenId;
use crate::prefix::Namespace;
use crate::sequence::{Sequence, Work};
use crate::speculation::policy::{Candidate, MOST_GUESSES, lengths};
use crate::speculation::{DraftCounts, Drafting, Lengths, Owner, Speculation, StepCosts};

use super::draft_model::DraftModel;
use super::sequences::Sequences;

/// Guesses of all answers.
#[derive(Debug)]
pub(super) struct Drafts {
    pub(super) settings: Speculation,
    pub(super) costs: StepCosts,
    pub(super) counts: DraftCounts,
    /// A smaller model that guesses too.
    pub(super) model: Option<DraftModel>,
    /// Tokens that those who guess may still take in beside this step: long prompts hold nobody up.
    pub(super) room: usize,
}

impl Drafts {
    pub(super) fn new(settings: Speculation) -> Self {
        Self {
            settings,
            costs: StepCosts::default(),
            counts: DraftCounts::default(),
            model: None,
            room: 0,
        }
    }

    /// Who guesses for an answer.
    pub(super) fn drafting(&self, owner: Option<&Namespace>, prediction: &[TokenId]) -> Drafting {
        let owner = owner.map(owner_of);
        Drafting::new(self.settings.proposers.begin(owner.as_ref(), prediction))
    }

    /// Keeps what became of an answer for those that follow, if it `is_whole`, as far as there is room beside this step:
    /// of more the beginning.
    pub(super) fn end(&mut self, sequence: &Sequence, is_whole: bool) {
        let guesses = matches!(&sequence.work, Work::Generate(one) if one.drafting.is_some());
        let prompt = sequence.prompt_tokens;
        let is_kept = is_whole && leaves_traces(sequence.cache_min_tokens, prompt);
        if let Some(model) = &mut self.model {
            model.end(sequence, is_kept);
        }
        if guesses && is_kept {
            let end = sequence.tokens.len().min(prompt + self.room);
            self.room -= end - prompt;
            let owner = owner_of(&sequence.namespace);
            let proposers = &self.settings.proposers;
            proposers.end(&owner, &sequence.tokens[..end], prompt);
        }
    }

    /// Forgets what answers said.
    pub(super) fn forget(&mut self) {
        self.settings.proposers.forget();
        if let Some(model) = &mut self.model {
            model.forget();
        }
    }

    /// How many guesses each answer of a batch has.
    pub(super) fn lengths(&self, sequences: &Sequences, batch: &Batch) -> Vec<usize> {
        let most = match self.settings.lengths {
            Lengths::AsPays => MOST_GUESSES,
            Lengths::Always(most) => most,
        };
        let candidates = batch.sequences.iter();
        let candidates: Vec<_> = candidates
            .map(|rows| candidate(sequences, rows, most))
            .collect();
        match self.settings.lengths {
            Lengths::AsPays => lengths(&self.costs, &candidates),
            Lengths::Always(_) => candidates.iter().map(|one| one.chances.len()).collect(),
        }
    }
}

/// Whether an answer to such a prompt may be kept for others, and theirs for it: as its keys and values may.
pub(super) fn leaves_traces(cache_min_tokens: Option<usize>, prompt_tokens: usize) -> bool {
    cache_min_tokens.is_some_and(|least| prompt_tokens >= least)
}

/// Whose answers are alike, of what decides about keys and values.
fn owner_of(namespace: &Namespace) -> Owner {
    Owner {
        tenant: namespace.tenant.clone(),
        adapter: namespace.adapter,
    }
}

/// An answer, and how likely up to `most` guesses of it are.
fn candidate(sequences: &Sequences, rows: &BatchSequence, most: usize) -> Candidate {
    let mut candidate = Candidate {
        rows: rows.rows,
        chances: Vec::new(),
    };
    if let Some(sequence) = sequences.get(rows.owner)
        && let Work::Generate(generation) = &sequence.work
        && let Some(drafting) = &generation.drafting
    {
        let known = sequence.tokens.len();
        let count = drafting.guesses(known, most).len();
        drafting.chances(known, count, &mut candidate.chances);
    }
    candidate
}
