//! The list of block formats; `table.rs` leads from a value of it to the format's own type.
//!
//! Names are those of GGUF's tensor types. Unknown types are refused where files are opened, so a
//! `BlockType` is always one that this crate decodes.

use std::fmt;

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
    /// Quadruples out of a codebook of 512, a sign an element, 4-bit scales per 32, super-blocks of 256.
    Iq3S,
    /// -1, 0 or 1, five to a byte, a scale per 256.
    Tq1_0,
    /// -1, 0 or 1, two bits each, a scale per 256.
    Tq2_0,
}

impl BlockType {
    /// Every format, floats first.
    pub const ALL: [Self; 19] = [
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
        Self::Iq3S,
        Self::Tq1_0,
        Self::Tq2_0,
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
            Self::Iq3S => "IQ3_S",
            Self::Tq1_0 => "TQ1_0",
            Self::Tq2_0 => "TQ2_0",
        }
    }

    /// The format of that [`name`](Self::name), in exactly this spelling.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|each| each.name() == name)
    }

    /// Whether it can be made, and not only read.
    pub fn has_encoder(self) -> bool {
        !matches!(self, Self::Mxfp4 | Self::Iq3S | Self::Tq1_0 | Self::Tq2_0)
    }

    /// Whether elements are integers with scales, in other words whether
    /// [`visit`](Self::visit) calls its visitor.
    pub fn is_quantized(self) -> bool {
        !matches!(self, Self::F32 | Self::F16 | Self::Bf16)
    }
}

impl fmt::Display for BlockType {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.pad(self.name())
    }
}
