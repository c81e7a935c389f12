//! What a player asks for: the pieces of the Representations that it chose, by their paths at a gateway.

use std::{ops::Range, time::Duration};

use ppsp_core::descriptor::{Descriptor, Kind, Representation};

use crate::{account::path_part, cli::exit::Failure};

/// A Representation, as it is played.
#[derive(Debug)]
pub(super) struct Track {
    /// What people see of it.
    pub(super) name: String,
    pub(super) pieces: Vec<Piece>,
}

/// What is asked for at once.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Piece {
    pub(super) path: String,
    pub(super) range: Option<Range<u64>>,
    /// Up to where it can be played, once this is there.
    pub(super) end: Duration,
}

/// Media in a piece of what is one long file.
const PIECE: Duration = Duration::from_secs(2);

impl Track {
    /// The best video and the first audio of a manifest from this gateway.
    pub(super) fn choose(manifest: &str, gateway: &str, duration: Duration) -> Result<Vec<Chosen>, Failure> {
        // All that it refers to is at the gateway, and then has the name of the path there.
        let here = manifest.replace(&format!("{}/", gateway.trim_end_matches('/')), "");
        let bad = |e: &dyn std::fmt::Display| Failure::other(format!("the gateway's manifest cannot be played: {e}"));
        let descriptor = Descriptor::parse(here.as_bytes()).map_err(|e| bad(&e))?;
        let all = descriptor.representations();
        let of = |kind| all.iter().filter(move |one| one.kind == kind);
        let video = of(Kind::Video).max_by_key(|one| one.bandwidth);
        let chosen: Vec<&Representation> = video.into_iter().chain(of(Kind::Audio).next()).collect();
        if chosen.is_empty() {
            return Err(bad(&"it has neither video nor audio"));
        }
        let resources = descriptor.resources().map_err(|e| bad(&e))?;
        let mut found = Vec::new();
        for one in chosen {
            let resources = resources.iter().find(|resources| resources.representation == one.id);
            let resources = resources.ok_or_else(|| bad(&"a Representation has no segments"))?;
            let certain = resources.references.get(..resources.certain).unwrap_or(&resources.references);
            let files = resources.files();
            let name = name_of(one);
            if let ([only], None) = (&files[..], certain.iter().filter(|one| one.range.is_some()).nth(2)) {
                // What is where in it stands in an index of its own.
                found.push(Chosen::Long { name, path: path_of(only.name) });
                continue;
            }
            // The initialization segment shows nothing; media are as good as evenly long.
            let media = (certain.len().max(2) - 1) as u32;
            let piece = |(at, one): (usize, &ppsp_core::descriptor::Reference)| Piece {
                path: path_of(&one.name),
                range: one.range.clone(),
                end: duration * at as u32 / media,
            };
            found.push(Chosen::Pieces(Self { name, pieces: certain.iter().enumerate().map(piece).collect() }));
        }
        Ok(found)
    }

    /// One long file of this length.
    pub(super) fn of_file(name: String, path: &str, length: u64, duration: Duration) -> Self {
        let count = (duration.as_secs_f64() / PIECE.as_secs_f64()).ceil().max(1.0) as u32;
        let place = |at: u32| u64::try_from(u128::from(length) * u128::from(at) / u128::from(count)).unwrap_or(length);
        let piece = |at| Piece {
            path: path.to_owned(),
            range: Some(place(at)..place(at + 1)),
            end: duration * (at + 1) / count,
        };
        let pieces = (0..count).map(piece).filter(|piece| piece.range.as_ref().is_some_and(|range| !range.is_empty()));
        Self { name, pieces: pieces.collect() }
    }
}

/// What was chosen of a manifest.
#[derive(Debug)]
pub(super) enum Chosen {
    Pieces(Track),
    /// A file whose length has to be asked for.
    Long {
        name: String,
        path: String,
    },
}

/// `video 640×360`.
fn name_of(one: &Representation) -> String {
    match (one.kind, one.width, one.height) {
        (Kind::Video, Some(width), Some(height)) => format!("video {width}×{height}"),
        (Kind::Video, ..) => "video".to_owned(),
        _ => one.language.as_ref().map_or_else(|| "sound".to_owned(), |language| format!("sound ({language})")),
    }
}

fn path_of(name: &str) -> String {
    name.split('/').map(|part| format!("/{}", path_part(part))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn manifest(inside: &str) -> String {
        format!(
            "<MPD xmlns='urn:mpeg:dash:schema:mpd:2011' type='static' mediaPresentationDuration='PT4S'><Period>\
             <AdaptationSet contentType='video'>\
             <Representation id='low' bandwidth='1' width='2' height='2'><BaseURL>http://127.0.0.1:1/aa/</BaseURL>{inside}</Representation>\
             <Representation id='high' bandwidth='2' width='4' height='4'><BaseURL>http://127.0.0.1:1/bb/</BaseURL>{inside}</Representation>\
             </AdaptationSet></Period></MPD>"
        )
    }

    #[test]
    fn the_best_one_is_chosen_and_asked_for_at_the_gateway() {
        let xml = manifest(
            "<SegmentTemplate timescale='1' initialization='i n.mp4' media='$Number$.m4s'>\
             <SegmentTimeline><S d='2' r='1'/></SegmentTimeline></SegmentTemplate>",
        );
        let chosen = Track::choose(&xml, "http://127.0.0.1:1", Duration::from_secs(4)).unwrap();
        let [Chosen::Pieces(track)] = &chosen[..] else { panic!("{chosen:?}") };
        let shown: Vec<_> = track.pieces.iter().map(|piece| (piece.path.as_str(), piece.end.as_secs())).collect();
        assert_eq!(shown, [("/bb/i%20n.mp4", 0), ("/bb/1.m4s", 2), ("/bb/2.m4s", 4)]);
        assert_eq!(track.name, "video 4×4");
    }

    #[test]
    fn a_file_is_played_in_pieces() {
        let file = manifest("").replace("/aa/", "/aa/low.mp4").replace("/bb/", "/bb/high.mp4");
        let chosen = Track::choose(&file, "http://127.0.0.1:1", Duration::from_secs(4)).unwrap();
        let [Chosen::Long { path, .. }] = &chosen[..] else { panic!("{chosen:?}") };
        assert_eq!(path, "/bb/high.mp4");
        let track = Track::of_file("video".to_owned(), path, 101, Duration::from_secs(4));
        let ranges: Vec<_> = track.pieces.iter().map(|piece| piece.range.clone().unwrap()).collect();
        assert_eq!(ranges, [0..50, 50..101]);
        assert_eq!(track.pieces.last().unwrap().end, Duration::from_secs(4));
    }
}
