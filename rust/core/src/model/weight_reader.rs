//! Reading weights: every tensor that the spec names, packed, and none left over.

use std::collections::BTreeSet;

use ruvllm_formats::{ModelFiles, TensorInfo};
use ruvllm_kernels::quant::{BlockType, decode};
use ruvllm_kernels::{Arena, PackedMatrix, PackingError, ThreadPool, WeightSource};

use crate::error::{Error, Result};

use super::common_key::CommonKey;
use super::image::{ImageUse, ImageWork};
use super::linear::Linear;
use super::spec::{AttentionInput, FeedForwardInput, ModelSpec, RotaryLayout};
use super::weights::{LayerWeights, Weights};

/// Takes tensors out of a file and remembers which.
pub(crate) struct WeightReader<'a> {
    files: &'a ModelFiles,
    spec: &'a ModelSpec,
    pool: &'a ThreadPool,
    /// Memory for all matrices.
    arena: Arena,
    taken: BTreeSet<String>,
    taken_bytes: u64,
    image: ImageWork,
    progress: &'a mut dyn FnMut(u64, u64) -> Result<()>,
}

impl<'a> WeightReader<'a> {
    pub(crate) fn new(
        files: &'a ModelFiles,
        spec: &'a ModelSpec,
        pool: &'a ThreadPool,
        image: ImageWork,
        progress: &'a mut dyn FnMut(u64, u64) -> Result<()>,
    ) -> Self {
        let taken = spec.consumed_tensors.iter().cloned().collect();
        Self {
            image,
            files,
            spec,
            pool,
            arena: Arena::default(),
            taken,
            taken_bytes: 0,
            progress,
        }
    }

    /// Reads every tensor that the spec names; a tensor that is left over is an error.
    pub(crate) fn read(mut self) -> Result<(Weights, ImageUse)> {
        let names = &self.spec.tensors;
        let (vocab, hidden) = (self.spec.vocab_size, self.spec.hidden_size);
        let embedding = self.linear(&names.embedding, (vocab, hidden))?;
        let layers = (0..self.spec.layers.len())
            .map(|layer| self.layer(layer))
            .collect::<Result<_>>()?;
        let output_norm = self.norm(&names.output_norm, hidden)?;
        let output = match &names.output {
            Some(name) if !(names.tied && self.embedding_serves(name)?) => {
                Some(self.linear(name, (vocab, hidden))?)
            }
            _ => None,
        };
        self.refuse_leftovers()?;
        let weights = Weights {
            embedding,
            layers,
            output_norm,
            output,
        };
        Ok((weights, self.image.end(self.pool)))
    }

    /// Whether a tied model has no head of its own: none in the file, or a copy of the embedding.
    fn embedding_serves(&mut self, head: &str) -> Result<bool> {
        let embedding = self.files.tensor(&self.spec.tensors.embedding);
        let (Some((info, bytes)), Some((embedding, rows))) = (self.files.tensor(head), embedding)
        else {
            return Ok(true);
        };
        let is_copy = (info.tensor_type, &info.shape) == (embedding.tensor_type, &embedding.shape)
            && bytes == rows;
        if is_copy {
            self.taken.insert(head.to_owned());
            self.files.release(embedding);
            self.finish(info)?;
        }
        Ok(is_copy)
    }

    fn layer(&mut self, index: usize) -> Result<LayerWeights> {
        let spec = self.spec;
        let names = &spec.tensors.layer;
        let name = |pattern: &String| pattern.replace("{}", &index.to_string());
        let (hidden, feed_forward) = (spec.hidden_size, spec.feed_forward_size);
        let heads_width = spec.num_heads * spec.head_dim;
        let feed_forward_input = match &names.feed_forward_input {
            FeedForwardInput::Split { gate, up } => vec![
                self.matrix(&name(gate), (feed_forward, hidden), None)?,
                self.matrix(&name(up), (feed_forward, hidden), None)?,
            ],
            FeedForwardInput::Fused(fused) => self.gate_and_up(&name(fused))?,
        };
        let attention_norm = self.norm(&name(&names.attention_norm), hidden)?;
        let attention_input = self.attention_input(&name)?;
        Ok(LayerWeights {
            attention_norm,
            common_key: self.common_key(index, &attention_input),
            attention_input,
            query_norm: self.optional_norm(names.query_norm.as_ref().map(name), spec.head_dim)?,
            key_norm: self.optional_norm(names.key_norm.as_ref().map(name), spec.head_dim)?,
            attention_output: self.linear(&name(&names.attention_output), (hidden, heads_width))?,
            post_attention_norm: self
                .optional_norm(names.post_attention_norm.as_ref().map(name), hidden)?,
            feed_forward_norm: self.norm(&name(&names.feed_forward_norm), hidden)?,
            feed_forward_input: Linear::gated(feed_forward_input, self.pool.threads()),
            feed_forward_output: self
                .linear(&name(&names.feed_forward_output), (hidden, feed_forward))?,
            post_feed_forward_norm: self
                .optional_norm(names.post_feed_forward_norm.as_ref().map(name), hidden)?,
        })
    }

