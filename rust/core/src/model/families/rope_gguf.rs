//! Rotary embeddings from GGUF metadata and the tensors that hold their divisors.

use super::fields::Fields;
use super::limits;
use super::source::{GgufSource, StoredTensors};
use crate::model::spec::{RopeScaling, RopeSpec, YarnScaling};
use crate::{Error, Result};

/// Llama 3's divisors.
const DIVISORS: &str = "rope_freqs.weight";
/// Phi-3's divisors up to its trained context.
const SHORT: &str = "rope_factors_short.weight";
/// Phi-3's divisors beyond its trained context.
const LONG: &str = "rope_factors_long.weight";

/// The rotary embedding, and the tensors that went into it.
pub(super) fn single(
    source: &GgufSource,
    head_dim: usize,
    max_context: usize,
) -> Result<(RopeSpec, Vec<String>)> {
    let keys = source.fields();
    let reader = Reader {
        keys: &keys,
        tensors: source.tensors,
        max_context,
    };
    let base = keys.number("rope.freq_base", limits::ROPE_BASE)?;
    let dimensions = keys.count("rope.dimension_count", limits::HEAD_DIM)?;
    let (scaling, consumed) = reader.scaling()?;
    let rope = RopeSpec {
        base: base.unwrap_or(10_000.0) as f32,
        dimensions: dimensions.unwrap_or(head_dim),
        scaling,
    };
    Ok((rope, consumed))
}

struct Reader<'s> {
    keys: &'s Fields<'s>,
    tensors: &'s dyn StoredTensors,
    max_context: usize,
}

impl Reader<'_> {
    fn scaling(&self) -> Result<(RopeScaling, Vec<String>)> {
        const KIND: &str = "rope.scaling.type";
        let kind = self.keys.text(KIND)?;
        let has_long = self.tensors.has(SHORT) || self.tensors.has(LONG);
        match kind {
            Some("longrope") => self.long_rope(),
            None | Some("none") if has_long => self.long_rope(),
            Some("yarn") => self.yarn().map(|scaling| (scaling, Vec::new())),
            // A factor without a kind is linear: files older than the kinds.
            None | Some("linear") => self.linear(),
            Some("none") => self.stretched(1.0),
            Some(_) => Err(self
                .keys
                .refuse(KIND, "known kinds are none, linear, yarn and longrope")),
        }
    }

    fn linear(&self) -> Result<(RopeScaling, Vec<String>)> {
        let factor = match self.factor("rope.scaling.factor")? {
            Some(factor) => factor,
            None => self.factor("rope.scale_linear")?.unwrap_or(1.0),
        };
        self.stretched(factor)
    }

    /// Frequencies divided by `factor` and by the file's divisors, if it has any.
    fn stretched(&self, factor: f64) -> Result<(RopeScaling, Vec<String>)> {
        const MAGNITUDE: &str = "rope.scaling.attn_factor";
        if self.factor(MAGNITUDE)?.unwrap_or(1.0) != 1.0 {
            let reason = "only 1 is supported without yarn or longrope";
            return Err(self.keys.refuse(MAGNITUDE, reason));
        }
        let factor = factor as f32;
        Ok(match self.tensors.read(DIVISORS)? {
            Some(mut divisors) => {
                for divisor in &mut divisors {
                    *divisor *= factor;
                }
                (RopeScaling::Divisors(divisors), vec![DIVISORS.to_owned()])
            }
            None if factor == 1.0 => (RopeScaling::None, Vec::new()),
            None => (RopeScaling::Linear { factor }, Vec::new()),
        })
    }

    fn yarn(&self) -> Result<RopeScaling> {
        const FACTOR: &str = "rope.scaling.factor";
        if self.tensors.has(DIVISORS) {
            let reason = "yarn together with the tensor rope_freqs.weight is not supported";
            return Err(self.keys.refuse("rope.scaling.type", reason));
        }
        let factor = self
            .factor(FACTOR)?
            .ok_or_else(|| self.keys.refuse(FACTOR, "yarn needs it"))?;
        let beta = |key| self.keys.number(key, limits::FACTOR);
        let mut magnitude = YarnScaling::default_magnitude(factor, 1.0);
        let multiplier = self
            .keys
            .number("rope.scaling.yarn_log_multiplier", 0.0..=1e6)?;
        if let Some(multiplier) = multiplier.filter(|value| *value != 0.0) {
            magnitude /= YarnScaling::default_magnitude(factor, multiplier);
        }
        magnitude *= self.factor("rope.scaling.attn_factor")?.unwrap_or(1.0);
        Ok(RopeScaling::Yarn(YarnScaling {
            factor: factor as f32,
            original_context: self.original_context()?,
            beta_fast: beta("rope.scaling.yarn_beta_fast")?.unwrap_or(32.0) as f32,
            beta_slow: beta("rope.scaling.yarn_beta_slow")?.unwrap_or(1.0) as f32,
            magnitude: magnitude as f32,
            truncate: true,
        }))
    }

    fn long_rope(&self) -> Result<(RopeScaling, Vec<String>)> {
        let divisors = |name: &str| {
            self.tensors.read(name)?.ok_or_else(|| {
                Error::Model(format!(
                    "GGUF: longrope needs the tensor `{name}`, which is missing"
                ))
            })
        };
        let magnitude = self.factor("rope.scaling.attn_factor")?.unwrap_or(1.0);
        let scaling = RopeScaling::LongRope {
            short: divisors(SHORT)?,
            long: divisors(LONG)?,
            original_context: self.original_context()?,
            magnitude: magnitude as f32,
        };
        Ok((scaling, vec![LONG.to_owned(), SHORT.to_owned()]))
    }

    /// A factor; 0 stands for none, as in llama.cpp.
    fn factor(&self, key: &str) -> Result<Option<f64>> {
        let found = self.keys.number(key, 0.0..=*limits::FACTOR.end())?;
        Ok(found.filter(|factor| *factor != 0.0))
    }

    fn original_context(&self) -> Result<usize> {
        let found = self
            .keys
            .count("rope.scaling.original_context_length", limits::CONTEXT)?;
        Ok(found.unwrap_or(self.max_context))
    }
}
