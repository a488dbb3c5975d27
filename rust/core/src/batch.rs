//! What one forward pass computes: the only thing that planning and model share.

use std::ops::Range;
use std::sync::Arc;

use crate::cancel::CancelFlag;
use crate::ids::{SequenceId, TokenId};
use crate::learning::HeadAdapter;
use crate::lora::{AdapterUse, key_of};

/// Rows of many sequences, to go through the layers together.
#[derive(Debug, Clone, Default)]
pub struct Batch {
    /// One row a token; the rows of a sequence stand together, in order of position.
    pub tokens: Vec<TokenId>,
    /// Who owns which rows, in their order; every row is somebody's.
    pub sequences: Vec<BatchSequence>,
}

/// The rows of one sequence.
#[derive(Debug, Clone)]
pub struct BatchSequence {
    /// Whose rows they are.
    pub owner: SequenceId,
    /// Whether anybody still wants them.
    pub cancel: CancelFlag,
    /// The first of its rows.
    pub first_row: usize,
    /// How many rows.
    pub rows: usize,
    /// The position of the first row; all positions before are in the cache.
    pub first_position: usize,
    /// The blocks of positions `0..first_position + rows`, for each group of layers; what their windows do not
    /// reach any more is no block.
    pub block_tables: Arc<Vec<Vec<u32>>>,
    /// The length that decides the rotary frequencies of long-context models.
    pub rope_length: usize,
    /// What its rows are computed for.
    pub wanted: Wanted,
    /// What is added to the model's linear maps for it, in this order.
    pub adapters: Arc<[AdapterUse]>,
    /// What is added to its last hidden states before the head.
    pub head: Option<Arc<HeadAdapter>>,
    /// Whether these states are wanted beside its logits, as they were before.
    pub is_captured: bool,
}

/// What of a sequence's rows someone waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wanted {
    /// Their keys and values: there is more of the prompt to come.
    Nothing,
    /// The logits of the last one.
    Last,
    /// The logits of all.
    All,
    /// The logits of those from this position on.
    From(usize),
    /// The last hidden states of all.
    Hidden,
}

/// Some rows of a sequence in a batch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OwnedRows {
    /// Whose.
    pub owner: SequenceId,
    /// Its place among the batch's sequences.
    pub sequence: usize,
    /// Which of the batch.
    pub rows: Range<usize>,
}

impl BatchSequence {
    /// Its rows in the batch.
    pub fn range(&self) -> Range<usize> {
        self.first_row..self.first_row + self.rows
    }

    /// Those of which logits are wanted.
    pub fn logit_rows(&self) -> Range<usize> {
        let Range { start, end } = self.range();
        match self.wanted {
            Wanted::Nothing | Wanted::Hidden => end..end,
            Wanted::Last => end.saturating_sub(1).max(start)..end,
            Wanted::All => start..end,
            Wanted::From(position) => {
                let before = position.saturating_sub(self.first_position);
                (start + before).min(end)..end
            }
        }
    }
}

/// Which rows of a batch stayed, as runs in their old numbers.
#[derive(Debug, PartialEq, Eq)]
pub struct KeptRows(Vec<Range<usize>>);

impl Batch {
    /// Adds consecutive tokens of one sequence, whose `first_row` and `rows` are set here.
    pub fn push(&mut self, tokens: &[TokenId], mut sequence: BatchSequence) {
        sequence.first_row = self.tokens.len();
        sequence.rows = tokens.len();
        self.tokens.extend_from_slice(tokens);
        self.sequences.push(sequence);
    }

    /// The same rows, with those side by side that have the same adapters: what is read for one is there for all.
    /// No row depends on its place.
    #[must_use]
    pub fn with_adapters_together(self) -> Self {
        if self.sequences.iter().all(|one| one.adapters.is_empty()) {
            return self;
        }
        let Self { tokens, sequences } = self;
        let mut keyed: Vec<_> = sequences
            .into_iter()
            .map(|sequence| (key_of(&sequence.adapters), sequence))
            .collect();
        keyed.sort_by_key(|(key, _)| *key);
        let mut batch = Self::default();
        for (_, sequence) in keyed {
            batch.push(&tokens[sequence.range()], sequence);
        }
        batch
    }

    /// Whether there is nothing to compute.
    pub fn is_empty(&self) -> bool {
        self.tokens.is_empty()
    }

