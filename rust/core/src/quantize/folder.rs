//! A folder of safetensors as a GGUF file: names, the order of rows, norms, and what the metadata says.
//!
//! What the folder's configuration means stands in its [`ModelSpec`] already. The file that would come of it is read
//! back as any other GGUF file is, before a byte is written, and must mean the same: what GGUF has no word for is
//! refused by name.

use ruvllm_formats::{ModelFiles, TensorType};
use ruvllm_kernels::quant::{BlockType, decode};

use super::outgoing::{Origin, Outgoing, Plan, Unwritten};
use super::said::Said;
use crate::error::{Error, Result};
use crate::model::families::{in_gguf, spec_from_files, spec_of_gguf};
use crate::model::spec::{
    AttentionInput, FeedForwardInput, ModelSpec, RopeScaling, RopeSpec, RotaryLayout,
};

/// Divisors of rotary frequencies: Llama 3's, and those of Phi-3 up to and beyond its trained context.
const DIVISORS: &str = "rope_freqs.weight";
const SHORT: &str = "rope_factors_short.weight";
const LONG: &str = "rope_factors_long.weight";

/// What goes into the file of a folder.
pub(super) fn plan(files: &ModelFiles) -> Result<Plan> {
    let spec = spec_from_files(files)?;
    let Some(family) = in_gguf(&spec.architecture) else {
        return Err(Error::Model(format!(
            "GGUF has no name for the architecture '{}'",
            spec.architecture
        )));
    };
    let mut tensors = Tensors {
        files,
        spec: &spec,
        adjacent: family.rotary_layout == RotaryLayout::AdjacentPairs,
        planned: Vec::new(),
    };
    tensors.all()?;
    let tensors = tensors.planned;
    let said = Said::of(&spec, family.architecture);
    let metadata = said.metadata();
    check_same(
        &spec,
        &spec_of_gguf(&metadata, &Unwritten(&tensors))?,
        family.architecture,
    )?;
    Ok(Plan {
        said: said.entries(),
        tensors,
        metadata,
    })
}

/// Tensors being planned.
struct Tensors<'a> {
    files: &'a ModelFiles,
    spec: &'a ModelSpec,
    /// Whether the file wants dimensions side by side that turn together.
    adjacent: bool,
    planned: Vec<Outgoing>,
}

