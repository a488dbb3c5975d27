//! One answer as far as its grammar has come.

use std::sync::Arc;

use llguidance::Matcher;
use llguidance::toktrie::SimpleVob;

use super::free::{Free, GAP_BYTES, Reaches, is_gap};
use super::vocabulary::GrammarVocabulary;
use crate::error::{Error, Result};
use crate::ids::TokenId;
use crate::sampling::Allowed;

/// Where in an answer its grammar begins.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Start {
    /// Once this text has been written, marks counted, and white space after it; at once where there is none.
    pub after: Option<String>,
}

/// What an answer may go on with.
pub struct Constraint {
    /// The grammar before the first token, and as far as the answer has come; a copy takes time, which is the
    /// time of whoever draws the first token.
    beginning: Arc<Matcher>,
    matcher: Option<Matcher>,
    vocabulary: Arc<GrammarVocabulary>,
    phase: Phase,
    mask: SimpleVob,
}

impl std::fmt::Debug for Constraint {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut shown = formatter.debug_struct("Constraint");
        shown.field("phase", &self.phase).finish_non_exhaustive()
    }
}

#[derive(Debug)]
enum Phase {
    /// Before the text after which the grammar begins has been written.
    Free(Free),
    /// Between that text and the grammar's first word: so many bytes of white space may come.
    Gap(usize),
    Grammar,
}

impl Constraint {
    pub(super) fn new(
        beginning: Arc<Matcher>,
        vocabulary: Arc<GrammarVocabulary>,
        start: &Start,
    ) -> Self {
        let phase = match start.after.as_deref() {
            None | Some("") => Phase::Grammar,
            Some(text) => Phase::Free(Free::new(vocabulary.after(text))),
        };
        Self {
            beginning,
            matcher: None,
            vocabulary,
            phase,
            mask: SimpleVob::new(),
        }
    }

    /// Takes the token that was chosen; whether the answer is complete with it.
    pub fn accept(&mut self, token: TokenId) -> Result<bool> {
        if let Phase::Free(free) = &mut self.phase {
            match free.write(token) {
                Reaches::Before => {}
                Reaches::End(gap) => self.phase = Phase::Gap(GAP_BYTES - gap),
                // Only what is forced, and not chosen, may say more: the grammar has not begun with it.
                Reaches::Beyond => self.phase = Phase::Gap(0),
            }
            return Ok(false);
        }
        if let Phase::Gap(left) = self.phase
            && !self.matches(token)?
        {
            let bytes = self.vocabulary.bytes_of(token).len();
            self.phase = Phase::Gap(left.saturating_sub(bytes));
            return Ok(false);
        }
        self.phase = Phase::Grammar;
        let matcher = self.matcher();
        matcher.consume_token(token).map_err(failed)?;
        Ok(matcher.is_stopped())
    }

    fn matcher(&mut self) -> &mut Matcher {
        let beginning = &self.beginning;
        self.matcher.get_or_insert_with(|| beginning.deep_clone())
    }

    /// The tokens that must come next, since the grammar leaves one text and a model writes it with these.
    pub fn forced(&mut self) -> Result<Vec<TokenId>> {
        if !matches!(self.phase, Phase::Grammar) {
            return Ok(Vec::new());
        }
        let matcher = self.matcher();
        let tokens = matcher.compute_ff_tokens();
        matcher
            .get_error()
            .map_or(Ok(tokens), |error| Err(failed(error)))
    }

    /// Whether the grammar has the token next.
    fn matches(&mut self, token: TokenId) -> Result<bool> {
        // Beyond the vocabulary there may be rows that no token has.
        if token as usize >= self.vocabulary.len() {
            return Ok(false);
        }
        let count = self.matcher().validate_tokens(&[token]).map_err(failed)?;
        Ok(count == 1)
    }
}

impl Allowed for Constraint {
    fn allows(&mut self, token: TokenId) -> Result<bool> {
        match &self.phase {
            Phase::Free(free) => Ok(free.may_say(token)),
            Phase::Gap(left) => {
                let bytes = self.vocabulary.bytes_of(token);
                let fits = !bytes.is_empty() && bytes.len() <= *left && is_gap(bytes);
                Ok(fits || self.matches(token)?)
            }
            Phase::Grammar => self.matches(token),
        }
    }

