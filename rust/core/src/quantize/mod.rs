//! A model's weights in fewer bits: a file or folder in, a GGUF file out, tensor by tensor.
//!
//! `outgoing` and `folder` say what goes in, `mix` which tensor becomes what, `rows` makes it so on all threads, and a
//! writer of `ruvllm-formats` takes it. Some rows are held at a time, never a matrix. Called by the binding; where the
//! file lies is its caller's.

mod blocks;
mod folder;
mod kind;
mod mix;
mod outgoing;
mod rows;
mod said;

use std::borrow::Cow;
use std::collections::HashMap;
use std::io::Write;

use ruvllm_formats::gguf::{Entry, GgufWriter, PlannedTensor};
use ruvllm_formats::{FileKind, ModelFiles};
use ruvllm_kernels::ThreadPool;

pub use blocks::{block_type, blocks_of_values, values_of_blocks};
pub use mix::Mix;
use outgoing::{Origin, Outgoing, Plan};
use rows::Weighted;

use crate::error::{Error, Result};

/// The version of the block formats, which readers ask for.
const QUANTIZATION_VERSION: u32 = 2;
/// What a file says of the parts that it is one of.
const SPLIT: &str = "split.";
/// Bytes of a tensor that are read before the system may take them back.
const RELEASED_BYTES: u64 = 16 << 20;

/// What besides the model decides about the new file.
#[derive(Debug, Clone)]
pub struct Wanted {
    /// The types.
    pub mix: Mix,
    /// What the file says besides, by key: a value as GGUF has it, behind the number of its type.
    pub entries: Vec<(String, Vec<u8>)>,
    /// Of a matrix, by its name in the new file, what the square of an error in each column counts.
    pub importance: HashMap<String, Vec<f32>>,
}

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

/// Writes `files` as one GGUF file with weights as they are wanted; `progress` hears of bytes read and in all, and may
/// stop it.
///
/// Key-values are carried over, the tokenizer and the chat template among them. Numbers that are not finite are
/// refused by their tensor's name.
pub fn quantize(
    files: &ModelFiles,
    wanted: &Wanted,
    pool: &ThreadPool,
    target: &mut dyn Write,
    progress: &mut dyn FnMut(u64, u64) -> Result<()>,
) -> Result<Vec<Requantized>> {
    let plan = plan_of(files)?;
    check_importance(&plan.tensors, &wanted.importance)?;
    let planned: Vec<_> = kind::kinds(&plan.tensors, &plan.metadata)
        .into_iter()
        .zip(&plan.tensors)
        .map(|(kind, tensor)| PlannedTensor {
            name: tensor.name.clone(),
            tensor_type: wanted.mix.tensor_type(tensor, &kind),
            shape: tensor.shape.clone(),
        })
        .collect();
    let mut writer = GgufWriter::begin(target, &entries(files, &plan, wanted)?, &planned)?;
    let total = files.tensors().map(|info| info.byte_length() as u64).sum();
    let (mut done, mut made) = (0, Vec::with_capacity(planned.len()));
    for (tensor, planned) in plan.tensors.iter().zip(planned) {
        let Origin::Tensor(name, order) = &tensor.origin else {
            let (types, bytes) = write_values(tensor, &mut writer)?;
            made.push(Requantized {
                name: planned.name,
                types,
                bytes,
            });
            continue;
        };
        let Some((info, bytes)) = files.tensor(name) else {
            return Err(Error::Model(format!("tensor '{name}' has no bytes")));
        };
        let before = done;
        let mut take = |bytes: &[u8], read: usize| {
            writer.write(bytes)?;
            let is_in_order = order.is_none();
            if is_in_order
                && (done - before) / RELEASED_BYTES
                    != (done - before + read as u64) / RELEASED_BYTES
            {
                files.release_first(info, (done - before) as usize);
            }
            done += read as u64;
            progress(done, total)
        };
        let rows = Weighted {
            info,
            bytes,
            order: order.as_deref(),
            importance: wanted.importance.get(&tensor.name).map(Vec::as_slice),
        };
        rows::convert(rows, planned.tensor_type, pool, &mut take)?;
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

/// For a GGUF file that is written anew, or for a folder of safetensors.
fn plan_of(files: &ModelFiles) -> Result<Plan> {
    if files.kind() == FileKind::SafeTensors {
        return folder::plan(files);
    }
    let tensors = files.tensors_in_file_order().into_iter();
    Ok(Plan {
        tensors: tensors
            .map(|info| Outgoing {
                name: info.name.clone(),
                shape: info.shape.clone(),
                kept_type: info.tensor_type,
                origin: Origin::Tensor(info.name.clone(), None),
            })
            .collect(),
        metadata: files.metadata().cloned().unwrap_or_default(),
        said: Vec::new(),
    })
}

/// What is small and ready; it stays in 32 bits.
fn write_values<W: Write>(
    tensor: &Outgoing,
    writer: &mut GgufWriter<W>,
) -> Result<([&'static str; 2], [u64; 2])> {
    let Origin::Values(values) = &tensor.origin else {
        return Ok((["F32"; 2], [0; 2]));
    };
    let bytes: Vec<u8> = values
        .iter()
        .flat_map(|value| value.to_le_bytes())
        .collect();
    writer.write(&bytes)?;
    Ok((["F32"; 2], [bytes.len() as u64; 2]))
}

/// Importances are of the columns of matrices that there are.
fn check_importance(tensors: &[Outgoing], importance: &HashMap<String, Vec<f32>>) -> Result<()> {
    for (name, weights) in importance {
        let tensor = tensors.iter().find(|one| one.name == *name);
        let Some(columns) = tensor.and_then(|one| one.shape.last()) else {
            return Err(Error::Config(format!(
                "the importance is of another model: it has '{name}', and this one has no such matrix"
            )));
        };
        let is_usable = |weight: &f32| weight.is_finite() && *weight >= 0.0;
        if weights.len() != *columns || !weights.iter().all(is_usable) {
            return Err(Error::Config(format!(
                "the importance of '{name}' must be {columns} finite numbers that are not negative; it has {}",
                weights.len()
            )));
        }
    }
    Ok(())
}

/// Those of the file, what the plan and the caller say, but of what it is now.
fn entries<'a>(files: &'a ModelFiles, plan: &Plan, wanted: &'a Wanted) -> Result<Vec<Entry<'a>>> {
    let own = [
        Entry::number("general.file_type", wanted.mix.number()),
        Entry::number("general.quantization_version", QUANTIZATION_VERSION),
    ];
    let mut entries = files.entries()?;
    entries.extend(plan.said.iter().cloned());
    let more = wanted.entries.iter().map(|(key, value)| Entry {
        key: Cow::Borrowed(key),
        bytes: Cow::Borrowed(value),
    });
    let more: Vec<_> = more.chain(own).collect();
    entries.retain(|entry| {
        !entry.key.starts_with(SPLIT) && more.iter().all(|one| one.key != entry.key)
    });
    entries.extend(more);
    Ok(entries)
}
