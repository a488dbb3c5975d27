//! What is learned from: tokens, and behind each of them what should follow.

use crate::error::{Error, Result};
use crate::ids::TokenId;
use crate::model::spec::ModelSpec;

/// A text, whose loss is `-sum of shares[i][j] * log p(ids[i][j] | tokens[..=i])`.
///
/// One id a row and shares of 1 are supervised learning, several are distillation, and shares of either sign rewards.
#[derive(Debug, Clone, Copy)]
pub struct Example<'a> {
    /// `[n]`
    pub tokens: &'a [TokenId],
    /// `[n, k]`
    pub ids: &'a [TokenId],
    /// `[n, k]`; a row of zeros is not counted.
    pub shares: &'a [f32],
}

impl<'a> Example<'a> {
    /// How many ids each row has.
    pub(super) fn width(&self) -> usize {
        self.ids.len() / self.tokens.len()
    }

    /// Ids and shares of a row.
    pub(super) fn row(&self, row: usize) -> (&'a [TokenId], &'a [f32]) {
        let range = row * self.width()..(row + 1) * self.width();
        (&self.ids[range.clone()], &self.shares[range])
    }

    /// Refuses what the model cannot take.
    pub(super) fn check(&self, spec: &ModelSpec) -> Result<()> {
        check_rows(spec, self.tokens, self.ids)?;
        if self.shares.len() != self.ids.len() {
            return Err(Error::Config(format!(
                "there are {} ids and {} shares; each id has one",
                self.ids.len(),
                self.shares.len()
            )));
        }
        match self.shares.iter().find(|share| !share.is_finite()) {
            Some(share) => Err(Error::Config(format!(
                "a share is {share}; shares are finite"
            ))),
            None => Ok(()),
        }
    }
}

/// Refuses tokens and ids that are not the model's, or no rows of the same number of ids.
pub(super) fn check_rows(spec: &ModelSpec, tokens: &[TokenId], ids: &[TokenId]) -> Result<()> {
    if tokens.is_empty() || tokens.len() > spec.max_context {
        return Err(Error::Config(format!(
            "an example has {} tokens; it must have 1 to {}, the model's context",
            tokens.len(),
            spec.max_context
        )));
    }
    if ids.is_empty() || !ids.len().is_multiple_of(tokens.len()) {
        return Err(Error::Config(format!(
            "there are {} ids for {} tokens; each token has as many as the others, and at least one",
            ids.len(),
            tokens.len()
        )));
    }
    let mut all = tokens.iter().chain(ids);
    match all.find(|token| **token as usize >= spec.vocab_size) {
        Some(token) => Err(Error::Tokenization(format!(
            "token {token} is outside the model's vocabulary of {} tokens",
            spec.vocab_size
        ))),
        None => Ok(()),
    }
}
