//! What can be wrong with a pack before it runs ([`LoadError`]) and while it does ([`KernelError`]).

use std::time::Duration;

/// Why a pack was refused. Nothing of it has run, and the active pack is as it was.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LoadError {
    /// The pack's folder or a file of it cannot be read as a regular file.
    #[error("{path}: {reason}")]
    File {
        /// Relative to the pack, or the pack's own folder.
        path: String,
        /// What the system says, or what stands there instead of a file.
        reason: String,
    },
    /// A path of the manifest is no plain path below the pack.
    #[error(
        "the path {path:?} {reason}; a pack names its files by plain ASCII paths such as rope/rope_f32.wasm"
    )]
    Path {
        /// As the manifest has it.
        path: String,
        /// The rule that it breaks.
        reason: &'static str,
    },
    /// A file is larger than the host reads.
    #[error("{path} is larger than the limit of {limit} bytes")]
    TooLarge {
        /// Relative to the pack.
        path: String,
        /// What the host reads at most.
        limit: u64,
    },
    /// The text of a key is not `ed25519:` and 32 bytes of standard base64.
    #[error("the key {text:?} is not \"ed25519:\" and the base64 of 32 bytes: {reason}")]
    Key {
        /// As configured, shortened.
        text: String,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// The signature file has another length.
    #[error("kernels.json.sig has {bytes} bytes; an Ed25519 signature has 64")]
    SignatureLength {
        /// What it has.
        bytes: usize,
    },
    /// No trusted key made this signature over these bytes.
    #[error(
        "no trusted key signed this manifest ({trusted} trusted); either it was changed, or its author's key is not trusted here"
    )]
    NoTrustedKey {
        /// How many keys were tried.
        trusted: usize,
    },
    /// The manifest names another key than the one that signed it.
    #[error("the manifest says it was signed by {stated}, and {actual} signed it")]
    OtherAuthor {
        /// `author.signing_key`.
        stated: String,
        /// The key that verified.
        actual: String,
    },
    /// The manifest is not what the format asks.
    #[error("kernels.json: {reason}")]
    Manifest {
        /// Where and what.
        reason: String,
    },
    /// A kernel's bytes are not those that were signed.
    #[error("kernel {kernel}: its file has the hash {actual}, the manifest says {expected}")]
    HashMismatch {
        /// Which kernel.
        kernel: String,
        /// Of the manifest.
        expected: String,
        /// Of the bytes.
        actual: String,
    },
    /// The pack needs a newer host.
    #[error("the pack needs version {required} of {part}, and this is {actual}")]
    RuntimeTooOld {
        /// `ruvllm` or `wasmtime`.
        part: &'static str,
        /// The least it takes.
        required: String,
        /// What is here.
        actual: String,
    },
    /// The pack was made for older hosts only.
    #[error("the pack is for versions up to {max_supported}, and this is {actual}")]
    RuntimeTooNew {
        /// The last it takes.
        max_supported: String,
        /// What is here.
        actual: String,
    },
    /// A kernel needs what this host does not offer.
    #[error("kernel {kernel} needs {feature:?}, which this host does not offer")]
    MissingFeature {
        /// Which kernel.
        kernel: String,
        /// By its name in the manifest.
        feature: String,
    },
    /// A kernel is no module that this host runs.
    #[error("kernel {kernel}: {reason}")]
    Module {
        /// Which kernel.
        kernel: String,
        /// What is wrong with it.
        reason: String,
    },
    /// Compiling took too long; the compilation is left to itself.
    #[error("compiling the pack took longer than {limit:?}")]
    CompileTimeout {
        /// The limit.
        limit: Duration,
    },
    /// An older pack of this name than one that was active already.
    #[error(
        "pack {name} {version} is older than {floor}, which was active here; an operator may allow it once"
    )]
    Downgrade {
        /// The pack.
        name: String,
        /// Its version.
        version: String,
        /// The least that is accepted.
        floor: String,
    },
    /// The version that was active had other contents.
    #[error("pack {name} {version} was active here with other contents")]
    OtherContents {
        /// The pack.
        name: String,
        /// Its version.
        version: String,
    },
    /// The name belongs to another author.
    #[error("packs named {name} are signed by {owner} here, this one by {signer}")]
    OtherOwner {
        /// The pack.
        name: String,
        /// The key that signed the first pack of this name.
        owner: String,
        /// The key that signed this one.
        signer: String,
    },
    /// The file with the least versions cannot be used.
    #[error("the version floors {path} cannot be used: {reason}; repair or remove the file")]
    Floors {
        /// The file.
        path: String,
        /// What is wrong with it.
        reason: String,
    },
    /// A kernel does not compute what the native one does.
    #[error("kernel {kernel} fails its health check: {reason}")]
    HealthCheckFailed {
        /// Which kernel.
        kernel: String,
        /// On which case, and how.
        reason: String,
    },
    /// There is nothing to go back to.
    #[error("there is no previous pack to go back to")]
    NoPreviousPack,
    /// The sandbox itself cannot be set up.
    #[error("the sandbox cannot be set up: {reason}")]
    Sandbox {
        /// What Wasmtime says.
        reason: String,
    },
}

