//! Rows of packed weights by every instruction set against the plain program, to the bit.
#![allow(clippy::unwrap_used)]

mod support;

use ruvllm_kernels::quant::BlockType;
use ruvllm_kernels::{Arena, PackedMatrix, ThreadPool, WeightSource, available};
use support::{Numbers, weights};

const ROWS: usize = 21;
const COLUMNS: usize = 512;

#[test]
fn rows_together_have_the_bits_of_each_alone() {
    let rows = [20, 0, 3, 3, 19, 16, 1];
    for block_type in BlockType::ALL {
        let source = WeightSource {
            block_type,
            bytes: &weights(block_type, ROWS, COLUMNS, &mut Numbers(3)),
            rows: ROWS,
            columns: COLUMNS,
            row_order: None,
        };
        let matrix = PackedMatrix::pack(&source, &ThreadPool::new(1), &Arena::default()).unwrap();
        let mut expected = vec![0.0; rows.len() * COLUMNS];
        for (row, output) in rows.iter().zip(expected.chunks_exact_mut(COLUMNS)) {
            matrix.decode_row(*row as usize, output);
        }
        let bits =
            |values: &[f32]| -> Vec<u32> { values.iter().map(|one| one.to_bits()).collect() };
        for kernels in available() {
            let mut found = vec![f32::NAN; expected.len()];
            kernels.decode_rows(&matrix, &rows, &mut found);
            let name = format!("{} {}", kernels.name(), block_type.name());
            assert_eq!(bits(&expected), bits(&found), "{name}");
        }
    }
}
