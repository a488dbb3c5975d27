//! With what queries and weights meet keys and values: floats, or pairs of 16-bit integers.

use std::marker::PhantomData;

use super::packing::{Packing, Widened};
use super::scale::Scale;
use super::stored::Stored;
use crate::simd::Lanes;
use crate::simd::pairs::Pairs;

/// The largest magnitude of a weight as an integer.
const MOST_WEIGHT: f32 = 32_767.0;
/// The largest sum of products of weights and values, less what rounding may add to the weights of a segment.
const MOST_SUM: f32 = 2_147_483_648.0;
const WEIGHT_ROUNDING: f32 = 128.0;

/// A vector of the floats beside it.
pub(crate) type Vector<A> = <<A as Arithmetic>::Lanes as Lanes>::Vector;

/// The arithmetic of one format on one instruction set.
///
/// Rows of queries and weights are prepared once, keys and values are read as they stand.
pub(crate) trait Arithmetic: Copy {
    /// The floats beside it.
    type Lanes: Lanes;
    /// What keys and values stand in.
    type Stored: Stored;
    /// How keys stand in these.
    type Keys: Packing<Element = Self::Stored>;
    /// How values do.
    type Values: Packing<Element = Self::Stored>;
    /// A running sum for each lane.
    type Sum: Copy;
    /// What meets in one step in each lane.
    type Factor: Copy;

    /// What proves the instructions.
    fn lanes(self) -> Self::Lanes;
    /// Sums of nothing.
    fn zero(self) -> Self::Sum;
    /// The sum, and what two factors add to it.
    fn add_product(self, sum: Self::Sum, a: Self::Factor, b: Self::Factor) -> Self::Sum;
    /// Sums as numbers, before any scale.
    fn floats(self, sum: Self::Sum) -> Vector<Self>;
    /// Of keys, what meets in one of the steps that share elements.
    ///
    /// # Safety
    ///
    /// The planes are valid for as many elements as hold that, and the step is one of those that share them.
    unsafe fn load_key(self, planes: [*const Self::Stored; 2], step: usize) -> Self::Factor;
    /// Of values.
    ///
    /// # Safety
    ///
    /// As [`load_key`](Self::load_key).
    unsafe fn load_value(self, planes: [*const Self::Stored; 2], step: usize) -> Self::Factor;
    /// What of a prepared row meets in a step, in every lane.
    ///
    /// # Safety
    ///
    /// The row has the step.
    unsafe fn splat(self, row: *const f32, step: usize) -> Self::Factor;
    /// # Safety
    ///
    /// `source` is valid for a number of each lane.
    unsafe fn load_sum(self, source: *const f32) -> Self::Sum;
    /// # Safety
    ///
    /// `target` is valid for a number of each lane.
    unsafe fn store_sum(self, target: *mut f32, sum: Self::Sum);
    /// Writes a query to its row; what its scores are multiplied by.
    ///
    /// # Safety
    ///
    /// The row has a place for each number, rounded up to even.
    unsafe fn prepare_query(self, query: &[f32], scale: f32, row: *mut f32) -> f32;
    /// Turns the weights of some whole vectors of a row into what values take, in place; what the results are multiplied by.
    ///
    /// # Safety
    ///
    /// The row has these weights, of which `largest` is the largest and `total` the sum.
    unsafe fn prepare_weights(
        self,
        row: *mut f32,
        positions: std::ops::Range<usize>,
        weights: Weights,
    ) -> f32;
}

/// Numbers of a row that meet in one step.
pub(super) const fn together<A: Arithmetic>() -> usize {
    <A::Stored as Stored>::TOGETHER
}

/// Lanes of a vector.
pub(super) const fn width<A: Arithmetic>() -> usize {
    <A::Lanes as Lanes>::WIDTH
}

/// What is known of a row of weights.
#[derive(Clone, Copy)]
pub(crate) struct Weights {
    pub(super) largest: f32,
    pub(super) total: f32,
}

/// 32-bit floats throughout.
#[derive(Clone, Copy)]
pub(crate) struct Floats<L>(pub(crate) L);

impl<L: Lanes> Arithmetic for Floats<L> {
    type Lanes = L;
    type Stored = f32;
    type Keys = f32;
    type Values = f32;
    type Sum = L::Vector;
    type Factor = L::Vector;

    #[inline(always)]
    fn lanes(self) -> L {
        self.0
    }
    #[inline(always)]
    fn zero(self) -> L::Vector {
        self.0.splat(0.0)
    }
    #[inline(always)]
    fn add_product(self, sum: L::Vector, a: L::Vector, b: L::Vector) -> L::Vector {
        self.0.fma(a, b, sum)
    }
    #[inline(always)]
    fn floats(self, sum: L::Vector) -> L::Vector {
        sum
    }
    #[inline(always)]
    unsafe fn load_key(self, [source, _]: [*const f32; 2], _: usize) -> L::Vector {
        // SAFETY: what the caller promises.
        unsafe { self.0.load(source) }
    }
    #[inline(always)]
    unsafe fn load_value(self, [source, _]: [*const f32; 2], _: usize) -> L::Vector {
        // SAFETY: what the caller promises.
        unsafe { self.0.load(source) }
    }
    #[inline(always)]
    unsafe fn splat(self, row: *const f32, step: usize) -> L::Vector {
        // SAFETY: what the caller promises.
        unsafe { self.0.splat(*row.add(step)) }
    }
    #[inline(always)]
    unsafe fn load_sum(self, source: *const f32) -> L::Vector {
        // SAFETY: what the caller promises.
        unsafe { self.0.load(source) }
    }
    #[inline(always)]
    unsafe fn store_sum(self, target: *mut f32, sum: L::Vector) {
        // SAFETY: what the caller promises.
        unsafe { self.0.store(target, sum) }
    }
    #[inline(always)]
    unsafe fn prepare_query(self, query: &[f32], scale: f32, row: *mut f32) -> f32 {
        for (dimension, value) in query.iter().enumerate() {
            // SAFETY: the row has a place for each number.
            unsafe { *row.add(dimension) = value * scale };
        }
        1.0
    }
    #[inline(always)]
    unsafe fn prepare_weights(self, _: *mut f32, _: std::ops::Range<usize>, _: Weights) -> f32 {
        1.0
    }
}

