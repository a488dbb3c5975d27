//! What no model may exceed, and what must hold between the fields of a spec.
//!
//! The bounds are far above every published model; they keep a hostile file from making the loader
//! reserve absurd buffers, and products of two sizes from overflowing.

use crate::model::spec::{ModelSpec, RopeScaling, RopeSpec};
use crate::{Error, Result};

/// Vocabulary, and the widths of the residual stream and the feed-forward half.
pub(super) const WIDTH: usize = 1 << 20;
/// Layers.
pub(super) const LAYERS: usize = 1024;
/// Query heads.
pub(super) const HEADS: usize = 4096;
/// Width of a head.
pub(super) const HEAD_DIM: usize = 1024;
/// Positions: beyond these, f32 does not hold every one.
pub(super) const CONTEXT: usize = 1 << 24;
/// Bases of rotary frequencies.
pub(super) const ROPE_BASE: std::ops::RangeInclusive<f64> = 1.001..=1e15;
/// Stretches and other factors.
pub(super) const FACTOR: std::ops::RangeInclusive<f64> = 1e-6..=1e6;
/// Epsilons of norms.
pub(super) const EPSILON: std::ops::RangeInclusive<f64> = 1e-30..=1.0;

/// A spec that a family has filled, checked, with the context that its RoPE reaches.
pub(super) fn checked(mut spec: ModelSpec) -> Result<ModelSpec> {
    check(&spec)?;
    let reached = spec.ropes.iter().map(|rope| reach(&rope.scaling));
    spec.max_context = reached.fold(spec.max_context, usize::max).min(CONTEXT);
    Ok(spec)
}

/// How many tokens a scaling is for, where files give the length before it as the model's own.
///
/// Dynamic NTK counts from `max_position_embeddings`, so that it would never begin; a file that is
/// given YaRN by hand, as Qwen 2.5's documentation says, keeps the trained length there. Linear
/// scaling is not among them: some files count its stretch in and some do not.
fn reach(scaling: &RopeScaling) -> usize {
    match scaling {
        RopeScaling::DynamicNtk {
            factor,
            original_context,
        } => stretched(*original_context, *factor),
        RopeScaling::Yarn(yarn) => stretched(yarn.original_context, yarn.factor),
        _ => 0,
    }
}

fn stretched(original_context: usize, factor: f32) -> usize {
    (original_context as f64 * f64::from(factor)) as usize
}

/// Checks what must hold between fields, once a family has filled all of them.
fn check(spec: &ModelSpec) -> Result<()> {
    let rules = [
        (
            spec.num_heads.is_multiple_of(spec.num_kv_heads),
            format!(
                "{} query heads must be a multiple of {} key-value heads",
                spec.num_heads, spec.num_kv_heads
            ),
        ),
        (
            (1..=HEAD_DIM).contains(&spec.head_dim),
            format!(
                "the width of a head is {}; it must be from 1 to {HEAD_DIM}",
                spec.head_dim
            ),
        ),
        (
            spec.attention_scale.is_normal() && spec.attention_scale > 0.0,
            format!(
                "the attention scale is {}; it must be positive",
                spec.attention_scale
            ),
        ),
    ];
    for (holds, message) in rules {
        if !holds {
            return Err(Error::Model(format!("{}: {message}", spec.architecture)));
        }
    }
    spec.ropes
        .iter()
        .try_for_each(|rope| check_rope(rope, spec.head_dim))
        .map_err(|message| Error::Model(format!("{}: {message}", spec.architecture)))
}

fn check_rope(rope: &RopeSpec, head_dim: usize) -> std::result::Result<(), String> {
    let dimensions = rope.dimensions;
    if dimensions == 0 || !dimensions.is_multiple_of(2) || dimensions > head_dim {
        return Err(format!(
            "{dimensions} rotary dimensions; they must be even and from 2 to the width of a head, {head_dim}"
        ));
    }
    match &rope.scaling {
        RopeScaling::DynamicNtk { .. } if dimensions == 2 => {
            Err("dynamic RoPE scaling needs more than 2 rotary dimensions".into())
        }
        RopeScaling::Yarn(yarn) => {
            if yarn.beta_fast > yarn.beta_slow {
                check_magnitude(yarn.magnitude)
            } else {
                Err(format!(
                    "YaRN's beta_fast is {}; it must exceed beta_slow, {}",
                    yarn.beta_fast, yarn.beta_slow
                ))
            }
        }
        RopeScaling::Llama3 {
            low_frequency_factor: low,
            high_frequency_factor: high,
            ..
        } if high <= low => Err(format!(
            "RoPE's high_freq_factor is {high}; it must exceed low_freq_factor, {low}"
        )),
        RopeScaling::Divisors(divisors) => check_divisors("rope_freqs", divisors, dimensions),
        RopeScaling::LongRope {
            short,
            long,
            magnitude,
            ..
        } => {
            check_divisors("short", short, dimensions)?;
            check_divisors("long", long, dimensions)?;
            check_magnitude(*magnitude)
        }
        _ => Ok(()),
    }
}

fn check_divisors(
    name: &str,
    divisors: &[f32],
    dimensions: usize,
) -> std::result::Result<(), String> {
    if divisors.len() != dimensions / 2 {
        return Err(format!(
            "{} rotary factors ({name}); there must be {}, one for each pair of rotary dimensions",
            divisors.len(),
            dimensions / 2
        ));
    }
    match divisors
        .iter()
        .find(|divisor| !divisor.is_normal() || **divisor < 0.0)
    {
        None => Ok(()),
        Some(divisor) => Err(format!(
            "a rotary factor ({name}) is {divisor}; each must be a number greater than 0"
        )),
    }
}

fn check_magnitude(magnitude: f32) -> std::result::Result<(), String> {
    if magnitude.is_normal() && magnitude > 0.0 {
        Ok(())
    } else {
        Err(format!(
            "RoPE's attention factor is {magnitude}; it must be a number greater than 0"
        ))
    }
}
