//! Media descriptors as the Portal takes them from publishers and hands them to viewers. What a descriptor is, is
//! [`ppsp_core::descriptor`]'s to know.

use ppsp_auth::{grant::Grants, token::SigningKey};
use ppsp_core::descriptor::{Descriptor, DescriptorError};

use super::Refusal;

/// What the Portal reads from a descriptor.
#[derive(Debug)]
pub(super) struct Described {
    /// The descriptor as it is kept.
    pub(super) bytes: Vec<u8>,
    /// Its swarms, as PPSTP names them.
    pub(super) swarms: Vec<String>,
    /// The length of its longest swarm in bytes, where all are known.
    pub(super) length: Option<u64>,
}

/// Reads a descriptor.
pub(super) fn read(text: &str) -> Result<Described, Refusal> {
    if text.len() > MAX_LEN {
        return Err(Refusal::invalid("a descriptor has at most 512 KiB here"));
    }
    let descriptor = Descriptor::parse(text.as_bytes()).map_err(malformed)?;
    let found: Vec<_> = descriptor.representations().into_iter().filter_map(|one| one.swarm).collect();
    let mut swarms: Vec<_> = found.iter().map(|swarm| swarm.metadata.id.to_string()).collect();
    swarms.sort_unstable();
    swarms.dedup();
    if swarms.is_empty() {
        return Err(Refusal::invalid("the descriptor names no swarm"));
    }
    if swarms.len() > MAX_SWARMS || swarms.iter().any(|swarm| swarm.len() > Grants::MAX_SWARM) {
        return Err(Refusal::invalid("a descriptor has at most 64 swarms here, with identifiers of at most 550 bytes"));
    }
    if descriptor.trackers().iter().flatten().any(|url| url.len() > 512) {
        return Err(Refusal::invalid("the address of a tracker has at most 512 bytes"));
    }
    let lengths: Option<Vec<u64>> = found.iter().map(|swarm| swarm.metadata.content_length).collect();
    let length = lengths.and_then(|lengths| lengths.into_iter().max());
    Ok(Described { bytes: descriptor.to_xml().into_bytes(), swarms, length })
}

/// The descriptor as a viewer gets it: with these trackers where it names none, and signed.
pub(super) fn serve(bytes: &[u8], trackers: &[String], signer: &SigningKey) -> Result<String, Refusal> {
    let mut descriptor = Descriptor::parse(bytes).map_err(|error| Refusal::Fault(error.to_string()))?;
    if descriptor.trackers().is_empty() {
        let most = trackers.len().min(Descriptor::MAX_TRACKERS);
        descriptor.set_trackers(&[trackers[..most].to_vec()]);
    }
    Ok(descriptor.to_signed_xml(&signer.id().to_string(), |bytes| signer.sign(bytes)))
}

fn malformed(error: DescriptorError) -> Refusal {
    Refusal::invalid(format!("this is no media descriptor: {error}"))
}

/// The longest descriptor, in bytes.
const MAX_LEN: usize = 512 << 10;

/// The most swarms in one: one token can open all of them.
const MAX_SWARMS: usize = 64;
