//! The small vector vocabulary in which the float algorithms are written once.
//!
//! An instance is a few lines of intrinsics; an algorithm generic over [`Lanes`] is
//! `#[inline(always)]` and becomes vector code inside the `#[target_feature]` function of
//! `native` that enters it. Called from a function without the features it would be right, and slow.

use std::slice::{ChunksExact, ChunksExactMut};

#[cfg(target_arch = "x86_64")]
pub(crate) mod avx2;
#[cfg(target_arch = "x86_64")]
pub(crate) mod avx512;
#[cfg(target_arch = "aarch64")]
pub(crate) mod neon;
#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
pub(crate) mod pairs;
#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
pub(crate) mod portable;
#[cfg(target_arch = "x86_64")]
pub(crate) mod sse42;

/// Methods of a [`Lanes`] that touch registers alone, as `fn name(arguments) -> result = instructions;`.
#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
macro_rules! register_methods {
    ($(fn $name:ident($($argument:ident: $type:ty),*) -> $result:ty = $instructions:expr;)*) => {$(
        #[inline(always)]
        fn $name(self, $($argument: $type),*) -> $result {
            // SAFETY: `self` exists only where the machine has the instructions, and they touch no memory.
            unsafe { $instructions }
        }
    )*};
}
#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
pub(crate) use register_methods;

/// Vectors of f32, by a value that exists only where the machine has the instructions. So what touches registers alone is
/// safe; it becomes an instruction where it is inlined into a function that has the features.
pub(crate) trait Lanes: Copy {
    /// Elements of a vector; divides 16.
    const WIDTH: usize;
    /// The register.
    type Vector: Copy;

    /// # Safety
    ///
    /// `source` is valid for `WIDTH` numbers.
    unsafe fn load(self, source: *const f32) -> Self::Vector;
    /// As many lanes as there are in a vector, 0 behind `count`.
    ///
    /// # Safety
    ///
    /// `source` is valid for `count` numbers, or for `WIDTH`.
    unsafe fn load_partial(self, source: *const f32, count: usize) -> Self::Vector;
    /// # Safety
    ///
    /// `source` is valid for `WIDTH` halves.
    unsafe fn load_half(self, source: *const u16) -> Self::Vector;
    /// # Safety
    ///
    /// `source` is valid for `count` halves, or for `WIDTH`.
    unsafe fn load_half_partial(self, source: *const u16, count: usize) -> Self::Vector;
    /// # Safety
    ///
    /// `source` is valid for `WIDTH` bfloats.
    unsafe fn load_bfloat(self, source: *const u16) -> Self::Vector;
    /// Signed bytes as whole numbers.
    ///
    /// # Safety
    ///
    /// `source` is valid for `WIDTH` bytes.
    unsafe fn load_bytes(self, source: *const i8) -> Self::Vector;
    /// # Safety
    ///
    /// `target` is valid for `WIDTH` numbers.
    unsafe fn store(self, target: *mut f32, value: Self::Vector);
    /// # Safety
    ///
    /// `target` is valid for `count` numbers, or for `WIDTH`.
    unsafe fn store_partial(self, target: *mut f32, value: Self::Vector, count: usize);
    /// Lanes that are whole numbers in -128..=127, as bytes.
    ///
    /// # Safety
    ///
    /// `target` is valid for `WIDTH` bytes.
    unsafe fn store_bytes(self, target: *mut i8, value: Self::Vector);
    /// Lanes that are whole numbers in -32768..=32767, as 16-bit integers.
    ///
    /// # Safety
    ///
    /// `target` is valid for `WIDTH` integers.
    unsafe fn store_words(self, target: *mut i16, value: Self::Vector);
    /// Lanes of `even` and of `odd` in turn, as [`store_words`](Self::store_words) writes them.
    ///
    /// # Safety
    ///
    /// `target` is valid for twice `WIDTH` integers.
    #[inline(always)]
    unsafe fn store_word_pairs(self, target: *mut i16, even: Self::Vector, odd: Self::Vector) {
        let mut halves = [[0; 16]; 2];
        // SAFETY: a vector has no more lanes than a half, and the caller has room for both.
        unsafe {
            self.store_words(halves[0].as_mut_ptr(), even);
            self.store_words(halves[1].as_mut_ptr(), odd);
            interleave(&halves, Self::WIDTH, target);
        }
    }
    /// Lanes of `even` and of `odd` in turn, as [`store_bytes`](Self::store_bytes) writes them.
    ///
    /// # Safety
    ///
    /// `target` is valid for twice `WIDTH` bytes.
    #[inline(always)]
    unsafe fn store_byte_pairs(self, target: *mut i8, even: Self::Vector, odd: Self::Vector) {
        let mut halves = [[0; 16]; 2];
        // SAFETY: a vector has no more lanes than a half, and the caller has room for both.
        unsafe {
            self.store_bytes(halves[0].as_mut_ptr(), even);
            self.store_bytes(halves[1].as_mut_ptr(), odd);
            interleave(&halves, Self::WIDTH, target);
        }
    }
    /// The sums of the first and of the second sixteen of 32 bytes.
    ///
    /// # Safety
    ///
    /// `source` is valid for 32 bytes.
    unsafe fn half_sums(self, source: *const i8) -> [i32; 2];
    /// Calls `each` with column `0..WIDTH` of the square whose rows are `stride` apart.
    ///
    /// # Safety
    ///
    /// Each of the `WIDTH` rows is valid for `WIDTH` numbers.
    unsafe fn for_each_column(
        self,
        source: *const f32,
        stride: usize,
        each: impl FnMut(usize, Self::Vector),
    );

