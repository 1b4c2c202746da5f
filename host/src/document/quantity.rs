//! Numbers, sizes and spans of time with their bounds and defaults.

use std::time::Duration;

use super::{Located, Report, Size, Span};

impl Report {
    /// A number of at least 1; `default` where it is left out or wrong.
    pub fn count<T: TryFrom<u64>>(&mut self, field: Option<&Located<u64>>, default: T) -> T {
        let Some(field) = field else {
            return default;
        };
        if field.value == 0 {
            self.problem(
                &field.at,
                "must be at least 1",
                "write 1 or more, or leave it out",
            );
            return default;
        }
        self.fitting(field, field.value, default)
    }

    /// A number of bytes, at least 1; `default` where it is left out or wrong.
    pub fn size<T: TryFrom<u64>>(&mut self, field: Option<&Located<Size>>, default: T) -> T {
        let Some(field) = field else {
            return default;
        };
        let Size(bytes) = field.value;
        if bytes == 0 {
            self.problem(
                &field.at,
                "must be more than 0 bytes",
                "write a size, or leave it out",
            );
            return default;
        }
        self.fitting(field, bytes, default)
    }

    /// A span of time of at least `least`; `default` where it is left out or wrong.
    pub fn span(
        &mut self,
        field: Option<&Located<Span>>,
        least: Duration,
        default: Duration,
    ) -> Duration {
        let Some(field) = field else {
            return default;
        };
        let Span(span) = field.value;
        if span < least {
            let least = humantime::format_duration(least);
            let what = format!("must be at least {least}");
            self.problem(
                &field.at,
                what,
                format!("write \"{least}\" or more, or leave it out"),
            );
            return default;
        }
        span
    }

    fn fitting<T: TryFrom<u64>, F>(&mut self, field: &Located<F>, value: u64, default: T) -> T {
        T::try_from(value).unwrap_or_else(|_| {
            self.problem(
                &field.at,
                format!("{value} is too large"),
                "write a smaller number",
            );
            default
        })
    }
}

/// Shortest span of time that is not none at all.
pub(crate) const SPAN_MIN: Duration = Duration::from_millis(1);
