//! How a block of the key-value pool is laid out: the one definition of it.
//!
//! A block holds [`BLOCK_TOKENS`] positions of every layer and KV head. For each of these, keys come
//! dimension by dimension with the block's tokens side by side, `[head_dim][16]`, so that one
//! vector holds one dimension of sixteen keys; values come token by token, `[16][head_dim]`.

use half::f16;

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
    fn head_elements(self) -> usize {
        BLOCK_TOKENS * self.head_dim
    }

    /// Numbers of a block.
    pub fn block_elements(self) -> usize {
        self.layers * self.kv_heads * 2 * self.head_elements()
    }

    /// Bytes of a block.
    pub fn block_bytes(self) -> usize {
        self.block_elements() * self.format.bytes()
    }

    /// Where the keys of a head begin, in numbers from the pool's beginning.
    pub fn key_offset(self, block: u32, layer: usize, kv_head: usize) -> usize {
        block as usize * self.block_elements()
            + (layer * self.kv_heads + kv_head) * 2 * self.head_elements()
    }

    /// Where the values of a head begin.
    pub fn value_offset(self, block: u32, layer: usize, kv_head: usize) -> usize {
        self.key_offset(block, layer, kv_head) + self.head_elements()
    }
}

/// The numbers of a pool, to read.
#[derive(Debug, Clone, Copy)]
pub enum KvData<'a> {
    /// f32.
    F32(&'a [f32]),
    /// f16 bits.
    F16(&'a [u16]),
}

/// A pool and its layout, to read.
#[derive(Debug, Clone, Copy)]
pub struct KvView<'a> {
    /// The layout of every block.
    pub layout: KvLayout,
    /// All blocks.
    pub data: KvData<'a>,
}

impl KvView<'_> {
    /// How many whole blocks there are.
    pub fn blocks(&self) -> usize {
        let elements = match self.data {
            KvData::F32(data) => data.len(),
            KvData::F16(data) => data.len(),
        };
        elements / self.layout.block_elements().max(1)
    }

    /// One number as f32.
    pub(crate) fn number(&self, offset: usize) -> f32 {
        match self.data {
            KvData::F32(data) => data[offset],
            KvData::F16(data) => f16::from_bits(data[offset]).to_f32(),
        }
    }
}

/// The numbers of a pool, to write.
#[derive(Debug)]
pub enum KvDataMut<'a> {
    /// f32.
    F32(&'a mut [f32]),
    /// f16 bits.
    F16(&'a mut [u16]),
}

/// Where one token's keys and values go.
#[derive(Debug, Clone, Copy)]
pub struct KvSlot {
    /// The block.
    pub block: u32,
    /// The position inside the block.
    pub position: usize,
    /// The layer.
    pub layer: usize,
}

/// Writes the keys and values of one token, `[kv_heads, head_dim]` each.
///
/// # Panics
///
/// Where the slot is outside the pool, or the rows are not of the layout's width.
pub fn store_kv(
    layout: KvLayout,
    data: &mut KvDataMut<'_>,
    slot: KvSlot,
    keys: &[f32],
    values: &[f32],
) {
    let width = layout.kv_heads * layout.head_dim;
    assert!(
        keys.len() == width && values.len() == width,
        "rows of {width} numbers"
    );
    assert!(
        slot.position < BLOCK_TOKENS && slot.layer < layout.layers,
        "slot {slot:?}"
    );
    for kv_head in 0..layout.kv_heads {
        let head = kv_head * layout.head_dim..(kv_head + 1) * layout.head_dim;
        let key_begin = layout.key_offset(slot.block, slot.layer, kv_head);
        let value_begin =
            layout.value_offset(slot.block, slot.layer, kv_head) + slot.position * layout.head_dim;
        let (keys, values) = (&keys[head.clone()], &values[head]);
        match data {
            KvDataMut::F32(data) => {
                let targets = data[key_begin..]
                    .iter_mut()
                    .skip(slot.position)
                    .step_by(BLOCK_TOKENS);
                keys.iter()
                    .zip(targets)
                    .for_each(|(key, target)| *target = *key);
                data[value_begin..][..layout.head_dim].copy_from_slice(values);
            }
            KvDataMut::F16(data) => {
                let targets = data[key_begin..]
                    .iter_mut()
                    .skip(slot.position)
                    .step_by(BLOCK_TOKENS);
                keys.iter()
                    .zip(targets)
                    .for_each(|(key, target)| *target = f16::from_f32(*key).to_bits());
                let targets = &mut data[value_begin..][..layout.head_dim];
                values
                    .iter()
                    .zip(targets)
                    .for_each(|(value, target)| *target = f16::from_f32(*value).to_bits());
            }
        }
    }
}
