//! What a hostile or broken pack may try: the cases of the threat model, each by its number.

#![allow(missing_docs, reason = "the names of the cases say what they are")]
#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]
#![allow(clippy::too_many_lines, reason = "tables of attacks")]

mod adapters;
mod arena;
mod generation;
mod health;
mod kernels;
mod manifest;
mod modules;
mod paths;
mod reference;
mod replay;
mod running;
mod signature;
mod support;
mod upgrade;