    /// The first lanes of `source`, 0 where there are none.
    #[inline(always)]
    fn load_up_to(self, source: &[f32]) -> Self::Vector {
        // SAFETY: the slice has as many numbers as it says.
        unsafe { self.load_partial(source.as_ptr(), source.len()) }
    }
    /// Writes lanes until `target` is full.
    #[inline(always)]
    fn store_up_to(self, target: &mut [f32], value: Self::Vector) {
        // SAFETY: the slice has room for as many numbers as it says.
        unsafe { self.store_partial(target.as_mut_ptr(), value, target.len()) }
    }

    fn splat(self, value: f32) -> Self::Vector;
    fn add(self, a: Self::Vector, b: Self::Vector) -> Self::Vector;
    fn sub(self, a: Self::Vector, b: Self::Vector) -> Self::Vector;
    fn mul(self, a: Self::Vector, b: Self::Vector) -> Self::Vector;
    fn div(self, a: Self::Vector, b: Self::Vector) -> Self::Vector;
    fn max(self, a: Self::Vector, b: Self::Vector) -> Self::Vector;
    fn min(self, a: Self::Vector, b: Self::Vector) -> Self::Vector;
    fn abs(self, a: Self::Vector) -> Self::Vector;
    /// `a * b + c`, rounded once.
    fn fma(self, a: Self::Vector, b: Self::Vector, c: Self::Vector) -> Self::Vector;
    /// To the nearest integer, ties to even.
    fn round(self, a: Self::Vector) -> Self::Vector;
    /// `2^a` for integral `a` in -126..=127.
    fn power_of_two(self, a: Self::Vector) -> Self::Vector;
    /// `value` where `a >= bound`, else 0.
    fn keep_from(self, a: Self::Vector, bound: Self::Vector, value: Self::Vector) -> Self::Vector;
    /// `a * 2^exponent` for an integral `exponent` up to 127 and an `a` near 1; 0 for one below
    /// -150, and either that or a denormal for one below -126.
    fn scale_by_power(self, a: Self::Vector, exponent: Self::Vector) -> Self::Vector;
    /// Lanes `begin..end` of `value`, -infinity elsewhere.
    fn mask_range(self, value: Self::Vector, begin: usize, end: usize) -> Self::Vector;
    fn sum(self, a: Self::Vector) -> f32;
    fn maximum(self, a: Self::Vector) -> f32;
}

/// Writes the first `width` numbers of both halves in turn.
///
/// # Safety
///
/// `target` is valid for twice `width` numbers.
#[inline(always)]
unsafe fn interleave<T: Copy>(halves: &[[T; 16]; 2], width: usize, target: *mut T) {
    for (half, numbers) in halves.iter().enumerate() {
        for (lane, number) in numbers[..width].iter().enumerate() {
            // SAFETY: the caller has room for both halves.
            unsafe { *target.add(2 * lane + half) = *number };
        }
    }
}

