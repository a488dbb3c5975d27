//! Making blocks from `f32`: which format has which encoder, and which instruction set runs it.

use super::decode::check_lengths;
use super::{BlockType, QuantError, float};
use super::{iq4_nl, iq4_xs, q2_k, q3_k, q4_0, q4_1, q4_k, q5_0, q5_1, q5_k, q6_k, q8_0};

/// Elements of a super-block, and so many of smaller blocks are searched together.
const TOGETHER: usize = 256;

/// Encodes `values` as whole blocks into `bytes`, which must be exactly as long as they are.
///
/// `MXFP4`, `IQ3_S`, `TQ1_0` and `TQ2_0` have no encoder. `F32` to `Q8_0` equal those of the Python package `gguf`, also in what they make of
/// numbers that are not finite; the others refuse such.
pub fn encode(block_type: BlockType, values: &[f32], bytes: &mut [u8]) -> Result<(), QuantError> {
    encode_weighted(block_type, values, None, bytes)
}

/// As [`encode`]; of each value, `importance` says what the square of its error counts, beside others.
///
/// With it `Q4_0` and `Q5_0` are searched, too; the other formats that equal the package `gguf` do not look at it. It must
/// be as long as `values`, finite, and not negative.
pub fn encode_weighted(
    block_type: BlockType,
    values: &[f32],
    importance: Option<&[f32]>,
    bytes: &mut [u8],
) -> Result<(), QuantError> {
    check_lengths(block_type, bytes.len(), values.len())?;
    match block_type {
        BlockType::F32 => float::encode_f32(values, bytes),
        BlockType::F16 => float::encode_f16(values, bytes),
        BlockType::Bf16 => float::encode_bf16(values, bytes),
        _ if !block_type.has_encoder() => return Err(QuantError::NoEncoder { block_type }),
        _ => {
            if is_searched(block_type) || importance.is_some() {
                check_numbers(block_type, values, importance)?;
            }
            dispatch(block_type, &Input { values, importance }, bytes);
        }
    }
    Ok(())
}

/// Numbers of whole blocks.
struct Input<'a> {
    values: &'a [f32],
    importance: Option<&'a [f32]>,
}

fn is_searched(block_type: BlockType) -> bool {
    use BlockType::{Iq4Nl, Iq4Xs, Q2K, Q3K, Q4K, Q5K, Q6K};
    matches!(block_type, Q2K | Q3K | Q4K | Q5K | Q6K | Iq4Nl | Iq4Xs)
}

fn check_numbers(
    block_type: BlockType,
    values: &[f32],
    importance: Option<&[f32]>,
) -> Result<(), QuantError> {
    if let Some(index) = values.iter().position(|value| !value.is_finite()) {
        return Err(QuantError::NotFinite { block_type, index });
    }
    let Some(importance) = importance else {
        return Ok(());
    };
    let is_usable = |weight: &f32| weight.is_finite() && *weight >= 0.0;
    if importance.len() != values.len() || !importance.iter().all(is_usable) {
        return Err(QuantError::Importance {
            num_elements: values.len(),
            num_weights: importance.len(),
        });
    }
    Ok(())
}

