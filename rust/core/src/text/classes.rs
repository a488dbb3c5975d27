//! Unicode general categories of characters, by table.
//!
//! Pre-tokenizers split by `\p{L}`, `\p{N}`, `\p{M}` and `\s`; the methods of `char` do not say that
//! (`is_alphabetic` takes marks and letter numbers in). The ranges are those of the regex engine.

use regex_syntax::hir::{Class, HirKind};

use crate::error::{Error, Result};

/// What a pre-tokenizer asks of a character; exactly one of them holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum CharClass {
    /// Everything else: punctuation, symbols, control characters, unassigned.
    Other = 0,
    /// `[\p{Lu}\p{Lt}]`
    Capital = 1,
    /// `\p{Ll}`
    Small = 2,
    /// `[\p{Lm}\p{Lo}]`: letters without a case.
    Caseless = 3,
    /// `\p{M}`
    Mark = 4,
    /// `\p{N}`
    Number = 5,
    /// `\s`
    Space = 6,
}

impl CharClass {
    const ALL: [(&str, CharClass); 6] = [
        (r"[\p{Lu}\p{Lt}]", CharClass::Capital),
        (r"\p{Ll}", CharClass::Small),
        (r"[\p{Lm}\p{Lo}]", CharClass::Caseless),
        (r"\p{M}", CharClass::Mark),
        (r"\p{N}", CharClass::Number),
        (r"\s", CharClass::Space),
    ];
}

/// The class of every character.
#[derive(Debug, Clone)]
pub(crate) struct CharClasses {
    /// One entry a code point; the pages of unassigned planes are never touched.
    table: Vec<u8>,
}

impl CharClasses {
    /// Reads the ranges out of the regex engine.
    pub(crate) fn new() -> Result<Self> {
        let mut table = vec![CharClass::Other as u8; char::MAX as usize + 1];
        for (pattern, class) in CharClass::ALL {
            let parsed = regex_syntax::parse(pattern).map_err(|error| {
                Error::Tokenization(format!("character class {pattern}: {error}"))
            })?;
            if let HirKind::Class(Class::Unicode(ranges)) = parsed.kind() {
                for range in ranges.iter() {
                    table[range.start() as usize..=range.end() as usize].fill(class as u8);
                }
            }
        }
        Ok(Self { table })
    }

    /// The class of a character.
    pub(crate) fn of(&self, character: char) -> CharClass {
        match self.table[character as usize] {
            1 => CharClass::Capital,
            2 => CharClass::Small,
            3 => CharClass::Caseless,
            4 => CharClass::Mark,
            5 => CharClass::Number,
            6 => CharClass::Space,
            _ => CharClass::Other,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn agrees_with_the_regex_engine_on_every_character() {
        let classes = CharClasses::new().unwrap();
        let rules = CharClass::ALL.map(|(pattern, class)| {
            let whole = fancy_regex::Regex::new(&format!("^{pattern}$")).unwrap();
            (whole, class)
        });
        for character in
            ('\0'..=char::MAX).filter(|&c| (c as u32) < 0x3000 || (c as u32).is_multiple_of(7))
        {
            let text = character.to_string();
            let class = classes.of(character);
            for (regex, ruled) in &rules {
                let is_match = regex.is_match(&text).unwrap();
                assert_eq!(
                    is_match,
                    class == *ruled,
                    "{character:?} {class:?} {ruled:?}"
                );
            }
        }
    }
}
