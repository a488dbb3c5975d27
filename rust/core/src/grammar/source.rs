//! What a grammar is made of.

use crate::error::{Error, Result};

/// What an answer must be, as its author wrote it. Two equal ones are one grammar.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum GrammarSource {
    /// A JSON value that a schema, which is JSON itself, allows.
    JsonSchema(String),
    /// Any JSON object.
    JsonObject,
    /// A text that a regular expression of Rust's dialect, without its look-around, matches as a whole.
    Regex(String),
    /// One of these texts.
    Choice(Vec<String>),
    /// A text of a grammar in llguidance's dialect of Lark.
    Lark(String),
}

impl GrammarSource {
    /// The source of a kind by its name; the texts of a choice are a JSON list.
    pub fn named(kind: &str, source: String) -> Result<Self> {
        Ok(match kind {
            "json_schema" => Self::JsonSchema(source),
            "json_object" => Self::JsonObject,
            "regex" => Self::Regex(source),
            "lark" => Self::Lark(source),
            "choice" => Self::Choice(serde_json::from_str(&source).map_err(|error| {
                Error::grammar("", format!("a choice is a list of texts: {error}"))
            })?),
            _ => {
                return Err(Error::grammar(
                    "",
                    format!(
                        "the kind is '{kind}'; allowed are json_schema, json_object, regex, choice, lark"
                    ),
                ));
            }
        })
    }

    /// How long it is, in bytes.
    pub(super) fn bytes(&self) -> usize {
        match self {
            Self::JsonSchema(text) | Self::Regex(text) | Self::Lark(text) => text.len(),
            Self::JsonObject => 0,
            Self::Choice(texts) => texts
                .iter()
                .map(|text| text.len() + size_of::<String>())
                .sum(),
        }
    }
}
