//! Values with units, as people type them.

use std::{
    net::SocketAddr,
    str::FromStr,
    time::{Duration, SystemTime},
};

/// Bytes a second. Written with a unit: `5MiB/s`, `300KB/s`, `8Mbit/s`.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Rate(pub u64);

/// A number of bytes: `256MiB`, `4096`.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Size(pub u64);

/// A time span: `30s`, `10m`, `2h`, `500ms`.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Span(pub Duration);

/// How much of a stream: a size, or a time.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Extent {
    /// So many bytes.
    Size(u64),
    /// So long.
    Span(Duration),
}

/// A moment: a date, a date with a time of day in UTC, or a span from now.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Moment(SystemTime);

impl Moment {
    /// As a Unix second.
    pub fn unix(&self) -> u64 {
        self.0.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs()
    }
}

/// An address and port; the host may be a name.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct HostPort(pub String);

/// A local address to listen on.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Listen(pub SocketAddr);

/// Whether and how long to go on sharing once a download is complete.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum SeedAfter {
    /// Not at all.
    No,
    /// Until interrupted.
    Forever,
    /// For some time.
    For(Duration),
}

/// Splits `12.5MiB` in number and unit.
fn split(text: &str) -> Option<(f64, &str)> {
    let text = text.trim();
    let end = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let number: f64 = text[..end].parse().ok()?;
    number.is_finite().then_some((number, text[end..].trim()))
}

/// Bytes in a unit of bytes (`k`, `KB`, `MiB`…); `None` for an unknown one.
fn bytes_in(unit: &str) -> Option<f64> {
    let unit = unit.to_ascii_lowercase();
    let (prefix, binary) = match unit.strip_suffix("ib") {
        Some(prefix) if !prefix.is_empty() => (prefix, true),
        _ => (unit.strip_suffix('b')?, false),
    };
    let power = match prefix {
        "" => 0,
        "k" => 1,
        "m" => 2,
        "g" => 3,
        "t" => 4,
        _ => return None,
    };
    Some(if binary { 1024f64 } else { 1000f64 }.powi(power))
}

impl FromStr for Rate {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let help = "write a rate with its unit, for example 5MiB/s, 300KB/s or 8Mbit/s";
        let (number, unit) = split(text).ok_or_else(|| format!("'{text}' is not a rate: {help}"))?;
        if unit.is_empty() {
            return Err(format!("'{text}' has no unit: {help}"));
        }
        let unknown = || format!("'{unit}' is not a unit of a rate: {help}");
        let lower = unit.to_ascii_lowercase();
        let per_second = lower.strip_suffix("/s").ok_or_else(unknown)?;
        let factor = match per_second.strip_suffix("bit") {
            Some(prefix) => bytes_in(&format!("{prefix}b")).map(|bytes| bytes / 8.0),
            None => bytes_in(per_second),
        };
        let rate = number * factor.ok_or_else(unknown)?;
        if rate < 1.0 {
            return Err(format!("'{text}' is less than a byte a second"));
        }
        Ok(Self(rate as u64))
    }
}

impl FromStr for Size {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let help = "write bytes, or a size with its unit, for example 64MiB";
        let (number, unit) = split(text).ok_or_else(|| format!("'{text}' is not a size: {help}"))?;
        let factor = if unit.is_empty() { Some(1.0) } else { bytes_in(unit) };
        let size = number * factor.ok_or_else(|| format!("'{unit}' is not a unit of a size: {help}"))?;
        Ok(Self(size as u64))
    }
}

impl FromStr for Span {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let help = "write a time with its unit, for example 30s, 10m or 2h";
        let (number, unit) = split(text).ok_or_else(|| format!("'{text}' is not a time: {help}"))?;
        let factor = match unit {
            "ms" => 0.001,
            "s" => 1.0,
            "m" | "min" => 60.0,
            "h" => 3600.0,
            "d" => 86_400.0,
            "" => return Err(format!("'{text}' has no unit: {help}")),
            _ => return Err(format!("'{unit}' is not a unit of time: {help}")),
        };
        Duration::try_from_secs_f64(number * factor).map(Self).map_err(|_| format!("'{text}' is too long"))
    }
}

impl FromStr for Extent {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let size = text.parse::<Size>().map(|size| Self::Size(size.0));
        let extent = size.or_else(|_| text.parse::<Span>().map(|span| Self::Span(span.0)));
        extent.map_err(|_| {
            format!("'{text}' is neither a size nor a time: write it with its unit, for example 64MiB, 90s or 10min")
        })
    }
}

impl FromStr for Moment {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let (text, too_far) = (text.trim(), || format!("'{text}' is too far away"));
        if let Ok(Span(span)) = text.parse() {
            return SystemTime::now().checked_add(span).map(Self).ok_or_else(too_far);
        }
        let whole = if text.len() == 10 { format!("{text}T00:00:00Z") } else { text.to_owned() };
        let date = time::OffsetDateTime::parse(&whole, &time::format_description::well_known::Rfc3339);
        let date = date.map_err(|_| {
            format!("'{text}' is not a time: write 2026-12-24, 2026-12-24T20:00:00Z, or a span from now such as 2h")
        })?;
        let unix = u64::try_from(date.unix_timestamp()).map_err(|_| too_far())?;
        SystemTime::UNIX_EPOCH.checked_add(Duration::from_secs(unix)).map(Self).ok_or_else(too_far)
    }
}

