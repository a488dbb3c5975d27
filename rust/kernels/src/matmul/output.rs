//! Where a product goes: some columns of every row of a larger matrix, which other threads share.

use std::marker::PhantomData;

/// A rectangle `[rows, columns]` of a row-major matrix, for one writer.
#[derive(Debug)]
pub struct OutputTile<'a> {
    pointer: *mut f32,
    rows: usize,
    columns: usize,
    stride: usize,
    adds: bool,
    matrix: PhantomData<&'a mut f32>,
}

impl<'a> OutputTile<'a> {
    /// All of `values` as rows of `columns`; what is written replaces what was there.
    ///
    /// # Panics
    ///
    /// Where `values` is not whole rows.
    pub fn new(values: &'a mut [f32], columns: usize) -> Self {
        assert!(
            columns > 0 && values.len().is_multiple_of(columns),
            "{} values are not rows of {columns}",
            values.len()
        );
        let rows = values.len() / columns;
        Self {
            pointer: values.as_mut_ptr(),
            rows,
            columns,
            stride: columns,
            adds: false,
            matrix: PhantomData,
        }
    }

    /// The rectangle whose first element is `pointer`.
    ///
    /// # Safety
    ///
    /// For `'a`, `columns` floats at each multiple of `stride` behind `pointer`, `rows` times, are
    /// initialized and belong to this value alone.
    pub(crate) unsafe fn from_raw(
        pointer: *mut f32,
        (rows, columns): (usize, usize),
        stride: usize,
        adds: bool,
    ) -> Self {
        Self {
            pointer,
            rows,
            columns,
            stride,
            adds,
            matrix: PhantomData,
        }
    }

    /// Rows: tokens.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Columns: outputs of the matrix; the last tile may have more lanes than are left.
    pub fn columns(&self) -> usize {
        self.columns
    }

    /// Whether results are added to what is there.
    pub(crate) fn adds(&self) -> bool {
        self.adds
    }

    /// Floats from one row to the next.
    pub(crate) fn stride(&self) -> usize {
        self.stride
    }

    /// The first element, for kernels that store whole vectors.
    pub(crate) fn as_mut_ptr(&mut self) -> *mut f32 {
        self.pointer
    }

    /// One row.
    ///
    /// # Panics
    ///
    /// Where `row` is outside.
    pub fn row_mut(&mut self, row: usize) -> &mut [f32] {
        assert!(row < self.rows, "row {row} of {}", self.rows);
        // SAFETY: the row is inside the rectangle, which is this value's own.
        unsafe { std::slice::from_raw_parts_mut(self.pointer.add(row * self.stride), self.columns) }
    }

    /// Writes (or adds) values from `column` on; lanes beyond the last column are left out.
    pub fn put(&mut self, row: usize, column: usize, values: &[f32]) {
        let adds = self.adds;
        let targets = self.row_mut(row).iter_mut().skip(column);
        for (target, value) in targets.zip(values) {
            *target = if adds { *target + value } else { *value };
        }
    }
}
