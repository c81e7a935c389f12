//! How much may be in flight towards a peer, and how fast.
//!
//! RFC 7574 §8.15 makes LEDBAT (RFC 6817) the congestion control of the UDP encapsulation and leaves the door open for
//! others: [`Controller`] is that door. [`Ledbat`] stands in it for what nobody waits for, [`Streaming`] for what is being
//! watched. A controller counts bytes and times; it knows no
//! message, sends nothing and sets no timer. When a datagram counts as lost and when a timeout has come is the
//! caller's to say, with the help of [`RttEstimator`].

mod ledbat;
mod minima;
mod one_way;
mod rtt;
mod streaming;

use alloc::boxed::Box;
use core::{fmt, time::Duration};

use ppsp_core::Instant;

pub use ledbat::{Ledbat, LedbatConfig, LedbatFactory};
pub(crate) use one_way::OneWayDelay;
pub use rtt::RttEstimator;
pub use streaming::{Streaming, StreamingConfig, StreamingFactory};

/// What an acknowledgement tells of one datagram.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Acked {
    /// When the datagram was sent.
    pub sent: Instant,
    /// Bytes that are newly acknowledged.
    pub bytes: usize,
    /// One-way delay in microseconds as the receiver measured it: its clock minus ours, modulo 2^64. Only differences
    /// mean anything. `None` where the acknowledgement carried none (a HAVE).
    pub one_way_delay: Option<u64>,
    /// From sending to acknowledgement, by our clock. `None` where the datagram was sent more than once and it is not
    /// known which one arrived (Karn's algorithm, RFC 6298 §3).
    pub rtt: Option<Duration>,
    /// There was nothing more to send when this was sent, so that its arrival proves nothing about a larger window.
    pub app_limited: bool,
}

/// Congestion control of one channel.
pub trait Controller: Send + fmt::Debug {
    /// A datagram that is to be acknowledged has been sent.
    fn on_sent(&mut self, now: Instant, bytes: usize);

    /// A datagram has been acknowledged. `in_flight` counts the bytes that were outstanding before.
    fn on_ack(&mut self, now: Instant, acked: &Acked, in_flight: usize);

    /// A datagram that was sent at `sent` is taken for lost, while later ones have arrived. An ECN mark counts the same
    /// (RFC 6817 §2.1).
    fn on_loss(&mut self, now: Instant, bytes: usize, sent: Instant);

    /// No acknowledgement has come for a whole timeout. The caller doubles the next one
    /// ([`RttEstimator::on_timeout`]).
    fn on_timeout(&mut self, now: Instant);

    /// Bytes that may be in flight; at least one datagram.
    fn window(&self) -> usize;

    /// Bytes a second that should not be exceeded; `None` where there is no reason to pace.
    fn pacing_rate(&self) -> Option<u64>;

    /// How long our datagrams wait in queues of the network, as far as is known; for people and statistics.
    fn queuing_delay(&self) -> Option<Duration> {
        None
    }
}

/// Makes the controller of each new channel.
pub trait ControllerFactory: Send + Sync + fmt::Debug {
    /// A controller for datagrams of at most `datagram` bytes.
    fn build(&self, now: Instant, datagram: usize) -> Box<dyn Controller>;
}
