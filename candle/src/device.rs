//! Where candle can compute, and with how many threads.

use std::panic::{AssertUnwindSafe, catch_unwind};

use candle_core::Device;
use pyo3::prelude::*;
use ruvllm_core::{Error, Result};

use crate::failure;

/// Cards that are looked for.
const MOST_CARDS: usize = 16;

/// The devices that are here, by name, the best first: `cuda:0`, `metal`, `cpu`.
#[pyfunction]
pub(crate) fn devices() -> Vec<String> {
    let mut found = Vec::new();
    if cfg!(feature = "cuda") {
        let names = (0..MOST_CARDS).map(|index| format!("cuda:{index}"));
        found.extend(names.take_while(|name| opened(name).is_ok()));
    }
    if cfg!(feature = "metal") && opened("metal").is_ok() {
        found.push("metal".to_owned());
    }
    found.push("cpu".to_owned());
    found
}

/// The device of that name.
pub(crate) fn opened(name: &str) -> Result<Device> {
    // A driver that is missing is found out by a panic.
    let made = catch_unwind(AssertUnwindSafe(|| match name.split_once(':') {
        None if name == "cpu" => Some(Ok(Device::Cpu)),
        None if name == "metal" => Some(Device::new_metal(0)),
        Some(("cuda", index)) => index.parse().ok().map(Device::new_cuda),
        _ => None,
    }));
    match made {
        Ok(Some(device)) => device.map_err(|error| failure::computing(&error)),
        Ok(None) => Err(Error::Config(format!(
            "the device is '{name}'; it must be 'cpu', 'metal' or 'cuda:INDEX'"
        ))),
        Err(_) => Err(Error::Backend(format!(
            "the device '{name}' cannot be opened: its driver is missing or another one"
        ))),
    }
}

/// Fixes how many threads candle has in this process, where nobody did; gives how many these are.
#[pyfunction]
pub(crate) fn fix_threads(wanted: usize) -> usize {
    let threads = rayon::ThreadPoolBuilder::new().num_threads(wanted);
    // An error is that there are some already, which nobody can change.
    threads
        .build_global()
        .map_or_else(|_| rayon::current_num_threads(), |()| wanted)
}
