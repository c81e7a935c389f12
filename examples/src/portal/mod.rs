//! The Portal.

pub mod db;
mod id;
