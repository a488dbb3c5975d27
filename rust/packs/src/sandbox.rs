//! Where kernels are compiled and what they may be: a Wasmtime engine with almost everything off.
//!
//! Modules are compiled from the bytes whose hash was checked, in this process and at every load. No
//! compiled code is ever read from a file.

use std::num::NonZero;
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use wasmparser::{Encoding, Parser, Payload, WasmFeatures};
use wasmtime::{Config, Engine, ExternType, Module, OptLevel, ValType};

use crate::abi::{INFO, MEMORY};
use crate::error::LoadError;
use crate::manifest::{Ceilings, KernelEntry};
use crate::ticker::{Ticker, Ticking};

/// The stack of a kernel; threads of the host have more.
const STACK_BYTES: usize = 256 << 10;
/// Bytes that all targets of one function's jump tables may take: LLVM makes none that is near it.
const JUMP_TABLE_TARGETS: u32 = 16 << 10;
/// Threads that compile a pack together.
const MOST_COMPILERS: usize = 4;

/// How a sandbox is set up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SandboxOptions {
    /// The most that kernels get.
    pub ceilings: Ceilings,
    /// Who advances time for them.
    pub ticking: Ticking,
    /// Whether traps come as signals: faster, but a handler that the process installs later (Python's
    /// `faulthandler`) takes them for crashes.
    pub signal_traps: bool,
    /// How long compiling a pack may take.
    pub compile_limit: Duration,
    /// What a kernel may find of earlier calls.
    pub isolation: Isolation,
    /// Faults in a row after which a kernel is not called any more.
    pub fault_limit: u32,
}

/// What a kernel may find of earlier calls, which may be another tenant's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Isolation {
    /// Nothing of the tensors; what it wrote elsewhere in its memory stays.
    Tensors,
    /// Nothing: each call has a new instance, which takes some microseconds.
    Instances,
}

impl Default for SandboxOptions {
    fn default() -> Self {
        Self {
            ceilings: Ceilings::default(),
            ticking: Ticking::Every(Duration::from_millis(10)),
            signal_traps: false,
            compile_limit: Duration::from_secs(10),
            isolation: Isolation::Tensors,
            fault_limit: 3,
        }
    }
}

/// An engine for kernels, and its time.
#[derive(Debug)]
pub struct Sandbox {
    engine: Engine,
    ticker: Ticker,
    options: SandboxOptions,
}

/// A kernel's bytes, whose hash was checked.
#[derive(Debug, Clone)]
pub(crate) struct Source {
    pub(crate) entry: KernelEntry,
    pub(crate) bytes: Vec<u8>,
}

