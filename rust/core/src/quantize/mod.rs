//! A model's weights in fewer bits: a file in, another one out, tensor by tensor.
//!
//! `mix` says which tensor becomes what, `rows` makes it so on all threads, and a writer of `ruvllm-formats` takes
//! it. Some rows are held at a time, never a tensor. Called by the binding; where the file lies is its caller's.

mod kind;
mod mix;
mod rows;

use std::io::Write;

use ruvllm_formats::gguf::{Entry, GgufWriter, PlannedTensor};
use ruvllm_formats::{FileKind, ModelFiles};
use ruvllm_kernels::ThreadPool;

pub use mix::Mix;

use crate::error::{Error, Result};

/// The version of the block formats, which readers ask for.
const QUANTIZATION_VERSION: u32 = 2;
/// What a file says of the parts that it is one of.
const SPLIT: &str = "split.";
/// Bytes of a tensor that are read before the system may take them back.
const RELEASED_BYTES: u64 = 16 << 20;

/// What became of a tensor.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Requantized {
    /// Its name.
    pub name: String,
    /// The type it had, and the type it has.
    pub types: [&'static str; 2],
    /// Its bytes before and after.
    pub bytes: [u64; 2],
}

/// Writes `files` as one GGUF file whose weights are of `mix`; `progress` hears of bytes read and in all, and may
/// stop it.
///
/// Key-values are carried over, the tokenizer and the chat template among them. Numbers that are not finite are
/// refused by their tensor's name.
pub fn quantize(
    files: &ModelFiles,
    mix: Mix,
    pool: &ThreadPool,
    target: &mut dyn Write,
    progress: &mut dyn FnMut(u64, u64) -> Result<()>,
) -> Result<Vec<Requantized>> {
    if files.kind() != FileKind::Gguf {
        return Err(Error::Model(
            "only GGUF files are quantized, and this is a folder of safetensors".to_owned(),
        ));
    }
    let tensors = files.tensors_in_file_order();
    let planned: Vec<_> = kind::kinds(files)
        .into_iter()
        .zip(&tensors)
        .map(|(kind, info)| PlannedTensor {
            name: info.name.clone(),
            tensor_type: mix.tensor_type(info, &kind),
            shape: info.shape.clone(),
        })
        .collect();
    let mut writer = GgufWriter::begin(target, &entries(files, mix)?, &planned)?;
    let total = tensors.iter().map(|info| info.byte_length() as u64).sum();
    let (mut done, mut made) = (0, Vec::with_capacity(tensors.len()));
    for (info, planned) in tensors.into_iter().zip(planned) {
        let before = done;
        let mut take = |bytes: &[u8], read: usize| {
            writer.write(bytes)?;
            if (done - before) / RELEASED_BYTES != (done - before + read as u64) / RELEASED_BYTES {
                files.release_first(info, (done - before) as usize);
            }
            done += read as u64;
            progress(done, total)
        };
        rows::convert(files, info, planned.tensor_type, pool, &mut take)?;
        made.push(Requantized {
            name: planned.name,
            types: [info.tensor_type.name(), planned.tensor_type.name()],
            bytes: [done - before, rows::bytes_of(info, planned.tensor_type)],
        });
        files.release(info);
    }
    writer.finish()?;
    Ok(made)
}

/// Those of the file, but of what it is now.
fn entries(files: &ModelFiles, mix: Mix) -> Result<Vec<Entry<'_>>> {
    let own = [
        Entry::number("general.file_type", mix.number()),
        Entry::number("general.quantization_version", QUANTIZATION_VERSION),
    ];
    let mut entries = files.entries()?;
    entries.retain(|entry| {
        !entry.key.starts_with(SPLIT) && own.iter().all(|own| own.key != entry.key)
    });
    entries.extend(own);
    Ok(entries)
}
