//! Blocks of a type by its name, for callers who have bytes or numbers and no file.

use ruvllm_kernels::quant::{BlockType, QuantError, decode, encode};

use crate::error::{Error, Result};

/// The block type of a name.
pub fn block_type(name: &str) -> Result<BlockType> {
    BlockType::from_name(name).ok_or_else(|| {
        let known = BlockType::ALL.map(BlockType::name).join(", ");
        Error::Config(format!("type_name is '{name}'; allowed here: {known}"))
    })
}

/// The numbers of whole blocks; a block whose scale is not finite is refused.
pub fn values_of_blocks(type_name: &str, bytes: &[u8]) -> Result<Vec<f32>> {
    let block_type = block_type(type_name)?;
    let blocks = bytes.len() / block_type.block_bytes();
    let mut values = vec![0.0; blocks * block_type.block_elements()];
    decode(block_type, bytes, &mut values).map_err(|error| refused(&error))?;
    let broken = values.iter().position(|value| !value.is_finite());
    match broken {
        Some(element) if block_type.is_quantized() => Err(Error::Config(format!(
            "block {} of the {type_name} data has a scale that is not finite",
            element / block_type.block_elements()
        ))),
        _ => Ok(values),
    }
}

/// The blocks of numbers.
pub fn blocks_of_values(type_name: &str, values: &[f32]) -> Result<Vec<u8>> {
    let block_type = block_type(type_name)?;
    let blocks = values.len() / block_type.block_elements();
    let mut bytes = vec![0; blocks * block_type.block_bytes()];
    encode(block_type, values, &mut bytes).map_err(|error| refused(&error))?;
    Ok(bytes)
}

fn refused(error: &QuantError) -> Error {
    Error::Config(error.to_string())
}
