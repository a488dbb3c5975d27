//! Where kernels run and what they may be.
//!
//! Modules come from the bytes whose hash was checked ([`modules`]), in an engine with almost everything off ([`engine`]);
//! each call is an instance's ([`kernel`]), whose memory nobody finds anything in afterwards.

pub(crate) mod abi;
pub(crate) mod arena;
#[cfg(feature = "compiler")]
mod compiler;
pub(crate) mod device_class;
mod engine;
mod instance;
pub(crate) mod kernel;
mod modules;
mod options;
#[cfg(feature = "precompiled")]
mod precompiled;
mod source;
pub(crate) mod ticker;
mod traps;

pub use engine::Sandbox;
pub use options::{Isolation, SandboxOptions};
pub(crate) use source::Source;
