//! What this machine offers: features of its processor, and how many threads to use.

/// How many threads, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ThreadChoice {
    /// The number.
    pub threads: usize,
    /// In words, for `ruvllm doctor`.
    pub reason: String,
}

/// `requested`, or as many as the affinity mask and the cgroup's quota leave, rounded down.
pub fn thread_choice(requested: Option<usize>) -> ThreadChoice {
    if let Some(threads) = requested {
        return ThreadChoice {
            threads: threads.max(1),
            reason: "as requested".to_owned(),
        };
    }
    // The standard library reads the affinity mask and the quota of cgroups v1 and v2.
    match std::thread::available_parallelism() {
        Ok(threads) => ThreadChoice {
            threads: threads.get(),
            reason: "affinity mask and cgroup quota".to_owned(),
        },
        Err(error) => ThreadChoice {
            threads: 1,
            reason: format!("the system does not tell: {error}"),
        },
    }
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
