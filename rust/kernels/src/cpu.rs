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
    // The standard library reads the affinity mask and the quota of cgroups v1 and v2, and rounds
    // the quota down.
    match std::thread::available_parallelism() {
        Ok(threads) => ThreadChoice {
            threads: threads.get(),
            reason: reason(threads.get(), allowed_cpus()),
        },
        Err(error) => ThreadChoice {
            threads: 1,
            reason: format!("the system does not tell: {error}"),
        },
    }
}

fn reason(threads: usize, allowed: Option<usize>) -> String {
    match allowed {
        Some(allowed) if threads < allowed => {
            format!(
                "the affinity mask allows {allowed}, the cgroup's quota, rounded down, {threads}"
            )
        }
        Some(allowed) => format!("the affinity mask allows {allowed}, and no quota less"),
        None => "what the system offers this process".to_owned(),
    }
}

/// Processors in the affinity mask, where the system tells.
fn allowed_cpus() -> Option<usize> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let list = status
        .lines()
        .find_map(|line| line.strip_prefix("Cpus_allowed_list:"))?;
    count_cpus(list)
}

/// How many numbers a list such as `0-3,8` holds.
fn count_cpus(list: &str) -> Option<usize> {
    list.trim().split(',').try_fold(0usize, |total, part| {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let (first, last): (usize, usize) = (first.parse().ok()?, last.parse().ok()?);
        total.checked_add(last.checked_sub(first)?.checked_add(1)?)
    })
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

    #[test]
    fn lists_of_processors_are_counted() {
        let cases = [
            ("0-3,8", Some(5)),
            (" 7\n", Some(1)),
            ("0,2-2", Some(2)),
            ("3-1", None),
            ("", None),
            ("a", None),
        ];
        for (list, expected) in cases {
            assert_eq!(count_cpus(list), expected, "{list:?}");
        }
    }

    #[test]
    fn the_reason_names_what_limits() {
        assert!(reason(2, Some(8)).contains("allows 8") && reason(2, Some(8)).contains("quota"));
        assert!(reason(8, Some(8)).contains("no quota"));
        assert_eq!(thread_choice(Some(3)).threads, 3);
        assert_eq!(thread_choice(Some(0)).threads, 1);
    }
}
