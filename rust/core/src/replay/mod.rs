//! A model's part played from a tape: the engine at work without a model, for those who want to see it alone.
//!
//! A [`Recorder`] stands between an engine and its model and keeps what is said of each text. A [`Replayer`] says the same
//! again where a text comes back. It computes nothing, and so writes into its blocks what a model's keys and values
//! stand for: the text up to them. At each step it sees whether the blocks that it is given follow on each other as far
//! back as a window reaches, are of one text in all groups, and of the text that it saw of this sequence. What a sequence
//! found in the cache before it computed anything it takes for its own: there, that an answer is the one that it has
//! alone tells.

mod blocks;
mod mark;
mod recorder;
mod replayer;
mod tape;
mod texts;

pub(crate) use recorder::Recorder;
pub(crate) use replayer::Replayer;
pub use tape::Tape;
