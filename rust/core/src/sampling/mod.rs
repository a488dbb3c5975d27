//! From logits to one token: penalties, filters, the draw, log-probabilities.
//!
//! One [`Sampler`] belongs to one request and depends on nothing but its parameters, its
//! seed and the tokens it was shown: what else runs in the same batch cannot change a draw.
//! `pipeline` is the one place that fixes the order of the steps, and `kept` that of the filters; each step is a file.

mod allowed;
mod breakers;
mod changes;
mod deviation;
mod dry;
mod dynamic_temperature;
mod filters;
mod kept;
mod logprobs;
mod mirostat;
mod params;
mod penalties;
mod pick;
mod pipeline;
mod random;
mod ranges;
mod repeats;
mod scratch;
mod settled;
mod softmax;
mod surprise;
mod typical;
mod xtc;

pub use allowed::Allowed;
pub use dry::{Dry, DryFields};
pub use dynamic_temperature::DynamicTemperature;
pub use logprobs::{LogprobMeter, TokenLogprobs};
pub use mirostat::Mirostat;
pub use params::SamplingParams;
pub(crate) use params::check_logprobs;
pub use pipeline::{Sampled, Sampler};
pub(crate) use random::{Random, mix};
pub use xtc::Xtc;
