//! Rotary embeddings from config.json, in both generations of its keys.
//!
//! Older files hold `rope_theta` and `rope_scaling`, newer ones `rope_parameters` with everything in
//! it (Gemma 3: one such object a kind of layer). The rules for what wins and what is implied are
//! those of transformers 5.

use super::fields::Fields;
use super::limits;
use crate::Result;
use crate::model::spec::{RopeScaling, RopeSpec, YarnScaling};

/// What a family supplies where its file says nothing.
#[derive(Debug, Clone, Copy)]
pub(super) struct RopeDefaults {
    pub(super) base: f64,
    pub(super) head_dim: usize,
    pub(super) max_context: usize,
    /// The default of `original_max_position_embeddings` beside the RoPE object (Phi-3).
    pub(super) original_context: Option<usize>,
}

/// Every key that transformers knows in a RoPE object, but for those of multi-axis RoPE.
const KNOWN: [&str; 17] = [
    "rope_theta",
    "rope_type",
    "type",
    "partial_rotary_factor",
    "factor",
    "original_max_position_embeddings",
    "attention_factor",
    "beta_fast",
    "beta_slow",
    "short_factor",
    "long_factor",
    "low_freq_factor",
    "high_freq_factor",
    "mscale",
    "mscale_all_dim",
    "truncate",
    "finetuned",
];

/// The rotary embedding of a model that has one.
pub(super) fn single(config: &Fields, defaults: RopeDefaults) -> Result<Vec<RopeSpec>> {
    check_one_generation(config)?;
    let scaling = non_empty(config, "rope_scaling")?;
    let section = match scaling {
        Some(section) => Some(section),
        None => non_empty(config, "rope_parameters")?,
    };
    rope(config, section.as_ref(), "rope_theta", defaults).map(|rope| vec![rope])
}

/// Refuses a file with both generations' objects, if they differ.
pub(super) fn check_one_generation(config: &Fields) -> Result<()> {
    let (old, new) = ("rope_scaling", "rope_parameters");
    let both = non_empty(config, old)?.is_some() && non_empty(config, new)?.is_some();
    if both && config.get(old) != config.get(new) {
        return Err(config.refuse(old, "contradicts `rope_parameters`; keep one of the two"));
    }
    Ok(())
}

/// The object under `key`, unless it is empty.
pub(super) fn non_empty<'a>(config: &Fields<'a>, key: &str) -> Result<Option<Fields<'a>>> {
    let section = config.section(key)?;
    Ok(section.filter(|section| section.keys().next().is_some()))
}

/// One rotary embedding: from `section`, with `base_key` of the whole configuration for its base.
pub(super) fn rope(
    config: &Fields,
    section: Option<&Fields>,
    base_key: &str,
    defaults: RopeDefaults,
) -> Result<RopeSpec> {
    if let Some(section) = section {
        check_keys(section)?;
    }
    let number = |key: &str, outer: &str, allowed: &std::ops::RangeInclusive<f64>| {
        let inner = section.map(|section| section.number(key, allowed.clone()));
        match inner.transpose()?.flatten() {
            Some(value) => Ok(Some(value)),
            None => config.number(outer, allowed.clone()),
        }
    };
    let base = number("rope_theta", base_key, &limits::ROPE_BASE)?.unwrap_or(defaults.base);
    let partial = "partial_rotary_factor";
    let share = number(partial, partial, &(0.001..=1.0))?.unwrap_or(1.0);
    if share < 1.0 && defaults.original_context.is_none() {
        let holder = section.filter(|section| section.get(partial).is_some());
        let reason = "only Phi-3 turns a part of each head";
        return Err(holder.unwrap_or(config).refuse(partial, reason));
    }
    let scaling = match section {
        None => RopeScaling::None,
        Some(section) => Scaling {
            section,
            config,
            defaults,
        }
        .read()?,
    };
    Ok(RopeSpec {
        base: base as f32,
        dimensions: (defaults.head_dim as f64 * share) as usize,
        scaling,
    })
}

fn check_keys(section: &Fields) -> Result<()> {
    match section.keys().find(|key| !KNOWN.contains(key)) {
        None => Ok(()),
        Some(key) => Err(section.refuse(key, "this RoPE setting is not supported")),
    }
}

/// One RoPE object and what its scaling depends on outside of it.
struct Scaling<'s, 'a> {
    section: &'s Fields<'a>,
    config: &'s Fields<'a>,
    defaults: RopeDefaults,
}

