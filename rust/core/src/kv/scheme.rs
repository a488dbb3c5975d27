//! How keys and values are kept: in one format, or the last tokens in a second one beside it.

use ruvllm_kernels::KvFormat;

use crate::error::{Error, Result};

/// So many of the last tokens have more bits, where a format wants that and nobody says how many.
const TAIL_TOKENS: usize = 128;
/// The same of 3 bits, of which a longer tail would be a larger part.
const SHORT_TAIL_TOKENS: usize = 96;
/// Layers that see no further keep all of it as a tail is kept: it is bounded, and a tail beside a store of it would take
/// nearly as much.
const NEAR_WINDOW: usize = 1024;

/// The last tokens in a format of their own, until others push them out; the store has all of them from the beginning, so that
/// nothing is converted later.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KvTail {
    /// A query sees so many there, itself included.
    pub tokens: usize,
    /// How they are kept.
    pub format: KvFormat,
}

/// What is asked for; the rest is as it goes with a model, or with the format.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct KvWanted {
    /// Of all tokens.
    pub format: Option<KvFormat>,
    /// How many of the last ones have another format; 0: none.
    pub tail_tokens: Option<usize>,
    /// Which.
    pub tail_format: Option<KvFormat>,
}

impl KvWanted {
    /// A format, and whatever goes with it.
    pub fn format(format: KvFormat) -> Self {
        Self {
            format: Some(format),
            ..Self::default()
        }
    }

    /// The same by names, of which `auto` leaves the format to the model.
    pub fn named(
        format: &str,
        tail_tokens: Option<usize>,
        tail_format: Option<&str>,
    ) -> Result<Self> {
        let format = match format {
            "auto" => None,
            name => Some(known("kv_format", name)?),
        };
        let tail = tail_format.map(|name| known("kv_tail_format", name));
        Ok(Self {
            format,
            tail_tokens,
            tail_format: tail.transpose()?,
        })
    }

    /// The formats, where the one that goes with the model is known, and its longest context. A tail has more bits than the
    /// store, and somebody reads the store.
    pub fn scheme(self, fitting: KvFormat, max_context: usize) -> Result<KvScheme> {
        let store = self.format.unwrap_or(fitting);
        // What is near weighs most in a query, and keys of 4 bits and fewer are too rough for it.
        let usual = match store {
            KvFormat::Q3 => SHORT_TAIL_TOKENS,
            KvFormat::Q4 => TAIL_TOKENS,
            KvFormat::F32 | KvFormat::I16 | KvFormat::I8 | KvFormat::K8V4 => 0,
        };
        let tail = KvTail {
            tokens: self.tail_tokens.unwrap_or(usual),
            format: self.tail_format.unwrap_or(KvFormat::I8),
        };
        if tail.tokens == 0 {
            return match self.tail_format {
                None => Ok(KvScheme::plain(store)),
                Some(format) => Err(Error::Config(format!(
                    "kv_tail_format is '{}', and there is no tail; give kv_tail, or leave it out",
                    format.name()
                ))),
            };
        }
        let (near, all) = (tail.format.bits(), store.bits());
        if near.0 < all.0 || near.1 < all.1 || near == all {
            return Err(Error::Config(format!(
                "kv_tail is {}, and a tail in {} keeps no more than {} does for all tokens; leave it out, or \
                 give kv_tail_format or kv_format",
                tail.tokens,
                tail.format.name(),
                store.name()
            )));
        }
        if tail.tokens >= max_context {
            return Ok(KvScheme::plain(tail.format));
        }
        Ok(KvScheme {
            store,
            tail: Some(tail),
        })
    }
}

/// The format of a name.
fn known(setting: &str, name: &str) -> Result<KvFormat> {
    let found = KvFormat::NAMED.iter().find(|(known, _)| *known == name);
    found.map(|(_, format)| *format).ok_or_else(|| {
        let names = KvFormat::NAMED.map(|(known, _)| known).join(", ");
        Error::Config(format!("{setting} is '{name}'; allowed here: {names}"))
    })
}

/// The formats of an engine's cache.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KvScheme {
    /// Of all tokens.
    pub store: KvFormat,
    /// Of the last ones.
    pub tail: Option<KvTail>,
}

impl KvScheme {
    /// One format, with a tail only where one is given.
    pub const fn plain(store: KvFormat) -> Self {
        Self { store, tail: None }
    }

