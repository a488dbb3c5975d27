//! One of candle's models with its cache, whichever it is.

use candle_core::{DType, Device, Result, Tensor};
use candle_nn::Module;
use candle_transformers::models::{
    gemma2, gemma3, llama, mistral, phi3, quantized_llama, quantized_phi3, quantized_qwen2,
    quantized_qwen3, qwen2, qwen3,
};

/// Computes tokens one behind the other, and keeps what later ones need of them.
pub(crate) trait Network: Send {
    /// The logits behind the last of `tokens` `[1, count]`, the first of which stands at `position`. Several at a
    /// time come before single ones only: some of these models look at what stands before several at once, and
    /// others do not see single ones there.
    fn forward(&mut self, tokens: &Tensor, position: usize) -> Result<Tensor>;

    /// Forgets everything, for a text that begins anew.
    fn clear(&mut self);

    /// How many of so many tokens of a prompt come next.
    fn part(&self, rest: usize) -> usize {
        rest.min(PART)
    }
}

/// Tokens of a prompt that are computed together: their scores are kept whole, for every head.
const PART: usize = 256;

macro_rules! networks {
    ($($model:ty),*) => {$(
        impl Network for $model {
            fn forward(&mut self, tokens: &Tensor, position: usize) -> Result<Tensor> {
                <$model>::forward(self, tokens, position)
            }

            fn clear(&mut self) {
                self.clear_kv_cache();
            }
        }
    )*};
}

networks!(
    qwen2::ModelForCausalLM,
    qwen3::ModelForCausalLM,
    phi3::Model,
    gemma2::Model,
    quantized_qwen3::ModelWeights
);

impl Network for gemma3::Model {
    fn forward(&mut self, tokens: &Tensor, position: usize) -> Result<Tensor> {
        gemma3::Model::forward(self, tokens, position)
    }

    fn clear(&mut self) {
        self.clear_kv_cache();
    }

    /// Its cache takes values of one token alone (0.11.1): those of several do not lie one behind the other.
    fn part(&self, _: usize) -> usize {
        1
    }
}

/// Its cache stands beside it, and keeps the masks of all texts that it ever saw.
pub(crate) struct Llama {
    pub(crate) model: llama::Llama,
    pub(crate) fresh: llama::Cache,
    pub(crate) cache: llama::Cache,
}

impl Network for Llama {
    fn forward(&mut self, tokens: &Tensor, position: usize) -> Result<Tensor> {
        self.model.forward(tokens, position, &mut self.cache)
    }

    fn clear(&mut self) {
        self.cache = self.fresh.clone();
    }
}

/// Keeps masks likewise; of the weights a copy is only another hold.
pub(crate) struct QuantizedLlama {
    pub(crate) fresh: quantized_llama::ModelWeights,
    pub(crate) used: quantized_llama::ModelWeights,
}

impl Network for QuantizedLlama {
    fn forward(&mut self, tokens: &Tensor, position: usize) -> Result<Tensor> {
        self.used.forward(tokens, position)
    }

    fn clear(&mut self) {
        self.used = self.fresh.clone();
    }
}

/// The same, and begins anew at position 0 by itself.
pub(crate) struct QuantizedPhi3 {
    pub(crate) fresh: quantized_phi3::ModelWeights,
    pub(crate) used: quantized_phi3::ModelWeights,
}

impl Network for QuantizedPhi3 {
    fn forward(&mut self, tokens: &Tensor, position: usize) -> Result<Tensor> {
        self.used.forward(tokens, position)
    }

    fn clear(&mut self) {
        self.used = self.fresh.clone();
    }
}

impl Network for quantized_qwen2::ModelWeights {
    fn forward(&mut self, tokens: &Tensor, position: usize) -> Result<Tensor> {
        quantized_qwen2::ModelWeights::forward(self, tokens, position)
    }

    fn clear(&mut self) {
        self.clear_kv_cache();
    }

    /// A power of two: it keeps a mask for each size and place for ever, and so there are few of them.
    fn part(&self, rest: usize) -> usize {
        1 << rest.min(PART).ilog2()
    }
}

/// With masks of ours: its own look over a window's end by one, and single tokens have none.
pub(crate) struct Mistral {
    pub(crate) model: mistral::Model,
    pub(crate) window: Option<usize>,
    pub(crate) device: Device,
}

impl Network for Mistral {
    fn forward(&mut self, tokens: &Tensor, position: usize) -> Result<Tensor> {
        let states = self.model.embed_tokens().forward(tokens)?;
        let count = tokens.dim(1)?;
        let mask = mask(count, position, self.window, &self.device)?;
        self.model.forward_embeds(&states, mask.as_ref(), position)
    }

    fn clear(&mut self) {
        self.model.clear_kv_cache();
    }
}

/// What each of `count` tokens behind `position` others may look at, `[1, 1, count, position + count]`: added to the
/// scores. `None` where a token may look at everything.
fn mask(
    count: usize,
    position: usize,
    window: Option<usize>,
    device: &Device,
) -> Result<Option<Tensor>> {
    let all = position + count;
    let window = window.unwrap_or(all);
    if count == 1 && all <= window {
        return Ok(None);
    }
    let of = |row: usize, column: usize| {
        let query = position + row;
        if column > query || column + window <= query {
            f32::NEG_INFINITY
        } else {
            0.0
        }
    };
    let values = (0..count).flat_map(|row| (0..all).map(move |column| of(row, column)));
    let values: Vec<f32> = values.collect();
    Tensor::from_vec(values, (1, 1, count, all), device)?
        .to_dtype(DType::F32)
        .map(Some)
}
