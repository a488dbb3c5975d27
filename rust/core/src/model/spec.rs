//! Everything in which model families differ, as data. One decoder reads it.
//!
//! `families/` fills a [`ModelSpec`] from a file's metadata; `loader` takes the weights that
//! [`TensorNames`] lists and refuses a file that lacks one or holds one more.

use ruvllm_kernels::Activation;

/// A model as the decoder sees it.
#[derive(Debug, Clone, PartialEq)]
pub struct ModelSpec {
    /// The architecture as the file names it (`llama`, `qwen2`, `Gemma3ForCausalLM`, ...).
    pub architecture: String,
    /// The model's own name, where the file has one.
    pub name: Option<String>,
    /// Rows of the embedding.
    pub vocab_size: usize,
    /// Width of the residual stream.
    pub hidden_size: usize,
    /// Width between the gate and down projections.
    pub feed_forward_size: usize,
    /// Query heads.
    pub num_heads: usize,
    /// Key and value heads; divides `num_heads`.
    pub num_kv_heads: usize,
    /// Width of one head.
    pub head_dim: usize,
    /// Longest sequence the model was made for.
    pub max_context: usize,
    /// Added to the mean square in every RMSNorm.
    pub norm_epsilon: f32,
    /// Added to every norm weight at load: 1 for Gemma in safetensors, which stores `weight - 1`.
    pub norm_weight_offset: f32,
    /// The non-linearity of the feed-forward gate.
    pub activation: Activation,
    /// Factor on the embedding row; 1 but for Gemma.
    pub embedding_scale: f32,
    /// Factor on query times key.
    pub attention_scale: f32,
    /// `cap * tanh(score / cap)` on attention scores.
    pub attention_soft_cap: Option<f32>,
    /// The same on the output logits.
    pub final_soft_cap: Option<f32>,
    /// The distinct rotary embeddings; a layer names one by index.
    pub ropes: Vec<RopeSpec>,
    /// One entry a layer.
    pub layers: Vec<LayerSpec>,
    /// How the file orders the rows of Q and K.
    pub rotary_layout: RotaryLayout,
    /// Where the weights are.
    pub tensors: TensorNames,
    /// Tensors of the file that are no weights: rotary factors, which were read into this spec, and
    /// frequencies that old programs stored.
    pub consumed_tensors: Vec<String>,
    /// The ids that start and end a text, from the configuration; GGUF vocabularies have their own.
    pub special_tokens: SpecialTokens,
}

/// What may differ from layer to layer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LayerSpec {
    /// A query sees this many positions, itself included; `None`: all before it.
    pub window: Option<usize>,
    /// Index into [`ModelSpec::ropes`].
    pub rope: usize,
}

/// The order of the rows of Q and K inside a head.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RotaryLayout {
    /// Dimension `i` turns with `i + n/2`: Hugging Face, and most GGUF families.
    Halves,
    /// Dimension `2i` turns with `2i + 1`: GGUF's `llama`; the loader puts the rows back into halves.
    AdjacentPairs,
}

/// One rotary position embedding.
#[derive(Debug, Clone, PartialEq)]
pub struct RopeSpec {
    /// The base of the geometric series of frequencies.
    pub base: f32,
    /// How many dimensions of a head turn; even, at most `head_dim`.
    pub dimensions: usize,
    /// How the frequencies are stretched for long contexts.
    pub scaling: RopeScaling,
}

