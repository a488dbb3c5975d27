//! Answers that may not go on with every token: the choice among those that may.

use crate::Result;
use crate::ids::TokenId;

/// Which tokens may come next. To ask about one is cheap, to ask for all of them is not.
pub trait Allowed {
    /// Whether this token may come next.
    fn allows(&mut self, token: TokenId) -> Result<bool>;

    /// All that may: a bit a token, the lowest first. Those beyond its end may not.
    fn mask(&mut self) -> Result<&[u32]>;
}

const WORD: usize = u32::BITS as usize;

/// Whether a mask leaves out less than half of the tokens.
pub(super) fn is_dense(mask: &[u32], tokens: usize) -> bool {
    let allowed: usize = mask.iter().map(|word| word.count_ones() as usize).sum();
    allowed > tokens / 2
}

/// The logits of tokens that may not come next, while they count as -inf.
#[derive(Debug, Clone, Default)]
pub(super) struct Forbidden(Vec<(TokenId, f32)>);

impl Forbidden {
    /// Leaves the tokens of `mask` as they are, and takes the others out.
    pub(super) fn take_out(&mut self, logits: &mut [f32], mask: &[u32]) {
        self.0.clear();
        let words = mask.iter().copied().chain(std::iter::repeat(0));
        for (index, (word, part)) in words.zip(logits.chunks_mut(WORD)).enumerate() {
            let mut rest = !word;
            while rest != 0 {
                let bit = rest.trailing_zeros();
                if let Some(logit) = part.get_mut(bit as usize) {
                    self.0.push(((index * WORD) as TokenId + bit, *logit));
                    *logit = f32::NEG_INFINITY;
                }
                rest &= rest - 1;
            }
        }
    }

    /// Puts them back.
    pub(super) fn restore(&self, logits: &mut [f32]) {
        for (token, logit) in &self.0 {
            logits[*token as usize] = *logit;
        }
    }
}

/// The tokens that may come next, by rising id, and their logits as they are.
#[derive(Debug, Clone, Default)]
pub(super) struct Choices {
    pub(super) tokens: Vec<TokenId>,
    pub(super) logits: Vec<f32>,
}

impl Choices {
    /// Takes those of `mask`, where they are few, in place of what was there.
    pub(super) fn gather(&mut self, logits: &[f32], mask: &[u32]) {
        self.tokens.clear();
        self.logits.clear();
        for (index, (word, part)) in mask.iter().zip(logits.chunks(WORD)).enumerate() {
            let first = (index * WORD) as TokenId;
            if *word == u32::MAX {
                self.tokens.extend(first..first + part.len() as TokenId);
                self.logits.extend_from_slice(part);
                continue;
            }
            let mut rest = *word;
            while rest != 0 {
                let bit = rest.trailing_zeros();
                if let Some(logit) = part.get(bit as usize) {
                    self.tokens.push(first + bit);
                    self.logits.push(*logit);
                }
                rest &= rest - 1;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn allowed_logits_are_as_they_were_and_others_are_no_choice() {
        let logits: Vec<f32> = (0..70).map(|index| index as f32 / 7.0).collect();
        let mut choices = Choices::default();
        for (mask, allowed) in [
            (
                &[u32::MAX, 0b1001][..],
                (0..33).chain([35]).collect::<Vec<TokenId>>(),
            ),
            // A mask may be longer than a vocabulary, whose last word it fills.
            (&[0, 0, u32::MAX - 1, 7], (65..70).collect()),
            (&[0, 0, u32::MAX], (64..70).collect()),
            (&[], Vec::new()),
        ] {
            let mut changed = logits.clone();
            let mut forbidden = Forbidden::default();
            forbidden.take_out(&mut changed, mask);
            let left = (0..70).filter(|token| changed[*token as usize] > f32::NEG_INFINITY);
            assert!(left.eq(allowed.iter().copied()));
            forbidden.restore(&mut changed);
            assert_eq!(changed, logits);
            choices.gather(&logits, mask);
            assert_eq!(choices.tokens, allowed);
            let bits = |logit: &f32| logit.to_bits();
            let expected = allowed
                .iter()
                .map(|token| logits[*token as usize].to_bits());
            assert!(choices.logits.iter().map(bits).eq(expected));
        }
    }
}