    /// The rows whose logits are wanted, so many at a time, in their order.
    pub fn logit_rows(&self, at_once: usize) -> Vec<Vec<OwnedRows>> {
        let mut groups = Vec::new();
        let (mut group, mut room) = (Vec::new(), at_once);
        for (index, sequence) in self.sequences.iter().enumerate() {
            let mut rows = sequence.logit_rows();
            while !rows.is_empty() {
                let taken = rows.start..rows.end.min(rows.start + room);
                rows.start = taken.end;
                room -= taken.len();
                group.push(OwnedRows {
                    owner: sequence.owner,
                    sequence: index,
                    rows: taken,
                });
                if room == 0 {
                    groups.push(std::mem::take(&mut group));
                    room = at_once;
                }
            }
        }
        if !group.is_empty() {
            groups.push(group);
        }
        groups
    }

    /// Takes the rows out that nobody wants any more; `None` where all stay. What was computed of the others
    /// stays valid, since no row depends on those around it: move it with [`KeptRows::apply`].
    pub fn drop_cancelled(&mut self) -> Option<KeptRows> {
        let is_cancelled = |sequence: &BatchSequence| sequence.cancel.is_cancelled();
        if !self.sequences.iter().any(is_cancelled) {
            return None;
        }
        // A flag may be set between two looks at it: who is kept is decided once.
        self.sequences.retain(|sequence| !is_cancelled(sequence));
        let mut kept: Vec<Range<usize>> = Vec::new();
        let mut next_row = 0;
        for sequence in &mut self.sequences {
            kept.push(sequence.range());
            sequence.first_row = next_row;
            next_row += sequence.rows;
        }
        let kept = KeptRows(kept);
        kept.apply(&mut self.tokens, 1);
        Some(kept)
    }
}

impl KeptRows {
    /// Closes the gaps in `[rows, width]` values.
    pub fn apply<T: Copy>(&self, values: &mut Vec<T>, width: usize) {
        let mut end = 0;
        for rows in &self.0 {
            let (from, to) = (rows.start * width, rows.end * width);
            values.copy_within(from..to, end);
            end += to - from;
        }
        values.truncate(end);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sequence(owner: u64, wanted: Wanted) -> BatchSequence {
        BatchSequence {
            owner: SequenceId(owner),
            cancel: CancelFlag::default(),
            first_row: 0,
            rows: 0,
            first_position: 7,
            block_tables: Arc::default(),
            rope_length: 10,
            wanted,
            adapters: Arc::default(),
            head: None,
            is_captured: false,
        }
    }

    #[test]
    fn rows_of_those_who_left_are_taken_out_and_the_others_move_up() {
        let mut batch = Batch::default();
        for (owner, tokens) in [
            (1, &[10, 11][..]),
            (2, &[20]),
            (3, &[30, 31, 32]),
            (4, &[40]),
        ] {
            batch.push(tokens, sequence(owner, Wanted::Last));
        }
        let mut values: Vec<u32> = batch.tokens.iter().flat_map(|t| [*t, *t + 100]).collect();
        assert_eq!(batch.drop_cancelled(), None);
        batch.sequences[0].cancel.cancel();
        batch.sequences[2].cancel.cancel();
        let kept = batch.drop_cancelled().expect("two have left");
        kept.apply(&mut values, 2);
        assert_eq!(batch.tokens, [20, 40]);
        assert_eq!(values, [20, 120, 40, 140]);
        let rows: Vec<_> = batch
            .sequences
            .iter()
            .map(|s| (s.owner.0, s.first_row, s.rows))
            .collect();
        assert_eq!(rows, [(2, 0, 1), (4, 1, 1)]);
        batch.sequences.iter().for_each(|s| s.cancel.cancel());
        assert_eq!(batch.drop_cancelled(), Some(KeptRows(vec![])));
        assert!(batch.is_empty());
    }

    #[test]
    fn logits_are_those_of_the_wanted_rows_so_many_at_a_time() {
        let mut batch = Batch::default();
        for (owner, rows, wanted) in [
            (1, 3, Wanted::Last),
            (2, 4, Wanted::Hidden),
            (3, 5, Wanted::All),
            (4, 2, Wanted::Nothing),
            (5, 1, Wanted::Last),
        ] {
            batch.push(&vec![7; rows], sequence(owner, wanted));
        }
        let groups = |at_once| -> Vec<Vec<_>> {
            let groups = batch.logit_rows(at_once).into_iter();
            let plain = |rows: OwnedRows| (rows.owner.0, rows.rows);
            groups
                .map(|group| group.into_iter().map(plain).collect())
                .collect()
        };
        let all = [(1, 2..3), (3, 7..12), (5, 14..15)];
        assert_eq!(groups(7), [all.to_vec()]);
        assert_eq!(groups(100), [all.to_vec()]);
        let cut = [
            vec![(1, 2..3), (3, 7..9)],
            vec![(3, 9..12)],
            vec![(5, 14..15)],
        ];
        assert_eq!(groups(3), cut);
        assert_eq!(Batch::default().logit_rows(3), Vec::<Vec<_>>::new());
    }
}
