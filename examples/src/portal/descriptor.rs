//! Media descriptors as the Portal takes them from publishers and hands them to viewers. What a descriptor is, is
//! `ppsp_core::descriptor`'s to know.

use ppsp_auth::token::SigningKey;

use super::Refusal;

/// What the Portal reads from a descriptor.
pub(super) struct Described {
    /// The descriptor as it is kept.
    pub(super) bytes: Vec<u8>,
    /// Its swarms, as PPSTP names them.
    pub(super) swarms: Vec<String>,
    /// The length of its content in bytes, where all of it is known.
    pub(super) length: Option<u64>,
}

/// Reads a descriptor.
pub(super) fn read(text: &str) -> Result<Described, Refusal> {
    Err(Refusal::Fault(format!("descriptors cannot be read yet: {} bytes", text.len())))
}

/// The descriptor as a viewer gets it: with these trackers where it names none, and signed.
pub(super) fn serve(bytes: &[u8], trackers: &[String], signer: &SigningKey) -> Result<String, Refusal> {
    Err(Refusal::Fault(format!("{} {} {signer:?}", bytes.len(), trackers.len())))
}
