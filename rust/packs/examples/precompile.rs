//! A module for devices without a compiler:
//! `cargo run -p ruvllm-packs --features precompiled --example precompile -- kernel.wasm kernel.cwasm`.
//!
//! Reads WebAssembly, in binary or as text; writes what `platforms.pulley` of a manifest stands for.

use ruvllm_packs::{Sandbox, SandboxOptions};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let paths: Vec<_> = std::env::args_os().skip(1).collect();
    let [module, output] = &paths[..] else {
        return Err("usage: precompile MODULE OUTPUT".into());
    };
    let module = wat::parse_file(module)?;
    let compiled = Sandbox::new(SandboxOptions::embedded())?.precompile(&module)?;
    Ok(std::fs::write(output, compiled)?)
}
