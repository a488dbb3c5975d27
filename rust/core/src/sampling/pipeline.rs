//! The order of the steps, in this one place:
//!
//! bias → repetition, presence, frequency → DRY → temperature → filters (`kept`) → XTC → dynamic temperature → mirostat →
//! draw.
//!
//! At temperature 0 the most likely token after the penalties and DRY is taken and nothing is drawn.
//! Log-probabilities are of the logits as the model made them.

use std::sync::Arc;

use ruvllm_kernels::Kernels;

use super::allowed::{Allowed, Choices, Forbidden, is_dense};
use super::changes::Changes;
use super::dry::Repetitions;
use super::filters::{Candidate, mass};
use super::kept::keep;
use super::logprobs::TokenLogprobs;
use super::mirostat::SurpriseBound;
use super::params::SamplingParams;
use super::penalties::Penalties;
use super::pick::{argmax, draw, draw_from_all};
use super::random::Random;
use super::scratch::Scratch;
use super::settled::keep_settled;
use super::softmax::Softmax;
use crate::Result;
use crate::ids::TokenId;
use crate::text::Vocabulary;

/// One chosen token.
#[derive(Debug, Clone, PartialEq)]
pub struct Sampled {
    /// The token.
    pub token: TokenId,
    /// Its log-probabilities, when the parameters ask for them.
    pub logprob: Option<TokenLogprobs>,
}

/// Chooses the tokens of one request.
///
/// The same parameters, seed, observed tokens and logits give the same tokens, whatever else
/// is going on. Each choice at a temperature above 0 takes one number from the seed's stream.
#[derive(Debug, Clone)]
pub struct Sampler {
    params: SamplingParams,
    random: Random,
    penalties: Penalties,
    /// What the text repeats, where that is held back.
    repetitions: Option<Repetitions>,
    /// How surprising a token may be, where that follows what was drawn.
    surprise: Option<SurpriseBound>,
    /// Logits of the choice under way that are not as they came.
    changes: Changes,
    scratch: Scratch,
    /// Whether that has scanned the logits of the last choice as the model made them.
    is_scanned: bool,
    /// Where not all tokens are allowed.
    choices: Choices,
    forbidden: Forbidden,
}

impl Sampler {
    /// `params` have passed [`SamplingParams::validate`]; `seed` is theirs or a fresh one.
    pub fn new(params: SamplingParams, seed: u64, kernels: Arc<dyn Kernels>) -> Self {
        let repetitions = |dry| Repetitions::new(dry, None);
        Self {
            random: Random::new(seed),
            penalties: Penalties::default(),
            repetitions: params.dry.clone().map(repetitions),
            surprise: params.mirostat.map(SurpriseBound::new),
            changes: Changes::default(),
            scratch: Scratch::new(kernels),
            is_scanned: false,
            choices: Choices::default(),
            forbidden: Forbidden::default(),
            params,
        }
    }

    /// Tells what tokens say, before any is shown: texts that break repetitions are found by that.
    #[must_use]
    pub fn reading(mut self, vocabulary: &Arc<Vocabulary>) -> Self {
        let repetitions = |dry| Repetitions::new(dry, Some(vocabulary));
        self.repetitions = self.params.dry.clone().map(repetitions);
        self
    }

    /// The parameters of the request.
    pub fn params(&self) -> &SamplingParams {
        &self.params
    }

    /// Shows the sampler one token of the prompt, or, with `generated`, of the answer.
    ///
    /// Every token counts for the repetition penalty and for DRY, generated ones also for presence and
    /// frequency. Chosen tokens are not counted on their own: the caller decides whether a
    /// choice becomes part of the text.
    pub fn observe(&mut self, token: TokenId, generated: bool) {
        self.penalties.observe(&self.params, token, generated);
        if let Some(repetitions) = &mut self.repetitions {
            repetitions.observe(token);
        }
    }

    /// Makes logits what the draw is made of.
    fn change(&mut self, logits: &mut [f32]) {
        let changes = &mut self.changes;
        self.penalties.apply(&self.params, logits, changes);
        if let Some(repetitions) = &mut self.repetitions {
            repetitions.apply(logits, changes);
        }
        self.is_scanned = changes.are_none();
    }

    /// Chooses the next token. On return `logits` are as they came.
    ///
    /// -inf masks a token, NaN counts as masked and +inf as the largest number. Returns
    /// [`Error::Generation`] when no token is left.
    pub fn sample(&mut self, logits: &mut [f32]) -> Result<Sampled> {
        self.change(logits);
        let token = self.choose(logits);
        self.changes.take_back(logits);
        self.measured(token, logits)
    }

    /// Chooses the next token among those that are allowed, as likely as each is among them.
    ///
    /// A draw from all tokens is made first, and again among the allowed ones only where it fell on another:
    /// that gives p + (1 - P) p / P = p / P for a token of probability p and allowed ones of P together. What is
    /// allowed thus is mostly not looked for. Filters count among the allowed alone: they need it at once, except
    /// where the likeliest few tell what is kept.
    pub fn sample_among(
        &mut self,
        logits: &mut [f32],
        allowed: &mut dyn Allowed,
    ) -> Result<Sampled> {
        self.change(logits);
        let token = self.choose_among(logits, allowed);
        self.changes.take_back(logits);
        self.measured(token, logits)
    }

