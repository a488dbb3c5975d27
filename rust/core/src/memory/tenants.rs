//! Tenants and their quotas, in a hierarchy: `org/team/user` counts for `org/team` and `org`, too.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::error::{Error, Result};

/// Tenants that hold nothing and have no quota are forgotten once there are more than this.
const KEPT_TENANTS: usize = 1024;
/// Levels of a tenant's name.
const MAX_LEVELS: usize = 8;
/// Bytes of a tenant's name.
const MAX_NAME: usize = 256;

/// All tenants.
#[derive(Debug, Default)]
pub struct Tenants {
    known: Mutex<BTreeMap<String, Arc<Tenant>>>,
}

/// One tenant's account.
#[derive(Debug)]
pub struct Tenant {
    name: String,
    parent: Option<Arc<Tenant>>,
    used: AtomicUsize,
    highest: AtomicUsize,
    /// `usize::MAX` where there is none.
    quota: AtomicUsize,
}

/// One tenant's figures.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TenantStats {
    /// Its name.
    pub tenant: String,
    /// Bytes it holds, those of tenants below it included.
    pub used_bytes: usize,
    /// The most it ever held.
    pub highest_bytes: usize,
    /// What it may hold.
    pub quota_bytes: Option<usize>,
}

/// Bytes on a tenant's account; they come off when it is dropped.
#[derive(Debug)]
pub struct Charge {
    tenant: Arc<Tenant>,
    bytes: usize,
}

impl Tenants {
    /// The tenant of that name, with those above it.
    pub fn tenant(&self, name: &str) -> Result<Arc<Tenant>> {
        check_name(name)?;
        let mut known = self.lock();
        if known.len() > KEPT_TENANTS {
            known.retain(|_, tenant| Arc::strong_count(tenant) > 1 || tenant.quota().is_some());
        }
        Ok(find_or_add(&mut known, name))
    }

    /// Sets or lifts what a tenant and all below it may hold together.
    pub fn set_quota(&self, name: &str, bytes: Option<usize>) -> Result<()> {
        let tenant = self.tenant(name)?;
        tenant
            .quota
            .store(bytes.unwrap_or(usize::MAX), Ordering::Release);
        Ok(())
    }

