//! How a block of the key-value pool is laid out: the one definition of it.
//!
//! A block holds [`BLOCK_TOKENS`] positions of every layer and KV head. For each of these, keys come
//! dimension by dimension with the block's tokens side by side, `[head_dim][16]`, so that one
//! vector holds one dimension of sixteen keys; values come token by token, `[16][head_dim]`. Heads are
//! rounded up to sixteen dimensions, so that all vectors are whole.
//!
//! Where numbers are integers, two of those that are added up stand side by side, as the processor
//! multiplies them: keys are `[head_dim / 2][16][2]`, values `[8][head_dim][2]`. Each token's key and each
//! token's value has a scale. Where values have 4 bits they are `[8][head_dim]` bytes, of two tokens each. A head's scales,
//! sixteen of keys and sixteen of values, stand between its keys and its values: the score that
//! ends the keys and the weight that comes before the values want them then. So a block is one
//! piece of bytes that needs nothing beside it.

use super::rotation;

/// Positions of a block.
pub const BLOCK_TOKENS: usize = 16;
/// Bytes of a head's scales in one block: f32, of keys and of values.
pub(super) const SCALE_BYTES: usize = 2 * BLOCK_TOKENS * size_of::<f32>();
// Scales and what follows them stand as the block's beginning does.
const _: () = assert!(SCALE_BYTES.is_multiple_of(64));

/// Dimensions to whose multiple heads are rounded up: whole vectors of every width.
const HEAD_STEP: usize = 16;

/// How a cached number is stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KvFormat {
    /// 32 bits, for exactness.
    F32,
    /// 16 bits, a whole number times one scale for a token's key and one for its value. A key is 32 766 units
    /// long, and a value's largest number has 4095: as near as f16 is, and nothing is too large for it.
    I16,
    /// 8 bits, a whole number of -127..=127, times one scale for a token's key and one for its value, of heads that were
    /// turned (`rotation.rs`).
    I8,
    /// Keys as [`I8`](Self::I8) has them; values, turned too, have 4 bits, an odd number of -15..=15, so that two tokens share
    /// a byte. Small models lose much more by keys of 4 bits than by values.
    K8V4,
}

impl KvFormat {
    /// All of them by name, the usual one first.
    pub const NAMED: [(&'static str, Self); 4] = [
        (Self::I16.name(), Self::I16),
        (Self::F32.name(), Self::F32),
        (Self::I8.name(), Self::I8),
        (Self::K8V4.name(), Self::K8V4),
    ];

    /// What users call it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::I16 => "int16",
            Self::F32 => "f32",
            Self::I8 => "int8",
            Self::K8V4 => "k8v4",
        }
    }

    /// Bytes of one element: a number, or two of values of 4 bits.
    pub fn bytes(self) -> usize {
        match self {
            Self::F32 => 4,
            Self::I16 => 2,
            Self::I8 | Self::K8V4 => 1,
        }
    }

    /// Whether each token's key and value has a scale.
    fn has_scales(self) -> bool {
        match self {
            Self::F32 => false,
            Self::I16 | Self::I8 | Self::K8V4 => true,
        }
    }

    /// Numbers that are multiplied in one step, and so stand side by side.
    fn together(self) -> usize {
        if self.has_scales() { 2 } else { 1 }
    }

    /// Numbers of values that share one element.
    pub(super) fn values_of_element(self) -> usize {
        match self {
            Self::K8V4 => 2,
            Self::F32 | Self::I16 | Self::I8 => 1,
        }
    }

    /// Whether heads are turned before they are stored.
    fn is_turned(self) -> bool {
        matches!(self, Self::I8 | Self::K8V4)
    }

    /// Numbers whose place the scales of a head take.
    fn scale_elements(self) -> usize {
        if self.has_scales() {
            SCALE_BYTES / self.bytes()
        } else {
            0
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
    /// Numbers of a key or value, those that only fill it up included.
    pub(crate) fn padded_dim(self) -> usize {
        self.head_dim.next_multiple_of(HEAD_STEP)
    }

    /// Numbers of one head's keys, or values, in one block, of which each key is an element.
    pub(crate) fn panel_elements(self) -> usize {
        BLOCK_TOKENS * self.padded_dim()
    }

    /// Elements of one head's values in one block.
    pub(crate) fn value_panel_elements(self) -> usize {
        self.panel_elements() / self.format.values_of_element()
    }

    /// How many numbers of a head are turned together: 1 where none are.
    pub(super) fn turned_together(self) -> usize {
        if self.format.is_turned() {
            rotation::length(self.head_dim)
        } else {
            1
        }
    }

    /// Where a number of a key stands, from the beginning of the head's keys.
    pub fn key_place(self, token: usize, dimension: usize) -> usize {
        place((dimension, token), BLOCK_TOKENS, self.format.together())
    }

    /// Where a number of a value stands, from the beginning of the head's values, in a format that gives each an element.
    pub(super) fn value_place(self, token: usize, dimension: usize) -> usize {
        debug_assert_eq!(self.format.values_of_element(), 1);
        place(
            (token, dimension),
            self.padded_dim(),
            self.format.together(),
        )
    }

    /// The same with the place of the scales, which follow the keys.
    pub(crate) fn key_panel_elements(self) -> usize {
        self.panel_elements() + self.format.scale_elements()
    }

    /// Elements of one head in one block: keys, scales, values.
    pub(crate) fn head_elements(self) -> usize {
        self.key_panel_elements() + self.value_panel_elements()
    }

    /// Elements of a layer in one block: every head.
    pub(crate) fn layer_elements(self) -> usize {
        self.kv_heads * self.head_elements()
    }

    /// Elements of a block, the place of scales included.
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

/// The place of a number in rows of `width`, of which so many stand `together`, number beside number.
#[inline(always)]
pub(super) fn place((row, column): (usize, usize), width: usize, together: usize) -> usize {
    row / together * together * width + column * together + row % together
}
