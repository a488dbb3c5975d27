//! The search for scales: of all that a format can store, what comes near to the values.
//!
//! Groups stand side by side, a lane each. A few scales are tried for each, the best is fitted by least squares,
//! and then the stored multiples of the super-block's base around it are compared by what they really give. No
//! format's bits are known here.

pub(super) mod affine;
pub(super) mod groups;
pub(super) mod scaled;
pub(super) mod side;
#[cfg(test)]
mod tests;
