//! From an adapter's matrices, named as in the files that hold them, to what this model's products add.

use ruvllm_kernels::LORA_PANEL;

use crate::error::{Error, Result};
use crate::lora::{Adapter, AdapterBuilder, Matrix, PlacedPart, Site};

use super::Model;
use super::families;
use super::spec::AttentionInput;
use super::weight_reader::rotary_order;

/// The linear maps that an adapter may change, by their names in PEFT's files.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Module {
    /// `q_proj`
    Query,
    /// `k_proj`
    Key,
    /// `v_proj`
    Value,
    /// `qkv_proj`, where the model has the three in one.
    QueryKeyValue,
    /// `o_proj`
    AttentionOutput,
    /// `gate_proj`
    Gate,
    /// `up_proj`
    Up,
    /// `gate_up_proj`, where the model has the two in one.
    GateUp,
    /// `down_proj`
    Down,
}

impl Module {
    /// All of them, by those names.
    pub const NAMES: [(&'static str, Self); 9] = [
        ("q_proj", Self::Query),
        ("k_proj", Self::Key),
        ("v_proj", Self::Value),
        ("qkv_proj", Self::QueryKeyValue),
        ("o_proj", Self::AttentionOutput),
        ("gate_proj", Self::Gate),
        ("up_proj", Self::Up),
        ("gate_up_proj", Self::GateUp),
        ("down_proj", Self::Down),
    ];
}

/// What an adapter adds to one linear map: `scale * B A`.
#[derive(Debug, Clone, Copy)]
pub struct AdapterPart<'a> {
    /// Which layer.
    pub layer: usize,
    /// Which map of it.
    pub module: Module,
    /// `[rank, inputs]`
    pub a: Matrix<'a>,
    /// `[outputs, rank]`
    pub b: Matrix<'a>,
    /// What the product is multiplied with: alpha / rank, most often.
    pub scale: f32,
    /// Whether rows of B for Q and K stand as in a GGUF file of the model, whatever it was read from.
    pub in_file_order: bool,
}

impl AdapterPart<'_> {
    /// An error that says which part it is about.
    fn named(&self, error: Error) -> Error {
        let mut names = Module::NAMES.iter();
        let name = names.find(|(_, module)| *module == self.module);
        let (name, layer) = (name.map_or("", |(name, _)| name), self.layer);
        match error {
            Error::Adapter(what) => Error::Adapter(format!("{name} of layer {layer}: {what}")),
            other => other,
        }
    }
}

/// Where a linear map stands in a layer.
#[derive(Debug)]
pub(crate) struct Place {
    pub(crate) site: Site,
    pub(crate) inputs: usize,
    /// Among those of all maps of the site.
    pub(crate) first_output: usize,
    pub(crate) outputs: usize,
}

