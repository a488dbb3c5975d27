//! How fast all threads together read memory that no cache holds.

use std::collections::BTreeMap;
use std::hint::black_box;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::rate::best_rate;
use crate::aligned::Arena;
use crate::threads::ThreadPool;

/// The buffer is so many times as large as the last caches together, within these limits: a virtual machine is told of
/// a part of the cache that it has, and memory of 128 MiB came three times as fast as that of 2 GiB, of 1 GiB as fast.
const TIMES_THE_CACHE: u64 = 8;
const FEWEST_BYTES: u64 = 1 << 30;
const MOST_BYTES: u64 = 4 << 30;
/// Of the memory that is free it takes no more than this part; nothing is measured where that is less than twice the
/// caches.
const PART_OF_THE_FREE: u64 = 8;
const FEWEST_TIMES: u64 = 2;
/// What a thread reads between two looks at the clock.
const STRETCH: usize = 1 << 20;
/// Bytes of a step of the loop, and how far ahead of it memory is asked for.
const STEP: usize = 512;
const AHEAD: usize = 8192;
const LINE_BYTES: usize = 64;

/// Bytes a second, where so many bytes are free; 0 where that is too little.
pub(super) fn bytes_per_second(pool: &ThreadPool, free_bytes: Option<u64>) -> f64 {
    let threads = pool.threads();
    let caches = last_cache_bytes(Path::new("/sys/devices/system/cpu")).unwrap_or(0);
    let Some(bytes) = buffer_bytes(caches, free_bytes) else {
        return 0.0;
    };
    let slice = (bytes as usize / threads).next_multiple_of(STRETCH);
    let Ok(mut buffer) = Arena::default().zeroed(slice * threads) else {
        return 0.0;
    };
    // Pages that nobody wrote are all the same page, and in the cache.
    let parts = buffer.as_mut_slice().chunks_mut(STRETCH).collect();
    pool.for_each(parts, 1, |part: &mut [u8]| part.fill(1));
    let bytes = buffer.as_slice();
    let positions: Vec<AtomicUsize> = (0..threads).map(|_| AtomicUsize::new(0)).collect();
    best_rate(pool, &|thread| {
        let position = positions[thread].load(Ordering::Relaxed);
        positions[thread].store((position + STRETCH) % slice, Ordering::Relaxed);
        read(&bytes[thread * slice + position..][..STRETCH]);
        STRETCH as u64
    })
}

fn buffer_bytes(caches: u64, free_bytes: Option<u64>) -> Option<u64> {
    let wanted = (caches * TIMES_THE_CACHE).clamp(FEWEST_BYTES, MOST_BYTES);
    let room = free_bytes.map_or(FEWEST_BYTES, |bytes| bytes / PART_OF_THE_FREE);
    Some(wanted.min(room)).filter(|bytes| *bytes >= caches * FEWEST_TIMES && *bytes > 0)
}

/// Bytes of all last-level caches, each counted once, where the system tells.
fn last_cache_bytes(processors: &Path) -> Option<u64> {
    let mut caches = BTreeMap::new();
    for processor in std::fs::read_dir(processors).ok()?.flatten() {
        let cache = processor.path().join("cache/index3");
        let read = |name: &str| std::fs::read_to_string(cache.join(name)).ok();
        if let (Some(sharers), Some(size)) = (read("shared_cpu_list"), read("size")) {
            caches.insert(sharers, kilobytes(&size)? * 1024);
        }
    }
    Some(caches.values().sum())
}

/// The number of a size such as `32768K`.
fn kilobytes(size: &str) -> Option<u64> {
    size.trim().strip_suffix('K')?.parse().ok()
}

/// Reads every byte, in the widest loads that are here.
fn read(bytes: &[u8]) {
    #[cfg(target_arch = "x86_64")]
    {
        if is_x86_feature_detected!("avx512f") {
            // SAFETY: the feature was just found.
            return unsafe { read_avx512(bytes) };
        }
        if is_x86_feature_detected!("avx2") {
            // SAFETY: the features were just found.
            return unsafe { read_avx2(bytes) };
        }
    }
    read_words(bytes);
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f")]
fn read_avx512(bytes: &[u8]) {
    use std::arch::x86_64::*;
    let mut seen = [_mm512_setzero_si512(); STEP / 64];
    for step in bytes.chunks_exact(STEP) {
        ask_ahead(step);
        for (seen, line) in seen.iter_mut().zip(step.chunks_exact(64)) {
            // SAFETY: the chunk has 64 bytes.
            let line = unsafe { _mm512_loadu_si512(line.as_ptr().cast()) };
            *seen = _mm512_or_si512(*seen, line);
        }
    }
    black_box(seen);
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2")]
fn read_avx2(bytes: &[u8]) {
    use std::arch::x86_64::*;
    let mut seen = [_mm256_setzero_si256(); 8];
    for step in bytes.chunks_exact(STEP) {
        ask_ahead(step);
        for lines in step.chunks_exact(256) {
            for (seen, line) in seen.iter_mut().zip(lines.chunks_exact(32)) {
                // SAFETY: the chunk has 32 bytes.
                let line = unsafe { _mm256_loadu_si256(line.as_ptr().cast()) };
                *seen = _mm256_or_si256(*seen, line);
            }
        }
    }
    black_box(seen);
}

/// For the compiler to make vectors of.
fn read_words(bytes: &[u8]) {
    let mut seen = [0u64; 16];
    for step in bytes.chunks_exact(STEP) {
        ask_ahead(step);
        for words in step.chunks_exact(128) {
            for (seen, word) in seen.iter_mut().zip(words.chunks_exact(8)) {
                *seen |= word.iter().fold(0, |all, byte| all << 8 | u64::from(*byte));
            }
        }
    }
    black_box(seen);
}

/// Asks for the lines that come [`AHEAD`] behind those of a step; an address may lie anywhere.
#[inline(always)]
fn ask_ahead(step: &[u8]) {
    for line in (0..STEP).step_by(LINE_BYTES) {
        let address = step.as_ptr().wrapping_add(AHEAD + line);
        #[cfg(target_arch = "x86_64")]
        {
            use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
            // SAFETY: a hint, which never faults.
            unsafe { _mm_prefetch::<_MM_HINT_T0>(address.cast()) };
        }
        #[cfg(target_arch = "aarch64")]
        // SAFETY: a hint, which never faults.
        unsafe {
            std::arch::asm!("prfm pldl1keep, [{}]", in(reg) address, options(nostack, readonly));
        }
        #[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
        let _ = address;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_buffer_is_larger_than_caches_and_a_part_of_what_is_free() {
        const MIB: u64 = 1 << 20;
        assert_eq!(buffer_bytes(32 * MIB, Some(64 << 30)), Some(1024 * MIB));
        assert_eq!(buffer_bytes(256 * MIB, Some(64 << 30)), Some(2048 * MIB));
        assert_eq!(buffer_bytes(1 << 30, Some(64 << 30)), Some(4 << 30));
        assert_eq!(buffer_bytes(32 * MIB, Some(2 << 30)), Some(256 * MIB));
        assert_eq!(buffer_bytes(32 * MIB, Some(256 * MIB)), None);
        assert_eq!(buffer_bytes(0, None), Some(1024 * MIB));
    }

    #[test]
    fn shared_caches_count_once() {
        assert_eq!(kilobytes("32768K\n"), Some(32768));
        assert_eq!(kilobytes("32M"), None);
        assert_eq!(last_cache_bytes(Path::new("/nowhere")), None);
    }
}
