use std::{io, mem, net::SocketAddr, num::NonZeroUsize, time::Duration};

use ppsp_core::Instant;
use ppsp_peer_proto::{Endpoint, Transmit};

use super::{Clock, Socket};

/// Most bytes in a run: what fits a UDP datagram over IPv6, as the kernel takes the run for one.
const MAX_RUN: usize = 65_487;
/// Runs sent before it is time to receive again.
const SENDS_PER_TURN: usize = 16;
/// Longest that a turn stays with the socket, working or waiting, before others on the thread have theirs.
const TURN: Duration = Duration::from_millis(1);
/// While the socket has no room, the endpoint has output waiting and so no later timeout to sleep for.
const BLOCKED_NAP: Duration = Duration::from_millis(5);

/// An [`Endpoint`] on a [`Socket`].
///
/// ```no_run
/// # async fn example(mut driver: ppsp_examples::net::Driver) -> std::io::Result<()> {
/// loop {
///     driver.turn().await?; // receives, sends, keeps time; sleeps while there is nothing to do
///     while let Some(event) = driver.endpoint.poll_event() {
///         println!("{event:?}");
///     }
/// }
/// # }
/// ```
#[derive(Debug)]
pub struct Driver {
    /// The endpoint. Give it commands at any time between two turns.
    pub endpoint: Endpoint,
    socket: Socket,
    clock: Clock,
    run: Box<[u8]>,
    /// What the socket had no room for lies in `run` still.
    unsent: Option<Transmit>,
    /// When something was last sent or received.
    worked: Instant,
    /// The last receive took all there was.
    drained: bool,
}

impl Driver {
    /// Puts an endpoint on a socket. `clock` is the one that the endpoint was made with.
    pub fn new(endpoint: Endpoint, socket: Socket, clock: Clock) -> Self {
        let worked = clock.now();
        Self { endpoint, socket, clock, run: vec![0; MAX_RUN].into(), unsent: None, worked, drained: false }
    }

    /// The time, for commands to the endpoint.
    pub fn now(&self) -> Instant {
        self.clock.now()
    }

    /// The socket.
    pub fn socket(&self) -> &Socket {
        &self.socket
    }

    /// The address bound to.
    ///
    /// # Errors
    ///
    /// Those of the system.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.socket.local_addr()
    }

    /// For about a millisecond, or until there is nothing to do: what is due by time, some sends, a batch of receives. Sleeps
    /// first while there is nothing to do.
    ///
    /// Between two rounds of work the thread itself waits for the socket, at most to the end of the turn: that is cheaper
    /// and wakes more exactly than the runtime's timers. May be dropped at any point, as the branches of `select!` are.
    ///
    /// # Errors
    ///
    /// Those of the runtime. What goes wrong with single datagrams is no error.
    pub async fn turn(&mut self) -> io::Result<()> {
        let mut now = self.clock.now();
        let end = now + TURN;
        let mut idle = now.saturating_since(self.worked) >= TURN;
        while now < end {
            let did = self.work(now);
            now = self.clock.now();
            match did {
                Did::Something => {
                    self.worked = now;
                    idle = false;
                }
                // What is due may be for the caller to take: events.
                Did::Time => break,
                Did::Nothing => {
                    let blocked = self.unsent.is_some();
                    let nap = self.nap(now, blocked);
                    if idle {
                        return match tokio::time::timeout(nap, self.socket.ready(blocked)).await {
                            Ok(ready) => ready,
                            Err(_due) => Ok(()),
                        };
                    }
                    self.socket.wait(blocked, nap.min(end.saturating_since(now)));
                    self.drained = false;
                    now = self.clock.now();
                }
            }
        }
        // Others on this thread get their turn.
        tokio::task::yield_now().await;
        Ok(())
    }

    /// How long there is nothing to do unless something is received.
    fn nap(&self, now: Instant, blocked: bool) -> Duration {
        let until = self.endpoint.poll_timeout().map(|then| then.saturating_since(now));
        match until {
            Some(nap) if blocked => nap.max(BLOCKED_NAP),
            Some(nap) => nap,
            None if blocked => BLOCKED_NAP,
            None => Duration::MAX,
        }
    }

    /// Sends what waits, closing handshakes above all, for at most `limit`.
    ///
    /// # Errors
    ///
    /// Those of the runtime.
    pub async fn flush(&mut self, limit: Duration) -> io::Result<()> {
        let end = tokio::time::Instant::now() + limit;
        while tokio::time::Instant::now() < end {
            match self.send() {
                Sent::All(_) => break,
                Sent::Enough => {}
                Sent::Blocked(_) => _ = tokio::time::timeout_at(end, self.socket.ready(true)).await,
            }
            tokio::task::yield_now().await;
        }
        Ok(())
    }

    fn work(&mut self, now: Instant) -> Did {
        let due = self.endpoint.poll_timeout().is_some_and(|then| then <= now) && self.unsent.is_none();
        if due {
            self.endpoint.handle_timeout(now);
        }
        let sent = matches!(self.send(), Sent::Enough | Sent::All(true) | Sent::Blocked(true));
        // Another call would most likely find nothing, and to wait is to find out too.
        if mem::take(&mut self.drained) && !sent {
            return if due { Did::Time } else { Did::Nothing };
        }
        let now = self.clock.now();
        let received = match self.socket.try_recv() {
            Some((received, drained)) => {
                self.endpoint.handle(now, received);
                self.drained = drained;
                true
            }
            None => false,
        };
        match (sent || received, due) {
            (true, _) => Did::Something,
            (false, true) => Did::Time,
            (false, false) => Did::Nothing,
        }
    }

    /// Sends some runs.
    fn send(&mut self) -> Sent {
        for round in 0..SENDS_PER_TURN {
            let transmit = match self.unsent.take() {
                Some(transmit) => transmit,
                None => {
                    let segments = NonZeroUsize::new(self.socket.max_segments()).unwrap_or(NonZeroUsize::MIN);
                    match self.endpoint.poll_transmit(self.clock.now(), segments, &mut self.run) {
                        Some(transmit) => transmit,
                        None => return Sent::All(round > 0),
                    }
                }
            };
            let too_big = self.socket.counters().too_big;
            if !self.socket.try_send(&transmit, &self.run[..transmit.len]) {
                self.unsent = Some(transmit);
                return Sent::Blocked(round > 0);
            }
            if self.socket.counters().too_big > too_big {
                let len = transmit.segment_size.map_or(transmit.len, NonZeroUsize::get);
                self.endpoint.handle_too_big(self.clock.now(), transmit.destination, len);
            }
        }
        Sent::Enough
    }
}

/// What came of a round of work.
enum Did {
    /// Something was sent or received.
    Something,
    /// Time was kept.
    Time,
    /// There was nothing to do.
    Nothing,
}

/// How far sending got. `true`: something went.
enum Sent {
    /// Nothing is left to send.
    All(bool),
    /// Others shall have their turn.
    Enough,
    /// The socket has no room.
    Blocked(bool),
}
