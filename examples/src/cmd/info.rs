use ppsp_core::Link;
use serde_json::{Value, json};

use super::parse_link;
use crate::cli::{
    exit::Failure,
    output::{Output, one_line},
    units,
};

/// `ppsp info`.
pub(super) fn run(link: &str, out: &Output) -> Result<(), Failure> {
    let link = parse_link(link)?;
    let metadata = &link.metadata;
    if out.is_json() {
        out.event("info", &fields(&link));
        return Ok(());
    }
    let row = |name: &str, value: &str| out.line(format_args!("{name:<17}{value}"));
    row("name", link.file_name().unwrap_or("none that is safe to write to"));
    row("swarm", &metadata.id.to_string());
    let kind = if metadata.integrity.is_live() { "live stream" } else { "static content" };
    row("kind", kind);
    match metadata.content_length {
        Some(length) => row("length", &format!("{length} bytes ({})", units::bytes(length))),
        None => row("length", "not in the link"),
    }
    let chunks = metadata.chunks().map_or(String::new(), |chunks| format!(", {chunks} in all"));
    row("chunks", &format!("{} bytes{chunks}", metadata.chunk_size));
    row("hash function", metadata.hash.name());
    row("addressing", metadata.addressing.name());
    if let Some(window) = link.discard_window {
        row("discard window", &format!("{window} chunks"));
    }
    link.peers.iter().for_each(|peer| row("peer", &peer.to_string()));
    link.trackers.iter().for_each(|tracker| row("tracker", &one_line(tracker)));
    if link.peers.is_empty() && link.trackers.is_empty() {
        row("peers", "none in the link");
    }
    Ok(())
}

fn fields(link: &Link) -> Value {
    let metadata = &link.metadata;
    json!({
        "name": link.file_name(),
        "swarm": metadata.id.to_string(),
        "live": metadata.integrity.is_live(),
        "content_length": metadata.content_length,
        "chunk_size": metadata.chunk_size,
        "chunks": metadata.chunks(),
        "hash": metadata.hash.name(),
        "addressing": metadata.addressing.name(),
        "discard_window": link.discard_window,
        "peers": link.peers,
        "trackers": link.trackers,
    })
}
