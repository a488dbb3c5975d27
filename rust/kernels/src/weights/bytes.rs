//! Where a packed matrix's bytes lie: in memory of its own, or in a file that is mapped.

use std::sync::Arc;

use crate::aligned::AlignedBytes;

/// Bytes of somebody else, such as a mapped file, that stay as they are while this is held.
pub type SharedBytes = Arc<dyn AsRef<[u8]> + Send + Sync>;

/// Vector loads of packed weights never straddle two cache lines.
const LINE_BYTES: usize = 64;

/// The values or the scales of a packed matrix.
pub(super) enum PackedBytes {
    Own(AlignedBytes),
    Shared { bytes: SharedBytes, length: usize },
}

impl PackedBytes {
    /// The first `length` of somebody else's; `None` where there are fewer, or where they do not begin on a line.
    pub(super) fn shared(bytes: SharedBytes, length: usize) -> Option<Self> {
        let all = (*bytes).as_ref();
        let is_usable = all.len() >= length
            && (length == 0 || (all.as_ptr() as usize).is_multiple_of(LINE_BYTES));
        is_usable.then_some(Self::Shared { bytes, length })
    }

    pub(super) fn len(&self) -> usize {
        match self {
            Self::Own(bytes) => bytes.len(),
            Self::Shared { length, .. } => *length,
        }
    }

    pub(super) fn as_slice(&self) -> &[u8] {
        match self {
            Self::Own(bytes) => bytes.as_slice(),
            Self::Shared { bytes, length } => &(**bytes).as_ref()[..*length],
        }
    }

    /// The bytes, to write; none where they are somebody else's.
    pub(super) fn as_mut_slice(&mut self) -> &mut [u8] {
        match self {
            Self::Own(bytes) => bytes.as_mut_slice(),
            Self::Shared { .. } => &mut [],
        }
    }
}

impl std::fmt::Debug for PackedBytes {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let whose = match self {
            Self::Own(_) => "own",
            Self::Shared { .. } => "shared",
        };
        write!(formatter, "{} {whose} bytes", self.len())
    }
}
