//! What a small device needs for a signed kernel: less than 256 KiB from the first byte of the manifest to the
//! last of the result.

#![allow(missing_docs, reason = "the names of the tests say what they are")]
#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]
#![allow(clippy::print_stdout, reason = "the figure is worth a look")]

mod support;

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicUsize, Ordering};

use support::{RMS_NORM, load, manifest_of, rms_norm, signed, trust};

/// What the device has for all of it.
const LIMIT: usize = 256 << 10;
const COLUMNS: usize = 4096;

static IN_USE: AtomicUsize = AtomicUsize::new(0);
static PEAK: AtomicUsize = AtomicUsize::new(0);

/// The system's allocator, watched: all threads together.
struct Counting;

#[global_allocator]
static ALLOCATOR: Counting = Counting;

#[expect(unsafe_code, reason = "an allocator that counts is an unsafe trait")]
// SAFETY: every request goes unchanged to the system's allocator; counting allocates nothing.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let now = IN_USE.fetch_add(layout.size(), Ordering::SeqCst) + layout.size();
        PEAK.fetch_max(now, Ordering::SeqCst);
        // SAFETY: the caller's promises are the callee's demands.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        IN_USE.fetch_sub(layout.size(), Ordering::SeqCst);
        // SAFETY: the caller's promises are the callee's demands.
        unsafe { System.dealloc(pointer, layout) }
    }

    // `realloc` is the default one: old and new stand side by side, the worst that may happen.
}

#[test]
fn a_kernel_needs_less_than_256_kib() {
    // The host's own, and what the pack is while it lies in flash.
    let files = signed(&manifest_of(RMS_NORM), RMS_NORM);
    let trust = trust();
    let (input, weight) = ([1.5f32; COLUMNS], [0.5f32; COLUMNS]);
    let mut output = [0.0f32; COLUMNS];

    let before = IN_USE.load(Ordering::SeqCst);
    PEAK.store(before, Ordering::SeqCst);
    let pack = load(&files, &trust).unwrap();
    rms_norm(&pack, (&input, &weight), &mut output).unwrap();
    let heap = PEAK.load(Ordering::SeqCst) - before;
    // Where there is virtual memory, Wasmtime puts code into pages of its own, past the allocator.
    let code = RMS_NORM.len().next_multiple_of(4096);

    println!(
        "heap {heap} bytes at most, code {code} bytes: {} in all",
        heap + code
    );
    assert!(output.iter().all(|value| (value - 0.5).abs() < 1e-6));
    assert!(heap > 64 << 10, "the linear memory was not counted");
    assert!(heap + code < LIMIT, "{heap} bytes and {code} of code");
}
