//! A model's tokenizer: text to ids and back, as its file describes it.

use std::sync::Arc;

use super::bpe::{Bpe, BpeScratch};
use super::byte_map::char_to_byte;
use super::pre_tokenizer::{PreTokenizer, pre_type};
use super::roles::{self, Roles};
use super::source::{TokenKind, VocabularySource};
use super::special::{Fragment, MarkPlaces, SpecialMatcher, SpecialText};
use super::spm::{BLANK, Spm, SpmScratch};
use super::table::{TextTable, Words};
use super::vocabulary::Vocabulary;
use crate::error::{Error, Result};
use crate::ids::TokenId;

/// What `encode` does beside cutting text into tokens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EncodeOptions<'a> {
    /// Add the begin and end tokens that the model's file asks for.
    pub add_special: bool,
    /// Where the texts of marks become their tokens. Elsewhere they are plain text, as text of strangers should
    /// be; other user-defined tokens are taken all the same.
    pub marks: MarkPlaces<'a>,
}

impl Default for EncodeOptions<'_> {
    /// Begin and end tokens are added, marks in the text are not taken.
    fn default() -> Self {
        Self {
            add_special: true,
            marks: MarkPlaces::Within(&[]),
        }
    }
}

/// Text to token ids and back for one model; immutable, may be shared between threads.
#[derive(Debug, Clone)]
pub struct Tokenizer {
    /// Texts in the writing of the vocabulary ("Ġhello", "▁hello").
    texts: TextTable,
    algorithm: Algorithm,
    /// All tokens that are looked for before the text is cut up.
    special: SpecialMatcher,
    /// For each token whether it is a mark, which no text becomes.
    marks: Vec<bool>,
    vocabulary: Arc<Vocabulary>,
    roles: Roles,
    adds_bos: bool,
    adds_eos: bool,
}

#[derive(Debug, Clone)]
enum Algorithm {
    Bpe(Box<Bpe>),
    Spm {
        spm: Spm,
        /// Whether a blank is put before text at the beginning and after special tokens.
        adds_blank: bool,
    },
}

impl Tokenizer {
    /// Builds a tokenizer from the tokenizer section of a model file.
    pub fn from_source(source: &VocabularySource<'_>) -> Result<Self> {
        source.check()?;
        let mut texts = TextTable::with_capacity(source.tokens.len(), source.num_bytes());
        for token in source.tokens {
            texts.push(token.as_bytes());
        }
        let mut kinds = source.kinds();
        let roles = roles::assign(source, &texts, &mut kinds);
        let marks = roles::marks(source, &kinds);
        let words = Words {
            texts: &texts,
            marks: &marks,
        };
        let (algorithm, adds_bos) = Algorithm::new(source, words, &roles)?;
        let (adds_bos, adds_eos) = roles::added(source, &roles, adds_bos)?;
        let vocabulary = visible_vocabulary(source, &kinds)?;
        let tokens = source.tokens.iter().zip(&kinds).enumerate();
        let special = tokens
            .filter(|(_, (_, kind))| kind.is_special() || **kind == TokenKind::UserDefined)
            .map(|(id, (text, _))| SpecialText {
                text: text.as_bytes(),
                id: id as TokenId,
                is_mark: marks[id],
                takes_blanks_after: takes_blanks_after(source, text),
            });
        Ok(Self {
            special: SpecialMatcher::new(special),
            marks,
            vocabulary: Arc::new(vocabulary),
            texts,
            algorithm,
            roles,
            adds_bos,
            adds_eos,
        })
    }

    /// The token ids of a text.
    pub fn encode(&self, text: &str, options: EncodeOptions<'_>) -> Result<Vec<TokenId>> {
        // A blank takes three bytes in the writing of SentencePiece.
        if text.len() >= u32::MAX as usize / 4 {
            return Err(Error::Tokenization(format!(
                "text has {} bytes; allowed are less than 1 GiB at once",
                text.len()
            )));
        }
        let mut output = Vec::with_capacity(text.len() / 3 + 2);
        if options.add_special && self.adds_bos {
            output.extend(self.roles.bos);
        }
        let fragments = self.special.split(text, options.marks);
        match &self.algorithm {
            Algorithm::Bpe(bpe) => self.encode_bpe(bpe, text, &fragments, &mut output),
            Algorithm::Spm { spm, adds_blank } => {
                let blank = if *adds_blank { BLANK } else { "" };
                self.encode_spm((spm, blank), text, &fragments, &mut output)?;
            }
        }
        if options.add_special && self.adds_eos {
            output.extend(self.roles.eos);
        }
        Ok(output)
    }

