//! What guesses an answer's next tokens.

use std::fmt::Debug;

use crate::ids::TokenId;

/// Guesses the next tokens of one answer.
pub trait Proposer: Debug + Send + Sync {
    /// Takes the next token of the text in: of the prompt, then of the answer.
    fn observe(&mut self, token: TokenId);

    /// Takes in what it was given beforehand, up to `room` tokens of it, which are taken off; whether that is all.
    fn catch_up(&mut self, room: &mut usize) -> bool {
        let _ = room;
        true
    }

    /// Adds up to `most` guesses to `draft`, which is empty. Returns upon how many tokens in a row they rest: the
    /// more, the likelier they are. 0 where there is no guess.
    fn propose(&self, most: usize, draft: &mut Vec<TokenId>) -> usize;
}

/// Makes a proposer for every answer.
pub trait Proposers: Debug + Send + Sync {
    /// One that has seen nothing of the text yet; `prediction` is what the caller thinks that the answer will be.
    fn begin(&self, prediction: &[TokenId]) -> Box<dyn Proposer>;
}
