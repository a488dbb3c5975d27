//! The pre-tokenizers by the name that GGUF files give them in `tokenizer.ggml.pre`.
//!
//! Each is a list of steps that cut the text finer and finer, as in the tokenizer files of the models. A new
//! model usually needs a name in one of the lists here, or a `PreType` with its regular expression.

use super::word_rules::WordRule;

/// How the text is cut into words before merging, and the defaults that come with it.
#[derive(Debug)]
pub(crate) struct PreType {
    /// The names of models that share it.
    pub(crate) names: &'static [&'static str],
    pub(crate) steps: &'static [Step],
    /// Whether a word that is a token as a whole is taken as it is, without merging.
    pub(crate) ignore_merges: bool,
    /// Whether the begin token is added if the file does not say.
    pub(crate) add_bos: bool,
}

/// One pass over all fragments.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Step {
    /// Words by a rule; every character belongs to one.
    Words(WordRule),
    /// `\p{N}`: every digit alone.
    EachNumber,
    /// Matches of a regular expression, and what is between them. A final `\s+` stands for `\s+(?!\S)|\s+`: where a
    /// word follows, the last blank stays with it. So no pattern needs look-ahead, and all run in linear time.
    Matches(&'static str),
}

const LLAMA3: Step = Step::Words(WordRule::Llama3 {
    max_digits: 3,
    marks_in_words: false,
});
const QWEN2: Step = Step::Words(WordRule::Llama3 {
    max_digits: 1,
    marks_in_words: false,
});
const QWEN35: Step = Step::Words(WordRule::Llama3 {
    max_digits: 1,
    marks_in_words: true,
});
const TEKKEN: Step = Step::Words(WordRule::Cased {
    max_digits: 1,
    contractions_in_words: false,
});
const O200K: Step = Step::Words(WordRule::Cased {
    max_digits: 3,
    contractions_in_words: true,
});
const GPT2: Step = Step::Words(WordRule::Gpt2);

/// Letters that have a case, as the first DeepSeek models list them; those that editors would normalize
/// into others are escaped.
const DEEPSEEK_WORD: &str = r"\s?[A-Za-zµÀ-ÖØ-öø-ƺƼ-ƿǄ-ʓʕ-ʯͰ-ͳͶͷͻ-ͽͿΆΈ-ΊΌΎ-ΡΣ-ϵϷ-ҁҊ-ԯԱ-ՖႠ-ჅᎠ-Ᏽᏸ-ᏽᲐ-ᲺᲽ-Ჿᴀ-ᴫᵫ-ᵷᵹ-ᶚḀ-ἕἘ-Ἕἠ-ὅὈ-Ὅὐ-ὗὙὛὝὟ-\u{1F7D}ᾀ-ᾴᾶ-ᾼ\u{1FBE}ῂ-ῄῆ-ῌῐ-\u{1FD3}ῖ-\u{1FDB}ῠ-Ῥῲ-ῴῶ-ῼℂℇℊ-ℓℕℙ-ℝℤ\u{2126}ℨ\u{212A}-ℭℯ-ℴℹℼ-ℿⅅ-ⅉⅎↃↄⰀ-ⱻⱾ-ⳤⳫ-ⳮⳲⳳꙀ-ꙭꚀ-ꚛꜢ-ꝯꝱ-ꞇꞋ-ꞎꭰ-ꮿﬀ-ﬆﬓ-ﬗＡ-Ｚａ-ｚ𐐀-𐑏𐒰-𐓓𐓘-𐓻𐲀-𐲲𐳀-𐳲𑢠-𑣟𞤀-𞥃]+";
const DEEPSEEK_IDEOGRAPHS: &str = r"[一-龥ࠀ-一가-퟿]+";
const DEEPSEEK_V3_WORDS: &str = r##"[!"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+| ?[\p{P}\p{S}]+[\r\n]*|\s*[\r\n]+|\s+"##;

const BAILING_WORDS: &str = r"'(?:[sSdDmMtT]|[lL][lL]|[vV][eE]|[rR][eE])|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]|\s+";
const SEED_WORDS: &str = r"(?:'[sS]|'[tT]|'[rR][eE]|'[vV][eE]|'[mM]|'[lL][lL]|'[dD])|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}\r\n]+|\s*[\r\n]+|\s+";
const BLOOM_WORDS: &str = r" ?[^(\s|.,!?…。，、।۔،)]+";

