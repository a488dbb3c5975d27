//! `ruvllm._native`: translation between Python and the core; no logic lives here.
