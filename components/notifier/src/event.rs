//! The messages that a notice is made from, and its sentence.
//!
//! A payload that is not what the contract says can never become a notice, so that it is an error
//! here and no reason to deliver it again. It refuses to know stores and webhooks.

use serde::{Deserialize, Serialize};

/// File names come from users. What a person reads needs no more of one.
const NAME_CHARS_MAX: usize = 120;
/// Reasons come from the converter and are one sentence.
const REASON_CHARS_MAX: usize = 300;
/// Job and user ids are 32 hex digits; anything near that is let through.
const ID_CHARS_MAX: usize = 64;

/// How a conversion ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    /// There is an MP3.
    Converted,
    /// There will be none.
    Failed,
}

/// What is to be told, to whom, about which job.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// The job's id: lower-case hex.
    pub job: String,
    /// The user's id: lower-case hex.
    pub user: String,
    /// How it ended.
    pub outcome: Outcome,
    /// One sentence for a person.
    pub text: String,
}

/// Why a message is no event. Delivering it again would not help.
#[derive(Debug, thiserror::Error)]
pub enum EventError {
    /// It came on a subject that is not ours.
    #[error("subject {0:?} is neither media.converted nor media.failed")]
    Subject(String),
    /// Its body is not the JSON of the contract.
    #[error("the body of a {subject} message is not what the contract says")]
    Body {
        /// On which subject it came.
        subject: String,
        /// What serde objects to.
        #[source]
        source: serde_json::Error,
    },
    /// An id is not lower-case hex, so it has no place in a key.
    #[error("the {field} of a {subject} message is not a lower-case hex id")]
    Id {
        /// On which subject it came.
        subject: String,
        /// `job` or `user`.
        field: &'static str,
    },
}

#[derive(Deserialize)]
struct Converted {
    job: String,
    user: String,
    name: String,
    size_bytes: u64,
    duration_seconds: f64,
}

#[derive(Deserialize)]
struct Failed {
    job: String,
    user: String,
    name: String,
    error: String,
}

impl Event {
    /// Reads a message.
    ///
    /// # Errors
    /// When it is not one of the two that the contract knows.
    pub fn parse(subject: &str, body: &[u8]) -> Result<Self, EventError> {
        let malformed = |source| EventError::Body {
            subject: subject.to_owned(),
            source,
        };
        let event = match subject {
            "media.converted" => converted(serde_json::from_slice(body).map_err(malformed)?),
            "media.failed" => failed(serde_json::from_slice(body).map_err(malformed)?),
            other => return Err(EventError::Subject(other.to_owned())),
        };
        for (field, id) in [("job", &event.job), ("user", &event.user)] {
            let hex = |c: char| matches!(c, '0'..='9' | 'a'..='f');
            if id.is_empty() || id.len() > ID_CHARS_MAX || !id.chars().all(hex) {
                return Err(EventError::Id {
                    subject: subject.to_owned(),
                    field,
                });
            }
        }
        Ok(event)
    }
}

fn converted(message: Converted) -> Event {
    let Converted {
        job,
        user,
        name,
        size_bytes,
        duration_seconds,
    } = message;
    let text = format!(
        "“{}” is ready: {} of MP3, {}.",
        printable(&name, NAME_CHARS_MAX),
        duration(duration_seconds),
        size(size_bytes)
    );
    Event {
        job,
        user,
        outcome: Outcome::Converted,
        text,
    }
}

fn failed(message: Failed) -> Event {
    let Failed {
        job,
        user,
        name,
        error,
    } = message;
    let reason = printable(&error, REASON_CHARS_MAX);
    let stop = if reason.ends_with(['.', '!', '?', '…']) {
        ""
    } else {
        "."
    };
    let name = printable(&name, NAME_CHARS_MAX);
    let text = format!("“{name}” could not be converted: {reason}{stop}");
    Event {
        job,
        user,
        outcome: Outcome::Failed,
        text,
    }
}

/// A text from elsewhere on one line and not longer than a sentence should be.
fn printable(text: &str, chars_max: usize) -> String {
    // Marks that reverse the reading direction would let a file name disguise its extension.
    let hidden = |c: char| matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    let mut plain = text.chars().filter(|&c| !hidden(c)).map(|c| {
        if c.is_control() || c.is_whitespace() {
            ' '
        } else {
            c
        }
    });
    let mut shown: String = plain.by_ref().take(chars_max).collect();
    if plain.next().is_some() {
        shown.push('…');
    }
    shown.trim().to_owned()
}