/// The scalings that models are published with.
#[derive(Debug, Clone, PartialEq)]
pub enum RopeScaling {
    /// None.
    None,
    /// Every frequency divided by `factor`.
    Linear {
        /// The stretch.
        factor: f32,
    },
    /// The base grows with the length of the sequence once it exceeds the trained context.
    DynamicNtk {
        /// The stretch at twice the trained context.
        factor: f32,
        /// The trained context.
        original_context: usize,
    },
    /// Interpolates low frequencies, keeps high ones, scales the attention.
    Yarn(YarnScaling),
    /// Llama 3.1's smooth version of the same idea.
    Llama3 {
        /// The stretch of low frequencies.
        factor: f32,
        /// Wavelengths above `original_context / low_frequency_factor` are stretched.
        low_frequency_factor: f32,
        /// Wavelengths below `original_context / high_frequency_factor` are kept.
        high_frequency_factor: f32,
        /// The trained context.
        original_context: usize,
    },
    /// A divisor for each frequency, stored in the file (GGUF's `rope_freqs.weight`).
    Divisors(Vec<f32>),
    /// Two sets of divisors, for sequences up to and beyond the trained context.
    LongRope {
        /// Divisors up to `original_context` tokens.
        short: Vec<f32>,
        /// Divisors beyond.
        long: Vec<f32>,
        /// The trained context.
        original_context: usize,
        /// Factor on cosine and sine (the attention factor).
        magnitude: f32,
    },
}

/// YaRN's parameters.
#[derive(Debug, Clone, PartialEq)]
pub struct YarnScaling {
    /// The stretch.
    pub factor: f32,
    /// The trained context.
    pub original_context: usize,
    /// Rotations above which a dimension is kept.
    pub beta_fast: f32,
    /// Rotations below which a dimension is interpolated.
    pub beta_slow: f32,
    /// Factor on cosine and sine.
    pub magnitude: f32,
    /// Whether the ramp's ends are rounded to whole dimensions.
    pub truncate: bool,
}

/// Ids with a meaning, as far as the configuration says.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SpecialTokens {
    /// Begins a text.
    pub begin: Option<u32>,
    /// Any of these ends a generation.
    pub end: Vec<u32>,
}

/// Names of the model's tensors; layer names hold `{}` for the layer's index.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TensorNames {
    /// `[vocab, hidden]`
    pub embedding: String,
    /// `[hidden]`
    pub output_norm: String,
    /// `[vocab, hidden]`; `None`: the embedding.
    pub output: Option<String>,
    /// Whether the embedding serves as output head where the file has none, or a copy of it. A file
    /// that says so and holds another head is taken at its weights, as transformers does.
    pub tied: bool,
    /// The layers' tensors.
    pub layer: LayerTensorNames,
}

/// Names inside one layer. Every linear may have a bias beside it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LayerTensorNames {
    /// Norm before attention.
    pub attention_norm: String,
    /// Q, K and V.
    pub attention_input: AttentionInput,
    /// Per-head norm of Q before RoPE, `[head_dim]`.
    pub query_norm: Option<String>,
    /// Per-head norm of K before RoPE, `[head_dim]`.
    pub key_norm: Option<String>,
    /// Attention's output projection.
    pub attention_output: String,
    /// Norm after attention, before the residual (Gemma).
    pub post_attention_norm: Option<String>,
    /// Norm before the feed-forward half.
    pub feed_forward_norm: String,
    /// Gate and up.
    pub feed_forward_input: FeedForwardInput,
    /// Down.
    pub feed_forward_output: String,
    /// Norm after the feed-forward half, before the residual (Gemma).
    pub post_feed_forward_norm: Option<String>,
}

/// How Q, K and V stand in the file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AttentionInput {
    /// Three matrices, with the names of their biases where the family has them.
    Split {
        /// `[heads * head_dim, hidden]`
        query: String,
        /// `[kv_heads * head_dim, hidden]`
        key: String,
        /// `[kv_heads * head_dim, hidden]`
        value: String,
        /// Biases of Q, K, V.
        biases: Option<[String; 3]>,
    },
    /// One matrix, Q over K over V.
    Fused(String),
}

impl AttentionInput {
    /// Whether keys have a bias: what it adds is the same for every token, and often many times as large as the rest.
    pub fn has_key_bias(&self) -> bool {
        matches!(
            self,
            Self::Split {
                biases: Some(_),
                ..
            }
        )
    }
}

/// How gate and up stand in the file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FeedForwardInput {
    /// Two matrices.
    Split {
        /// `[feed_forward, hidden]`
        gate: String,
        /// `[feed_forward, hidden]`
        up: String,
    },
    /// One matrix, gate over up.
    Fused(String),
}