    /// What the bias of a layer makes of its keys.
    fn common_key(&self, layer: usize, attention_input: &Linear) -> Option<CommonKey> {
        let spec = self.spec;
        let is_of_use = spec.has_bare_key_bias() && spec.is_key_bias_known();
        let bias = attention_input.bias().filter(|_| is_of_use)?;
        let keys = &bias[spec.num_heads * spec.head_dim..][..spec.num_kv_heads * spec.head_dim];
        let rope = &spec.ropes[spec.layers[layer].rope];
        Some(CommonKey::new(keys, rope, spec.head_dim))
    }

    fn attention_input(&mut self, name: &dyn Fn(&String) -> String) -> Result<Linear> {
        let spec = self.spec;
        let query_rows = spec.num_heads * spec.head_dim;
        let key_rows = spec.num_kv_heads * spec.head_dim;
        match &spec.tensors.layer.attention_input {
            AttentionInput::Fused(fused) => {
                let shape = (query_rows + 2 * key_rows, spec.hidden_size);
                self.linear(&name(fused), shape)
            }
            AttentionInput::Split {
                query,
                key,
                value,
                biases,
            } => {
                let orders = [
                    rotary_order(spec.rotary_layout, spec.num_heads, spec.head_dim),
                    rotary_order(spec.rotary_layout, spec.num_kv_heads, spec.head_dim),
                    None,
                ];
                let rows = [query_rows, key_rows, key_rows];
                let bias = match biases {
                    Some(biases) => {
                        let mut joined = Vec::new();
                        for ((bias, rows), order) in biases.iter().zip(rows).zip(&orders) {
                            let values = self.vector(&name(bias), rows)?;
                            match order {
                                Some(order) => {
                                    joined.extend(order.iter().map(|row| values[*row as usize]));
                                }
                                None => joined.extend(values),
                            }
                        }
                        Some(joined)
                    }
                    None => None,
                };
                let [query_order, key_order, _] = &orders;
                let parts = [
                    (name(query), query_rows, query_order.as_deref()),
                    (name(key), key_rows, key_order.as_deref()),
                    (name(value), key_rows, None),
                ];
                let matrices = parts
                    .iter()
                    .map(|(name, rows, order)| self.matrix(name, (*rows, spec.hidden_size), *order))
                    .collect::<Result<_>>()?;
                Ok(Linear::new(matrices, bias, self.pool.threads()))
            }
        }
    }

    fn linear(&mut self, name: &str, shape: (usize, usize)) -> Result<Linear> {
        let matrix = self.matrix(name, shape, None)?;
        Ok(Linear::new(vec![matrix], None, self.pool.threads()))
    }

    /// The two halves of a tensor in which gate stands over up.
    fn gate_and_up(&mut self, name: &str) -> Result<Vec<PackedMatrix>> {
        let (rows, columns) = (self.spec.feed_forward_size, self.spec.hidden_size);
        let (info, bytes, block_type) = self.tensor(name, &[2 * rows, columns])?;
        let (gate, up) = bytes.split_at(bytes.len() / 2);
        let matrices = [gate, up]
            .into_iter()
            .enumerate()
            .map(|(part, bytes)| {
                let source = WeightSource {
                    block_type,
                    bytes,
                    rows,
                    columns,
                    row_order: None,
                };
                self.pack(name, part, &source)
            })
            .collect::<Result<_>>()?;
        self.finish(info)?;
        Ok(matrices)
    }

    fn matrix(
        &mut self,
        name: &str,
        (rows, columns): (usize, usize),
        row_order: Option<&[u32]>,
    ) -> Result<PackedMatrix> {
        let (info, bytes, block_type) = self.tensor(name, &[rows, columns])?;
        let source = WeightSource {
            block_type,
            bytes,
            rows,
            columns,
            row_order,
        };
        let packed = self.pack(name, 0, &source)?;
        self.finish(info)?;
        Ok(packed)
    }

