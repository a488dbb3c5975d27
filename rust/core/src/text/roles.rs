//! Which tokens begin, end and steer: stated ids, and what only the texts of the tokens tell.
//!
//! Files often leave the end-of-turn token out, or type it as plain text. Without it a chat model never
//! stops, so well-known texts are looked for, as llama.cpp does (one difference: `</s>` counts only where
//! the file calls it a control token, since Gemma has it as the HTML tag).

use super::source::{TokenKind, VocabularySource};
use super::table::TextTable;
use crate::error::{Error, Result};
use crate::ids::TokenId;

/// Tokens with a task.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Roles {
    pub(crate) bos: Option<TokenId>,
    pub(crate) eos: Option<TokenId>,
    pub(crate) unknown: Option<TokenId>,
    pub(crate) padding: Option<TokenId>,
    /// `eos` first, the others in ascending order.
    pub(crate) end_of_generation: Vec<TokenId>,
}

/// Texts that end a turn or a document, whatever kind the file gives them.
const END_TEXTS: &[&str] = &[
    "<|eot_id|>",
    "<|eom_id|>",
    "<|im_end|>",
    "<|end|>",
    "<|return|>",
    "<|call|>",
    "<|calls|>",
    "<|flush|>",
    "<end_of_turn>",
    "<|endoftext|>",
    "<|end_of_text|>",
    "<EOT>",
    "_<EOT>",
    "▁<EOT>",
    "<end_of_utterance>",
    "<｜end▁of▁sentence｜>",
];

/// Texts that end a turn or a document where the file calls them control tokens; elsewhere they may be text.
const END_TEXTS_OF_CONTROL_TOKENS: &[&str] = &["</s>", "<eos>", "[EOT]", "[EOS]", "[e~["];

/// Texts that end a fill-in-the-middle answer: padding, repository, file; of each the first that exists.
const FILL_IN_MIDDLE_ENDS: [&[&str]; 3] = [
    &["<|fim_pad|>", "<fim-pad>", "<fim_pad>", "<PAD>", "[PAD]"],
    &[
        "<|fim_repo|>",
        "<|repo_name|>",
        "<fim-repo>",
        "<REPO>",
        "<reponame>",
    ],
    &["<|file_sep|>"],
];

/// Texts that steer fill-in-the-middle; never plain text.
const FILL_IN_MIDDLE_TEXTS: &[&str] = &[
    "<|fim_prefix|>",
    "<fim-prefix>",
    "<fim_prefix>",
    "<｜fim▁begin｜>",
    "<PRE>",
    "▁<PRE>",
    "<|fim_suffix|>",
    "<fim-suffix>",
    "<fim_suffix>",
    "<｜fim▁hole｜>",
    "<SUF>",
    "▁<SUF>",
    "<|fim_middle|>",
    "<fim-middle>",
    "<fim_middle>",
    "<｜fim▁end｜>",
    "<MID>",
    "▁<MID>",
];

/// Texts that frame a turn, without the bars that say so; some files type them as text of the user's own.
const TURN_TEXTS: &[&str] = &["<start_of_turn>", "<end_of_turn>", "[INST]", "[/INST]"];

/// The frame of a message in the harmony format; callers need to see it.
const HARMONY_FRAME: &[&str] = &["<|channel|>", "<|message|>", "<|start|>", "<|constrain|>"];

