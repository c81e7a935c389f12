use mp4_atom::{Mdhd, Trex};

use super::{
    Unreadable,
    boxes::{boxes, only, read},
};

/// What an initialization segment says of its only track.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Track {
    pub(super) id: u32,
    /// Units in a second.
    pub(super) timescale: u32,
    /// How samples are to be understood (`stsd`): the codec, and what it has to know.
    pub(super) description: Vec<u8>,
    /// What fragments do not say of their samples.
    pub(super) defaults: Trex,
}

impl Track {
    /// Longest initialization segment, in bytes.
    pub const MAX_LEN: u64 = 1 << 20;

    /// Reads an initialization segment.
    ///
    /// # Errors
    ///
    /// [`Unreadable`]: it is none of fragmented MP4 with one track.
    pub fn read(init: &[u8]) -> Result<Self, Unreadable> {
        let moov = only(init, "moov")?;
        let media = only(only(moov.body, "trak")?.body, "mdia")?;
        let timescale = read::<Mdhd>(&only(media.body, "mdhd")?, "mdhd")?.timescale;
        let table = only(only(media.body, "minf")?.body, "stbl")?;
        let description = only(table.body, "stsd")?.body.to_vec();
        let defaults: Trex = read(&only(only(moov.body, "mvex")?.body, "trex")?, "trex")?;
        if timescale == 0 {
            return Err(Unreadable::fields("mdhd", "the timescale is 0"));
        }
        Ok(Self { id: defaults.track_id, timescale, description, defaults })
    }

    /// Can samples of this one stand between samples of the other?
    pub fn is_like(&self, other: &Self) -> bool {
        (self.timescale, &self.description) == (other.timescale, &other.description)
    }

    /// How many bytes say how long a NAL unit is, where it is H.264 (ISO/IEC 14496-15 §5.3.3.1).
    pub(super) fn nal_length(&self) -> Result<usize, Unreadable> {
        // Version and flags, the number of entries, and the entries.
        let entries = self.description.get(8..).ok_or(Unreadable::NotH264)?;
        let mut entries = boxes(entries);
        let (Some(entry), None) = (entries.next(), entries.next()) else { return Err(Unreadable::NotH264) };
        let entry = entry?;
        if ![*b"avc1", *b"avc3"].contains(&entry.kind) {
            return Err(Unreadable::NotH264);
        }
        // ISO/IEC 14496-12 §12.1.3.2: fields of all visual sample entries.
        let inside = entry.body.get(78..).ok_or(Unreadable::NotH264)?;
        let config = only(inside, "avcC")?;
        let byte = config.body.get(4).ok_or(Unreadable::NotH264)?;
        Ok(usize::from(byte & 3) + 1)
    }
}
