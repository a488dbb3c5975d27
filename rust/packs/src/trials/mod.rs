//! Test vectors for the kernels that the forward pass does not call, and what may come out; see [`crate::reference`].
//!
//! Bytes go in and come out as the binary interface says. A format's own rounding is allowed for on top of what
//! arithmetic in f32 differs by.

use ruvllm_kernels::quant::{BlockType, decode, encode};

use crate::health::{ABSOLUTE, RELATIVE};
use crate::reference::half;

mod packed;
mod rows;

/// Half a unit in the last place of an f16, relative to the value.
const HALF_ROUNDING: f64 = 1.0 / 2048.0;

/// One call of a kernel.
pub(crate) struct Trial {
    pub(crate) name: String,
    pub(crate) params: Vec<u8>,
    pub(crate) a: Vec<u8>,
    pub(crate) b: Vec<u8>,
    pub(crate) scratch_bytes: usize,
    /// What the output holds before.
    pub(crate) output: Vec<u8>,
    expected: Vec<Expected>,
    /// The values of the output's bytes.
    read: Read,
}

type Read = Box<dyn Fn(&[u8]) -> Vec<f64>>;

/// A value, and what one may differ from it by.
struct Expected {
    value: f64,
    allowed: f64,
}

impl Expected {
    fn exactly(value: f64) -> Self {
        Self {
            value,
            allowed: 0.0,
        }
    }

    /// What f32 may differ by, and so much more.
    fn near(value: f64, more: f64) -> Self {
        let allowed = f64::from(ABSOLUTE) + f64::from(RELATIVE) * value.abs() + more;
        Self { value, allowed }
    }
}

impl Trial {
    /// Whether the output is right.
    pub(crate) fn judge(&self, output: &[u8]) -> Result<(), String> {
        let found = (self.read)(output);
        if found.len() != self.expected.len() {
            return Err(format!("{} values", found.len()));
        }
        for (index, (found, expected)) in found.iter().zip(&self.expected).enumerate() {
            // Not where one is NaN.
            let is_close = (found - expected.value).abs() <= expected.allowed;
            if !is_close {
                let (value, allowed) = (expected.value, expected.allowed);
                return Err(format!(
                    "value {index} is {found}; it should be {value}, within {allowed:e}"
                ));
            }
        }
        Ok(())
    }
}

/// The trials of a kernel; none for those of the forward pass, which are compared with native ones.
pub(crate) fn of(kernel_id: &str) -> Vec<Trial> {
    match kernel_id {
        "rope_f16" => rows::ropes_of_halves(),
        "rope_q8" => rows::ropes_of_blocks(),
        "rmsnorm_f16" => rows::rms_norms(),
        "swiglu_f16" => rows::gates(),
        "kv_pack_q4" => packed::kv_packs(4),
        "kv_pack_q8" => packed::kv_packs(8),
        "kv_unpack_q4" => packed::kv_unpacks(4),
        "kv_unpack_q8" => packed::kv_unpacks(8),
        "lora_apply_f32" => packed::adapters(&FLOATS),
        "lora_apply_f16" => packed::adapters(&HALVES),
        _ => Vec::new(),
    }
}

/// How numbers stand in a plane.
struct Format {
    block_type: BlockType,
    bytes: usize,
    read: fn(&[u8]) -> Vec<f64>,
}

const FLOATS: Format = Format {
    block_type: BlockType::F32,
    bytes: 4,
    read: read_floats,
};
const HALVES: Format = Format {
    block_type: BlockType::F16,
    bytes: 2,
    read: read_halves,
};

impl Format {
    /// The bytes of numbers, and what they are after rounding to this format.
    fn plane(&self, values: &[f32]) -> (Vec<u8>, Vec<f64>) {
        let mut bytes = vec![0; values.len() * self.bytes];
        encode(self.block_type, values, &mut bytes).expect("a length that fits");
        let wide = (self.read)(&bytes);
        (bytes, wide)
    }
}

fn read_floats(bytes: &[u8]) -> Vec<f64> {
    let mut values = vec![0.0f32; bytes.len() / 4];
    decode(BlockType::F32, bytes, &mut values).expect("a length that fits");
    values.into_iter().map(f64::from).collect()
}

fn read_halves(bytes: &[u8]) -> Vec<f64> {
    let halves = bytes.chunks_exact(2);
    halves.map(|bytes| half(bytes[0], bytes[1])).collect()
}

/// Parameters as the interface lays them out.
fn words(words: &[usize]) -> Vec<u8> {
    let bytes = words.iter().flat_map(|word| (*word as u32).to_le_bytes());
    bytes.collect()
}

#[cfg(test)]
mod tests {
    use crate::counters::Operation;
    use crate::manifest::KERNEL_IDS;

    #[test]
    fn every_kernel_is_tried() {
        let forward = Operation::IN_FORWARD_PASS.map(|operation| operation.kernel_ids()[0]);
        for (id, _) in KERNEL_IDS {
            assert_ne!(forward.contains(&id), super::of(id).len() >= 3, "{id}");
        }
    }
}
