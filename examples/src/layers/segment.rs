use std::time::Duration;

use mp4_atom::{Mfhd, Moof, Tfdt, Tfhd, Traf, Trun, TrunEntry};

use super::{
    Track, Unreadable,
    boxes::{Child, boxes, name_of, only, read, write},
};

/// A picture, or whatever a track consists of.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Sample<'a> {
    /// When it is decoded, in units of the track.
    pub time: u64,
    /// How long until the next one is.
    pub duration: u32,
    /// How much later it is shown.
    pub later: i64,
    /// What it depends on, and the like (ISO/IEC 14496-12 §8.8.3.1).
    pub flags: u32,
    /// Its bytes.
    pub data: &'a [u8],
}

/// A media segment of one track (ISO/IEC 14496-12 §8.16.2), as samples in decode order.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Segment<'a> {
    /// The box of its types, as it is, where there is one.
    pub(super) types: &'a [u8],
    /// The number of its first fragment.
    pub(super) number: u32,
    /// Which description its samples have.
    pub(super) description: u32,
    /// When it begins.
    pub(super) start: u64,
    pub(super) samples: Vec<Sample<'a>>,
}

impl<'a> Segment<'a> {
    /// Most samples of a segment, and of what is made of several: two minutes of 60 pictures a second.
    pub const MAX_SAMPLES: usize = 1 << 13;
    /// Bytes that suffice for what is known of a sample, besides its own, while layers are read, merged and written: a [`Sample`] where it
    /// is read and where it is merged, what both are read from and written from, and what stands in the result.
    pub const SAMPLE: u64 = 256;
    /// Longest segment that is held in memory, in bytes.
    pub const MAX_LEN: u64 = 16 << 20;

    /// Reads a media segment of this track.
    ///
    /// # Errors
    ///
    /// [`Unreadable`], also for what is more than samples: encryption, groups of samples, events.
    pub fn read(bytes: &'a [u8], track: &Track) -> Result<Self, Unreadable> {
        let mut new = Self { types: &[], number: 0, description: 0, start: 0, samples: Vec::new() };
        let mut fragments = 0;
        let mut left = bytes.len();
        for child in boxes(bytes) {
            let child = child?;
            match &child.kind {
                b"styp" if fragments == 0 => {
                    new.types = child.whole;
                    left = left.saturating_sub(child.whole.len());
                }
                b"moof" => {
                    new.fragment(&child, bytes, track, fragments == 0, &mut left)?;
                    fragments += 1;
                }
                // Content is taken by where samples are; an index is of what was.
                b"mdat" | b"sidx" | b"free" | b"skip" => {}
                _ => return Err(Unreadable::Unknown(name_of(child.kind))),
            }
        }
        if fragments == 0 { Err(Unreadable::Missing("moof")) } else { Ok(new) }
    }

    /// The samples, in decode order.
    pub fn samples(&self) -> &[Sample<'a>] {
        &self.samples
    }

    /// When the last sample is over.
    pub fn end(&self) -> u64 {
        self.samples.last().map_or(self.start, |last| last.time.saturating_add(last.duration.into()))
    }

    /// How long all of it is shown.
    pub fn duration(&self, track: &Track) -> Duration {
        let seconds = (self.end() - self.start) as f64 / f64::from(track.timescale);
        Duration::try_from_secs_f64(seconds).unwrap_or(Duration::MAX)
    }

