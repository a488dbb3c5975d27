//! Byte strings numbered from zero and found again by content.
//!
//! One flat buffer and one open-addressed index, because a vocabulary holds hundreds of thousands of short
//! strings and an allocation for each would dominate the time to open a model.

/// Numbered byte strings; the number is the order of `push`.
#[derive(Debug, Clone)]
pub(crate) struct TextTable {
    bytes: Vec<u8>,
    /// `offsets[number]..offsets[number + 1]` is the place of a text in `bytes`.
    offsets: Vec<u32>,
    /// A power of two of slots, at most half of them used; collisions go to the next slot.
    slots: Vec<Slot>,
}

#[derive(Debug, Clone, Copy)]
struct Slot {
    hash: u32,
    number: u32,
}

/// A slot without an entry; no table reaches so many texts.
const EMPTY: Slot = Slot {
    hash: 0,
    number: u32::MAX,
};

/// The tokens that text may become: all but the marks, which only their own places make.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Words<'a> {
    pub(crate) texts: &'a TextTable,
    /// For each token.
    pub(crate) marks: &'a [bool],
}

impl Words<'_> {
    /// The token of a text, if it is no mark.
    pub(crate) fn find(self, text: &[u8]) -> Option<u32> {
        self.texts.find(text).filter(|&id| !self.is_mark(id))
    }

    /// Whether a token is a mark; numbers behind the tokens are none.
    pub(crate) fn is_mark(self, id: u32) -> bool {
        self.marks.get(id as usize).is_some_and(|is_mark| *is_mark)
    }
}

impl TextTable {
    /// An empty table with room for so many texts and bytes in all.
    pub(crate) fn with_capacity(num_texts: usize, num_bytes: usize) -> Self {
        let mut offsets = Vec::with_capacity(num_texts + 1);
        offsets.push(0);
        Self {
            bytes: Vec::with_capacity(num_bytes),
            offsets,
            slots: vec![EMPTY; (num_texts * 2).next_power_of_two().max(16)],
        }
    }

    /// How many texts were pushed.
    pub(crate) fn len(&self) -> usize {
        self.offsets.len() - 1
    }

    /// Adds a text and returns its number. Of equal texts the first one is the one that is found.
    pub(crate) fn push(&mut self, text: &[u8]) -> u32 {
        if (self.len() + 1) * 2 > self.slots.len() {
            self.grow();
        }
        let number = self.len() as u32;
        self.bytes.extend_from_slice(text);
        self.offsets.push(self.bytes.len() as u32);
        self.index(number);
        number
    }

    /// The number of a text, if it was pushed.
    pub(crate) fn find(&self, text: &[u8]) -> Option<u32> {
        let hash = hash(text);
        let mask = self.slots.len() - 1;
        let mut position = hash as usize & mask;
        loop {
            let slot = self.slots[position];
            if slot.number == EMPTY.number {
                return None;
            }
            if slot.hash == hash && self.at(slot.number) == text {
                return Some(slot.number);
            }
            position = (position + 1) & mask;
        }
    }

    /// The text of a number, or nothing if there is none.
    pub(crate) fn get(&self, number: u32) -> Option<&[u8]> {
        ((number as usize) < self.len()).then(|| self.at(number))
    }

    fn at(&self, number: u32) -> &[u8] {
        let number = number as usize;
        &self.bytes[self.offsets[number] as usize..self.offsets[number + 1] as usize]
    }

    fn index(&mut self, number: u32) {
        let hash = hash(self.at(number));
        let mask = self.slots.len() - 1;
        let mut position = hash as usize & mask;
        loop {
            let slot = self.slots[position];
            if slot.number == EMPTY.number {
                self.slots[position] = Slot { hash, number };
                return;
            }
            if slot.hash == hash && self.at(slot.number) == self.at(number) {
                return;
            }
            position = (position + 1) & mask;
        }
    }

    fn grow(&mut self) {
        self.slots = vec![EMPTY; self.slots.len() * 2];
        for number in 0..self.len() as u32 {
            self.index(number);
        }
    }
}

/// Multiply-and-rotate over words of eight bytes: quick on the short strings of a vocabulary.
fn hash(text: &[u8]) -> u32 {
    let (words, rest) = text.as_chunks::<8>();
    let mut state = text.len() as u64;
    for word in words {
        state = mix(state, u64::from_le_bytes(*word));
    }
    let mut last = [0; 8];
    last[..rest.len()].copy_from_slice(rest);
    state = mix(state, u64::from_le_bytes(last));
    (state >> 32) as u32 ^ state as u32
}

/// One step of a multiplicative hash; the constant is 2^64 divided by the golden ratio.
pub(crate) fn mix(state: u64, word: u64) -> u64 {
    let product = (state.rotate_left(5) ^ word).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    product ^ (product >> 29)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_what_was_pushed_and_nothing_else() {
        let mut table = TextTable::with_capacity(0, 0);
        for number in 0..5000_u32 {
            assert_eq!(table.push(format!("text {number}").as_bytes()), number);
        }
        for number in 0..5000_u32 {
            let text = format!("text {number}");
            assert_eq!(table.find(text.as_bytes()), Some(number));
            assert_eq!(table.get(number), Some(text.as_bytes()));
        }
        assert_eq!(table.find(b"text 5000"), None);
        assert_eq!(table.find(b""), None);
        assert_eq!(table.get(5000), None);
    }

    #[test]
    fn the_first_of_equal_texts_is_found() {
        let mut table = TextTable::with_capacity(4, 8);
        for text in ["a", "b", "a", ""] {
            table.push(text.as_bytes());
        }
        assert_eq!(table.len(), 4);
        assert_eq!(table.find(b"a"), Some(0));
        assert_eq!(table.get(2), Some(&b"a"[..]));
        assert_eq!(table.find(b""), Some(3));
    }
}