    /// The tiers of a layer that sees `window` positions: what of them has which format. Which comes first matters for bits.
    pub(super) fn tiers(self, window: Option<usize>) -> Vec<TierFormat> {
        let Some(tail) = self.tail else {
            return vec![TierFormat::whole(self.store, window)];
        };
        if window.is_some_and(|window| window <= tail.tokens.max(NEAR_WINDOW)) {
            return vec![TierFormat::whole(tail.format, window)];
        }
        let store = TierFormat {
            behind: tail.tokens,
            ..TierFormat::whole(self.store, window)
        };
        vec![store, TierFormat::whole(tail.format, Some(tail.tokens))]
    }
}

/// What of a layer has one format.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct TierFormat {
    pub(super) format: KvFormat,
    /// So many positions, counted from the query back.
    pub(super) window: Option<usize>,
    /// But for so many, which another tier has.
    pub(super) behind: usize,
}

impl TierFormat {
    fn whole(format: KvFormat, window: Option<usize>) -> Self {
        Self {
            format,
            window,
            behind: 0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scheme(
        format: &str,
        tail: Option<usize>,
        tail_format: Option<&str>,
    ) -> std::result::Result<KvScheme, String> {
        let wanted = KvWanted::named(format, tail, tail_format).unwrap();
        let scheme = wanted.scheme(KvFormat::I16, 512);
        scheme.map_err(|error| error.to_string())
    }

    fn with_tail(store: KvFormat, tokens: usize, format: KvFormat) -> KvScheme {
        KvScheme {
            store,
            tail: Some(KvTail { tokens, format }),
        }
    }

    #[test]
    fn a_format_brings_its_tail_and_takes_another() {
        let usual = with_tail(KvFormat::Q4, TAIL_TOKENS, KvFormat::I8);
        assert_eq!(scheme("q4", None, None), Ok(usual));
        let rougher = with_tail(KvFormat::Q3, SHORT_TAIL_TOKENS, KvFormat::I8);
        assert_eq!(scheme("q3", None, None), Ok(rougher));
        let other = with_tail(KvFormat::Q4, 7, KvFormat::I16);
        assert_eq!(scheme("q4", Some(7), Some("int16")), Ok(other));
        assert_eq!(
            scheme("q4", Some(0), None),
            Ok(KvScheme::plain(KvFormat::Q4))
        );
        assert_eq!(
            scheme("auto", None, None),
            Ok(KvScheme::plain(KvFormat::I16))
        );
        let bytes = with_tail(KvFormat::K8V4, 9, KvFormat::I16);
        assert_eq!(scheme("k8v4", Some(9), Some("int16")), Ok(bytes));
    }

    #[test]
    fn a_tail_over_the_whole_context_is_all() {
        assert_eq!(
            scheme("q4", Some(512), None),
            Ok(KvScheme::plain(KvFormat::I8))
        );
        let nearly = with_tail(KvFormat::Q4, 511, KvFormat::I8);
        assert_eq!(scheme("q4", Some(511), None), Ok(nearly));
        assert_eq!(
            scheme("q4", Some(usize::MAX), Some("f32")),
            Ok(KvScheme::plain(KvFormat::F32))
        );
    }

    #[test]
    fn what_keeps_no_more_is_refused() {
        // One of each pair keeps more of keys, of values or of both, or it is no tail of the other.
        let bits = |name: &str| match name {
            "f32" => (32, 32),
            "int16" => (16, 16),
            "int8" => (8, 8),
            "k8v4" => (8, 4),
            "q4" => (4, 4),
            _ => (3, 3),
        };
        for (store, _) in KvFormat::NAMED {
            for (near, _) in KvFormat::NAMED {
                let (s, n) = (bits(store), bits(near));
                let keeps_more = n != s && n.0 >= s.0 && n.1 >= s.1;
                let is_taken = scheme(store, Some(16), Some(near)).is_ok();
                assert_eq!(is_taken, keeps_more, "{near} over {store}");
            }
        }
        for (format, tail, tail_format, problem) in [
            (
                "int8",
                Some(16),
                None,
                "a tail in int8 keeps no more than int8",
            ),
            (
                "auto",
                Some(16),
                None,
                "a tail in int8 keeps no more than int16",
            ),
            ("int16", Some(16), Some("int8"), "keeps no more"),
            ("f32", Some(16), Some("f32"), "keeps no more"),
            ("int8", None, Some("int16"), "there is no tail"),
            ("q4", Some(0), Some("int16"), "there is no tail"),
        ] {
            let refused = scheme(format, tail, tail_format).unwrap_err();
            assert!(refused.contains(problem), "{refused}");
        }
        let unknown = KvWanted::named("q5", None, None).unwrap_err().to_string();
        assert!(unknown.contains("kv_format is 'q5'; allowed here: int16, f32"));
        assert!(KvWanted::named("q4", None, Some("q5")).is_err());
    }
}
