//! Asking memory for what the next job reads, while there is nothing else to do.
//!
//! Between two products of one token the threads wait for each other and for the small operations
//! between; the memory would wait with them.

/// What a core's second-level cache takes without losing what it holds.
const BYTES: usize = 64 << 10;
const LINE_BYTES: usize = 64;

/// Some memory to ask for, line by line. Only a hint: the address is never read from.
#[derive(Debug, Clone, Copy, Default)]
pub struct ReadAhead {
    address: usize,
    lines: usize,
}

impl ReadAhead {
    /// The beginning of some memory.
    pub(crate) fn of<T>(memory: &[T]) -> Self {
        Self {
            address: memory.as_ptr() as usize,
            lines: size_of_val(memory).min(BYTES) / LINE_BYTES,
        }
    }

    /// Asks for all of it.
    pub(crate) fn ask_all(mut self) {
        while self.ask() {}
    }

    /// Asks for the next line; `false` when there is none.
    pub(crate) fn ask(&mut self) -> bool {
        if self.lines == 0 {
            return false;
        }
        fetch(self.address as *const u8);
        self.address += LINE_BYTES;
        self.lines -= 1;
        true
    }
}

#[inline]
fn fetch(address: *const u8) {
    #[cfg(target_arch = "x86_64")]
    {
        use std::arch::x86_64::{_MM_HINT_T1, _mm_prefetch};
        // SAFETY: a hint: any address may be asked for.
        unsafe { _mm_prefetch::<_MM_HINT_T1>(address.cast()) };
    }
    #[cfg(target_arch = "aarch64")]
    // SAFETY: a hint: any address may be asked for.
    unsafe {
        std::arch::asm!("prfm pldl2keep, [{0}]", in(reg) address, options(nostack, readonly));
    }
    #[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
    let _ = address;
}
