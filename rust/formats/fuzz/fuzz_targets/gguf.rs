//! Any bytes as a GGUF file: read or refused, and a tensor that is described lies in the file.
#![no_main]

use libfuzzer_sys::fuzz_target;
use ruvllm_formats::gguf;

fuzz_target!(|bytes: &[u8]| {
    match gguf::parse(bytes) {
        Ok(header) => {
            let described: usize = header.tensors.iter().map(|info| info.byte_length()).sum();
            assert!(described <= bytes.len());
        }
        Err(error) => assert!(error.to_string().len() < 600),
    }
});
