//! The list of block formats, and the way from a value of that list to the format's own type.
//!
//! Names are those of GGUF's tensor types. Unknown types are refused where files are opened, so a
//! `BlockType` is always one that this crate decodes.

use std::fmt;

use super::{
    BlockFormat, BlockVisitor, Iq4Nl, Iq4Xs, Mxfp4, Q2K, Q3K, Q4_0, Q4_1, Q4K, Q5_0, Q5_1, Q5K,
    Q6K, Q8_0,
};

/// A format in which weights are stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum BlockType {
    /// IEEE single precision, one element a block.
    F32,
    /// IEEE half precision, one element a block.
    F16,
    /// The upper half of an `f32`, one element a block.
    Bf16,
    /// 4 bits, a scale per 32.
    Q4_0,
    /// 4 bits, a scale and a minimum per 32.
    Q4_1,
    /// 5 bits, a scale per 32.
    Q5_0,
    /// 5 bits, a scale and a minimum per 32.
    Q5_1,
    /// 8 bits, a scale per 32.
    Q8_0,
    /// 2 bits, 4-bit scales and minima per 16, super-blocks of 256.
    Q2K,
    /// 3 bits, 6-bit scales per 16, super-blocks of 256.
    Q3K,
    /// 4 bits, 6-bit scales and minima per 32, super-blocks of 256.
    Q4K,
    /// 5 bits, 6-bit scales and minima per 32, super-blocks of 256.
    Q5K,
    /// 6 bits, 8-bit scales per 16, super-blocks of 256.
    Q6K,
    /// 4-bit index into a codebook, a scale per 32.
    Iq4Nl,
    /// 4-bit index into a codebook, 6-bit scales per 32, super-blocks of 256.
    Iq4Xs,
    /// 4-bit floats (E2M1), a power-of-two scale per 32.
    Mxfp4,
}

impl BlockType {
    /// Every format, floats first.
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

    /// The name as GGUF spells it, for example `Q4_K`.
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

    /// The format of that [`name`](Self::name), in exactly this spelling.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|each| each.name() == name)
    }

    /// Elements in one block: 1, 32 or 256.
    pub fn block_elements(self) -> usize {
        self.visit(BlockSize).map_or(1, |(elements, _)| elements)
    }

    /// Bytes of one block.
    pub fn block_bytes(self) -> usize {
        match self.visit(BlockSize) {
            Some((_, bytes)) => bytes,
            None if self == Self::F32 => 4,
            None => 2,
        }
    }

    /// Whether elements are integers with scales, in other words whether
    /// [`visit`](Self::visit) calls its visitor.
    pub fn is_quantized(self) -> bool {
        !matches!(self, Self::F32 | Self::F16 | Self::Bf16)
    }

    /// Calls `visitor` with the type that describes this format; `None` for `F32`, `F16` and
    /// `BF16`, which have no integer view.
    pub fn visit<V: BlockVisitor>(self, visitor: V) -> Option<V::Output> {
        let output = match self {
            Self::F32 | Self::F16 | Self::Bf16 => return None,
            Self::Q4_0 => visitor.visit::<Q4_0>(),
            Self::Q4_1 => visitor.visit::<Q4_1>(),
            Self::Q5_0 => visitor.visit::<Q5_0>(),
            Self::Q5_1 => visitor.visit::<Q5_1>(),
            Self::Q8_0 => visitor.visit::<Q8_0>(),
            Self::Q2K => visitor.visit::<Q2K>(),
            Self::Q3K => visitor.visit::<Q3K>(),
            Self::Q4K => visitor.visit::<Q4K>(),
            Self::Q5K => visitor.visit::<Q5K>(),
            Self::Q6K => visitor.visit::<Q6K>(),
            Self::Iq4Nl => visitor.visit::<Iq4Nl>(),
            Self::Iq4Xs => visitor.visit::<Iq4Xs>(),
            Self::Mxfp4 => visitor.visit::<Mxfp4>(),
        };
        Some(output)
    }
}

impl fmt::Display for BlockType {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.pad(self.name())
    }
}

/// Asks a format for its elements and bytes.
struct BlockSize;

impl BlockVisitor for BlockSize {
    type Output = (usize, usize);

    fn visit<F: BlockFormat>(self) -> Self::Output {
        (F::ELEMENTS, F::BYTES)
    }
}