/// Integers of 16 bits, two in a step: keys and values as they are stored, or as bytes and halves are widened; queries and
/// weights under a scale for each row. The format is named by how its keys and its values stand.
#[derive(Clone, Copy)]
pub(crate) struct Integers<P, K, V> {
    pairs: P,
    format: PhantomData<(K, V)>,
}

impl<P, K, V> Integers<P, K, V> {
    pub(crate) fn new(pairs: P) -> Self {
        Self {
            pairs,
            format: PhantomData,
        }
    }
}

impl<P: Pairs, K: Widened, V: Widened + Packing<Element = K::Element>> Arithmetic
    for Integers<P, K, V>
{
    type Lanes = P::Lanes;
    type Stored = K::Element;
    type Keys = K;
    type Values = V;
    type Sum = P::Sums;
    type Factor = P::Words;

    #[inline(always)]
    fn lanes(self) -> P::Lanes {
        self.pairs.lanes()
    }
    #[inline(always)]
    fn zero(self) -> P::Sums {
        self.pairs.zero()
    }
    #[inline(always)]
    fn add_product(self, sum: P::Sums, a: P::Words, b: P::Words) -> P::Sums {
        self.pairs.add_products(sum, a, b)
    }
    #[inline(always)]
    fn floats(self, sum: P::Sums) -> Vector<Self> {
        self.pairs.floats(sum)
    }
    #[inline(always)]
    unsafe fn load_key(self, planes: [*const K::Element; 2], step: usize) -> P::Words {
        // SAFETY: what the caller promises.
        unsafe { K::load(self.pairs, planes, step) }
    }
    #[inline(always)]
    unsafe fn load_value(self, planes: [*const K::Element; 2], step: usize) -> P::Words {
        // SAFETY: what the caller promises.
        unsafe { V::load(self.pairs, planes, step) }
    }
    #[inline(always)]
    unsafe fn splat(self, row: *const f32, step: usize) -> P::Words {
        // SAFETY: what the caller promises; a pair of words takes the place of a float.
        unsafe { self.pairs.splat(*row.cast::<i32>().add(step)) }
    }
    #[inline(always)]
    unsafe fn load_sum(self, source: *const f32) -> P::Sums {
        // SAFETY: what the caller promises.
        unsafe { self.pairs.load_sums(source.cast()) }
    }
    #[inline(always)]
    unsafe fn store_sum(self, target: *mut f32, sum: P::Sums) {
        // SAFETY: what the caller promises.
        unsafe { self.pairs.store_sums(target.cast(), sum) }
    }
    #[inline(always)]
    unsafe fn prepare_query(self, query: &[f32], scale: f32, row: *mut f32) -> f32 {
        let own = Scale::of_length(query);
        let (lanes, words) = (self.lanes(), row.cast::<i16>());
        // SAFETY: the row has two words for each number; whole vectors of the query go where they stand, what is left
        // and the number that fills up the last pair behind them.
        unsafe {
            let mut dimension = 0;
            while dimension + P::Lanes::WIDTH <= query.len() {
                let vector = lanes.load(query.as_ptr().add(dimension));
                let scaled = lanes.mul(vector, lanes.splat(own.inverse));
                lanes.store_words(words.add(dimension), lanes.round(scaled));
                dimension += P::Lanes::WIDTH;
            }
            for (index, value) in query.iter().enumerate().skip(dimension) {
                *words.add(index) = (value * own.inverse).round_ties_even() as i16;
            }
            if query.len() % 2 == 1 {
                *words.add(query.len()) = 0;
            }
        }
        own.unit * scale
    }
    #[inline(always)]
    unsafe fn prepare_weights(
        self,
        row: *mut f32,
        positions: std::ops::Range<usize>,
        weights: Weights,
    ) -> f32 {
        let lanes = self.lanes();
        let most_total = MOST_SUM / (V::MOST_WEIGHED + 1.0) - WEIGHT_ROUNDING;
        let inverse = (MOST_WEIGHT / weights.largest).min(most_total / weights.total);
        // Where nothing weighs anything, nothing is added up.
        let (inverse, unit) = if inverse.is_finite() {
            (inverse, 1.0 / inverse)
        } else {
            (0.0, 0.0)
        };
        let factor = lanes.splat(inverse);
        for position in positions.step_by(P::Lanes::WIDTH) {
            // SAFETY: the row has these weights; words go to where weights were that have been read.
            unsafe {
                let weight = lanes.mul(lanes.load(row.add(position)), factor);
                lanes.store_words(row.cast::<i16>().add(position), lanes.round(weight));
            }
        }
        unit
    }
}