/// The whole vectors of a slice, and what is left for a last one: apart, because the compiler knows the length of the former.
#[inline(always)]
pub(crate) fn vectors<L: Lanes>(values: &[f32]) -> (ChunksExact<'_, f32>, &[f32]) {
    let (whole, rest) = values.split_at(values.len() / L::WIDTH * L::WIDTH);
    (whole.chunks_exact(L::WIDTH), rest)
}

/// As [`vectors`], to write.
#[inline(always)]
pub(crate) fn vectors_mut<L: Lanes>(values: &mut [f32]) -> (ChunksExactMut<'_, f32>, &mut [f32]) {
    let (whole, rest) = values.split_at_mut(values.len() / L::WIDTH * L::WIDTH);
    (whole.chunks_exact_mut(L::WIDTH), rest)
}

/// e to the power of each lane; 0 below -87, relative error under 2e-7 above.
#[inline(always)]
pub(crate) fn exp<L: Lanes>(lanes: L, x: L::Vector) -> L::Vector {
    let lowest = lanes.splat(-87.0);
    let clamped = lanes.min(lanes.max(x, lowest), lanes.splat(88.0));
    let exponent = lanes.round(lanes.mul(clamped, lanes.splat(std::f32::consts::LOG2_E)));
    let rest = lanes.fma(exponent, lanes.splat(-0.693_359_4), clamped);
    let rest = lanes.fma(exponent, lanes.splat(2.121_944_4e-4), rest);
    let mut polynomial = lanes.splat(1.987_569_1e-4);
    for coefficient in [
        1.398_2e-3,
        8.333_452e-3,
        4.166_579_6e-2,
        1.666_666_6e-1,
        0.5,
    ] {
        polynomial = lanes.fma(polynomial, rest, lanes.splat(coefficient));
    }
    let polynomial = lanes.fma(
        lanes.mul(rest, rest),
        polynomial,
        lanes.add(rest, lanes.splat(1.0)),
    );
    lanes.keep_from(
        x,
        lowest,
        lanes.mul(polynomial, lanes.power_of_two(exponent)),
    )
}

/// 2 to the power of each lane, for lanes up to 127; 0 below -150, relative error under 2e-7 from -126 on.
#[inline(always)]
pub(crate) fn exp2<L: Lanes>(lanes: L, x: L::Vector) -> L::Vector {
    let clamped = lanes.max(x, lanes.splat(-160.0));
    let exponent = lanes.round(clamped);
    let rest = lanes.sub(clamped, exponent);
    // The polynomial of degree 5 whose largest relative error on -0.5..0.5 is least (1.1e-7), with
    // value and slope at 0 held exact.
    let mut polynomial = lanes.splat(1.330_060_7e-3);
    for coefficient in [
        9.669_691e-3,
        5.550_558_5e-2,
        0.240_222_83,
        std::f32::consts::LN_2,
        1.0,
    ] {
        polynomial = lanes.fma(polynomial, rest, lanes.splat(coefficient));
    }
    lanes.scale_by_power(polynomial, exponent)
}

/// Asks for the cache line of `address`, which need not be valid.
#[inline(always)]
pub(crate) fn prefetch(address: *const u8) {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: a prefetch never faults, and SSE is in the baseline of the target.
    unsafe {
        use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        _mm_prefetch::<_MM_HINT_T0>(address.cast());
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = address;
}

/// `1 / (1 + e^-x)`
#[inline(always)]
pub(crate) fn sigmoid<L: Lanes>(lanes: L, x: L::Vector) -> L::Vector {
    let one = lanes.splat(1.0);
    lanes.div(
        one,
        lanes.add(one, exp(lanes, lanes.sub(lanes.splat(0.0), x))),
    )
}

/// Hyperbolic tangent.
#[inline(always)]
pub(crate) fn tanh<L: Lanes>(lanes: L, x: L::Vector) -> L::Vector {
    let doubled = sigmoid(lanes, lanes.add(x, x));
    lanes.sub(lanes.add(doubled, doubled), lanes.splat(1.0))
}
