//! An allocator that counts, for each thread, the bytes in use and the most that were in use.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

thread_local! {
    static IN_USE: Cell<isize> = const { Cell::new(0) };
    static PEAK: Cell<isize> = const { Cell::new(0) };
}

/// The system's allocator, watched.
pub(crate) struct Counting;

fn change(bytes: isize) {
    // While a thread ends its counters may be gone; nothing is measured then.
    let _ = IN_USE.try_with(|in_use| {
        let now = in_use.get() + bytes;
        in_use.set(now);
        let _ = PEAK.try_with(|peak| peak.set(peak.get().max(now)));
    });
}

// SAFETY: every request goes unchanged to the system's allocator; counting allocates nothing.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        change(layout.size().cast_signed());
        // SAFETY: the caller's promises are the callee's demands.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        change(-layout.size().cast_signed());
        // SAFETY: the caller's promises are the callee's demands.
        unsafe { System.dealloc(pointer, layout) }
    }

    // `realloc` is the default one: old and new stand side by side, the worst that may happen.
}

/// What a call gives, and the most bytes that this thread had more than before.
pub(crate) fn peak_of<T>(call: impl FnOnce() -> T) -> (T, usize) {
    let before = IN_USE.get();
    PEAK.set(before);
    let outcome = call();
    (outcome, (PEAK.get() - before).max(0).cast_unsigned())
}
