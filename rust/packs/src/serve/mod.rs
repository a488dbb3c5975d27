//! A pack in the forward pass: tried beside what is known to be right ([`health`]), swapped in between two steps
//! ([`manager`]), called operation by operation ([`pack_kernels`]).

mod attempts;
pub(crate) mod counters;
mod floor;
mod floor_file;
pub(crate) mod floors;
mod formulas;
mod health;
pub(crate) mod manager;
mod operations;
pub(crate) mod pack_kernels;
mod trials;
