//! Products of two matrices of f32 that nothing was packed for: the small ones of a backward pass, and the inner loop of
//! products with transposed weights.
//!
//! Each sum is added up in the order of the depth, whatever stands beside it.

use super::output::OutputTile;
use crate::simd::Lanes;

/// `left [rows, depth]` times `right [depth, columns]`; rows and columns are those of the output.
#[derive(Debug, Clone, Copy)]
pub struct FloatProduct<'a> {
    /// Read number by number.
    pub left: Grid<'a>,
    /// Read in vectors: rows `right_stride` apart.
    pub right: &'a [f32],
    /// From one row of `right` to the next.
    pub right_stride: usize,
    /// Terms of each sum.
    pub depth: usize,
}

/// A matrix whose numbers stand at regular distances, so that it may be read turned over.
#[derive(Debug, Clone, Copy)]
pub struct Grid<'a> {
    /// The first is that of row 0 and column 0.
    pub values: &'a [f32],
    /// From a row to the next.
    pub row_stride: usize,
    /// From a column to the next.
    pub column_stride: usize,
}

impl<'a> Grid<'a> {
    /// Rows one behind the other.
    pub fn rows(values: &'a [f32], columns: usize) -> Self {
        Self {
            values,
            row_stride: columns,
            column_stride: 1,
        }
    }

    /// The same matrix with rows as columns.
    #[must_use]
    pub fn turned(self) -> Self {
        Self {
            row_stride: self.column_stride,
            column_stride: self.row_stride,
            ..self
        }
    }
}

impl FloatProduct<'_> {
    /// Panics unless both factors have what an output of that size needs.
    pub(crate) fn check(&self, (rows, columns): (usize, usize)) {
        if rows == 0 || columns == 0 || self.depth == 0 {
            return;
        }
        let left = (rows - 1) * self.left.row_stride + (self.depth - 1) * self.left.column_stride;
        assert!(
            left < self.left.values.len(),
            "left of {rows} rows, {} deep",
            self.depth
        );
        let right = (self.depth - 1) * self.right_stride + columns;
        assert!(
            right <= self.right.len(),
            "right of {columns} columns, {} deep",
            self.depth
        );
    }

    /// The product of some rows of the left side with some columns of the right one.
    pub(crate) fn part(&self, row: usize, column: usize) -> Self {
        let first = row * self.left.row_stride;
        let left = Grid {
            values: self.left.values.get(first..).unwrap_or_default(),
            ..self.left
        };
        Self {
            left,
            right: self.right.get(column..).unwrap_or_default(),
            ..*self
        }
    }
}

/// `output += left * right`, in plain loops.
pub(crate) fn plain(product: &FloatProduct<'_>, output: &mut OutputTile<'_>) {
    let columns = output.columns();
    for row in 0..output.rows() {
        let targets = output.row_mut(row);
        for depth in 0..product.depth {
            let Grid {
                values,
                row_stride,
                column_stride,
            } = product.left;
            let factor = values[row * row_stride + depth * column_stride];
            let right = &product.right[depth * product.right_stride..][..columns];
            for (target, value) in targets.iter_mut().zip(right) {
                *target += factor * value;
            }
        }
    }
}

/// `output += left * right`.
///
/// # Safety
///
/// [`FloatProduct::check`] passed for the output's size.
#[inline(always)]
pub(crate) unsafe fn add<L: Lanes>(
    lanes: L,
    product: &FloatProduct<'_>,
    output: &mut OutputTile<'_>,
) {
    if product.depth == 0 {
        return;
    }
    let (rows, columns, stride) = (output.rows(), output.columns(), output.stride());
    let mut column = 0;
    while column < columns {
        let left = columns - column;
        let width = if left >= 2 * L::WIDTH {
            2 * L::WIDTH
        } else {
            left.min(L::WIDTH)
        };
        let mut row = 0;
        while row < rows {
            // SAFETY: row and column lie in the output and, as was checked, in the factors.
            let task = unsafe {
                Task {
                    left: product
                        .left
                        .values
                        .as_ptr()
                        .add(row * product.left.row_stride),
                    row_stride: product.left.row_stride,
                    column_stride: product.left.column_stride,
                    right: product.right.as_ptr().add(column),
                    right_stride: product.right_stride,
                    depth: product.depth,
                    target: output.as_mut_ptr().add(row * stride + column),
                    stride,
                    columns: width,
                }
            };
            // SAFETY: as many rows are left as the instance takes, and as many columns as the task says.
            row += unsafe {
                match rows - row {
                    // Two sums a row have to fit the registers.
                    12.. if L::WIDTH == 16 => some_rows::<L, 12>(lanes, task),
                    8.. if L::WIDTH == 16 => some_rows::<L, 8>(lanes, task),
                    6.. if L::WIDTH < 16 => some_rows::<L, 6>(lanes, task),
                    4.. => some_rows::<L, 4>(lanes, task),
                    2.. => some_rows::<L, 2>(lanes, task),
                    _ => some_rows::<L, 1>(lanes, task),
                }
            };
        }
        column += width;
    }
}

/// Some rows of the output, of at most two vectors.
#[derive(Clone, Copy)]
struct Task {
    left: *const f32,
    row_stride: usize,
    column_stride: usize,
    right: *const f32,
    right_stride: usize,
    depth: usize,
    target: *mut f32,
    stride: usize,
    columns: usize,
}

/// # Safety
///
/// The task's pointers have `ROWS` rows and the task's columns behind them.
#[inline(always)]
unsafe fn some_rows<L: Lanes, const ROWS: usize>(lanes: L, task: Task) -> usize {
    // SAFETY: what the caller promises; a whole vector is loaded where there is one.
    unsafe {
        if task.columns == 2 * L::WIDTH {
            sums::<L, ROWS, 2>(lanes, task, |place| lanes.load(place));
        } else if task.columns == L::WIDTH {
            sums::<L, ROWS, 1>(lanes, task, |place| lanes.load(place));
        } else {
            sums::<L, ROWS, 1>(lanes, task, |place| lanes.load_partial(place, task.columns));
        }
    }
    ROWS
}

/// # Safety
///
/// As of [`some_rows`]; `load` reads no more than there is.
#[inline(always)]
unsafe fn sums<L: Lanes, const ROWS: usize, const VECTORS: usize>(
    lanes: L,
    task: Task,
    load: impl Fn(*const f32) -> L::Vector,
) {
    // SAFETY: what the caller promises.
    unsafe {
        let mut sums = [[lanes.splat(0.0); VECTORS]; ROWS];
        for depth in 0..task.depth {
            let right = task.right.add(depth * task.right_stride);
            let right: [_; VECTORS] =
                std::array::from_fn(|vector| load(right.add(vector * L::WIDTH)));
            let left = task.left.add(depth * task.column_stride);
            for (row, sums) in sums.iter_mut().enumerate() {
                let factor = lanes.splat(*left.add(row * task.row_stride));
                for (sum, right) in sums.iter_mut().zip(right) {
                    *sum = lanes.fma(factor, right, *sum);
                }
            }
        }
        for (row, sums) in sums.into_iter().enumerate() {
            for (vector, sum) in sums.into_iter().enumerate() {
                let target = task.target.add(row * task.stride + vector * L::WIDTH);
                let count = task.columns - vector * L::WIDTH;
                let sum = lanes.add(lanes.load_partial(target, count), sum);
                lanes.store_partial(target, sum, count);
            }
        }
    }
}
