//! What finished answers said, for answers to come: who asks alike is often told alike.
//!
//! Answers are kept by tenant and adapter: nobody can tell by the time what another tenant was told. What is kept
//! is bounded in bytes. Each history is two automata: the newest answers go to one, and when that is full it
//! becomes the older one, whose place it takes; so nothing is ever built anew.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::automaton::{Automaton, BORDER, Walk};
use super::proposer::Owner;
use crate::ids::TokenId;

/// What all histories of an engine may take.
const BUDGET_BYTES: usize = 16 << 20;
/// What one takes of that before its older half goes. Memory grows by doubling, of two halves each.
const PART_OF_BUDGET: usize = 8;
/// So much of the prompt's end is kept with an answer: by that it is found before it has begun.
const PROMPT_TOKENS: usize = 32;

/// The histories of an engine.
#[derive(Debug)]
pub struct Histories {
    budget: usize,
    known: Mutex<Known>,
}

#[derive(Debug, Default)]
struct Known {
    by_owner: BTreeMap<Owner, Arc<Mutex<History>>>,
    /// Counts uses.
    uses: u64,
}

/// The answers of one owner.
#[derive(Debug, Default)]
struct History {
    recent: Answers,
    older: Answers,
    /// How often the older ones were let go.
    generation: u64,
    used: u64,
}

/// Some answers, one behind the other.
#[derive(Debug, Default)]
struct Answers {
    tokens: Vec<TokenId>,
    automaton: Automaton,
}

impl Default for Histories {
    fn default() -> Self {
        Self::of_bytes(BUDGET_BYTES)
    }
}

impl Histories {
    /// Histories that take so many bytes at most.
    pub fn of_bytes(budget: usize) -> Self {
        Self {
            budget,
            known: Mutex::default(),
        }
    }

    /// What they take.
    pub fn bytes(&self) -> usize {
        let known = lock(&self.known);
        let of_all = known.by_owner.values();
        of_all.map(|history| lock(history).bytes()).sum()
    }

    /// Follows an answer of one owner through what others were told.
    pub(super) fn follow(&self, owner: &Owner) -> Following {
        let mut known = lock(&self.known);
        // Who has none yet follows nothing: only what is kept is held.
        let history = known.by_owner.get(owner).map(Arc::clone);
        let history = known.used(history.unwrap_or_default());
        let generation = lock(&history).generation;
        Following {
            history,
            generation,
            recent: Walk::default(),
            older: Walk::default(),
        }
    }

    /// Takes in what an answer has become: a text of which the prompt is the beginning.
    pub(super) fn keep(&self, owner: &Owner, tokens: &[TokenId], prompt_tokens: usize) {
        let begin = prompt_tokens.saturating_sub(PROMPT_TOKENS);
        if tokens.len() <= prompt_tokens {
            return;
        }
        let history = {
            let mut known = lock(&self.known);
            let history = Arc::clone(known.by_owner.entry(owner.clone()).or_default());
            known.used(history)
        };
        lock(&history).add(&tokens[begin..], self.budget / PART_OF_BUDGET);
        while self.bytes() > self.budget && self.forget_one() {}
    }

    /// Forgets all; answers under way keep what they follow, to their end.
    pub(super) fn forget(&self) {
        lock(&self.known).by_owner.clear();
    }

    /// Forgets the history that was not used for longest; whether there was one.
    fn forget_one(&self) -> bool {
        let mut known = lock(&self.known);
        let by_use = |(_, history): &(&Owner, &Arc<Mutex<History>>)| lock(history).used;
        let oldest = known.by_owner.iter().min_by_key(by_use);
        let Some(owner) = oldest.map(|(owner, _)| owner.clone()) else {
            return false;
        };
        known.by_owner.remove(&owner).is_some()
    }
}

impl Known {
    /// A history that is used now.
    fn used(&mut self, history: Arc<Mutex<History>>) -> Arc<Mutex<History>> {
        self.uses += 1;
        lock(&history).used = self.uses;
        history
    }
}

impl History {
    fn bytes(&self) -> usize {
        self.recent.bytes() + self.older.bytes()
    }

    fn add(&mut self, text: &[TokenId], most_bytes: usize) {
        if self.recent.have(text) {
            return;
        }
        self.recent.add(text);
        if self.recent.bytes() > most_bytes {
            self.turn_over();
        }
    }

    /// What was recent is older, and what was older is gone.
    fn turn_over(&mut self) {
        self.older = std::mem::take(&mut self.recent);
        self.generation += 1;
    }
}

impl Answers {
    fn bytes(&self) -> usize {
        if self.tokens.is_empty() {
            return 0;
        }
        self.automaton.bytes() + self.tokens.capacity() * size_of::<TokenId>()
    }

    /// Whether the whole text stands here.
    fn have(&self, text: &[TokenId]) -> bool {
        let mut walk = Walk::default();
        for token in text {
            self.automaton.walk(&mut walk, *token);
        }
        walk.length() == text.len()
    }

    fn add(&mut self, text: &[TokenId]) {
        for token in text.iter().chain([&BORDER]) {
            self.tokens.push(*token);
            self.automaton.push(*token);
        }
    }

    /// What follows upon the end of a walk, up to where that answer ends.
    fn behind(&self, walk: Walk) -> impl Iterator<Item = TokenId> {
        let next = self.automaton.place_behind(walk);
        let rest = next.map_or(&[][..], |next| &self.tokens[next..]);
        rest.iter().copied().take_while(|token| *token != BORDER)
    }
}

/// The end of an answer, in a history.
#[derive(Debug)]
pub(super) struct Following {
    history: Arc<Mutex<History>>,
    generation: u64,
    recent: Walk,
    older: Walk,
}

impl Following {
    /// Goes on with the next token of prompt or answer.
    pub(super) fn observe(&mut self, token: TokenId) {
        if token == BORDER {
            // What stands behind it is another text, here as there.
            (self.recent, self.older) = Default::default();
            return;
        }
        let history = lock(&self.history);
        match history.generation - self.generation {
            0 => {}
            1 => self.older = std::mem::take(&mut self.recent),
            _ => (self.recent, self.older) = Default::default(),
        }
        self.generation = history.generation;
        history.recent.automaton.walk(&mut self.recent, token);
        history.older.automaton.walk(&mut self.older, token);
    }

    /// How many of the last tokens stand in the history, and up to `most` of what followed there; nothing of it
    /// where that is no more than `least` tokens.
    pub(super) fn propose(&self, least: usize, most: usize, draft: &mut Vec<TokenId>) -> usize {
        let history = lock(&self.history);
        if history.generation != self.generation {
            return 0;
        }
        let walks = [(&history.recent, self.recent), (&history.older, self.older)];
        let longest = walks
            .into_iter()
            .rev()
            .max_by_key(|(_, walk)| walk.length());
        let Some((answers, walk)) = longest.filter(|(_, walk)| walk.length() > least) else {
            return 0;
        };
        let before = draft.len();
        draft.extend(answers.behind(walk).take(most));
        if draft.len() > before {
            walk.length()
        } else {
            0
        }
    }
}

/// What a thread that panicked left is whole: nothing here is half done where one can.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
