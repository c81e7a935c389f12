//! From SegmentTemplate, SegmentList and SegmentBase (ISO/IEC 23009-1 §5.3.9) to what a Representation refers to.

use alloc::vec::Vec;
use core::ops::Range;

use super::{
    Place, Reference, Wrong,
    duration::{SECOND, nanoseconds},
    name, named,
    template::{Values, expand},
};
use crate::descriptor::{Descriptor, xml::Element};

/// What a Representation refers to, and how many of that are certain. `budget` is what may still be referred to in this manifest.
pub(super) fn references(place: &Place<'_>, base: &str, budget: &mut usize) -> Result<(Vec<Reference>, usize), Wrong> {
    let levels = [place.element, place.set, place.period];
    // Which of the three it is, is said at the innermost level that has one of them.
    let is_kind = |element: &&Element| KINDS.contains(&element.local());
    let kind = levels.iter().find_map(|level| level.elements().find(is_kind)).map(Element::local);
    let kind = kind.unwrap_or("SegmentBase");
    let elements = levels.iter().filter_map(|level| named(level, kind).next()).collect();
    let mut segments = Segments { place, base, elements, found: Vec::new(), budget };
    segments.initialization()?;
    let mut certain = None;
    match kind {
        "SegmentTemplate" => certain = segments.template()?,
        "SegmentList" => segments.list()?,
        _ => segments.refer(None, None)?,
    }
    if segments.found.is_empty() {
        return Err(Wrong::NoFile);
    }
    let certain = certain.unwrap_or(segments.found.len());
    Ok((segments.found, certain))
}

/// Where a segment is in time.
#[derive(Clone, Copy)]
struct Moment {
    number: u64,
    time: u64,
}

struct Segments<'a> {
    place: &'a Place<'a>,
    base: &'a str,
    /// The SegmentTemplate, SegmentList or SegmentBase of each level: what is not said in the first is said in those behind.
    elements: Vec<&'a Element>,
    found: Vec<Reference>,
    budget: &'a mut usize,
}

