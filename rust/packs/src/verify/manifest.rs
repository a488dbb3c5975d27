//! What `kernels.json` says, as data: every field known, no name twice. `manifest_check` judges it.

use semver::Version;
use serde::Deserialize;

use crate::verify::strict_map::StrictMap;

/// The entry point of a kernel that names none.
pub(crate) const DEFAULT_ENTRY: &str = "kernel_forward";

/// The kernels that the host has a place for, each with the native program that stands in for it.
pub const KERNEL_IDS: [(&str, &str); 13] = [
    ("rope_f32", "rope_reference"),
    ("rope_f16", "rope_reference"),
    ("rope_q8", "rope_reference"),
    ("rmsnorm_f32", "rmsnorm_reference"),
    ("rmsnorm_f16", "rmsnorm_reference"),
    ("swiglu_f32", "swiglu_reference"),
    ("swiglu_f16", "swiglu_reference"),
    ("kv_pack_q4", "kv_pack_reference"),
    ("kv_pack_q8", "kv_pack_reference"),
    ("kv_unpack_q4", "kv_unpack_reference"),
    ("kv_unpack_q8", "kv_unpack_reference"),
    ("lora_apply_f32", "lora_apply_reference"),
    ("lora_apply_f16", "lora_apply_reference"),
];

/// The most that a host gives to packs, whatever they ask.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ceilings {
    /// 64 KiB pages of a kernel's memory.
    pub memory_pages: u32,
    /// Ticks that a call may take.
    pub epoch_ticks: u64,
    /// Elements of its table.
    pub table_elements: u32,
    /// Bytes of a module.
    pub module_bytes: u64,
    /// Functions of a module.
    pub functions: u32,
    /// Bytes of a manifest.
    pub manifest_bytes: u64,
}

impl Default for Ceilings {
    fn default() -> Self {
        Self {
            memory_pages: 256,
            epoch_ticks: 1000,
            table_elements: 1024,
            module_bytes: 1 << 20,
            functions: 256,
            manifest_bytes: 1 << 20,
        }
    }
}

/// A checked manifest.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// The schema's address.
    #[serde(rename = "$schema")]
    pub schema: String,
    /// The pack's version; releases only, so that they have one order.
    pub version: Version,
    /// The pack's name.
    pub name: String,
    /// For people.
    #[serde(default)]
    pub description: String,
    /// The first version of RuvLLM that it runs on.
    pub min_runtime_version: Version,
    /// The last one, included.
    pub max_runtime_version: Version,
    /// For people.
    pub created_at: String,
    /// Who made it.
    pub author: Author,
    /// What it holds.
    pub kernels: Vec<KernelEntry>,
    /// By kernel the native program that stands in for it.
    #[serde(default)]
    pub fallbacks: StrictMap<String>,
}

/// Who made a pack.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Author {
    /// For people.
    pub name: String,
    /// For people.
    #[serde(default)]
    pub email: String,
    /// The key that signs; must be the one that did.
    pub signing_key: String,
}

/// A kernel of a manifest.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KernelEntry {
    /// One of [`KERNEL_IDS`].
    pub id: String,
    /// For people.
    pub name: String,
    /// For people.
    pub category: String,
    /// Below the pack.
    pub path: String,
    /// `sha256:` and 64 hexadecimal digits in lower case.
    pub hash: String,
    /// The export that is called.
    #[serde(default = "default_entry")]
    pub entry_point: String,
    /// What goes in.
    pub inputs: Vec<TensorEntry>,
    /// What comes out.
    pub outputs: Vec<TensorEntry>,
    /// Documented parameters.
    #[serde(default)]
    pub params: StrictMap<ParamEntry>,
    /// What it may use.
    pub resource_limits: ResourceLimits,
    /// What it runs on.
    pub platforms: Platforms,
    /// What its author measured; for people.
    #[serde(default)]
    pub benchmarks: StrictMap<StrictMap<f64>>,
}

fn default_entry() -> String {
    DEFAULT_ENTRY.to_owned()
}

/// A tensor of a kernel; for people.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TensorEntry {
    /// Its name.
    pub name: String,
    /// Its elements.
    pub dtype: String,
    /// Its dimensions, by name or number.
    pub shape: Vec<Dimension>,
}

/// A dimension of a tensor.
#[derive(Debug, Clone, Deserialize)]
#[serde(untagged)]
pub enum Dimension {
    /// As large as this.
    Size(u32),
    /// As large as the call says.
    Name(String),
}

/// A parameter of a kernel; for people: the page of the ABI has the layout.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ParamEntry {
    /// `f32` or `u32`.
    #[serde(rename = "type")]
    pub kind: String,
    /// What it usually is.
    #[serde(default)]
    pub default: Option<f64>,
}

/// What a kernel may use.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ResourceLimits {
    /// 64 KiB pages.
    #[serde(rename = "max_memory_pages")]
    pub memory_pages: u32,
    /// Ticks that a call may take.
    #[serde(rename = "max_epoch_ticks")]
    pub epoch_ticks: u64,
    /// Elements of its table.
    #[serde(rename = "max_table_elements")]
    pub table_elements: u32,
}

/// What a kernel runs on.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Platforms {
    /// Servers, which compile.
    #[serde(default)]
    pub wasmtime: Option<WasmtimePlatform>,
    /// Devices without a compiler: the file is what `Sandbox::precompile` made of the module.
    #[serde(default)]
    pub pulley: Option<PulleyPlatform>,
    /// Small devices; not read here.
    #[serde(default)]
    pub wamr: Option<WamrPlatform>,
}

/// What a kernel needs of Wasmtime.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WasmtimePlatform {
    /// The first version.
    pub min_version: Version,
    /// Proposals of WebAssembly.
    #[serde(default)]
    pub features: Vec<String>,
}

/// What a kernel was compiled for.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PulleyPlatform {
    /// Whose compiler it was; code of another major version does not run.
    pub wasmtime: Version,
}

/// What a kernel needs of WAMR; not read here.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WamrPlatform {
    /// The first version.
    pub min_version: Version,
    /// Whether it can be compiled ahead.
    #[serde(default)]
    pub aot_available: bool,
}