impl Sandbox {
    /// Sets up an engine.
    pub fn new(options: SandboxOptions) -> Result<Self, LoadError> {
        let fault = |error: wasmtime::Error| LoadError::Sandbox {
            reason: format!("{error:#}"),
        };
        let engine = Engine::new(&config(&options)).map_err(fault)?;
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

    /// Compiles kernels on threads of their own, and gives up on them after the limit. The first error of
    /// the first kernel that has one counts.
    pub(crate) fn compile(
        &self,
        sources: Vec<Source>,
    ) -> Result<Vec<(KernelEntry, Module)>, LoadError> {
        let limit = self.options.compile_limit;
        let end = Instant::now() + limit;
        let threads = std::thread::available_parallelism().map_or(1, NonZero::get);
        let count = sources.len();
        let (sender, receiver) = channel();
        let queue = Arc::new(Mutex::new(sources.into_iter().enumerate()));
        for _ in 0..threads.min(count).min(MOST_COMPILERS) {
            let (engine, ceilings) = (self.engine.clone(), self.options.ceilings);
            let (queue, sender) = (Arc::clone(&queue), sender.clone());
            let next = move || queue.lock().unwrap_or_else(PoisonError::into_inner).next();
            let work = move || {
                while let Some((index, source)) = next() {
                    // Whoever waits may have given up.
                    if sender
                        .send((index, compile_one(&engine, &ceilings, source)))
                        .is_err()
                    {
                        return;
                    }
                }
            };
            let builder = std::thread::Builder::new().name("ruvllm-pack-compiler".to_owned());
            builder.spawn(work).map_err(|error| LoadError::Sandbox {
                reason: format!("no thread to compile on: {error}"),
            })?;
        }
        drop(sender);
        let mut modules: Vec<_> = (0..count).map(|_| None).collect();
        for _ in 0..count {
            let left = end.saturating_duration_since(Instant::now());
            let (index, module) = receiver.recv_timeout(left).map_err(|error| match error {
                RecvTimeoutError::Timeout => LoadError::CompileTimeout { limit },
                RecvTimeoutError::Disconnected => LoadError::Sandbox {
                    reason: "the compiler panicked".to_owned(),
                },
            })?;
            modules[index] = Some(module);
        }
        modules.into_iter().flatten().collect()
    }
}

fn config(options: &SandboxOptions) -> Config {
    let mut config = Config::new();
    let wanted = WasmFeatures::FLOATS
        | WasmFeatures::MUTABLE_GLOBAL
        | WasmFeatures::SATURATING_FLOAT_TO_INT
        | WasmFeatures::SIGN_EXTENSION
        | WasmFeatures::MULTI_VALUE
        | WasmFeatures::BULK_MEMORY
        | WasmFeatures::SIMD
        | WasmFeatures::RELAXED_SIMD;
    config
        .wasm_features(WasmFeatures::all(), false)
        .wasm_features(wanted, true)
        // A multiply-add rounds once on every machine.
        .relaxed_simd_deterministic(true)
        .cranelift_opt_level(OptLevel::Speed)
        .epoch_interruption(true)
        .signals_based_traps(options.signal_traps)
        .max_wasm_stack(STACK_BYTES)
        // A trap is an ordinary event here, and nobody reads where it was.
        .wasm_backtrace_max_frames(None)
        .native_unwind_info(false)
        .generate_address_map(false);
    config
}

fn compile_one(
    engine: &Engine,
    ceilings: &Ceilings,
    source: Source,
) -> Result<(KernelEntry, Module), LoadError> {
    let fault = |reason: String| LoadError::Module {
        kernel: source.entry.id.clone(),
        reason,
    };
    inspect(&source.bytes, ceilings).map_err(fault)?;
    let module = Module::from_binary(engine, &source.bytes);
    let module = module.map_err(|error| fault(format!("{error:#}")))?;
    check_exports(&module, &source.entry).map_err(fault)?;
    Ok((source.entry, module))
}

/// Looks at the sections before anything is compiled.
fn inspect(bytes: &[u8], ceilings: &Ceilings) -> Result<(), String> {
    if !bytes.starts_with(b"\0asm") {
        return Err("no WebAssembly module; compiled code is never loaded".to_owned());
    }
    for payload in Parser::new(0).parse_all(bytes) {
        match payload.map_err(|error| error.to_string())? {
            Payload::Version {
                encoding: Encoding::Component,
                ..
            } => {
                return Err("a component, and no core module".to_owned());
            }
            Payload::StartSection { .. } => {
                return Err("a start function, which the ABI does not have".to_owned());
            }
            Payload::ImportSection(imports) if imports.count() > 0 => {
                return Err("imports: a kernel gets nothing from the host".to_owned());
            }
            Payload::FunctionSection(functions) if functions.count() > ceilings.functions => {
                return Err(format!(
                    "{} functions; this host takes {}",
                    functions.count(),
                    ceilings.functions
                ));
            }
            Payload::CodeSectionEntry(body) => check_jumps(&body)?,
            _ => {}
        }
    }
    Ok(())
}

/// Jump tables grow more when they are compiled than their bytes tell.
fn check_jumps(body: &wasmparser::FunctionBody<'_>) -> Result<(), String> {
    let mut operators = body
        .get_operators_reader()
        .map_err(|error| error.to_string())?;
    let mut targets = 0u32;
    while !operators.eof() {
        if let wasmparser::Operator::BrTable { targets: table } =
            operators.read().map_err(|error| error.to_string())?
        {
            targets = targets.saturating_add(table.len());
        }
    }
    if targets > JUMP_TABLE_TARGETS {
        return Err(format!("jump tables of {targets} targets in one function"));
    }
    Ok(())
}

fn check_exports(module: &Module, entry: &KernelEntry) -> Result<(), String> {
    let limits = &entry.resource_limits;
    match module.get_export(MEMORY) {
        Some(ExternType::Memory(memory)) if memory.minimum() > u64::from(limits.memory_pages) => {
            return Err(format!(
                "its memory begins with {} pages, and its limit is {}",
                memory.minimum(),
                limits.memory_pages
            ));
        }
        Some(ExternType::Memory(_)) => {}
        _ => return Err("it exports no memory called \"memory\"".to_owned()),
    }
    for name in [entry.entry_point.as_str(), INFO] {
        let is_right = match module.get_export(name) {
            Some(ExternType::Func(function)) => {
                matches!(function.params().collect::<Vec<_>>()[..], [ValType::I32])
                    && matches!(function.results().collect::<Vec<_>>()[..], [ValType::I32])
            }
            _ => false,
        };
        if !is_right {
            return Err(format!(
                "it exports no function {name:?} from an address to a code"
            ));
        }
    }
    Ok(())
}
