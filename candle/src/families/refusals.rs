//! What candle does not have, by name and with what to do.

use ruvllm_core::model::spec::{AttentionInput, ModelSpec, RopeScaling, RopeSpec};
use ruvllm_core::{Error, Result};
use ruvllm_kernels::Activation;

use super::Fit;

/// The error for a model that candle does not compute as it says.
pub(super) fn refused(spec: &ModelSpec, what: &str) -> Error {
    let name = spec.name.as_deref().unwrap_or(&spec.architecture);
    Error::Model(format!(
        "candle does not compute {name} ({}) as its files say: {what}; use the native backend",
        spec.architecture
    ))
}

/// A model that fits as far as its windows do not matter.
pub(super) fn within_windows(spec: &ModelSpec) -> Fit {
    let windows = spec.layers.iter().filter_map(|layer| layer.window);
    let limit = windows.min().map(|window| {
        let why = format!(
            "candle looks beyond the window of {window} tokens that layers of this model have"
        );
        (window, why)
    });
    Fit { limit }
}

/// Heads that are as wide as the states divided among them.
pub(super) fn plain_heads(spec: &ModelSpec) -> Result<()> {
    if spec.head_dim * spec.num_heads == spec.hidden_size {
        return Ok(());
    }
    Err(refused(
        spec,
        &format!(
            "its heads are {} wide, and candle takes them as {} / {}",
            spec.head_dim, spec.hidden_size, spec.num_heads
        ),
    ))
}

/// Whole heads turned by one embedding, stretched in no way.
pub(super) fn plain_rope(spec: &ModelSpec) -> Result<&RopeSpec> {
    let [rope] = &spec.ropes[..] else {
        return Err(refused(spec, "it has several rotary embeddings"));
    };
    whole_heads(spec, rope)?;
    unscaled(spec, rope)?;
    Ok(rope)
}

/// An embedding that turns all of a head.
pub(super) fn whole_heads(spec: &ModelSpec, rope: &RopeSpec) -> Result<()> {
    if rope.dimensions == spec.head_dim {
        return Ok(());
    }
    Err(refused(
        spec,
        &format!(
            "its rotary embedding turns {} of a head's {} dimensions",
            rope.dimensions, spec.head_dim
        ),
    ))
}

/// An embedding that is stretched in no way.
pub(super) fn unscaled(spec: &ModelSpec, rope: &RopeSpec) -> Result<()> {
    let scaling = match rope.scaling {
        RopeScaling::None => return Ok(()),
        RopeScaling::Linear { .. } => "linear",
        RopeScaling::DynamicNtk { .. } => "dynamic NTK",
        RopeScaling::Yarn(_) => "YaRN",
        RopeScaling::Llama3 { .. } => "Llama 3's",
        RopeScaling::Divisors(_) => "a file's own divisors (rope_freqs.weight)",
        RopeScaling::LongRope { .. } => "long RoPE",
    };
    Err(refused(
        spec,
        &format!("its rotary embedding is scaled ({scaling})"),
    ))
}

/// Whether queries, keys and values have biases is as the family has it.
pub(super) fn biases(spec: &ModelSpec, wanted: bool) -> Result<()> {
    let input = &spec.tensors.layer.attention_input;
    let has = matches!(
        input,
        AttentionInput::Split {
            biases: Some(_),
            ..
        }
    );
    match (has, wanted) {
        (true, false) => Err(refused(spec, "its queries, keys and values have biases")),
        (false, true) => Err(refused(spec, "its queries, keys and values have no biases")),
        _ => Ok(()),
    }
}

/// The non-linearity that candle has for the family, whatever a file says.
pub(super) fn activation(spec: &ModelSpec, wanted: Activation) -> Result<()> {
    if spec.activation == wanted {
        return Ok(());
    }
    let what = format!(
        "its feed-forward gate is {:?}, and candle has {wanted:?}",
        spec.activation
    );
    Err(refused(spec, &what))
}

/// Scores scaled by the heads' width alone, and capped by nothing.
pub(super) fn plain_scores(spec: &ModelSpec) -> Result<()> {
    plain_scale(spec)?;
    if spec.attention_soft_cap.is_some() || spec.final_soft_cap.is_some() {
        return Err(refused(spec, "its scores or logits are capped"));
    }
    Ok(())
}

/// Scores scaled by the heads' width alone.
pub(super) fn plain_scale(spec: &ModelSpec) -> Result<()> {
    let usual = 1.0 / (spec.head_dim as f32).sqrt();
    if (spec.attention_scale / usual - 1.0).abs() > 1e-6 {
        return Err(refused(
            spec,
            &format!("its scores are scaled by {}", spec.attention_scale),
        ));
    }
    Ok(())
}
