//! How much each column of a matrix matters: the squares of what goes into it, added up over a text.
//!
//! An error in a weight changes the result by so much as goes into its column. Chunks are computed one by one, in no
//! engine, and the sums do not depend on the number of threads. Matrices are named as GGUF files name them; those that
//! share their input share its sums. The head is left out: the quantizer gives it more bits in any case.

use std::sync::Arc;

use ruvllm_kernels::BLOCK_TOKENS;

use super::Model;
use super::input_squares::InputSquares;
use super::model_runner::ModelRunner;
use super::runner::Runner;
use super::spec::{AttentionInput, FeedForwardInput, ModelSpec};
use crate::batch::{Batch, BatchSequence, Wanted};
use crate::cancel::CancelFlag;
use crate::error::{Error, Result};
use crate::ids::{SequenceId, TokenId};
use crate::kv::{KvPool, KvWanted};
use crate::lora::Site;
use crate::memory::{PagePoolConfig, Watermarks, page_bytes_for};

/// For each matrix of the layers, by its name in GGUF files, the sums of squares of what goes into its columns over
/// `tokens`, in chunks of so many; what fills no chunk is left out.
pub fn importance(
    model: &Arc<Model>,
    tokens: &[TokenId],
    chunk: usize,
    progress: &mut dyn FnMut(u64, u64) -> Result<()>,
) -> Result<Vec<(String, Vec<f32>)>> {
    if chunk == 0 || tokens.len() < chunk || chunk > model.header.spec.max_context {
        return Err(Error::Config(format!(
            "{} tokens are no chunk of {chunk}; there must be one of 1 to {}",
            tokens.len(),
            model.header.spec.max_context
        )));
    }
    let groups = model.kv_groups(KvWanted::default())?;
    let blocks = chunk.div_ceil(BLOCK_TOKENS);
    let budget_bytes = blocks * groups.row_bytes();
    let kv = KvPool::new(
        groups,
        PagePoolConfig {
            budget_bytes,
            page_bytes: page_bytes_for(budget_bytes),
            watermarks: Watermarks::default(),
        },
    )?;
    let groups = kv.groups().count() as u32;
    let blocks_of = |group| (0..blocks as u32).map(|row| row * groups + group).collect();
    let tables = Arc::new((0..groups).map(blocks_of).collect());
    let mut runner = ModelRunner::new(Arc::clone(model), &kv)?;
    runner.watch_inputs();
    let total = (tokens.len() / chunk * chunk) as u64;
    for (index, some) in tokens.chunks_exact(chunk).enumerate() {
        let mut batch = Batch::default();
        batch.push(some, sequence(chunk, Arc::clone(&tables)));
        runner.run(&mut batch, None, &mut |_| {})?;
        progress(((index + 1) * chunk) as u64, total)?;
    }
    let mut named = Vec::new();
    let squares = runner.take_inputs().into_iter();
    for (layer, of_layer) in squares.flat_map(InputSquares::sums).enumerate() {
        for (site, sums) in Site::ALL.into_iter().zip(of_layer) {
            let sums: Vec<f32> = sums.into_iter().map(|sum| sum as f32).collect();
            if !sums.iter().all(|sum| sum.is_finite()) {
                return Err(Error::Model(format!(
                    "what layer {layer} computes of the text is not finite"
                )));
            }
            for name in names_of(&model.header.spec, site) {
                named.push((format!("blk.{layer}.{name}.weight"), sums.clone()));
            }
        }
    }
    Ok(named)
}

/// A chunk, of which nothing but its way through the layers is wanted.
fn sequence(chunk: usize, block_tables: Arc<Vec<Vec<u32>>>) -> BatchSequence {
    BatchSequence {
        owner: SequenceId(0),
        cancel: CancelFlag::default(),
        first_row: 0,
        rows: 0,
        first_position: 0,
        block_tables,
        rope_length: chunk,
        wanted: Wanted::Nothing,
        adapters: Arc::new([]),
        head: None,
        is_captured: false,
    }
}

/// The matrices that take their input at a place.
fn names_of(spec: &ModelSpec, site: Site) -> &'static [&'static str] {
    let layer = &spec.tensors.layer;
    match (site, &layer.attention_input, &layer.feed_forward_input) {
        (Site::AttentionInput, AttentionInput::Split { .. }, _) => &["attn_q", "attn_k", "attn_v"],
        (Site::AttentionInput, AttentionInput::Fused(_), _) => &["attn_qkv"],
        (Site::AttentionOutput, ..) => &["attn_output"],
        (Site::FeedForwardInput, _, FeedForwardInput::Split { .. }) => &["ffn_gate", "ffn_up"],
        (Site::FeedForwardInput, _, FeedForwardInput::Fused(_)) => &["ffn_up"],
        (Site::FeedForwardOutput, ..) => &["ffn_down"],
    }
}
