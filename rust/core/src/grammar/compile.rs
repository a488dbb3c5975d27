//! From a source to a grammar, or to the reason why there is none.

use std::sync::Arc;

use llguidance::Matcher;
use llguidance::api::TopLevelGrammar;
use llguidance::earley::regexvec::LexerStats;
use serde_json::{Value, json};

use super::constraint::{Constraint, Start};
use super::lark;
use super::limits::{NODE_BYTES, RULE_BYTES, SOURCE_BYTES, STATE_BYTES};
use super::schema::{self, WHITESPACE};
use super::source::GrammarSource;
use super::vocabulary::GrammarVocabulary;
use crate::error::{Error, Result};

/// A grammar over the tokens of a model, as it is before the first token.
pub struct Grammar {
    matcher: Arc<Matcher>,
    vocabulary: Arc<GrammarVocabulary>,
    bytes: usize,
}

impl std::fmt::Debug for Grammar {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "Grammar({} bytes)", self.bytes)
    }
}

impl Grammar {
    /// Compiles a source; [`Error::Grammar`] with the place in a schema for what cannot be honoured.
    pub fn compile(vocabulary: &Arc<GrammarVocabulary>, source: &GrammarSource) -> Result<Self> {
        let bytes = source.bytes();
        if bytes > SOURCE_BYTES {
            return Err(Error::grammar(
                "",
                format!("it has {bytes} bytes; at most {SOURCE_BYTES} are allowed"),
            ));
        }
        let (matcher, lexer_bytes) = match source {
            GrammarSource::JsonSchema(text) => {
                let schema = schema::parse(text)?;
                schema::check(&schema)?;
                json_matcher(vocabulary, &schema).map_err(|message| {
                    let compiles = |schema: &Value| json_matcher(vocabulary, schema).err();
                    let pointer = schema::locate(&schema, &message, &compiles);
                    Error::grammar(pointer, message)
                })
            }
            GrammarSource::JsonObject => {
                json_matcher(vocabulary, &json!({"type": "object"})).map_err(whole)
            }
            GrammarSource::Regex(text) => {
                matcher(vocabulary, TopLevelGrammar::from_regex(text)).map_err(whole)
            }
            GrammarSource::Lark(text) => {
                let text = lark::prepared(text)?;
                matcher(vocabulary, TopLevelGrammar::from_lark(text)).map_err(whole)
            }
            GrammarSource::Choice(texts) => choice_grammar(texts)
                .and_then(|grammar| matcher(vocabulary, grammar))
                .map_err(whole),
        }?;
        Ok(Self {
            // Of rules there is no count; a schema becomes some thirty times its text.
            bytes: bytes * RULE_BYTES + lexer_bytes,
            matcher: Arc::new(matcher),
            vocabulary: Arc::clone(vocabulary),
        })
    }

    /// The beginning of an answer.
    pub fn begin(&self, start: &Start) -> Constraint {
        Constraint::new(
            Arc::clone(&self.matcher),
            Arc::clone(&self.vocabulary),
            start,
        )
    }

    /// Whether a text as a whole is what the grammar allows.
    pub fn accepts(&self, text: &str) -> Result<bool> {
        let environment = self.vocabulary.factory.tok_env();
        let tokens = environment.tok_trie().greedy_tokenize(text.as_bytes());
        let mut matcher = self.matcher.deep_clone();
        let failed = |error: &dyn std::fmt::Display| Error::Generation(error.to_string());
        let taken = matcher
            .try_consume_tokens(&tokens)
            .map_err(|error| failed(&error))?;
        let is_whole = taken == tokens.len();
        Ok(is_whole && matcher.is_accepting().map_err(|error| failed(&error))?)
    }

    /// What it takes, about.
    pub fn bytes(&self) -> usize {
        self.bytes
    }
}

fn whole(message: String) -> Error {
    Error::grammar("", message)
}

fn json_matcher(
    vocabulary: &GrammarVocabulary,
    schema: &Value,
) -> std::result::Result<(Matcher, usize), String> {
    let whole = match schema {
        Value::Bool(true) => json!({}),
        Value::Bool(false) => return Err("nothing is allowed by the schema false".to_owned()),
        schema => schema::prepared(schema),
    };
    let whole = schema::with_settings(whole, json!({"whitespace_pattern": WHITESPACE}));
    matcher(vocabulary, TopLevelGrammar::from_json_schema(whole))
}

/// One of the texts, written as strings of Lark, which are JSON's. They are one word, of whose many ways to go
/// on the lexer keeps count, and not the parser.
fn choice_grammar(texts: &[String]) -> std::result::Result<TopLevelGrammar, String> {
    if texts.is_empty() || texts.iter().any(String::is_empty) {
        return Err("a choice is a list of one text or more, none of them empty".to_owned());
    }
    let texts: Vec<String> = texts
        .iter()
        .map(|text| Value::from(text.as_str()).to_string())
        .collect();
    Ok(TopLevelGrammar::from_lark(format!(
        "start: CHOICE\nCHOICE: {}",
        texts.join(" | ")
    )))
}

fn matcher(
    vocabulary: &GrammarVocabulary,
    grammar: TopLevelGrammar,
) -> std::result::Result<(Matcher, usize), String> {
    let parser = vocabulary.factory.create_parser(grammar);
    let mut parser = parser.map_err(|error| gist(&error.to_string()))?;
    if let Some(warning) = parser.grammar_warnings().first() {
        return Err(gist(warning));
    }
    let bytes = lexer_bytes(&parser.parser.lexer_stats());
    let matcher = Matcher::new(Ok(parser));
    // What no token can begin is found here, and not when somebody waits for the answer. The mask is thrown
    // away, but the states of the lexer that it made are kept for every answer.
    let mut warmed = matcher.deep_clone();
    match warmed.compute_mask() {
        Ok(_) => Ok((warmed, bytes)),
        Err(error) => {
            let message = gist(&error.to_string());
            Err(format!("no token can begin an answer: {message}"))
        }
    }
}

/// What a message says, without the trace that follows a panic's and the drawing that precedes a pattern's.
fn gist(message: &str) -> String {
    let mut lines = message
        .lines()
        .map(str::trim)
        .filter(|line| !line.is_empty());
    let first = lines.next().unwrap_or("it cannot be compiled");
    let reason = lines.find_map(|line| line.strip_prefix("error: "));
    match reason {
        Some(reason) => format!("{} {reason}", first.trim_end_matches(':').to_owned() + ":"),
        None => first.to_owned(),
    }
}

fn lexer_bytes(lexer: &LexerStats) -> usize {
    lexer.num_states * STATE_BYTES + lexer.num_ast_nodes * NODE_BYTES
}
