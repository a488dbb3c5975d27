//! The least version of each pack that is still accepted, kept in a file, so that nobody serves an old
//! pack again whose faults were repaired since, validly signed as it is.
//!
//! Several processes may share the file. What one of them raised counts at once for all, and a floor goes down
//! only by an operator's word about the very floor that stands there.

use std::path::Path;

use crate::error::LoadError;
use crate::pack::Pack;
use crate::serve::floor::{ByName, Floor};
use crate::serve::floor_file::FloorFile;

/// Whether a pack may be older than the one that was active.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Downgrade {
    /// It may not.
    Refuse,
    /// An operator says so; what is older still is refused again.
    AllowOnce,
}

/// The floors by pack name. Without a file they end with the process.
#[derive(Debug)]
pub struct Floors(Place);

#[derive(Debug)]
enum Place {
    Memory(ByName),
    File(FloorFile),
}

/// That a pack may become active, over the floor that stood there when that was decided.
#[derive(Debug)]
pub(crate) struct Permit {
    seen: Option<Floor>,
    downgrade: Downgrade,
}

impl Default for Floors {
    fn default() -> Self {
        Self(Place::Memory(ByName::new()))
    }
}

impl Floors {
    /// Those of a file; one that is not there yet has no floors, one that is damaged is refused.
    pub fn open(path: &Path) -> Result<Self, LoadError> {
        let file = FloorFile::new(path);
        file.read()?;
        Ok(Self(Place::File(file)))
    }

    /// Refuses a pack that is older than its floor, other than it was, or another author's.
    pub(crate) fn check(&self, pack: &Pack, downgrade: Downgrade) -> Result<Permit, LoadError> {
        let seen = match &self.0 {
            Place::Memory(floors) => floors.get(pack.name()).cloned(),
            Place::File(file) => file.read()?.remove(pack.name()),
        };
        judge(seen.as_ref(), pack, downgrade)?;
        Ok(Permit { seen, downgrade })
    }

    /// Makes a pack that becomes active the floor of its name. Where another process moved the floor since the
    /// permit, what an operator allowed was about another one, and the pack is judged again without it.
    pub(crate) fn set(&mut self, pack: &Pack, permit: &Permit) -> Result<(), LoadError> {
        let wanted = Floor::of(pack);
        if permit.seen.as_ref() == Some(&wanted) {
            return Ok(());
        }
        self.update(|floors| {
            let now = floors.get(pack.name());
            let downgrade = if now == permit.seen.as_ref() {
                permit.downgrade
            } else {
                Downgrade::Refuse
            };
            judge(now, pack, downgrade)?;
            floors.insert(pack.name().to_owned(), wanted);
            Ok(())
        })
    }

    /// Makes a pack that is gone back to the floor of its name, if the floor is the one that `left` had set. One that
    /// another process raised since stays: this process goes back, and the next one is refused.
    pub(crate) fn go_back(&mut self, left: Option<&Pack>, pack: &Pack) -> Result<(), LoadError> {
        let left = left.map(Floor::of);
        self.update(|floors| {
            let now = floors.get(pack.name());
            if now.is_none_or(|now| Some(now) == left.as_ref() || now.version < *pack.version()) {
                floors.insert(pack.name().to_owned(), Floor::of(pack));
            }
            Ok(())
        })
    }

    fn update(
        &mut self,
        change: impl FnOnce(&mut ByName) -> Result<(), LoadError>,
    ) -> Result<(), LoadError> {
        match &mut self.0 {
            Place::Memory(floors) => change(floors),
            Place::File(file) => file.update(change),
        }
    }
}

fn judge(floor: Option<&Floor>, pack: &Pack, downgrade: Downgrade) -> Result<(), LoadError> {
    let Some(floor) = floor else {
        return Ok(());
    };
    let (name, version) = (pack.name().to_owned(), pack.version().to_string());
    if floor.signer != pack.signer().text() {
        return Err(LoadError::OtherOwner {
            name,
            owner: floor.signer.clone(),
            signer: pack.signer().text(),
        });
    }
    if *pack.version() < floor.version && downgrade == Downgrade::Refuse {
        return Err(LoadError::Downgrade {
            name,
            version,
            floor: floor.version.to_string(),
        });
    }
    if *pack.version() == floor.version && floor.digest != pack.digest() {
        return Err(LoadError::OtherContents { name, version });
    }
    Ok(())
}
