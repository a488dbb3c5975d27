//! The mixes that people ask for by name: which tensor gets which type.
//!
//! Names and choices are those of llama.cpp, so that a file means the same wherever it was made: some layers'
//! values and last feed-forward maps, on which most depends, get more bits than the rest.

use TensorType::{
    Bf16, F16, F32, Iq4Nl, Iq4Xs, Q2K, Q3K, Q4_0, Q4_1, Q4K, Q5_0, Q5_1, Q5K, Q6K, Q8_0,
};
use ruvllm_formats::TensorType;

use super::kind::{Kind, Part};
use super::outgoing::Outgoing;
use crate::error::{Error, Result};

/// When a tensor gets another type than usual.
#[derive(Debug, Clone, Copy)]
enum When {
    Always,
    /// Among the first so many.
    First(usize),
    /// In the first of so many equal parts of the layers.
    FirstOf(usize),
    /// In the first eighth, the last eighth, or each third layer between.
    Ends,
    /// Where four query heads or more share them.
    ManyShare,
}

impl When {
    fn holds(self, kind: &Kind) -> bool {
        let (index, of) = (kind.index, kind.of);
        match self {
            Self::Always => true,
            Self::First(count) => index < count,
            Self::FirstOf(parts) => index < of / parts,
            Self::Ends => {
                let eighth = of / 8;
                index < eighth || index >= 7 * of / 8 || (index - eighth) % 3 == 2
            }
            Self::ManyShare => kind.many_share,
        }
    }
}

/// The first that holds decides.
type Lifts = &'static [(When, TensorType)];

/// A row of the list.
#[derive(Debug)]
struct Row {
    name: &'static str,
    /// GGUF's number of it.
    number: u32,
    usual: TensorType,
    values: Lifts,
    downs: Lifts,
    outputs: Lifts,
}

const fn row(name: &'static str, number: u32, usual: TensorType) -> Row {
    Row {
        name,
        number,
        usual,
        values: &[],
        downs: &[],
        outputs: &[],
    }
}

const ROWS: [Row; 19] = [
    row("F32", 0, F32),
    row("F16", 1, F16),
    row("BF16", 32, Bf16),
    row("Q8_0", 7, Q8_0),
    row("Q5_1", 9, Q5_1),
    row("Q5_0", 8, Q5_0),
    row("Q4_1", 3, Q4_1),
    row("Q4_0", 2, Q4_0),
    row("Q6_K", 18, Q6K),
    Row {
        values: &[(When::Ends, Q6K)],
        downs: &[(When::Ends, Q6K)],
        ..row("Q5_K_M", 17, Q5K)
    },
    row("Q5_K_S", 16, Q5K),
    Row {
        values: &[(When::Ends, Q6K)],
        downs: &[(When::Ends, Q6K)],
        ..row("Q4_K_M", 15, Q4K)
    },
    Row {
        values: &[(When::First(4), Q5K)],
        downs: &[(When::FirstOf(8), Q5K)],
        ..row("Q4_K_S", 14, Q4K)
    },
    Row {
        values: &[(When::ManyShare, Q5K)],
        downs: &[(When::FirstOf(8), Q5K)],
        ..row("IQ4_NL", 25, Iq4Nl)
    },
    Row {
        values: &[(When::ManyShare, Q5K)],
        downs: &[(When::FirstOf(8), Q5K)],
        ..row("IQ4_XS", 30, Iq4Xs)
    },
    Row {
        values: &[(When::Always, Q5K)],
        downs: &[(When::Always, Q5K)],
        outputs: &[(When::Always, Q5K)],
        ..row("Q3_K_L", 13, Q3K)
    },
    Row {
        values: &[(When::First(2), Q5K), (When::Always, Q4K)],
        downs: &[(When::FirstOf(16), Q5K), (When::Always, Q4K)],
        outputs: &[(When::Always, Q4K)],
        ..row("Q3_K_M", 12, Q3K)
    },
    row("Q3_K_S", 11, Q3K),
    Row {
        values: &[(When::ManyShare, Q4K), (When::Always, Q3K)],
        downs: &[(When::Always, Q3K)],
        outputs: &[(When::Always, Q3K)],
        ..row("Q2_K", 10, Q2K)
    },
];

/// One of the mixes, or a plain type.
#[derive(Debug, Clone, Copy)]
pub struct Mix(&'static Row);

impl Mix {
    /// The mix of that name.
    pub fn named(name: &str) -> Result<Self> {
        static KNOWN: [Row; ROWS.len()] = ROWS;
        let found = KNOWN.iter().find(|row| row.name == name);
        found.map(Self).ok_or_else(|| {
            let known = Self::names().join(", ");
            Error::Config(format!("type is '{name}'; allowed here: {known}"))
        })
    }

    /// All names, those of the most bits first.
    pub fn names() -> [&'static str; ROWS.len()] {
        ROWS.map(|row| row.name)
    }

    /// What GGUF files call it.
    pub(super) fn number(self) -> u32 {
        self.0.number
    }

    /// The type that a tensor gets.
    pub(super) fn tensor_type(self, tensor: &Outgoing, kind: &Kind) -> TensorType {
        let usual = self.0.usual;
        let columns = tensor.shape.last().copied().unwrap_or(1);
        let wanted = match kind.part {
            Part::Kept => return tensor.kept_type,
            _ if !is_blocks(usual) => return usual,
            // What every token goes through twice.
            Part::Head if !columns.is_multiple_of(usual.block_elements()) => Q8_0,
            Part::Head if usual != Q8_0 => Q6K,
            Part::Values => self.for_values(kind),
            Part::Keys if kind.has_experts => Q8_0,
            Part::AttentionOutput
                if kind.has_experts && matches!(usual, Q2K | Q3K | Q4K | Iq4Nl | Iq4Xs) =>
            {
                Q5K
            }
            Part::AttentionOutput if !kind.has_experts => lifted(self.0.outputs, usual, kind),
            Part::Down => lifted(self.0.downs, usual, kind),
            _ => usual,
        };
        fitting(wanted, columns)
    }

    fn for_values(self, kind: &Kind) -> TensorType {
        let lifted = lifted(self.0.values, self.0.usual, kind);
        match lifted {
            _ if kind.has_experts => Q8_0,
            Q3K | Q4K if kind.is_deep => Q5K,
            _ => lifted,
        }
    }
}

fn is_blocks(tensor_type: TensorType) -> bool {
    tensor_type.block_elements() > 1
}

fn lifted(lifts: Lifts, usual: TensorType, kind: &Kind) -> TensorType {
    let lift = lifts.iter().find(|(when, _)| when.holds(kind));
    lift.map_or(usual, |(_, lifted)| *lifted)
}

/// The type, or the next better one of shorter blocks where rows are not whole blocks of it.
fn fitting(wanted: TensorType, columns: usize) -> TensorType {
    let shorter = match wanted {
        Q2K | Q3K => Q4_0,
        Q4K => Q5_0,
        Q5K => Q5_1,
        Q6K => Q8_0,
        Iq4Xs => Iq4Nl,
        _ => F16,
    };
    let types = [wanted, shorter, F16];
    let fits = types
        .into_iter()
        .find(|each| columns.is_multiple_of(each.block_elements()));
    fits.unwrap_or(F16)
}
