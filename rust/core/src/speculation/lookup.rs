//! Guesses by looking the text's end up in the text: answers repeat prompts and themselves.

use std::collections::VecDeque;

use super::automaton::Automaton;
use super::proposer::{Proposer, Proposers};
use crate::ids::TokenId;

/// Between a prediction and the prompt; no model has so many tokens.
const BORDER: TokenId = TokenId::MAX;

/// Guesses what followed upon the longest end of the text that stood in it before, where it stood last.
#[derive(Debug, Default)]
pub struct Lookup {
    /// What is left of a prediction to take in.
    prediction: VecDeque<TokenId>,
    text: Vec<TokenId>,
    automaton: Automaton,
}

/// Gives every answer a [`Lookup`].
#[derive(Debug)]
pub struct Lookups;

impl Proposers for Lookups {
    fn begin(&self, prediction: &[TokenId]) -> Box<dyn Proposer> {
        Box::new(Lookup {
            prediction: prediction.iter().copied().collect(),
            ..Lookup::default()
        })
    }
}

impl Proposer for Lookup {
    fn observe(&mut self, token: TokenId) {
        self.text.push(token);
        self.automaton.push(token);
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

    fn propose(&self, most: usize, draft: &mut Vec<TokenId>) -> usize {
        let Some(found) = self.automaton.found() else {
            return 0;
        };
        // A text that repeats itself goes on repeating.
        let source = self.text[found.next..].iter().cycle().take(most);
        draft.extend(source.take_while(|token| **token != BORDER));
        if draft.is_empty() { 0 } else { found.length }
    }
}