impl FromStr for SeedAfter {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "true" | "yes" | "1" | "on" | "forever" => Ok(Self::Forever),
            "false" | "no" | "0" | "off" => Ok(Self::No),
            _ => text.parse::<Span>().map(|span| Self::For(span.0)),
        }
    }
}

impl FromStr for HostPort {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let port =
            text.rsplit_once(':').filter(|(host, _)| !host.is_empty()).and_then(|(_, port)| port.parse::<u16>().ok());
        match port {
            Some(1..) => Ok(Self(text.to_owned())),
            _ => Err(format!(
                "'{text}' is not an address: write HOST:PORT, for example 192.0.2.7:6778 or [2001:db8::7]:6778"
            )),
        }
    }
}

impl FromStr for Listen {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        text.parse().map(Self).map_err(|_| {
            format!("'{text}' is not an address to listen on: write IP:PORT, for example 0.0.0.0:6778 or [::]:6778; port 0 is any free one")
        })
    }
}

/// In the configuration file these are strings; a bare number gets the same sentence as on the command line.
macro_rules! from_toml {
    ($($name:ident)+) => {$(
        impl<'de> serde::Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
                struct Text;
                impl serde::de::Visitor<'_> for Text {
                    type Value = String;
                    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                        f.write_str("a value as on the command line")
                    }
                    fn visit_str<E>(self, text: &str) -> Result<String, E> {
                        Ok(text.to_owned())
                    }
                    fn visit_i64<E>(self, number: i64) -> Result<String, E> {
                        Ok(number.to_string())
                    }
                    fn visit_bool<E>(self, value: bool) -> Result<String, E> {
                        Ok(value.to_string())
                    }
                }
                from.deserialize_any(Text)?.parse().map_err(serde::de::Error::custom)
            }
        }
    )+};
}
pub(crate) use from_toml;
from_toml! { Rate Size Span SeedAfter HostPort Listen }

/// Bytes for people: `12.3 MiB`.
pub fn bytes(bytes: u64) -> String {
    indicatif::BinaryBytes(bytes).to_string()
}

/// A rate for people: `12.3 MiB/s`.
pub fn rate(bytes_per_second: u64) -> String {
    format!("{}/s", bytes(bytes_per_second))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates() {
        for (text, bytes) in [
            ("5MiB/s", 5 << 20),
            ("300KB/s", 300_000),
            ("300kB/s", 300_000),
            ("8Mbit/s", 1_000_000),
            ("1.5 MiB/s", 3 << 19),
            ("100B/s", 100),
            ("8 bit/s", 1),
            ("1Kibit/s", 128),
        ] {
            assert_eq!(text.parse(), Ok(Rate(bytes)), "{text}");
        }
        for text in ["5", "5MiB", "", "fast", "5 parsecs/s", "8Mbps", "-5MiB/s", "0B/s", "5m/s"] {
            let error = text.parse::<Rate>().unwrap_err();
            assert!(error.contains(text) || error.contains("unit"), "{error}");
        }
        assert!("5".parse::<Rate>().unwrap_err().contains("no unit"));
    }

    #[test]
    fn sizes_and_spans() {
        assert_eq!("256MiB".parse(), Ok(Size(256 << 20)));
        assert_eq!("4096".parse(), Ok(Size(4096)));
        assert_eq!("1GB".parse(), Ok(Size(1_000_000_000)));
        assert!("4 apples".parse::<Size>().is_err());
        assert_eq!("90s".parse(), Ok(Span(Duration::from_secs(90))));
        assert_eq!("1.5m".parse(), Ok(Span(Duration::from_secs(90))));
        assert!("90".parse::<Span>().is_err());
        assert_eq!("4096".parse(), Ok(Extent::Size(4096)));
        assert_eq!("64MiB".parse(), Ok(Extent::Size(64 << 20)));
        assert_eq!("10min".parse(), Ok(Extent::Span(Duration::from_secs(600))));
        assert!("10 minutes".parse::<Extent>().unwrap_err().contains("10min"));
        assert_eq!("true".parse(), Ok(SeedAfter::Forever));
        assert_eq!("2h".parse(), Ok(SeedAfter::For(Duration::from_secs(7200))));
    }

    #[test]
    fn addresses() {
        assert!("192.0.2.7:6778".parse::<HostPort>().is_ok());
        assert!("seed.example.org:6778".parse::<HostPort>().is_ok());
        for bad in ["192.0.2.7", ":6778", "host:0", "host:port", ""] {
            assert!(bad.parse::<HostPort>().is_err(), "{bad}");
        }
        assert!("[::]:0".parse::<Listen>().is_ok());
        assert!("localhost:1".parse::<Listen>().is_err());
    }
}
