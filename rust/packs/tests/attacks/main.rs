//! What a hostile or broken pack may try: the cases of the threat model, each by its number.

#![allow(missing_docs, reason = "the names of the cases say what they are")]

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
