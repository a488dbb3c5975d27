//! Stop strings across token borders.
//!
//! Text goes in piece by piece and comes out as soon as it cannot belong to a stop string any more. The stop
//! string that is complete first ends the text; of those complete at the same character the one that starts
//! earliest, then the one listed first. So the outcome does not depend on how the text was cut into pieces.

/// What one piece of text led to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StopOutcome {
    /// Text that is safe to show now.
    pub emit: String,
    /// The index of the stop string that was found; what came before it is emitted, it and the rest are not.
    pub matched: Option<usize>,
}

/// Looks for stop strings in the text of one sequence.
#[derive(Debug, Clone)]
pub struct StopMatcher {
    patterns: Vec<Pattern>,
    /// The end of the text so far that may be the beginning of a stop string.
    held_back: String,
    matched: Option<usize>,
}

/// One stop string as a Knuth-Morris-Pratt automaton.
#[derive(Debug, Clone)]
pub(crate) struct Pattern {
    bytes: Vec<u8>,
    /// Where to go on from a prefix of so many bytes that the next one does not fit: the longest shorter one that
    /// the prefix ends with and that goes on with another byte. So few steps lead to the shortest.
    shorter: Vec<usize>,
    /// The longest prefix that the text so far ends with.
    num_matched: usize,
}

impl Pattern {
    pub(crate) fn new(bytes: &[u8]) -> Self {
        let mut shorter = vec![0; bytes.len() + 1];
        // The longest proper prefix of what was seen that is also its end.
        let mut border = 0;
        for index in 1..=bytes.len() {
            let next = bytes.get(index);
            shorter[index] = if next.is_some() && next == bytes.get(border) {
                shorter[border]
            } else {
                border
            };
            while border > 0 && next.is_some() && next != bytes.get(border) {
                border = shorter[border];
            }
            border += usize::from(next.is_some() && next == bytes.get(border));
        }
        Self {
            bytes: bytes.to_vec(),
            shorter,
            num_matched: 0,
        }
    }

    /// The same before any text.
    pub(crate) fn afresh(&self) -> Self {
        Self {
            num_matched: 0,
            ..self.clone()
        }
    }

    /// Whether the text so far ends with its beginning.
    pub(crate) fn has_begun(&self) -> bool {
        self.num_matched > 0
    }

    /// Takes one byte and tells whether the stop string is now complete. An empty one never is.
    pub(crate) fn advance(&mut self, byte: u8) -> bool {
        self.num_matched = self.behind(self.num_matched, byte);
        self.is_whole(self.num_matched)
    }

    /// How long the longest prefix is that the text ends with, behind one of `num_matched` bytes and another byte.
    fn behind(&self, mut num_matched: usize, byte: u8) -> usize {
        // What was found may begin again within itself.
        while num_matched > 0 && self.bytes.get(num_matched) != Some(&byte) {
            num_matched = self.shorter[num_matched];
        }
        num_matched + usize::from(self.bytes.get(num_matched) == Some(&byte))
    }

    fn is_whole(&self, num_matched: usize) -> bool {
        num_matched > 0 && num_matched == self.bytes.len()
    }

    /// Whether it would be complete somewhere in `bytes`, if these came next.
    pub(crate) fn is_complete_within(&self, bytes: &[u8]) -> bool {
        if self.num_matched + bytes.len() < self.bytes.len() {
            return false;
        }
        let mut num_matched = self.num_matched;
        bytes.iter().any(|byte| {
            num_matched = self.behind(num_matched, *byte);
            self.is_whole(num_matched)
        })
    }
}

impl StopMatcher {
    /// A matcher for one sequence. Empty stop strings are never found.
    pub fn new(stop: &[String]) -> Self {
        Self {
            patterns: stop
                .iter()
                .map(|text| Pattern::new(text.as_bytes()))
                .collect(),
            held_back: String::new(),
            matched: None,
        }
    }

    /// Adds a piece of text. After a stop string was found, nothing more is emitted.
    pub fn push(&mut self, text: &str) -> StopOutcome {
        if self.matched.is_some() {
            return self.outcome(String::new());
        }
        let num_held_back = self.held_back.len();
        self.held_back.push_str(text);
        for (index, &byte) in text.as_bytes().iter().enumerate() {
            if let Some(found) = self.advance(byte) {
                let end = num_held_back + index + 1;
                let start = end - self.patterns[found].bytes.len();
                self.matched = Some(found);
                let mut emit = std::mem::take(&mut self.held_back);
                emit.truncate(start);
                return self.outcome(emit);
            }
        }
        let longest = self
            .patterns
            .iter()
            .map(|pattern| pattern.num_matched)
            .max();
        let num_safe = self.held_back.len() - longest.unwrap_or(0);
        let rest = self.held_back.split_off(num_safe);
        let emit = std::mem::replace(&mut self.held_back, rest);
        self.outcome(emit)
    }