/// The same code for each instruction set of the target; all give the same bytes.
fn dispatch(block_type: BlockType, input: &Input<'_>, bytes: &mut [u8]) {
    #[cfg(target_arch = "x86_64")]
    {
        if is_x86_feature_detected!("avx512f") && is_x86_feature_detected!("avx512bw") {
            // SAFETY: the machine has just said that it has both.
            return unsafe { encode_avx512(block_type, input, bytes) };
        }
        if is_x86_feature_detected!("avx2") {
            // SAFETY: the machine has just said that it has AVX2.
            return unsafe { encode_avx2(block_type, input, bytes) };
        }
    }
    encode_whole(block_type, input, bytes);
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2")]
fn encode_avx512(block_type: BlockType, input: &Input<'_>, bytes: &mut [u8]) {
    encode_whole(block_type, input, bytes);
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2")]
fn encode_avx2(block_type: BlockType, input: &Input<'_>, bytes: &mut [u8]) {
    encode_whole(block_type, input, bytes);
}

#[inline(always)]
fn encode_whole(block_type: BlockType, input: &Input<'_>, bytes: &mut [u8]) {
    match block_type {
        BlockType::Q4_0 if input.importance.is_some() => {
            encode_eights(input, bytes, q4_0::encode_eight);
        }
        BlockType::Q5_0 if input.importance.is_some() => {
            encode_eights(input, bytes, q5_0::encode_eight);
        }
        BlockType::Q4_0 => encode_blocks(input.values, bytes, q4_0::encode),
        BlockType::Q4_1 => encode_blocks(input.values, bytes, q4_1::encode),
        BlockType::Q5_0 => encode_blocks(input.values, bytes, q5_0::encode),
        BlockType::Q5_1 => encode_blocks(input.values, bytes, q5_1::encode),
        BlockType::Q8_0 => encode_blocks(input.values, bytes, q8_0::encode),
        BlockType::Q2K => encode_supers(input, bytes, q2_k::encode),
        BlockType::Q3K => encode_supers(input, bytes, q3_k::encode),
        BlockType::Q4K => encode_supers(input, bytes, q4_k::encode),
        BlockType::Q5K => encode_supers(input, bytes, q5_k::encode),
        BlockType::Q6K => encode_supers(input, bytes, q6_k::encode),
        BlockType::Iq4Xs => encode_supers(input, bytes, iq4_xs::encode),
        BlockType::Iq4Nl => encode_eights(input, bytes, iq4_nl::encode_eight),
        _ => {}
    }
}

#[inline(always)]
fn encode_blocks<const BYTES: usize>(
    values: &[f32],
    bytes: &mut [u8],
    encode_block: impl Fn(&[f32; 32], &mut [u8; BYTES]),
) {
    let blocks = bytes.as_chunks_mut().0;
    for (values, block) in values.as_chunks().0.iter().zip(blocks) {
        encode_block(values, block);
    }
}

#[inline(always)]
fn encode_supers<const BYTES: usize>(
    input: &Input<'_>,
    bytes: &mut [u8],
    encode_block: impl Fn(&[f32; TOGETHER], Option<&[f32; TOGETHER]>, &mut [u8; BYTES]),
) {
    let importance = input.importance.map(|weights| weights.as_chunks().0);
    let blocks = input
        .values
        .as_chunks()
        .0
        .iter()
        .zip(bytes.as_chunks_mut().0);
    for (index, (values, block)) in blocks.enumerate() {
        encode_block(values, importance.map(|weights| &weights[index]), block);
    }
}

/// Blocks of 32, eight at a time; the last ones with zeros behind them.
#[inline(always)]
fn encode_eights<const BYTES: usize>(
    input: &Input<'_>,
    bytes: &mut [u8],
    encode_eight: impl Fn(&[f32; TOGETHER], Option<&[f32; TOGETHER]>, &mut [[u8; BYTES]; 8]),
) {
    let blocks = bytes.as_chunks_mut().0;
    for (index, (values, blocks)) in input
        .values
        .chunks(TOGETHER)
        .zip(blocks.chunks_mut(8))
        .enumerate()
    {
        let filled = |numbers: &[f32]| {
            let mut eight = [0.0; TOGETHER];
            eight[..numbers.len()].copy_from_slice(numbers);
            eight
        };
        let begin = index * TOGETHER;
        let weights = input
            .importance
            .map(|all| filled(&all[begin..begin + values.len()]));
        let mut eight = [[0; BYTES]; 8];
        encode_eight(&filled(values), weights.as_ref(), &mut eight);
        blocks.copy_from_slice(&eight[..blocks.len()]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The code as the target's baseline has it.
    #[test]
    fn every_instruction_set_gives_the_same_bytes() {
        let mut state = 1_u32;
        let values: Vec<f32> = std::iter::repeat_with(|| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            // A cube, so that there are a few large ones among many small ones.
            (state as f32 / 2_147_483_648.0 - 1.0).powi(3)
        })
        .take(16 * TOGETHER)
        .collect();
        let weights: Vec<f32> = values.iter().map(|value| 1.0 + value).collect();
        for block_type in BlockType::ALL {
            if !block_type.is_quantized() || !block_type.has_encoder() {
                continue;
            }
            let blocks = values.len() / block_type.block_elements();
            let (mut plain, mut best) = (vec![0; blocks * block_type.block_bytes()], vec![]);
            for importance in [None, Some(&weights[..])] {
                let input = Input {
                    values: &values,
                    importance,
                };
                encode_whole(block_type, &input, &mut plain);
                best.resize(plain.len(), 0);
                dispatch(block_type, &input, &mut best);
                assert!(plain == best, "{block_type}");
            }
        }
    }
}
