//! What is made before it is sent lies in a file without a name until it is taken: who is slow to take it holds no memory that others
//! wait for.

use std::{
    fs::File,
    io::{self, Write},
    ops::Range,
    os::unix::fs::FileExt,
    path::Path,
    sync::Arc,
    time::Duration,
};

use bytes::Bytes;

use crate::peer::{Piece, ReadError};

/// Most that is in memory of it at once.
const PIECE: u64 = 64 << 10;

/// Bytes in a file that goes with the last who reads it.
#[derive(Debug)]
pub(super) struct Spooled {
    file: Arc<File>,
    range: Range<u64>,
}

impl Spooled {
    /// Puts them into a file in this directory, for which the disk is waited for.
    pub(super) fn new(directory: &Path, bytes: &[u8]) -> io::Result<Self> {
        let mut file = tempfile::tempfile_in(directory)?;
        file.write_all(bytes)?;
        Ok(Self { file: Arc::new(file), range: 0..bytes.len() as u64 })
    }

    pub(super) fn len(&self) -> u64 {
        self.range.end - self.range.start
    }

    /// Only these of them, which have to be there.
    pub(super) fn part(self, range: Range<u64>) -> Self {
        Self { range, ..self }
    }

    /// What comes next.
    pub(super) async fn next(&mut self) -> Result<Option<Piece>, ReadError> {
        let (at, length) = (self.range.start, self.len().min(PIECE));
        if length == 0 {
            return Ok(None);
        }
        let file = Arc::clone(&self.file);
        let reading = tokio::task::spawn_blocking(move || {
            let mut bytes = vec![0; length as usize];
            file.read_exact_at(&mut bytes, at).map(|()| bytes)
        });
        let read = reading.await.map_err(io::Error::other).and_then(|read| read);
        let bytes = read.map(Bytes::from).map_err(|e| ReadError::Failed(e.to_string()))?;
        self.range.start += length;
        // Its chunks were counted when they were read, and nobody waits for it.
        Ok(Some(Piece { bytes, chunks: 0, waited: Duration::ZERO }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn it_is_read_piece_by_piece_and_leaves_nothing() {
        let directory = tempfile::tempdir().unwrap();
        let bytes: Vec<u8> = (0..PIECE as u32 + 1000).map(|n| (n % 251) as u8).collect();
        let spooled = Spooled::new(directory.path(), &bytes).unwrap();
        assert_eq!(spooled.len(), bytes.len() as u64);
        let mut part = spooled.part(10..PIECE + 20);
        let mut read = Vec::new();
        while let Some(piece) = part.next().await.unwrap() {
            assert!(piece.bytes.len() as u64 <= PIECE);
            read.extend(piece.bytes);
        }
        assert!(read == bytes[10..PIECE as usize + 20]);
        assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 0);
    }
}
