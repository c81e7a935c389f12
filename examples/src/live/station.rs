//! A live stream for any number of listeners, watched once.

use std::{
    net::UdpSocket,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    thread,
    time::{Duration, Instant},
};

use bytes::Bytes;
use ppsp_core::SwarmMetadata;
use ppsp_peer_proto::EndpointConfig;
use tokio::sync::{broadcast, watch};

use super::{LiveStatus, Seen, Viewer, Watching};
use crate::{
    cli::exit::Failure,
    peer::{Figures, Sources, Status},
};

/// Pieces that a listener may be behind the others before it misses some.
const KEPT: usize = 256;
/// How long a stream is watched that nobody listens to: players come back soon, or not at all.
const FORLORN: Duration = Duration::from_secs(60);

/// A viewer in a thread of its own. It ends when this is dropped.
#[derive(Debug)]
pub struct Station {
    pieces: broadcast::WeakSender<Heard>,
    look: Arc<Mutex<Look>>,
    _stop: watch::Sender<()>,
}

/// How the stream stood some of a second ago, or at its end.
#[derive(Clone, Debug, Default)]
pub struct Look {
    /// The stream.
    pub live: LiveStatus,
    /// Its peers.
    pub status: Status,
    /// What is counted.
    pub figures: Figures,
}

impl Look {
    fn at(viewer: &mut Viewer) -> Self {
        let live = viewer.status();
        Self { live, status: viewer.peer().status().clone(), figures: viewer.peer().figures(&live) }
    }

    /// Nobody watches it any more.
    fn ended(&self) -> Self {
        let mut status = self.status.clone();
        status.peers.values_mut().for_each(|peer| peer.up = false);
        Self { live: LiveStatus { ended: true, ..self.live }, status, figures: self.figures.ended() }
    }
}

/// What listeners hear.
#[derive(Clone, Debug)]
pub enum Heard {
    /// The next bytes.
    Data(Bytes),
    /// Nothing follows: the stream is over, or failed.
    End(Result<(), Failure>),
}

/// Somebody who listens, from the moment of asking on.
#[derive(Debug)]
pub struct Listener(broadcast::Receiver<Heard>);

impl Station {
    /// Begins to watch, for this listener and others.
    ///
    /// # Errors
    ///
    /// A socket that cannot be used.
    pub fn start(
        socket: UdpSocket,
        config: EndpointConfig,
        metadata: SwarmMetadata,
        watching: Watching,
        sources: Sources,
    ) -> Result<(Self, Listener), Failure> {
        let (pieces, first) = broadcast::channel(KEPT);
        let (stop, mut stopped) = watch::channel(());
        let weak = pieces.downgrade();
        let look = Arc::<Mutex<Look>>::default();
        let shown = Arc::clone(&look);
        let work = move || {
            let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
                Ok(runtime) => runtime,
                Err(error) => return tracing::error!("the viewer of a live stream cannot start: {error}"),
            };
            let end = runtime.block_on(async {
                let mut viewer = Viewer::open(socket, config, &metadata, watching)?;
                viewer.peer().give_peers(&sources.peers);
                if let Some(start) = sources.trackers {
                    let addr = viewer.peer().addr().map_err(Failure::network)?;
                    viewer.peer().join(start(addr, false));
                }
                let mut heard = Instant::now();
                let end = loop {
                    tokio::select! {
                        biased;
                        _ = stopped.changed() => break Ok(()),
                        seen = viewer.next(true) => match seen {
                            Ok(Seen::Data(bytes)) => match pieces.send(Heard::Data(bytes)) {
                                Ok(_) => heard = Instant::now(),
                                Err(_) if heard.elapsed() > FORLORN => break Ok(()),
                                Err(_) => {}
                            },
                            Ok(Seen::Skipped(gone)) => tracing::warn!("a live stream lacks {} chunks", gone.len()),
                            Ok(Seen::Ended(_)) => break Ok(()),
                            Ok(Seen::Progress(_)) => *lock(&shown) = Look::at(&mut viewer),
                            Ok(_) => {}
                            Err(failure) => break Err(failure),
                        },
                    }
                };
                *lock(&shown) = Look::at(&mut viewer).ended();
                viewer.close().await;
                end
            });
            if let Err(failure) = &end {
                tracing::warn!("a live stream breaks off: {}", failure.message);
            }
            _ = pieces.send(Heard::End(end));
        };
        let started = thread::Builder::new().name("live".to_owned()).spawn(work);
        started.map_err(|e| Failure::other(format!("cannot start a thread: {e}")))?;
        Ok((Self { pieces: weak, look, _stop: stop }, Listener(first)))
    }

    /// How the stream stands.
    pub fn look(&self) -> Look {
        lock(&self.look).clone()
    }

    /// Is it watched no more?
    pub fn has_ended(&self) -> bool {
        self.pieces.strong_count() == 0
    }

    /// One more listener; `None` where the stream has ended.
    pub fn listen(&self) -> Option<Listener> {
        self.pieces.upgrade().map(|pieces| Listener(pieces.subscribe()))
    }
}

fn lock(look: &Mutex<Look>) -> MutexGuard<'_, Look> {
    look.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Listener {
    /// What comes next. Who listens too slowly misses some.
    pub async fn next(&mut self) -> Heard {
        loop {
            match self.0.recv().await {
                Ok(heard) => return heard,
                Err(broadcast::error::RecvError::Lagged(pieces)) => {
                    tracing::warn!("a player of a live stream is too slow, and misses {pieces} pieces");
                }
                Err(broadcast::error::RecvError::Closed) => return Heard::End(Ok(())),
            }
        }
    }
}
