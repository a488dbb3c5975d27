//! The guesses of one step, on their way through it.

use crate::ids::TokenId;

/// What was guessed of an answer, and how far that came true. Without guesses it is the one row that a step has of
/// an answer anyway.
#[derive(Debug, Default)]
pub struct Draft {
    tokens: Vec<TokenId>,
    /// Rows that were offered.
    rows: usize,
    /// Guesses that came true.
    agreed: usize,
    /// Whether what comes behind is of no use: the answer went on with another token, or is over.
    is_over: bool,
}

impl Draft {
    /// One of these guesses.
    pub fn of(tokens: Vec<TokenId>) -> Self {
        Self {
            tokens,
            ..Self::default()
        }
    }

    /// The guesses.
    pub fn tokens(&self) -> &[TokenId] {
        &self.tokens
    }

    /// Whether the next row is behind what the answer has become, to be drawn from. The first one is behind the
    /// last token that was known, each other one behind a guess.
    pub fn holds_next_row(&mut self) -> bool {
        let row = self.rows;
        self.rows += 1;
        !self.is_over && row == self.agreed
    }

    /// Compares a token of the answer with the next guess.
    pub fn compare(&mut self, token: TokenId) {
        if !self.is_over && self.tokens.get(self.agreed) == Some(&token) {
            self.agreed += 1;
        } else {
            self.is_over = true;
        }
    }

    /// The answer is over.
    pub fn stop(&mut self) {
        self.is_over = true;
    }

    /// Guesses that came true.
    pub fn agreed(&self) -> usize {
        self.agreed
    }
}
