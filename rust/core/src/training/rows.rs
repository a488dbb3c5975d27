//! The rows that go through the layers together: texts side by side, each from its beginning.

use std::ops::Range;

use crate::ids::TokenId;
use crate::model::spec::{ModelSpec, RopeSpec};

/// Tokens of several texts.
#[derive(Debug)]
pub(super) struct Rows {
    pub(super) tokens: Vec<TokenId>,
    /// The rows of each text.
    pub(super) texts: Vec<Range<usize>>,
    /// One for each of the model's rotary embeddings.
    pub(super) rotary: Vec<Rotary>,
}

/// Cosines and sines of every row, `[rows, half]`.
#[derive(Debug)]
pub(super) struct Rotary {
    half: usize,
    cosines: Vec<f32>,
    sines: Vec<f32>,
    /// Of the way back.
    back_sines: Vec<f32>,
}

/// In which way heads are turned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Turn {
    There,
    Back,
}

impl Rows {
    pub(super) fn new<'a>(
        spec: &ModelSpec,
        texts: impl IntoIterator<Item = &'a [TokenId]>,
    ) -> Self {
        let mut tokens = Vec::new();
        let mut ranges = Vec::new();
        for text in texts {
            let first = tokens.len();
            tokens.extend_from_slice(text);
            ranges.push(first..tokens.len());
        }
        let ropes = spec.ropes.iter();
        Self {
            rotary: ropes
                .map(|rope| Rotary::new(rope, &ranges, tokens.len()))
                .collect(),
            tokens,
            texts: ranges,
        }
    }

    pub(super) fn len(&self) -> usize {
        self.tokens.len()
    }
}

impl Rotary {
    fn new(rope: &RopeSpec, texts: &[Range<usize>], rows: usize) -> Self {
        let half = rope.dimensions / 2;
        let (mut cosines, mut sines) = (vec![0.0; rows * half], vec![0.0; rows * half]);
        for text in texts {
            let frequencies = rope.frequencies(text.len());
            for (position, row) in text.clone().enumerate() {
                let range = row * half..(row + 1) * half;
                let sines = &mut sines[range.clone()];
                frequencies.fill(position, &mut cosines[range], sines);
            }
        }
        Self {
            back_sines: sines.iter().map(|sine| -sine).collect(),
            half,
            cosines,
            sines,
        }
    }

    /// Cosines and sines of a row.
    pub(super) fn row(&self, row: usize, turn: Turn) -> (&[f32], &[f32]) {
        let range = row * self.half..(row + 1) * self.half;
        let sines = match turn {
            Turn::There => &self.sines,
            Turn::Back => &self.back_sines,
        };
        (&self.cosines[range.clone()], &sines[range])
    }
}
