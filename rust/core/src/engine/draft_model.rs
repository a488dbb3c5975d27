//! A smaller model beside the engine's: what it has taken in of each text, and the step that takes in more.
//!
//! It has a pool of its own, so that nobody's keys and values give way to it. What it says decides how many tokens a
//! step gives and never which.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use crate::batch::{Batch, BatchSequence, Wanted};
use crate::cancel::CancelFlag;
use crate::clock::Clock;
use crate::error::Result;
use crate::ids::{SequenceId, TokenId};
use crate::kv::{BLOCK_TOKENS, BlockRef, BlockTable, KvPool, KvWanted, rows_for};
use crate::memory::{PagePoolConfig, Watermarks, page_bytes_for};
use crate::model::{Model, ModelRunner, Runner, Taking};
use crate::prefix::radix_tree::common_length;
use crate::sequence::Sequence;
use crate::speculation::StepCosts;

use ruvllm_kernels::{KvFormat, ThreadPool};

/// Texts that ended of which something is kept, at most.
const MOST_ENDED: usize = 64;
/// What it rounds costs guesses, at most.
const FORMAT: KvFormat = KvFormat::I8;
/// Steps of the large model after which a draft model that did not pay is tried again: it may have been slow for a
/// while, or seemed so.
const TRIED_AGAIN_AFTER: u64 = 512;
/// How much one answer says of how long they are.
const LENGTH_WEIGHT: f64 = 0.1;
/// Of an answer so many tokens are counted on, before any was seen.
const ASSUMED_LENGTH: f64 = 256.0;

/// A model that guesses for another one.
#[derive(Debug)]
pub(super) struct DraftModel {
    runner: ModelRunner,
    kv: KvPool,
    threads: Arc<ThreadPool>,
    /// Rows that it has computed.
    rows: u64,
    /// Of steps that guess.
    pub(super) costs: StepCosts,
    /// Seconds a token of a text that is taken in; `None` before the first.
    pub(super) reading: Option<f64>,
    /// Whether its memory was used: what comes first takes longer.
    is_warm: bool,
    /// Steps of the large model since it guessed.
    idle_steps: u64,
    /// How many tokens answers had lately.
    pub(super) usual_length: f64,
    texts: BTreeMap<SequenceId, Text>,
    /// What was taken in of texts that ended, by tenant; the oldest first.
    ended: VecDeque<(String, Text)>,
}

