//! Block formats: how weights are stored, seen as integers with scales, decoded and encoded.
//!
//! One file a family of formats, named as the package `gguf` names them. A format says how a block
//! unpacks into integers, scales and minimums; decoding follows from that in [`decode`], in the
//! order of operations that makes every f32 equal to `gguf`'s. The packer reads the same view.

mod encode;
mod k_quants;
mod legacy;
mod lookup;

use half::{bf16, f16};

pub use encode::encode;
pub use k_quants::{Q2K, Q3K, Q4K, Q5K, Q6K};
pub use legacy::{Q4_0, Q4_1, Q5_0, Q5_1, Q8_0};
pub use lookup::{Iq4Nl, Iq4Xs, Mxfp4};

/// The longest block.
pub(crate) const LONGEST_BLOCK: usize = 256;

/// Why bytes and numbers do not fit.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum QuantError {
    /// The number of values is not whole blocks of the type.
    #[error("{values} values are not whole {type_name} blocks of {block}")]
    Values {
        /// Values given.
        values: usize,
        /// The type's name.
        type_name: &'static str,
        /// Values of a block.
        block: usize,
    },
    /// The number of bytes does not fit the number of values.
    #[error("{values} {type_name} values need {expected} bytes, there are {actual}")]
    Bytes {
        /// Values given.
        values: usize,
        /// The type's name.
        type_name: &'static str,
        /// Bytes of so many values.
        expected: usize,
        /// Bytes given.
        actual: usize,
    },
    /// The type is read but not written.
    #[error(
        "{type_name} can be decoded but not encoded; F32, F16, BF16, Q4_0, Q4_1, Q5_0, Q5_1 and Q8_0 can"
    )]
    NoEncoder {
        /// The type's name.
        type_name: &'static str,
    },
}

/// How a packed layout stores the scales of a format.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ScaleEncoding {
    /// An f16 scale (and minimum) for every block of 32.
    Half,
    /// f16 bases for every 256, and small integers for each group.
    Super,
    /// An f32 scale for every block of 32.
    Single,
}

/// The scales of one block: a weight is
/// `base * sub[g] * (integer - ZERO) + base_minimum * sub_minimum[g]`.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct BlockScales {
    /// The block's scale.
    pub base: f32,
    /// The block's minimum, with its sign.
    pub base_minimum: f32,
    /// Each group's factor on `base`; 1 where the format has none.
    pub sub: [i8; 16],
    /// Each group's factor on `base_minimum`.
    pub sub_minimum: [i8; 16],
}

impl BlockScales {
    fn single(base: f32, base_minimum: f32) -> Self {
        Self {
            base,
            base_minimum,
            sub: [1; 16],
            sub_minimum: [1; 16],
        }
    }
}

/// A quantized format.
pub trait BlockFormat {
    /// Its name.
    const BLOCK_TYPE: BlockType;
    /// Values of a block: 32 or 256.
    const ELEMENTS: usize;
    /// Bytes of a block.
    const BYTES: usize;
    /// Values that share a scale: 16 or 32.
    const GROUP: usize;
    /// Bits that the integers need: 4 or 8.
    const BITS: u32;
    /// What is subtracted from each integer.
    const ZERO: u8;
    /// How its scales are packed.
    const ENCODING: ScaleEncoding;
    /// Whether groups have a minimum.
    const HAS_MINIMUM: bool;

    /// Splits a block of `BYTES` into `ELEMENTS` integers and its scales.
    fn unpack(block: &[u8], quants: &mut [u8], scales: &mut BlockScales);
}

/// Something to do with a format that is known only at run time.
pub trait BlockVisitor {
    /// What comes out.
    type Output;
    /// Does it.
    fn visit<F: BlockFormat>(self) -> Self::Output;
}

/// The types that the engine reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[allow(missing_docs, reason = "each is the format of that name")]
pub enum BlockType {
    F32,
    F16,
    Bf16,
    Q4_0,
    Q4_1,
    Q5_0,
    Q5_1,
    Q8_0,
    Q2K,
    Q3K,
    Q4K,
    Q5K,
    Q6K,
    Iq4Nl,
    Iq4Xs,
    Mxfp4,
}

impl BlockType {
    /// Every type.
    pub const ALL: [Self; 16] = [
        Self::F32,
        Self::F16,
        Self::Bf16,
        Self::Q4_0,
        Self::Q4_1,
        Self::Q5_0,
        Self::Q5_1,
        Self::Q8_0,
        Self::Q2K,
        Self::Q3K,
        Self::Q4K,
        Self::Q5K,
        Self::Q6K,
        Self::Iq4Nl,
        Self::Iq4Xs,
        Self::Mxfp4,
    ];

