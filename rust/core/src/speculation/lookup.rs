//! Guesses by looking the text's end up in the text, since answers repeat prompts and themselves, and in answers before.

use std::collections::VecDeque;

use super::automaton::{Automaton, BORDER};
use super::history::{Following, Histories};
use super::proposer::{Owner, Proposer, Proposers, Support};
use crate::ids::TokenId;

/// Guesses what followed upon the longest end of the text that stood in it before, where it stood last.
#[derive(Debug, Default)]
pub struct Lookup {
    /// What is left of a prediction to take in.
    prediction: VecDeque<TokenId>,
    text: Vec<TokenId>,
    automaton: Automaton,
    /// What answers before said.
    history: Option<Following>,
}

/// Gives every answer a [`Lookup`], and keeps what became of it for those that follow.
#[derive(Debug, Default)]
pub struct Lookups {
    histories: Histories,
}

impl Lookups {
    /// With a history of its own.
    pub fn over(histories: Histories) -> Self {
        Self { histories }
    }

    /// What is kept of answers takes so many bytes.
    pub fn bytes(&self) -> usize {
        self.histories.bytes()
    }
}

impl Proposers for Lookups {
    fn begin(&self, owner: Option<&Owner>, prediction: &[TokenId]) -> Box<dyn Proposer> {
        Box::new(Lookup {
            history: owner.map(|owner| self.histories.follow(owner)),
            prediction: prediction.iter().copied().collect(),
            ..Lookup::default()
        })
    }

    fn end(&self, owner: &Owner, tokens: &[TokenId], prompt_tokens: usize) {
        self.histories.keep(owner, tokens, prompt_tokens);
    }

    fn forget(&self) {
        self.histories.forget();
    }
}

impl Proposer for Lookup {
    fn observe(&mut self, token: TokenId) {
        self.text.push(token);
        self.automaton.push(token);
        if let Some(history) = &mut self.history {
            history.observe(token);
        }
    }

    fn catch_up(&mut self, room: &mut usize) -> bool {
        while *room > 0
            && let Some(token) = self.prediction.pop_front()
        {
            self.observe(token);
            *room -= 1;
            if self.prediction.is_empty() {
                self.observe(BORDER);
            }
        }
        self.prediction.is_empty()
    }

    fn propose(&self, most: usize, draft: &mut Vec<TokenId>) -> Option<Support> {
        let found = self.automaton.found();
        let least = found.map_or(0, |found| found.length);
        if let Some(history) = &self.history {
            let length = history.propose(least, most, draft);
            if length > 0 {
                return Support::in_history(length);
            }
        }
        let found = found?;
        // A text that repeats itself goes on repeating.
        let source = self.text[found.next..].iter().cycle().take(most);
        draft.extend(source.take_while(|token| **token != BORDER));
        Support::in_text(found.length).filter(|_| !draft.is_empty())
    }
}