impl Model {
    /// An adapter for this model, every matrix of which fits; `generation` names it among all.
    pub fn adapter(&self, parts: &[AdapterPart<'_>], generation: u64) -> Result<Adapter> {
        let placed = parts.iter().map(|part| {
            let placed = self.placed(part);
            placed.map_err(|error| part.named(error))
        });
        let placed = placed.collect::<Result<Vec<_>>>()?;
        let (layers, is_single_precision) = (self.header.spec.layers.len(), self.is_exact());
        let mut builder = AdapterBuilder::new(layers, is_single_precision, &placed)?;
        for (index, part) in parts.iter().enumerate() {
            builder.write(index).map_err(|error| part.named(error))?;
        }
        Ok(builder.build(generation))
    }

    /// Bytes that such an adapter takes; parts that do not fit are found by [`Self::adapter`].
    pub fn adapter_bytes(&self, parts: &[AdapterPart<'_>]) -> usize {
        let size = if self.is_exact() { 4 } else { 2 };
        let numbers = |part: &AdapterPart<'_>| {
            let filled_up = part.b.rows.next_multiple_of(LORA_PANEL);
            let b = filled_up.saturating_mul(part.b.columns);
            part.a.values.len().saturating_add(b)
        };
        let numbers = parts.iter().map(numbers);
        numbers
            .fold(0_usize, usize::saturating_add)
            .saturating_mul(size)
    }

    /// Inputs and outputs of a linear map, the same in every layer.
    pub fn map_shape(&self, module: Module) -> Result<(usize, usize)> {
        let place = self.place_of(module)?;
        Ok((place.inputs, place.outputs))
    }

    /// Where a part stands, if it fits.
    fn placed<'a>(&self, part: &AdapterPart<'a>) -> Result<PlacedPart<'a>> {
        let refuse = |what: String| Err(Error::Adapter(what));
        let layers = self.header.spec.layers.len();
        if part.layer >= layers {
            return refuse(format!("the model has {layers} layers"));
        }
        let place = self.place_of(part.module)?;
        let AdapterPart { a, b, .. } = part;
        for (name, matrix) in [("A", a), ("B", b)] {
            if matrix.rows.checked_mul(matrix.columns) != Some(matrix.values.len()) {
                return refuse(format!(
                    "{name} is not {} rows of {}",
                    matrix.rows, matrix.columns
                ));
            }
        }
        if a.rows == 0 || a.rows != b.columns {
            return refuse(format!(
                "A has {} rows and B {} columns: the rank",
                a.rows, b.columns
            ));
        }
        if (a.columns, b.rows) != (place.inputs, place.outputs) {
            return refuse(format!(
                "it maps {} inputs to {} outputs, the model's {} to {}",
                a.columns, b.rows, place.inputs, place.outputs
            ));
        }
        let order = match part.module {
            Module::Query if part.in_file_order => self.gguf_order(self.header.spec.num_heads),
            Module::Key if part.in_file_order => self.gguf_order(self.header.spec.num_kv_heads),
            _ => None,
        };
        Ok(PlacedPart {
            layer: part.layer,
            site: place.site,
            first_output: place.first_output,
            a: part.a,
            b: part.b,
            order,
            scale: part.scale,
        })
    }

    /// The architecture's name in GGUF files.
    pub fn gguf_architecture(&self) -> &str {
        let named = &self.header.spec.architecture;
        families::in_gguf(named).map_or(named, |family| family.architecture)
    }

    /// Where a GGUF file of this model has each row of Q or K; `None` where they stand as here.
    fn gguf_order(&self, heads: usize) -> Option<Vec<u32>> {
        let family = families::in_gguf(&self.header.spec.architecture)?;
        rotary_order(family.rotary_layout, heads, self.header.spec.head_dim)
    }

    /// Where a map stands, the same in every layer.
    pub(crate) fn place_of(&self, module: Module) -> Result<Place> {
        let spec = &self.header.spec;
        let (queries, keys) = (
            spec.num_heads * spec.head_dim,
            spec.num_kv_heads * spec.head_dim,
        );
        let (hidden, wide) = (spec.hidden_size, spec.feed_forward_size);
        let place = |site, inputs, first_output, outputs| Place {
            site,
            inputs,
            first_output,
            outputs,
        };
        let is_fused = matches!(spec.tensors.layer.attention_input, AttentionInput::Fused(_));
        Ok(match module {
            Module::Query => place(Site::AttentionInput, hidden, 0, queries),
            Module::Key => place(Site::AttentionInput, hidden, queries, keys),
            Module::Value => place(Site::AttentionInput, hidden, queries + keys, keys),
            Module::QueryKeyValue if is_fused => {
                place(Site::AttentionInput, hidden, 0, queries + 2 * keys)
            }
            Module::AttentionOutput => place(Site::AttentionOutput, queries, 0, hidden),
            Module::Gate => place(Site::FeedForwardInput, hidden, 0, wide),
            Module::Up => place(Site::FeedForwardInput, hidden, wide, wide),
            Module::GateUp if is_fused => place(Site::FeedForwardInput, hidden, 0, 2 * wide),
            Module::Down => place(Site::FeedForwardOutput, wide, 0, hidden),
            Module::QueryKeyValue | Module::GateUp => {
                return Err(Error::Adapter("the model has no such map".to_owned()));
            }
        })
    }
}
