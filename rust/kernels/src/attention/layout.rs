//! How a block of the key-value pool is laid out: the one definition of it.
//!
//! A block holds [`BLOCK_TOKENS`] positions of every layer and KV head. For each of these, keys come
//! dimension by dimension with the block's tokens side by side, `[head_dim][16]`, so that one
//! vector holds one dimension of sixteen keys; values come token by token, `[16][head_dim]`.

/// Positions of a block.
pub const BLOCK_TOKENS: usize = 16;

/// How a cached number is stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KvFormat {
    /// 32 bits, for exactness.
    F32,
    /// 16 bits.
    F16,
}

impl KvFormat {
    /// Bytes of one number.
    pub fn bytes(self) -> usize {
        match self {
            Self::F32 => 4,
            Self::F16 => 2,
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
    pub(crate) fn head_elements(self) -> usize {
        BLOCK_TOKENS * self.head_dim
    }

    /// Numbers of a layer in one block: keys and values of every head.
    pub(crate) fn layer_elements(self) -> usize {
        self.kv_heads * 2 * self.head_elements()
    }

    /// Numbers of a block.
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
            + kv_head * 2 * self.head_elements()
    }

    /// Where the values of a head begin.
    pub fn value_offset(self, block: u32, layer: usize, kv_head: usize) -> usize {
        self.key_offset(block, layer, kv_head) + self.head_elements()
    }
}
