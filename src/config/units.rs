//! Sizes, rates, durations and shares, each with its text form.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::scalar;

/// Bytes, written as `64MiB`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Size(pub u64);

/// The units of a size, largest first; what is before a `/` is the form that is printed.
const SIZE_UNITS: [(&str, u64); 11] = [
    ("TiB", 1 << 40),
    ("GiB", 1 << 30),
    ("MiB", 1 << 20),
    ("KiB", 1 << 10),
    ("TB", 1_000_000_000_000),
    ("GB", 1_000_000_000),
    ("MB", 1_000_000),
    ("kB", 1_000),
    ("Gi", 1 << 30),
    ("Mi", 1 << 20),
    ("Ki", 1 << 10),
];

impl FromStr for Size {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let expected = || "is not a size; write for example 64MiB, 512KiB or 10MB".to_owned();
        let text = text.trim();
        let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
        let (amount, unit) = text.split_at(digits);
        let amount: u64 = amount.parse().map_err(|_| expected())?;
        let unit = unit.trim();
        if unit.is_empty() || unit.eq_ignore_ascii_case("b") {
            return Ok(Self(amount));
        }
        let (_, scale) =
            SIZE_UNITS.iter().find(|(name, _)| name.eq_ignore_ascii_case(unit)).ok_or_else(expected)?;
        amount.checked_mul(*scale).map(Self).ok_or_else(|| "is larger than any size".to_owned())
    }
}

impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let binary = SIZE_UNITS.iter().take(4).find(|(_, scale)| self.0 > 0 && self.0.is_multiple_of(*scale));
        match binary {
            Some((unit, scale)) => write!(f, "{}{unit}", self.0 / scale),
            None => write!(f, "{}B", self.0),
        }
    }
}

/// So many in a period: `3000/min`, `5/s`, `10000000/day`, `100/30s`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    /// How many.
    pub amount: u64,
    /// In how long.
    pub period: Duration,
}

impl FromStr for Rate {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let expected = || "is not a rate; write for example 3000/min, 5/s or 100/30s".to_owned();
        let (amount, period) = text.split_once('/').ok_or_else(expected)?;
        let amount = amount.trim().parse().map_err(|_| expected())?;
        let period = period_of(period.trim()).ok_or_else(expected)?;
        Ok(Self { amount, period })
    }
}

impl fmt::Display for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/", self.amount)?;
        write_period(self.period, f)
    }
}

/// A period: `min`, `s`, `day`, or a duration.
fn period_of(text: &str) -> Option<Duration> {
    if text.starts_with(|c: char| c.is_ascii_alphabetic()) {
        humantime::parse_duration(&format!("1{text}")).ok()
    } else {
        humantime::parse_duration(text).ok()
    }
}

fn write_period(period: Duration, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    match (period.as_secs(), period.subsec_nanos()) {
        (1, 0) => f.write_str("s"),
        (60, 0) => f.write_str("min"),
        (3_600, 0) => f.write_str("hour"),
        (86_400, 0) => f.write_str("day"),
        _ => write!(f, "{}", humantime::format_duration(period)),
    }
}

/// The largest share of records that may become dead letters in a window: `20%/1min`.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct DeadLetterCap {
    /// Of the records of the window, 0 to 1.
    pub share: f64,
    /// How long the window is.
    pub window: Duration,
}

impl FromStr for DeadLetterCap {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let expected = || "is not a share in a window; write for example 20%/1min".to_owned();
        let (share, window) = text.split_once('/').ok_or_else(expected)?;
        let percent = share.trim().strip_suffix('%').ok_or_else(expected)?;
        let percent: f64 = percent.trim().parse().map_err(|_| expected())?;
        if !(percent > 0.0 && percent <= 100.0) {
            return Err("is out of range: a share is above 0% and at most 100%".to_owned());
        }
        let window = period_of(window.trim()).ok_or_else(expected)?;
        Ok(Self { share: percent / 100.0, window })
    }
}

impl fmt::Display for DeadLetterCap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Rounded where a binary fraction would show: 0.07 * 100 is 7.000000000000001.
        let percent = (self.share * 1e8).round() / 1e6;
        write!(f, "{percent}%/{}", humantime::format_duration(self.window))
    }
}

