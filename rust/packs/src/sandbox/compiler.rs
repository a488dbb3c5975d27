//! Modules compiled to the processor's instructions: in this process, at every load, from the bytes whose hash
//! was checked. No compiled code is ever read from a file.

use std::num::NonZero;
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use wasmparser::{Encoding, Parser, Payload};
use wasmtime::{Engine, Module};

use crate::error::LoadError;
use crate::sandbox::{Sandbox, Source};
use crate::verify::manifest::{Ceilings, KernelEntry};

/// Bytes that all targets of one function's jump tables may take: LLVM makes none that is near it.
const JUMP_TABLE_TARGETS: u32 = 16 << 10;
/// Threads that compile a pack together.
const MOST_COMPILERS: usize = 4;

/// Compiles kernels on threads of their own, and gives up on them after the limit. The first error of
/// the first kernel that has one counts.
pub(crate) fn compile(
    sandbox: &Sandbox,
    sources: Vec<Source>,
) -> Result<Vec<(KernelEntry, Module)>, LoadError> {
    let limit = sandbox.options().compile_limit;
    let end = Instant::now() + limit;
    let threads = std::thread::available_parallelism().map_or(1, NonZero::get);
    let count = sources.len();
    let (sender, receiver) = channel();
    let mut sources: Vec<_> = sources.into_iter().enumerate().collect();
    // The largest first: at the end no thread waits long for another.
    sources.sort_by_key(|(_, source)| std::cmp::Reverse(source.bytes.len()));
    let queue = Arc::new(Mutex::new(sources.into_iter()));
    for _ in 0..threads.min(count).min(MOST_COMPILERS) {
        let (engine, ceilings) = (sandbox.engine().clone(), sandbox.options().ceilings);
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
    Ok((source.entry, module))
}

/// Looks at the sections before anything is compiled.
pub(crate) fn inspect(bytes: &[u8], ceilings: &Ceilings) -> Result<(), String> {
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
