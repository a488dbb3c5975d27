//! A long-lived instance of a kernel, for one caller at a time.

use std::ops::Range;

use wasmtime::{
    Instance as WasmInstance, Memory, Module, Store, StoreLimits, StoreLimitsBuilder, TypedFunc,
};

use crate::error::KernelError;
use crate::sandbox::Sandbox;
use crate::sandbox::abi::{INFO, Inputs, KernelInfo, Layout, MEMORY, PlaneMut, PlaneSizes};
use crate::sandbox::traps;
use crate::verify::manifest::ResourceLimits;

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
        let layout = Layout::new(&self.info, inputs, output, self.memory_limit())?;
        self.grow_to(layout.end)?;
        let memory = self.memory.data_mut(&mut self.store);
        layout.write((&self.info, memory), inputs, output, self.dirty);
        self.dirty = layout.end;
        self.run()?;
        layout.read(self.memory.data(&self.store), output)
    }

    /// Room for planes that a caller builds in the kernel's memory: zeros, whatever was there before.
    pub(crate) fn lay_out(
        &mut self,
        sizes: PlaneSizes,
        params_bytes: usize,
    ) -> Result<Layout, KernelError> {
        let layout = Layout::of(&self.info, sizes, params_bytes, self.memory_limit())?;
        self.grow_to(layout.end)?;
        self.clear();
        self.dirty = layout.end;
        Ok(layout)
    }

    /// One call upon planes that lie in the memory already.
    pub(crate) fn call_in_place(
        &mut self,
        layout: &Layout,
        params: &[u8],
    ) -> Result<(), KernelError> {
        let memory = self.memory.data_mut(&mut self.store);
        // Anew each time: the kernel can write there.
        layout.write_frame((&self.info, memory), params);
        self.run()?;
        layout.check_guards(self.memory.data(&self.store))
    }

    /// Zeros wherever a call left bytes of its own.
    pub(crate) fn clear(&mut self) {
        let begin = self.info.heap_base.min(self.dirty);
        self.memory.data_mut(&mut self.store)[begin..self.dirty].fill(0);
        self.dirty = begin;
    }

    pub(crate) fn bytes_mut(&mut self, range: Range<usize>) -> &mut [u8] {
        &mut self.memory.data_mut(&mut self.store)[range]
    }

    fn memory_limit(&self) -> usize {
        self.limits.memory_pages as usize * PAGE_BYTES
    }

    fn grow_to(&mut self, end: usize) -> Result<(), KernelError> {
        let missing = end.saturating_sub(self.memory.data_size(&self.store));
        if missing > 0 {
            let pages = missing.div_ceil(PAGE_BYTES) as u64;
            let grown = self.memory.grow(&mut self.store, pages);
            grown.map_err(|_| KernelError::TooLarge {
                bytes: end as u64,
                limit: self.memory.data_size(&self.store) as u64,
            })?;
        }
        Ok(())
    }

    fn run(&mut self) -> Result<(), KernelError> {
        self.store.set_epoch_deadline(self.limits.epoch_ticks);
        let descriptor = self.info.heap_base as u32;
        let code = self.forward.call(&mut self.store, descriptor);
        match code.map_err(|error| traps::of_call(&error))? {
            0 => Ok(()),
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
