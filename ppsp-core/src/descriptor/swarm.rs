//! `ppsp:Swarm`, and what it says.

use alloc::{borrow::ToOwned, string::ToString, vec::Vec};

use super::{Descriptor, DescriptorError, Swarm, xml::Element};
use crate::{ChunkAddressing, HashAlg, IntegrityMethod, SwarmId, SwarmMetadata};

/// Reads one.
pub(super) fn read(element: &Element) -> Result<Swarm, DescriptorError> {
    let bad = |attribute: &'static str, why: &str| DescriptorError::Swarm { attribute, why: why.to_owned() };
    let number = |attribute: &'static str| match element.attribute(attribute) {
        None => Ok(None),
        Some(text) => text.trim().parse::<u64>().map(Some).map_err(|_| bad(attribute, "it is not a number")),
    };
    let id = element.attribute("id").ok_or_else(|| bad("id", "it is missing"))?;
    let id = parse_id(id).ok_or_else(|| bad("id", "it is not hexadecimal, or too long"))?;
    let integrity = match element.attribute("integrity") {
        None => IntegrityMethod::default(),
        Some(name) => {
            let found = METHODS.iter().find(|(known, _)| *known == name.trim());
            found.map(|(_, method)| *method).ok_or_else(|| bad("integrity", "it is not known here"))?
        }
    };
    let hash = match element.attribute("hash") {
        None => HashAlg::default(),
        Some(name) => {
            let found = HashAlg::ALL.into_iter().find(|alg| alg.name() == name.trim());
            found.ok_or_else(|| bad("hash", "it is not known here"))?
        }
    };
    let addressing = match element.attribute("addressing") {
        None => ChunkAddressing::default(),
        Some(name) => {
            let found = ChunkAddressing::ALL.into_iter().find(|method| method.name() == name.trim());
            found.ok_or_else(|| bad("addressing", "it is not known here"))?
        }
    };
    let chunk_size = match number("chunkSize")? {
        None => SwarmMetadata::DEFAULT_CHUNK_SIZE,
        Some(size) => u32::try_from(size).map_err(|_| bad("chunkSize", "it is too large"))?,
    };
    let metadata = SwarmMetadata { id, chunk_size, addressing, integrity, hash, content_length: number("length")? };
    metadata.check().map_err(|e| bad("description", &e.to_string()))?;
    Ok(Swarm { metadata, discard_window: number("discardWindow")? })
}

/// Writes one, without what is the default.
pub(super) fn write(name: &str, swarm: &Swarm) -> Element {
    let SwarmMetadata { id, chunk_size, addressing, integrity, hash, content_length } = &swarm.metadata;
    let mut element = Element::new(name, Descriptor::NAMESPACE).with("id", id);
    if let Some((method, _)) = METHODS.iter().find(|(_, method)| method == integrity && *method != Default::default()) {
        element = element.with("integrity", method);
    }
    element = element.with("hash", hash.name());
    if *addressing != Default::default() {
        element = element.with("addressing", addressing.name());
    }
    element = element.with("chunkSize", chunk_size);
    if let Some(length) = content_length {
        element = element.with("length", length);
    }
    if let Some(window) = swarm.discard_window {
        element = element.with("discardWindow", window);
    }
    element
}

/// A swarm ID in hexadecimal.
pub(super) fn parse_id(text: &str) -> Option<SwarmId> {
    let text = text.trim();
    if !text.len().is_multiple_of(2) || text.len() > 2 * SwarmId::MAX_LEN {
        return None;
    }
    let digit = |byte: u8| char::from(byte).to_digit(16).map(|digit| digit as u8);
    let bytes: Option<Vec<u8>> =
        text.as_bytes().chunks_exact(2).map(|pair| Some(digit(pair[0])? << 4 | digit(pair[1])?)).collect();
    SwarmId::new(bytes?)
}

/// Integrity methods that a descriptor can name (RFC 7574 §7.5). Content without protection has no place in one.
const METHODS: [(&str, IntegrityMethod); 3] = [
    ("merkle-tree", IntegrityMethod::MerkleTree),
    ("sign-all", IntegrityMethod::SignAll),
    ("unified-merkle-tree", IntegrityMethod::UnifiedMerkleTree),
];
