//! Sequences that are set aside so that others have their blocks.

use crate::kv::{BlockStore, rows_for};
use crate::sequence::{Paused, Sequence};

use super::Memory;

impl Memory {
    /// Sets a sequence aside; with `swap` the bytes of its blocks are kept.
    pub(in crate::engine) fn set_aside(
        &mut self,
        sequence: &mut Sequence,
        swap: bool,
        blocks: &dyn BlockStore,
    ) {
        if sequence.paused.is_some() {
            return;
        }
        let computed = sequence.computed;
        let mut paused = Paused::default();
        if swap && computed > 0 {
            for place in sequence.blocks.places_in(rows_for(computed)) {
                paused.places.push(place.is_some());
                if let Some(block) = place {
                    blocks.read(block.id(), &mut paused.bytes);
                }
            }
            paused.computed = computed;
            // Its blocks are to be free, not to stay as someone's prefix.
            sequence.kept = computed;
        } else {
            sequence.work.restart();
        }
        sequence.follows = None;
        self.release(sequence);
        self.swapped_bytes += paused.bytes.len();
        sequence.paused = Some(paused);
    }

    /// Takes a sequence up again, with what was kept of it; whether there was room for that.
    pub(in crate::engine) fn take_up(
        &mut self,
        sequence: &mut Sequence,
        blocks: &mut dyn BlockStore,
    ) -> bool {
        let Some(paused) = sequence.paused.take() else {
            return true;
        };
        let block_bytes = self.kv.block_bytes();
        let mut kept = paused.bytes.chunks_exact(block_bytes);
        for is_held in &paused.places {
            if !is_held {
                sequence.blocks.skip();
                continue;
            }
            let Some((bytes, block)) = kept.next().zip(self.block_for(sequence)) else {
                sequence.blocks.clear();
                sequence.paused = Some(paused);
                return false;
            };
            blocks.write(block.id(), bytes);
            sequence.blocks.push(block);
        }
        sequence.computed = paused.computed;
        self.swapped_bytes -= paused.bytes.len();
        true
    }

    /// Lets everything of a sequence go that ends.
    pub(in crate::engine) fn let_go(&mut self, sequence: &mut Sequence) {
        self.release(sequence);
        if let Some(paused) = sequence.paused.take() {
            self.swapped_bytes -= paused.bytes.len();
        }
    }
}
