//! A budget for what a model thinks before it answers, and a proper end for it.

use std::collections::VecDeque;
use std::sync::Arc;

use super::request::ThinkingBudget;
use crate::ids::TokenId;
use crate::text::Vocabulary;

/// How long an answer may think yet.
#[derive(Debug)]
pub(super) struct Thinking {
    budget: ThinkingBudget,
    vocabulary: Arc<Vocabulary>,
    place: Place,
    /// What may be a part of the next mark.
    tail: Vec<u8>,
    /// Tokens of thoughts so far.
    used: usize,
    forced: VecDeque<TokenId>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    /// Nothing but white space, or a part of the mark that begins thoughts, was written.
    Before,
    Inside,
    /// The thoughts have ended, or there are none.
    Past,
}

impl Thinking {
    /// Where the answer begins is told by the prompt's own marks.
    pub(super) fn new(
        budget: ThinkingBudget,
        prompt: &[TokenId],
        vocabulary: Arc<Vocabulary>,
    ) -> Self {
        let is_open = is_open(&budget, prompt, &vocabulary);
        let mut thinking = Self {
            budget,
            vocabulary,
            place: if is_open {
                Place::Inside
            } else {
                Place::Before
            },
            tail: Vec::new(),
            used: 0,
            forced: VecDeque::new(),
        };
        thinking.end_if_used_up();
        thinking
    }

    /// The tokens that must come next; they are told once.
    pub(super) fn forced(&mut self) -> VecDeque<TokenId> {
        std::mem::take(&mut self.forced)
    }

    /// Takes a token that has become a part of the answer.
    pub(super) fn accept(&mut self, token: TokenId) {
        let bytes = self.vocabulary.bytes(token).unwrap_or_default();
        match self.place {
            Place::Past => return,
            Place::Before => self.begin(bytes.to_vec()),
            Place::Inside => {
                self.tail.extend_from_slice(bytes);
                let closing = self.budget.closing.as_bytes();
                if find(&self.tail, closing).is_some() {
                    self.place = Place::Past;
                    return;
                }
                let kept = self.tail.len().min(closing.len().saturating_sub(1));
                self.tail.drain(..self.tail.len() - kept);
                self.used += 1;
            }
        }
        self.end_if_used_up();
    }

    fn begin(&mut self, bytes: Vec<u8>) {
        self.tail.extend(bytes);
        let opening = self.budget.opening.as_bytes();
        let text = self.tail.trim_ascii_start();
        if text.starts_with(opening) {
            self.place = Place::Inside;
            self.tail.clear();
        } else if !opening.starts_with(text) {
            self.place = Place::Past;
        }
    }

    fn end_if_used_up(&mut self) {
        if self.place == Place::Inside && self.used >= self.budget.tokens {
            self.forced.extend(&self.budget.closing_tokens);
            self.place = Place::Past;
        }
    }
}

/// Whether the prompt ends within thoughts: its last mark is one that begins them.
fn is_open(budget: &ThinkingBudget, prompt: &[TokenId], vocabulary: &Vocabulary) -> bool {
    let (opening, closing) = (budget.opening.as_bytes(), budget.closing.as_bytes());
    let mut text = Vec::new();
    for token in prompt.iter().rev() {
        let bytes = vocabulary.bytes(*token).unwrap_or_default();
        text.splice(..0, bytes.iter().copied());
        let (opened, closed) = (find(&text, opening), find(&text, closing));
        if opened.is_some() || closed.is_some() {
            return closed.is_none();
        }
        // A mark that begins further ahead has its end in here.
        text.truncate(opening.len().max(closing.len()) + bytes.len());
    }
    false
}

fn find(text: &[u8], part: &[u8]) -> Option<usize> {
    if part.is_empty() {
        return None;
    }
    text.windows(part.len()).position(|window| window == part)
}

#[cfg(test)]
mod tests {
    use super::*;

    const TOKENS: &[&str] = &[
        "<think>",
        "</think>",
        "a",
        "\n",
        "</th",
        "ink>",
        "x</think>",
    ];

    fn thinking(tokens: usize, prompt: &[TokenId]) -> Thinking {
        let vocabulary = Vocabulary::from_tokens(TOKENS, vec![0, 1]).unwrap();
        let budget = ThinkingBudget {
            tokens,
            opening: "<think>".to_owned(),
            closing: "</think>".to_owned(),
            closing_tokens: vec![3, 1, 3],
        };
        Thinking::new(budget, prompt, Arc::new(vocabulary))
    }

    /// What comes of an answer that would say these tokens.
    fn written(mut thinking: Thinking, wanted: &[TokenId]) -> Vec<TokenId> {
        let mut written = Vec::new();
        let mut forced = VecDeque::new();
        for token in wanted {
            forced.extend(thinking.forced());
            let token = forced.pop_front().unwrap_or(*token);
            thinking.accept(token);
            written.push(token);
        }
        written
    }

    #[test]
    fn a_budget_that_is_used_up_ends_the_thoughts_once() {
        let open = [2, 0, 3];
        assert_eq!(
            written(thinking(2, &open), &[2; 8]),
            [2, 2, 3, 1, 3, 2, 2, 2]
        );
        assert_eq!(written(thinking(0, &open), &[2; 4]), [3, 1, 3, 2]);
        // The model may begin them itself, after white space.
        assert_eq!(
            written(thinking(1, &[2]), &[3, 0, 2, 2, 2, 2]),
            [3, 0, 2, 3, 1, 3]
        );
    }

    #[test]
    fn thoughts_that_end_in_time_and_answers_without_are_left_alone() {
        for (prompt, answer) in [
            (&[0][..], &[2, 1, 2, 2, 2][..]),
            (&[0], &[2, 4, 5, 2, 2]),
            (&[0], &[6, 2, 2, 2, 2]),
            // Thoughts of an earlier answer, and one that does not think.
            (&[0, 2, 1, 3], &[2, 2, 2, 2]),
            (&[2], &[2, 0, 2, 2, 2]),
        ] {
            assert_eq!(written(thinking(3, prompt), answer), answer);
        }
    }
}
