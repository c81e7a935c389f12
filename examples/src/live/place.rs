//! How far a channel has been signed, in a small file beside its key: who starts again goes on behind that.

use std::{
    fs::{File, OpenOptions},
    io,
    os::unix::fs::{FileExt, OpenOptionsExt},
    path::{Path, PathBuf},
    sync::Arc,
};

use rustix::fs::{FlockOperation, flock};

use crate::cli::exit::Failure;

/// Two signatures for one place would divide the viewers. So the place is written before what it covers is sent, in a single write
/// that the end of this process cannot tear. What a failure of the whole machine may have cost is left out as well.
///
/// The file is locked: a key has one source at a time.
#[derive(Debug)]
pub struct Place {
    path: PathBuf,
    file: Arc<File>,
    chunks: u64,
    boot: String,
}

/// Chunks left out where the machine went down on air: more than a source sends between two [`Place::keep`].
const MARGIN: u64 = 1 << 16;
/// Marks a source that has ended in good order.
const OFF_AIR: &str = "off-air";

impl Place {
    /// That of the key in this file: `KEY.place`.
    ///
    /// # Errors
    ///
    /// A file that cannot be used, or is in use by another source.
    pub fn open(key: &Path) -> Result<Self, Failure> {
        let mut path = key.as_os_str().to_owned();
        path.push(".place");
        let path = PathBuf::from(path);
        let failed =
            |e: io::Error| Failure::other(format!("{}: cannot keep the place in the stream: {e}", path.display()));
        let options = OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o600).clone();
        let file = options.open(&path).map_err(failed)?;
        flock(&file, FlockOperation::NonBlockingLockExclusive).map_err(|_| {
            Failure::other(format!(
                "{}: another source is on the air with this key; a channel has one at a time",
                key.display()
            ))
        })?;
        let boot = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default().trim().to_owned();
        let text = io::read_to_string(&file).map_err(failed)?;
        let chunks = read(&text, &boot).ok_or_else(|| {
            Failure::other(format!(
                "{}: this does not say how far the stream has come; delete it only if the key has never been on the air",
                path.display()
            ))
        })?;
        Ok(Self { file: Arc::new(file), path, chunks, boot })
    }

    /// Chunks that may have been signed.
    pub fn chunks(&self) -> u64 {
        self.chunks
    }

    /// So many are about to be.
    ///
    /// # Errors
    ///
    /// Those of the system: nothing is to be sent then.
    pub fn advance(&mut self, chunks: u64) -> Result<(), Failure> {
        self.chunks = chunks;
        self.write(&self.boot)
    }

    /// Makes it outlast a failure of the machine, too: on a thread that may wait for the disk.
    pub fn keep(&self) {
        let file = Arc::clone(&self.file);
        tokio::task::spawn_blocking(move || _ = file.sync_data());
    }

    /// The source has ended in good order.
    ///
    /// # Errors
    ///
    /// Those of the system.
    pub fn leave(self) -> Result<(), Failure> {
        self.write(OFF_AIR)?;
        self.file.sync_data().map_err(|e| self.failed(&e))
    }

    fn write(&self, state: &str) -> Result<(), Failure> {
        // Always as long, so that nothing of an older line is left.
        let line = format!("{:020} {state:<40}\n", self.chunks);
        self.file.write_all_at(line.as_bytes(), 0).map_err(|e| self.failed(&e))
    }

    fn failed(&self, error: &io::Error) -> Failure {
        Failure::other(format!("{}: cannot keep the place in the stream: {error}", self.path.display()))
    }
}

fn read(text: &str, boot: &str) -> Option<u64> {
    if text.is_empty() {
        return Some(0);
    }
    let (chunks, state) = text.split_once(' ')?;
    let chunks: u64 = chunks.parse().ok()?;
    let sure = state.trim() == OFF_AIR || state.trim() == boot;
    if sure { Some(chunks) } else { chunks.checked_add(MARGIN) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn goes_on_where_it_was_and_has_one_source() {
        let dir = tempfile::tempdir().unwrap();
        let key = dir.path().join("key");
        let mut place = Place::open(&key).unwrap();
        assert_eq!(place.chunks(), 0);
        assert!(Place::open(&key).unwrap_err().message.contains("one at a time"));
        place.advance(64).unwrap();
        drop(place); // as where the process is killed
        let mut place = Place::open(&key).unwrap();
        assert_eq!(place.chunks(), 64);
        place.advance(96).unwrap();
        place.leave().unwrap();
        assert_eq!(Place::open(&key).unwrap().chunks(), 96);
    }

    #[test]
    fn what_the_machine_may_have_lost_is_left_out() {
        assert_eq!(read("00000000000000000064 one-boot\n", "one-boot"), Some(64));
        assert_eq!(read("00000000000000000064 one-boot\n", "another"), Some(64 + MARGIN));
        assert_eq!(read("00000000000000000064 off-air\n", "another"), Some(64));
        for bad in ["x", "64", "-1 off-air", "hello world"] {
            assert_eq!(read(bad, "boot"), None, "{bad}");
        }
    }
}
