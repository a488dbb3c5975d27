//! What this machine offers: features of its processor, and how many threads to use.

use std::path::Path;

use crate::topology::{Processors, processors};

/// How many threads, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ThreadChoice {
    /// The number.
    pub threads: usize,
    /// In words, for `ruvllm doctor`.
    pub reason: String,
}

/// `requested`, or one for each large core in the affinity mask, as far as the cgroup's quota, rounded down, allows.
pub fn thread_choice(requested: Option<usize>) -> ThreadChoice {
    if let Some(threads) = requested {
        return ThreadChoice {
            threads: threads.max(1),
            reason: "as requested".to_owned(),
        };
    }
    // The standard library reads the affinity mask and the quota of cgroups v1 and v2, and rounds
    // the quota down.
    match std::thread::available_parallelism() {
        Ok(threads) => choice(threads.get(), processors(Path::new("/"))),
        Err(error) => ThreadChoice {
            threads: 1,
            reason: format!("the system does not tell: {error}"),
        },
    }
}

fn choice(most: usize, processors: Option<Processors>) -> ThreadChoice {
    let Some(Processors {
        allowed,
        cores,
        large,
    }) = processors
    else {
        return ThreadChoice {
            threads: most,
            reason: "what the system offers this process".to_owned(),
        };
    };
    let mut reason = vec![format!("the affinity mask allows {allowed}")];
    if cores < allowed {
        reason.push(format!(", which are {cores} cores"));
    }
    if large < cores {
        reason.push(format!(", {large} of them large"));
    }
    reason.push(if most < allowed.min(large) {
        format!("; the cgroup's quota, rounded down, allows {most}")
    } else {
        ", and no quota less".to_owned()
    });
    let reason = reason.concat();
    let threads = most.min(large);
    ThreadChoice { threads, reason }
}

/// The features that matter to the kernels, as far as the processor and the system have them.
pub fn cpu_features() -> Vec<&'static str> {
    let mut features = Vec::new();
    #[cfg(target_arch = "x86_64")]
    {
        macro_rules! detect {
            ($($name:tt),*) => { $( if is_x86_feature_detected!($name) { features.push($name); } )* };
        }
        detect!(
            "sse4.2", "avx", "avx2", "fma", "f16c", "avxvnni", "avx512f", "avx512bw", "avx512dq"
        );
        detect!(
            "avx512vl",
            "avx512vnni",
            "avx512vbmi",
            "avx512bf16",
            "avx512fp16"
        );
    }
    #[cfg(target_arch = "aarch64")]
    {
        macro_rules! detect {
            ($($name:tt),*) => { $( if std::arch::is_aarch64_feature_detected!($name) { features.push($name); } )* };
        }
        detect!("neon", "dotprod", "i8mm", "fp16", "bf16", "sve");
    }
    features
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chosen(most: usize, allowed: usize, cores: usize, large: usize) -> (usize, String) {
        let ThreadChoice { threads, reason } = choice(
            most,
            Some(Processors {
                allowed,
                cores,
                large,
            }),
        );
        (threads, reason)
    }

    #[test]
    fn one_thread_for_each_large_core() {
        let because = |reason: &str| format!("the affinity mask allows {reason}");
        assert_eq!(chosen(8, 8, 8, 8), (8, because("8, and no quota less")));
        assert_eq!(
            chosen(8, 8, 4, 4),
            (4, because("8, which are 4 cores, and no quota less"))
        );
        let hybrid = "12, which are 8 cores, 4 of them large, and no quota less";
        assert_eq!(chosen(12, 12, 8, 4), (4, because(hybrid)));
        let limited = "8, which are 4 cores; the cgroup's quota, rounded down, allows 2";
        assert_eq!(chosen(2, 8, 4, 4), (2, because(limited)));
        assert_eq!(chosen(3, 4, 2, 2).0, 2, "a quota that is no tighter");
        assert_eq!(choice(6, None).threads, 6);
    }

    #[test]
    fn what_is_asked_for_is_taken() {
        assert_eq!(thread_choice(Some(3)).threads, 3);
        assert_eq!(thread_choice(Some(0)).threads, 1);
        assert!(thread_choice(None).threads >= 1);
    }
}