/// Finds the tokens with a task, and corrects the kinds of those whose text gives them away.
pub(crate) fn assign(
    source: &VocabularySource<'_>,
    texts: &TextTable,
    kinds: &mut [TokenKind],
) -> Roles {
    let is_sentence_piece = source.model == "llama";
    let default = |id: TokenId| is_sentence_piece.then_some(id);
    let mut roles = Roles {
        bos: source.valid(source.valid(source.bos).or(default(1))),
        eos: source.valid(source.valid(source.eos).or(default(2))),
        unknown: source.valid(source.valid(source.unknown).or(default(0))),
        padding: source.valid(source.padding),
        end_of_generation: Vec::new(),
    };
    let find = |text: &str| texts.find(text.as_bytes());
    for id in FILL_IN_MIDDLE_TEXTS.iter().filter_map(|text| find(text)) {
        kinds[id as usize] = TokenKind::Control;
    }
    let mut ends = stated_ends(source);
    for (stated, known) in source.fill_in_middle_ends.iter().zip(FILL_IN_MIDDLE_ENDS) {
        if let Some(id) = source
            .valid(*stated)
            .or_else(|| known.iter().find_map(|text| find(text)))
        {
            ends.push(id);
            kinds[id as usize] = TokenKind::Control;
        }
    }
    for id in END_TEXTS.iter().filter_map(|text| find(text)) {
        ends.push(id);
        kinds[id as usize] = TokenKind::Control;
    }
    for id in END_TEXTS_OF_CONTROL_TOKENS
        .iter()
        .filter_map(|text| find(text))
    {
        if kinds[id as usize].is_special() {
            ends.push(id);
        }
    }
    let is_harmony = ["<|return|>", "<|call|>"]
        .iter()
        .all(|text| find(text).is_some());
    let is_solar = ["<|flush|>", "<|calls|>"]
        .iter()
        .all(|text| find(text).is_some());
    let frame = HARMONY_FRAME.iter().filter_map(|text| find(text));
    let inner_end = find("<|end|>").filter(|_| is_harmony || is_solar);
    for id in frame.chain(inner_end) {
        kinds[id as usize] = TokenKind::UserDefined;
    }
    ends.retain(|id| Some(*id) != inner_end && Some(*id) != roles.eos);
    ends.sort_unstable();
    ends.dedup();
    roles.end_of_generation = roles.eos.into_iter().chain(ends).collect();
    roles
}

/// For each token, whether it is a mark: one that only a template writes, since with it text could begin a turn.
///
/// These are the control tokens, and user-defined ones whose text says that they frame something (`<|start|>`);
/// others, such as `<think>`, templates look for in what messages say. A word or a single character cannot be a
/// mark: text consists of them.
pub(crate) fn marks(source: &VocabularySource<'_>, kinds: &[TokenKind]) -> Vec<bool> {
    let tokens = source.tokens.iter().zip(kinds);
    let is_mark = |text: &str, kind: TokenKind| match kind {
        TokenKind::Control | TokenKind::Unknown => is_told_from_words(text),
        TokenKind::UserDefined => frames_a_turn(text),
        TokenKind::Normal | TokenKind::Unused | TokenKind::Byte => false,
    };
    tokens.map(|(text, kind)| is_mark(text, *kind)).collect()
}

fn is_told_from_words(text: &str) -> bool {
    let is_of_words =
        |letter: char| letter.is_alphanumeric() || letter == '_' || letter.is_whitespace();
    text.chars().nth(1).is_some() && !text.chars().all(is_of_words)
}

fn frames_a_turn(text: &str) -> bool {
    let is_between = |begin: &str, end: &str| {
        let rest = text.strip_prefix(begin);
        rest.is_some_and(|rest| rest.len() > end.len() && rest.ends_with(end))
    };
    is_between("<|", "|>") || is_between("<｜", "｜>") || TURN_TEXTS.contains(&text)
}

/// Whether begin and end tokens are added; asking for one that does not exist is an error.
pub(crate) fn added(
    source: &VocabularySource<'_>,
    roles: &Roles,
    adds_bos: bool,
) -> Result<(bool, bool)> {
    let adds_bos = source.add_bos.unwrap_or(adds_bos && roles.bos.is_some());
    let adds_eos = source.add_eos.unwrap_or(false);
    for (name, is_added, id) in [("bos", adds_bos, roles.bos), ("eos", adds_eos, roles.eos)] {
        if is_added && id.is_none() {
            return Err(Error::Tokenization(format!(
                "tokenizer.ggml.add_{name}_token is true, but tokenizer.ggml.{name}_token_id names none of the {} tokens",
                source.tokens.len()
            )));
        }
    }
    Ok((adds_bos, adds_eos))
}

