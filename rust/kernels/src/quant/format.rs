//! What a quantized format is: its sizes, and its blocks seen as integers and scales.
//!
//! The bit layout of a format is written once, in its `unpack`; `decode` follows from it here.
//! The packer uses `unpack` too, so packed and decoded weights cannot disagree.

use super::BlockType;
use super::coding::Codebook;

/// Most elements a block can have.
const MAX_ELEMENTS: usize = 256;
/// Most groups a block can have.
const MAX_GROUPS: usize = 16;

/// How a format stores its scales.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ScaleEncoding {
    /// One `f16` scale (and minimum) per 32 elements; every sub-scale is 1.
    Half,
    /// One `f16` base per 256 elements and a small integer per group.
    Super,
    /// One scale per 32 elements that needs the range of `f32` and is a `bf16`; every sub-scale is 1.
    Bfloat,
    /// One `f32` scale per 32 elements.
    Single,
}

/// [`ScaleEncoding::Half`] as a constant parameter of a function.
pub(crate) const HALF_SCALES: u8 = ScaleEncoding::Half as u8;
/// [`ScaleEncoding::Super`] as one.
pub(crate) const SUPER_SCALES: u8 = ScaleEncoding::Super as u8;
/// [`ScaleEncoding::Bfloat`] as one.
pub(crate) const BFLOAT_SCALES: u8 = ScaleEncoding::Bfloat as u8;
/// [`ScaleEncoding::Single`] as one.
pub(crate) const SINGLE_SCALES: u8 = ScaleEncoding::Single as u8;

/// The scales of one block; entries past the block's groups mean nothing.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct BlockScales {
    /// Scale of the whole block.
    pub base: f32,
    /// Scale of the minima, zero for a format without them. Signed so that minima are added.
    pub base_minimum: f32,
    /// Integer scale of each group.
    pub sub: [i8; MAX_GROUPS],
    /// Integer minimum of each group, never negative.
    pub sub_minimum: [i8; MAX_GROUPS],
}

impl BlockScales {
    /// A block of one group with a scale and no minimum.
    pub(super) fn single(base: f32) -> Self {
        Self {
            base,
            base_minimum: 0.0,
            sub: [1; MAX_GROUPS],
            sub_minimum: [0; MAX_GROUPS],
        }
    }

    /// A block of one group with a scale and a minimum.
    pub(super) fn with_minimum(base: f32, minimum: f32) -> Self {
        Self {
            base,
            base_minimum: minimum,
            sub: [1; MAX_GROUPS],
            sub_minimum: [1; MAX_GROUPS],
        }
    }
}

/// A quantized format.
///
/// In exact arithmetic, with `g = i / GROUP`, element `i` of a block is
/// `base * sub[g] * (quants[i] - ZERO) + base_minimum * sub_minimum[g]`.
/// In `f32`, evaluated from left to right, the formula gives what [`decode`](Self::decode) gives,
/// except for the sign of zero where there is no minimum to add.
pub trait BlockFormat {
    /// The format's entry in the list.
    const BLOCK_TYPE: BlockType;
    /// Elements in a block: 32 or 256.
    const ELEMENTS: usize;
    /// Bytes of a block.
    const BYTES: usize;
    /// Consecutive elements that share a sub-scale: 16 or 32.
    const GROUP: usize;
    /// Bits an unpacked integer takes in a packed layout: 4, 5, 6 or 8.
    const BITS: u32;
    /// What the bits choose from, where they are not the integer itself.
    const CODEBOOK: Option<Codebook> = None;
    /// The unpacked integer that stands for zero (before the minimum is added).
    const ZERO: u8;
    /// How the scales are stored.
    const ENCODING: ScaleEncoding;
    /// Whether groups have a minimum.
    const HAS_MINIMUM: bool;

    /// Shows `block` (`BYTES` long) as integers (`ELEMENTS` of them, below `1 << BITS` or
    /// entries of the codebook) and scales.
    ///
    /// # Panics
    /// If a slice has another length.
    fn unpack(block: &[u8], quants: &mut [u8], scales: &mut BlockScales);

    /// Decodes `block` (`BYTES` long) into `output` (`ELEMENTS` long).
    ///
    /// # Panics
    /// If a slice has another length.
    #[inline]
    fn decode(block: &[u8], output: &mut [f32]) {
        const {
            assert!(Self::ELEMENTS <= MAX_ELEMENTS);
            assert!(Self::ELEMENTS.is_multiple_of(Self::GROUP));
            assert!(Self::ELEMENTS / Self::GROUP <= MAX_GROUPS);
        }
        assert_eq!(output.len(), Self::ELEMENTS, "output is one block");
        let mut buffer = [0_u8; MAX_ELEMENTS];
        let quants = &mut buffer[..Self::ELEMENTS];
        let mut scales = BlockScales::default();
        Self::unpack(block, quants, &mut scales);

        let groups = quants.chunks_exact(Self::GROUP);
        let outputs = output.chunks_exact_mut(Self::GROUP);
        let subs = scales.sub.iter().zip(&scales.sub_minimum);
        for ((quants, output), (&sub, &sub_minimum)) in groups.zip(outputs).zip(subs) {
            let scale = scales.base * f32::from(sub);
            let minimum = scales.base_minimum * f32::from(sub_minimum);
            for (value, &quant) in output.iter_mut().zip(quants) {
                let scaled = scale * f32::from(i16::from(quant) - i16::from(Self::ZERO));
                // Adding a zero that the format does not have would turn -0 into 0.
                *value = if Self::HAS_MINIMUM {
                    scaled + minimum
                } else {
                    scaled
                };
            }
        }
    }
}

/// Code that is generic over the format, to be called through
/// [`BlockType::visit`](super::BlockType::visit).
pub trait BlockVisitor {
    /// What the code returns.
    type Output;

    /// Runs with `F` as the format.
    fn visit<F: BlockFormat>(self) -> Self::Output;
}
