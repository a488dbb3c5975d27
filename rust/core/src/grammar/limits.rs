//! How much work a grammar may ask for. Counts, not seconds: the same grammar is refused on every machine.

use llguidance::api::ParserLimits;

/// The longest source, in bytes.
pub(super) const SOURCE_BYTES: usize = 256 << 10;
/// How deep values in a schema may stand in others.
pub(super) const SCHEMA_DEPTH: usize = 64;
/// How many values a schema may have, in all.
pub(super) const SCHEMA_VALUES: usize = 20_000;
/// How many names one schema may give to keys: each stands in a rule with all that may follow it.
pub(super) const SCHEMA_NAMES: usize = 2000;
/// How many ways there may be to read an answer so far. A token takes the square of it, of a step that others
/// wait for as well; schemas have a few dozen.
const ROW_ITEMS: usize = 500;
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
        max_items_in_row: ROW_ITEMS,
        max_lexer_states: 30_000,
        max_grammar_size: 200_000,
        precompute_large_lexemes: true,
        verbose_errors: false,
    }
}