impl Tensors<'_> {
    fn all(&mut self) -> Result<()> {
        let spec = self.spec;
        let names = &spec.tensors;
        match &spec.ropes[0].scaling {
            RopeScaling::LongRope { short, long, .. } => {
                self.values(LONG, long.clone());
                self.values(SHORT, short.clone());
            }
            RopeScaling::Llama3 { .. } => self.values(DIVISORS, divisors(&spec.ropes[0])),
            _ => {}
        }
        let vocabulary = [spec.vocab_size, spec.hidden_size];
        self.matrix(&names.embedding, "token_embd.weight", vocabulary, None)?;
        for layer in 0..spec.layers.len() {
            self.layer(layer)?;
        }
        self.norm(&names.output_norm, "output_norm.weight", spec.hidden_size)?;
        let bytes = |name: &String| self.files.tensor(name).map(|(_, bytes)| bytes);
        match &names.output {
            Some(head)
                if names.tied
                    && bytes(head).is_none_or(|own| Some(own) == bytes(&names.embedding)) =>
            {
                Ok(())
            }
            Some(head) => self.matrix(head, "output.weight", vocabulary, None),
            None => Ok(()),
        }
    }

    fn layer(&mut self, layer: usize) -> Result<()> {
        self.attention(layer)?;
        let (spec, hidden) = (self.spec, self.spec.hidden_size);
        let names = &spec.tensors.layer;
        let theirs = |name: &String| name.replace("{}", &layer.to_string());
        let ours = |name: &str| format!("blk.{layer}.{name}");
        let optional = [
            (&names.query_norm, "attn_q_norm.weight", spec.head_dim),
            (&names.key_norm, "attn_k_norm.weight", spec.head_dim),
            (
                &names.post_attention_norm,
                "post_attention_norm.weight",
                hidden,
            ),
            (
                &names.post_feed_forward_norm,
                "post_ffw_norm.weight",
                hidden,
            ),
        ];
        for (name, new, length) in optional {
            if let Some(name) = name {
                self.norm(&theirs(name), &ours(new), length)?;
            }
        }
        let output = theirs(&names.attention_output);
        let shape = [hidden, spec.num_heads * spec.head_dim];
        self.matrix(&output, &ours("attn_output.weight"), shape, None)?;
        let norm = theirs(&names.feed_forward_norm);
        self.norm(&norm, &ours("ffn_norm.weight"), hidden)?;
        let inner = spec.feed_forward_size;
        match &names.feed_forward_input {
            FeedForwardInput::Fused(both) => {
                let shape = [2 * inner, hidden];
                self.matrix(&theirs(both), &ours("ffn_up.weight"), shape, None)?;
            }
            FeedForwardInput::Split { gate, up } => {
                let shape = [inner, hidden];
                self.matrix(&theirs(gate), &ours("ffn_gate.weight"), shape, None)?;
                self.matrix(&theirs(up), &ours("ffn_up.weight"), shape, None)?;
            }
        }
        let down = theirs(&names.feed_forward_output);
        self.matrix(&down, &ours("ffn_down.weight"), [hidden, inner], None)
    }

    /// What makes queries, keys and values.
    fn attention(&mut self, layer: usize) -> Result<()> {
        let (spec, hidden) = (self.spec, self.spec.hidden_size);
        let names = &spec.tensors.layer;
        let theirs = |name: &String| name.replace("{}", &layer.to_string());
        let ours = |name: &str| format!("blk.{layer}.{name}");
        let queries = spec.num_heads * spec.head_dim;
        let keys = spec.num_kv_heads * spec.head_dim;
        let norm = theirs(&names.attention_norm);
        self.norm(&norm, &ours("attn_norm.weight"), hidden)?;
        let (parts, biases) = match &names.attention_input {
            AttentionInput::Fused(all) => {
                let shape = [queries + 2 * keys, hidden];
                return self.matrix(&theirs(all), &ours("attn_qkv.weight"), shape, None);
            }
            AttentionInput::Split {
                query,
                key,
                value,
                biases,
            } => (
                [
                    (query, "attn_q", queries, spec.num_heads),
                    (key, "attn_k", keys, spec.num_kv_heads),
                    (value, "attn_v", keys, 0),
                ],
                biases,
            ),
        };
        for (index, (name, new, length, turned)) in parts.into_iter().enumerate() {
            let order = self.order(turned);
            let weight = ours(&format!("{new}.weight"));
            self.matrix(&theirs(name), &weight, [length, hidden], order.clone())?;
            if let Some(biases) = biases {
                let bias = self.read(&theirs(&biases[index]), length)?;
                let bias = match order {
                    None => bias,
                    Some(order) => order.iter().map(|row| bias[*row as usize]).collect(),
                };
                self.values(&ours(&format!("{new}.bias")), bias);
            }
        }
        Ok(())
    }

    /// For each row of the file where it stands in the folder, whose heads' halves turn together.
    fn order(&self, heads: usize) -> Option<Vec<u32>> {
        let head_dim = self.spec.head_dim;
        (self.adjacent && heads > 0).then(|| {
            let rows = 0..heads * head_dim;
            let row = |row: usize| {
                let (head, dimension) = (row / head_dim, row % head_dim);
                head * head_dim + dimension % 2 * (head_dim / 2) + dimension / 2
            };
            rows.map(|each| row(each) as u32).collect()
        })
    }

    fn matrix(
        &mut self,
        name: &str,
        new: &str,
        shape: [usize; 2],
        order: Option<Vec<u32>>,
    ) -> Result<()> {
        let (info, _) = self.files.tensor(name).ok_or_else(|| missing(name))?;
        check_shape(name, &info.shape, &shape)?;
        self.planned.push(Outgoing {
            name: new.to_owned(),
            shape: info.shape.clone(),
            kept_type: info.tensor_type,
            origin: Origin::Tensor(name.to_owned(), order),
        });
        Ok(())
    }

    /// A norm's weights as the file has them: whole, where the folder's lack a 1.
    fn norm(&mut self, name: &str, new: &str, length: usize) -> Result<()> {
        let mut weights = self.read(name, length)?;
        for weight in &mut weights {
            *weight += self.spec.norm_weight_offset;
        }
        self.values(new, weights);
        Ok(())
    }

    fn values(&mut self, new: &str, values: Vec<f32>) {
        self.planned.push(Outgoing {
            name: new.to_owned(),
            shape: vec![values.len()],
            kept_type: TensorType::F32,
            origin: Origin::Values(values),
        });
    }

    /// The numbers of a vector.
    fn read(&self, name: &str, length: usize) -> Result<Vec<f32>> {
        let (info, bytes) = self.files.tensor(name).ok_or_else(|| missing(name))?;
        check_shape(name, &info.shape, &[length])?;
        let block_type = BlockType::from_name(info.tensor_type.name());
        let mut values = vec![0.0; info.element_count()];
        let is_read = block_type.is_some_and(|kind| decode(kind, bytes, &mut values).is_ok());
        if !is_read || !values.iter().all(|value| value.is_finite()) {
            return Err(Error::Model(format!(
                "tensor '{name}' has a value that is no finite number, or a type that is not read"
            )));
        }
        Ok(values)
    }
}

