//! A smaller model beside the engine's: what it has taken in of each text, and the step that takes in more.
//!
//! It has a pool of its own, so that nobody's keys and values give way to it. What it says decides how many tokens a
//! step gives and never which.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use crate::batch::{Batch, BatchSequence, Wanted};
use crate::cancel::CancelFlag;
use crate::clock::Clock;
use crate::error::Result;
use crate::ids::{SequenceId, TokenId};
use crate::kv::{BlockRef, BlockTable, KvPool, KvWanted, rows_for};
use crate::memory::{PagePoolConfig, Watermarks, page_bytes_for};
use crate::model::{Model, Runner, Taking};
use crate::prefix::radix_tree::common_length;
use crate::sequence::Sequence;
use crate::speculation::StepCosts;

use ruvllm_kernels::KvFormat;

/// Texts that ended of which something is kept, at most.
const MOST_ENDED: usize = 64;
/// A text that ended is taken up where so many of its tokens are the beginning of the new one.
const LEAST_COMMON: usize = 16;
/// What it rounds costs guesses, at most.
const FORMAT: KvFormat = KvFormat::I8;

/// A model that guesses for another one.
#[derive(Debug)]
pub(super) struct DraftModel {
    runner: Runner,
    kv: KvPool,
    pub(super) costs: StepCosts,
    texts: BTreeMap<SequenceId, Text>,
    /// What was taken in of texts that ended, by tenant; the oldest first.
    ended: VecDeque<(String, Text)>,
}

/// What was taken in of a text, and of what was guessed behind it.
#[derive(Debug)]
struct Text {
    tokens: Vec<TokenId>,
    blocks: BlockTable,
}

/// Tokens to take in, behind those that the text has.
pub(super) struct Part {
    pub(super) id: SequenceId,
    pub(super) cancel: CancelFlag,
    pub(super) tokens: Vec<TokenId>,
}

impl DraftModel {
    /// With so many bytes of keys and values.
    pub(super) fn new(model: Arc<Model>, kv_bytes: usize) -> Result<Self> {
        let pages = PagePoolConfig {
            budget_bytes: kv_bytes,
            page_bytes: page_bytes_for(kv_bytes),
            watermarks: Watermarks::default(),
        };
        Ok(Self {
            kv: KvPool::new(model.kv_groups(KvWanted::format(FORMAT))?, pages)?,
            runner: Runner::new(model),
            costs: StepCosts::default(),
            texts: BTreeMap::new(),
            ended: VecDeque::new(),
        })
    }

    pub(super) fn vocab_size(&self) -> usize {
        self.runner.model().spec().vocab_size
    }

    /// Rows that it has computed.
    pub(super) fn rows(&self) -> u64 {
        self.runner.rows()
    }

    /// Blocks that texts hold, those that ended too.
    pub(super) fn held_blocks(&self) -> usize {
        self.kv.held_blocks()
    }

    /// Whether it can take in a text of so many tokens.
    pub(super) fn reaches(&self, tokens: usize) -> bool {
        let spec = self.runner.model().spec();
        tokens <= spec.max_context && spec.is_rope_steady(1, tokens)
    }

    /// How many tokens of an answer it has taken in, at most all but the last; what is no part of it any more is
    /// forgotten.
    pub(super) fn known(&mut self, sequence: &Sequence) -> usize {
        if !self.texts.contains_key(&sequence.id) {
            let text = self.like(sequence);
            self.texts.insert(sequence.id, text);
        }
        let Some(text) = self.texts.get_mut(&sequence.id) else {
            return 0;
        };
        let common = common_length(&text.tokens, &sequence.tokens);
        text.cut(common.min(sequence.tokens.len() - 1));
        text.tokens.len()
    }

    /// What a tenant's text that ended has in common with a new one, else an empty text.
    fn like(&mut self, sequence: &Sequence) -> Text {
        let tenant = &sequence.namespace.tenant;
        let is_kept = sequence.cache_min_tokens.is_some();
        let common = self
            .ended
            .iter()
            .enumerate()
            .filter_map(|(place, (owner, text))| {
                let common = common_length(&text.tokens, &sequence.tokens);
                let usable = text.blocks.usable_length(common);
                (is_kept && owner == tenant && usable >= LEAST_COMMON).then_some((usable, place))
            });
        common
            .max()
            .and_then(|(_, place)| self.ended.remove(place))
            .map_or_else(|| Text::new(&self.kv), |(_, text)| text)
    }

