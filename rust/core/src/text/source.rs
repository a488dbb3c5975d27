//! What a tokenizer is built from, as a model file states it.

use crate::error::{Error, Result};
use crate::ids::TokenId;

/// The kind of a token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum TokenKind {
    Normal,
    Unknown,
    Control,
    UserDefined,
    Unused,
    Byte,
}

impl TokenKind {
    /// The kind of a number in `tokenizer.ggml.token_type`.
    pub(crate) fn from_number(number: i32) -> Self {
        match number {
            1 => TokenKind::Normal,
            2 => TokenKind::Unknown,
            3 => TokenKind::Control,
            4 => TokenKind::UserDefined,
            6 => TokenKind::Byte,
            _ => TokenKind::Unused,
        }
    }

    /// Whether such tokens are no text for people.
    pub(crate) fn is_special(self) -> bool {
        matches!(self, TokenKind::Control | TokenKind::Unknown)
    }
}

/// The tokenizer section of a model file, borrowed; the fields are named as the `tokenizer.ggml.*` keys.
#[derive(Debug, Clone, Copy, Default)]
pub struct VocabularySource<'a> {
    /// `model`: "gpt2" for byte-level BPE, "llama" for SentencePiece.
    pub model: &'a str,
    /// `pre`: how byte-level BPE cuts text into words; "default" if missing.
    pub pre: Option<&'a str>,
    /// `general.name`: some models' special tokens swallow the blanks after them, and only the name tells.
    pub name: Option<&'a str>,
    /// `tokens`: the text of each token, in the writing of the vocabulary.
    pub tokens: &'a [&'a str],
    /// `scores` of SentencePiece; empty means that all are 0.
    pub scores: &'a [f32],
    /// `token_type`: 1 normal, 2 unknown, 3 control, 4 user-defined, 5 unused, 6 byte; empty means all normal.
    pub token_types: &'a [i32],
    /// `merges` of byte-level BPE, the earliest first: two token texts with a space between them.
    pub merges: &'a [&'a str],
    /// `bos_token_id`
    pub bos: Option<TokenId>,
    /// `eos_token_id`
    pub eos: Option<TokenId>,
    /// `eot_token_id`: end of a turn.
    pub end_of_turn: Option<TokenId>,
    /// `eom_token_id`: end of a message.
    pub end_of_message: Option<TokenId>,
    /// `unknown_token_id`
    pub unknown: Option<TokenId>,
    /// `padding_token_id`
    pub padding: Option<TokenId>,
    /// `fim_pad_token_id`, `fim_rep_token_id`, `fim_sep_token_id`: code models write them after their answer.
    pub fill_in_middle_ends: [Option<TokenId>; 3],
    /// `add_bos_token`
    pub add_bos: Option<bool>,
    /// `add_eos_token`
    pub add_eos: Option<bool>,
    /// `add_space_prefix`
    pub add_space_prefix: Option<bool>,
}

impl VocabularySource<'_> {
    /// Checks that the lists fit each other.
    pub(crate) fn check(&self) -> Result<()> {
        let num_tokens = self.tokens.len();
        if num_tokens == 0 {
            return Err(Error::Tokenization(
                "tokenizer.ggml.tokens is empty or missing; a vocabulary needs at least one token"
                    .into(),
            ));
        }
        for (key, length) in [
            ("scores", self.scores.len()),
            ("token_type", self.token_types.len()),
        ] {
            if length != 0 && length < num_tokens {
                return Err(Error::Tokenization(format!(
                    "tokenizer.ggml.{key} has {length} entries; allowed is one for each of {num_tokens} tokens"
                )));
            }
        }
        let num_bytes: usize = self.tokens.iter().map(|text| text.len()).sum();
        if num_bytes >= u32::MAX as usize || num_tokens >= i32::MAX as usize {
            return Err(Error::Tokenization(format!(
                "tokenizer.ggml.tokens has {num_tokens} texts of {num_bytes} bytes; allowed are less than 2^31 of 4 GiB"
            )));
        }
        Ok(())
    }

    /// The number of bytes of all token texts.
    pub(crate) fn num_bytes(&self) -> usize {
        self.tokens.iter().map(|text| text.len()).sum()
    }

    /// The kind of each token as the file states it.
    pub(crate) fn kinds(&self) -> Vec<TokenKind> {
        if self.token_types.is_empty() {
            return vec![TokenKind::Normal; self.tokens.len()];
        }
        let stated = self.token_types.iter().take(self.tokens.len());
        stated
            .map(|&number| TokenKind::from_number(number))
            .collect()
    }

    /// An id as the file states it, if it is in the vocabulary; files write 2^32 - 1 for "none".
    pub(crate) fn valid(&self, id: Option<TokenId>) -> Option<TokenId> {
        id.filter(|&id| (id as usize) < self.tokens.len())
    }
}
