//! What part of a model a tensor is, and where in it: by that it gets more bits or fewer.

use ruvllm_formats::Metadata;

use super::outgoing::Outgoing;

/// Layers of a model so deep that several heads share their values with few more bytes.
const DEEP_LAYERS: u32 = 80;
/// Heads that share keys and values from which on these are small beside the rest.
const MANY_SHARE: u32 = 4;
/// Experts of the models for which more is spent on what all of them share.
const FEW_EXPERTS: u32 = 8;

/// The maps of a model that are told apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Part {
    /// The head, or the embedding where it is the head as well.
    Head,
    /// Values of attention, alone or with queries and keys.
    Values,
    /// Keys of attention.
    Keys,
    /// What attention gives.
    AttentionOutput,
    /// The last of the feed-forward maps.
    Down,
    /// Any other matrix.
    Matrix,
    /// What is not quantized: norms, biases, tables.
    Kept,
}

/// What part a tensor is, which of them, and of how many.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Kind {
    pub(super) part: Part,
    pub(super) index: usize,
    pub(super) of: usize,
    /// Four query heads or more share keys and values.
    pub(super) many_share: bool,
    /// Several heads do, in a model of 80 layers.
    pub(super) is_deep: bool,
    /// It has eight experts.
    pub(super) has_experts: bool,
}

/// Those of all tensors of a file that says this.
pub(super) fn kinds(tensors: &[Outgoing], metadata: &Metadata) -> Vec<Kind> {
    let is_tied = tensors.iter().all(|one| one.name != "output.weight");
    let parts: Vec<_> = tensors
        .iter()
        .map(|info| part_of(&info.name, &info.shape, is_tied))
        .collect();
    let layers: Vec<_> = tensors.iter().map(|info| layer_of(&info.name)).collect();
    let layers_of = |part: Part| -> Vec<usize> {
        let all = parts.iter().zip(&layers);
        all.filter(|(found, _)| **found == part)
            .map(|(_, layer)| *layer)
            .collect()
    };
    let (values, downs) = (layers_of(Part::Values), layers_of(Part::Down));
    let model = Shape::of(metadata);
    parts
        .iter()
        .zip(&layers)
        .map(|(&part, &layer)| {
            let (index, of) = match part {
                Part::Values => (before(&values, layer), values.len()),
                Part::Down if model.experts > 1 => (layer, model.layers as usize),
                Part::Down => (before(&downs, layer), model.layers as usize),
                _ => (0, 0),
            };
            Kind {
                part,
                index,
                of,
                many_share: model.sharing >= MANY_SHARE,
                is_deep: model.layers == DEEP_LAYERS && model.sharing > 1,
                has_experts: model.experts == FEW_EXPERTS,
            }
        })
        .collect()
}

fn before(layers: &[usize], layer: usize) -> usize {
    layers.iter().filter(|other| **other < layer).count()
}

/// What the metadata says of the whole.
struct Shape {
    layers: u32,
    experts: u32,
    /// Query heads for each head of keys and values.
    sharing: u32,
}

impl Shape {
    fn of(metadata: &Metadata) -> Self {
        let number = |name: &str| -> Option<u32> {
            let architecture = metadata.get_str("general.architecture")?;
            metadata.get_u32(&format!("{architecture}.{name}"))
        };
        let heads = number("attention.head_count").unwrap_or(1);
        let shared = number("attention.head_count_kv").unwrap_or(heads);
        Self {
            layers: number("block_count").unwrap_or(0),
            experts: number("expert_count").unwrap_or(0),
            sharing: heads / shared.max(1),
        }
    }
}

/// The layer that a name has, 0 without one.
fn layer_of(name: &str) -> usize {
    let number = name
        .strip_prefix("blk.")
        .and_then(|rest| rest.split('.').next());
    number.and_then(|number| number.parse().ok()).unwrap_or(0)
}

/// Parts of names whose matrices are too small to gain anything, or choose instead of computing.
const KEPT: [&str; 11] = [
    "_norm.weight",
    "ffn_gate_inp.weight",
    "ffn_gate_tid2eid.weight",
    "altup",
    "laurel",
    "per_layer_model_proj",
    "ssm_conv1d",
    "shortconv.conv.weight",
    "indexer.",
    "position_embd.weight",
    "token_types.weight",
];

fn part_of(name: &str, shape: &[usize], is_tied: bool) -> Part {
    let matrix = shape
        .iter()
        .skip_while(|dimension| **dimension == 1)
        .count()
        >= 2;
    if !matrix || !name.ends_with("weight") || KEPT.iter().any(|kept| name.contains(kept)) {
        return Part::Kept;
    }
    let has = |part: &str| name.contains(part);
    match name {
        "output.weight" => Part::Head,
        "token_embd.weight" | "per_layer_token_embd.weight" if is_tied => Part::Head,
        "token_embd.weight" | "per_layer_token_embd.weight" => Part::Matrix,
        _ if has("attn_qkv.weight") || has("attn_kv_b.weight") || has("attn_v.weight") => {
            Part::Values
        }
        _ if has("attn_k.weight") => Part::Keys,
        _ if has("attn_output.weight") => Part::AttentionOutput,
        _ if has("ffn_down") => Part::Down,
        _ => Part::Matrix,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_by_their_names() {
        let cases = [
            ("token_embd.weight", &[100, 64][..], Part::Head),
            ("output.weight", &[100, 64], Part::Head),
            ("output_norm.weight", &[64], Part::Kept),
            ("blk.3.attn_norm.weight", &[1, 64], Part::Kept),
            ("blk.3.attn_v.weight", &[64, 64], Part::Values),
            ("blk.3.attn_qkv.weight", &[64, 64], Part::Values),
            ("blk.3.attn_v.bias", &[64, 64], Part::Kept),
            ("blk.3.attn_k.weight", &[64, 64], Part::Keys),
            ("blk.3.attn_q.weight", &[64, 64], Part::Matrix),
            ("blk.3.attn_output.weight", &[64, 64], Part::AttentionOutput),
            ("blk.3.ffn_down.weight", &[64, 64], Part::Down),
            ("blk.3.ffn_down_exps.weight", &[8, 64, 64], Part::Down),
            ("blk.3.ffn_gate_inp.weight", &[8, 64], Part::Kept),
            ("blk.3.ffn_up.weight", &[1, 1, 64], Part::Kept),
        ];
        for (name, shape, expected) in cases {
            assert_eq!(part_of(name, shape, true), expected, "{name}");
        }
        assert_eq!(
            part_of("token_embd.weight", &[100, 64], false),
            Part::Matrix
        );
        assert_eq!(
            [layer_of("blk.12.ffn_up.weight"), layer_of("output.weight")],
            [12, 0]
        );
    }
}
