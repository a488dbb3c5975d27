//! Numbers of several groups side by side: what is done to one is done to all.
//!
//! Plain arrays, of which the compiler makes vectors of whatever the function has that this is inlined into. Sums
//! run along a lane and never across, and nothing is rounded once where it could be twice: every instruction set
//! gives the same bits.

/// One number of each of `G` groups.
#[derive(Debug, Clone, Copy)]
#[repr(align(64))]
pub(in crate::quant) struct Side<const G: usize>(pub(in crate::quant) [f32; G]);

/// What a number below 2^22 is moved by to lose its fraction, to nearest even.
const ROUNDER: f32 = 12_582_912.0;

impl<const G: usize> Side<G> {
    /// The same for all.
    #[inline(always)]
    pub(in crate::quant) fn splat(value: f32) -> Self {
        Self([value; G])
    }

    /// Each by its lane.
    #[inline(always)]
    pub(in crate::quant) fn from_fn(lane: impl FnMut(usize) -> f32) -> Self {
        Self(std::array::from_fn(lane))
    }

    #[inline(always)]
    fn with(self, other: Self, join: impl Fn(f32, f32) -> f32) -> Self {
        Self::from_fn(|lane| join(self.0[lane], other.0[lane]))
    }

    #[inline(always)]
    pub(in crate::quant) fn plus(self, other: Self) -> Self {
        self.with(other, |a, b| a + b)
    }

    #[inline(always)]
    pub(in crate::quant) fn minus(self, other: Self) -> Self {
        self.with(other, |a, b| a - b)
    }

    #[inline(always)]
    pub(in crate::quant) fn times(self, other: Self) -> Self {
        self.with(other, |a, b| a * b)
    }

    /// The smaller of two numbers.
    #[inline(always)]
    pub(in crate::quant) fn least(self, other: Self) -> Self {
        self.with(other, |a, b| if a < b { a } else { b })
    }

    /// The larger of two numbers.
    #[inline(always)]
    pub(in crate::quant) fn most(self, other: Self) -> Self {
        self.with(other, |a, b| if a > b { a } else { b })
    }

    #[inline(always)]
    pub(in crate::quant) fn magnitude(self) -> Self {
        Self::from_fn(|lane| self.0[lane].abs())
    }

    /// To the nearest whole number, ties to even.
    #[inline(always)]
    pub(in crate::quant) fn rounded(self) -> Self {
        Self::from_fn(|lane| (self.0[lane] + ROUNDER) - ROUNDER)
    }

    /// `1 / x`, and 0 where there is none.
    #[inline(always)]
    pub(in crate::quant) fn inverse(self) -> Self {
        Self::from_fn(|lane| {
            let inverse = 1.0 / self.0[lane];
            if inverse.abs() < f32::MAX {
                inverse
            } else {
                0.0
            }
        })
    }

    /// `first` in the lanes where this is below `bound`, `second` in the others.
    #[inline(always)]
    pub(in crate::quant) fn below(self, bound: Self, first: Self, second: Self) -> Self {
        Self::from_fn(|lane| {
            if self.0[lane] < bound.0[lane] {
                first.0[lane]
            } else {
                second.0[lane]
            }
        })
    }

    /// The largest of all lanes.
    #[inline(always)]
    pub(in crate::quant) fn peak(self) -> f32 {
        self.0[1..].iter().fold(
            self.0[0],
            |peak, &value| if value > peak { value } else { peak },
        )
    }
}