    /// Packs a matrix; `part` counts those that one tensor becomes.
    fn pack(&mut self, name: &str, part: usize, source: &WeightSource<'_>) -> Result<PackedMatrix> {
        if let Some(packed) = self.image.matrix(name, part, source) {
            return Ok(packed);
        }
        let packed = PackedMatrix::pack(source, self.pool, &self.arena);
        let packed = packed.map_err(|error| match error {
            PackingError::Memory { .. } => Error::OutOfMemory(format!("tensor '{name}': {error}")),
            error => Error::Model(format!("tensor '{name}': {error}")),
        })?;
        self.image.add(name, part, &packed);
        Ok(packed)
    }

    fn vector(&mut self, name: &str, length: usize) -> Result<Vec<f32>> {
        let (info, bytes, block_type) = self.tensor(name, &[length])?;
        let mut values = vec![0.0; length];
        decode(block_type, bytes, &mut values)
            .map_err(|error| Error::Model(format!("tensor '{name}': {error}")))?;
        if let Some(index) = values.iter().position(|value| !value.is_finite()) {
            return Err(Error::Model(format!(
                "tensor '{name}': element {index} is not finite"
            )));
        }
        self.finish(info)?;
        Ok(values)
    }

    fn norm(&mut self, name: &str, length: usize) -> Result<Vec<f32>> {
        let mut weight = self.vector(name, length)?;
        for value in &mut weight {
            *value += self.spec.norm_weight_offset;
        }
        Ok(weight)
    }

    fn optional_norm(&mut self, name: Option<String>, length: usize) -> Result<Option<Vec<f32>>> {
        name.map(|name| self.norm(&name, length)).transpose()
    }

    /// A tensor of just that shape, and of a type that the engine reads.
    fn tensor(
        &mut self,
        name: &str,
        shape: &[usize],
    ) -> Result<(&'a TensorInfo, &'a [u8], BlockType)> {
        let Some((info, bytes)) = self.files.tensor(name) else {
            return Err(Error::Model(format!(
                "tensor '{name}' is missing; architecture '{}' needs it with shape {shape:?}",
                self.spec.architecture
            )));
        };
        if info.shape != shape {
            return Err(Error::Model(format!(
                "tensor '{name}' has shape {:?}; the model's configuration makes it {shape:?}",
                info.shape
            )));
        }
        let type_name = info.tensor_type.name();
        let block_type = BlockType::from_name(type_name).ok_or_else(|| {
            let known: Vec<_> = BlockType::ALL.iter().map(|known| known.name()).collect();
            Error::Model(format!(
                "tensor '{name}' has type {type_name}, which this engine does not read; it reads {}",
                known.join(", ")
            ))
        })?;
        self.taken.insert(name.to_owned());
        Ok((info, bytes, block_type))
    }

    fn finish(&mut self, info: &TensorInfo) -> Result<()> {
        self.files.release(info);
        self.taken_bytes += info.byte_length() as u64;
        if !self.image.reads_files() {
            return Ok(());
        }
        (self.progress)(self.taken_bytes, self.files.total_bytes())
    }

    fn refuse_leftovers(&self) -> Result<()> {
        let left: Vec<&str> = self
            .files
            .tensors()
            .map(|info| info.name.as_str())
            .filter(|name| !self.taken.contains(*name) && !name.ends_with(".rotary_emb.inv_freq"))
            .collect();
        match left.as_slice() {
            [] => Ok(()),
            [first, ..] => Err(Error::Model(format!(
                "{} tensors of the file have no place in architecture '{}', the first is '{first}'; \
                 running without them would give other results than the model's",
                left.len(),
                self.spec.architecture
            ))),
        }
    }
}

/// Where each row of Q or K stands in a file of that layout, so that a head's halves turn together.
pub(super) fn rotary_order(
    layout: RotaryLayout,
    heads: usize,
    head_dim: usize,
) -> Option<Vec<u32>> {
    if layout == RotaryLayout::Halves {
        return None;
    }
    let half = head_dim / 2;
    let order = (0..heads * head_dim).map(|row| {
        let (head, dimension) = (row / head_dim, row % head_dim);
        (head * head_dim + 2 * (dimension % half) + dimension / half) as u32
    });
    Some(order.collect())
}
