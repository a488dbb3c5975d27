//! Which processors are cores of their own: two threads of one core compute little more than one, and a job waits for
//! whoever has the slowest core.

use std::collections::BTreeSet;
use std::fs::read_to_string;
use std::path::Path;

/// More processors than any list names that is believed.
const MOST_PROCESSORS: usize = 1 << 16;

/// The processors that a process may use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Processors {
    /// All in the affinity mask.
    pub(crate) allowed: usize,
    /// Cores among them, whose threads share one.
    pub(crate) cores: usize,
    /// Of these the large ones.
    pub(crate) large: usize,
}

/// What Linux says of them, below `root`; nothing where it does not.
pub(crate) fn processors(root: &Path) -> Option<Processors> {
    let allowed = allowed(root)?;
    let core_of = |processor: &usize| core(root, *processor);
    let cores: BTreeSet<usize> = allowed.iter().map(core_of).collect::<Option<_>>()?;
    let large = large(root, &allowed);
    let large: BTreeSet<usize> = large.iter().map(core_of).collect::<Option<_>>()?;
    Some(Processors {
        allowed: allowed.len(),
        cores: cores.len(),
        large: large.len(),
    })
}

/// Those in the affinity mask.
fn allowed(root: &Path) -> Option<Vec<usize>> {
    let status = read_to_string(root.join("proc/self/status")).ok()?;
    let mut lines = status.lines();
    listed(lines.find_map(|line| line.strip_prefix("Cpus_allowed_list:"))?)
}

/// Names a processor's core: the first processor of it.
fn core(root: &Path, processor: usize) -> Option<usize> {
    let folder = of_processor(root, processor).join("topology");
    let names = ["core_cpus_list", "thread_siblings_list"];
    let mut lists = names
        .iter()
        .filter_map(|name| read_to_string(folder.join(name)).ok());
    let siblings = lists.find_map(|list| listed(&list))?;
    siblings.into_iter().min()
}

/// Those that are not there to save energy; all of them where the system makes no difference.
fn large(root: &Path, allowed: &[usize]) -> Vec<usize> {
    let small = read_to_string(root.join("sys/devices/cpu_atom/cpus"));
    let small: BTreeSet<_> = small
        .ok()
        .and_then(|list| listed(&list))
        .into_iter()
        .flatten()
        .collect();
    let capacity = |processor: &usize| -> Option<u64> {
        let text = read_to_string(of_processor(root, *processor).join("cpu_capacity"));
        text.ok()?.trim().parse().ok()
    };
    let capacities: Option<Vec<_>> = allowed.iter().map(capacity).collect();
    let most = capacities.iter().flatten().max().copied();
    let is_large = |index: usize, processor: &usize| {
        let capacity = capacities.as_ref().and_then(|all| all.get(index)).copied();
        let is_small = small.contains(processor)
            || capacity.zip(most).is_some_and(|(own, most)| own < most / 2);
        !is_small
    };
    let large = allowed
        .iter()
        .enumerate()
        .filter(|(index, processor)| is_large(*index, processor));
    let large: Vec<_> = large.map(|(_, processor)| *processor).collect();
    // A process that may only use the small ones uses these.
    if large.is_empty() {
        allowed.to_vec()
    } else {
        large
    }
}

fn of_processor(root: &Path, processor: usize) -> std::path::PathBuf {
    root.join(format!("sys/devices/system/cpu/cpu{processor}"))
}