    /// The segment as one fragment of this track.
    ///
    /// # Errors
    ///
    /// [`Unreadable`]: numbers for which fragments have no room.
    pub fn write(&self, track: &Track) -> Result<Vec<u8>, Unreadable> {
        let length: usize = self.samples.iter().map(|sample| sample.data.len()).sum();
        let entry = |sample: &Sample<'_>| TrunEntry {
            duration: Some(sample.duration),
            size: u32::try_from(sample.data.len()).ok(),
            flags: Some(sample.flags),
            cts: Some(sample.later),
        };
        let run = Trun { data_offset: Some(0), samples: self.samples.iter().map(entry).collect::<Vec<_>>().into() };
        let header = Tfhd {
            track_id: track.id,
            sample_description_index: Some(self.description),
            default_base_is_moof: true,
            ..Tfhd::default()
        };
        let traf = Traf {
            tfhd: header,
            tfdt: Some(Tfdt { base_media_decode_time: self.start }),
            trun: vec![run],
            ..Traf::default()
        };
        let mut moof = Moof { mfhd: Mfhd { sequence_number: self.number }, traf: vec![traf] };
        let mut head = Vec::new();
        write(&mut head, &moof)?;
        // Content begins behind the head of its box; what that is does not change how long this one is.
        let offset = i32::try_from(head.len() + MDAT).map_err(|_| Unreadable::Samples)?;
        moof.traf.iter_mut().flat_map(|traf| &mut traf.trun).for_each(|run| run.data_offset = Some(offset));
        let size = u32::try_from(length + MDAT).map_err(|_| Unreadable::Bytes)?;
        let mut out = Vec::with_capacity(self.types.len() + head.len() + length + MDAT);
        out.extend_from_slice(self.types);
        write(&mut out, &moof)?;
        out.extend_from_slice(&size.to_be_bytes());
        out.extend_from_slice(b"mdat");
        self.samples.iter().for_each(|sample| out.extend_from_slice(sample.data));
        Ok(out)
    }

    /// Reads a `moof`. `left`: the bytes that are not of types or of a sample yet, so that no byte makes more than one.
    fn fragment(
        &mut self,
        moof: &Child<'_>,
        bytes: &'a [u8],
        track: &Track,
        is_first: bool,
        left: &mut usize,
    ) -> Result<(), Unreadable> {
        let number = read::<Mfhd>(&only(moof.body, "mfhd")?, "mfhd")?.sequence_number;
        let traf = only(moof.body, "traf")?;
        let header: Tfhd = read(&only(traf.body, "tfhd")?, "tfhd")?;
        let defaults = &track.defaults;
        let description = header.sample_description_index.unwrap_or(defaults.default_sample_description_index);
        let time = match only(traf.body, "tfdt") {
            Ok(time) => read::<Tfdt>(&time, "tfdt")?.base_media_decode_time,
            Err(Unreadable::Missing(_)) if !is_first => self.end(),
            Err(error) => return Err(error),
        };
        if header.track_id != track.id {
            return Err(Unreadable::fields("tfhd", "it is of another track"));
        }
        if header.base_data_offset.is_some() {
            return Err(Unreadable::fields("tfhd", "places are those in a file"));
        }
        if is_first {
            (self.number, self.description, self.start) = (number, description, time);
        } else if description != self.description {
            return Err(Unreadable::fields("tfhd", "the description changes"));
        } else if time < self.end() {
            return Err(Unreadable::Times);
        }
        let duration = header.default_sample_duration.unwrap_or(defaults.default_sample_duration);
        let size = header.default_sample_size.unwrap_or(defaults.default_sample_size);
        let flags = header.default_sample_flags.unwrap_or(defaults.default_sample_flags);
        let (mut time, mut place) = (time, None);
        for child in boxes(traf.body) {
            let child = child?;
            match &child.kind {
                b"tfhd" | b"tfdt" => continue,
                b"trun" => {}
                _ => return Err(Unreadable::Unknown(name_of(child.kind))),
            }
            // §8.8.8.2: the number of samples is behind version and flags. Nothing is made of a number that is too large.
            let count = child.body.get(4..8).and_then(|count| <[u8; 4]>::try_from(count).ok()).map(u32::from_be_bytes);
            if count.is_some_and(|count| count as usize > Self::MAX_SAMPLES - self.samples.len()) {
                return Err(Unreadable::Samples);
            }
            let run: Trun = read(&child, "trun")?;
            // §8.8.8.1: from the beginning of the moof on, or behind the run before.
            let first = run.data_offset.map(|offset| moof.at as i64 + i64::from(offset));
            let mut at = first.or(place).filter(|at| *at >= 0).ok_or(Unreadable::Bytes)? as usize;
            for entry in &run.samples {
                let (duration, size) = (entry.duration.unwrap_or(duration), entry.size.unwrap_or(size) as usize);
                // So that there are no more samples than bytes.
                if size == 0 {
                    return Err(Unreadable::fields("trun", "there is a sample of no bytes"));
                }
                *left = left.checked_sub(size).ok_or(Unreadable::Bytes)?;
                let data = at.checked_add(size).and_then(|end| bytes.get(at..end)).ok_or(Unreadable::Bytes)?;
                let (later, flags) = (entry.cts.unwrap_or(0), entry.flags.unwrap_or(flags));
                self.samples.push(Sample { time, duration, later, flags, data });
                at += size;
                time = time.checked_add(duration.into()).ok_or(Unreadable::Times)?;
            }
            place = Some(at as i64);
        }
        Ok(())
    }
}

/// The head of a box.
const MDAT: usize = 8;
