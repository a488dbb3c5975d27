//! A long-lived instance of a kernel, for one caller at a time.

use wasmtime::{
    Instance as WasmInstance, Memory, Module, Store, StoreLimits, StoreLimitsBuilder, TypedFunc,
};

use crate::abi::{INFO, Inputs, KernelInfo, Layout, MEMORY, PlaneMut};
use crate::error::KernelError;
use crate::manifest::ResourceLimits;
use crate::sandbox::Sandbox;
use crate::traps;

const PAGE_BYTES: usize = 64 << 10;

/// What instances of a kernel are made of.
#[derive(Debug, Clone)]
pub(crate) struct Code {
    pub(crate) module: Module,
    pub(crate) entry_point: String,
    pub(crate) limits: ResourceLimits,
}

pub(crate) struct Instance {
    store: Store<StoreLimits>,
    memory: Memory,
    forward: TypedFunc<u32, i32>,
    info: KernelInfo,
    limits: ResourceLimits,
    /// Behind the last byte that a call has left.
    dirty: usize,
}

impl Instance {
    /// Makes an instance and asks it what it is; both within one budget of time.
    pub(crate) fn new(sandbox: &Sandbox, code: &Code) -> Result<Self, KernelError> {
        let limits = StoreLimitsBuilder::new()
            .memory_size(code.limits.memory_pages as usize * PAGE_BYTES)
            .table_elements(code.limits.table_elements as usize)
            .instances(1)
            .memories(1)
            .tables(1)
            .build();
        let mut store = Store::new(sandbox.engine(), limits);
        store.limiter(|limits| limits);
        store.set_epoch_deadline(code.limits.epoch_ticks);
        let fault = |error: wasmtime::Error| traps::of_call(&error);
        let made = WasmInstance::new(&mut store, &code.module, &[]).map_err(fault)?;
        let lost = |name: &str| KernelError::Instance {
            reason: format!("there is no {name}"),
        };
        let memory = made
            .get_memory(&mut store, MEMORY)
            .ok_or_else(|| lost(MEMORY))?;
        let forward = made
            .get_typed_func(&mut store, &code.entry_point)
            .map_err(fault)?;
        let describe: TypedFunc<u32, i32> = made.get_typed_func(&mut store, INFO).map_err(fault)?;
        let info = read_info(&mut store, memory, &describe)?;
        Ok(Self {
            store,
            memory,
            forward,
            info,
            limits: code.limits,
            dirty: 0,
        })
    }

    pub(crate) fn info(&self) -> &KernelInfo {
        &self.info
    }

    /// One call. After an error the instance is of no more use: who knows what it left.
    pub(crate) fn call(
        &mut self,
        inputs: &Inputs<'_>,
        output: &mut PlaneMut<'_>,
    ) -> Result<(), KernelError> {
        let limit = self.limits.memory_pages as usize * PAGE_BYTES;
        let layout = Layout::new(&self.info, inputs, output, limit)?;
        let missing = layout
            .end
            .saturating_sub(self.memory.data_size(&self.store));
        if missing > 0 {
            let pages = missing.div_ceil(PAGE_BYTES) as u64;
            let grown = self.memory.grow(&mut self.store, pages);
            grown.map_err(|_| KernelError::TooLarge {
                bytes: layout.end as u64,
                limit: self.memory.data_size(&self.store) as u64,
            })?;
        }
        let memory = self.memory.data_mut(&mut self.store);
        layout.write((&self.info, memory), inputs, output, self.dirty);
        self.dirty = layout.end;
        self.store.set_epoch_deadline(self.limits.epoch_ticks);
        let descriptor = self.info.heap_base as u32;
        let code = self.forward.call(&mut self.store, descriptor);
        match code.map_err(|error| traps::of_call(&error))? {
            0 => layout.read(self.memory.data(&self.store), output),
            code => Err(traps::of_code(code)),
        }
    }
}

/// Where the heap begins is what the kernel is asked, so the answer goes to the very end.
fn read_info(
    store: &mut Store<StoreLimits>,
    memory: Memory,
    describe: &TypedFunc<u32, i32>,
) -> Result<KernelInfo, KernelError> {
    let bytes = memory.data_size(&mut *store);
    let place = bytes
        .checked_sub(KernelInfo::BYTES)
        .ok_or(KernelError::Instance {
            reason: "its memory is empty".to_owned(),
        })?;
    let code = describe.call(&mut *store, place as u32);
    match code.map_err(|error| traps::of_call(&error))? {
        0 => {}
        code => return Err(traps::of_code(code)),
    }
    let words = &mut memory.data_mut(store)[place..];
    let info = KernelInfo::parse(words, bytes);
    words.fill(0);
    info.map_err(|reason| KernelError::Instance { reason })
}