impl<'a> Segments<'a> {
    fn attribute(&self, name: &str) -> Option<&'a str> {
        self.elements.iter().find_map(|element| element.attribute(name))
    }

    fn number(&self, name: &'static str) -> Result<Option<u64>, Wrong> {
        number(self.attribute(name), name)
    }

    fn child(&self, name: &'a str) -> Option<&'a Element> {
        self.elements.iter().find_map(|element| named(element, name).next())
    }

    fn values(&self) -> Values<'a> {
        let bandwidth = self.place.element.attribute("bandwidth").and_then(|text| text.trim().parse().ok());
        Values { representation: self.place.id(), bandwidth, number: None, time: None }
    }

    /// Adds a reference; without URL it is to the BaseURL itself.
    fn refer(&mut self, url: Option<&str>, range: Option<&str>) -> Result<(), Wrong> {
        let name = name::of_file(&name::resolve(self.base, url.unwrap_or_default())?)?;
        let range = range.map(byte_range).transpose()?;
        *self.budget = self.budget.checked_sub(1).ok_or(Wrong::TooMany)?;
        self.found.push(Reference { name, range });
        Ok(())
    }

    /// What is needed before the first segment.
    fn initialization(&mut self) -> Result<(), Wrong> {
        for (attribute, element) in [
            ("initialization", "Initialization"),
            ("bitstreamSwitching", "BitstreamSwitching"),
            ("", "RepresentationIndex"),
        ] {
            if let Some(template) = self.attribute(attribute) {
                let url = expand(template, &self.values())?;
                self.refer(Some(&url), None)?;
            } else if let Some(element) = self.child(element) {
                self.refer(element.attribute("sourceURL"), element.attribute("range"))?;
            }
        }
        Ok(())
    }

    fn list(&mut self) -> Result<(), Wrong> {
        let with_urls = self.elements.iter().copied().find(|element| named(element, "SegmentURL").next().is_some());
        for url in with_urls.into_iter().flat_map(|element| named(element, "SegmentURL")) {
            self.refer(url.attribute("media"), url.attribute("mediaRange"))?;
            if url.attribute("index").is_some() {
                self.refer(url.attribute("index"), url.attribute("indexRange"))?;
            }
        }
        if with_urls.is_some() { Ok(()) } else { Err(Wrong::NoFile) }
    }

    /// How many references are certain, where not all are.
    fn template(&mut self) -> Result<Option<usize>, Wrong> {
        let media = self.attribute("media").ok_or(Wrong::Attribute("SegmentTemplate@media"))?;
        let index = self.attribute("index");
        let (moments, certain) = match self.child("SegmentTimeline") {
            Some(timeline) => (self.timeline(timeline)?, None),
            None => self.counted()?,
        };
        let mut certain_references = None;
        for (at, Moment { number, time }) in moments.into_iter().enumerate() {
            if certain == Some(at) {
                certain_references = Some(self.found.len());
            }
            let values = Values { number: Some(number), time: Some(time), ..self.values() };
            for template in [Some(media), index].into_iter().flatten() {
                let url = expand(template, &values)?;
                self.refer(Some(&url), None)?;
            }
        }
        Ok(certain_references)
    }

    /// The segments of a timeline (§5.3.9.6).
    fn timeline(&self, timeline: &Element) -> Result<Vec<Moment>, Wrong> {
        let mut moments = Vec::new();
        let mut next = Moment { number: self.number("startNumber")?.unwrap_or(1), time: 0 };
        let mut lines = named(timeline, "S").peekable();
        while let Some(line) = lines.next() {
            next.time = number(line.attribute("t"), "S@t")?.unwrap_or(next.time);
            next.number = number(line.attribute("n"), "S@n")?.unwrap_or(next.number);
            let length = number(line.attribute("d"), "S@d")?.filter(|d| *d > 0).ok_or(Wrong::Attribute("S@d"))?;
            let repeated = line.attribute("r").map_or(Ok(0), |r| r.trim().parse::<i64>());
            let count = match u64::try_from(repeated.map_err(|_| Wrong::Attribute("S@r"))?) {
                Ok(repeated) => repeated.saturating_add(1),
                // Until the next line begins, or the Period ends.
                Err(_) => {
                    let end = match lines.peek() {
                        Some(line) => number(line.attribute("t"), "S@t")?.ok_or(Wrong::Attribute("S@t"))?,
                        None => {
                            let offset = self.number("presentationTimeOffset")?.unwrap_or(0);
                            let ticks = u64::try_from(self.ticks()?.ok_or(Wrong::NoDuration)?).unwrap_or(u64::MAX);
                            offset.saturating_add(ticks)
                        }
                    };
                    // No line is without a segment, so that lines are counted with these.
                    end.saturating_sub(next.time).div_ceil(length).max(1)
                }
            };
            if count > self.budget.saturating_sub(moments.len()) as u64 {
                return Err(Wrong::TooMany);
            }
            for _ in 0..count {
                moments.push(next);
                next.time = next.time.checked_add(length).ok_or(Wrong::Attribute("S@d"))?;
                next.number = next.number.checked_add(1).ok_or(Wrong::Attribute("SegmentTemplate@startNumber"))?;
            }
        }
        Ok(moments)
    }

    /// Segments of equal duration, and how many are certain where not all are (§5.3.9.5.3).
    fn counted(&self) -> Result<(Vec<Moment>, Option<usize>), Wrong> {
        let start = self.number("startNumber")?.unwrap_or(1);
        let Some(length) = self.number("duration")? else {
            return Ok((Vec::from([Moment { number: start, time: 0 }]), None));
        };
        let (count, certain) = match self.number("endNumber")? {
            Some(end) => (u128::from(end).saturating_sub(u128::from(start)) + u128::from(end >= start), None),
            None => {
                let ticks = self.ticks()?.ok_or(Wrong::NoDuration)?;
                let length = Some(u128::from(length)).filter(|length| *length > 0);
                let count = ticks.div_ceil(length.ok_or(Wrong::Attribute("@duration"))?);
                (count.saturating_add(1), Some(count.saturating_sub(1).max(1)))
            }
        };
        let count = u64::try_from(count).ok().filter(|count| *count <= *self.budget as u64).ok_or(Wrong::TooMany)?;
        let moment = |at: u64| Some(Moment { number: start.checked_add(at)?, time: at.checked_mul(length)? });
        let moments: Option<Vec<_>> = (0..count).map(moment).collect();
        let moments = moments.ok_or(Wrong::Attribute("SegmentTemplate@startNumber"))?;
        Ok((moments, certain.and_then(|certain| usize::try_from(certain).ok())))
    }

    /// How long the Period is, in units of the timescale, rounded up; `None` where that is not said.
    fn ticks(&self) -> Result<Option<u128>, Wrong> {
        let read = |element: &Element, name: &str, wrong| match element.attribute(name) {
            None => Ok(None),
            Some(text) => nanoseconds(text).map(Some).ok_or(Wrong::Attribute(wrong)),
        };
        let duration = match read(self.place.period, "duration", "Period@duration")? {
            Some(duration) => Some(duration),
            None => {
                let all = read(self.place.root, "mediaPresentationDuration", "MPD@mediaPresentationDuration")?;
                let start = read(self.place.period, "start", "Period@start")?.unwrap_or(0);
                all.map(|all| all.saturating_sub(start))
            }
        };
        let scale = self.number("timescale")?.unwrap_or(1);
        if scale == 0 {
            return Err(Wrong::Attribute("@timescale"));
        }
        Ok(duration.map(|nanos| nanos.saturating_mul(u128::from(scale)).div_ceil(SECOND)))
    }
}

fn number(text: Option<&str>, name: &'static str) -> Result<Option<u64>, Wrong> {
    text.map(|text| text.trim().parse().map_err(|_| Wrong::Attribute(name))).transpose()
}

/// `first-last`, both included (RFC 9110 §14.1.2).
fn byte_range(text: &str) -> Result<Range<u64>, Wrong> {
    let parsed = text.trim().split_once('-').and_then(|(first, last)| {
        let (first, last): (u64, u64) = (first.parse().ok()?, last.parse().ok()?);
        Some(first..last.checked_add(1)?).filter(|range| !range.is_empty())
    });
    parsed.ok_or(Wrong::Attribute("a byte range"))
}

/// How segments are named.
pub(super) const KINDS: [&str; 3] = ["SegmentTemplate", "SegmentList", "SegmentBase"];

// References are counted before they are made: this is what bounds memory.
const _: () = assert!(Descriptor::MAX_REFERENCES * Descriptor::MAX_NAME <= 32 << 20);
