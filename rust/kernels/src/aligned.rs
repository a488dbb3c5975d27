//! Zeroed memory that begins on a page, so that a vector load never straddles two cache lines.

use memmap2::MmapMut;

/// Zeroed bytes; the system commits them as they are written, in huge pages where it can.
#[derive(Default)]
pub(crate) struct AlignedBytes {
    /// `None`: no bytes.
    map: Option<MmapMut>,
}

impl AlignedBytes {
    /// `length` zero bytes.
    pub(crate) fn zeroed(length: usize) -> std::io::Result<Self> {
        if length == 0 {
            return Ok(Self::default());
        }
        let map = MmapMut::map_anon(length)?;
        #[cfg(target_os = "linux")]
        {
            // Only a hint: a system without huge pages refuses it and serves small ones.
            let _ = map.advise(memmap2::Advice::HugePage);
        }
        Ok(Self { map: Some(map) })
    }

    /// How many bytes.
    pub(crate) fn len(&self) -> usize {
        self.as_slice().len()
    }

    /// The bytes.
    pub(crate) fn as_slice(&self) -> &[u8] {
        self.map.as_deref().unwrap_or_default()
    }

    /// The bytes, to write.
    pub(crate) fn as_mut_slice(&mut self) -> &mut [u8] {
        self.map.as_deref_mut().unwrap_or_default()
    }
}

impl std::fmt::Debug for AlignedBytes {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "AlignedBytes({})", self.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn begins_on_a_cache_line_and_is_zero() {
        let bytes = AlignedBytes::zeroed(4097).unwrap();
        assert_eq!(bytes.as_slice().as_ptr() as usize % 64, 0);
        assert!(bytes.len() == 4097 && bytes.as_slice().iter().all(|byte| *byte == 0));
        assert_eq!(AlignedBytes::zeroed(0).unwrap().len(), 0);
    }
}
