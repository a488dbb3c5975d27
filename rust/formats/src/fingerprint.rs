//! Which model some files are, by looking at a little of each tensor.

use xxhash_rust::xxh3::Xxh3;

use crate::ModelFiles;

/// Bytes that are looked at where a tensor begins, in its middle and at its end.
const SAMPLE: usize = 4 << 10;

impl ModelFiles {
    /// Names the model: equal for the same files wherever they lie, and another one where a description, a length or
    /// any byte is different that was looked at. What is changed between the samples, length for length, goes unseen.
    pub fn fingerprint(&self) -> u128 {
        let mut hash = Xxh3::new();
        for (file, bytes) in self.all_bytes().enumerate() {
            let own = self.tensors().filter(|info| info.file == file);
            let data = own.map(|info| info.offset).min().unwrap_or(bytes.len());
            hash.update(&(bytes.len() as u64).to_le_bytes());
            hash.update(bytes.get(..data).unwrap_or(bytes));
        }
        if let Some(config) = self.config() {
            hash.update(config.to_string().as_bytes());
        }
        for info in self.tensors() {
            let Some((_, bytes)) = self.tensor(&info.name) else {
                continue;
            };
            let length = SAMPLE.min(bytes.len());
            let last = bytes.len() - length;
            for first in [0, last / 2, last] {
                hash.update(&bytes[first..first + length]);
            }
        }
        hash.digest128()
    }
}