impl Scaling<'_, '_> {
    fn read(&self) -> Result<RopeScaling> {
        let kind = self.kind()?;
        match kind {
            "default" => Ok(RopeScaling::None),
            "linear" => Ok(RopeScaling::Linear {
                factor: self.required("factor")?,
            }),
            "dynamic" => Ok(RopeScaling::DynamicNtk {
                factor: self.required("factor")?,
                original_context: self.defaults.max_context,
            }),
            // Phi-3's first files say `su` and `yarn` where they mean `longrope`.
            "longrope" => self.long_rope(),
            "su" | "yarn" if self.is_phi() => self.long_rope(),
            "yarn" => self.yarn(),
            "llama3" => Ok(RopeScaling::Llama3 {
                factor: self.required("factor")?,
                low_frequency_factor: self.required("low_freq_factor")?,
                high_frequency_factor: self.required("high_freq_factor")?,
                original_context: self.original_context()?,
            }),
            _ => Err(self.section.refuse(
                self.kind_key(),
                "known kinds of RoPE are default, linear, dynamic, yarn, longrope and llama3",
            )),
        }
    }

    fn is_phi(&self) -> bool {
        self.defaults.original_context.is_some()
    }

    fn kind_key(&self) -> &'static str {
        if self.section.get("rope_type").is_some() {
            "rope_type"
        } else {
            "type"
        }
    }

    fn kind(&self) -> Result<&str> {
        let (new, old) = (self.section.text("rope_type")?, self.section.text("type")?);
        match (new, old) {
            (Some(new), Some(old)) if new != old => Err(self.section.refuse(
                "type",
                &format!("contradicts `rope_type`, which is `{new}`"),
            )),
            (None, None) if self.section.get("factor").is_some() => Err(self
                .section
                .refuse("factor", "needs a `rope_type` that says how it is meant")),
            _ => Ok(new.or(old).unwrap_or("default")),
        }
    }

    fn factor(&self, key: &str) -> Result<Option<f64>> {
        self.section.number(key, limits::FACTOR)
    }

    fn required(&self, key: &str) -> Result<f32> {
        self.factor(key)?
            .map(|value| value as f32)
            .ok_or_else(|| self.section.refuse(key, "this kind of RoPE needs it"))
    }

    /// The trained context: in the RoPE object, or beside it, which wins for Phi-3; else the whole.
    fn original_context(&self) -> Result<usize> {
        const KEY: &str = "original_max_position_embeddings";
        let beside = self.config.count(KEY, limits::CONTEXT)?;
        let inside = self.section.count(KEY, limits::CONTEXT)?;
        let found = match self.defaults.original_context {
            Some(default) => Some(beside.unwrap_or(default)),
            None => inside.or(beside),
        };
        Ok(found.unwrap_or(self.defaults.max_context))
    }

    /// The stretch; the ratio of the two contexts where the file has none.
    fn stretch(&self, original_context: usize) -> Result<f64> {
        let ratio = self.defaults.max_context as f64 / original_context as f64;
        Ok(self.factor("factor")?.unwrap_or(ratio))
    }

    fn yarn(&self) -> Result<RopeScaling> {
        let original_context = self.original_context()?;
        let factor = self.stretch(original_context)?;
        let some = |value: Option<f64>| value.filter(|number| *number != 0.0);
        let multiplier = |key| self.section.number(key, 0.0..=1e6).map(some);
        let of = |multiplier| YarnScaling::default_magnitude(factor, multiplier);
        let implied = match (multiplier("mscale")?, multiplier("mscale_all_dim")?) {
            (Some(one), Some(all)) => of(one) / of(all),
            _ => of(1.0),
        };
        Ok(RopeScaling::Yarn(YarnScaling {
            factor: factor as f32,
            original_context,
            beta_fast: multiplier("beta_fast")?.unwrap_or(32.0) as f32,
            beta_slow: multiplier("beta_slow")?.unwrap_or(1.0) as f32,
            magnitude: self.factor("attention_factor")?.unwrap_or(implied) as f32,
            truncate: self.section.boolean("truncate")?.unwrap_or(true),
        }))
    }

    fn long_rope(&self) -> Result<RopeScaling> {
        let original_context = self.original_context()?;
        let factor = self.stretch(original_context)?;
        let implied = if factor <= 1.0 {
            1.0
        } else {
            (1.0 + factor.ln() / (original_context as f64).ln()).sqrt()
        };
        let divisors = |key| {
            self.section
                .divisors(key)?
                .ok_or_else(|| self.section.refuse(key, "longrope needs this list"))
        };
        Ok(RopeScaling::LongRope {
            short: divisors("short_factor")?,
            long: divisors("long_factor")?,
            original_context,
            magnitude: self.factor("attention_factor")?.unwrap_or(implied) as f32,
        })
    }
}
