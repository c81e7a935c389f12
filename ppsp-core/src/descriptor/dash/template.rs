//! Identifiers in the templates of a SegmentTemplate (ISO/IEC 23009-1 §5.3.9.4.4).

use alloc::{format, string::String};

use super::{Wrong, error::shown};
use crate::descriptor::Descriptor;

/// What identifiers stand for.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Values<'a> {
    pub(super) representation: &'a str,
    pub(super) bandwidth: Option<u64>,
    /// None in initialization segments.
    pub(super) number: Option<u64>,
    /// None in initialization segments.
    pub(super) time: Option<u64>,
}

/// Fills in a template.
pub(super) fn expand(template: &str, values: &Values<'_>) -> Result<String, Wrong> {
    let bad = |why| Wrong::Template { template: shown(template), why };
    let mut out = String::new();
    let mut pieces = template.split('$');
    out.push_str(pieces.next().unwrap_or_default());
    while let Some(identifier) = pieces.next() {
        let literal = pieces.next().ok_or_else(|| bad("a '$' has no second one"))?;
        let (name, width) = match identifier.split_once('%') {
            Some((name, format)) => (name, Some(width(format).ok_or_else(|| bad("a width is written %0<digits>d"))?)),
            None => (identifier, None),
        };
        let number = match (name, width) {
            ("", None) => {
                out.push('$');
                None
            }
            ("RepresentationID", None) => {
                out.push_str(values.representation);
                None
            }
            ("Number", _) => Some(values.number.ok_or_else(|| bad("$Number$ stands for nothing here"))?),
            ("Time", _) => Some(values.time.ok_or_else(|| bad("$Time$ stands for nothing here"))?),
            ("Bandwidth", _) => Some(values.bandwidth.ok_or_else(|| bad("the Representation has no bandwidth"))?),
            _ => return Err(bad("it has an identifier that is not known here")),
        };
        if let Some(number) = number {
            out.push_str(&format!("{number:0width$}", width = width.unwrap_or(1)));
        }
        out.push_str(literal);
        if out.len() > 3 * Descriptor::MAX_NAME {
            return Err(Wrong::Name(shown(&out)));
        }
    }
    Ok(out)
}

/// Of `0<width>d`.
fn width(format: &str) -> Option<usize> {
    let digits = format.strip_prefix('0')?.strip_suffix('d')?;
    let plain = digits.bytes().all(|byte| byte.is_ascii_digit());
    digits.parse().ok().filter(|width| plain && *width <= MAX_WIDTH)
}

/// Longest number.
const MAX_WIDTH: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    fn filled(template: &str) -> Result<String, Wrong> {
        expand(
            template,
            &Values { representation: "v1", bandwidth: Some(800_000), number: Some(7), time: Some(25_600) },
        )
    }

    #[test]
    fn identifiers_are_filled_in() {
        for (template, expanded) in [
            ("", ""),
            ("plain.mp4", "plain.mp4"),
            ("$RepresentationID$/$Number$.m4s", "v1/7.m4s"),
            ("chunk-stream$RepresentationID$-$Number%05d$.m4s", "chunk-streamv1-00007.m4s"),
            ("$Number%01d$-$Time%03d$", "7-25600"),
            ("$Bandwidth$/$Time$", "800000/25600"),
            ("$Bandwidth%08d$", "00800000"),
            ("$$", "$"),
            ("a$$$Number$$$b", "a$7$b"),
        ] {
            assert_eq!(filled(template).as_deref(), Ok(expanded), "{template}");
        }
    }

    #[test]
    fn others_are_refused() {
        for bad in [
            "$",
            "a$Number",
            "$Number%5d$",
            "$Number%0d$",
            "$Number%05x$",
            "$Number%0+5d$",
            "$RepresentationID%02d$",
            "$SubNumber$",
            "$number$",
            "$Number%0999999999999d$",
            "$Number%065d$",
            "$%02d$",
        ] {
            assert!(matches!(filled(bad), Err(Wrong::Template { .. })), "{bad}");
        }
        let init = Values { representation: "v", ..Values::default() };
        assert_eq!(expand("init-$RepresentationID$.mp4", &init).as_deref(), Ok("init-v.mp4"));
        for bad in ["$Number$", "$Time$", "$Bandwidth$"] {
            assert!(matches!(expand(bad, &init), Err(Wrong::Template { .. })), "{bad}");
        }
        assert!(matches!(filled(&"$Number%064d$".repeat(100_000)), Err(Wrong::Name(_))));
    }
}