fn check_shape(name: &str, found: &[usize], expected: &[usize]) -> Result<()> {
    if found == expected {
        return Ok(());
    }
    Err(Error::Model(format!(
        "tensor '{name}' has shape {found:?}, where the configuration says {expected:?}"
    )))
}

fn missing(name: &str) -> Error {
    Error::Model(format!("tensor '{name}' is missing"))
}

/// What the rotary frequencies of a scaling are divided by.
fn divisors(rope: &RopeSpec) -> Vec<f32> {
    let plain = RopeSpec {
        scaling: RopeScaling::None,
        ..rope.clone()
    };
    let (plain, scaled) = (plain.frequencies(1).inverse, rope.frequencies(1).inverse);
    plain
        .iter()
        .zip(scaled)
        .map(|(plain, scaled)| plain / scaled)
        .collect()
}

/// Refuses a folder that means something else than the file would.
fn check_same(folder: &ModelSpec, file: &ModelSpec, architecture: &str) -> Result<()> {
    let ropes: Vec<_> = folder
        .ropes
        .iter()
        .map(|rope| match rope.scaling {
            RopeScaling::Llama3 { .. } => RopeSpec {
                scaling: RopeScaling::Divisors(divisors(rope)),
                ..rope.clone()
            },
            _ => rope.clone(),
        })
        .collect();
    let compared = [
        (
            "layers, their windows or their kinds",
            folder.layers == file.layers,
        ),
        ("rotary embedding", ropes == file.ropes),
        ("activation", folder.activation == file.activation),
        (
            "scale of attention",
            folder.attention_scale == file.attention_scale,
        ),
        (
            "scale of the embedding",
            folder.embedding_scale == file.embedding_scale,
        ),
        (
            "soft caps",
            (folder.attention_soft_cap, folder.final_soft_cap)
                == (file.attention_soft_cap, file.final_soft_cap),
        ),
        (
            "sizes",
            (
                folder.vocab_size,
                folder.hidden_size,
                folder.feed_forward_size,
            ) == (file.vocab_size, file.hidden_size, file.feed_forward_size)
                && (folder.num_heads, folder.num_kv_heads, folder.head_dim)
                    == (file.num_heads, file.num_kv_heads, file.head_dim)
                && (folder.max_context, folder.norm_epsilon)
                    == (file.max_context, file.norm_epsilon),
        ),
    ];
    match compared.iter().find(|(_, is_same)| !is_same) {
        None => Ok(()),
        Some((what, _)) => Err(Error::Model(format!(
            "the {what} of this {} cannot be said in a GGUF file of the architecture '{architecture}', \
             which would answer otherwise",
            folder.architecture
        ))),
    }
}
