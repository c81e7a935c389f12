//! Live streams of this process: one swarm on a socket of its own, for a source or for those who watch.
//!
//! One idea a file: [`Place`] is how far a channel has been signed, [`LivePeer`] drives the swarm, [`Playback`] says which chunk is
//! shown when, [`Viewer`] puts these two together, [`LiveStatus`] is how the stream stands. A [`Station`] is a viewer in a thread, for any number of listeners.

mod peer;
mod place;
mod playback;
mod station;
mod status;
mod viewer;

pub use peer::{LivePeer, Told};
pub use place::Place;
pub use playback::{Playback, Step};
pub use station::{Heard, Listener, Look, Station};
pub use status::{LiveFigures, LiveStatus};
pub use viewer::{Seen, Viewer, Watching};