/// Seconds as people say them: `42 s`, `3 min 5 s`, `1 h 2 min`.
fn duration(seconds: f64) -> String {
    // Saturates: what is negative or not a number becomes 0.
    #[allow(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "saturation is meant"
    )]
    let seconds = seconds.round() as u64;
    match (seconds / 3600, seconds / 60 % 60, seconds % 60) {
        (0, 0, seconds) => format!("{seconds} s"),
        (0, minutes, seconds) => format!("{minutes} min {seconds} s"),
        (hours, minutes, _) => format!("{hours} h {minutes} min"),
    }
}

/// Bytes in decimal units with one digit after the point, as file managers show them.
fn size(bytes: u64) -> String {
    match bytes {
        0..1_000 => format!("{bytes} bytes"),
        1_000..1_000_000 => format!("{}.{} kB", bytes / 1_000, bytes / 100 % 10),
        _ => format!("{}.{} MB", bytes / 1_000_000, bytes / 100_000 % 10),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn converted() -> Value {
        json!({"job": "0a", "user": "ff", "name": "holiday.mp4", "blob": "0a.mp3",
               "size_bytes": 4_608_123, "duration_seconds": 192.4})
    }

    fn failed() -> Value {
        json!({"job": "0a", "user": "ff", "name": "notes.txt", "error": "this is not a video"})
    }

    fn parse(subject: &str, body: &Value) -> Result<Event, EventError> {
        Event::parse(subject, body.to_string().as_bytes())
    }

    #[test]
    fn both_outcomes_become_sentences() {
        let event = parse("media.converted", &converted()).unwrap();
        assert_eq!((event.job.as_str(), event.user.as_str()), ("0a", "ff"));
        assert_eq!(event.outcome, Outcome::Converted);
        assert_eq!(
            event.text,
            "“holiday.mp4” is ready: 3 min 12 s of MP3, 4.6 MB."
        );
        let event = parse("media.failed", &failed()).unwrap();
        assert_eq!(event.outcome, Outcome::Failed);
        assert_eq!(
            event.text,
            "“notes.txt” could not be converted: this is not a video."
        );
    }

    #[test]
    fn names_stay_on_one_line_and_short() {
        let mut message = failed();
        message["name"] = json!("a\r\nb\u{202e}c\u{7}");
        message["error"] = json!("Stop!");
        let event = parse("media.failed", &message).unwrap();
        assert_eq!(event.text, "“a  bc” could not be converted: Stop!");
        message["name"] = json!("ü".repeat(500));
        let event = parse("media.failed", &message).unwrap();
        assert_eq!(event.text.matches('ü').count(), NAME_CHARS_MAX);
        assert!(event.text.contains("ü…”"));
    }

    #[test]
    fn figures_are_said_as_people_say_them() {
        let said = [0.4, 59.6, 3725.0, -1.0, f64::NAN].map(duration);
        assert_eq!(said, ["0 s", "1 min 0 s", "1 h 2 min", "0 s", "0 s"]);
        assert_eq!(
            [999, 1_500, 999_999, 12_000_000].map(size),
            ["999 bytes", "1.5 kB", "999.9 kB", "12.0 MB"]
        );
    }

    #[test]
    fn what_the_contract_does_not_know_is_an_error() {
        assert!(matches!(
            parse("media.uploaded", &failed()),
            Err(EventError::Subject(_))
        ));
        assert!(matches!(
            parse("media.converted", &failed()),
            Err(EventError::Body { .. })
        ));
        assert!(matches!(
            Event::parse("media.failed", b"\xff"),
            Err(EventError::Body { .. })
        ));
        for (field, id) in [
            ("job", ""),
            ("job", "../x"),
            ("user", "FF"),
            ("user", "a/b"),
        ] {
            let mut message = converted();
            message[field] = json!(id);
            let error = parse("media.converted", &message).unwrap_err();
            assert!(matches!(error, EventError::Id { field: named, .. } if named == field));
        }
    }
}