/// `Serialize` and `Deserialize` by the text form.
macro_rules! by_text {
    ($($unit:ty),*) => {$(
        impl Serialize for $unit {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> Deserialize<'de> for $unit {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                scalar::parsed(deserializer)
            }
        }
    )*};
}

by_text!(Size, Rate, DeadLetterCap);

/// Durations as text, for `#[serde(with = "duration")]`.
pub(super) mod duration {
    use super::{Deserializer, Duration, FromStr, Serializer, scalar};

    struct Text(Duration);

    impl FromStr for Text {
        type Err = String;

        fn from_str(text: &str) -> Result<Self, String> {
            humantime::parse_duration(text.trim())
                .map(Self)
                .map_err(|_| "is not a duration; write for example 50ms, 10s or 2min".to_owned())
        }
    }

    pub(in crate::config) fn serialize<S: Serializer>(
        duration: &Duration,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&humantime::format_duration(*duration))
    }

    pub(in crate::config) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Duration, D::Error> {
        scalar::parsed(deserializer).map(|Text(duration)| duration)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read_in_their_units() {
        for (text, bytes) in [
            ("0", 0),
            ("1024", 1024),
            ("7B", 7),
            ("64MiB", 64 << 20),
            ("64 mib", 64 << 20),
            ("1Gi", 1 << 30),
            ("10MB", 10_000_000),
            ("512KB", 512_000),
            (" 2TiB ", 2 << 40),
        ] {
            assert_eq!(text.parse::<Size>(), Ok(Size(bytes)), "{text}");
        }
        for text in ["", "MiB", "-1MiB", "1.5MiB", "64MiBs", "64 M iB", "1e3", "99999999999999999999"] {
            assert!(text.parse::<Size>().unwrap_err().starts_with("is not a size"), "{text}");
        }
        assert_eq!("18446744073709551615KiB".parse::<Size>(), Err("is larger than any size".to_owned()));
    }

    #[test]
    fn a_printed_size_reads_back() {
        for bytes in [0, 1, 1000, 1024, 1536, 1 << 20, 64 << 20, (1 << 30) + 1, 3 << 40, u64::MAX] {
            assert_eq!(Size(bytes).to_string().parse(), Ok(Size(bytes)));
        }
        assert_eq!(Size(64 << 20).to_string(), "64MiB");
    }

    #[test]
    fn rates_are_read_with_names_and_with_durations() {
        for (text, amount, seconds) in [
            ("3000/min", 3000, 60),
            ("5/s", 5, 1),
            ("5 / sec", 5, 1),
            ("10000000/day", 10_000_000, 86_400),
            ("100/30s", 100, 30),
            ("7/hour", 7, 3600),
            ("7/1h 30min", 7, 5400),
            ("3000/m", 3000, 60),
        ] {
            let rate = Rate { amount, period: Duration::from_secs(seconds) };
            assert_eq!(text.parse(), Ok(rate), "{text}");
            assert_eq!(rate.to_string().parse(), Ok(rate), "{text}");
        }
        for text in
            ["", "3000", "3000/", "/min", "-1/s", "1.5/s", "3000/minuet", "3000/min/s", "3000 per min"]
        {
            assert!(text.parse::<Rate>().is_err(), "{text}");
        }
    }

    #[test]
    fn a_dead_letter_cap_is_a_share_in_a_window() {
        let cap: DeadLetterCap = "20%/1min".parse().unwrap();
        assert_eq!(cap, DeadLetterCap { share: 0.2, window: Duration::from_secs(60) });
        let cap: DeadLetterCap = "0.5 % / min".parse().unwrap();
        assert_eq!(cap, DeadLetterCap { share: 0.005, window: Duration::from_secs(60) });
        assert_eq!("7%/1min".parse::<DeadLetterCap>().unwrap().to_string(), "7%/1m");
        for text in ["20", "20%", "20/1min", "%/1min", "x%/1min", "NaN%/1min", "20%/never"] {
            assert!(text.parse::<DeadLetterCap>().is_err(), "{text}");
        }
        for text in ["0%/1min", "-1%/1min", "101%/1min"] {
            assert!(text.parse::<DeadLetterCap>().unwrap_err().contains("out of range"), "{text}");
        }
    }
}
