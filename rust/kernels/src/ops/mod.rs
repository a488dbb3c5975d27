//! Row operations, written once over [`crate::simd::Lanes`]; `plain.rs` has their plain forms.

pub(crate) mod activation;
pub(crate) mod backward;
pub(crate) mod norm;
pub(crate) mod quantize;
pub(crate) mod rope;
pub(crate) mod softmax;
pub(crate) mod vector;
