//! Matrix products: packed weights `[rows, columns]` times rows of activations.

mod add_deltas;
mod backward;
#[cfg(target_arch = "x86_64")]
mod convert_avx2;
mod cut;
pub(crate) mod dense;
#[cfg(target_arch = "x86_64")]
mod destination_avx512;
#[cfg(target_arch = "x86_64")]
mod dot_avx512;
#[cfg(target_arch = "aarch64")]
mod dot_neon;
#[cfg(target_arch = "x86_64")]
mod dot_x86;
pub(crate) mod float_product;
mod multiply;
mod output;
mod product;
#[cfg(target_arch = "x86_64")]
pub(crate) mod quantized_avx512;
#[cfg(target_arch = "aarch64")]
pub(crate) mod quantized_mmla;
#[cfg(target_arch = "aarch64")]
pub(crate) mod quantized_neon;
#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
pub(crate) mod quantized_portable;
#[cfg(target_arch = "x86_64")]
pub(crate) mod quantized_x86;
#[cfg(target_arch = "x86_64")]
mod register_x86;
mod rows;
#[cfg(target_arch = "x86_64")]
mod tile_avx512;
#[cfg(target_arch = "aarch64")]
mod tile_neon;
pub(crate) mod transposed;
pub(crate) mod turn_over;
#[cfg(target_arch = "x86_64")]
mod unpack_avx512;
#[cfg(target_arch = "aarch64")]
mod unpack_neon;
#[cfg(target_arch = "x86_64")]
mod unpack_x86;
pub(crate) mod words;
#[cfg(target_arch = "x86_64")]
pub(crate) mod words_avx2;
#[cfg(target_arch = "x86_64")]
pub(crate) mod words_avx512;

pub use backward::{TransposedBuffers, TransposedProduct, add_product, add_transposed};
pub(crate) use dense::decode_tile;
pub use float_product::{FloatProduct, Grid};
pub use multiply::{RowPrecision, multiply};
pub use output::OutputTile;
pub(crate) use product::check_product;
pub use product::{Activations, Epilogue, Product};
pub use rows::{FloatRows, QuantizedRowMut, QuantizedRows, QuantizedRowsMut, TileRange};
pub use transposed::OutputRows;
pub use words::{WordRowMut, WordRows, takes_words};
