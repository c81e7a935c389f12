//! Congestion control of a channel (stub until the real module lands).
use core::fmt;
/// Makes a controller for each channel.
pub trait ControllerFactory: Send + Sync + fmt::Debug {}
/// LEDBAT.
#[derive(Debug, Default)]
pub struct LedbatFactory;
impl ControllerFactory for LedbatFactory {}
