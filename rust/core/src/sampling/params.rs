//! What a request asks of the sampler, and the ranges in which that makes sense.
//!
//! The names and meanings are those of the OpenAI interface, of transformers and of llama.cpp, so that
//! values carry over. Nothing is clamped: a value outside its range is refused by name.

use super::dry::Dry;
use super::dynamic_temperature::DynamicTemperature;
use super::mirostat::Mirostat;
use super::ranges::check;
use super::xtc::Xtc;
use crate::ids::TokenId;
use crate::{Error, Result};

/// How the next token is chosen.
#[derive(Debug, Clone, PartialEq)]
pub struct SamplingParams {
    /// Divides the logits; 0 takes the most likely token. 0 to 100.
    pub temperature: f32,
    /// Only the so many largest logits stay; 0 keeps all.
    pub top_k: usize,
    /// Only the smallest set of most likely tokens whose probability reaches this stays.
    /// Above 0, at most 1; 1 keeps all.
    pub top_p: f32,
    /// Only tokens at least this share as likely as the most likely one stay.
    /// At least 0, below 1; 0 keeps all.
    pub min_p: f32,
    /// Only the smallest set of tokens about as surprising as is to be expected whose probability reaches this stays.
    /// Above 0, at most 1; 1 keeps all.
    pub typical_p: f32,
    /// Only logits at most so many standard deviations below the largest stay. 0 to 100; 0 keeps all.
    pub top_n_sigma: f32,
    /// Divides positive and multiplies negative logits of every token of the prompt and of
    /// the answer so far. Above 0; 1 changes nothing.
    pub repetition_penalty: f32,
    /// Taken off the logit of every token of the answer so far. -2 to 2.
    pub presence_penalty: f32,
    /// Taken off the logit of a token once for each time the answer has it. -2 to 2.
    pub frequency_penalty: f32,
    /// Holds back what goes on with a repetition.
    pub dry: Option<Dry>,
    /// Now and then leaves out the likeliest tokens.
    pub xtc: Option<Xtc>,
    /// Lowers the temperature where the model is sure, and raises it where not.
    pub dynamic_temperature: Option<DynamicTemperature>,
    /// Makes answers as surprising as is asked for.
    pub mirostat: Option<Mirostat>,
    /// Added to the logits of the named tokens; -100 to 100 each.
    pub logit_bias: Vec<(TokenId, f32)>,
    /// Fixes the draws; without one the engine takes a fresh seed.
    pub seed: Option<u64>,
    /// Report log-probabilities: of the chosen token and of so many most likely ones, 0 to 20.
    pub logprobs: Option<usize>,
}

impl Default for SamplingParams {
    fn default() -> Self {
        Self {
            temperature: 0.7,
            top_k: 0,
            top_p: 0.9,
            min_p: 0.0,
            typical_p: 1.0,
            top_n_sigma: 0.0,
            repetition_penalty: 1.1,
            presence_penalty: 0.0,
            frequency_penalty: 0.0,
            dry: None,
            xtc: None,
            dynamic_temperature: None,
            mirostat: None,
            logit_bias: Vec::new(),
            seed: None,
            logprobs: None,
        }
    }
}

impl SamplingParams {
    /// The largest temperature.
    pub const MAXIMUM_TEMPERATURE: f32 = 100.0;
    /// The largest presence or frequency penalty; its negative is the least.
    pub const MAXIMUM_PENALTY: f32 = 2.0;
    /// The largest bias of a logit; its negative is the least.
    pub const MAXIMUM_BIAS: f32 = 100.0;
    /// The most alternatives whose log-probabilities can be asked for.
    pub const MAXIMUM_LOGPROBS: usize = 20;

    /// Whether a draw is made from all tokens, each as likely as its logit says.
    pub(super) fn keeps_all(&self) -> bool {
        let filters = self.top_k == 0 && self.top_p >= 1.0 && self.min_p <= 0.0;
        let reshaped =
            self.xtc.is_some() || self.dynamic_temperature.is_some() || self.mirostat.is_some();
        filters && !self.looks_at_all() && !reshaped
    }

    /// Whether a filter looks at every logit, so that the likeliest few do not tell what is kept.
    pub(super) fn looks_at_all(&self) -> bool {
        self.typical_p < 1.0 || self.top_n_sigma > 0.0
    }

    /// Checks every field against its range, and the biased tokens against the vocabulary.
    ///
    /// Returns [`Error::Config`] naming the first field that is out of range, its value and
    /// what is allowed.
    pub fn validate(&self, vocab_size: usize) -> Result<()> {
        self.validate_filters()?;
        let penalty = -Self::MAXIMUM_PENALTY..=Self::MAXIMUM_PENALTY;
        let repetition = self.repetition_penalty;
        check(
            "repetition_penalty",
            repetition,
            repetition > 0.0 && repetition.is_finite(),
            "above 0 and finite",
        )?;
        check(
            "presence_penalty",
            self.presence_penalty,
            penalty.contains(&self.presence_penalty),
            "between -2 and 2",
        )?;
        check(
            "frequency_penalty",
            self.frequency_penalty,
            penalty.contains(&self.frequency_penalty),
            "between -2 and 2",
        )?;
        self.dry.as_ref().map_or(Ok(()), Dry::validate)?;
        self.xtc.map_or(Ok(()), Xtc::validate)?;
        let dynamic = self.dynamic_temperature;
        dynamic.map_or(Ok(()), DynamicTemperature::validate)?;
        self.mirostat.map_or(Ok(()), Mirostat::validate)?;
        self.validate_bias(vocab_size)?;
        check_logprobs("logprobs", self.logprobs.unwrap_or_default())
    }

    fn validate_filters(&self) -> Result<()> {
        check(
            "temperature",
            self.temperature,
            (0.0..=Self::MAXIMUM_TEMPERATURE).contains(&self.temperature),
            "between 0 and 100",
        )?;
        check(
            "top_p",
            self.top_p,
            self.top_p > 0.0 && self.top_p <= 1.0,
            "above 0 and at most 1",
        )?;
        check(
            "min_p",
            self.min_p,
            (0.0..1.0).contains(&self.min_p),
            "at least 0 and below 1",
        )?;
        check(
            "typical_p",
            self.typical_p,
            self.typical_p > 0.0 && self.typical_p <= 1.0,
            "above 0 and at most 1",
        )?;
        check(
            "top_n_sigma",
            self.top_n_sigma,
            (0.0..=100.0).contains(&self.top_n_sigma),
            "between 0 and 100",
        )
    }

    fn validate_bias(&self, vocab_size: usize) -> Result<()> {
        for &(token, bias) in &self.logit_bias {
            if token as usize >= vocab_size {
                return Err(Error::Config(format!(
                    "logit_bias names token {token}; it must be below {vocab_size}, the size of the vocabulary"
                )));
            }
            check(
                &format!("logit_bias of token {token}"),
                bias,
                (-Self::MAXIMUM_BIAS..=Self::MAXIMUM_BIAS).contains(&bias),
                "between -100 and 100",
            )?;
        }
        Ok(())
    }
}

/// Refuses more of the likeliest tokens than may be asked for.
pub(crate) fn check_logprobs(name: &str, count: usize) -> Result<()> {
    if count <= SamplingParams::MAXIMUM_LOGPROBS {
        return Ok(());
    }
    Err(Error::Config(format!(
        "{name} is {count}; it must be between 0 and {}",
        SamplingParams::MAXIMUM_LOGPROBS
    )))
}
