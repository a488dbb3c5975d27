//! Where a text says again what it ends with: for each place of its last token, how much stands there once more.
//!
//! Found once for a whole text by the Z algorithm, read from the end, and kept with each token that is added. A token costs
//! a step for each place where it stands, so one at most for each token of the window; a text is never compared again.

use std::collections::HashMap;

use crate::ids::TokenId;

/// The places of a text, by their tokens.
#[derive(Debug, Clone)]
pub(super) struct Repeats {
    /// The last place of each token.
    latest: HashMap<TokenId, u32>,
    /// For each place, the one before it that has the same token.
    previous: Vec<Option<u32>>,
    /// For each place of the last token, how many tokens up to there the text ends with. What the others have is old.
    lengths: Vec<u32>,
}

impl Repeats {
    /// Those of a text.
    pub(super) fn of(tokens: &[TokenId]) -> Self {
        let mut latest = HashMap::new();
        let places = (0..).zip(tokens);
        let previous = places.map(|(place, token)| latest.insert(*token, place));
        Self {
            previous: previous.collect(),
            latest,
            lengths: ends_alike(tokens),
        }
    }

    /// The text `before` goes on with a token. Places below `start` are not looked at any more.
    pub(super) fn add(&mut self, before: &[TokenId], token: TokenId, start: usize) {
        let first = self.latest.insert(token, before.len() as u32);
        let mut next = first;
        // From the last one down: what a place is made of lies below it, and is read before it is written.
        while let Some(place) = next.map(|place| place as usize)
            && place >= start
        {
            let goes_on = place > 0 && before.get(place - 1) == before.last();
            self.lengths[place] = if goes_on {
                self.lengths[place - 1] + 1
            } else {
                1
            };
            next = self.previous[place];
        }
        self.previous.push(first);
        self.lengths.push(0);
    }

    /// The places from `start` on where the text's last token stands before its end, the last first, with how many tokens up
    /// to there, none of them before `start`, the text ends with.
    pub(super) fn places(&self, start: usize) -> impl Iterator<Item = (usize, usize)> {
        let last = self.previous.last().copied().flatten();
        std::iter::successors(last, |place| self.previous[*place as usize])
            .map(|place| place as usize)
            .take_while(move |place| *place >= start)
            .map(move |place| {
                let length = self.lengths[place] as usize;
                (place, length.min(place + 1 - start))
            })
    }
}

/// For each place of a text, how many tokens up to there the text ends with.
///
/// The Z algorithm on the text read from its end: what is known to be alike up to `until` is not compared again.
fn ends_alike(tokens: &[TokenId]) -> Vec<u32> {
    let count = tokens.len();
    let from_end = |index: usize| tokens[count - 1 - index];
    let mut lengths = vec![0; count];
    let (mut since, mut until) = (0, 0);
    for index in 1..count {
        let known = if index < until {
            // As at the same place of the beginning, which is `index - since` from the end.
            (lengths[count - 1 - (index - since)] as usize).min(until - index)
        } else {
            0
        };
        let mut length = known;
        while index + length < count && from_end(length) == from_end(index + length) {
            length += 1;
        }
        if index + length > until {
            (since, until) = (index, index + length);
        }
        lengths[count - 1 - index] = length as u32;
    }
    lengths
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Compares every place with the end, token by token.
    fn naive(tokens: &[TokenId], start: usize) -> Vec<(usize, usize)> {
        let window = &tokens[start..];
        let count = window.len();
        let alike = |place: usize| {
            let pairs =
                (0..=place).take_while(|back| window[place - back] == window[count - 1 - back]);
            (start + place, pairs.count())
        };
        let places = (0..count.saturating_sub(1)).rev().map(alike);
        places.filter(|(_, length)| *length > 0).collect()
    }

    fn texts() -> Vec<Vec<TokenId>> {
        let mut state = 5_u64;
        let mut random = |below: u64| {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(99);
            ((state >> 33) % below) as TokenId
        };
        let mut texts = vec![vec![], vec![7], vec![7; 40], [1, 2, 3].repeat(12)];
        for kinds in [1, 2, 3, 9] {
            texts.push((0..90).map(|_| random(kinds)).collect());
        }
        texts
    }

    #[test]
    fn a_whole_text_is_read_as_one_place_after_the_other() {
        for text in texts() {
            for start in [0, 1, text.len() / 2, text.len()] {
                let start = start.min(text.len());
                let found: Vec<_> = Repeats::of(&text).places(start).collect();
                assert_eq!(found, naive(&text, start), "{text:?} from {start}");
            }
        }
    }

    #[test]
    fn a_text_that_grows_is_read_as_a_whole_one_in_any_window() {
        for text in texts() {
            for known in [0, 1, text.len() / 3] {
                for window in [1, 2, 5, 17, 1000] {
                    let known = known.min(text.len());
                    let mut repeats = Repeats::of(&text[..known]);
                    for place in known..text.len() {
                        let start = (place + 1).saturating_sub(window);
                        repeats.add(&text[..place], text[place], start);
                        let found: Vec<_> = repeats.places(start).collect();
                        assert_eq!(found, naive(&text[..=place], start), "{window} at {place}");
                    }
                }
            }
        }
    }
}