    /// What it would choose `ahead` tokens later, were those the logits, and how likely they make it. The answer's own
    /// choices are as they would be without: of the stream nothing is taken.
    ///
    /// A draft model is asked with the number that the token will be drawn with: where both think alike they draw
    /// alike, at any temperature.
    pub fn guess(&mut self, logits: &mut [f32], ahead: usize) -> Result<(TokenId, f32)> {
        let kept = (self.random.clone(), self.surprise.clone());
        for _ in 0..ahead {
            self.random.unit();
        }
        self.change(logits);
        let token = self.choose(logits);
        let temperature = match self.params.temperature {
            0.0 => 1.0,
            temperature => temperature,
        };
        let softmax = Softmax::new(self.scratch.blocks.maximum, temperature);
        let chance = token.map(|token| {
            let weight = f64::from(softmax.weight(logits[token as usize]));
            let total = softmax.total(logits, &mut self.scratch.blocks);
            (token, (weight / total) as f32)
        });
        self.changes.take_back(logits);
        (self.random, self.surprise) = kept;
        self.is_scanned = false;
        chance
    }

    /// A token that nobody chose: it stands where the next one would be drawn, and takes no random number.
    pub fn given(&mut self, token: TokenId, logits: &mut [f32]) -> Result<Sampled> {
        self.is_scanned = false;
        self.measured(Ok(token), logits)
    }

    /// How likely `logits`, those of the last choice as they came, make `token`, with the `count` most likely tokens.
    /// What the choice has seen of them is not looked at again.
    pub fn measure(
        &mut self,
        logits: &[f32],
        token: TokenId,
        count: usize,
    ) -> Result<TokenLogprobs> {
        if !self.is_scanned {
            self.scratch.scan(logits)?;
            self.is_scanned = true;
        }
        let scratch = &mut self.scratch;
        Ok(TokenLogprobs::measure(logits, scratch, token, count))
    }

    /// A token that was chosen, with what is to be reported of it.
    fn measured(&mut self, token: Result<TokenId>, logits: &[f32]) -> Result<Sampled> {
        self.is_scanned &= token.is_ok();
        let token = token?;
        let logprob = match self.params.logprobs {
            Some(count) => Some(self.measure(logits, token, count)?),
            None => None,
        };
        Ok(Sampled { token, logprob })
    }

    /// The tokens that the next draw would choose among and their probabilities, best first.
    ///
    /// Takes no random number and, like [`Sampler::sample`], leaves `logits` as they came.
    pub fn distribution(&mut self, logits: &mut [f32]) -> Result<Vec<(TokenId, f32)>> {
        self.change(logits);
        self.is_scanned = false;
        let scanned = self.scratch.scan(logits);
        if scanned.is_ok() {
            if self.params.temperature == 0.0 {
                let token = argmax(logits, &self.scratch.blocks);
                let certain = Candidate { token, weight: 1.0 };
                self.scratch.candidates.clear();
                self.scratch.candidates.push(certain);
            } else {
                keep(logits, &self.params, &mut self.scratch);
                self.reshape(logits);
            }
        }
        self.changes.take_back(logits);
        scanned?;
        let candidates = &mut self.scratch.candidates;
        candidates.sort_unstable_by_key(Candidate::rank);
        let total = mass(candidates);
        Ok(candidates
            .iter()
            .map(|c| (c.token, (f64::from(c.weight) / total) as f32))
            .collect())
    }

    fn choose_among(&mut self, logits: &mut [f32], allowed: &mut dyn Allowed) -> Result<TokenId> {
        if self.params.temperature == 0.0 || self.params.keeps_all() {
            let token = self.choose(logits)?;
            if allowed.allows(token)? {
                return Ok(token);
            }
        } else if keep_settled(logits, &self.params, &mut self.scratch, allowed)? {
            return Ok(self.draw_of_kept(logits));
        }
        self.is_scanned = false;
        let mask = allowed.mask()?;
        if is_dense(mask, logits.len()) {
            self.forbidden.take_out(logits, mask);
            let token = self.choose(logits);
            self.forbidden.restore(logits);
            return token;
        }
        let mut choices = std::mem::take(&mut self.choices);
        choices.gather(logits, mask);
        // Their order is that of their ids, so that the first of equal ones is the same as among all.
        let place = self.choose(&choices.logits);
        let token = place.map(|place| choices.tokens[place as usize]);
        self.choices = choices;
        token
    }

    /// From logits that have had their penalties to a token.
    fn choose(&mut self, logits: &[f32]) -> Result<TokenId> {
        self.scratch.scan(logits)?;
        let params = &self.params;
        if params.temperature == 0.0 {
            return Ok(argmax(logits, &self.scratch.blocks));
        }
        if params.keeps_all() {
            let unit = self.random.unit();
            let blocks = &mut self.scratch.blocks;
            let softmax = Softmax::new(blocks.maximum, params.temperature);
            return Ok(draw_from_all(logits, blocks, softmax, unit));
        }
        keep(logits, params, &mut self.scratch);
        Ok(self.draw_of_kept(logits))
    }

    /// Draws of what the filters have kept of these logits.
    fn draw_of_kept(&mut self, logits: &[f32]) -> TokenId {
        self.reshape(logits);
        let candidates = &self.scratch.candidates;
        let token = draw(candidates, self.random.unit());
        if let Some(surprise) = &mut self.surprise {
            surprise.follow(candidates, token);
        }
        token
    }

    /// What comes behind the filters, which have kept some of these logits.
    fn reshape(&mut self, logits: &[f32]) {
        let params = &self.params;
        let candidates = &mut self.scratch.candidates;
        if let Some(xtc) = &params.xtc {
            xtc.leave_out(candidates, self.random.beside_next());
        }
        if let Some(dynamic) = &params.dynamic_temperature {
            dynamic.weigh(candidates, logits, params.temperature);
        }
        if let Some(surprise) = &self.surprise {
            surprise.keep(candidates);
        }
    }
}
