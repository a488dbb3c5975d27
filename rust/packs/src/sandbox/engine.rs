//! The Wasmtime engine that kernels run in, with almost everything off, and its time.

use wasmparser::WasmFeatures;
use wasmtime::{Config, Engine};

use super::device_class::DeviceClass;
use super::options::SandboxOptions;
use super::ticker::Ticker;
use crate::error::LoadError;

/// An engine for kernels, and its time.
#[derive(Debug)]
pub struct Sandbox {
    engine: Engine,
    ticker: Ticker,
    options: SandboxOptions,
}

impl Sandbox {
    /// Sets up an engine.
    pub fn new(options: SandboxOptions) -> Result<Self, LoadError> {
        let fault = |error: wasmtime::Error| LoadError::Sandbox {
            reason: format!("{error:#}"),
        };
        let engine = Engine::new(&config(&options)?).map_err(fault)?;
        let ticker = Ticker::new(&engine, options.ticking);
        Ok(Self {
            engine,
            ticker,
            options,
        })
    }

    /// How it was set up.
    pub fn options(&self) -> &SandboxOptions {
        &self.options
    }

    /// Advances time by one tick.
    pub fn tick(&self) {
        self.engine.increment_epoch();
    }

    pub(crate) fn engine(&self) -> &Engine {
        &self.engine
    }

    pub(crate) fn ticker(&self) -> &Ticker {
        &self.ticker
    }
}

/// An engine with almost everything off.
#[cfg_attr(
    not(feature = "precompiled"),
    expect(clippy::unnecessary_wraps, reason = "Pulley has to be asked for")
)]
fn config(options: &SandboxOptions) -> Result<Config, LoadError> {
    let mut config = Config::new();
    let common = WasmFeatures::FLOATS
        | WasmFeatures::MUTABLE_GLOBAL
        | WasmFeatures::SATURATING_FLOAT_TO_INT
        | WasmFeatures::SIGN_EXTENSION
        | WasmFeatures::MULTI_VALUE
        | WasmFeatures::BULK_MEMORY;
    config
        .wasm_features(WasmFeatures::all(), false)
        .wasm_features(common | options.class.own_features(), true)
        .epoch_interruption(true)
        .signals_based_traps(options.signal_traps)
        .max_wasm_stack(options.class.stack_bytes())
        // A trap is an ordinary event here, and nobody reads where it was.
        .wasm_backtrace_max_frames(None)
        .native_unwind_info(false)
        .generate_address_map(false);
    match options.class {
        #[cfg(feature = "compiler")]
        DeviceClass::Server => {
            // A multiply-add rounds once on every machine.
            config
                .relaxed_simd_deterministic(true)
                .cranelift_opt_level(wasmtime::OptLevel::Speed);
        }
        #[cfg(feature = "precompiled")]
        DeviceClass::Embedded => {
            // Memory comes from the allocator, and only what is used of it.
            config
                .memory_reservation(0)
                .memory_reservation_for_growth(0)
                .memory_guard_size(0)
                .memory_init_cow(false);
            let target = config.target("pulley64");
            target.map_err(|error| LoadError::Sandbox {
                reason: format!("{error:#}"),
            })?;
        }
    }
    Ok(config)
}
