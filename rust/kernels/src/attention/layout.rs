//! How a block of the key-value pool is laid out: the one definition of it.
//!
//! A block holds [`BLOCK_TOKENS`] positions of every layer and KV head. For each of these, keys come
//! dimension by dimension with the block's tokens side by side, `[head_dim][16]`, so that one
//! vector holds one dimension of sixteen keys; values come token by token, `[16][head_dim]`. Heads are
//! rounded up to sixteen dimensions, so that all vectors are whole.
//!
//! Where numbers are integers, two of those that are added up stand side by side, as the processor
//! multiplies them: keys are `[head_dim / 2][16][2]`, values `[8][head_dim][2]`. Each token's key and each
//! token's value has a scale. Where values have 4 bits they are `[8][head_dim]` bytes, of two tokens each, and where keys do
//! `[head_dim / 2][16]`, of two dimensions each. Those of 3 bits are squares of 96 bytes (`eighths.rs`), one behind the
//! other as their columns, then as their rows are. A head's scales, sixteen of keys and sixteen of values, stand between its
//! keys and its values: the score that ends the keys and the weight that comes before the values want them then. So a block
//! is one piece of bytes that needs nothing beside it.

use super::rotation;

/// Positions of a block.
pub const BLOCK_TOKENS: usize = 16;
/// Positions of a segment: so many of a context have a softmax of their own.
pub const SEGMENT_TOKENS: usize = 256;
/// Blocks of a segment.
pub(crate) const SEGMENT_BLOCKS: usize = SEGMENT_TOKENS / BLOCK_TOKENS;
const _: () = assert!(SEGMENT_TOKENS.is_multiple_of(BLOCK_TOKENS));
/// Bytes to whose multiple blocks are rounded up where a pool has some of several formats: numbers of every format, and
/// cache lines in pairs, as some processors fetch them.
const BLOCK_STEP: usize = 128;

/// Dimensions to whose multiple heads are rounded up: whole vectors of every width.
const HEAD_STEP: usize = 16;

/// The bytes of a block whose layers take so many, where a pool has blocks of several formats.
pub fn whole_block_bytes(bytes: usize) -> usize {
    bytes.next_multiple_of(BLOCK_STEP)
}

/// Keys or values.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Side {
    Key,
    Value,
}

impl Side {
    /// Which of a head's scales is that of a token.
    #[inline(always)]
    pub(super) fn index(self, token: usize) -> usize {
        let first = match self {
            Self::Key => 0,
            Self::Value => BLOCK_TOKENS,
        };
        first + token
    }
}

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
    /// Keys and values as [`K8V4`](Self::K8V4) has its values: for tokens that are not among the last, whose keys have more
    /// bits elsewhere.
    Q4,
    /// 3 bits, one of eight levels, and scales of 8 bits, of heads that were turned: as [`Q4`](Self::Q4) for tokens that are
    /// not among the last.
    Q3,
}

impl KvFormat {
    /// All of them by name, the usual one first.
    pub const NAMED: [(&'static str, Self); 6] = [
        (Self::I16.name(), Self::I16),
        (Self::F32.name(), Self::F32),
        (Self::I8.name(), Self::I8),
        (Self::K8V4.name(), Self::K8V4),
        (Self::Q4.name(), Self::Q4),
        (Self::Q3.name(), Self::Q3),
    ];

    /// What users call it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::I16 => "int16",
            Self::F32 => "f32",
            Self::I8 => "int8",
            Self::K8V4 => "k8v4",
            Self::Q4 => "q4",
            Self::Q3 => "q3",
        }
    }

    /// Bits of a number of a key, and of a value.
    pub fn bits(self) -> (usize, usize) {
        (self.bits_of(Side::Key), self.bits_of(Side::Value))
    }

    /// Bits of a number of one side.
    pub(super) fn bits_of(self, side: Side) -> usize {
        match (self, side) {
            (Self::F32, _) => 32,
            (Self::I16, _) => 16,
            (Self::I8, _) | (Self::K8V4, Side::Key) => 8,
            (Self::K8V4, Side::Value) | (Self::Q4, _) => 4,
            (Self::Q3, _) => 3,
        }
    }

    /// Whether so little is kept of a key that nothing else may stand beside it under its scale.
    pub fn has_rough_keys(self) -> bool {
        self.bits_of(Side::Key) <= 4
    }

    /// Bytes of one element: a number, or a part of some.
    pub fn bytes(self) -> usize {
        match self {
            Self::F32 => 4,
            Self::I16 => 2,
            Self::I8 | Self::K8V4 | Self::Q4 | Self::Q3 => 1,
        }
    }

    /// Bytes of a scale.
    fn scale_bytes(self) -> usize {
        match self {
            Self::F32 => 0,
            Self::I16 | Self::I8 | Self::K8V4 | Self::Q4 => size_of::<f32>(),
            Self::Q3 => 1,
        }
    }

    /// Whether scales have to be made floats before they are multiplied with.
    pub(super) fn has_small_scales(self) -> bool {
        self.scale_bytes() == 1
    }

    /// Bytes of a head's scales in one block, of keys and of values.
    pub(super) fn head_scale_bytes(self) -> usize {
        2 * BLOCK_TOKENS * self.scale_bytes()
    }

    /// Whether heads are turned before they are stored.
    fn is_turned(self) -> bool {
        matches!(self, Self::I8 | Self::K8V4 | Self::Q4 | Self::Q3)
    }

    /// Numbers whose place the scales of a head take.
    fn scale_elements(self) -> usize {
        self.head_scale_bytes() / self.bytes()
    }
}