    /// A text ended: what was taken in of it is kept for those of this tenant that begin like it, or forgotten.
    pub(super) fn end(&mut self, sequence: &Sequence, is_kept: bool) {
        let Some(mut text) = self.texts.remove(&sequence.id) else {
            return;
        };
        if !is_kept {
            return;
        }
        text.cut(common_length(&text.tokens, &sequence.tokens));
        if self.ended.len() == MOST_ENDED {
            self.ended.pop_front();
        }
        let tenant = sequence.namespace.tenant.clone();
        self.ended.push_back((tenant, text));
    }

    /// Forgets texts that ended.
    pub(super) fn forget(&mut self) {
        self.ended.clear();
        self.kv.trim();
    }

    /// Takes tokens in; `take` is handed the logits behind the last one of each part, where they are `wanted`. Parts for
    /// which there is no room are left out, and nothing is known of them any more. Returns how many rows that were.
    pub(super) fn take_in(
        &mut self,
        parts: &[Part],
        wanted: Wanted,
        clock: &dyn Clock,
        take: &mut Taking<'_>,
    ) -> Result<usize> {
        let mut batch = Batch::default();
        for part in parts {
            let Some(mut text) = self.texts.remove(&part.id) else {
                continue;
            };
            if !self.give_blocks(&mut text, part.tokens.len()) {
                continue;
            }
            let first_position = text.tokens.len();
            let rows = BatchSequence {
                owner: part.id,
                cancel: part.cancel.clone(),
                first_row: 0,
                rows: 0,
                first_position,
                block_tables: Arc::clone(text.blocks.ids()),
                rope_length: first_position + part.tokens.len(),
                wanted,
                adapters: Arc::default(),
                head: None,
                is_captured: false,
            };
            batch.push(&part.tokens, rows);
            self.texts.insert(part.id, text);
        }
        let rows = batch.tokens.len();
        if rows == 0 {
            return Ok(0);
        }
        let began = clock.nanoseconds();
        self.runner.run(&mut self.kv, &mut batch, take)?;
        if rows == batch.tokens.len() {
            let nanoseconds = clock.nanoseconds().saturating_sub(began);
            self.costs.note(rows, nanoseconds);
        }
        for rows in batch.sequences {
            let tokens = &batch.tokens[rows.range()];
            // Its ids are the table's own again, to be changed in place.
            drop(rows.block_tables);
            if let Some(text) = self.texts.get_mut(&rows.owner) {
                text.tokens.extend_from_slice(tokens);
                text.blocks.let_passed_go(text.tokens.len());
            }
        }
        Ok(rows)
    }

    /// Blocks for so many tokens more; whether there were enough. Texts that ended give way.
    fn give_blocks(&mut self, text: &mut Text, tokens: usize) -> bool {
        let rows = rows_for(text.tokens.len() + tokens);
        while text.blocks.rows() < rows {
            match self.take_block() {
                Some(block) => text.blocks.push(block),
                None => return false,
            }
        }
        true
    }

    fn take_block(&mut self) -> Option<BlockRef> {
        loop {
            if let Ok(block) = self.kv.take(None) {
                return Some(block);
            }
            self.ended.pop_front()?;
        }
    }

    /// What must hold between steps; a text that says what does not.
    pub(super) fn check_invariants(
        &self,
        is_in: impl Fn(SequenceId) -> bool,
    ) -> std::result::Result<(), String> {
        for (id, text) in &self.texts {
            if !is_in(*id) {
                return Err(format!(
                    "the draft model keeps sequence {}, which ended",
                    id.0
                ));
            }
            text.blocks.check_invariants()?;
        }
        let texts = self
            .texts
            .values()
            .chain(self.ended.iter().map(|(_, text)| text));
        let held: usize = texts.map(|text| text.blocks.held()).sum();
        if held == self.kv.held_blocks() {
            return Ok(());
        }
        Err(format!(
            "the draft model's texts hold {held} blocks, and {} are held",
            self.kv.held_blocks()
        ))
    }
}

impl Text {
    fn new(kv: &KvPool) -> Self {
        Self {
            tokens: Vec::new(),
            blocks: BlockTable::new(kv.groups()),
        }
    }

    /// Forgets what is behind so many tokens.
    fn cut(&mut self, tokens: usize) {
        let kept = self.blocks.usable_length(tokens.min(self.tokens.len()));
        self.tokens.truncate(kept);
        self.blocks.truncate(rows_for(kept));
    }
}
