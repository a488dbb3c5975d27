//! The hand-written word rules that most byte-level BPE models split their text by.
//!
//! Each is the regular expression in its documentation, read by hand because that is many times faster than
//! an engine with look-ahead. A rule sees one fragment and says where the word at its beginning ends.

use super::classes::{CharClass, CharClasses};

/// A rule that cuts text into words; which characters it treats how.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum WordRule {
    /// `'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+`
    Gpt2,
    /// `(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,k}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+`
    Llama3 {
        /// `k`: the longest run of digits that stays together.
        max_digits: usize,
        /// Whether `\p{M}` counts as a letter: `[\p{L}\p{M}]` for `\p{L}`.
        marks_in_words: bool,
    },
    /// As `Llama3`, but `[\r\n/]*` after punctuation, and words that go over from capital (`C`: `[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]`)
    /// to small letters (`S`: `[\p{Ll}\p{Lm}\p{Lo}\p{M}]`) once: `[^\r\n\p{L}\p{N}]?C*S+|[^\r\n\p{L}\p{N}]?C+S*`
    Cased {
        /// The longest run of digits that stays together.
        max_digits: usize,
        /// Whether a contraction (`'s` and so on) stays with the word before it, or is no word of its own at all.
        contractions_in_words: bool,
    },
}

/// A fragment of text with the classes of its characters at hand.
#[derive(Clone, Copy)]
struct Reader<'a> {
    text: &'a str,
    classes: &'a CharClasses,
    marks_in_words: bool,
}

/// What the rules distinguish outside of words.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Letter,
    Number,
    Space,
    Other,
}

impl WordRule {
    /// Where the word at the beginning of a fragment ends; `text` is not empty.
    pub(crate) fn word_end(self, text: &str, classes: &CharClasses) -> usize {
        let mut reader = Reader {
            text,
            classes,
            marks_in_words: false,
        };
        match self {
            WordRule::Gpt2 => reader.gpt2_word_end(),
            WordRule::Llama3 {
                max_digits,
                marks_in_words,
            } => {
                reader.marks_in_words = marks_in_words;
                let contraction = contraction_end(text, |byte| byte.to_ascii_lowercase());
                let word = contraction.or_else(|| reader.letters_end());
                word.unwrap_or_else(|| reader.no_word_end(max_digits, b"\r\n"))
            }
            WordRule::Cased {
                max_digits,
                contractions_in_words,
            } => match reader.cased_letters_end() {
                Some(end) if contractions_in_words => {
                    let contraction =
                        contraction_end(&text[end..], |byte| byte.to_ascii_lowercase());
                    end + contraction.unwrap_or(0)
                }
                Some(end) => end,
                None => reader.no_word_end(max_digits, b"\r\n/"),
            },
        }
    }
}

impl Reader<'_> {
    fn char_at(&self, position: usize) -> Option<char> {
        let byte = *self.text.as_bytes().get(position)?;
        if byte.is_ascii() {
            return Some(byte as char);
        }
        self.text[position..].chars().next()
    }

    fn kind_of(&self, character: char) -> Kind {
        match self.classes.of(character) {
            CharClass::Mark if self.marks_in_words => Kind::Letter,
            CharClass::Mark | CharClass::Other => Kind::Other,
            CharClass::Capital | CharClass::Small | CharClass::Caseless => Kind::Letter,
            CharClass::Number => Kind::Number,
            CharClass::Space => Kind::Space,
        }
    }

    fn kind_at(&self, position: usize) -> Option<Kind> {
        self.char_at(position)
            .map(|character| self.kind_of(character))
    }

    /// The end of the run of one kind that begins at `position`, of at most `limit` characters.
    fn run_end(&self, mut position: usize, kind: Kind, limit: usize) -> usize {
        for _ in 0..limit {
            match self.char_at(position) {
                Some(character) if self.kind_of(character) == kind => {
                    position += character.len_utf8();
                }
                _ => break,
            }
        }
        position
    }

    fn gpt2_word_end(&self) -> usize {
        if let Some(end) = contraction_end(self.text, |byte| byte) {
            return end;
        }
        let start = usize::from(self.text.starts_with(' '));
        match self.kind_at(start) {
            Some(kind) if kind != Kind::Space => self.run_end(start, kind, usize::MAX),
            _ => self.blanks_end(),
        }
    }

    /// `[^\r\n\p{L}\p{N}]?\p{L}+`
    fn letters_end(&self) -> Option<usize> {
        let first = self.char_at(0)?;
        let start = match self.kind_of(first) {
            Kind::Letter => 0,
            Kind::Number => return None,
            _ if matches!(first, '\r' | '\n') => return None,
            _ => first.len_utf8(),
        };
        let end = self.run_end(start, Kind::Letter, usize::MAX);
        (end > start).then_some(end)
    }

    /// `[^\r\n\p{L}\p{N}]?C*S+|[^\r\n\p{L}\p{N}]?C+S*` of `WordRule::Cased`
    fn cased_letters_end(&self) -> Option<usize> {
        let first = self.char_at(0)?;
        let after_first = Some(first.len_utf8());
        // The first character goes before the word if it can; a mark can be either.
        let (before, without) = match self.classes.of(first) {
            CharClass::Capital | CharClass::Small | CharClass::Caseless => (None, Some(0)),
            CharClass::Mark => (after_first, Some(0)),
            CharClass::Number => (None, None),
            _ if matches!(first, '\r' | '\n') => (None, None),
            _ => (after_first, None),
        };
        let starts = [before, without].into_iter().flatten();
        let words = starts.map(|start| self.cased_word(start));
        words
            .clone()
            .find_map(|(small, _)| small)
            .or_else(|| words.clone().find_map(|(_, capital)| capital))
    }

    /// Where `C*S+` and `C+S*` end, from `start`.
    fn cased_word(&self, start: usize) -> (Option<usize>, Option<usize>) {
        let mut position = start;
        let mut after_caseless = None;
        let mut class = None;
        while let Some(character) = self.char_at(position) {
            class = Some(self.classes.of(character));
            match class {
                Some(CharClass::Capital) => position += character.len_utf8(),
                Some(CharClass::Caseless | CharClass::Mark) => {
                    position += character.len_utf8();
                    after_caseless = Some(position);
                }
                _ => break,
            }
        }
        if class != Some(CharClass::Small) {
            // `S+` gets the last letter that may be small; without one, only `C+` is left.
            return (after_caseless, (position > start).then_some(position));
        }
        while let Some(character) = self.char_at(position) {
            match self.classes.of(character) {
                CharClass::Small | CharClass::Caseless | CharClass::Mark => {
                    position += character.len_utf8();
                }
                _ => break,
            }
        }
        (Some(position), Some(position))
    }

    /// `\p{N}{1,k}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+`, with `after_punctuation` for `[\r\n]`
    fn no_word_end(&self, max_digits: usize, after_punctuation: &[u8]) -> usize {
        if self.kind_at(0) == Some(Kind::Number) {
            return self.run_end(0, Kind::Number, max_digits);
        }
        let start = usize::from(self.text.starts_with(' '));
        if self.kind_at(start) == Some(Kind::Other) {
            let end = self.run_end(start, Kind::Other, usize::MAX);
            let rest = self.text[end..].bytes();
            return end
                + rest
                    .take_while(|byte| after_punctuation.contains(byte))
                    .count();
        }
        let blanks = &self.text[..self.run_end(0, Kind::Space, usize::MAX)];
        match blanks.rfind(['\r', '\n']) {
            Some(last_break) => last_break + 1,
            None => self.blanks_end(),
        }
    }

    /// `\s+(?!\S)|\s+`: the last blank of a run stays with the word that follows, if there is one.
    fn blanks_end(&self) -> usize {
        let end = self.run_end(0, Kind::Space, usize::MAX);
        match self.text[..end].chars().next_back() {
            Some(last) if end < self.text.len() && last.len_utf8() < end => end - last.len_utf8(),
            _ => end,
        }
    }
}