/// What was taken in of a text, and of what was guessed behind it.
#[derive(Debug)]
struct Text {
    tokens: Vec<TokenId>,
    /// So many of them are the text's.
    agreed: usize,
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
        let kv = KvPool::new(model.kv_groups(KvWanted::format(FORMAT))?, pages)?;
        Ok(Self {
            threads: Arc::clone(model.pool()),
            runner: ModelRunner::new(model, &kv)?,
            kv,
            rows: 0,
            costs: StepCosts::default(),
            reading: None,
            is_warm: false,
            idle_steps: 0,
            usual_length: ASSUMED_LENGTH,
            texts: BTreeMap::new(),
            ended: VecDeque::new(),
        })
    }

    /// What it computes with.
    pub(super) fn threads(&self) -> &Arc<ThreadPool> {
        &self.threads
    }

    pub(super) fn vocab_size(&self) -> usize {
        self.runner.spec().vocab_size
    }

    /// Rows that it has computed.
    pub(super) fn rows(&self) -> u64 {
        self.rows
    }

    /// Blocks that texts hold, those that ended too.
    pub(super) fn held_blocks(&self) -> usize {
        self.kv.held_blocks()
    }

    /// Whether it can take in a text of so many tokens.
    pub(super) fn reaches(&self, tokens: usize) -> bool {
        let spec = self.runner.spec();
        tokens <= spec.max_context && spec.is_rope_steady(1, tokens)
    }

    /// Another step of the large model; whether the draft model is to be tried again.
    pub(super) fn is_due(&mut self) -> bool {
        self.idle_steps += 1;
        self.idle_steps > TRIED_AGAIN_AFTER
    }

    /// How many tokens of an answer it has taken in, at most all but the last; what is no part of it any more is
    /// forgotten. Whoever leaves no traces finds none.
    pub(super) fn known(&mut self, sequence: &Sequence, leaves_traces: bool) -> usize {
        if !self.texts.contains_key(&sequence.id) {
            let like = self.like(sequence).filter(|_| leaves_traces);
            let text = like.unwrap_or_else(|| Text::new(&self.kv));
            self.texts.insert(sequence.id, text);
        }
        let Some(text) = self.texts.get_mut(&sequence.id) else {
            return 0;
        };
        text.cut_to(&sequence.tokens);
        text.tokens.len()
    }

    /// What a text that ended has in common with a new one of the same tenant, in whole blocks, which both hold.
    fn like(&self, sequence: &Sequence) -> Option<Text> {
        let tenant = &sequence.namespace.tenant;
        let own = self.ended.iter().filter(|(owner, _)| owner == tenant);
        let common = own.map(|(_, text)| {
            let both = common_length(&text.tokens, &sequence.tokens);
            (
                text.blocks
                    .usable_length(both.min(sequence.tokens.len() - 1)),
                text,
            )
        });
        let (usable, text) = common.max_by_key(|(usable, _)| *usable)?;
        let rows = usable / BLOCK_TOKENS;
        let places = text.blocks.places_in(rows).to_vec();
        let tokens = text.tokens[..rows * BLOCK_TOKENS].to_vec();
        Some(Text {
            agreed: tokens.len(),
            tokens,
            blocks: BlockTable::of(self.kv.groups(), places),
        })
    }

    /// Whether there are blocks for so many tokens of a text, once those `in_step` alone keep theirs.
    pub(super) fn has_room(
        &mut self,
        id: SequenceId,
        tokens: usize,
        in_step: &[SequenceId],
    ) -> bool {
        let groups = self.kv.groups().count();
        let held = self.texts.get(&id).map_or(0, |text| text.blocks.rows());
        let needed = rows_for(tokens).saturating_sub(held) * groups;
        // Mostly nothing is needed, or it is free: this is asked at every step.
        if self.kv.free_blocks() >= needed {
            return true;
        }
        let ended: usize = self.ended.iter().map(|(_, text)| text.blocks.held()).sum();
        if self.kv.free_blocks() + ended >= needed {
            return true;
        }
        // Of who is set aside, or reads a prompt, it is taken in again when it comes to that.
        self.texts.retain(|other, _| in_step.contains(other));
        self.kv.free_blocks() + ended >= needed
    }

    /// A text ended: what was taken in of it is kept for those of this tenant that begin like it, or forgotten.
    pub(super) fn end(&mut self, sequence: &Sequence, is_kept: bool) {
        let length = (sequence.tokens.len() - sequence.prompt_tokens) as f64;
        self.usual_length += LENGTH_WEIGHT * (length - self.usual_length);
        let Some(mut text) = self.texts.remove(&sequence.id) else {
            return;
        };
        text.cut_to(&sequence.tokens);
        if !is_kept || text.tokens.len() < BLOCK_TOKENS {
            return;
        }
        let tenant = sequence.namespace.tenant.clone();
        // The turns before it are a part of it.
        self.ended
            .retain(|(owner, other)| *owner != tenant || !text.tokens.starts_with(&other.tokens));
        if self.ended.len() == MOST_ENDED {
            self.drop_ended();
        }
        self.ended.push_back((tenant, text));
    }

    /// Forgets the oldest text that ended, of the tenant that has most of them; whether there was one.
    fn drop_ended(&mut self) -> bool {
        let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
        for (owner, _) in &self.ended {
            *counts.entry(owner).or_default() += 1;
        }
        let most = counts.values().copied().max().unwrap_or_default();
        let is_theirs = |(owner, _): &(String, Text)| counts.get(owner.as_str()) == Some(&most);
        let place = self.ended.iter().position(is_theirs);
        place.is_some_and(|place| self.ended.remove(place).is_some())
    }

    /// Forgets texts that ended.
    pub(super) fn forget(&mut self) {
        self.ended.clear();
        self.trim();
    }

    /// Gives the pages back that no block stands on.
    pub(super) fn trim(&mut self) {
        self.kv.trim(self.runner.blocks());
    }

    /// Takes tokens in; `take` is handed the logits behind the last one of each part, where they are `wanted`. Parts for
    /// which there is no room are left out. Returns how many rows that were.
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
            if self.give_blocks(&mut text, part.tokens.len()) {
                batch.push(&part.tokens, text.rows_of(part, wanted));
            }
            self.texts.insert(part.id, text);
        }
        let rows = batch.tokens.len();
        if rows == 0 {
            return Ok(0);
        }
        let began = clock.nanoseconds();
        self.runner.run(&mut batch, None, take)?;
        self.rows += batch.tokens.len() as u64;
        if rows == batch.tokens.len() {
            self.note(rows, wanted, clock.nanoseconds().saturating_sub(began));
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

    /// Takes in how long a step took.
    fn note(&mut self, rows: usize, wanted: Wanted, nanoseconds: u64) {
        if !std::mem::replace(&mut self.is_warm, true) {
            return;
        }
        if wanted == Wanted::Last {
            self.idle_steps = 0;
            self.costs.note(rows, nanoseconds);
        } else {
            let row = nanoseconds as f64 * 1e-9 / rows as f64;
            self.reading = Some(self.reading.map_or(row, |known| known.midpoint(row)));
        }
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
            if !self.drop_ended() {
                return None;
            }
        }
    }

    /// What must hold between steps; a text that says what does not.
    pub(super) fn check_invariants<'a>(
        &self,
        sequence: impl Fn(SequenceId) -> Option<&'a Sequence>,
    ) -> std::result::Result<(), String> {
        let mut held = BTreeSet::new();
        for (id, text) in &self.texts {
            let Some(sequence) = sequence(*id) else {
                return Err(format!(
                    "the draft model keeps sequence {}, which ended",
                    id.0
                ));
            };
            if !sequence.tokens.starts_with(&text.tokens[..text.agreed]) {
                return Err(format!(
                    "the draft model takes sequence {} for another text",
                    id.0
                ));
            }
        }
        for text in self
            .texts
            .values()
            .chain(self.ended.iter().map(|(_, text)| text))
        {
            text.blocks.check_invariants()?;
            held.extend(
                text.blocks
                    .blocks()
                    .iter()
                    .flatten()
                    .map(|block| block.id()),
            );
        }
        if held.len() == self.kv.held_blocks() {
            return Ok(());
        }
        Err(format!(
            "the draft model's texts hold {} blocks, and {} are held",
            held.len(),
            self.kv.held_blocks()
        ))
    }
}

impl Text {
    fn new(kv: &KvPool) -> Self {
        Self {
            tokens: Vec::new(),
            agreed: 0,
            blocks: BlockTable::new(kv.groups()),
        }
    }

    /// Forgets what is not the beginning of that text, and its last token: somebody wants what follows upon that.
    fn cut_to(&mut self, text: &[TokenId]) {
        let agreed = self.agreed.min(text.len());
        let common = agreed + common_length(&self.tokens[agreed..], &text[agreed..]);
        let kept = self.blocks.usable_length(common.min(text.len() - 1));
        self.tokens.truncate(kept);
        self.blocks.truncate(rows_for(kept));
        self.agreed = kept;
    }

    /// The rows of a part behind what it has.
    fn rows_of(&self, part: &Part, wanted: Wanted) -> BatchSequence {
        let first_position = self.tokens.len();
        BatchSequence {
            owner: part.id,
            cancel: part.cancel.clone(),
            first_row: 0,
            rows: 0,
            first_position,
            block_tables: Arc::clone(self.blocks.ids()),
            rope_length: first_position + part.tokens.len(),
            wanted,
            adapters: Arc::default(),
            head: None,
            is_captured: false,
        }
    }
}