fn stated_ends(source: &VocabularySource<'_>) -> Vec<TokenId> {
    [source.end_of_turn, source.end_of_message]
        .into_iter()
        .filter_map(|id| source.valid(id))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn roles_of(tokens: &[(&str, i32)], source: VocabularySource<'_>) -> (Roles, Vec<TokenKind>) {
        let texts: Vec<&str> = tokens.iter().map(|(text, _)| *text).collect();
        let types: Vec<i32> = tokens.iter().map(|(_, number)| *number).collect();
        let source = VocabularySource {
            tokens: &texts,
            token_types: &types,
            ..source
        };
        let mut table = TextTable::with_capacity(texts.len(), 100);
        for text in &texts {
            table.push(text.as_bytes());
        }
        let mut kinds = source.kinds();
        (assign(&source, &table, &mut kinds), kinds)
    }

    #[test]
    fn well_known_texts_end_generation_and_become_control_tokens() {
        let tokens = [
            ("<|endoftext|>", 3),
            ("a", 1),
            ("<|im_end|>", 4),
            ("<reponame>", 3),
        ];
        let source = VocabularySource {
            eos: Some(2),
            bos: Some(u32::MAX),
            ..VocabularySource::default()
        };
        let (roles, kinds) = roles_of(&tokens, source);
        assert_eq!(roles.end_of_generation, [2, 0, 3]);
        assert_eq!((roles.bos, roles.eos), (None, Some(2)));
        assert_eq!(kinds[2], TokenKind::Control);
    }

    #[test]
    fn the_html_tag_does_not_end_generation_but_the_control_token_does() {
        let source = VocabularySource {
            eos: Some(0),
            ..VocabularySource::default()
        };
        let (roles, kinds) = roles_of(&[("<eos>", 3), ("</s>", 4)], source);
        assert_eq!(roles.end_of_generation, [0]);
        assert_eq!(kinds[1], TokenKind::UserDefined);
        let (roles, _) = roles_of(&[("<eos>", 3), ("</s>", 3)], source);
        assert_eq!(roles.end_of_generation, [0, 1]);
    }

    #[test]
    fn in_the_harmony_format_the_end_of_a_message_is_not_the_end() {
        let tokens = [
            ("<|return|>", 3),
            ("<|call|>", 3),
            ("<|end|>", 3),
            ("<|channel|>", 3),
        ];
        let (roles, kinds) = roles_of(&tokens, VocabularySource::default());
        assert_eq!(roles.end_of_generation, [0, 1]);
        assert_eq!(kinds[2..], [TokenKind::UserDefined; 2]);
    }

    #[test]
    fn marks_are_what_only_templates_write() {
        for (text, kind, expected) in [
            ("<|im_start|>", 3, true),
            ("<unk>", 2, true),
            ("<|channel|>", 4, true),
            ("<\u{ff5c}User\u{ff5c}>", 4, true),
            ("<start_of_turn>", 4, true),
            ("<think>", 4, false),
            ("<|>", 4, false),
            ("\n\n", 3, false),
            ("sop", 3, false),
            ("<", 3, false),
            ("<|im_start|>", 1, false),
        ] {
            let (tokens, types) = ([text], [kind]);
            let source = VocabularySource {
                tokens: &tokens,
                token_types: &types,
                ..VocabularySource::default()
            };
            assert_eq!(
                marks(&source, &source.kinds()),
                [expected],
                "{text:?} {kind}"
            );
        }
    }

    #[test]
    fn sentence_piece_has_default_ids() {
        let source = VocabularySource {
            model: "llama",
            ..VocabularySource::default()
        };
        let (roles, _) = roles_of(&[("<unk>", 2), ("<s>", 3), ("</s>", 3)], source);
        assert_eq!(
            (roles.unknown, roles.bos, roles.eos),
            (Some(0), Some(1), Some(2))
        );
        assert_eq!(added(&source, &roles, true).unwrap(), (true, false));
        let (roles, _) = roles_of(&[("<unk>", 2)], source);
        assert_eq!((roles.bos, roles.eos), (None, None));
        assert_eq!(added(&source, &roles, true).unwrap(), (false, false));
        let asking = VocabularySource {
            add_eos: Some(true),
            ..source
        };
        assert!(matches!(
            added(&asking, &roles, true),
            Err(Error::Tokenization(_))
        ));
    }
}
