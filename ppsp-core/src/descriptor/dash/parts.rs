//! `ppsp:Parts` and `ppsp:Origin`: where the files of a Representation lie in its swarm, and where else they can be had.

use alloc::{
    string::{String, ToString},
    vec::Vec,
};
use core::ops::Range;

use super::{DashError, Resources, Wrong, error::shown};
use crate::descriptor::{Descriptor, swarm, xml::Element};

/// The files of a Representation, as they are joined in its swarm.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Parts {
    /// One behind the other, from byte 0 on.
    list: Vec<Part>,
    /// Places in `list`, in the order of names.
    by_name: Vec<usize>,
}

/// One file in a swarm.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Part {
    /// Its path relative to the manifest.
    pub name: String,
    /// Which bytes of the swarm it is. Where a single file's length is not known, up to [`u64::MAX`].
    pub range: Range<u64>,
}

impl Parts {
    /// All of them, in their order.
    pub fn list(&self) -> &[Part] {
        &self.list
    }

    /// Which bytes of the swarm this file is. The name is a path relative to the manifest, percent-decoded.
    pub fn part(&self, name: &str) -> Option<Range<u64>> {
        let name_at = |at: &usize| self.list.get(*at).map(|part| part.name.as_str());
        let found = self.by_name.binary_search_by(|at| name_at(at).cmp(&Some(name))).ok()?;
        self.list.get(*self.by_name.get(found)?).map(|part| part.range.clone())
    }

    /// The part in which this byte of the swarm is.
    pub fn at(&self, byte: u64) -> Option<&Part> {
        self.list.get(self.list.partition_point(|part| part.range.end <= byte))
    }

    /// Length of all in bytes.
    pub fn len(&self) -> u64 {
        self.list.last().map_or(0, |part| part.range.end)
    }

    /// Is there no byte?
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl Resources {
    /// How the files lie in the swarm where they have these lengths, in the order of [`files`](Self::files). Those at the end that
    /// are not certain may be missing.
    ///
    /// # Errors
    ///
    /// [`DashError::In`] where the manifest refers to more files, or to more of a file.
    pub fn joined(&self, lengths: &[u64]) -> Result<Parts, DashError> {
        self.join(lengths).map_err(|wrong| DashError::In { representation: shown(&self.representation), wrong })
    }

    fn join(&self, lengths: &[u64]) -> Result<Parts, Wrong> {
        let files = self.files();
        if lengths.len() > files.len() {
            return Err(Wrong::Parts("there are more than the manifest has files"));
        }
        if files.get(lengths.len()).is_some_and(|file| file.certain) {
            return Err(Wrong::Parts("there are fewer than the manifest has files"));
        }
        let mut list = Vec::with_capacity(lengths.len());
        let mut start = 0_u64;
        for (file, &len) in files.iter().zip(lengths) {
            if len < file.min_len {
                return Err(Wrong::TooShort { name: shown(file.name), len, min_len: file.min_len });
            }
            let end = start.checked_add(len).ok_or(Wrong::Parts("together they are too long"))?;
            list.push(Part { name: file.name.to_string(), range: start..end });
            start = end;
        }
        let mut by_name: Vec<usize> = (0..list.len()).collect();
        by_name.sort_by(|&a, &b| list.get(a).map(|part| &part.name).cmp(&list.get(b).map(|part| &part.name)));
        Ok(Parts { list, by_name })
    }
}

impl Descriptor {
    /// How the files of this Representation lie in its swarm.
    ///
    /// # Errors
    ///
    /// [`DashError`], also where the descriptor does not tell: a plain manifest tells it of single files only.
    pub fn parts(&self, id: &str) -> Result<Parts, DashError> {
        let place = self.place(id)?;
        let resources = place.resources(&mut { Self::MAX_REFERENCES })?;
        let ours = |name: &str| place.element.elements().find(|child| child.is(Self::NAMESPACE, name));
        let total = ours("Swarm").and_then(|element| swarm::read(element).ok()?.metadata.content_length);
        let lengths = match ours("Parts").map(|element| read(&element.content())) {
            Some(lengths) => lengths,
            None if resources.files().len() == 1 => Ok(Vec::from([total.unwrap_or(u64::MAX)])),
            None => Err(Wrong::NoParts),
        };
        let parts = lengths.and_then(|lengths| resources.join(&lengths)).map_err(|wrong| place.error(wrong))?;
        if total.is_some_and(|total| total != parts.len()) {
            return Err(place.error(Wrong::Parts("together they are not as long as the swarm")));
        }
        Ok(parts)
    }

    /// Says how long the files of this Representation are, in the order of [`Resources::files`]: all of them, or all but those at
    /// the end that are not certain. Its swarm is set before.
    ///
    /// # Errors
    ///
    /// [`DashError`] where that does not fit the manifest or the swarm; then nothing has changed.
    pub fn set_parts(&mut self, id: &str, lengths: &[u64]) -> Result<(), DashError> {
        let text: Vec<String> = lengths.iter().map(u64::to_string).collect();
        let before = self.clone();
        let element = Element::new(&(self.prefix() + "Parts"), Self::NAMESPACE).text(text.join(" "));
        self.set_own(id, "Parts", Some(element));
        if let Err(error) = self.parts(id) {
            *self = before;
            return Err(error);
        }
        Ok(())
    }

    /// Says where the files of this Representation can be had without peers: each at its name below this URL. `None` for nowhere.
    ///
    /// # Errors
    ///
    /// [`DashError::Origin`] for what is no such URL, [`DashError::Unknown`] without such a Representation.
    pub fn set_origin(&mut self, id: &str, url: Option<&str>) -> Result<(), DashError> {
        if let Some(url) = url.filter(|url| !is_origin(url)) {
            return Err(DashError::Origin(shown(url)));
        }
        let name = self.prefix() + "Origin";
        let element = url.map(|url| Element::new(&name, Self::NAMESPACE).text(url));
        if self.set_own(id, "Origin", element) { Ok(()) } else { Err(DashError::Unknown(shown(id))) }
    }
}

/// The origin that a Representation names, where it makes sense.
pub(in crate::descriptor) fn origin(representation: &Element) -> Option<String> {
    let element = representation.elements().find(|child| child.is(Descriptor::NAMESPACE, "Origin"))?;
    Some(element.content()).filter(|url| is_origin(url))
}

/// An absolute URL below which names can be put (RFC 3986 §3).
fn is_origin(url: &str) -> bool {
    let Some((scheme, rest)) = url.split_once("://") else { return false };
    let authority = rest.split('/').next().unwrap_or_default();
    (scheme.eq_ignore_ascii_case("http") || scheme.eq_ignore_ascii_case("https"))
        && !authority.is_empty()
        && !authority.contains('@')
        && url.ends_with('/')
        && url.len() <= MAX_ORIGIN
        && url.bytes().all(|byte| byte.is_ascii_graphic() && !matches!(byte, b'?' | b'#' | b'\\' | b'"' | b'<' | b'>'))
}

fn read(text: &str) -> Result<Vec<u64>, Wrong> {
    let mut lengths = Vec::new();
    for length in text.split_ascii_whitespace() {
        if lengths.len() >= Descriptor::MAX_REFERENCES {
            return Err(Wrong::TooMany);
        }
        lengths.push(length.parse().map_err(|_| Wrong::Parts("they are not numbers"))?);
    }
    Ok(lengths)
}

/// Longest origin, in bytes.
const MAX_ORIGIN: usize = 2048;
