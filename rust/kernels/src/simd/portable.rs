//! Eight lanes in plain arrays, which the compiler turns into whatever the baseline of the target has.

use half::bf16;

use super::Lanes;

const WIDTH: usize = 8;

/// A value of it proves nothing: these run everywhere.
#[derive(Debug, Clone, Copy)]
pub(crate) struct PortableLanes;

/// Eight numbers side by side.
#[derive(Debug, Clone, Copy)]
#[repr(align(32))]
pub(crate) struct Eight([f32; WIDTH]);

impl Eight {
    #[inline(always)]
    fn from_fn(lane: impl FnMut(usize) -> f32) -> Self {
        Self(std::array::from_fn(lane))
    }

    #[inline(always)]
    fn map2(self, other: Self, join: impl Fn(f32, f32) -> f32) -> Self {
        Self::from_fn(|lane| join(self.0[lane], other.0[lane]))
    }
}

/// `a * b + c`; rounded once where the target does that in one instruction, else twice.
#[inline(always)]
fn multiply_add(a: f32, b: f32, c: f32) -> f32 {
    if cfg!(any(target_arch = "aarch64", target_feature = "fma")) {
        a.mul_add(b, c)
    } else {
        a * b + c
    }
}

/// f16 to f32 without a branch, so that the compiler makes vectors of it.
#[inline(always)]
fn widen(half: u16) -> f32 {
    let half = u32::from(half);
    // The exponent moves from bias 15 to bias 127 by a factor of 2^112, which is exact for denormals too.
    let magnitude = f32::from_bits((half & 0x7fff) << 13) * f32::from_bits((112 + 127) << 23);
    let special = if half & 0x7c00 == 0x7c00 {
        0x7f80_0000
    } else {
        0
    };
    f32::from_bits(magnitude.to_bits() | special | (half & 0x8000) << 16)
}

impl Lanes for PortableLanes {
    const WIDTH: usize = WIDTH;
    type Vector = Eight;

