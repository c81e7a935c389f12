//! Which bytes a request asks for (RFC 9110 §14).

use std::ops::Range;

use http::{HeaderMap, HeaderValue, Response, StatusCode, header};

use super::{
    Answered,
    answer::{Answer, insert, sentence},
};

/// An answer without its body yet, of something of this length, and which bytes the body is to have. Where there are none the answer
/// is complete.
pub(super) fn promise(headers: &HeaderMap, length: u64, tag: String, mime: &str) -> (Answer, Range<u64>) {
    let (status, part) = match wanted(headers, length, &tag) {
        Wanted::All => (StatusCode::OK, 0..length),
        Wanted::Part(from, end) => (StatusCode::PARTIAL_CONTENT, from..end),
        Wanted::Nothing => {
            let mut answer = sentence(StatusCode::RANGE_NOT_SATISFIABLE, format_args!("it has {length} bytes"));
            insert(&mut answer, header::CONTENT_RANGE, format!("bytes */{length}"));
            return (answer, 0..0);
        }
    };
    let mut answer = Response::new(Answered::from(String::new()));
    *answer.status_mut() = status;
    insert(&mut answer, header::CONTENT_TYPE, mime.to_owned());
    insert(&mut answer, header::CONTENT_LENGTH, (part.end - part.start).to_string());
    insert(&mut answer, header::ETAG, tag);
    answer.headers_mut().insert(header::ACCEPT_RANGES, HeaderValue::from_static("bytes"));
    if status == StatusCode::PARTIAL_CONTENT {
        insert(&mut answer, header::CONTENT_RANGE, format!("bytes {}-{}/{length}", part.start, part.end - 1));
    }
    (answer, part)
}

/// What part of something of a known length is asked for.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Wanted {
    /// All of it.
    All,
    /// From the first of these bytes on, before the second.
    Part(u64, u64),
    /// Nothing that there is.
    Nothing,
}

/// Reads `Range`, and `If-Range` with a strong entity tag. Several ranges at once, other units, and what cannot be read are
/// ignored, as RFC 9110 §14.2 allows.
fn wanted(headers: &HeaderMap, length: u64, tag: &str) -> Wanted {
    let Some(range) = headers.get(header::RANGE).and_then(|value| value.to_str().ok()) else { return Wanted::All };
    // RFC 9110 §13.1.5: a date never matches here, for there is none; a weak tag does not either.
    if headers.get(header::IF_RANGE).is_some_and(|value| value.as_bytes() != tag.as_bytes()) {
        return Wanted::All;
    }
    read(range, length).unwrap_or(Wanted::All)
}

fn read(range: &str, length: u64) -> Option<Wanted> {
    let (unit, set) = range.split_once('=')?;
    let (first, last) = set.trim().split_once('-')?;
    if !unit.trim().eq_ignore_ascii_case("bytes") || last.contains(',') {
        return None;
    }
    let number = |text: &str| match text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_digit()) {
        true => None,
        // What is too large for a number is beyond every end.
        false => Some(text.parse().unwrap_or(u64::MAX)),
    };
    if first.is_empty() {
        // The last so many bytes.
        let count: u64 = number(last)?;
        return Some(if count == 0 || length == 0 {
            Wanted::Nothing
        } else {
            Wanted::Part(length.saturating_sub(count), length)
        });
    }
    let first = number(first)?;
    let end = if last.is_empty() { length } else { number(last)?.saturating_add(1).min(length) };
    if !last.is_empty() && number(last)? < first {
        return None;
    }
    Some(if first >= length { Wanted::Nothing } else { Wanted::Part(first, end) })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(range: &str, length: u64) -> Wanted {
        let mut headers = HeaderMap::new();
        headers.insert(header::RANGE, range.parse().unwrap());
        wanted(&headers, length, "\"tag\"")
    }

    #[test]
    fn ranges_of_rfc_9110() {
        // The examples of §14.1.2, of 10 000 bytes.
        assert_eq!(of("bytes=0-499", 10_000), Wanted::Part(0, 500));
        assert_eq!(of("bytes=500-999", 10_000), Wanted::Part(500, 1000));
        assert_eq!(of("bytes=-500", 10_000), Wanted::Part(9500, 10_000));
        assert_eq!(of("bytes=9500-", 10_000), Wanted::Part(9500, 10_000));
        assert_eq!(of("bytes=0-0", 10_000), Wanted::Part(0, 1));
        assert_eq!(of("bytes=-1", 10_000), Wanted::Part(9999, 10_000));
        assert_eq!(of("bytes=9999-99999999999999999999999", 10_000), Wanted::Part(9999, 10_000));
        assert_eq!(of("bytes=-20000", 10_000), Wanted::Part(0, 10_000));
    }

    #[test]
    fn what_is_not_there_and_what_makes_no_sense() {
        for range in ["bytes=10000-", "bytes=10000-10001", "bytes=99999999999999999999-", "bytes=-0"] {
            assert_eq!(of(range, 10_000), Wanted::Nothing, "{range}");
        }
        assert_eq!(of("bytes=0-", 0), Wanted::Nothing);
        assert_eq!(of("bytes=-5", 0), Wanted::Nothing);
        for range in [
            "bytes=",
            "bytes=-",
            "bytes=5-4",
            "bytes=a-b",
            "bytes=+1-2",
            "bytes=0-1,5-6",
            "lines=1-2",
            "0-5",
            "bytes=1-2-3",
        ] {
            assert_eq!(of(range, 10_000), Wanted::All, "{range}");
        }
    }

    #[test]
    fn a_range_of_something_else_is_all_of_this() {
        let mut headers = HeaderMap::new();
        headers.insert(header::RANGE, "bytes=0-1".parse().unwrap());
        for (tag, wants) in [("\"tag\"", Wanted::Part(0, 2)), ("\"other\"", Wanted::All), ("W/\"tag\"", Wanted::All)] {
            headers.insert(header::IF_RANGE, tag.parse().unwrap());
            assert_eq!(wanted(&headers, 10, "\"tag\""), wants, "{tag}");
        }
        headers.insert(header::IF_RANGE, "Wed, 25 Nov 2026 07:28:00 GMT".parse().unwrap());
        assert_eq!(wanted(&headers, 10, "\"tag\""), Wanted::All);
    }
}
