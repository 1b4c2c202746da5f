//! Numbers as people read them.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// How long something took: `0.4 ms`, `3 ms`, `1.2 s`, `2 min 5 s`.
pub(in crate::cli) fn took(ms: f64) -> String {
    let seconds = (ms / 1000.0).round() as u64;
    if ms < 0.95 {
        format!("{ms:.1} ms")
    } else if ms < 999.5 {
        format!("{ms:.0} ms")
    } else if ms < 9950.0 {
        format!("{:.1} s", ms / 1000.0)
    } else if seconds < 60 {
        format!("{seconds} s")
    } else if seconds < 3600 {
        format!("{} min {} s", seconds / 60, seconds % 60)
    } else {
        format!("{} h {} min", seconds / 3600, seconds % 3600 / 60)
    }
}

/// How long ago a moment was.
pub(in crate::cli) fn ago(at_ms: u64) -> String {
    let at = UNIX_EPOCH + Duration::from_millis(at_ms);
    // A clock that was set back makes a moment in the future one of now.
    let passed = SystemTime::now().duration_since(at).unwrap_or_default();
    passed_words(passed)
}

fn passed_words(passed: Duration) -> String {
    match passed.as_secs() {
        seconds @ 0..60 => format!("{seconds} s ago"),
        seconds @ 60..3600 => format!("{} min ago", seconds / 60),
        seconds @ 3600..172_800 => format!("{} h ago", seconds / 3600),
        seconds => format!("{} days ago", seconds / 86_400),
    }
}

/// A size: `812 B`, `1.4 MiB`.
pub(in crate::cli) fn bytes(bytes: u64) -> String {
    bytesize::ByteSize(bytes).to_string()
}

/// A percentage with as many digits as say something: `100 %`, `0.5 %`.
pub(in crate::cli) fn share(percent: f64) -> String {
    format!("{} %", (percent * 100.0).round() / 100.0)
}

/// What there may be none of.
pub(in crate::cli) fn number<T: ToString>(number: Option<T>) -> String {
    number.map_or_else(|| "-".to_owned(), |number| number.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_short() {
        for (ms, text) in [
            (0.0, "0.0 ms"),
            (0.44, "0.4 ms"),
            (0.97, "1 ms"),
            (3.2, "3 ms"),
            (999.4, "999 ms"),
            (999.6, "1.0 s"),
            (1240.0, "1.2 s"),
            (9960.0, "10 s"),
            (59_400.0, "59 s"),
            (59_600.0, "1 min 0 s"),
            (125_000.0, "2 min 5 s"),
            (3_720_000.0, "1 h 2 min"),
        ] {
            assert_eq!(took(ms), text);
        }
        for (seconds, text) in [
            (0, "0 s ago"),
            (61, "1 min ago"),
            (7200, "2 h ago"),
            (200_000, "2 days ago"),
        ] {
            assert_eq!(passed_words(Duration::from_secs(seconds)), text);
        }
    }

    #[test]
    fn shares_have_no_needless_digits() {
        for (percent, text) in [(100.0, "100 %"), (0.5, "0.5 %"), (33.333, "33.33 %")] {
            assert_eq!(share(percent), text);
        }
    }
}