    fn mask(&mut self) -> Result<&[u32]> {
        self.mask = match &self.phase {
            Phase::Free(free) => free.mask(),
            Phase::Gap(left) => {
                let left = *left;
                let mut mask = self.matcher().compute_mask().map_err(failed)?;
                for token in &self.vocabulary.gap_tokens {
                    if self.vocabulary.bytes_of(*token).len() <= left {
                        mask.allow_token(*token);
                    }
                }
                mask
            }
            Phase::Grammar => self.matcher().compute_mask().map_err(failed)?,
        };
        Ok(self.mask.as_slice())
    }
}

fn failed(error: impl std::fmt::Display) -> Error {
    let message = error.to_string();
    let line = message.lines().next().unwrap_or_default();
    Error::Generation(format!("the answer cannot go on by its grammar: {line}"))
}

#[cfg(test)]
mod tests {
    use super::super::{Grammar, GrammarSource};
    use super::*;
    use crate::text::Vocabulary;

    const TOKENS: &[&str] = &[
        "a",
        "b",
        "yes",
        "no",
        "y",
        "es",
        ".",
        ". ",
        ".no",
        "\n\n",
        "<end>",
        " yes",
        "           ",
    ];
    const END: TokenId = 10;

    fn token(text: &str) -> TokenId {
        TOKENS.iter().position(|one| *one == text).unwrap() as TokenId
    }

    fn grammar(source: &GrammarSource) -> Grammar {
        let tokens = Vocabulary::from_tokens(TOKENS, vec![END]).unwrap();
        let vocabulary = GrammarVocabulary::new(Arc::new(tokens), &[END], None).unwrap();
        Grammar::compile(&Arc::new(vocabulary), source).unwrap()
    }

    fn answer(after: Option<&str>) -> Constraint {
        let texts = ["yes", "no"].map(str::to_owned);
        let after = after.map(str::to_owned);
        grammar(&GrammarSource::Choice(texts.to_vec())).begin(&Start { after })
    }

    /// The texts that may come next, by the mask; each is asked about as well.
    fn allowed(constraint: &mut Constraint) -> Vec<&'static str> {
        let mask = constraint.mask().unwrap().to_vec();
        let has = |index: usize| mask[index / 32] & (1 << (index % 32)) != 0;
        for (index, text) in TOKENS.iter().enumerate() {
            let asked = constraint.allows(index as TokenId).unwrap();
            assert_eq!(asked, has(index), "{text:?}");
        }
        assert!(!constraint.allows(10_000).unwrap());
        TOKENS
            .iter()
            .enumerate()
            .filter(|(index, _)| has(*index))
            .map(|(_, text)| *text)
            .collect()
    }

    #[test]
    fn an_answer_is_over_when_nothing_more_may_come() {
        let mut constraint = answer(None);
        assert_eq!(allowed(&mut constraint), ["yes", "no", "y"]);
        assert!(!constraint.accept(token("y")).unwrap());
        assert_eq!(allowed(&mut constraint), ["es"]);
        assert!(constraint.accept(token("es")).unwrap());
    }

    #[test]
    fn end_tokens_are_allowed_where_the_text_may_end() {
        let mut constraint =
            grammar(&GrammarSource::Regex("ab*".to_owned())).begin(&Start::default());
        assert_eq!(allowed(&mut constraint), ["a"]);
        assert!(!constraint.accept(token("a")).unwrap());
        assert_eq!(allowed(&mut constraint), ["b", "<end>"]);
        assert!(constraint.accept(END).unwrap());
    }

    #[test]
    fn a_grammar_begins_after_its_text_and_white_space() {
        let mut constraint = answer(Some("a."));
        let free = allowed(&mut constraint);
        assert!(free.contains(&"b") && !free.contains(&"<end>"));
        for text in ["b", ".", "a"] {
            assert!(!constraint.accept(token(text)).unwrap());
        }
        let ends = allowed(&mut constraint);
        assert!(ends.contains(&".") && ends.contains(&". ") && !ends.contains(&".no"));
        constraint.accept(token(". ")).unwrap();
        assert_eq!(allowed(&mut constraint), ["yes", "no", "y", "\n\n"]);
        for _ in 0..3 {
            constraint.accept(token("\n\n")).unwrap();
        }
        assert_eq!(allowed(&mut constraint), ["yes", "no", "y"]);
        assert!(constraint.accept(token("no")).unwrap());
    }

    #[test]
    fn white_space_that_the_grammar_has_itself_is_its_own() {
        let source = GrammarSource::Choice(vec![" yes".to_owned()]);
        let after = Some("a".to_owned());
        let mut constraint = grammar(&source).begin(&Start { after });
        constraint.accept(token("a")).unwrap();
        assert!(constraint.accept(token(" yes")).unwrap());
    }
}
