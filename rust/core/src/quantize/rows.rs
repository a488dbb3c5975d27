//! Rows of one type as rows of another, some on each thread.

use std::sync::{Mutex, PoisonError};

use ruvllm_formats::{TensorInfo, TensorType};
use ruvllm_kernels::ThreadPool;
use ruvllm_kernels::quant::{BlockType, decode, encode_weighted};

use crate::error::{Error, Result};

/// Values that a thread takes at a time: they and their blocks stay in its cache.
const VALUES_AT_A_TIME: usize = 1 << 15;
/// Pieces of that size for each thread, until somebody hears of it.
const PIECES_A_THREAD: usize = 8;
/// Bytes of a tensor that stays as it is, until somebody hears of it.
const COPIED_BYTES: usize = 1 << 20;
/// The largest number of half precision, of which every scale is one.
const LARGEST_HALF: f32 = 65_504.0;

/// Takes bytes of the file, and how many were read for them.
type Take<'a> = dyn FnMut(&[u8], usize) -> Result<()> + 'a;

/// Bytes that a tensor has in a type.
pub(super) fn bytes_of(info: &TensorInfo, tensor_type: TensorType) -> u64 {
    (info.element_count() / tensor_type.block_elements() * tensor_type.block_bytes()) as u64
}

/// A tensor's rows, in the order in which they go out, and what errors in their columns count.
#[derive(Clone, Copy)]
pub(super) struct Weighted<'a> {
    pub(super) info: &'a TensorInfo,
    pub(super) bytes: &'a [u8],
    /// Where each row stands; `None`: as they are.
    pub(super) order: Option<&'a [u32]>,
    pub(super) importance: Option<&'a [f32]>,
}

/// Gives a tensor's bytes in another type.
pub(super) fn convert(
    rows: Weighted<'_>,
    into: TensorType,
    pool: &ThreadPool,
    take: &mut Take<'_>,
) -> Result<()> {
    let Weighted {
        info,
        bytes,
        order,
        importance,
    } = rows;
    if info.tensor_type == into && order.is_none() {
        if !into.is_finite(bytes) {
            return Err(refused(info, NOT_FINITE));
        }
        return bytes
            .chunks(COPIED_BYTES)
            .try_for_each(|some| take(some, some.len()));
    }
    let (from, into) = (block_type(info, info.tensor_type)?, block_type(info, into)?);
    let columns = info.shape.last().copied().unwrap_or(1);
    let row_bytes = |kind: BlockType| columns / kind.block_elements() * kind.block_bytes();
    let rows = (VALUES_AT_A_TIME / columns).max(1);
    let piece = |kind: BlockType| rows * row_bytes(kind);
    let pieces = PIECES_A_THREAD * pool.threads();
    let (mut made, mut gathered) = (vec![0; pieces * piece(into)], Vec::new());
    let mut done = 0;
    for (index, some) in bytes.chunks(pieces * piece(from)).enumerate() {
        let some = match order {
            None => some,
            Some(order) => {
                let first = index * pieces * rows;
                let width = row_bytes(from);
                gathered.clear();
                for row in &order[first..first + some.len() / width] {
                    let begin = *row as usize * width;
                    gathered.extend_from_slice(&bytes[begin..begin + width]);
                }
                &gathered
            }
        };
        let values = some.len() / from.block_bytes() * from.block_elements();
        let target = &mut made[..values / into.block_elements() * into.block_bytes()];
        let work: Vec<_> = some
            .chunks(piece(from))
            .zip(target.chunks_mut(piece(into)))
            .collect();
        let problem = Mutex::new(None);
        pool.for_each(work, 1, |(read, write)| {
            if let Err(error) = convert_piece([from, into], importance, read, write) {
                *problem.lock().unwrap_or_else(PoisonError::into_inner) = Some(error);
            }
        });
        if let Some(error) = problem.into_inner().unwrap_or_else(PoisonError::into_inner) {
            return Err(refused(info, &error));
        }
        done += values;
        take(target, some.len())?;
    }
    debug_assert_eq!(done, info.element_count());
    Ok(())
}

const NOT_FINITE: &str =
    "it has a value that is not finite (NaN or infinite), of which no weights can be made";

fn convert_piece(
    [from, into]: [BlockType; 2],
    importance: Option<&[f32]>,
    bytes: &[u8],
    target: &mut [u8],
) -> std::result::Result<(), String> {
    let mut values = vec![0.0; bytes.len() / from.block_bytes() * from.block_elements()];
    decode(from, bytes, &mut values).map_err(|error| error.to_string())?;
    // All are looked at, since that goes in vectors; a NaN is not below anything.
    let below = |bound: f32| {
        values
            .iter()
            .fold(true, |all, value| all & (value.abs() <= bound))
    };
    if !below(f32::MAX) {
        return Err(NOT_FINITE.to_owned());
    }
    if !matches!(into, BlockType::F32 | BlockType::Bf16) && !below(LARGEST_HALF) {
        return Err(format!(
            "it has a value beyond {LARGEST_HALF}, which {into} cannot hold; F32 and BF16 can"
        ));
    }
    // The same of each row.
    let weights = importance.map(|weights| weights.repeat(values.len() / weights.len()));
    encode_weighted(into, &values, weights.as_deref(), target).map_err(|error| error.to_string())
}

fn block_type(info: &TensorInfo, tensor_type: TensorType) -> Result<BlockType> {
    BlockType::from_name(tensor_type.name()).ok_or_else(|| {
        refused(
            info,
            &format!("its type {} cannot be read", tensor_type.name()),
        )
    })
}

fn refused(info: &TensorInfo, problem: &str) -> Error {
    Error::Model(format!("tensor '{}': {problem}", info.name.escape_debug()))
}
