use std::{sync::Arc, time::Duration};

use bytes::{Bytes, BytesMut};
use tokio::{sync::watch, time::timeout};

use super::{Shared, State};

/// Most that is read at once, and so what a reader takes of memory.
const PIECE: usize = 256 << 10;
/// The endpoint is told after so many bytes that a reader has moved.
const STEP: u64 = 64 << 10;

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
    /// How often what came next was not there yet.
    waits: u64,
}

impl Reader {
    pub(super) fn new(swarm: Arc<Shared>, from: u64, end: u64, patience: Duration) -> Self {
        let id = swarm.readers().add(from, end);
        swarm.stir();
        let state = swarm.state.subscribe();
        Self { swarm, state, id, at: from, end, told: from, patience, waits: 0 }
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
        self.waits += 1;
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
        timeout(self.patience, held).await.unwrap_or(Err(late))
    }

    /// The next bytes, as soon as there are some; `None` at the end.
    ///
    /// # Errors
    ///
    /// [`ReadError`].
    pub async fn next(&mut self) -> Result<Option<Bytes>, ReadError> {
        if !self.ready().await? {
            return Ok(None);
        }
        let (store, at) = (self.swarm.store.clone(), self.at);
        let length = (self.end - at).min(PIECE as u64) as usize;
        // The disk may take its time.
        let reading = tokio::task::spawn_blocking(move || {
            let mut piece = BytesMut::zeroed(length);
            let read = store.read_at(at, &mut piece)?;
            piece.truncate(read);
            Ok::<_, crate::store::FileError>(piece.freeze())
        });
        let failed = |e: &dyn std::fmt::Display| ReadError::Failed(e.to_string());
        let piece = reading.await.map_err(|e| failed(&e))?.map_err(|e| failed(&e))?;
        if piece.is_empty() {
            return Err(ReadError::Failed("content that was held is gone".to_owned()));
        }
        self.at += piece.len() as u64;
        if self.at - self.told >= STEP || self.at == self.end {
            self.tell();
        }
        Ok(Some(piece))
    }

    /// How often it had to wait.
    pub fn waits(&self) -> u64 {
        self.waits
    }

    fn tell(&mut self) {
        if self.told != self.at {
            self.told = self.at;
            self.swarm.readers().advance(self.id, self.at);
            self.swarm.stir();
        }
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        self.swarm.readers().remove(self.id);
        self.swarm.stir();
    }
}
