//! The least version of one pack that is still accepted, as it stands in the file of floors.

use std::collections::BTreeMap;

use semver::Version;
use serde::{Deserialize, Serialize};

use crate::pack::Pack;

/// The floor of each pack's name.
pub(crate) type ByName = BTreeMap<String, Floor>;

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Floor {
    pub(super) version: Version,
    /// Of the manifest.
    pub(super) digest: String,
    pub(super) signer: String,
}

impl Floor {
    pub(crate) fn of(pack: &Pack) -> Self {
        Self {
            version: pack.version().clone(),
            digest: pack.digest().to_owned(),
            signer: pack.signer().text(),
        }
    }
}
