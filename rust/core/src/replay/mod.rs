//! A model's part played from a tape: the engine at work without a model, for those who want to see it alone.
//!
//! A [`Recorder`] stands between an engine and its model and keeps what is said of each text. A [`Replayer`] says the same
//! again where a text comes back. It computes nothing, and so writes into its blocks what a model's keys and values
//! stand for: the text up to them. Whatever hands it blocks of another text, or forgets to copy some, is found out at
//! the step that reads them.

mod blocks;
mod mark;
mod recorder;
mod replayer;
mod tape;

pub(crate) use recorder::Recorder;
pub(crate) use replayer::Replayer;
pub use tape::Tape;
