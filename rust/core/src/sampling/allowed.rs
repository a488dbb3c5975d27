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

/// Copies the logits of the tokens of `mask` as they are, and has -inf for all others.
pub(super) fn mask_logits(logits: &[f32], mask: &[u32], masked: &mut Vec<f32>) {
    const WORD: usize = u32::BITS as usize;
    masked.clear();
    masked.resize(logits.len(), f32::NEG_INFINITY);
    for ((word, from), to) in mask
        .iter()
        .zip(logits.chunks(WORD))
        .zip(masked.chunks_mut(WORD))
    {
        if *word == u32::MAX {
            to.copy_from_slice(from);
            continue;
        }
        let mut rest = *word;
        while rest != 0 {
            let bit = rest.trailing_zeros() as usize;
            if let (Some(to), Some(from)) = (to.get_mut(bit), from.get(bit)) {
                *to = *from;
            }
            rest &= rest - 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn allowed_logits_are_as_they_were_and_others_can_never_be_chosen() {
        let logits: Vec<f32> = (0..70).map(|index| index as f32 / 7.0).collect();
        let mut masked = vec![5.0; 3];
        mask_logits(&logits, &[u32::MAX, 0b1001], &mut masked);
        for (index, logit) in masked.iter().enumerate() {
            if index <= 32 || index == 35 {
                assert_eq!(logit.to_bits(), logits[index].to_bits());
            } else {
                assert_eq!(*logit, f32::NEG_INFINITY, "{index}");
            }
        }
        // A mask may be longer than a vocabulary, whose last word it fills.
        mask_logits(&logits, &[0, 0, u32::MAX - 1, 7], &mut masked);
        assert_eq!(masked.len(), 70);
        assert_eq!(masked[64], f32::NEG_INFINITY);
        assert_eq!(masked[65..], logits[65..]);
    }
}
