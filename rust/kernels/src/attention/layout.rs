//! How a block of the key-value pool is laid out: the one definition of it.
//!
//! A block holds [`BLOCK_TOKENS`] positions of every layer and KV head. For each of these, keys come
//! dimension by dimension with the block's tokens side by side, `[head_dim][16]`, so that one
//! vector holds one dimension of sixteen keys; values come token by token, `[16][head_dim]`.
//!
//! Where numbers are integers, each token's key and each token's value has a scale. A head's scales,
//! sixteen of keys and sixteen of values, stand between its keys and its values: the score that
//! ends the keys and the weight that comes before the values want them then. So a block is one
//! piece of bytes that needs nothing beside it.

/// Positions of a block.
pub const BLOCK_TOKENS: usize = 16;
/// Bytes of a head's scales in one block: f32, of keys and of values.
pub(super) const SCALE_BYTES: usize = 2 * BLOCK_TOKENS * size_of::<f32>();
// Scales and what follows them stand as the block's beginning does.
const _: () = assert!(SCALE_BYTES.is_multiple_of(64));

/// How a cached number is stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KvFormat {
    /// 32 bits, for exactness.
    F32,
    /// 16 bits.
    F16,
    /// 8 bits, a whole number of -127..=127, times one scale for a token's key and one for its value.
    I8,
}

impl KvFormat {
    /// Bytes of one number.
    pub fn bytes(self) -> usize {
        match self {
            Self::F32 => 4,
            Self::F16 => 2,
            Self::I8 => 1,
        }
    }

    /// Numbers whose place the scales of a head take.
    fn scale_elements(self) -> usize {
        match self {
            Self::F32 | Self::F16 => 0,
            Self::I8 => SCALE_BYTES,
        }
    }
}

/// The shape of a pool's blocks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KvLayout {
    /// Layers of the model.
    pub layers: usize,
    /// Key and value heads of a layer.
    pub kv_heads: usize,
    /// Width of a head.
    pub head_dim: usize,
    /// How numbers are stored.
    pub format: KvFormat,
}

impl KvLayout {
    /// Numbers of one head's keys, or values, in one block.
    pub(crate) fn panel_elements(self) -> usize {
        BLOCK_TOKENS * self.head_dim
    }

    /// The same with the place of the scales, which follow the keys.
    pub(crate) fn key_panel_elements(self) -> usize {
        self.panel_elements() + self.format.scale_elements()
    }

    /// Numbers of one head in one block: keys, scales, values.
    pub(crate) fn head_elements(self) -> usize {
        self.key_panel_elements() + self.panel_elements()
    }

    /// Numbers of a layer in one block: every head.
    pub(crate) fn layer_elements(self) -> usize {
        self.kv_heads * self.head_elements()
    }

    /// Numbers of a block, the place of scales included.
    pub fn block_elements(self) -> usize {
        self.layers * self.layer_elements()
    }

    /// Bytes of a block.
    pub fn block_bytes(self) -> usize {
        self.block_elements() * self.format.bytes()
    }

    /// Where the keys of a head begin, in numbers from the pool's beginning.
    pub fn key_offset(self, block: u32, layer: usize, kv_head: usize) -> usize {
        block as usize * self.block_elements()
            + layer * self.layer_elements()
            + kv_head * self.head_elements()
    }

    /// Where the values of a head begin.
    pub fn value_offset(self, block: u32, layer: usize, kv_head: usize) -> usize {
        self.key_offset(block, layer, kv_head) + self.key_panel_elements()
    }

    /// Where the scales of a head begin, in a format that has them: sixteen f32 of the keys, then
    /// sixteen of the values.
    pub fn scale_offset(self, block: u32, layer: usize, kv_head: usize) -> usize {
        self.key_offset(block, layer, kv_head) + self.panel_elements()
    }
}
