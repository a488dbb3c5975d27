//! What each token id says: its bytes as they appear in text, and whether it is special.
//!
//! The one part of a tokenizer that generation needs. It comes out of a `Tokenizer`, or is built from the
//! pieces of a tokenizer that lives elsewhere (for example a Hugging Face one in Python).

use crate::error::{Error, Result};
use crate::ids::TokenId;

/// Token id to bytes; one flat buffer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Vocabulary {
    bytes: Vec<u8>,
    /// `offsets[id]..offsets[id + 1]` is the place of a token in `bytes`.
    offsets: Vec<u32>,
    /// Sorted, without repetition.
    special: Vec<TokenId>,
}

impl Vocabulary {
    /// A vocabulary from the bytes of all tokens one after another.
    ///
    /// `offsets` has one entry more than there are tokens: token `i` is `bytes[offsets[i]..offsets[i + 1]]`.
    /// `special` tokens are those that are skipped when text is written for people.
    pub fn new(bytes: Vec<u8>, offsets: Vec<u32>, mut special: Vec<TokenId>) -> Result<Self> {
        let (Some(&first), Some(&last)) = (offsets.first(), offsets.last()) else {
            return Err(Error::Tokenization(
                "vocabulary offsets are empty; allowed is one offset more than there are tokens"
                    .into(),
            ));
        };
        if first != 0 || last as usize != bytes.len() {
            return Err(Error::Tokenization(format!(
                "vocabulary offsets run from {first} to {last}; allowed is from 0 to the {} bytes given",
                bytes.len()
            )));
        }
        if let Some(id) = offsets.windows(2).position(|pair| pair[0] > pair[1]) {
            return Err(Error::Tokenization(format!(
                "vocabulary offset of token {} is before that of token {id}; offsets must not decrease",
                id + 1
            )));
        }
        let num_tokens = offsets.len() - 1;
        special.sort_unstable();
        special.dedup();
        if let Some(&id) = special.last().filter(|&&id| id as usize >= num_tokens) {
            return Err(Error::Tokenization(format!(
                "special token {id} is not in the vocabulary; allowed are ids below {num_tokens}"
            )));
        }
        Ok(Self {
            bytes,
            offsets,
            special,
        })
    }

    /// A vocabulary from one byte string a token.
    pub fn from_tokens<T: AsRef<[u8]>>(tokens: &[T], special: Vec<TokenId>) -> Result<Self> {
        let num_bytes = tokens.iter().map(|token| token.as_ref().len()).sum();
        if u32::try_from(num_bytes).is_err() || u32::try_from(tokens.len()).is_err() {
            return Err(Error::Tokenization(format!(
                "vocabulary of {} tokens has {num_bytes} bytes; allowed are less than 4 GiB",
                tokens.len()
            )));
        }
        let mut bytes = Vec::with_capacity(num_bytes);
        let mut offsets = Vec::with_capacity(tokens.len() + 1);
        offsets.push(0);
        for token in tokens {
            bytes.extend_from_slice(token.as_ref());
            offsets.push(bytes.len() as u32);
        }
        Self::new(bytes, offsets, special)
    }

    /// The first token that says something else in the other one, of those that both have.
    pub fn first_difference(&self, other: &Self) -> Option<TokenId> {
        let both = 0..self.len().min(other.len()) as TokenId;
        both.into_iter()
            .find(|token| self.bytes(*token) != other.bytes(*token))
    }

    /// How many tokens there are.
    pub fn len(&self) -> usize {
        self.offsets.len() - 1
    }

    /// Whether there are no tokens at all.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The bytes of a token as they appear in text, or nothing for an id outside the vocabulary.
    pub fn bytes(&self, id: TokenId) -> Option<&[u8]> {
        let index = id as usize;
        let end = *self.offsets.get(index + 1)?;
        self.bytes.get(self.offsets[index] as usize..end as usize)
    }

    /// Whether a token steers the model and is no text: begin and end marks, roles, unknown.
    pub fn is_special(&self, id: TokenId) -> bool {
        self.special.binary_search(&id).is_ok()
    }

    /// All special tokens in ascending order.
    pub fn special(&self) -> &[TokenId] {
        &self.special
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gives_back_bytes_and_special_flags() {
        let vocabulary = Vocabulary::from_tokens(&["a", "", "<s>", "bc"], vec![2, 2]).unwrap();
        assert_eq!(vocabulary.len(), 4);
        assert_eq!(vocabulary.bytes(0), Some(&b"a"[..]));
        assert_eq!(vocabulary.bytes(1), Some(&b""[..]));
        assert_eq!(vocabulary.bytes(3), Some(&b"bc"[..]));
        assert_eq!(vocabulary.bytes(4), None);
        assert_eq!(vocabulary.bytes(u32::MAX), None);
        assert!(
            vocabulary.is_special(2) && !vocabulary.is_special(3) && !vocabulary.is_special(99)
        );
        assert_eq!(vocabulary.special(), &[2]);
    }

    #[test]
    fn refuses_offsets_that_do_not_fit() {
        for (offsets, special) in [
            (vec![], vec![]),
            (vec![1, 3], vec![]),
            (vec![0, 2], vec![]),
            (vec![0, 3, 1, 3], vec![]),
            (vec![0, 3], vec![1]),
        ] {
            let result = Vocabulary::new(b"abc".to_vec(), offsets.clone(), special);
            assert!(matches!(result, Err(Error::Tokenization(_))), "{offsets:?}");
        }
    }
}
