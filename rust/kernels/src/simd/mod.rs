//! The small vector vocabulary in which the float algorithms are written once.
//!
//! An instance is a few lines of intrinsics; an algorithm generic over [`Lanes`] is
//! `#[inline(always)]` and becomes vector code inside the `#[target_feature]` function of
//! `native.rs` that enters it. Nothing here may be called from a function without that feature.

#[cfg(target_arch = "x86_64")]
pub(crate) mod avx2;
#[cfg(target_arch = "x86_64")]
pub(crate) mod avx512;
#[cfg(target_arch = "aarch64")]
pub(crate) mod neon;
#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
pub(crate) mod portable;

/// A vector of f32.
///
/// # Safety
///
/// Every method needs the instruction set of the instance; pointers must be valid for `WIDTH`
/// elements (`count` for the partial ones), and need no alignment.
pub(crate) trait Lanes: Copy {
    /// Elements of a vector; divides 16.
    const WIDTH: usize;
    /// The register.
    type Vector: Copy;

    unsafe fn splat(value: f32) -> Self::Vector;
    unsafe fn load(source: *const f32) -> Self::Vector;
    unsafe fn load_partial(source: *const f32, count: usize) -> Self::Vector;
    unsafe fn load_half(source: *const u16) -> Self::Vector;
    unsafe fn load_half_partial(source: *const u16, count: usize) -> Self::Vector;
    unsafe fn load_bfloat(source: *const u16) -> Self::Vector;
    /// Signed bytes as whole numbers.
    unsafe fn load_bytes(source: *const i8) -> Self::Vector;
    unsafe fn load_bytes_partial(source: *const i8, count: usize) -> Self::Vector;
    unsafe fn store(target: *mut f32, value: Self::Vector);
    unsafe fn store_partial(target: *mut f32, value: Self::Vector, count: usize);
    /// Lanes that are whole numbers in -128..=127, as bytes.
    unsafe fn store_bytes(target: *mut i8, value: Self::Vector);
    /// The sums of the first and of the second sixteen of 32 bytes.
    unsafe fn half_sums(source: *const i8) -> [i32; 2];
    /// Lanes that are whole numbers in -32768..=32767, as 16-bit integers.
    unsafe fn store_words(target: *mut i16, value: Self::Vector);
    /// To f16, ties to even.
    unsafe fn store_half(target: *mut u16, value: Self::Vector);
    /// Calls `each` with column `0..WIDTH` of the square whose rows are `stride` apart.
    unsafe fn for_each_column(
        source: *const f32,
        stride: usize,
        each: impl FnMut(usize, Self::Vector),
    );
    unsafe fn add(a: Self::Vector, b: Self::Vector) -> Self::Vector;
    unsafe fn sub(a: Self::Vector, b: Self::Vector) -> Self::Vector;
    unsafe fn mul(a: Self::Vector, b: Self::Vector) -> Self::Vector;
    unsafe fn div(a: Self::Vector, b: Self::Vector) -> Self::Vector;
    unsafe fn max(a: Self::Vector, b: Self::Vector) -> Self::Vector;
    unsafe fn min(a: Self::Vector, b: Self::Vector) -> Self::Vector;
    unsafe fn abs(a: Self::Vector) -> Self::Vector;
    /// `a * b + c`, rounded once.
    unsafe fn fma(a: Self::Vector, b: Self::Vector, c: Self::Vector) -> Self::Vector;
    /// To the nearest integer, ties to even.
    unsafe fn round(a: Self::Vector) -> Self::Vector;
    /// `2^a` for integral `a` in -126..=127.
    unsafe fn power_of_two(a: Self::Vector) -> Self::Vector;
    /// `value` where `a >= bound`, else 0.
    unsafe fn keep_from(a: Self::Vector, bound: Self::Vector, value: Self::Vector) -> Self::Vector;
    /// `a * 2^exponent` for an integral `exponent` up to 127 and an `a` near 1; 0 for one below
    /// -150, and either that or a denormal for one below -126.
    unsafe fn scale_by_power(a: Self::Vector, exponent: Self::Vector) -> Self::Vector;
    /// Lanes `begin..end` of `value`, -infinity elsewhere.
    unsafe fn mask_range(value: Self::Vector, begin: usize, end: usize) -> Self::Vector;
    unsafe fn sum(a: Self::Vector) -> f32;
    unsafe fn maximum(a: Self::Vector) -> f32;
}

/// e to the power of each lane; 0 below -87, relative error under 2e-7 above.
///
/// # Safety
///
/// Needs the instruction set of `L`.
#[inline(always)]
pub(crate) unsafe fn exp<L: Lanes>(x: L::Vector) -> L::Vector {
    // SAFETY: the caller has the instruction set.
    unsafe {
        let lowest = L::splat(-87.0);
        let clamped = L::min(L::max(x, lowest), L::splat(88.0));
        let exponent = L::round(L::mul(clamped, L::splat(std::f32::consts::LOG2_E)));
        let rest = L::fma(exponent, L::splat(-0.693_359_4), clamped);
        let rest = L::fma(exponent, L::splat(2.121_944_4e-4), rest);
        let mut polynomial = L::splat(1.987_569_1e-4);
        for coefficient in [
            1.398_2e-3,
            8.333_452e-3,
            4.166_579_6e-2,
            1.666_666_6e-1,
            0.5,
        ] {
            polynomial = L::fma(polynomial, rest, L::splat(coefficient));
        }
        let polynomial = L::fma(L::mul(rest, rest), polynomial, L::add(rest, L::splat(1.0)));
        L::keep_from(x, lowest, L::mul(polynomial, L::power_of_two(exponent)))
    }
}

/// 2 to the power of each lane, for lanes up to 127; 0 below -150, relative error under 2e-7 from -126 on.
///
/// # Safety
///
/// Needs the instruction set of `L`.
#[inline(always)]
pub(crate) unsafe fn exp2<L: Lanes>(x: L::Vector) -> L::Vector {
    // SAFETY: the caller has the instruction set.
    unsafe {
        let clamped = L::max(x, L::splat(-160.0));
        let exponent = L::round(clamped);
        let rest = L::sub(clamped, exponent);
        // The polynomial of degree 5 whose largest relative error on -0.5..0.5 is least (1.1e-7), with
        // value and slope at 0 held exact.
        let mut polynomial = L::splat(1.330_060_7e-3);
        for coefficient in [
            9.669_691e-3,
            5.550_558_5e-2,
            0.240_222_83,
            std::f32::consts::LN_2,
            1.0,
        ] {
            polynomial = L::fma(polynomial, rest, L::splat(coefficient));
        }
        L::scale_by_power(polynomial, exponent)
    }
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
///
/// # Safety
///
/// Needs the instruction set of `L`.
#[inline(always)]
pub(crate) unsafe fn sigmoid<L: Lanes>(x: L::Vector) -> L::Vector {
    // SAFETY: the caller has the instruction set.
    unsafe {
        let one = L::splat(1.0);
        L::div(one, L::add(one, exp::<L>(L::sub(L::splat(0.0), x))))
    }
}

/// Hyperbolic tangent.
///
/// # Safety
///
/// Needs the instruction set of `L`.
#[inline(always)]
pub(crate) unsafe fn tanh<L: Lanes>(x: L::Vector) -> L::Vector {
    // SAFETY: the caller has the instruction set.
    unsafe {
        let doubled = sigmoid::<L>(L::add(x, x));
        L::sub(L::add(doubled, doubled), L::splat(1.0))
    }
}
