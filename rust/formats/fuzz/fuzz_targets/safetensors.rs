//! Any bytes as a safetensors file: read or refused, and the tensors are all of the data.
#![no_main]

use libfuzzer_sys::fuzz_target;
use ruvllm_formats::safetensors;

fuzz_target!(|bytes: &[u8]| {
    match safetensors::parse(bytes) {
        Ok(tensors) => {
            let described: usize = tensors.iter().map(|info| info.byte_length()).sum();
            assert!(described < bytes.len());
        }
        Err(error) => assert!(error.to_string().len() < 600),
    }
});
