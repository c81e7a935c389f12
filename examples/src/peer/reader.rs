use std::{
    sync::{Arc, atomic::Ordering},
    time::{Duration, Instant},
};

use bytes::{Bytes, BytesMut};
use tokio::{sync::watch, time::timeout};

use super::{Shared, State};

/// Most that is read at once: it stays in the processor's cache until it is sent.
const PIECE: usize = 256 << 10;
/// Least, where there are many readers.
const LEAST: usize = 16 << 10;
/// Of which each has its part: a piece is in memory as long as whoever wanted it does not take it.
const MEMORY: usize = 8 << 20;
/// Pieces whose memory is used again; with what is being sent, that is what a reader takes of memory.
const KEPT: usize = 2;
/// The endpoint is told after so many bytes that a reader has moved.
const STEP: u64 = 64 << 10;

/// What comes next.
#[derive(Clone, Debug)]
pub struct Piece {
    /// Its bytes, at least one.
    pub bytes: Bytes,
    /// Chunks that these are of.
    pub chunks: u64,
    /// How long the first of them was waited for since the piece before.
    pub waited: Duration,
}

/// Why content cannot be read.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum ReadError {
    /// No peer gave what comes next.
    #[error("no peer gave what comes next within {seconds} s")]
    Nobody {
        /// So long was waited.
        seconds: u64,
    },
    /// The swarm, or the file that its content is kept in, failed.
    #[error("{0}")]
    Failed(String),
}

/// Somebody who reads content in order, while it comes. What it waits for is fetched before all else; once it is dropped, its
/// wishes are cancelled.
#[derive(Debug)]
pub struct Reader {
    swarm: Arc<Shared>,
    state: watch::Receiver<State>,
    id: u64,
    at: u64,
    end: u64,
    told: u64,
    patience: Duration,
    /// How long what comes next was waited for.
    waited: Duration,
    /// Pieces handed out: once they are sent, their memory is used again.
    handed: Vec<Bytes>,
}

impl Reader {
    pub(super) fn new(swarm: Arc<Shared>, from: u64, end: u64, patience: Duration) -> Self {
        let id = swarm.readers().add(from, end);
        swarm.reading.fetch_add(1, Ordering::Relaxed);
        swarm.stir();
        let state = swarm.state.subscribe();
        Self { swarm, state, id, at: from, end, told: from, patience, waited: Duration::ZERO, handed: Vec::new() }
    }

    /// Waits until the next byte is held; `false` at the end.
    ///
    /// # Errors
    ///
    /// [`ReadError`].
    pub async fn ready(&mut self) -> Result<bool, ReadError> {
        if self.at >= self.end {
            return Ok(false);
        }
        self.state.mark_unchanged();
        if self.swarm.store.held_from(self.at) > 0 {
            return Ok(true);
        }
        let since = Instant::now();
        self.tell();
        let (swarm, state, at) = (&self.swarm, &mut self.state, self.at);
        let held = async {
            loop {
                if swarm.store.held_from(at) > 0 {
                    return Ok(true);
                }
                if let Some(why) = &state.borrow_and_update().failed {
                    return Err(ReadError::Failed(why.clone()));
                }
                if state.changed().await.is_err() {
                    return Err(ReadError::Failed(super::ended().message));
                }
            }
        };
        let late = ReadError::Nobody { seconds: self.patience.as_secs() };
        let held = timeout(self.patience, held).await.unwrap_or(Err(late));
        self.waited += since.elapsed();
        held
    }

    /// The next bytes, as soon as there are some; `None` at the end.
    ///
    /// # Errors
    ///
    /// [`ReadError`].
    pub async fn next(&mut self) -> Result<Option<Piece>, ReadError> {
        if !self.ready().await? {
            return Ok(None);
        }
        let (store, at) = (self.swarm.store.clone(), self.at);
        let length = (self.end - at).min(self.piece() as u64) as usize;
        let mut piece = self.memory(length);
        // What the system has at hand needs no other thread. The disk may take its time.
        let piece = match store.read_at_hand(at, &mut piece) {
            Some(read) => {
                piece.truncate(read);
                piece.freeze()
            }
            None => {
                let reading = tokio::task::spawn_blocking(move || {
                    let read = store.read_at(at, &mut piece)?;
                    piece.truncate(read);
                    Ok::<_, crate::store::FileError>(piece.freeze())
                });
                let failed = |e: &dyn std::fmt::Display| ReadError::Failed(e.to_string());
                reading.await.map_err(|e| failed(&e))?.map_err(|e| failed(&e))?
            }
        };
        if piece.is_empty() {
            return Err(ReadError::Failed("content that was held is gone".to_owned()));
        }
        self.handed.push(piece.clone());
        self.at += piece.len() as u64;
        if self.at - self.told >= STEP || self.at == self.end {
            self.tell();
        }
        let chunks = (piece.len() as u64).div_ceil(u64::from(self.swarm.metadata.chunk_size).max(1));
        Ok(Some(Piece { bytes: piece, chunks, waited: std::mem::take(&mut self.waited) }))
    }

    /// Bytes that are read at once.
    fn piece(&self) -> usize {
        (MEMORY / self.swarm.reading.load(Ordering::Relaxed).max(1)).clamp(LEAST, PIECE)
    }

    /// Leaves out the rest. Who reads on will do so from its end, where what comes next may still be in time.
    pub fn skip(mut self) {
        self.at = self.end;
        self.tell();
    }

    /// Room for a piece: that of one which is sent, if there is one. To fill fresh memory costs about as much as to read into it.
    fn memory(&mut self, length: usize) -> BytesMut {
        let sent = self.handed.iter().position(Bytes::is_unique).map(|at| self.handed.remove(at));
        if self.handed.len() >= KEPT {
            self.handed.remove(0);
        }
        match sent.and_then(|sent| sent.try_into_mut().ok()) {
            Some(mut memory) => {
                memory.resize(length, 0);
                memory
            }
            None => BytesMut::zeroed(length),
        }
    }

    fn tell(&mut self) {
        if self.told != self.at {
            self.told = self.at;
            self.swarm.readers().advance(self.id, self.at);
            // Where all is there, nothing follows from it.
            if !self.swarm.store.is_finished() {
                self.swarm.stir();
            }
        }
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        self.swarm.readers().remove(self.id);
        self.swarm.reading.fetch_sub(1, Ordering::Relaxed);
        self.swarm.stir();
    }
}
