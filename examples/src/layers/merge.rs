use super::{Sample, Segment, Track, Unreadable, h264::is_needed};

/// Puts the layers of one segment together: their samples in decode order, each until the next one. Types, number and description are
/// those of the first, the base.
///
/// # Errors
///
/// [`Unreadable`]: no layer, or times between which there is more than fits.
pub fn merge<'a>(layers: &[Segment<'a>]) -> Result<Segment<'a>, Unreadable> {
    let base = layers.first().ok_or(Unreadable::Missing("moof"))?;
    if layers.iter().any(|layer| layer.description != base.description) {
        return Err(Unreadable::Different);
    }
    let mut samples: Vec<Sample<'a>> = layers.iter().flat_map(|layer| layer.samples.iter().copied()).collect();
    if samples.len() > Segment::MAX_SAMPLES {
        return Err(Unreadable::Samples);
    }
    samples.sort_by_key(|sample| sample.time);
    let end = layers.iter().map(Segment::end).max().unwrap_or(base.start);
    of(base, samples, end)
}

/// Takes a segment of H.264 apart: the pictures that others are made of, and those that they can do without.
///
/// # Errors
///
/// [`Unreadable`]: it is not H.264, or merged it would not be what it was, for there are gaps between samples.
pub fn divide<'a>(segment: &Segment<'a>, track: &Track) -> Result<[Segment<'a>; 2], Unreadable> {
    let nal_length = track.nal_length()?;
    part(segment, |sample| is_needed(sample.data, nal_length))
}

/// Takes a segment apart: the samples for which this holds, and the others. Each lasts until the next one of its layer.
///
/// # Errors
///
/// [`Unreadable`]: merged it would not be what it was, for there are gaps between samples.
pub fn part<'a>(
    segment: &Segment<'a>,
    is_below: impl Fn(&Sample<'a>) -> Result<bool, Unreadable>,
) -> Result<[Segment<'a>; 2], Unreadable> {
    let (mut base, mut more) = (Vec::new(), Vec::new());
    for sample in &segment.samples {
        (if is_below(sample)? { &mut base } else { &mut more }).push(*sample);
    }
    let end = segment.end();
    let layers = [of(segment, base, end)?, of(segment, more, end)?];
    if merge(&layers)?.samples == segment.samples { Ok(layers) } else { Err(Unreadable::Gaps) }
}

/// A segment like another one of these samples, the last of which ends there.
fn of<'a>(like: &Segment<'a>, mut samples: Vec<Sample<'a>>, end: u64) -> Result<Segment<'a>, Unreadable> {
    let start = samples.first().map_or(like.start, |first| first.time);
    let mut next = end;
    for sample in samples.iter_mut().rev() {
        let until = next.checked_sub(sample.time).and_then(|until| u32::try_from(until).ok());
        sample.duration = until.ok_or(Unreadable::Times)?;
        next = sample.time;
    }
    Ok(Segment { start, samples, ..like.clone() })
}
