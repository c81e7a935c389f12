/// The Unix second of a `Date` header in the one form that is sent today: `Sun, 06 Nov 1994 08:49:37 GMT`
/// (RFC 9110 §5.6.7).
pub(super) fn read(text: &str) -> Option<u64> {
    let (_, rest) = text.split_once(", ")?;
    let mut parts = rest.split(' ');
    let mut next = || parts.next();
    let (day, month, year, time) = (next()?, next()?, next()?, next()?);
    if next() != Some("GMT") {
        return None;
    }
    let month = MONTHS.iter().position(|name| *name == month)? as u64;
    let number = |text: &str, below: u64| text.parse().ok().filter(|&number: &u64| number < below);
    let (day, year) = (number(day, 32)?, number(year, 10_000)?.checked_sub(1970)?);
    let mut clock = time.split(':');
    let mut next = |below| number(clock.next()?, below);
    let seconds = next(24)? * 3600 + next(60)? * 60 + next(61)?;
    // Years begin in March here: the day that some have more is their last one.
    let (year, month) = if month < 2 { (year + 1969, month + 10) } else { (year + 1970, month - 2) };
    let days = year * 365 + year / 4 - year / 100 + year / 400 + (month * 153 + 2) / 5 + day.checked_sub(1)?;
    Some(days.checked_sub(719_468)? * 86_400 + seconds)
}

const MONTHS: [&str; 12] = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];

#[cfg(test)]
mod tests {
    use super::read;

    #[test]
    fn dates() {
        assert_eq!(read("Sun, 06 Nov 1994 08:49:37 GMT"), Some(784_111_777)); // the example of the RFC
        assert_eq!(read("Thu, 01 Jan 1970 00:00:00 GMT"), Some(0));
        assert_eq!(read("Tue, 29 Feb 2000 12:00:00 GMT"), Some(951_825_600));
        assert_eq!(read("Wed, 01 Mar 2000 00:00:00 GMT"), Some(951_868_800));
        assert_eq!(read("Wed, 25 Nov 2026 23:45:27 GMT"), Some(1_795_650_327));
        for bad in ["", "Sun, 06 Nov 1994 08:49:37", "Sun, 06 Foo 1994 08:49:37 GMT", "x, 00 Nov 1994 08:49:37 GMT"] {
            assert_eq!(read(bad), None, "{bad}");
        }
    }
}
