//! The file of floors, which several processes share: read afresh every time, changed by one at a time,
//! replaced as a whole. What the floors mean is said in [`crate::floors`].

use std::fs::{File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crate::error::LoadError;
use crate::floors::ByName;

/// Largest file of floors.
const LARGEST: u64 = 1 << 20;
/// How long to wait for another process, which holds the lock for some milliseconds if it is well.
const LONGEST_WAIT: Duration = Duration::from_secs(10);
const BETWEEN_TRIES: Duration = Duration::from_millis(2);

#[derive(Debug)]
pub(crate) struct FloorFile {
    path: PathBuf,
}

impl FloorFile {
    pub(crate) fn new(path: &Path) -> Self {
        Self {
            path: path.to_owned(),
        }
    }

    /// What stands there now; nothing where there is no file. A file that is damaged is refused.
    pub(crate) fn read(&self) -> Result<ByName, LoadError> {
        let found = match std::fs::metadata(&self.path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(ByName::new()),
            found => found.map_err(|error| self.fault(&error))?,
        };
        if !found.is_file() || found.len() > LARGEST {
            return Err(self.fault(&"no file of floors"));
        }
        let bytes = std::fs::read(&self.path).map_err(|error| self.fault(&error))?;
        serde_json::from_slice(&bytes).map_err(|error| self.fault(&error))
    }

    /// Changes what stands there now, while no other process does. Where `change` refuses, or changes
    /// nothing, the file stays.
    pub(crate) fn update(
        &self,
        change: impl FnOnce(&mut ByName) -> Result<(), LoadError>,
    ) -> Result<(), LoadError> {
        let lock = self.lock().map_err(|error| self.fault(&error))?;
        let updated = self.read().and_then(|before| {
            let mut floors = before.clone();
            change(&mut floors)?;
            if floors == before {
                return Ok(());
            }
            self.replace(&floors).map_err(|error| self.fault(&error))
        });
        // Closing would not do where a process was forked meanwhile: it has the descriptor too.
        let unlocked = lock.unlock().map_err(|error| self.fault(&error));
        updated.and(unlocked)
    }

    /// A file of its own is locked, since the other is replaced.
    fn lock(&self) -> io::Result<File> {
        let path = self.beside(".lock");
        let mut options = File::options();
        let file = options.create(true).truncate(false).write(true);
        let file = file.open(&path)?;
        let end = Instant::now() + LONGEST_WAIT;
        loop {
            match file.try_lock() {
                Ok(()) => return Ok(file),
                Err(TryLockError::Error(error)) => return Err(error),
                Err(TryLockError::WouldBlock) if Instant::now() >= end => {
                    let path = path.display();
                    let reason = format!("another process has held {path} for {LONGEST_WAIT:?}");
                    return Err(io::Error::new(io::ErrorKind::TimedOut, reason));
                }
                Err(TryLockError::WouldBlock) => std::thread::sleep(BETWEEN_TRIES),
            }
        }
    }

    /// Readers see the old file or the new one, and so does who reads after the power failed.
    fn replace(&self, floors: &ByName) -> io::Result<()> {
        let next = self.beside(".next");
        let mut file = File::create(&next)?;
        serde_json::to_writer_pretty(&mut file, floors)?;
        file.sync_all()?;
        std::fs::rename(&next, &self.path)?;
        #[cfg(unix)]
        if let Some(folder) = self.path.parent().filter(|path| path.is_dir()) {
            File::open(folder)?.sync_all()?;
        }
        Ok(())
    }

    fn beside(&self, suffix: &str) -> PathBuf {
        let mut path = self.path.as_os_str().to_owned();
        path.push(suffix);
        path.into()
    }

    fn fault(&self, reason: &dyn std::fmt::Display) -> LoadError {
        LoadError::Floors {
            path: self.path.display().to_string(),
            reason: reason.to_string(),
        }
    }
}