    /// The figures of everyone known, by name.
    pub fn stats(&self) -> Vec<TenantStats> {
        self.lock().values().map(|tenant| tenant.stats()).collect()
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, Arc<Tenant>>> {
        // Each change is one call on the map, so a panic cannot leave it half changed.
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn find_or_add(known: &mut BTreeMap<String, Arc<Tenant>>, name: &str) -> Arc<Tenant> {
    if let Some(tenant) = known.get(name) {
        return Arc::clone(tenant);
    }
    let parent = name
        .rsplit_once('/')
        .map(|(above, _)| find_or_add(known, above));
    let tenant = Arc::new(Tenant {
        name: name.to_owned(),
        parent,
        used: AtomicUsize::new(0),
        highest: AtomicUsize::new(0),
        quota: AtomicUsize::new(usize::MAX),
    });
    known.insert(name.to_owned(), Arc::clone(&tenant));
    tenant
}

fn check_name(name: &str) -> Result<()> {
    let levels = name.split('/').count();
    let is_fine = name.len() <= MAX_NAME
        && levels <= MAX_LEVELS
        && (name.is_empty() || name.split('/').all(|part| !part.is_empty()))
        && !name.chars().any(char::is_control);
    if is_fine {
        return Ok(());
    }
    Err(Error::Config(format!(
        "tenant is {name:?}; it must be a name or names joined by '/', {MAX_LEVELS} at most, \
         {MAX_NAME} bytes in all"
    )))
}

impl Tenant {
    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What it may hold.
    pub fn quota(&self) -> Option<usize> {
        let quota = self.quota.load(Ordering::Acquire);
        (quota != usize::MAX).then_some(quota)
    }

    /// What it may still take, by its own quota and those above; `None` where there is none.
    pub fn room(&self) -> Option<usize> {
        let own = self
            .quota()
            .map(|quota| quota.saturating_sub(self.used.load(Ordering::Acquire)));
        let above = self.parent.as_ref().and_then(|parent| parent.room());
        match (own, above) {
            (Some(own), Some(above)) => Some(own.min(above)),
            (own, above) => own.or(above),
        }
    }

    /// Puts bytes on the account, and on those above; the tenant whose quota forbids it otherwise.
    pub fn charge(self: &Arc<Self>, bytes: usize) -> std::result::Result<Charge, Arc<Self>> {
        let mut account = Some(self);
        while let Some(tenant) = account {
            if !tenant.add(bytes) {
                self.take_off(bytes, Some(tenant));
                return Err(Arc::clone(tenant));
            }
            account = tenant.parent.as_ref();
        }
        Ok(Charge {
            tenant: Arc::clone(self),
            bytes,
        })
    }

    fn add(&self, bytes: usize) -> bool {
        let quota = self.quota.load(Ordering::Acquire);
        let added = self
            .used
            .fetch_update(Ordering::AcqRel, Ordering::Acquire, |used| {
                used.checked_add(bytes).filter(|used| *used <= quota)
            });
        if let Ok(before) = added {
            self.highest.fetch_max(before + bytes, Ordering::AcqRel);
        }
        added.is_ok()
    }

    /// Takes bytes off this account and those above, up to one that is left out.
    fn take_off(self: &Arc<Self>, bytes: usize, until: Option<&Arc<Self>>) {
        let mut account = Some(self);
        while let Some(tenant) = account {
            if until.is_some_and(|until| Arc::ptr_eq(until, tenant)) {
                return;
            }
            tenant.used.fetch_sub(bytes, Ordering::AcqRel);
            account = tenant.parent.as_ref();
        }
    }

    fn stats(&self) -> TenantStats {
        TenantStats {
            tenant: self.name.clone(),
            used_bytes: self.used.load(Ordering::Acquire),
            highest_bytes: self.highest.load(Ordering::Acquire),
            quota_bytes: self.quota(),
        }
    }
}

impl Charge {
    /// Whose account it is on.
    pub fn tenant(&self) -> &Arc<Tenant> {
        &self.tenant
    }
}

impl Drop for Charge {
    fn drop(&mut self) {
        self.tenant.take_off(self.bytes, None);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn used(tenants: &Tenants, name: &str) -> usize {
        tenants.tenant(name).unwrap().stats().used_bytes
    }

    #[test]
    fn a_charge_counts_for_everyone_above_and_comes_off_again() {
        let tenants = Tenants::default();
        let user = tenants.tenant("org/team/user").unwrap();
        let charge = user.charge(100).unwrap();
        for name in ["org", "org/team", "org/team/user"] {
            assert_eq!(used(&tenants, name), 100);
        }
        drop(charge);
        assert_eq!(used(&tenants, "org"), 0);
        assert_eq!(tenants.tenant("org").unwrap().stats().highest_bytes, 100);
    }

    #[test]
    fn the_quota_of_any_level_refuses_and_leaves_no_trace() {
        let tenants = Tenants::default();
        tenants.set_quota("org", Some(150)).unwrap();
        let (left, right) = (
            tenants.tenant("org/left").unwrap(),
            tenants.tenant("org/right").unwrap(),
        );
        let first = left.charge(100).unwrap();
        assert_eq!(right.room(), Some(50));
        assert_eq!(right.charge(51).unwrap_err().name(), "org");
        assert_eq!(used(&tenants, "org/right"), 0);
        drop(first);
        assert!(right.charge(150).is_ok());
        tenants.set_quota("org", None).unwrap();
        assert_eq!(right.room(), None);
    }

    #[test]
    fn the_room_is_the_least_of_all_levels() {
        let tenants = Tenants::default();
        tenants.set_quota("org", Some(150)).unwrap();
        tenants.set_quota("org/left", Some(100)).unwrap();
        let left = tenants.tenant("org/left").unwrap();
        assert_eq!(left.room(), Some(100));
        let _right = tenants.tenant("org/right").unwrap().charge(70).unwrap();
        assert_eq!(left.room(), Some(80));
        let _own = left.charge(80).unwrap();
        assert_eq!(left.room(), Some(0));
    }

    #[test]
    fn names_that_are_no_path_are_refused() {
        let tenants = Tenants::default();
        for name in ["/", "a//b", "a/", "a\nb", &"x/".repeat(9), &"x".repeat(257)] {
            assert!(tenants.tenant(name).is_err(), "{name:?}");
        }
        assert!(tenants.tenant("").is_ok());
    }

    #[test]
    fn many_tenants_at_once_never_exceed_the_quota_above() {
        let tenants = Tenants::default();
        tenants.set_quota("org", Some(1000)).unwrap();
        std::thread::scope(|scope| {
            for thread in 0..8 {
                let tenant = tenants.tenant(&format!("org/{thread}")).unwrap();
                scope.spawn(move || {
                    let mut held = Vec::new();
                    for round in 0..2000 {
                        held.extend(tenant.charge(1 + round % 90).ok());
                        if held.len() > 3 {
                            held.remove(0);
                        }
                    }
                });
            }
        });
        let stats = tenants.tenant("org").unwrap().stats();
        assert_eq!(stats.used_bytes, 0);
        assert!(stats.highest_bytes <= 1000);
    }

    #[test]
    fn tenants_without_anything_are_forgotten() {
        let tenants = Tenants::default();
        tenants.set_quota("kept", Some(1)).unwrap();
        for number in 0..3 * KEPT_TENANTS {
            tenants.tenant(&format!("user-{number}")).unwrap();
        }
        assert!(tenants.lock().len() <= KEPT_TENANTS + 2);
        assert_eq!(tenants.tenant("kept").unwrap().quota(), Some(1));
    }
}
