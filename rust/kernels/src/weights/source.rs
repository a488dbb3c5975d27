//! What is packed, and why it may not be.

use crate::quant::{BlockType, QuantError};

/// Why a matrix cannot be packed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PackingError {
    /// The bytes do not make the shape.
    #[error(
        "{rows} rows of {columns} {type_name} values need {expected} bytes, there are {actual}"
    )]
    Length {
        /// Rows asked for.
        rows: usize,
        /// Columns asked for.
        columns: usize,
        /// The type's name.
        type_name: &'static str,
        /// Bytes of that shape.
        expected: usize,
        /// Bytes given.
        actual: usize,
    },
    /// A row is not whole blocks, or there is nothing to pack.
    #[error("rows of {columns} values do not divide into {type_name} blocks of {block}")]
    Shape {
        /// Columns asked for.
        columns: usize,
        /// The type's name.
        type_name: &'static str,
        /// Elements of a block.
        block: usize,
    },
    /// A scale that is NaN or infinite.
    #[error("row {row} holds a {type_name} value or scale that is not finite")]
    NotFinite {
        /// The row in the file.
        row: usize,
        /// The type's name.
        type_name: &'static str,
    },
    /// A row order that is not a permutation of the rows.
    #[error("the row order names row {row} of {rows}")]
    RowOrder {
        /// The row named.
        row: usize,
        /// Rows there are.
        rows: usize,
    },
    /// The system has no memory for the packed matrix.
    #[error("no memory for a matrix of {bytes} bytes: {problem}")]
    Memory {
        /// Bytes asked for.
        bytes: usize,
        /// The system's words.
        problem: String,
    },
    /// Decoding failed.
    #[error(transparent)]
    Decode(#[from] QuantError),
}
/// What to pack: a row-major matrix as the file has it.
#[derive(Debug, Clone, Copy)]
pub struct WeightSource<'a> {
    /// The file's type.
    pub block_type: BlockType,
    /// `rows * columns` values of that type.
    pub bytes: &'a [u8],
    /// Outputs.
    pub rows: usize,
    /// Inputs.
    pub columns: usize,
    /// Packed row `i` is the file's row `row_order[i]`; `None` keeps the order.
    pub row_order: Option<&'a [u32]>,
}

impl WeightSource<'_> {
    pub(super) fn row_bytes(&self) -> usize {
        self.columns / self.block_type.block_elements() * self.block_type.block_bytes()
    }

    pub(super) fn file_row(&self, packed_row: usize) -> usize {
        self.row_order
            .map_or(packed_row, |order| order[packed_row] as usize)
    }

    pub(super) fn row(&self, packed_row: usize) -> &[u8] {
        let length = self.row_bytes();
        let begin = self.file_row(packed_row) * length;
        &self.bytes[begin..begin + length]
    }

    pub(super) fn check(&self) -> Result<(), PackingError> {
        let type_name = self.block_type.name();
        let block = self.block_type.block_elements();
        if self.rows == 0 || self.columns == 0 || !self.columns.is_multiple_of(block) {
            return Err(PackingError::Shape {
                columns: self.columns,
                type_name,
                block,
            });
        }
        let expected = self.row_bytes().saturating_mul(self.rows);
        if expected != self.bytes.len() {
            let (rows, columns) = (self.rows, self.columns);
            return Err(PackingError::Length {
                rows,
                columns,
                type_name,
                expected,
                actual: self.bytes.len(),
            });
        }
        match self.row_order {
            Some(order) if order.len() != self.rows => Err(PackingError::RowOrder {
                row: order.len(),
                rows: self.rows,
            }),
            Some(order) => match order.iter().find(|row| **row as usize >= self.rows) {
                Some(row) => Err(PackingError::RowOrder {
                    row: *row as usize,
                    rows: self.rows,
                }),
                None => Ok(()),
            },
            None => Ok(()),
        }
    }
}
