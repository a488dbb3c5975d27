//! The file of floors, which several processes share: read afresh every time, changed by one at a time,
//! replaced as a whole. What the floors mean is said in [`crate::serve::floors`].

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, Read, Write};
#[cfg(unix)]
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

#[cfg(unix)]
use rustix::fs::OFlags;

use crate::error::LoadError;
use crate::serve::floor::ByName;

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
        let file = match without_waiting(File::options().read(true)).open(&self.path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(ByName::new()),
            file => file.map_err(|error| self.fault(&error))?,
        };
        let found = file.metadata().map_err(|error| self.fault(&error))?;
        if !found.is_file() || found.len() > LARGEST {
            return Err(self.fault(&"no file of floors"));
        }
        let mut bytes = Vec::new();
        let read = file.take(LARGEST).read_to_end(&mut bytes);
        read.map_err(|error| self.fault(&error))?;
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
        let options = without_links(options.create(true).truncate(false).write(true));
        let file = options.open(&path)?;
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

    /// Readers see the old file or the new one, and so does who reads after the power failed. The
    /// lock is held, so what stands under the next one's name was left by who died, or put there by
    /// who wants it followed: it goes, and the new file is made where nothing is.
    fn replace(&self, floors: &ByName) -> io::Result<()> {
        let next = self.beside(".next");
        let written = write_new(&next, floors);
        let renamed = written.and_then(|()| std::fs::rename(&next, &self.path));
        if renamed.is_err() {
            let _ = std::fs::remove_file(&next);
        }
        renamed?;
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

fn write_new(path: &Path, floors: &ByName) -> io::Result<()> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => (),
    }
    let mut options = File::options();
    let options = without_links(options.write(true).create_new(true));
    let mut file = options.open(path)?;
    file.write_all(&serde_json::to_vec_pretty(floors)?)?;
    file.sync_all()
}

/// A pipe is opened at once, with or without somebody at its other end.
fn without_waiting(options: &mut OpenOptions) -> &mut OpenOptions {
    #[cfg(unix)]
    options.custom_flags(OFlags::NONBLOCK.bits().cast_signed());
    options
}

/// The same, and a link is refused.
fn without_links(options: &mut OpenOptions) -> &mut OpenOptions {
    #[cfg(unix)]
    let flags = (OFlags::NONBLOCK | OFlags::NOFOLLOW).bits();
    #[cfg(unix)]
    options.custom_flags(flags.cast_signed());
    options
}
