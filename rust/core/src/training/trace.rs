//! What is kept of a layer for the way back, and what layers work in.

use ruvllm_kernels::TransposedBuffers;

use crate::model::InputBuffers;

use super::heads::AttentionHeads;

/// What the way back needs of a layer, beside its input.
#[derive(Debug, Default)]
pub(super) struct Trace {
    /// Q, K and V before norms and rotation, where there are such norms; `[rows, (heads + 2 kv_heads) head_dim]`.
    pub(super) projected: Vec<f32>,
    /// The same after them.
    pub(super) rotated: Vec<f32>,
    /// `[rows, heads head_dim]`
    pub(super) attended: Vec<f32>,
    /// What the attention half adds, before its norm, where it has one; `[rows, hidden]`.
    pub(super) attention_result: Vec<f32>,
    /// The residual stream between the halves, `[rows, hidden]`.
    pub(super) middle: Vec<f32>,
    /// Gate and up, `[rows, 2 feed_forward]`.
    pub(super) gate_up: Vec<f32>,
    /// What the feed-forward half adds, before its norm, where it has one; `[rows, hidden]`.
    pub(super) feed_forward_result: Vec<f32>,
    /// Of each site.
    pub(super) reduced: [Vec<f32>; 4],
}

/// Memory that every layer works in.
#[derive(Debug, Default)]
pub(super) struct LayerBuffers {
    pub(super) input: InputBuffers,
    pub(super) heads: AttentionHeads,
    /// `[rows, hidden]`
    pub(super) normed: Vec<f32>,
    pub(super) result: Vec<f32>,
    /// `[rows, feed_forward]`
    pub(super) activated: Vec<f32>,
    pub(super) activated_gradient: Vec<f32>,
    /// `[rows, (heads + 2 kv_heads) head_dim]`
    pub(super) rotated_gradient: Vec<f32>,
    /// `[rows, heads head_dim]`
    pub(super) attended_gradient: Vec<f32>,
    /// What threads have of scores at once.
    pub(super) score_bytes: usize,
    pub(super) transposed: TransposedBuffers,
}

fn bytes(all: &[&Vec<f32>]) -> usize {
    4 * all.iter().map(|values| values.capacity()).sum::<usize>()
}

impl Trace {
    /// What it takes.
    pub(super) fn bytes(&self) -> usize {
        let own = bytes(&[
            &self.projected,
            &self.rotated,
            &self.attended,
            &self.attention_result,
            &self.middle,
            &self.gate_up,
            &self.feed_forward_result,
        ]);
        own + bytes(&self.reduced.each_ref())
    }
}

impl LayerBuffers {
    /// What they take.
    pub(super) fn bytes(&self) -> usize {
        let own = bytes(&[
            &self.normed,
            &self.result,
            &self.activated,
            &self.activated_gradient,
            &self.rotated_gradient,
            &self.attended_gradient,
        ]);
        let others = self.heads.bytes() + self.input.bytes() + self.transposed.bytes();
        own + others + self.score_bytes
    }
}
