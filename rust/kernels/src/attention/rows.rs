//! Rows inside larger matrices: queries as they stand in a projection, results as the next one reads them.

use std::marker::PhantomData;

/// Rows of floats, `stride` apart, of which the beginning is of interest.
#[derive(Debug, Clone, Copy)]
pub struct QueryRows<'a> {
    /// Row `i` begins at `i * stride`.
    pub values: &'a [f32],
    /// From one row to the next.
    pub stride: usize,
}

impl QueryRows<'_> {
    /// Whether there are `rows` rows of `width`.
    pub(crate) fn holds(&self, rows: usize, width: usize) -> bool {
        let last = rows.saturating_sub(1).checked_mul(self.stride);
        let end = last.and_then(|last| last.checked_add(width));
        rows == 0 || (self.stride >= width && end.is_some_and(|end| end <= self.values.len()))
    }

    /// The rows from `first` on.
    pub(crate) fn starting_at(self, first: usize) -> Self {
        Self {
            values: &self.values[(first * self.stride).min(self.values.len())..],
            stride: self.stride,
        }
    }
}

/// Rows of `width` floats, `stride` apart, for one writer: a part of the columns of a matrix.
#[derive(Debug)]
pub struct RowsMut<'a> {
    pointer: *mut f32,
    rows: usize,
    width: usize,
    stride: usize,
    borrowed: PhantomData<&'a mut [f32]>,
}

// SAFETY: the rows are borrowed mutably for one owner, like slices.
unsafe impl Send for RowsMut<'_> {}

impl<'a> RowsMut<'a> {
    /// Rows that stand one behind the other.
    ///
    /// # Panics
    ///
    /// Where `values` is not whole rows of `width`.
    pub fn new(values: &'a mut [f32], width: usize) -> Self {
        assert!(
            width > 0 && values.len().is_multiple_of(width),
            "{} floats in rows of {width}",
            values.len()
        );
        Self {
            pointer: values.as_mut_ptr(),
            rows: values.len() / width,
            width,
            stride: width,
            borrowed: PhantomData,
        }
    }

    /// Rows of `width` floats from `pointer` on, `stride` apart.
    ///
    /// # Safety
    ///
    /// All of them are valid to write, and nobody else touches them, for `'a`.
    pub(crate) unsafe fn from_parts(
        pointer: *mut f32,
        rows: usize,
        (width, stride): (usize, usize),
    ) -> Self {
        Self {
            pointer,
            rows,
            width,
            stride,
            borrowed: PhantomData,
        }
    }

    /// The same rows, for a while.
    pub(crate) fn reborrow(&mut self) -> RowsMut<'_> {
        RowsMut {
            borrowed: PhantomData,
            ..*self
        }
    }

    /// How many rows.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Floats of a row.
    pub fn width(&self) -> usize {
        self.width
    }

    /// One row.
    ///
    /// # Panics
    ///
    /// Where there is no such row.
    #[inline]
    pub fn row(&mut self, index: usize) -> &mut [f32] {
        assert!(index < self.rows, "row {index} of {}", self.rows);
        // SAFETY: the row is one of those that whoever made the value answered for, and the result
        // borrows `self`.
        unsafe { std::slice::from_raw_parts_mut(self.pointer.add(index * self.stride), self.width) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_counted_with_the_last_one_short() {
        let values = [0.0; 11];
        let rows = QueryRows {
            values: &values,
            stride: 4,
        };
        assert!(rows.holds(3, 3) && !rows.holds(3, 4) && !rows.holds(4, 1) && !rows.holds(1, 5));
        assert!(rows.starting_at(2).holds(1, 3) && rows.starting_at(9).holds(0, 3));
        assert!(!rows.holds(usize::MAX, 3));
    }
}