    /// Ends the text: what was held back was no stop string after all.
    pub fn finish(&mut self) -> String {
        for pattern in &mut self.patterns {
            pattern.num_matched = 0;
        }
        std::mem::take(&mut self.held_back)
    }

    fn outcome(&self, emit: String) -> StopOutcome {
        StopOutcome {
            emit,
            matched: self.matched,
        }
    }

    /// Feeds one byte to all patterns; the longest complete one started earliest.
    fn advance(&mut self, byte: u8) -> Option<usize> {
        let mut found: Option<usize> = None;
        for index in 0..self.patterns.len() {
            let is_complete = self.patterns[index].advance(byte);
            let length = self.patterns[index].bytes.len();
            if is_complete && found.is_none_or(|best| self.patterns[best].bytes.len() < length) {
                found = Some(index);
            }
        }
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn matcher(stop: &[&str]) -> StopMatcher {
        StopMatcher::new(&stop.iter().map(|&text| text.to_owned()).collect::<Vec<_>>())
    }

    fn outcome(emit: &str, matched: Option<usize>) -> StopOutcome {
        StopOutcome {
            emit: emit.to_owned(),
            matched,
        }
    }

    /// However a text is made, few steps lead from what does not fit to what does: nobody can hold up others by it.
    #[test]
    fn few_steps_lead_back() {
        let (mut fibonacci, mut before) = (b"ab".to_vec(), b"a".to_vec());
        while fibonacci.len() < 1000 {
            let next = [&fibonacci[..], &before].concat();
            before = std::mem::replace(&mut fibonacci, next);
        }
        let repeated = [vec![b'a'; 999], vec![b'b']].concat();
        let nested = b"abacabadabacaba".repeat(66);
        for bytes in [repeated, fibonacci, nested] {
            let pattern = Pattern::new(&bytes);
            for matched in 1..=bytes.len() {
                let mut steps = 0;
                let mut at = matched;
                while at > 0 {
                    at = pattern.shorter[at];
                    steps += 1;
                }
                assert!(steps <= 16, "{steps} steps from {matched}");
            }
        }
    }

    #[test]
    fn holds_back_what_may_become_a_stop_string() {
        let mut stop = matcher(&["</end>"]);
        assert_eq!(stop.push("a <"), outcome("a ", None));
        assert_eq!(stop.push("/e"), outcome("", None));
        assert_eq!(stop.push("x</"), outcome("</ex", None));
        assert_eq!(stop.push("end> b"), outcome("", Some(0)));
        assert_eq!(stop.push("more"), outcome("", Some(0)));
        assert_eq!(stop.finish(), "");
    }

    #[test]
    fn gives_the_rest_at_the_end() {
        let mut stop = matcher(&["stop"]);
        assert_eq!(stop.push("do not sto"), outcome("do not ", None));
        assert_eq!(stop.finish(), "sto");
        assert_eq!(stop.push("p"), outcome("p", None));
    }

    #[test]
    fn earliest_end_then_earliest_start_then_first_listed() {
        assert_eq!(
            matcher(&["abcd", "bc"]).push("xabcd"),
            outcome("xa", Some(1))
        );
        assert_eq!(
            matcher(&["c", "bc", "abc", "abc"]).push("xabc"),
            outcome("x", Some(2))
        );
        assert_eq!(matcher(&["aab"]).push("aaab"), outcome("a", Some(0)));
    }

    #[test]
    fn without_stop_strings_everything_passes() {
        assert_eq!(matcher(&[]).push("abc"), outcome("abc", None));
        assert_eq!(matcher(&[""]).push("abc"), outcome("abc", None));
    }

    #[test]
    fn characters_of_many_bytes_stay_whole() {
        let mut stop = matcher(&["é!"]);
        assert_eq!(stop.push("caf\u{e9}"), outcome("caf", None));
        assert_eq!(stop.push("\u{e8}"), outcome("éè", None));
    }
}
