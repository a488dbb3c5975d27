//! A text that is told token by token, and the longest of its ends that stood in it before.
//!
//! It is a suffix automaton: a state for each set of places where the same strings end, at most two a token; edges
//! for what comes next, at most three a token. The link of the newest state is the longest end that stands
//! elsewhere too, so no search is ever made, and a token takes the same time on average however long the text is.

use crate::ids::TokenId;

/// No state, or no edge.
const NONE: u32 = u32::MAX;
/// The empty string.
const ROOT: u32 = 0;
const FIRST_SLOTS: usize = 64;
/// Stands behind one of several texts; no model has so many tokens.
pub(super) const BORDER: TokenId = TokenId::MAX;

/// The longest end of a text that stands in it elsewhere.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Match {
    /// How many tokens it has.
    pub length: usize,
    /// The place behind where it stood before.
    pub next: usize,
}

/// A suffix automaton of up to 2^31 tokens.
#[derive(Debug)]
pub struct Automaton {
    tokens: u32,
    states: Vec<State>,
    edges: Vec<Edge>,
    /// Numbers of edges by state and token, at most half full; a power of two of them.
    slots: Vec<u32>,
    last: u32,
    found: Option<Match>,
}

#[derive(Debug, Clone, Copy)]
struct State {
    /// Of its longest string.
    length: u32,
    /// The state of the longest end of its strings that stands in more places.
    link: u32,
    /// A place where its strings end: of those that were met again, where that was last.
    end: u32,
    /// The newest of its edges.
    edge: u32,
}

#[derive(Debug, Clone, Copy)]
struct Edge {
    from: u32,
    token: TokenId,
    to: u32,
    /// The next older one of the same state.
    older: u32,
}

/// The longest end of another text that stands in that of an automaton, which may grow meanwhile.
#[derive(Debug, Clone, Copy, Default)]
pub struct Walk {
    state: u32,
    length: u32,
}

impl Walk {
    /// How many tokens that end has.
    pub fn length(self) -> usize {
        self.length as usize
    }
}

impl Default for Automaton {
    fn default() -> Self {
        let root = State {
            length: 0,
            link: NONE,
            end: 0,
            edge: NONE,
        };
        Self {
            tokens: 0,
            states: vec![root],
            edges: Vec::new(),
            slots: vec![NONE; FIRST_SLOTS],
            last: ROOT,
            found: None,
        }
    }
}

impl Automaton {
    /// The longest end of the text that stood in it before; `None` where not even its last token did.
    pub fn found(&self) -> Option<Match> {
        self.found
    }

    /// Bytes that it takes.
    pub fn bytes(&self) -> usize {
        self.states.capacity() * size_of::<State>()
            + self.edges.capacity() * size_of::<Edge>()
            + self.slots.capacity() * size_of::<u32>()
    }

    /// Adds a token at the end of the text.
    pub fn push(&mut self, token: TokenId) {
        let place = self.tokens;
        self.tokens += 1;
        let newest = self.add_state(State {
            length: place + 1,
            link: ROOT,
            end: place,
            edge: NONE,
        });
        let mut at = std::mem::replace(&mut self.last, newest);
        let met = loop {
            if at == NONE {
                break None;
            }
            match self.edge(at, token) {
                Some(edge) => break Some(edge),
                None => self.add_edge(at, token, newest),
            }
            at = self.states[at as usize].link;
        };
        let link = met.map_or(ROOT, |edge| self.exact(at, token, edge));
        self.states[newest as usize].link = link;
        self.found = (link != ROOT).then(|| {
            let state = &mut self.states[link as usize];
            let before = std::mem::replace(&mut state.end, place);
            Match {
                length: state.length as usize,
                next: before as usize + 1,
            }
        });
    }

    /// Goes on with the next token of the other text.
    pub fn walk(&self, walk: &mut Walk, token: TokenId) {
        loop {
            // The state may have been taken apart since: shorter strings have one of their own.
            let mut at = walk.state;
            while at != ROOT
                && walk.length <= self.states[self.states[at as usize].link as usize].length
            {
                at = self.states[at as usize].link;
            }
            if let Some(edge) = self.edge(at, token) {
                walk.state = self.edges[edge].to;
                walk.length += 1;
                return;
            }
            if at == ROOT {
                *walk = Walk::default();
                return;
            }
            walk.state = self.states[at as usize].link;
            walk.length = self.states[walk.state as usize].length;
        }
    }

    /// The place behind where the end of the other text stands here; `None` where none does.
    pub fn place_behind(&self, walk: Walk) -> Option<usize> {
        (walk.length > 0).then(|| self.states[walk.state as usize].end as usize + 1)
    }

    /// The state of just the longest string of `at` with the token behind it, to which `edge` leads among others.
    fn exact(&mut self, mut at: u32, token: TokenId, edge: usize) -> u32 {
        let mixed = self.edges[edge].to;
        let length = self.states[at as usize].length + 1;
        if self.states[mixed as usize].length == length {
            return mixed;
        }
        let part = State {
            length,
            edge: NONE,
            ..self.states[mixed as usize]
        };
        let part = self.add_state(part);
        let mut copied = self.states[mixed as usize].edge;
        while copied != NONE {
            let Edge {
                token, to, older, ..
            } = self.edges[copied as usize];
            self.add_edge(part, token, to);
            copied = older;
        }
        while at != NONE
            && let Some(edge) = self.edge(at, token)
            && self.edges[edge].to == mixed
        {
            self.edges[edge].to = part;
            at = self.states[at as usize].link;
        }
        self.states[mixed as usize].link = part;
        part
    }

    fn add_state(&mut self, state: State) -> u32 {
        self.states.push(state);
        self.states.len() as u32 - 1
    }

    fn add_edge(&mut self, from: u32, token: TokenId, to: u32) {
        if (self.edges.len() + 1) * 2 > self.slots.len() {
            self.grow();
        }
        let number = self.edges.len() as u32;
        let older = std::mem::replace(&mut self.states[from as usize].edge, number);
        self.edges.push(Edge {
            from,
            token,
            to,
            older,
        });
        let slot = self.free_slot(from, token);
        self.slots[slot] = number;
    }

    fn edge(&self, from: u32, token: TokenId) -> Option<usize> {
        let mut slot = self.first_slot(from, token);
        while self.slots[slot] != NONE {
            let edge = &self.edges[self.slots[slot] as usize];
            if edge.from == from && edge.token == token {
                return Some(self.slots[slot] as usize);
            }
            slot = (slot + 1) & (self.slots.len() - 1);
        }
        None
    }

    fn free_slot(&self, from: u32, token: TokenId) -> usize {
        let mut slot = self.first_slot(from, token);
        while self.slots[slot] != NONE {
            slot = (slot + 1) & (self.slots.len() - 1);
        }
        slot
    }

    fn first_slot(&self, from: u32, token: TokenId) -> usize {
        let key = u64::from(from) << 32 | u64::from(token);
        // The odd number next to 2^64 over the golden ratio: neighbours come far apart.
        let mixed = (key ^ key >> 29).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        (mixed >> 32) as usize & (self.slots.len() - 1)
    }

    fn grow(&mut self) {
        self.slots = vec![NONE; self.slots.len() * 2];
        for number in 0..self.edges.len() {
            let Edge { from, token, .. } = self.edges[number];
            let slot = self.free_slot(from, token);
            self.slots[slot] = number as u32;
        }
    }
}