/// Why a call of a kernel gave no result. The caller computes it natively instead.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum KernelError {
    /// It ran longer than its budget.
    #[error("the kernel ran longer than its budget")]
    EpochDeadline,
    /// It touched memory that it does not have.
    #[error("the kernel touched memory outside its own")]
    MemoryAccessViolation {
        /// Where, if known: Wasmtime tells only where it uses signals.
        offset: Option<u64>,
        /// How many bytes, if known.
        size: Option<u64>,
    },
    /// `INT_MIN / -1`, or a float outside of the integer's range.
    #[error("an integer overflowed in the kernel")]
    IntegerOverflow,
    /// A division by zero.
    #[error("the kernel divided by zero")]
    IntegerDivisionByZero,
    /// NaN became an integer.
    #[error("the kernel made an integer of NaN")]
    BadConversion,
    /// It ran into `unreachable`: what a panic or an assertion becomes.
    #[error("the kernel ran into `unreachable`")]
    Unreachable,
    /// It called too deep.
    #[error("the kernel's call stack is exhausted")]
    StackOverflow,
    /// It called through a table what is not there, or of another type.
    #[error("the kernel called a function that is not there or of another type")]
    IndirectCallTypeMismatch,
    /// It returned an error code, or another trap happened (codes from 0x1000 on).
    #[error("the kernel failed with code {code}{}", display_message(.message.as_deref()))]
    KernelTrap {
        /// What it returned.
        code: u32,
        /// What the code means, if it is one of the documented.
        message: Option<String>,
    },
    /// It wrote next to its output.
    #[error("the kernel wrote outside its output")]
    OutputOverrun,
    /// It gave NaN or infinities.
    #[error("the kernel's output is not finite")]
    NotFinite,
    /// The tensors of the call do not fit the memory that the pack may have.
    #[error("the call needs {bytes} bytes, more than the kernel's {limit}")]
    TooLarge {
        /// What it needs.
        bytes: u64,
        /// What there is.
        limit: u64,
    },
    /// As many calls as there are instances are under way, or there is no thread to limit their time.
    #[error("all instances of the kernel are in use, or no thread can be had")]
    Busy,
    /// An instance could not be made.
    #[error("an instance of the kernel could not be made: {reason}")]
    Instance {
        /// What Wasmtime says.
        reason: String,
    },
}

fn display_message(message: Option<&str>) -> String {
    message.map_or_else(String::new, |message| format!(": {message}"))
}

impl KernelError {
    /// Whether the kernel itself is to blame, so that its breaker counts it.
    pub fn is_fault(&self) -> bool {
        !matches!(self, Self::Busy | Self::TooLarge { .. })
    }
}