    /// The token ids of text and marks by turns, text first: what a chat template made.
    ///
    /// A text that spells a mark is text: a mark comes of its own pieces alone.
    pub fn encode_pieces(&self, pieces: &[String], add_special: bool) -> Result<Vec<TokenId>> {
        let mut places = Vec::with_capacity(pieces.len() / 2);
        let mut end = 0;
        for (index, piece) in pieces.iter().enumerate() {
            let begin = end;
            end += piece.len();
            if index % 2 == 1 {
                places.push(begin..end);
            }
        }
        let marks = MarkPlaces::Within(&places);
        self.encode(&pieces.concat(), EncodeOptions { add_special, marks })
    }

    /// The texts that a template may write as marks, and messages may not.
    pub fn mark_texts(&self) -> Vec<&str> {
        let marks = self
            .marks
            .iter()
            .enumerate()
            .filter(|(_, is_mark)| **is_mark);
        marks
            .filter_map(|(id, _)| self.token_text(id as TokenId))
            .collect()
    }

    /// The bytes that token ids say; not always UTF-8, since a character may be cut.
    ///
    /// With `skip_special`, begin, end and other control tokens are left out. Where the tokenizer puts a blank
    /// before text, the one at the beginning is taken away again.
    pub fn decode(&self, ids: &[TokenId], skip_special: bool) -> Result<Vec<u8>> {
        let mut output = Vec::with_capacity(ids.len() * 4);
        let mut drops_blank = matches!(
            self.algorithm,
            Algorithm::Spm {
                adds_blank: true,
                ..
            }
        );
        for (index, &id) in ids.iter().enumerate() {
            let bytes = self.vocabulary.bytes(id).ok_or_else(|| {
                Error::Tokenization(format!(
                    "token {id} at index {index} is not in the vocabulary; allowed are ids below {}",
                    self.vocabulary.len()
                ))
            })?;
            if skip_special && self.vocabulary.is_special(id) {
                continue;
            }
            let without_blank = bytes.strip_prefix(b" ").filter(|_| drops_blank);
            output.extend_from_slice(without_blank.unwrap_or(bytes));
            drops_blank = false;
        }
        Ok(output)
    }

    /// What each id says; shared with the engine.
    pub fn vocabulary(&self) -> &Arc<Vocabulary> {
        &self.vocabulary
    }

    /// The token that begins a text.
    pub fn bos(&self) -> Option<TokenId> {
        self.roles.bos
    }

    /// The token that ends a text.
    pub fn eos(&self) -> Option<TokenId> {
        self.roles.eos
    }

    /// The token for text that has no other.
    pub fn unknown(&self) -> Option<TokenId> {
        self.roles.unknown
    }

    /// The token that fills batches.
    pub fn padding(&self) -> Option<TokenId> {
        self.roles.padding
    }

    /// The tokens after which a model has nothing more to say: `eos` first, then ends of turns and messages.
    pub fn end_of_generation(&self) -> &[TokenId] {
        &self.roles.end_of_generation
    }

    /// Whether `encode` adds the begin token when asked for special tokens.
    pub fn adds_bos(&self) -> bool {
        self.adds_bos
    }

    /// Whether `encode` adds the end token when asked for special tokens.
    pub fn adds_eos(&self) -> bool {
        self.adds_eos
    }

    /// The text of a token in the writing of the vocabulary: "Ġhello" or "▁hello" for " hello".
    pub fn token_text(&self, id: TokenId) -> Option<&str> {
        std::str::from_utf8(self.texts.get(id)?).ok()
    }

    /// The token of a text in the writing of the vocabulary; the lowest id if there are several.
    pub fn token_id(&self, text: &str) -> Option<TokenId> {
        self.texts.find(text.as_bytes())
    }

    fn words(&self) -> Words<'_> {
        Words {
            texts: &self.texts,
            marks: &self.marks,
        }
    }

    fn encode_bpe(&self, bpe: &Bpe, text: &str, fragments: &[Fragment], output: &mut Vec<TokenId>) {
        let mut scratch = BpeScratch::default();
        for fragment in fragments {
            match fragment {
                Fragment::Token(id) => output.push(*id),
                Fragment::Text(range) => {
                    bpe.encode(self.words(), &text[range.clone()], &mut scratch, output);
                }
            }
        }
    }

    fn encode_spm(
        &self,
        (spm, blank): (&Spm, &str),
        text: &str,
        fragments: &[Fragment],
        output: &mut Vec<TokenId>,
    ) -> Result<()> {
        let mut scratch = SpmScratch::default();
        let mut is_after_special = true;
        for fragment in fragments {
            match fragment {
                Fragment::Token(id) => {
                    output.push(*id);
                    is_after_special = true;
                }
                Fragment::Text(range) => {
                    let prefix = if is_after_special { blank } else { "" };
                    let written = [prefix, &text[range.clone()].replace(' ', BLANK)].concat();
                    spm.encode(self.words(), &written, &mut scratch, output)?;
                    is_after_special = false;
                }
            }
        }
        Ok(())
    }
}

