//! How much work a grammar may ask for. Counts, not seconds: the same grammar is refused on every machine.

use llguidance::api::ParserLimits;

/// The longest source, in bytes.
pub(super) const SOURCE_BYTES: usize = 256 << 10;
/// How deep values in a schema may stand in others.
pub(super) const SCHEMA_DEPTH: usize = 64;
/// How many values a schema may have, in all.
pub(super) const SCHEMA_VALUES: usize = 20_000;
/// What compiled grammars may hold together when nobody uses them.
pub(super) const CACHE_BYTES: usize = 64 << 20;
/// What one state of the lexer takes, its row of transitions included.
pub(super) const STATE_BYTES: usize = 2048;
/// What one node of its expressions takes.
pub(super) const NODE_BYTES: usize = 64;
/// What the rules of one byte of a source take.
pub(super) const RULE_BYTES: usize = 32;

/// The bounds of the compiler and of one mask. A lexer of the most states takes 60 MB.
pub(super) fn parser_limits() -> ParserLimits {
    ParserLimits {
        initial_lexer_fuel: 1_000_000,
        step_lexer_fuel: 200_000,
        step_max_items: 50_000,
        max_items_in_row: 2000,
        max_lexer_states: 30_000,
        max_grammar_size: 200_000,
        precompute_large_lexemes: true,
        verbose_errors: false,
    }
}
