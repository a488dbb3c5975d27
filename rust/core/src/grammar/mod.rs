//! Grammars: what an answer may say, token by token.
//!
//! ```text
//! text::Vocabulary ─▶ GrammarVocabulary ┐ once a model, off the engine's thread
//! GrammarSource ────────────────────────┴─▶ Grammar ─ begin ─▶ Constraint: sampling::Allowed, one an answer
//! ```
//!
//! The matching is the crate `llguidance`'s: it walks the bytes of tokens through a lexer of derivatives and an
//! Earley parser. Work is bounded by counts and not by a clock, so that what is refused is refused everywhere. A
//! grammar that cannot be honoured is an error, and never a weaker grammar.

mod cache;
mod compile;
mod constraint;
mod free;
mod lark;
mod limits;
mod schema;
mod source;
mod vocabulary;

pub use cache::Grammars;
pub use compile::Grammar;
pub use constraint::{Constraint, Start};
pub use source::GrammarSource;
pub use vocabulary::GrammarVocabulary;
