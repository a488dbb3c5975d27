//! `kernels.json`, strictly: what its fields may hold, and the host's bounds on every number.
//!
//! Only bytes whose signature held come here. Being signed does not make a pack's wishes right: its
//! limits must keep to the host's [`Ceilings`].

use std::collections::BTreeSet;

use crate::error::LoadError;
use crate::verify::files::PackPath;
use crate::verify::manifest::{
    Ceilings, Dimension, KERNEL_IDS, KernelEntry, Manifest, ResourceLimits,
};

/// What `$schema` must say.
const SCHEMA: &str = "https://ruvllm.dev/schemas/kernel-pack-v1.json";
/// Longest string of a manifest, and longest list.
const LONGEST_TEXT: usize = 1024;
const LONGEST_LIST: usize = 64;

impl Manifest {
    /// Parses and checks a manifest whose signature held.
    pub fn parse(bytes: &[u8], ceilings: &Ceilings) -> Result<Self, LoadError> {
        if bytes.len() as u64 > ceilings.manifest_bytes {
            return Err(LoadError::TooLarge {
                path: "kernels.json".to_owned(),
                limit: ceilings.manifest_bytes,
            });
        }
        let manifest: Self =
            serde_json::from_slice(bytes).map_err(|error| fault(error.to_string()))?;
        manifest.check(ceilings)?;
        Ok(manifest)
    }

    fn check(&self, ceilings: &Ceilings) -> Result<(), LoadError> {
        if self.schema != SCHEMA {
            return Err(fault(format!("$schema must be {SCHEMA:?}")));
        }
        let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
        if self.name.is_empty() || self.name.len() > 64 || !self.name.chars().all(plain) {
            return Err(fault(
                "the name has 1 to 64 lower-case letters, digits and '-'".to_owned(),
            ));
        }
        for version in [
            &self.version,
            &self.min_runtime_version,
            &self.max_runtime_version,
        ] {
            if !version.pre.is_empty() || !version.build.is_empty() {
                return Err(fault(format!("version {version} is not of the form X.Y.Z")));
            }
        }
        if self.min_runtime_version > self.max_runtime_version {
            return Err(fault(
                "min_runtime_version is above max_runtime_version".to_owned(),
            ));
        }
        if self.kernels.is_empty() || self.kernels.len() > LONGEST_LIST {
            return Err(fault(format!("a pack has 1 to {LONGEST_LIST} kernels")));
        }
        let author = &self.author;
        let texts = [
            &self.description,
            &self.created_at,
            &author.name,
            &author.email,
        ];
        check_texts(texts.into_iter())?;
        self.check_unique()?;
        self.check_fallbacks()?;
        self.kernels
            .iter()
            .try_for_each(|kernel| kernel.check(ceilings))
    }

    fn check_unique(&self) -> Result<(), LoadError> {
        let (mut ids, mut paths) = (BTreeSet::new(), BTreeSet::new());
        for kernel in &self.kernels {
            if !ids.insert(&kernel.id) {
                return Err(fault(format!("two kernels are called {:?}", kernel.id)));
            }
            // One file on systems that do not tell upper from lower case.
            if !paths.insert(kernel.path.to_ascii_lowercase()) {
                return Err(fault(format!(
                    "two kernels share the path {:?}",
                    kernel.path
                )));
            }
        }
        Ok(())
    }

    /// A fallback is a native program, never a kernel: so there is no circle of them.
    fn check_fallbacks(&self) -> Result<(), LoadError> {
        for (kernel, reference) in self.fallbacks.iter() {
            if !self.kernels.iter().any(|entry| entry.id == *kernel) {
                return Err(fault(format!(
                    "fallbacks: the pack has no kernel {kernel:?}"
                )));
            }
            if reference_of(kernel) != Some(reference.as_str()) {
                return Err(fault(format!(
                    "fallbacks: {reference:?} is not what stands in for {kernel}"
                )));
            }
        }
        Ok(())
    }
}

