//! Under which key prefixes are known.

/// What besides the tokens decides about keys and values. Model and format are the engine's own.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Namespace {
    /// Whose: tenants share nothing, so that none can tell by the time what another one asked.
    pub tenant: String,
    /// The generation of the adapter; 0 is the model alone.
    pub adapter: u64,
    /// Under which rotary frequencies, a bit for each of the model's.
    pub rotary: u64,
}

/// Whether an account is a tenant's, or that of one below it.
pub(super) fn is_of(name: &str, tenant: &str) -> bool {
    name.strip_prefix(tenant)
        .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}