/// The shape of a pool's blocks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KvLayout {
    /// Layers of a block.
    pub layers: usize,
    /// Key and value heads of a layer.
    pub kv_heads: usize,
    /// Width of a head.
    pub head_dim: usize,
    /// How numbers are stored.
    pub format: KvFormat,
    /// What blocks are larger than their layers are: all of a pool have one size, whatever their format.
    spare_bytes: usize,
}

impl KvLayout {
    /// Blocks of so many layers, with heads of so many numbers.
    pub const fn new(
        layers: usize,
        (kv_heads, head_dim): (usize, usize),
        format: KvFormat,
    ) -> Self {
        Self {
            layers,
            kv_heads,
            head_dim,
            format,
            spare_bytes: 0,
        }
    }

    /// The same in blocks of another size.
    ///
    /// # Panics
    ///
    /// Where the layers do not fit into a block, or the next one would not begin on a number.
    #[must_use]
    pub fn in_blocks_of(self, bytes: usize) -> Self {
        let own = self.block_bytes() - self.spare_bytes;
        assert!(
            bytes >= own && bytes.is_multiple_of(BLOCK_STEP),
            "blocks of {bytes} bytes for layers of {own}"
        );
        Self {
            spare_bytes: bytes - own,
            ..self
        }
    }

    /// Numbers of a key or value, those that only fill it up included.
    pub(crate) fn padded_dim(self) -> usize {
        self.head_dim.next_multiple_of(HEAD_STEP)
    }

    /// Elements of one head's keys, or values, in one block.
    pub(crate) fn panel_elements(self, side: Side) -> usize {
        BLOCK_TOKENS * self.padded_dim() * self.format.bits_of(side) / (8 * self.format.bytes())
    }

    /// How many numbers of a head are turned together: 1 where none are.
    pub(super) fn turned_together(self) -> usize {
        if self.format.is_turned() {
            rotation::length(self.head_dim)
        } else {
            1
        }
    }

    /// The rows that numbers of a side stand in: the row and the column of one of them, and how wide a row is.
    pub(super) fn row_place(
        self,
        side: Side,
        (token, dimension): (usize, usize),
    ) -> ((usize, usize), usize) {
        match side {
            Side::Key => ((dimension, token), BLOCK_TOKENS),
            Side::Value => ((token, dimension), self.padded_dim()),
        }
    }

    /// Elements of one head's keys in one block, with the place of the scales, which follow them.
    pub(crate) fn key_panel_elements(self) -> usize {
        self.panel_elements(Side::Key) + self.format.scale_elements()
    }

    /// Elements of one head in one block: keys, scales, values.
    pub(crate) fn head_elements(self) -> usize {
        self.key_panel_elements() + self.panel_elements(Side::Value)
    }

    /// Elements of a layer in one block: every head.
    pub(crate) fn layer_elements(self) -> usize {
        self.kv_heads * self.head_elements()
    }

    /// Elements of a block, the place of scales included.
    pub fn block_elements(self) -> usize {
        self.layers * self.layer_elements() + self.spare_bytes / self.format.bytes()
    }

    /// Bytes of a block.
    pub fn block_bytes(self) -> usize {
        self.block_elements() * self.format.bytes()
    }

    /// Bytes of a layer in one block.
    pub fn layer_bytes(self) -> usize {
        self.layer_elements() * self.format.bytes()
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

    /// Where the scales of a head begin, in a format that has them: sixteen of the keys, then sixteen of the values.
    pub fn scale_offset(self, block: u32, layer: usize, kv_head: usize) -> usize {
        self.key_offset(block, layer, kv_head) + self.panel_elements(Side::Key)
    }
}

/// The place of a number in rows of `width`, of which so many stand `together`, number beside number.
#[inline(always)]
pub(super) fn place((row, column): (usize, usize), width: usize, together: usize) -> usize {
    row / together * together * width + column * together + row % together
}