/// What stands in for a kernel, if the host has a place for it.
fn reference_of(id: &str) -> Option<&'static str> {
    let found = KERNEL_IDS.iter().find(|(known, _)| *known == id);
    found.map(|(_, reference)| *reference)
}

impl KernelEntry {
    fn check(&self, ceilings: &Ceilings) -> Result<(), LoadError> {
        let wrong = |reason: String| fault(format!("kernel {:?}: {reason}", self.id));
        if reference_of(&self.id).is_none() {
            let known: Vec<_> = KERNEL_IDS.iter().map(|(id, _)| *id).collect();
            return Err(wrong(format!(
                "the host has no place for it; it knows {}",
                known.join(", ")
            )));
        }
        PackPath::new(&self.path)?;
        if !is_hash(&self.hash) {
            return Err(wrong(
                "the hash is sha256: and 64 lower-case hexadecimal digits".to_owned(),
            ));
        }
        let plain = |c: char| c.is_ascii_alphanumeric() || c == '_';
        if self.entry_point.is_empty()
            || self.entry_point.len() > 64
            || !self.entry_point.chars().all(plain)
        {
            return Err(wrong(
                "the entry point is a name of letters, digits and '_'".to_owned(),
            ));
        }
        if self.platforms.wasmtime.is_some() && self.platforms.pulley.is_some() {
            return Err(wrong(
                "its file cannot be for \"wasmtime\" and for \"pulley\"".to_owned(),
            ));
        }
        self.check_lists()?;
        self.resource_limits.check(ceilings).map_err(wrong)
    }

    fn check_lists(&self) -> Result<(), LoadError> {
        let tensors = || self.inputs.iter().chain(&self.outputs);
        let features = self
            .platforms
            .wasmtime
            .iter()
            .flat_map(|platform| &platform.features);
        let names = tensors().flat_map(|tensor| {
            tensor.shape.iter().filter_map(|dimension| match dimension {
                Dimension::Name(name) => Some(name),
                Dimension::Size(_) => None,
            })
        });
        let lists = [
            self.inputs.len(),
            self.outputs.len(),
            features.clone().count(),
        ];
        let longest = tensors()
            .map(|tensor| tensor.shape.len())
            .chain(lists)
            .max();
        if longest.is_some_and(|length| length > LONGEST_LIST) {
            return Err(fault(format!(
                "kernel {:?}: a list has more than {LONGEST_LIST} items",
                self.id
            )));
        }
        let texts = tensors().flat_map(|tensor| [&tensor.name, &tensor.dtype]);
        check_texts(
            [&self.name, &self.category]
                .into_iter()
                .chain(texts)
                .chain(names)
                .chain(features),
        )
    }
}

impl ResourceLimits {
    fn check(&self, ceilings: &Ceilings) -> Result<(), String> {
        let limits = [
            (
                "max_memory_pages",
                u64::from(self.memory_pages),
                u64::from(ceilings.memory_pages),
                1,
            ),
            ("max_epoch_ticks", self.epoch_ticks, ceilings.epoch_ticks, 1),
            (
                "max_table_elements",
                u64::from(self.table_elements),
                u64::from(ceilings.table_elements),
                0,
            ),
        ];
        for (name, value, most, least) in limits {
            if value < least || value > most {
                return Err(format!(
                    "{name} is {value}; this host gives {least} to {most}"
                ));
            }
        }
        Ok(())
    }
}

fn is_hash(text: &str) -> bool {
    let digit = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
    text.strip_prefix("sha256:")
        .is_some_and(|digits| digits.len() == 64 && digits.bytes().all(digit))
}

fn check_texts<'a>(mut texts: impl Iterator<Item = &'a String>) -> Result<(), LoadError> {
    match texts.find(|text| text.len() > LONGEST_TEXT) {
        Some(_) => Err(fault(format!("a text is longer than {LONGEST_TEXT} bytes"))),
        None => Ok(()),
    }
}

fn fault(reason: String) -> LoadError {
    LoadError::Manifest { reason }
}