/// Every pre-tokenizer; none sets a flag unless it says so.
pub(crate) const PRE_TYPES: &[PreType] = &[
    PreType {
        names: &["default"],
        steps: &[
            Step::Matches(r"[\p{P}$+<=>^~|]+"),
            GPT2,
            Step::Matches(r"\p{N}+"),
            Step::Matches("[0-9][0-9][0-9]"),
        ],
        ..PLAIN
    },
    PreType {
        names: &["falcon"],
        steps: &[
            Step::Matches(r"[\p{P}$+<=>^~|`]+"),
            GPT2,
            Step::Matches("[0-9][0-9][0-9]"),
        ],
        ..PLAIN
    },
    PreType {
        names: &[
            "gpt-2",
            "phi-2",
            "mpt",
            "olmo",
            "jais",
            "trillion",
            "exaone4",
            "gigachat",
            "a.x-4.0",
            "mellum",
            "modern-bert",
            "granite-docling",
        ],
        steps: &[GPT2],
        ..PLAIN
    },
    PreType {
        names: &[
            "smollm",
            "starcoder",
            "refact",
            "command-r",
            "codeshell",
            "exaone",
            "minerva-7b",
            "mellum2",
        ],
        steps: &[Step::EachNumber, GPT2],
        ..PLAIN
    },
    PreType {
        names: &[
            "llama-bpe",
            "llama3",
            "llama-v3",
            "falcon3",
            "falcon-h1",
            "pixtral",
            "midm-2.0",
            "lfm2",
        ],
        steps: &[LLAMA3],
        ignore_merges: true,
        add_bos: true,
    },
    PreType {
        names: &["dbrx", "smaug-bpe", "chatglm-bpe", "glm4"],
        steps: &[LLAMA3],
        ..PLAIN
    },
    PreType {
        names: &[
            "qwen2",
            "deepseek-r1-qwen",
            "stablelm2",
            "hunyuan",
            "megrez",
            "kormo",
            "grok-2",
            "solar-open",
        ],
        steps: &[QWEN2],
        ..PLAIN
    },
    PreType {
        names: &["qwen35"],
        steps: &[QWEN35],
        ..PLAIN
    },
    PreType {
        names: &["deepseek-llm"],
        steps: &[
            Step::Matches("[\r\n]"),
            Step::Matches(DEEPSEEK_WORD),
            Step::Matches(r"\s?[!-/:-~！-／：-～‘-‟　-。]+"),
            Step::Matches(r"\s+$"),
            Step::Matches(DEEPSEEK_IDEOGRAPHS),
            Step::Matches(r"\p{N}+"),
        ],
        ..PLAIN
    },
    PreType {
        names: &["deepseek-coder"],
        steps: &[
            Step::Matches("[\r\n]"),
            Step::Matches(r"\s?\p{L}+"),
            Step::Matches(r"\s?\p{P}+"),
            Step::Matches(DEEPSEEK_IDEOGRAPHS),
            Step::EachNumber,
        ],
        ..PLAIN
    },
    PreType {
        names: &["deepseek-v3", "hunyuan-dense", "joyai-llm"],
        steps: &[
            Step::Matches(r"\p{N}{1,3}"),
            Step::Matches(r"[一-龥぀-ゟ゠-ヿ]+"),
            Step::Matches(DEEPSEEK_V3_WORDS),
        ],
        ..PLAIN
    },
    PreType {
        names: &["tekken"],
        steps: &[TEKKEN],
        ignore_merges: true,
        add_bos: true,
    },
    PreType {
        names: &["gpt-4o", "llama4", "kanana2", "minimax-m2"],
        steps: &[O200K],
        ..PLAIN
    },
    PreType {
        names: &["bailingmoe", "bailingmoe2", "llada-moe"],
        steps: &[Step::Matches(BAILING_WORDS)],
        ..PLAIN
    },
    PreType {
        names: &["seed-coder"],
        steps: &[Step::Matches(SEED_WORDS)],
        ..PLAIN
    },
    PreType {
        names: &["bloom", "poro-chat", "gpt3-finnish"],
        steps: &[Step::Matches(BLOOM_WORDS)],
        ..PLAIN
    },
    PreType {
        names: &["viking"],
        steps: &[Step::Matches(BLOOM_WORDS), Step::EachNumber],
        ..PLAIN
    },
];

/// What the entries above leave out.
const PLAIN: PreType = PreType {
    names: &[],
    steps: &[],
    ignore_merges: false,
    add_bos: false,
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_stands_once() {
        let mut names: Vec<&str> = PRE_TYPES
            .iter()
            .flat_map(|pre| pre.names)
            .copied()
            .collect();
        let num_names = names.len();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), num_names);
        assert!(PRE_TYPES.iter().all(|pre| !pre.steps.is_empty()));
    }
}
