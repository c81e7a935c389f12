//! References relative to the manifest (RFC 3986 §4.2), and the paths that they mean.

use alloc::{borrow::ToOwned, string::String, vec::Vec};

use percent_encoding::percent_decode_str;

use super::{Wrong, error::shown};
use crate::descriptor::Descriptor;

/// Resolves a reference (RFC 3986 §5.2). Base and result are relative to the manifest's directory and lie in it, percent-encoded
/// as they were.
pub(super) fn resolve(base: &str, reference: &str) -> Result<String, Wrong> {
    let path = reference.trim().split(['?', '#']).next().unwrap_or_default();
    let first = path.split('/').next().unwrap_or_default();
    // RFC 3986 §4.2: with a colon in it the first part would be a scheme.
    if path.starts_with('/') || first.contains(':') {
        return Err(Wrong::Outside(shown(reference)));
    }
    // RFC 3986 §5.2.2: the base itself.
    if path.is_empty() {
        return Ok(base.to_owned());
    }
    if path.len() > MAX_ENCODED {
        return Err(Wrong::Name(shown(reference)));
    }
    let directory = base.rsplit_once('/').map_or("", |(directory, _)| directory);
    let mut parts: Vec<&str> = directory.split('/').filter(|part| !part.is_empty()).collect();
    let (inner, last) = path.rsplit_once('/').map_or((None, path), |(inner, last)| (Some(inner), last));
    // RFC 3986 §5.2.4, but that nothing is above the directory.
    let mut enter = |part| match part {
        "." => Ok(()),
        ".." => parts.pop().map(drop).ok_or_else(|| Wrong::Outside(shown(reference))),
        part if is_part(part) => {
            parts.push(part);
            Ok(())
        }
        _ => Err(Wrong::Name(shown(reference))),
    };
    inner.into_iter().flat_map(|inner| inner.split('/')).try_for_each(&mut enter)?;
    let is_directory = matches!(last, "" | "." | "..");
    if !last.is_empty() {
        enter(last)?;
    }
    let mut resolved = parts.join("/");
    if is_directory && !resolved.is_empty() {
        resolved.push('/');
    }
    if resolved.len() > MAX_ENCODED { Err(Wrong::Name(shown(reference))) } else { Ok(resolved) }
}

/// The path of the file that a resolved reference means.
pub(super) fn of_file(resolved: &str) -> Result<String, Wrong> {
    if resolved.is_empty() || resolved.ends_with('/') {
        return Err(Wrong::NoFile);
    }
    let name = percent_decode_str(resolved).decode_utf8().map_err(|_| Wrong::Name(shown(resolved)))?;
    if name.len() > Descriptor::MAX_NAME { Err(Wrong::Name(shown(resolved))) } else { Ok(name.into_owned()) }
}

/// Is it one name of a path for everybody: also for those who decode first, or take `\` for `/`?
fn is_part(part: &str) -> bool {
    let decoded = percent_decode_str(part).decode_utf8();
    decoded.is_ok_and(|name| {
        !matches!(&*name, "" | "." | "..") && !name.chars().any(|c| c.is_control() || matches!(c, '/' | '\\'))
    })
}

/// Longest path while it is percent-encoded.
const MAX_ENCODED: usize = 3 * Descriptor::MAX_NAME;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn references_are_resolved() {
        for (base, reference, resolved) in [
            ("", "a.m4s", "a.m4s"),
            ("", "", ""),
            ("v/", "", "v/"),
            ("v/x.mp4", "", "v/x.mp4"),
            ("v/x.mp4", "y.mp4?token=1#t", "v/y.mp4"),
            ("v/w/", "../a/./b.m4s", "v/a/b.m4s"),
            ("v/w/", "..", "v/"),
            ("v/", "..", ""),
            ("v/", ".", "v/"),
            ("v/", "w/", "v/w/"),
            ("v/", "./", "v/"),
            (" ", " a%20b.mp4 ", "a%20b.mp4"),
            ("", "a/b:c", "a/b:c"),
        ] {
            assert_eq!(resolve(base, reference).as_deref(), Ok(resolved), "{base} {reference}");
        }
        assert_eq!(of_file("v/a%20b%C3%A9.mp4").as_deref(), Ok("v/a bé.mp4"));
    }

    #[test]
    fn nothing_is_outside() {
        for outside in ["http://a/b", "//a/b", "/a", "../a", "a/../../b", "data:,x", "file:x", "C:x"] {
            assert!(matches!(resolve("", outside), Err(Wrong::Outside(_))), "{outside}");
        }
        assert!(matches!(resolve("v/", "../../a"), Err(Wrong::Outside(_))));
        for bad in [".//etc/passwd", "a//b", "%2e%2e/a", "a/%2E", "a%2fb", "a\\b", "a%5cb", "%00", "a\tb", "%ff"] {
            assert!(matches!(resolve("", bad), Err(Wrong::Name(_))), "{bad}");
        }
        let long = "a/".repeat(2000);
        assert!(resolve("", &long).is_err());
        assert_eq!(of_file(&"a".repeat(513)), Err(Wrong::Name("a".repeat(128))));
        assert_eq!((of_file(""), of_file("a/")), (Err(Wrong::NoFile), Err(Wrong::NoFile)));
    }
}
