//! Which operation ran where, and why it did not run in the pack.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::error::KernelError;

/// An operation that packs may take over.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Operation {
    /// RMSNorm.
    RmsNorm,
    /// Rotary embedding.
    Rope,
    /// A gated activation.
    Swiglu,
    /// What a low-rank adapter adds.
    LoraApply,
    /// Packing keys or values.
    KvPack,
    /// Unpacking them.
    KvUnpack,
}

impl Operation {
    /// All of them.
    pub const ALL: [Self; 6] = [
        Self::RmsNorm,
        Self::Rope,
        Self::Swiglu,
        Self::LoraApply,
        Self::KvPack,
        Self::KvUnpack,
    ];
    /// Those that the engine asks for; it has neither adapters nor packed keys and values yet.
    pub const IN_FORWARD_PASS: [Self; 3] = [Self::RmsNorm, Self::Rope, Self::Swiglu];

    /// Its name in reports.
    pub fn name(self) -> &'static str {
        match self {
            Self::RmsNorm => "rmsnorm",
            Self::Rope => "rope",
            Self::Swiglu => "swiglu",
            Self::LoraApply => "lora_apply",
            Self::KvPack => "kv_pack",
            Self::KvUnpack => "kv_unpack",
        }
    }

    /// The kernels that do it, one a format.
    pub fn kernel_ids(self) -> &'static [&'static str] {
        match self {
            Self::RmsNorm => &["rmsnorm_f32"],
            Self::Rope => &["rope_f32"],
            Self::Swiglu => &["swiglu_f32"],
            Self::LoraApply => &["lora_apply_f32", "lora_apply_f16"],
            Self::KvPack => &["kv_pack_q4", "kv_pack_q8"],
            Self::KvUnpack => &["kv_unpack_q4", "kv_unpack_q8"],
        }
    }
}

/// Why a call of the pack was computed natively after all.
const REASONS: [&str; 8] = [
    "deadline",
    "trap",
    "error_code",
    "overrun",
    "not_finite",
    "too_large",
    "busy",
    "broken",
];
/// The last reason: the breaker is open.
pub(crate) const BROKEN: usize = REASONS.len() - 1;

/// The reason's place in [`REASONS`].
pub(crate) fn reason_of(error: &KernelError) -> usize {
    match error {
        KernelError::EpochDeadline => 0,
        KernelError::KernelTrap { code, .. } if *code < 0x1000 => 2,
        KernelError::OutputOverrun => 3,
        KernelError::NotFinite => 4,
        KernelError::TooLarge { .. } => 5,
        KernelError::Busy => 6,
        _ => 1,
    }
}

/// Counts of one operation, apart from those of others so that threads do not share a cache line.
#[derive(Debug, Default)]
#[repr(align(128))]
struct Counts {
    pack: AtomicU64,
    native: AtomicU64,
    fallbacks: [AtomicU64; REASONS.len()],
}

/// Counts since the process began; they outlive packs.
#[derive(Debug, Default)]
pub struct Counters([Counts; Operation::ALL.len()]);

/// The counts of one operation at one moment.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CallCounts {
    /// Calls whose result is the pack's.
    pub pack: u64,
    /// Calls computed natively, whether or not the pack was asked.
    pub native: u64,
    /// Of those the ones that the pack should have computed, by reason.
    pub fallbacks: BTreeMap<&'static str, u64>,
}

impl Counters {
    pub(crate) fn count_pack(&self, operation: Operation) {
        self.0[operation as usize]
            .pack
            .fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn count_native(&self, operation: Operation) {
        self.0[operation as usize]
            .native
            .fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn count_fallback(&self, operation: Operation, reason: usize) {
        self.0[operation as usize].fallbacks[reason].fetch_add(1, Ordering::Relaxed);
    }

    /// The counts of an operation.
    pub fn of(&self, operation: Operation) -> CallCounts {
        let counts = &self.0[operation as usize];
        let fallbacks = REASONS.iter().zip(&counts.fallbacks);
        let fallbacks = fallbacks.map(|(reason, count)| (*reason, count.load(Ordering::Relaxed)));
        CallCounts {
            pack: counts.pack.load(Ordering::Relaxed),
            native: counts.native.load(Ordering::Relaxed),
            fallbacks: fallbacks.filter(|(_, count)| *count > 0).collect(),
        }
    }
}
