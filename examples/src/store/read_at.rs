//! Content as bytes, for those who play it while it comes.

#[cfg(target_os = "linux")]
use std::io::IoSliceMut;
use std::{fs::File, os::unix::fs::FileExt};

use ppsp_core::RangeSet;

use super::{FileError, FileStore, Inner, io_error};

impl FileStore {
    /// Chunks held.
    pub fn held(&self) -> RangeSet {
        self.inner().held.clone()
    }

    /// How many bytes from `offset` on are held without a gap.
    pub fn held_from(&self, offset: u64) -> u64 {
        self.inner().held_from(offset)
    }

    /// Copies content from `offset` on to the front of `out` as far as the system has it in memory, and says how many bytes. `None`
    /// where there is something to wait for, or where that cannot be told: then [`read_at`](Self::read_at) says what it is.
    pub fn read_at_hand(&self, offset: u64, out: &mut [u8]) -> Option<usize> {
        let finished = self.shared.finished.get()?;
        let left = finished.length.saturating_sub(offset).min(out.len() as u64) as usize;
        read_now(&finished.content, out.get_mut(..left)?, offset).filter(|&read| read > 0)
    }

    /// Copies what is held from `offset` on to the front of `out`, and says how many bytes: none where the first is not held.
    ///
    /// # Errors
    ///
    /// Those of the file, and where it is shorter than its content.
    pub fn read_at(&self, offset: u64, out: &mut [u8]) -> Result<usize, FileError> {
        if let Some(finished) = self.shared.finished.get() {
            let left = finished.length.saturating_sub(offset).min(out.len() as u64) as usize;
            let read = finished.content.read_exact_at(&mut out[..left], offset);
            return read.map(|()| left).map_err(|e| io_error(&self.shared.places.content, "read", e));
        }
        let mut inner = self.inner();
        let left = inner.held_from(offset).min(out.len() as u64) as usize;
        let size = u64::from(inner.metadata.chunk_size);
        let mut chunk = vec![0; size as usize];
        let mut done = 0;
        while done < left {
            let at = offset + done as u64;
            let failed = |inner: &Inner, e| io_error(&inner.path, "read", e);
            let length = inner.content.read(at / size, &mut chunk).map_err(|e| failed(&inner, e))?;
            let skip = (at % size) as usize;
            let take = length.saturating_sub(skip).min(left - done);
            if take == 0 {
                break;
            }
            out[done..done + take].copy_from_slice(&chunk[skip..skip + take]);
            done += take;
        }
        Ok(done)
    }
}

/// Reads without waiting, where the system knows how to.
#[cfg(target_os = "linux")]
fn read_now(file: &File, out: &mut [u8], offset: u64) -> Option<usize> {
    let mut out = [IoSliceMut::new(out)];
    rustix::io::preadv2(file, &mut out, offset, rustix::io::ReadWriteFlags::NOWAIT).ok()
}

#[cfg(not(target_os = "linux"))]
fn read_now(_: &File, _: &mut [u8], _: u64) -> Option<usize> {
    None
}

impl Inner {
    fn held_from(&self, offset: u64) -> u64 {
        let size = u64::from(self.metadata.chunk_size);
        let chunk = offset / size;
        let Some(run) = self.held.next_set(chunk).filter(|run| run.first() == chunk) else { return 0 };
        let end = run.last().saturating_add(1).saturating_mul(size);
        let end = self.length.map_or(end, |length| end.min(length));
        end.saturating_sub(offset)
    }
}
