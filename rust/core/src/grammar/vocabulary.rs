//! A vocabulary as a tree of bytes: what masks are made of.

use std::sync::Arc;

use llguidance::ParserFactory;
use llguidance::toktrie::{
    INVALID_TOKEN, InferenceCapabilities, TokEnv, TokRxInfo, TokTrie, TokenizerEnv,
};

use super::free::{After, Afters, Words, is_gap};
use super::limits::parser_limits;
use crate::error::{Error, Result};
use crate::ids::TokenId;
use crate::text::{EncodeOptions, MarkPlaces, Tokenizer, Vocabulary};

/// A node of the tree, and what a token takes beside its bytes.
const NODE_BYTES: usize = 8;
const TOKEN_BYTES: usize = 12;

/// The tokens of text in a string are kept apart by their lengths: where so many characters may come, all that are
/// no longer may, and nobody looks at each.
const TEXT_LENGTHS: [usize; 5] = [2, 4, 7, 12, 30];

/// The tokens of a model, made ready for grammars. It takes a tenth of a second for 50 000 tokens, and is kept.
pub struct GrammarVocabulary {
    pub(super) factory: ParserFactory,
    words: Words,
    /// Those that are white space and little of it.
    pub(super) gap_tokens: Vec<TokenId>,
    /// Texts after which grammars begin.
    afters: Afters,
    bytes: usize,
}

impl std::fmt::Debug for GrammarVocabulary {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let tokens = self.words.length;
        write!(formatter, "GrammarVocabulary({tokens} tokens)")
    }
}

impl GrammarVocabulary {
    /// Makes it; `end_tokens` end an answer, where the grammar allows that.
    /// Where there is a tokenizer, texts that must come are written as it writes them.
    pub fn new(
        tokens: Arc<Vocabulary>,
        end_tokens: &[TokenId],
        tokenizer: Option<Arc<Tokenizer>>,
    ) -> Result<Self> {
        let words = words_of(&tokens, end_tokens);
        let end = end_tokens.first().copied().unwrap_or(INVALID_TOKEN);
        let mut trie = TokTrie::from(&TokRxInfo::new(words.len() as u32, end), &words);
        if !end_tokens.is_empty() {
            trie = trie.with_eos_tokens(end_tokens);
        }
        let bytes = bytes_of(&trie, &words);
        let environment: TokEnv = Arc::new(Environment { trie, tokenizer });
        let slices = slices();
        let capabilities = InferenceCapabilities::default();
        let mut factory =
            ParserFactory::new(&environment, capabilities, &slices).map_err(|error| {
                Error::Tokenization(format!("no grammars over these tokens: {error}"))
            })?;
        *factory.limits_mut() = parser_limits();
        factory.quiet();
        let is_short_gap = |token: &TokenId| {
            let bytes = tokens.bytes(*token).unwrap_or_default();
            !bytes.is_empty() && is_gap(bytes)
        };
        Ok(Self {
            factory,
            gap_tokens: (0..tokens.len() as TokenId).filter(is_short_gap).collect(),
            words: Words {
                tokens,
                end_tokens: end_tokens.into(),
                length: words.len(),
            },
            afters: Afters::default(),
            // Each slice is a tree of its own, of some of the tokens.
            bytes: bytes * (1 + slices.len()),
        })
    }

    /// What a token says; nothing for one that is none.
    pub(super) fn bytes_of(&self, token: TokenId) -> &[u8] {
        self.words.bytes_of(token)
    }

    /// What ends a text before a grammar.
    pub(super) fn after(&self, text: &str) -> Arc<After> {
        self.afters.get(text, &self.words)
    }

    /// How many tokens there are, ends of answers counted.
    pub(super) fn len(&self) -> usize {
        self.words.length
    }

    /// What it takes, about.
    pub fn bytes(&self) -> usize {
        self.bytes
    }
}

/// Patterns of tokens that are mostly allowed together, in white space and in strings of JSON, the narrower first.
fn slices() -> Vec<String> {
    const TEXT: &str = r#"[^"\\\x00-\x1F\x7F]"#;
    let texts = TEXT_LENGTHS.map(|length| format!("{TEXT}{{1,{length}}}"));
    let white = r"[\x20\x0A\x0D\x09]+".to_owned();
    [white]
        .into_iter()
        .chain(texts)
        .chain([format!("{TEXT}+")])
        .collect()
}

/// The bytes of each token; those of marks behind a byte that is in no text.
fn words_of(tokens: &Vocabulary, end_tokens: &[TokenId]) -> Vec<Vec<u8>> {
    let ends = end_tokens.iter().map(|token| *token as usize + 1).max();
    let count = tokens.len().max(ends.unwrap_or(0));
    let marker = TokTrie::SPECIAL_TOKEN_MARKER;
    (0..count as TokenId)
        .map(|token| match tokens.bytes(token).unwrap_or_default() {
            [] => Vec::new(),
            bytes if tokens.is_special(token) => [&[marker], bytes].concat(),
            // No text has this byte, so that no answer needs the token.
            [first, ..] if *first == marker => Vec::new(),
            bytes => bytes.to_vec(),
        })
        .collect()
}

fn bytes_of(trie: &TokTrie, words: &[Vec<u8>]) -> usize {
    let text: usize = words.iter().map(Vec::len).sum();
    trie.root().subtree_size() * NODE_BYTES + text + words.len() * TOKEN_BYTES
}

/// The tree where llguidance looks for it.
struct Environment {
    trie: TokTrie,
    tokenizer: Option<Arc<Tokenizer>>,
}

impl TokenizerEnv for Environment {
    fn tok_trie(&self) -> &TokTrie {
        &self.trie
    }

    fn tokenize_bytes(&self, text: &[u8]) -> Vec<TokenId> {
        let options = EncodeOptions {
            add_special: false,
            marks: MarkPlaces::Within(&[]),
        };
        let written = |text: &str| {
            let tokens = self.tokenizer.as_ref()?.encode(text, options).ok()?;
            // Some tokenizers change a text, or put a space before it.
            (self.trie.decode_raw(&tokens) == text.as_bytes()).then_some(tokens)
        };
        self.trie.tokenize_with_greedy_fallback(text, |text| {
            written(text).unwrap_or_else(|| self.trie.greedy_tokenize(text.as_bytes()))
        })
    }

    /// The longest token first is not how models were taught to write.
    fn tokenize_is_canonical(&self) -> bool {
        self.tokenizer.is_some()
    }
}
