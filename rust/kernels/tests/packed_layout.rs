//! What packed matrices are made of, byte for byte: images of them lie on people's disks.
#![allow(clippy::unwrap_used)]

use std::sync::Arc;

use ruvllm_kernels::quant::BlockType;
use ruvllm_kernels::{Arena, PackedBefore, PackedMatrix, SharedBytes, ThreadPool, WeightSource};

const ROWS: usize = 19;
const COLUMNS: usize = 512;

/// Whoever makes these others counts on `PACKING` in `rust/core/src/model/image.rs`, or what was packed before is taken
/// for what it is not.
const LAYOUTS: [(&str, u64); 19] = [
    ("F32", 0xd95f_43fb_91f9_e6ad),
    ("F16", 0x1a76_799d_2cb8_1f0c),
    ("BF16", 0xebab_7d1b_a009_3c4f),
    ("Q4_0", 0xf30f_0ae7_cea9_5418),
    ("Q4_1", 0x823f_d39f_426b_bb88),
    ("Q5_0", 0xa9a7_c8fb_7a73_6f36),
    ("Q5_1", 0x08fe_a576_ffc9_e9b1),
    ("Q8_0", 0x3ca1_9729_3f8a_1bb1),
    ("Q2_K", 0xb9a8_a452_8f90_1d8f),
    ("Q3_K", 0xe991_3bbe_1005_023b),
    ("Q4_K", 0xb69b_ae9d_80db_5d39),
    ("Q5_K", 0xe963_d775_7cc7_2bfe),
    ("Q6_K", 0x3e3c_fad4_937b_27c6),
    ("IQ4_NL", 0xf30f_0ae7_cea9_5418),
    ("IQ4_XS", 0xf177_b3c3_f916_a4d2),
    ("MXFP4", 0x3107_4d49_126a_3870),
    ("IQ3_S", 0x05d9_e5c1_1980_b7a3),
    ("TQ1_0", 0x0422_4d67_6196_aa61),
    ("TQ2_0", 0x2c44_86b6_198a_cdec),
];

fn packed(block_type: BlockType) -> PackedMatrix {
    packed_rows(block_type, ROWS)
}

fn packed_rows(block_type: BlockType, rows: usize) -> PackedMatrix {
    let length = rows * COLUMNS / block_type.block_elements() * block_type.block_bytes();
    // Of no type a number with these bytes is infinite.
    let bytes: Vec<u8> = (0..length).map(|place| (place * 31 % 89) as u8).collect();
    let order: Vec<u32> = (0..rows as u32).rev().collect();
    let source = WeightSource {
        block_type,
        bytes: &bytes,
        rows,
        columns: COLUMNS,
        row_order: Some(&order),
    };
    PackedMatrix::pack(&source, &ThreadPool::new(2), &Arena::default()).unwrap()
}

/// FNV-1a.
fn hash(bytes: impl Iterator<Item = u8>) -> u64 {
    bytes.fold(0xcbf2_9ce4_8422_2325, |hash: u64, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
    })
}

/// What has less than 4 bits in its file takes 4 in memory.
#[test]
fn weights_take_about_as_much_as_in_their_file() {
    use BlockType::{Iq3S, Q2K, Q3K, Tq1_0, Tq2_0};
    let narrow = [Q2K, Q3K, Iq3S, Tq1_0, Tq2_0];
    for block_type in BlockType::ALL {
        let rows = 32;
        let in_file = rows * COLUMNS / block_type.block_elements() * block_type.block_bytes();
        let in_memory = packed_rows(block_type, rows).bytes();
        let is_close = 10 * in_memory <= 11 * in_file;
        let is_narrow = narrow.contains(&block_type);
        assert_eq!(
            is_close, !is_narrow,
            "{block_type}: {in_memory} of {in_file}"
        );
    }
}

#[test]
fn layouts_are_those_of_images_that_were_made() {
    let found: Vec<_> = BlockType::ALL
        .iter()
        .map(|block_type| {
            let matrix = packed(*block_type);
            let bytes = matrix.values().iter().chain(matrix.scales());
            (block_type.name(), hash(bytes.copied()))
        })
        .collect();
    assert_eq!(found, LAYOUTS);
}

/// Bytes that begin on a cache line, or so far behind one.
struct Lines(Vec<u8>, usize);

impl Lines {
    fn of(bytes: &[u8], behind: usize) -> SharedBytes {
        let mut room = vec![0; bytes.len() + 128];
        let first = room.as_ptr().align_offset(64) + behind;
        room[first..first + bytes.len()].copy_from_slice(bytes);
        room.truncate(first + bytes.len());
        Arc::new(Self(room, first))
    }
}

impl AsRef<[u8]> for Lines {
    fn as_ref(&self) -> &[u8] {
        &self.0[self.1..]
    }
}

fn before(matrix: &PackedMatrix, values: SharedBytes) -> PackedBefore {
    PackedBefore {
        block_type: matrix.block_type(),
        rows: matrix.rows(),
        columns: matrix.columns(),
        values,
        scales: Lines::of(matrix.scales(), 0),
    }
}

#[test]
fn a_matrix_that_was_packed_before_is_the_same() {
    for block_type in BlockType::ALL {
        let matrix = packed(block_type);
        let again = PackedMatrix::packed_before(before(&matrix, Lines::of(matrix.values(), 0)));
        let again = again.unwrap();
        assert_eq!(again.elements(), matrix.elements());
        assert_eq!(again.bytes(), matrix.bytes());
        for row in 0..ROWS {
            let (mut expected, mut found) = (vec![0.0; COLUMNS], vec![1.0; COLUMNS]);
            matrix.decode_row(row, &mut expected);
            again.decode_row(row, &mut found);
            assert_eq!(found, expected, "{} row {row}", block_type.name());
        }
    }
}

#[test]
fn bytes_that_do_not_make_it_are_none() {
    let matrix = packed(BlockType::ALL[0]);
    let values = matrix.values();
    for (bytes, behind) in [(&values[1..], 0), (values, 32), (&[][..], 0)] {
        let refused = PackedMatrix::packed_before(before(&matrix, Lines::of(bytes, behind)));
        assert!(
            refused.is_none(),
            "{} bytes {behind} behind a line",
            bytes.len()
        );
    }
    let whole = || before(&matrix, Lines::of(values, 0));
    for (rows, columns) in [
        (0, COLUMNS),
        (ROWS, 0),
        (ROWS + 16, COLUMNS),
        (usize::MAX, COLUMNS),
    ] {
        let other = PackedBefore {
            rows,
            columns,
            ..whole()
        };
        assert!(
            PackedMatrix::packed_before(other).is_none(),
            "{rows} rows of {columns}"
        );
    }
    assert!(PackedMatrix::packed_before(whole()).is_some());
}
