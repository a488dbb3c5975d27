//! Products of pairs of 16-bit integers, added up in 32 bits.
//!
//! Processors multiply two such pairs and add both products to a sum in one instruction (or two), so integers of 16
//! bits go through in half the time of floats, and the sums are exact: they depend neither on an order nor on the
//! instruction set.

use super::Lanes;

#[cfg(target_arch = "x86_64")]
pub(crate) mod avx2;
#[cfg(target_arch = "x86_64")]
pub(crate) mod avx512;
#[cfg(target_arch = "aarch64")]
pub(crate) mod neon;
pub(crate) mod portable;
#[cfg(target_arch = "x86_64")]
pub(crate) mod sse42;

/// What numbers of three bits stand for (`attention/eighths.rs`).
pub(crate) const LEVELS: [i8; 8] = [-127, -79, -45, -14, 14, 45, 79, 127];

/// Pairs of 16-bit integers, one beside the other in a lane of 32 bits, by a value that exists only where the machine
/// has the instructions.
pub(crate) trait Pairs: Copy {
    /// The floats of the same width.
    type Lanes: Lanes;
    /// A 32-bit sum in each lane.
    type Sums: Copy;
    /// A pair in each lane.
    type Words: Copy;

    /// What proves the instructions of the floats.
    fn lanes(self) -> Self::Lanes;
    /// Sums of nothing.
    fn zero(self) -> Self::Sums;
    /// The same pair, `low | high << 16`, in each lane.
    fn splat(self, pair: i32) -> Self::Words;
    /// `sums + a.low * b.low + a.high * b.high`, which the caller knows to fit.
    fn add_products(self, sums: Self::Sums, a: Self::Words, b: Self::Words) -> Self::Sums;
    /// The nearest floats.
    fn floats(self, sums: Self::Sums) -> <Self::Lanes as Lanes>::Vector;
    /// # Safety
    ///
    /// `source` is valid for a pair of words for each lane.
    unsafe fn load_words(self, source: *const i16) -> Self::Words;
    /// # Safety
    ///
    /// `source` is valid for a pair of bytes for each lane.
    unsafe fn load_bytes(self, source: *const i8) -> Self::Words;
    /// Pairs that share a byte, low half first: of each half `h` of -8..=7 the odd number `2h + 1`.
    ///
    /// # Safety
    ///
    /// `source` is valid for a byte for each lane.
    unsafe fn load_halves(self, source: *const i8) -> Self::Words;
    /// One of the eight pairs whose three bits share a lane: the first two of all in the first plane, the third ones in the
    /// second plane, in both those of first numbers before those of second ones. Of each the [level](LEVELS).
    ///
    /// # Safety
    ///
    /// The first plane is valid for four bytes for each lane, the second one for two.
    unsafe fn load_eighths(self, planes: [*const i8; 2], pair: usize) -> Self::Words;
    /// # Safety
    ///
    /// `source` is valid for a number of 32 bits for each lane.
    unsafe fn load_sums(self, source: *const i32) -> Self::Sums;
    /// # Safety
    ///
    /// `target` is valid for a number of 32 bits for each lane.
    unsafe fn store_sums(self, target: *mut i32, sums: Self::Sums);
}
