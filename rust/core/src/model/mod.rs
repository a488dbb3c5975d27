//! Models: a family's differences as data ([`spec`], [`families`]), and one decoder over them.

pub mod families;
pub mod rope;
pub mod spec;
