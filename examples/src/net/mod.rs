//! The network: a UDP socket, a clock, and the loop that drives an [`Endpoint`](ppsp_peer_proto::Endpoint) with both.

mod clock;
mod driver;
mod socket;

pub use clock::Clock;
pub use driver::Driver;
pub use socket::{Counters, Socket, local_addresses};
