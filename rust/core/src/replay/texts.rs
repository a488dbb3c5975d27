//! The texts of sequences, as far as they were seen.

use std::collections::HashMap;

use super::mark::Mark;
use crate::batch::BatchSequence;
use crate::ids::{SequenceId, TokenId};

/// Of each sequence under way the marks of its positions.
#[derive(Debug, Default)]
pub(super) struct Texts {
    by_owner: HashMap<SequenceId, Text>,
}

#[derive(Debug)]
struct Text {
    begin: Mark,
    /// `None` where it was found computed, and so not seen.
    marks: Vec<Option<Mark>>,
}

impl Texts {
    /// The text before the rows of a sequence, which begins like that; `None` where it was not seen from its beginning.
    pub(super) fn before(&self, begin: Mark, rows: &BatchSequence) -> Option<Mark> {
        let Some(last) = rows.first_position.checked_sub(1) else {
            return Some(begin);
        };
        let text = self.by_owner.get(&rows.owner);
        let text = text.filter(|text| text.begin == begin)?;
        text.marks.get(last).copied().flatten()
    }

    /// Goes on behind the text `before`, which is known, with tokens; gives the mark of each.
    pub(super) fn go_on(
        &mut self,
        (begin, before): (Mark, Mark),
        rows: &BatchSequence,
        tokens: &[TokenId],
    ) -> Vec<Mark> {
        let text = self.by_owner.entry(rows.owner).or_insert(Text {
            begin,
            marks: Vec::new(),
        });
        if text.begin != begin {
            (text.begin, text.marks) = (begin, Vec::new());
        }
        text.marks.resize(rows.first_position, None);
        if let Some(last) = text.marks.last_mut() {
            *last = Some(before);
        }
        let mut mark = before;
        let marks = tokens.iter().map(|token| {
            mark = mark.then(*token);
            mark
        });
        let marks: Vec<_> = marks.collect();
        text.marks.extend(marks.iter().copied().map(Some));
        marks
    }

    /// The mark of a position of a sequence.
    pub(super) fn at(&self, owner: SequenceId, position: usize) -> Option<Mark> {
        self.by_owner.get(&owner)?.marks.get(position).copied()?
    }

    /// Forgets a sequence.
    pub(super) fn leave(&mut self, owner: SequenceId) {
        self.by_owner.remove(&owner);
    }
}
