//! Durations as XML Schema writes them (`PT1H2M3.5S`).

/// In nanoseconds. `None` for what is not one, for months and years, which have no length, and for negative ones.
pub(super) fn nanoseconds(text: &str) -> Option<u128> {
    let rest = text.trim().strip_prefix('P')?;
    let (days, time) = rest.split_once('T').map_or((rest, None), |(days, time)| (days, Some(time)));
    if days.is_empty() && time.is_none() || time == Some("") {
        return None;
    }
    let days = sum(days, &[('Y', None), ('M', None), ('D', Some(86_400))])?;
    Some(days + sum(time.unwrap_or_default(), &[('H', Some(3600)), ('M', Some(60)), ('S', Some(1))])?)
}

/// Numbers with their units in seconds, each at most once and in this order. Of a unit without a length there may be none.
fn sum(mut text: &str, units: &[(char, Option<u128>)]) -> Option<u128> {
    let mut total = 0;
    for (letter, seconds) in units {
        // A letter that comes later, or never: another unit's.
        let Some((number, rest)) = text.split_once(*letter) else { continue };
        let (whole, fraction) = number.split_once('.').map_or((number, ""), |(whole, fraction)| (whole, fraction));
        let is_digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
        if whole.is_empty() || !is_digits(whole) || !is_digits(fraction) || number.contains('.') && *letter != 'S' {
            return None;
        }
        let whole: u32 = whole.parse().ok()?;
        let digits = fraction.bytes().map(|byte| u128::from(byte - b'0')).chain(core::iter::repeat(0));
        let fraction = digits.take(9).fold(0, |sum, digit| sum * 10 + digit);
        match seconds {
            Some(seconds) => total += (u128::from(whole) * SECOND + fraction) * seconds,
            None if whole == 0 => {}
            None => return None,
        }
        text = rest;
    }
    text.is_empty().then_some(total)
}

/// In nanoseconds.
pub(super) const SECOND: u128 = 1_000_000_000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations() {
        for (text, millis) in [
            ("PT3.0S", 3000),
            ("PT0S", 0),
            (" PT1H2M3.5S ", 3_723_500),
            ("P0Y0M1DT0H0M0.000S", 86_400_000),
            ("P2D", 172_800_000),
            ("PT90M", 5_400_000),
            ("PT.", -1),
            ("PT3.S", 3000),
        ] {
            let found = nanoseconds(text).map_or(-1, |nanos| (nanos / 1_000_000) as i64);
            assert_eq!(found, millis, "{text}");
        }
        assert_eq!(nanoseconds("PT0.0000000019S"), Some(1));
        for bad in [
            "",
            "P",
            "PT",
            "3",
            "P1Y",
            "P1M",
            "-PT1S",
            "PT1",
            "PTS",
            "PT-1S",
            "PT1.5H",
            "PT1S1M",
            "PT9999999999S",
            "PT1Sx",
        ] {
            assert_eq!(nanoseconds(bad), None, "{bad}");
        }
    }
}