    /// The name that GGUF tools print.
    pub fn name(self) -> &'static str {
        match self {
            Self::F32 => "F32",
            Self::F16 => "F16",
            Self::Bf16 => "BF16",
            Self::Q4_0 => "Q4_0",
            Self::Q4_1 => "Q4_1",
            Self::Q5_0 => "Q5_0",
            Self::Q5_1 => "Q5_1",
            Self::Q8_0 => "Q8_0",
            Self::Q2K => "Q2_K",
            Self::Q3K => "Q3_K",
            Self::Q4K => "Q4_K",
            Self::Q5K => "Q5_K",
            Self::Q6K => "Q6_K",
            Self::Iq4Nl => "IQ4_NL",
            Self::Iq4Xs => "IQ4_XS",
            Self::Mxfp4 => "MXFP4",
        }
    }

    /// The type of that name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|known| known.name() == name)
    }

    /// Values of a block; 1 for the dense types.
    pub fn block_elements(self) -> usize {
        self.visit(Size).map_or(1, |(elements, _)| elements)
    }

    /// Bytes of a block.
    pub fn block_bytes(self) -> usize {
        let dense = if self == Self::F32 { 4 } else { 2 };
        self.visit(Size).map_or(dense, |(_, bytes)| bytes)
    }

    /// Whether it stores integers with scales.
    pub fn is_quantized(self) -> bool {
        !matches!(self, Self::F32 | Self::F16 | Self::Bf16)
    }

    /// Visits the format; `None` for the dense types.
    pub fn visit<V: BlockVisitor>(self, visitor: V) -> Option<V::Output> {
        match self {
            Self::F32 | Self::F16 | Self::Bf16 => None,
            Self::Q4_0 => Some(visitor.visit::<Q4_0>()),
            Self::Q4_1 => Some(visitor.visit::<Q4_1>()),
            Self::Q5_0 => Some(visitor.visit::<Q5_0>()),
            Self::Q5_1 => Some(visitor.visit::<Q5_1>()),
            Self::Q8_0 => Some(visitor.visit::<Q8_0>()),
            Self::Q2K => Some(visitor.visit::<Q2K>()),
            Self::Q3K => Some(visitor.visit::<Q3K>()),
            Self::Q4K => Some(visitor.visit::<Q4K>()),
            Self::Q5K => Some(visitor.visit::<Q5K>()),
            Self::Q6K => Some(visitor.visit::<Q6K>()),
            Self::Iq4Nl => Some(visitor.visit::<Iq4Nl>()),
            Self::Iq4Xs => Some(visitor.visit::<Iq4Xs>()),
            Self::Mxfp4 => Some(visitor.visit::<Mxfp4>()),
        }
    }
}

struct Size;

impl BlockVisitor for Size {
    type Output = (usize, usize);
    fn visit<F: BlockFormat>(self) -> Self::Output {
        (F::ELEMENTS, F::BYTES)
    }
}

struct Decode<'a> {
    bytes: &'a [u8],
    output: &'a mut [f32],
}

impl BlockVisitor for Decode<'_> {
    type Output = ();
    fn visit<F: BlockFormat>(self) {
        let mut quants = [0; LONGEST_BLOCK];
        let mut scales = BlockScales::default();
        let blocks = self
            .bytes
            .chunks_exact(F::BYTES)
            .zip(self.output.chunks_exact_mut(F::ELEMENTS));
        for (block, output) in blocks {
            let quants = &mut quants[..F::ELEMENTS];
            F::unpack(block, quants, &mut scales);
            let groups = quants
                .chunks_exact(F::GROUP)
                .zip(output.chunks_exact_mut(F::GROUP));
            for (group, (quants, output)) in groups.enumerate() {
                let scale = scales.base * f32::from(scales.sub[group]);
                let minimum = scales.base_minimum * f32::from(scales.sub_minimum[group]);
                for (quant, value) in quants.iter().zip(output) {
                    let product = scale * (f32::from(*quant) - f32::from(F::ZERO));
                    // Adding a zero would turn -0 into 0.
                    *value = if F::HAS_MINIMUM {
                        product + minimum
                    } else {
                        product
                    };
                }
            }
        }
    }
}

pub(crate) fn check_lengths(
    block_type: BlockType,
    values: usize,
    bytes: usize,
) -> Result<(), QuantError> {
    let (type_name, block) = (block_type.name(), block_type.block_elements());
    if !values.is_multiple_of(block) {
        return Err(QuantError::Values {
            values,
            type_name,
            block,
        });
    }
    let expected = (values / block).saturating_mul(block_type.block_bytes());
    if expected != bytes {
        return Err(QuantError::Bytes {
            values,
            type_name,
            expected,
            actual: bytes,
        });
    }
    Ok(())
}

/// Decodes whole blocks to f32, equal to the package `gguf` bit for bit.
pub fn decode(block_type: BlockType, bytes: &[u8], output: &mut [f32]) -> Result<(), QuantError> {
    check_lengths(block_type, output.len(), bytes.len())?;
    match block_type {
        BlockType::F32 => fill(bytes, output, f32::from_le_bytes),
        BlockType::F16 => fill(bytes, output, |value| f16::from_le_bytes(value).to_f32()),
        BlockType::Bf16 => {
            fill(bytes, output, |value| {
                f32::from_bits(u32::from(u16::from_le_bytes(value)) << 16)
            });
        }
        quantized => {
            quantized.visit(Decode { bytes, output });
        }
    }
    Ok(())
}

fn fill<const N: usize>(bytes: &[u8], output: &mut [f32], convert: impl Fn([u8; N]) -> f32) {
    for (bytes, value) in bytes.as_chunks::<N>().0.iter().zip(output) {
        *value = convert(*bytes);
    }
}

/// The f16 at the beginning of `bytes`.
fn half_at(bytes: &[u8], offset: usize) -> f32 {
    f16::from_le_bytes([bytes[offset], bytes[offset + 1]]).to_f32()
}

/// bf16 bits of a value, rounded to even, as `gguf` rounds.
pub(crate) fn to_bfloat(value: f32) -> u16 {
    bf16::from_f32(value).to_bits()
}
