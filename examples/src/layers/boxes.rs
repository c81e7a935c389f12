//! Boxes side by side (ISO/IEC 14496-12 §4.2), one level at a time.
//!
//! Those without boxes in them are read by `mp4_atom`. It reads boxes in boxes by calling itself as deep as a stranger likes, which is
//! why it is not asked to here.

use mp4_atom::{Atom, Decode, Encode, Header};

use super::Unreadable;

/// A box.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Child<'a> {
    pub(crate) kind: [u8; 4],
    /// Where it begins in what it stands in.
    pub(crate) at: usize,
    /// All of it.
    pub(crate) whole: &'a [u8],
    /// What is in it.
    pub(crate) body: &'a [u8],
}

/// The boxes that these bytes consist of.
pub(crate) fn boxes(bytes: &[u8]) -> impl Iterator<Item = Result<Child<'_>, Unreadable>> {
    let mut at = 0;
    std::iter::from_fn(move || {
        let rest = bytes.get(at..).filter(|rest| !rest.is_empty())?;
        let read = first(rest).ok_or(Unreadable::Size);
        match read {
            Ok((kind, head, len)) => {
                let child = Child { kind, at, whole: &rest[..len], body: &rest[head..len] };
                at += len;
                Some(Ok(child))
            }
            Err(error) => {
                at = bytes.len();
                Some(Err(error))
            }
        }
    })
}

/// The only box of this name.
pub(super) fn only<'a>(bytes: &'a [u8], name: &'static str) -> Result<Child<'a>, Unreadable> {
    let mut found = None;
    for child in boxes(bytes) {
        let child = child?;
        if child.kind == *name.as_bytes() && found.replace(child).is_some() {
            return Err(Unreadable::fields(name, "there are several"));
        }
    }
    found.ok_or(Unreadable::Missing(name))
}

/// Reads a box that has no boxes in it.
pub(super) fn read<T: Atom>(child: &Child<'_>, name: &'static str) -> Result<T, Unreadable> {
    T::decode(&mut &child.whole[..]).map_err(|e| Unreadable::fields(name, e))
}

/// Writes a box.
pub(super) fn write(out: &mut Vec<u8>, what: &impl Encode) -> Result<(), Unreadable> {
    what.encode(out).map_err(|e| Unreadable::fields("moof", e))
}

/// As it can be shown.
pub(super) fn name_of(kind: [u8; 4]) -> String {
    kind.iter().map(|&byte| if byte.is_ascii_graphic() { char::from(byte) } else { '?' }).collect()
}

/// Name, length of the head and of all of the first box; it has to end within the bytes.
fn first(bytes: &[u8]) -> Option<([u8; 4], usize, usize)> {
    let mut rest = bytes;
    let header = Header::decode(&mut rest).ok()?;
    let head = bytes.len() - rest.len();
    let body = header.size.unwrap_or(rest.len());
    (body <= rest.len()).then(|| (*header.kind.as_ref(), head, head + body))
}
