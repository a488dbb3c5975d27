//! The two hand-written word rules that most byte-level BPE models split their text by.
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
}

/// A fragment of text with the classes of its characters at hand.
#[derive(Clone, Copy)]
struct Reader<'a> {
    text: &'a str,
    classes: &'a CharClasses,
    marks_in_words: bool,
}

impl WordRule {
    /// Where the word at the beginning of a fragment ends; `text` is not empty.
    pub(crate) fn word_end(self, text: &str, classes: &CharClasses) -> usize {
        match self {
            WordRule::Gpt2 => gpt2_word_end(Reader {
                text,
                classes,
                marks_in_words: false,
            }),
            WordRule::Llama3 {
                max_digits,
                marks_in_words,
            } => {
                let reader = Reader {
                    text,
                    classes,
                    marks_in_words,
                };
                llama3_word_end(reader, max_digits)
            }
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

    fn class_of(&self, character: char) -> CharClass {
        match self.classes.of(character) {
            CharClass::Mark if self.marks_in_words => CharClass::Letter,
            CharClass::Mark => CharClass::Other,
            class => class,
        }
    }

    fn class_at(&self, position: usize) -> Option<CharClass> {
        self.char_at(position)
            .map(|character| self.class_of(character))
    }

    /// The end of the run of one class that begins at `position`, of at most `limit` characters.
    fn run_end(&self, mut position: usize, class: CharClass, limit: usize) -> usize {
        for _ in 0..limit {
            match self.char_at(position) {
                Some(character) if self.class_of(character) == class => {
                    position += character.len_utf8();
                }
                _ => break,
            }
        }
        position
    }

    /// `\s+(?!\S)|\s+`: the last blank of a run stays with the word that follows, if there is one.
    fn blanks_end(&self) -> usize {
        let end = self.run_end(0, CharClass::Space, usize::MAX);
        if end == self.text.len() {
            return end;
        }
        match self.text[..end].chars().next_back() {
            Some(last) if last.len_utf8() < end => end - last.len_utf8(),
            _ => end,
        }
    }
}

fn gpt2_word_end(reader: Reader<'_>) -> usize {
    if let Some(end) = contraction_end(reader.text, |byte| byte) {
        return end;
    }
    let start = usize::from(reader.text.starts_with(' '));
    match reader.class_at(start) {
        Some(class) if class != CharClass::Space => reader.run_end(start, class, usize::MAX),
        _ => reader.blanks_end(),
    }
}

fn llama3_word_end(reader: Reader<'_>, max_digits: usize) -> usize {
    if let Some(end) = contraction_end(reader.text, |byte| byte.to_ascii_lowercase()) {
        return end;
    }
    let Some(first) = reader.char_at(0) else {
        return 0;
    };
    let class = reader.class_of(first);
    let after_first = first.len_utf8();
    match class {
        CharClass::Letter => return reader.run_end(0, CharClass::Letter, usize::MAX),
        CharClass::Number => return reader.run_end(0, CharClass::Number, max_digits),
        _ => {}
    }
    if !matches!(first, '\r' | '\n') && reader.class_at(after_first) == Some(CharClass::Letter) {
        return reader.run_end(after_first, CharClass::Letter, usize::MAX);
    }
    let start = usize::from(first == ' ');
    if reader.class_at(start) == Some(CharClass::Other) {
        let end = reader.run_end(start, CharClass::Other, usize::MAX);
        return end + count_line_breaks(&reader.text[end..]);
    }
    let blanks = &reader.text[..reader.run_end(0, CharClass::Space, usize::MAX)];
    match blanks.rfind(['\r', '\n']) {
        Some(last_break) => last_break + 1,
        None => reader.blanks_end(),
    }
}

fn count_line_breaks(text: &str) -> usize {
    text.bytes()
        .take_while(|byte| matches!(byte, b'\r' | b'\n'))
        .count()
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
    fn both_rules_agree_with_their_regular_expressions() {
        let classes = CharClasses::new().unwrap();
        let gpt2 = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+";
        let llama3 = r"(?:'[sS]|'[tT]|'[rR][eE]|'[vV][eE]|'[mM]|'[lL][lL]|'[dD])|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";
        let with_marks = r"(?:'[sS]|'[tT]|'[rR][eE]|'[vV][eE]|'[mM]|'[lL][lL]|'[dD])|[^\r\n\p{L}\p{N}]?[\p{L}\p{M}]+|\p{N}| ?[^\s\p{L}\p{M}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";
        let rules = [
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
            ' ', '\n', '\r', '\t', '\u{3000}', 'a', 'é', '日', '1', '²', '\'', 's', 'L', '!',
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
