//! Rotary position embeddings: frequencies and their scalings.
