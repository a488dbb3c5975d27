//! From GGUF metadata to a tokenizer.

use ruvllm_formats::Metadata;

use super::source::VocabularySource;
use super::tokenizer::Tokenizer;
use crate::error::{Error, Result};

impl Tokenizer {
    /// The tokenizer of a GGUF file.
    pub fn from_metadata(metadata: &Metadata) -> Result<Self> {
        let key = |name: &str| format!("tokenizer.ggml.{name}");
        let missing = |name: &str| {
            Error::Tokenization(format!("GGUF metadata: 'tokenizer.ggml.{name}' is missing"))
        };
        let model = metadata
            .get_str(&key("model"))
            .ok_or_else(|| missing("model"))?;
        let strings = |name: &str| -> Option<Vec<&str>> {
            let listed = metadata.get_strings(&key(name))?;
            Some(listed.iter().collect())
        };
        let tokens = strings("tokens").ok_or_else(|| missing("tokens"))?;
        let merges = strings("merges").unwrap_or_default();
        let types = metadata
            .get_integers(&key("token_type"))
            .unwrap_or_default();
        let types: Vec<i32> = types
            .iter()
            .map(|kind| i32::try_from(*kind).unwrap_or(0))
            .collect();
        let id = |name: &str| metadata.get_u32(&key(name));
        Self::from_source(&VocabularySource {
            model,
            pre: metadata.get_str(&key("pre")),
            name: metadata.get_str("general.name"),
            tokens: &tokens,
            scores: metadata.get_f32s(&key("scores")).unwrap_or_default(),
            token_types: &types,
            merges: &merges,
            bos: id("bos_token_id"),
            eos: id("eos_token_id"),
            end_of_turn: id("eot_token_id"),
            end_of_message: id("eom_token_id"),
            unknown: id("unknown_token_id"),
            padding: id("padding_token_id"),
            fill_in_middle_ends: [
                id("fim_pad_token_id"),
                id("fim_rep_token_id"),
                id("fim_sep_token_id"),
            ],
            add_bos: metadata.get_bool(&key("add_bos_token")),
            add_eos: metadata.get_bool(&key("add_eos_token")),
            add_space_prefix: metadata.get_bool(&key("add_space_prefix")),
        })
    }
}