    #[inline(always)]
    unsafe fn load(self, source: *const f32) -> Eight {
        // SAFETY: the caller gives eight numbers to read.
        Eight(unsafe { source.cast::<[f32; WIDTH]>().read_unaligned() })
    }
    #[inline(always)]
    unsafe fn load_partial(self, source: *const f32, count: usize) -> Eight {
        let mut lanes = [0.0; WIDTH];
        // SAFETY: the caller gives `count` numbers to read, and no lane behind them is touched.
        unsafe { std::ptr::copy_nonoverlapping(source, lanes.as_mut_ptr(), count.min(WIDTH)) };
        Eight(lanes)
    }
    #[inline(always)]
    unsafe fn load_half(self, source: *const u16) -> Eight {
        // SAFETY: the caller gives eight halves to read.
        let bits = unsafe { source.cast::<[u16; WIDTH]>().read_unaligned() };
        Eight::from_fn(|lane| widen(bits[lane]))
    }
    #[inline(always)]
    unsafe fn load_half_partial(self, source: *const u16, count: usize) -> Eight {
        let mut bits = [0; WIDTH];
        // SAFETY: the caller gives `count` halves, and at most eight are copied to an array of as many.
        unsafe { std::ptr::copy_nonoverlapping(source, bits.as_mut_ptr(), count.min(WIDTH)) };
        Eight::from_fn(|lane| widen(bits[lane]))
    }
    #[inline(always)]
    unsafe fn load_bfloat(self, source: *const u16) -> Eight {
        // SAFETY: the caller gives eight halves to read.
        let bits = unsafe { source.cast::<[u16; WIDTH]>().read_unaligned() };
        Eight::from_fn(|lane| bf16::from_bits(bits[lane]).to_f32())
    }
    #[inline(always)]
    unsafe fn load_bytes(self, source: *const i8) -> Eight {
        // SAFETY: the caller gives eight bytes to read, and no more are.
        let bytes = unsafe { source.cast::<[i8; WIDTH]>().read_unaligned() };
        Eight(bytes.map(f32::from))
    }
    #[inline(always)]
    unsafe fn store(self, target: *mut f32, value: Eight) {
        // SAFETY: the caller gives room for eight numbers.
        unsafe { target.cast::<[f32; WIDTH]>().write_unaligned(value.0) }
    }
    #[inline(always)]
    unsafe fn store_partial(self, target: *mut f32, value: Eight, count: usize) {
        // SAFETY: the caller gives room for `count` numbers, and no lane behind them is touched.
        unsafe { std::ptr::copy_nonoverlapping(value.0.as_ptr(), target, count.min(WIDTH)) }
    }
    #[inline(always)]
    unsafe fn store_bytes(self, target: *mut i8, value: Eight) {
        let bytes = value.0.map(|lane| lane as i8);
        // SAFETY: the caller gives room for eight bytes, and no more are written.
        unsafe { std::ptr::copy_nonoverlapping(bytes.as_ptr(), target, WIDTH) }
    }
    #[inline(always)]
    unsafe fn store_words(self, target: *mut i16, value: Eight) {
        let words = value.0.map(|lane| lane as i16);
        // SAFETY: the caller gives room for eight words.
        unsafe { std::ptr::copy_nonoverlapping(words.as_ptr(), target, WIDTH) }
    }
    #[inline(always)]
    unsafe fn half_sums(self, source: *const i8) -> [i32; 2] {
        // SAFETY: the caller gives 32 bytes to read.
        let bytes = unsafe { std::slice::from_raw_parts(source, 32) };
        [0, 16].map(|first| {
            bytes[first..first + 16]
                .iter()
                .map(|byte| i32::from(*byte))
                .sum()
        })
    }
    #[inline(always)]
    unsafe fn for_each_column(
        self,
        source: *const f32,
        stride: usize,
        mut each: impl FnMut(usize, Eight),
    ) {
        for column in 0..WIDTH {
            // SAFETY: the caller gives eight rows of eight numbers.
            let element = |row: usize| unsafe { *source.add(row * stride + column) };
            each(column, Eight::from_fn(element));
        }
    }
    #[inline(always)]
    fn splat(self, value: f32) -> Eight {
        Eight([value; WIDTH])
    }
    #[inline(always)]
    fn add(self, a: Eight, b: Eight) -> Eight {
        a.map2(b, |a, b| a + b)
    }
    #[inline(always)]
    fn sub(self, a: Eight, b: Eight) -> Eight {
        a.map2(b, |a, b| a - b)
    }
    #[inline(always)]
    fn mul(self, a: Eight, b: Eight) -> Eight {
        a.map2(b, |a, b| a * b)
    }
    #[inline(always)]
    fn div(self, a: Eight, b: Eight) -> Eight {
        a.map2(b, |a, b| a / b)
    }
    #[inline(always)]
    fn max(self, a: Eight, b: Eight) -> Eight {
        a.map2(b, |a, b| if a > b { a } else { b })
    }
    #[inline(always)]
    fn min(self, a: Eight, b: Eight) -> Eight {
        a.map2(b, |a, b| if a < b { a } else { b })
    }
    #[inline(always)]
    fn abs(self, a: Eight) -> Eight {
        Eight::from_fn(|lane| a.0[lane].abs())
    }
    #[inline(always)]
    fn fma(self, a: Eight, b: Eight, c: Eight) -> Eight {
        Eight::from_fn(|lane| multiply_add(a.0[lane], b.0[lane], c.0[lane]))
    }
    #[inline(always)]
    fn round(self, a: Eight) -> Eight {
        // Adding and taking away 1.5 * 2^23 leaves the nearest integer, ties to even, below 2^22.
        const MAGIC: f32 = 12_582_912.0;
        Eight::from_fn(|lane| (a.0[lane] + MAGIC) - MAGIC)
    }
    #[inline(always)]
    fn power_of_two(self, a: Eight) -> Eight {
        Eight::from_fn(|lane| f32::from_bits(((a.0[lane] as i32 + 127) as u32) << 23))
    }
    #[inline(always)]
    fn keep_from(self, a: Eight, bound: Eight, value: Eight) -> Eight {
        Eight::from_fn(|lane| {
            if a.0[lane] >= bound.0[lane] {
                value.0[lane]
            } else {
                0.0
            }
        })
    }
    #[inline(always)]
    fn scale_by_power(self, a: Eight, exponent: Eight) -> Eight {
        Eight::from_fn(|lane| {
            let exponent = exponent.0[lane];
            // A value that is no number takes the first branch and stays none.
            if exponent < -126.0 {
                0.0
            } else {
                a.0[lane] * f32::from_bits(((exponent as i32 + 127) as u32) << 23)
            }
        })
    }
    #[inline(always)]
    fn mask_range(self, value: Eight, begin: usize, end: usize) -> Eight {
        Eight::from_fn(|lane| {
            if (begin..end).contains(&lane) {
                value.0[lane]
            } else {
                f32::NEG_INFINITY
            }
        })
    }
    #[inline(always)]
    fn sum(self, a: Eight) -> f32 {
        let four: [f32; 4] = std::array::from_fn(|lane| a.0[lane] + a.0[lane + 4]);
        (four[0] + four[2]) + (four[1] + four[3])
    }
    #[inline(always)]
    fn maximum(self, a: Eight) -> f32 {
        a.0.into_iter().fold(f32::NEG_INFINITY, f32::max)
    }
}

#[cfg(test)]
mod tests {
    use half::f16;

    use super::*;

    #[test]
    fn every_half_widens_as_it_should() {
        for bits in 0..=u16::MAX {
            let (expected, actual) = (f16::from_bits(bits).to_f32(), widen(bits));
            let same = expected.to_bits() == actual.to_bits();
            assert!(same || (expected.is_nan() && actual.is_nan()), "{bits:#x}");
        }
    }
}
