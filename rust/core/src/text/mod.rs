//! Text and token ids: vocabularies out of GGUF metadata, detokenizing, stop strings.
//!
//! ```text
//! VocabularySource ─▶ Tokenizer ─ encode ─▶ ids        ids ─ Detokenizer ─▶ text ─ StopMatcher ─▶ text to show
//!                        └─ Arc<Vocabulary>: what each id says ──┘
//! ```
//!
//! Two kinds of tokenizer are read: byte-level BPE ("gpt2") with its pre-tokenizer, and SentencePiece
//! merging by score ("llama"). Ids are those that llama.cpp gives for the same file. Knows nothing of
//! models, chat templates or files; the engine uses the vocabulary only, Python the whole.

mod bpe;
mod byte_map;
mod classes;
mod detokenizer;
mod metadata;
mod pre_tokenizer;
mod pre_types;
mod roles;
mod source;
mod special;
mod spm;
mod stop;
mod table;
mod tokenizer;
mod vocabulary;
mod word_rules;

pub use detokenizer::Detokenizer;
pub use source::VocabularySource;
pub use special::MarkPlaces;
pub(crate) use stop::Pattern;
pub use stop::{StopMatcher, StopOutcome};
pub use tokenizer::{EncodeOptions, Tokenizer};
pub use vocabulary::Vocabulary;
