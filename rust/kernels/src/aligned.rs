//! Buffers that begin on a cache line, so that a vector load never straddles two.

/// One cache line; the element of every aligned buffer.
#[derive(Clone, Copy)]
#[repr(C, align(64))]
struct Line([u8; 64]);

const _: () = assert!(size_of::<Line>() == 64 && align_of::<Line>() == 64);

/// Zeroed bytes that begin on a cache line; the system commits them as they are written.
#[derive(Clone, Default)]
pub struct AlignedBytes {
    lines: Vec<Line>,
    length: usize,
}

impl AlignedBytes {
    /// `length` zero bytes.
    pub fn zeroed(length: usize) -> Self {
        Self {
            lines: vec![Line([0; 64]); length.div_ceil(64)],
            length,
        }
    }

    /// Grows or shrinks to `length` bytes; what was there stays, what is new is zero.
    pub fn resize(&mut self, length: usize) {
        self.lines.resize(length.div_ceil(64), Line([0; 64]));
        self.length = length;
    }

    /// How many bytes.
    pub fn len(&self) -> usize {
        self.length
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.length == 0
    }

    /// The bytes.
    pub fn as_slice(&self) -> &[u8] {
        // SAFETY: `lines` owns at least `length` initialised bytes, and u8 has no alignment.
        unsafe { std::slice::from_raw_parts(self.lines.as_ptr().cast(), self.length) }
    }

    /// The bytes, to write.
    pub fn as_mut_slice(&mut self) -> &mut [u8] {
        // SAFETY: as above, and `&mut self` makes the view the only one.
        unsafe { std::slice::from_raw_parts_mut(self.lines.as_mut_ptr().cast(), self.length) }
    }
}

impl std::fmt::Debug for AlignedBytes {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "AlignedBytes({})", self.length)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn begins_on_a_cache_line_and_keeps_its_bytes() {
        let mut bytes = AlignedBytes::zeroed(65);
        assert_eq!(bytes.as_slice().as_ptr() as usize % 64, 0);
        bytes.as_mut_slice()[64] = 7;
        bytes.resize(200);
        assert_eq!(
            (bytes.len(), bytes.as_slice()[64], bytes.as_slice()[199]),
            (200, 7, 0)
        );
    }
}
