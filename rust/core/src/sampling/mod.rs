//! From logits to one token: penalties, filters, the draw, log-probabilities.
//!
//! One [`Sampler`] belongs to one request and depends on nothing but its parameters, its
//! seed and the tokens it was shown: what else runs in the same batch cannot change a draw.
//! `pipeline` is the one place that fixes the order of the steps; each step is a file.

mod allowed;
mod filters;
mod logprobs;
mod params;
mod penalties;
mod pick;
mod pipeline;
mod random;
mod scratch;
mod settled;
mod softmax;

pub use allowed::Allowed;
pub use logprobs::{LogprobMeter, TokenLogprobs};
pub use params::SamplingParams;
pub(crate) use params::check_logprobs;
pub use pipeline::{Sampled, Sampler};
pub(crate) use random::Random;