impl Algorithm {
    /// The algorithm of a source, and whether it adds the begin token by default.
    fn new(source: &VocabularySource<'_>, words: Words<'_>, roles: &Roles) -> Result<(Self, bool)> {
        match source.model {
            "gpt2" => {
                let pre = pre_type(source.pre.unwrap_or("default"))?;
                if source.merges.is_empty() {
                    return Err(Error::Tokenization(
                        "tokenizer.ggml.merges is empty or missing; a \"gpt2\" tokenizer needs its merges".into(),
                    ));
                }
                let bpe = Bpe::new(source, words, PreTokenizer::new(pre)?, pre.ignore_merges);
                Ok((Algorithm::Bpe(Box::new(bpe)), pre.add_bos))
            }
            "llama" => {
                let spm = Spm::new(source, words.texts, roles.unknown);
                let adds_blank = source.add_space_prefix.unwrap_or(true);
                Ok((Algorithm::Spm { spm, adds_blank }, true))
            }
            other => Err(Error::Tokenization(format!(
                "unknown tokenizer \"{other}\" (tokenizer.ggml.model); known are gpt2, llama"
            ))),
        }
    }
}

/// Each token's bytes as they appear in text.
fn visible_vocabulary(source: &VocabularySource<'_>, kinds: &[TokenKind]) -> Result<Vocabulary> {
    let mut bytes = Vec::with_capacity(source.num_bytes());
    let mut offsets = Vec::with_capacity(source.tokens.len() + 1);
    offsets.push(0);
    for (text, kind) in source.tokens.iter().zip(kinds) {
        match kind {
            TokenKind::Normal if source.model == "llama" => push_with_blanks(text, &mut bytes),
            TokenKind::Normal => push_mapped_bytes(text, &mut bytes),
            TokenKind::Byte => match hexadecimal_byte(text) {
                Some(byte) => bytes.push(byte),
                None => bytes.extend_from_slice(text.as_bytes()),
            },
            TokenKind::Unused => {}
            TokenKind::Unknown | TokenKind::Control | TokenKind::UserDefined => {
                bytes.extend_from_slice(text.as_bytes());
            }
        }
        offsets.push(bytes.len() as u32);
    }
    let special = kinds
        .iter()
        .enumerate()
        .filter(|(_, kind)| kind.is_special());
    Vocabulary::new(
        bytes,
        offsets,
        special.map(|(id, _)| id as TokenId).collect(),
    )
}

/// Undoes the writing of blanks as "▁".
fn push_with_blanks(text: &str, bytes: &mut Vec<u8>) {
    let mut parts = text.split(BLANK);
    if let Some(first) = parts.next() {
        bytes.extend_from_slice(first.as_bytes());
    }
    for part in parts {
        bytes.push(b' ');
        bytes.extend_from_slice(part.as_bytes());
    }
}

/// Undoes the writing of bytes as characters; characters that stand for no byte stay what they are.
fn push_mapped_bytes(text: &str, bytes: &mut Vec<u8>) {
    for character in text.chars() {
        match char_to_byte(character) {
            Some(byte) => bytes.push(byte),
            None => bytes.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes()),
        }
    }
}

/// The byte of "<0x00>" to "<0xFF>".
fn hexadecimal_byte(text: &str) -> Option<u8> {
    let digits = text.strip_prefix("<0x")?.strip_suffix('>')?;
    let is_number = digits.len() == 2 && digits.bytes().all(|byte| byte.is_ascii_hexdigit());
    is_number.then(|| u8::from_str_radix(digits, 16).ok())?
}

/// Phi-3 was trained with blanks after its role tokens removed; its files do not say so.
fn takes_blanks_after(source: &VocabularySource<'_>, text: &str) -> bool {
    let name = source.name.unwrap_or_default().to_lowercase();
    let is_phi3 = name.contains("phi-3") || name.contains("phi3");
    is_phi3 && !matches!(text, "<unk>" | "<s>" | "<|endoftext|>")
}
