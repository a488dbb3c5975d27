//! What calls through a pack cost: `cargo run --release -p ruvllm-packs --example overhead`.
//!
//! The marks: a kernel that does nothing, p50 below 1 us and p99 below 10 us; RMSNorm of 4096 values with its
//! copies below 4 us; the reference pack verified, compiled, checked and active within 100 ms, with two cores free.
//! Then what looking at the time costs ([`epochs`]) and what copying does ([`arena`]).

#![allow(clippy::print_stdout, reason = "a program that prints figures")]

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use ruvllm_kernels::{Activation, Kernels};
use ruvllm_packs::{
    Counters, Downgrade, Floors, Inputs, Isolation, Kernel, PackKernels, PackManager, Plane,
    PlaneMut, Sandbox, SandboxOptions, SecretKey, Trust, TrustedKeys, VerifiedPack,
};
use sha2::{Digest, Sha256};

mod arena;
mod epochs;

pub(crate) type Anything = Box<dyn std::error::Error>;

const NOTHING: &str = r#"(module (memory (export "memory") 1)
    (func (export "kernel_info") (param i32) (result i32)
      (i32.store (local.get 0) (i32.const 1)) (i32.store offset=4 (local.get 0) (i32.const 32))
      (i32.store offset=12 (local.get 0) (i32.const 16)) i32.const 0)
    (func (export "kernel_forward") (param i32) (result i32) i32.const 0))"#;

fn main() -> Result<(), Anything> {
    let packs = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../python/ruvllm/packs");
    for isolation in [Isolation::Tensors, Isolation::Instances] {
        let options = SandboxOptions {
            isolation,
            ..SandboxOptions::default()
        };
        let sandbox = Arc::new(Sandbox::new(options)?);
        let kernel = nothing(&sandbox)?;
        println!("-- {isolation:?}");
        let (a, mut y) = ([1.0f32; 16], [0.0f32; 16]);
        measure("a kernel that does nothing, 16 values", || {
            let inputs = Inputs {
                a: Some(Plane::Floats(&a)),
                b: &[],
                scratch_bytes: 0,
                params: &[],
            };
            kernel.call(&inputs, &mut PlaneMut::Floats(&mut y)).is_ok()
        });
    }
    activation(&packs)?;
    epochs::print(&packs.join("kernel-pack-v1.0.0"))?;
    for (name, signal_traps) in [
        ("bounds in code (the wheel's way)", false),
        ("bounds by signals", true),
    ] {
        let options = SandboxOptions {
            signal_traps,
            arenas: true,
            ..SandboxOptions::default()
        };
        println!("-- the reference pack, {name}");
        let sandbox = Arc::new(Sandbox::new(options)?);
        let pack = VerifiedPack::read(
            &packs.join("kernel-pack-v1.0.0"),
            &trust(&packs)?,
            &options.ceilings,
        )?;
        let pack = pack.compile(&sandbox)?;
        let packed = PackKernels::new(ruvllm_kernels::best(), &pack, Arc::new(Counters::default()));
        operations("pack  ", &packed);
        arena::print(&pack)?;
    }
    println!("-- native: {}", ruvllm_kernels::best().name());
    operations("native", &*ruvllm_kernels::best());
    Ok(())
}

fn operations(who: &str, kernels: &dyn Kernels) {
    for (rows, columns) in [(1, 576), (1, 4096)] {
        let (x, w, mut y) = (
            vec![0.5; rows * columns],
            vec![1.5; columns],
            vec![0.0; rows * columns],
        );
        measure(&format!("{who} RMSNorm {rows} x {columns}"), || {
            kernels.rms_norm(&x, &w, 1e-5, &mut y);
            true
        });
    }
    let (cosines, sines) = ([0.6f32; 64], [0.8f32; 64]);
    for (heads, dims) in [(9, 64), (32, 128)] {
        let mut x = vec![0.5; heads * dims];
        measure(&format!("{who} RoPE {heads} heads of {dims}"), || {
            kernels.rotate(&mut x, dims, &cosines[..dims / 2], &sines[..dims / 2]);
            true
        });
    }
    for columns in [192, 1536, 11008] {
        let (x, mut y) = (vec![0.5; columns], vec![0.0; columns]);
        measure(&format!("{who} SwiGLU {columns}"), || {
            kernels.gate(Activation::Silu, &x, &x, &mut y);
            true
        });
    }
}

