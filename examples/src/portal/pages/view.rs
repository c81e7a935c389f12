//! Numbers and times as people read them.

use crate::cli::units;

/// A moment: as a machine reads it, and as people do.
pub(super) struct Time {
    pub(super) machine: String,
    pub(super) people: String,
    /// To the second.
    pub(super) exact: String,
    /// The day alone.
    pub(super) date: String,
}

impl Time {
    /// From Unix seconds.
    pub(super) fn of(unix_s: u64) -> Self {
        let (year, month, day) = date(unix_s / 86_400);
        let (hour, minute, second) = (unix_s / 3600 % 24, unix_s / 60 % 60, unix_s % 60);
        let date = format!("{day} {} {year}", MONTHS[month as usize - 1]);
        Self {
            machine: format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z"),
            people: format!("{date}, {hour:02}:{minute:02} UTC"),
            exact: format!("{date}, {hour:02}:{minute:02}:{second:02} UTC"),
            date,
        }
    }
}

/// Bytes, where they are known.
pub(super) fn size(bytes: Option<u64>) -> String {
    bytes.map_or_else(|| "size unknown".to_owned(), units::bytes)
}

/// Unix seconds of what `<input type="datetime-local">` sends, taken as UTC; `None` for an empty one.
pub(super) fn parse_time(text: &str) -> Result<Option<u64>, ()> {
    if text.is_empty() {
        return Ok(None);
    }
    let read = || {
        let (day, time) = text.split_once('T')?;
        let mut day = day.splitn(3, '-').map(|part| part.parse::<u64>().ok());
        let mut time = time.splitn(3, ':').map(|part| part.parse::<u64>().ok());
        let (year, month, day) = (day.next()??, day.next()??, day.next()??);
        let (hour, minute) = (time.next()??, time.next()??);
        let plausible =
            (1970..=9999).contains(&year) && (1..=12).contains(&month) && (1..=length(year, month)).contains(&day);
        (plausible && hour < 24 && minute < 60).then(|| days(year, month, day) * 86_400 + hour * 3600 + minute * 60)
    };
    read().map(Some).ok_or(())
}

/// Year, month and day of a day since 1970, in the proleptic Gregorian calendar.
fn date(mut day: u64) -> (u64, u64, u64) {
    let mut year = 1970;
    while day >= 365 + u64::from(leap(year)) {
        day -= 365 + u64::from(leap(year));
        year += 1;
    }
    let mut month = 1;
    while day >= length(year, month) {
        day -= length(year, month);
        month += 1;
    }
    (year, month, day + 1)
}

fn days(year: u64, month: u64, day: u64) -> u64 {
    let years: u64 = (1970..year).map(|year| 365 + u64::from(leap(year))).sum();
    years + (1..month).map(|month| length(year, month)).sum::<u64>() + day - 1
}

const fn leap(year: u64) -> bool {
    year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400))
}

const fn length(year: u64, month: u64) -> u64 {
    match month {
        4 | 6 | 9 | 11 => 30,
        2 => 28 + leap(year) as u64,
        _ => 31,
    }
}

const MONTHS: [&str; 12] = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times() {
        assert_eq!(Time::of(0).machine, "1970-01-01T00:00:00Z");
        assert_eq!(Time::of(951_782_400).machine, "2000-02-29T00:00:00Z");
        assert_eq!(Time::of(1_795_601_045).people, "25 Nov 2026, 10:04 UTC");
        assert_eq!(Time::of(1_795_601_045).exact, "25 Nov 2026, 10:04:05 UTC");
        assert_eq!(Time::of(1_795_601_045).date, "25 Nov 2026");
        assert_eq!(parse_time("2000-02-29T00:00"), Ok(Some(951_782_400)));
        assert_eq!(parse_time(""), Ok(None));
        for day in 0..40_000 {
            let (year, month, date) = date(day);
            assert_eq!(days(year, month, date), day);
        }
        for bad in [
            "x",
            "2000-02-29",
            "2000-13-01T00:00",
            "2001-02-29T00:00",
            "2000-01-00T00:00",
            "2000-01-01T25:00",
            "99999-01-01T00:00",
            "-1-01-01T00:00",
        ] {
            assert_eq!(parse_time(bad), Err(()), "{bad}");
        }
    }
}
