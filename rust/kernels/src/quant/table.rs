//! The way from a value of the list of formats to the format's own type, and what that says.

use super::{
    BlockFormat, BlockType, BlockVisitor, Iq3S, Iq4Nl, Iq4Xs, Mxfp4, Q2K, Q3K, Q4_0, Q4_1, Q4K,
    Q5_0, Q5_1, Q5K, Q6K, Q8_0, Tq1_0, Tq2_0,
};

impl BlockType {
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
            Self::Iq3S => visitor.visit::<Iq3S>(),
            Self::Tq1_0 => visitor.visit::<Tq1_0>(),
            Self::Tq2_0 => visitor.visit::<Tq2_0>(),
        };
        Some(output)
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