/// The numbers of a list such as `0-3,8`; none where it is something else.
fn listed(list: &str) -> Option<Vec<usize>> {
    let mut numbers = Vec::new();
    for part in list.trim().split(',') {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let (first, last): (usize, usize) = (first.parse().ok()?, last.parse().ok()?);
        if first > last || last >= MOST_PROCESSORS {
            return None;
        }
        numbers.extend(first..=last);
    }
    Some(numbers)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A machine's files: (path, content).
    fn seen(name: &str, files: &[(String, &str)]) -> Option<Processors> {
        let root =
            std::env::temp_dir().join(format!("ruvllm-topology-{name}-{}", std::process::id()));
        for (path, content) in files {
            let path = root.join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, content).unwrap();
        }
        let found = processors(&root);
        let _ = std::fs::remove_dir_all(&root);
        found
    }

    fn mask(list: &str) -> (String, &str) {
        let status = format!("Name:\tx\nCpus_allowed_list:\t{list}\nThreads:\t1\n");
        (
            "proc/self/status".to_owned(),
            Box::leak(status.into_boxed_str()),
        )
    }

    fn siblings(of: usize, list: &'static str) -> (String, &'static str) {
        (
            format!("sys/devices/system/cpu/cpu{of}/topology/core_cpus_list"),
            list,
        )
    }

    fn of(allowed: usize, cores: usize, large: usize) -> Processors {
        Processors {
            allowed,
            cores,
            large,
        }
    }

    #[test]
    fn threads_of_one_core_are_one() {
        let pairs = [
            siblings(0, "0,2\n"),
            siblings(1, "1,3\n"),
            siblings(2, "0,2\n"),
            siblings(3, "1,3\n"),
        ];
        let with = |list| [&[mask(list)], &pairs[..]].concat();
        assert_eq!(seen("all", &with("0-3")), Some(of(4, 2, 2)));
        assert_eq!(seen("one of each", &with("0-1")), Some(of(2, 2, 2)));
        assert_eq!(seen("both of one", &with("1,3")), Some(of(2, 1, 1)));
    }

    #[test]
    fn kernels_before_the_new_name_have_the_old_one() {
        let path = "sys/devices/system/cpu/cpu0/topology/thread_siblings_list".to_owned();
        assert_eq!(seen("old", &[mask("0"), (path, "0-1")]), Some(of(1, 1, 1)));
    }

    /// Two large cores of two threads each, and four small ones.
    #[test]
    fn small_cores_are_told_apart() {
        let hybrid = [
            siblings(0, "0-1"),
            siblings(1, "0-1"),
            siblings(2, "2-3"),
            siblings(3, "2-3"),
            siblings(4, "4"),
            siblings(5, "5"),
            ("sys/devices/cpu_atom/cpus".to_owned(), "4-5\n"),
        ];
        let with = |list| [&[mask(list)], &hybrid[..]].concat();
        assert_eq!(seen("hybrid", &with("0-5")), Some(of(6, 4, 2)));
        assert_eq!(seen("only small", &with("4-5")), Some(of(2, 2, 2)));
    }

    #[test]
    fn a_core_of_half_the_capacity_is_small() {
        let capacity = |of: usize, value| {
            (
                format!("sys/devices/system/cpu/cpu{of}/cpu_capacity"),
                value,
            )
        };
        let cores = [siblings(0, "0"), siblings(1, "1"), siblings(2, "2")];
        let capacities = [
            capacity(0, "1024\n"),
            capacity(1, "820"),
            capacity(2, "300"),
        ];
        let all = [&[mask("0-2")], &cores[..], &capacities[..]].concat();
        assert_eq!(seen("arm", &all), Some(of(3, 3, 2)));
        // Where one does not say, none is told apart.
        assert_eq!(
            seen("arm in part", &all[..all.len() - 1]),
            Some(of(3, 3, 3))
        );
    }

    #[test]
    fn what_the_system_does_not_tell_is_not_guessed() {
        assert_eq!(seen("nothing", &[]), None);
        assert_eq!(seen("no topology", &[mask("0-1")]), None);
        for list in ["", "a", "3-1", "0-99999999", "0,,1", "-"] {
            assert_eq!(
                seen("no list", &[mask(list), siblings(0, "0")]),
                None,
                "{list:?}"
            );
            assert_eq!(
                seen(
                    "no siblings",
                    &[mask("0"), siblings(0, Box::leak(list.into()))]
                ),
                None
            );
        }
    }

    #[test]
    fn lists_of_processors() {
        assert_eq!(listed("0-3,8\n"), Some(vec![0, 1, 2, 3, 8]));
        assert_eq!(listed(" 7"), Some(vec![7]));
        assert_eq!(listed("0,2-2"), Some(vec![0, 2]));
    }
}