/// `'s|'t|'re|'ve|'m|'ll|'d`, after `fold` was applied to each letter.
fn contraction_end(text: &str, fold: impl Fn(u8) -> u8) -> Option<usize> {
    let rest = text.as_bytes().strip_prefix(b"'")?;
    match fold(*rest.first()?) {
        b's' | b't' | b'm' | b'd' => return Some(2),
        _ => {}
    }
    match (fold(rest[0]), fold(*rest.get(1)?)) {
        (b'r' | b'v', b'e') | (b'l', b'l') => Some(3),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words<'a>(rule: WordRule, text: &'a str, classes: &CharClasses) -> Vec<&'a str> {
        let mut words = Vec::new();
        let mut rest = text;
        while !rest.is_empty() {
            let (word, after) = rest.split_at(rule.word_end(rest, classes));
            assert!(!word.is_empty(), "no progress at {rest:?}");
            words.push(word);
            rest = after;
        }
        words
    }

    #[test]
    fn the_rules_agree_with_their_regular_expressions() {
        let classes = CharClasses::new().unwrap();
        let gpt2 = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+";
        let llama3 = r"(?:'[sS]|'[tT]|'[rR][eE]|'[vV][eE]|'[mM]|'[lL][lL]|'[dD])|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";
        let with_marks = r"(?:'[sS]|'[tT]|'[rR][eE]|'[vV][eE]|'[mM]|'[lL][lL]|'[dD])|[^\r\n\p{L}\p{N}]?[\p{L}\p{M}]+|\p{N}| ?[^\s\p{L}\p{M}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";
        let tekken = r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+";
        let o200k = r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+(?:'[sS]|'[tT]|'[rR][eE]|'[vV][eE]|'[mM]|'[lL][lL]|'[dD])?|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*(?:'[sS]|'[tT]|'[rR][eE]|'[vV][eE]|'[mM]|'[lL][lL]|'[dD])?|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+";
        let cased = |max_digits, contractions_in_words| WordRule::Cased {
            max_digits,
            contractions_in_words,
        };
        let rules = [
            (cased(1, false), tekken),
            (cased(3, true), o200k),
            (WordRule::Gpt2, gpt2),
            (
                WordRule::Llama3 {
                    max_digits: 3,
                    marks_in_words: false,
                },
                llama3,
            ),
            (
                WordRule::Llama3 {
                    max_digits: 1,
                    marks_in_words: true,
                },
                with_marks,
            ),
        ]
        .map(|(rule, pattern)| (rule, fancy_regex::Regex::new(pattern).unwrap()));
        for text in nasty_texts() {
            for (rule, regex) in &rules {
                let expected: Vec<&str> = regex
                    .find_iter(&text)
                    .map(|found| found.unwrap().as_str())
                    .collect();
                assert_eq!(words(*rule, &text, &classes), expected, "{rule:?} {text:?}");
            }
        }
    }

    /// All short strings over one character of every kind that a rule tells apart.
    fn nasty_texts() -> Vec<String> {
        let alphabet = [
            ' ', '\n', '\r', '\u{3000}', 'é', 's', 'L', 'ǅ', '日', '1', '²', '\'', '!', '/',
            '\u{301}', '\u{0}',
        ];
        let mut texts = vec![String::new()];
        let mut last: Vec<String> = texts.clone();
        for _ in 0..4 {
            last = last
                .iter()
                .flat_map(|text| alphabet.map(|character| format!("{text}{character}")))
                .collect();
            texts.extend(last.iter().cloned());
        }
        texts
    }
}
