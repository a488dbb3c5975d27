//! One call of a kernel that is tried: what goes in, what should come out, and what that may differ by.

use ruvllm_kernels::quant::{BlockType, decode, encode};

use crate::serve::formulas::half;

/// What a kernel may differ from the native one by, relative to the value and in all: both round, and
/// `e^x` is an approximation in each.
pub(crate) const RELATIVE: f32 = 2e-5;
pub(crate) const ABSOLUTE: f32 = 2e-6;

/// Half a unit in the last place of an f16, relative to the value.
pub(super) const HALF_ROUNDING: f64 = 1.0 / 2048.0;

/// One call of a kernel.
pub(crate) struct Trial {
    pub(crate) name: String,
    pub(crate) params: Vec<u8>,
    pub(crate) a: Vec<u8>,
    pub(crate) b: Vec<u8>,
    pub(crate) scratch_bytes: usize,
    /// What the output holds before.
    pub(crate) output: Vec<u8>,
    pub(super) expected: Vec<Expected>,
    /// The values of the output's bytes.
    pub(super) read: Read,
}

pub(super) type Read = Box<dyn Fn(&[u8]) -> Vec<f64>>;

/// A value, and what one may differ from it by.
pub(super) struct Expected {
    pub(super) value: f64,
    pub(super) allowed: f64,
}

impl Expected {
    pub(super) fn exactly(value: f64) -> Self {
        Self {
            value,
            allowed: 0.0,
        }
    }

    /// What f32 may differ by, and so much more.
    pub(super) fn near(value: f64, more: f64) -> Self {
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

/// How numbers stand in a plane.
pub(super) struct Format {
    pub(super) block_type: BlockType,
    pub(super) bytes: usize,
    pub(super) read: fn(&[u8]) -> Vec<f64>,
}

pub(super) const FLOATS: Format = Format {
    block_type: BlockType::F32,
    bytes: 4,
    read: read_floats,
};
pub(super) const HALVES: Format = Format {
    block_type: BlockType::F16,
    bytes: 2,
    read: read_halves,
};

impl Format {
    /// The bytes of numbers, and what they are after rounding to this format.
    pub(super) fn plane(&self, values: &[f32]) -> (Vec<u8>, Vec<f64>) {
        let mut bytes = vec![0; values.len() * self.bytes];
        encode(self.block_type, values, &mut bytes).expect("a length that fits");
        let wide = (self.read)(&bytes);
        (bytes, wide)
    }
}

pub(super) fn read_floats(bytes: &[u8]) -> Vec<f64> {
    let mut values = vec![0.0f32; bytes.len() / 4];
    decode(BlockType::F32, bytes, &mut values).expect("a length that fits");
    values.into_iter().map(f64::from).collect()
}

pub(super) fn read_halves(bytes: &[u8]) -> Vec<f64> {
    let halves = bytes.chunks_exact(2);
    halves.map(|bytes| half(bytes[0], bytes[1])).collect()
}

/// Parameters as the interface lays them out.
pub(super) fn words(words: &[usize]) -> Vec<u8> {
    let bytes = words.iter().flat_map(|word| (*word as u32).to_le_bytes());
    bytes.collect()
}

/// The same numbers every time, between -4 and 4.
pub(crate) fn numbers(count: usize, seed: u32) -> Vec<f32> {
    let mut state = seed.wrapping_mul(0x9E37_79B9) | 1;
    let step = |_| {
        state ^= state << 13;
        state ^= state >> 17;
        state ^= state << 5;
        (state >> 8) as f32 / (1 << 21) as f32 - 4.0
    };
    (0..count).map(step).collect()
}