/// Each time in a sandbox of its own, so nothing is left of the time before.
fn activation(packs: &Path) -> Result<(), Anything> {
    let folder = packs.join("kernel-pack-v1.0.0");
    let mut times = [const { Vec::new() }; 3];
    for _ in 0..20 {
        let begin = Instant::now();
        let options = SandboxOptions::default();
        let (sandbox, trust) = (Arc::new(Sandbox::new(options)?), trust(packs)?);
        let native = ruvllm_kernels::best();
        let host = PackManager::new(
            Arc::clone(&sandbox),
            trust.clone(),
            native,
            Floors::default(),
        );
        host.activate(&folder, Downgrade::Refuse)?;
        let all = begin.elapsed();
        let begin = Instant::now();
        let verified = VerifiedPack::read(&folder, &trust, &options.ceilings)?;
        let read = begin.elapsed();
        let begin = Instant::now();
        drop(verified.compile(&sandbox)?);
        let compiled = begin.elapsed();
        let parts = times.iter_mut().zip([all, read, compiled]);
        parts.for_each(|(times, time)| times.push(time.as_secs_f64() * 1e3));
    }
    println!("-- from the folder to the active pack, 20 times");
    let names = [
        "all of it",
        "of that: reading and verifying",
        "of that: compiling",
    ];
    for (name, times) in names.iter().zip(&mut times) {
        times.sort_by(f64::total_cmp);
        let [min, median, max] = [times[0], times[10], times[19]];
        println!("{name:48} min {min:8.3}  p50 {median:8.3}  max {max:8.3} ms");
    }
    Ok(())
}

fn trust(packs: &Path) -> Result<Trust, Anything> {
    let key = std::fs::read_to_string(packs.join("trusted_keys/ruvllm-release.pub"))?;
    Ok(Trust {
        keys: TrustedKeys::parse([key.trim()], [])?,
        ..Trust::default()
    })
}

/// A pack of a kernel that does nothing, signed on the spot.
fn nothing(sandbox: &Arc<Sandbox>) -> Result<Arc<Kernel>, Anything> {
    let module = wat::parse_str(NOTHING)?;
    let key = SecretKey::from_bytes(&[1; 32]);
    let digits = format!("{:x}", Sha256::digest(&module));
    let manifest = serde_json::to_vec(&serde_json::json!({
        "$schema": "https://ruvllm.dev/schemas/kernel-pack-v1.json", "version": "1.0.0", "name": "nothing",
        "min_runtime_version": "0.1.0", "max_runtime_version": "9.0.0", "created_at": "2026-01-01T00:00:00Z",
        "author": {"name": "overhead", "signing_key": key.public().text()},
        "kernels": [{
            "id": "rmsnorm_f32", "name": "nothing", "category": "none", "path": "nothing.wasm",
            "hash": format!("sha256:{digits}"), "inputs": [], "outputs": [],
            "resource_limits": {"max_memory_pages": 4, "max_epoch_ticks": 100, "max_table_elements": 0},
            "platforms": {"wasmtime": {"min_version": "48.0.0"}},
        }],
    }))?;
    let folder: PathBuf =
        std::env::temp_dir().join(format!("ruvllm-overhead-{}", std::process::id()));
    std::fs::create_dir_all(&folder)?;
    std::fs::write(folder.join("kernels.json"), &manifest)?;
    std::fs::write(folder.join("kernels.json.sig"), key.sign(&manifest))?;
    std::fs::write(folder.join("nothing.wasm"), &module)?;
    let text = key.public().text();
    let trust = Trust {
        keys: TrustedKeys::parse([text.as_str()], [])?,
        ..Trust::default()
    };
    let pack = VerifiedPack::read(&folder, &trust, &sandbox.options().ceilings);
    std::fs::remove_dir_all(&folder)?;
    let pack = pack?.compile(sandbox)?;
    Ok(Arc::clone(pack.kernel("rmsnorm_f32").ok_or("no kernel")?))
}

fn measure(name: &str, call: impl FnMut() -> bool) {
    measure_for(name, 20_000, call);
}

/// Single calls, each timed; what reading the clock takes is in the figures.
pub(crate) fn measure_for(name: &str, count: usize, mut call: impl FnMut() -> bool) {
    for _ in 0..count / 10 {
        call();
    }
    let mut times: Vec<Duration> = Vec::with_capacity(count);
    let mut failures = 0;
    for _ in 0..count {
        let begin = Instant::now();
        failures += usize::from(!call());
        times.push(begin.elapsed());
    }
    times.sort_unstable();
    let at = |share: f64| times[(share * (count - 1) as f64) as usize].as_secs_f64() * 1e6;
    print!(
        "{name:48} min {:8.3}  p50 {:8.3}  p99 {:8.3} us",
        at(0.0),
        at(0.5),
        at(0.99)
    );
    println!("{}", if failures > 0 { "  FAILED" } else { "" });
}
