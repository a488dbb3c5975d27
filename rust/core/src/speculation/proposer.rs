//! What guesses an answer's next tokens.

use std::fmt::Debug;

use crate::ids::TokenId;

/// Whose answers are kept for each other.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Owner {
    /// On whose account: tenants learn nothing of each other, not even by the time.
    pub tenant: String,
    /// The generation of the adapter; 0 is the model alone.
    pub adapter: u64,
}

/// Upon what guesses rest: the longer the match, or the surer the model, the likelier they are.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Support {
    /// So many tokens in a row, at least one, stood in the text itself, or in what was given as its prediction.
    Text(usize),
    /// They stood in answers before it.
    History(usize),
    /// A draft model, which thinks a guess that likely.
    Model(f32),
}

impl Support {
    /// A match in the text itself; `None` where it has no token.
    pub fn in_text(length: usize) -> Option<Self> {
        (length > 0).then_some(Self::Text(length))
    }

    /// A match in answers before; `None` where it has no token.
    pub(super) fn in_history(length: usize) -> Option<Self> {
        (length > 0).then_some(Self::History(length))
    }

    /// That of a guess so many tokens behind one that came true: it rests upon that, too.
    pub(super) fn behind(self, guesses: usize) -> Self {
        match self {
            Self::Text(length) => Self::Text(length + guesses),
            Self::History(length) => Self::History(length + guesses),
            Self::Model(chance) => Self::Model(chance),
        }
    }
}

/// Guesses the next tokens of one answer.
pub trait Proposer: Debug + Send + Sync {
    /// Takes the next token of the text in: of the prompt, then of the answer.
    fn observe(&mut self, token: TokenId);

    /// Takes in what it was given beforehand, up to `room` tokens of it, which are taken off; whether that is all.
    fn catch_up(&mut self, room: &mut usize) -> bool {
        let _ = room;
        true
    }

    /// Adds up to `most` guesses to `draft`, which is empty. Returns upon what they rest; `None` where there is no guess.
    fn propose(&self, most: usize, draft: &mut Vec<TokenId>) -> Option<Support>;
}

/// Makes a proposer for every answer.
pub trait Proposers: Debug + Send + Sync {
    /// One that has seen nothing of the text yet; `prediction` is what the caller thinks that the answer will be. Whoever
    /// wants to leave no trace has no `owner`.
    fn begin(&self, owner: Option<&Owner>, prediction: &[TokenId]) -> Box<dyn Proposer>;

    /// Hears what became of an answer: a text of which the prompt is the beginning.
    fn end(&self, owner: &Owner, tokens: &[TokenId], prompt_tokens: usize) {
        let _ = (owner, tokens, prompt_tokens);
    }

    /// Forgets what became of answers.
    fn forget(&self) {}
}
