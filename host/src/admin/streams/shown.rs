//! Messages as operators are shown them: bodies as text or Base64, cut where they are long, and no
//! answer larger than a client takes.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::model::{DeadMessage, HeldMessage, MessageHeader, ShownMessage};
use crate::capability::streams::{DeadLetter, Entry, Message};
use crate::name::ComponentName;

/// Bytes of a body that are shown unless all of them are asked for: what a person reads of one
/// message, and most JSON bodies whole.
pub(in crate::admin) const BODY_BYTES_SHOWN: usize = 4096;

/// An answer ends with the message that takes what it shows past this: eight of the largest. As
/// JSON that is six times as much at worst, and clients of ours take 64 MiB.
pub(in crate::admin) const SHOWN_BYTES_MAX: usize = 8 << 20;

/// What one answer may still show.
pub(super) struct Room {
    body_bytes_max: usize,
    left: usize,
}

impl Room {
    /// An empty answer; `full` shows bodies whole.
    pub(super) fn new(full: bool) -> Self {
        Self {
            body_bytes_max: if full { usize::MAX } else { BODY_BYTES_SHOWN },
            left: SHOWN_BYTES_MAX,
        }
    }

    /// Whether the answer ends here.
    pub(super) fn is_used_up(&self) -> bool {
        self.left == 0
    }

    pub(super) fn held(&mut self, entry: &Entry) -> HeldMessage {
        HeldMessage {
            entry: entry.entry.to_string(),
            published_at_ms: at_ms(entry.published_at),
            message: self.message(&entry.message),
        }
    }

    pub(super) fn dead(&mut self, group: &ComponentName, letter: DeadLetter) -> DeadMessage {
        self.take(letter.reason.len());
        DeadMessage {
            entry: letter.entry.to_string(),
            group: group.clone(),
            attempts: letter.attempts,
            reason: letter.reason,
            died_at_ms: at_ms(letter.died_at),
            published_at_ms: at_ms(letter.published_at),
            message: self.message(&letter.message),
        }
    }

    fn message(&mut self, message: &Message) -> ShownMessage {
        let whole = &message.body;
        let shown = whole.len().min(self.body_bytes_max);
        self.take(message.bytes() - whole.len() + shown);
        let text = std::str::from_utf8(whole).ok();
        let body = text.map(|text| text[..text.floor_char_boundary(shown)].to_owned());
        let encoded = || STANDARD.encode(&whole[..shown]);
        ShownMessage {
            headers: message.headers.iter().map(header).collect(),
            reply_to: message.reply_to.clone(),
            body_base64: body.is_none().then(encoded),
            body,
            body_bytes: whole.len() as u64,
            cut: shown < whole.len(),
        }
    }

    fn take(&mut self, bytes: usize) {
        self.left = self.left.saturating_sub(bytes);
    }
}

fn header((name, value): &(String, String)) -> MessageHeader {
    MessageHeader {
        name: name.clone(),
        value: value.clone(),
    }
}

fn at_ms(at: SystemTime) -> u64 {
    ms(at.duration_since(UNIX_EPOCH).unwrap_or_default())
}

/// A duration in whole milliseconds.
pub(super) fn ms(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(body: Vec<u8>) -> Message {
        Message {
            subject: "work".parse().expect("a subject"),
            body: body.into(),
            reply_to: None,
            headers: vec![("k".to_owned(), "v".to_owned())],
        }
    }

    #[test]
    fn a_body_is_text_or_base64_and_cut_between_characters() {
        let shown = Room::new(false).message(&message("grüße".into()));
        assert_eq!(shown.body.as_deref(), Some("grüße"));
        assert_eq!((shown.body_base64, shown.cut), (None, false));
        assert_eq!(shown.headers[0].name, "k");

        let long = format!("a{}", "ü".repeat(BODY_BYTES_SHOWN));
        let shown = Room::new(false).message(&message(long.clone().into()));
        assert_eq!(shown.body.expect("text").len(), BODY_BYTES_SHOWN - 1);
        assert_eq!((shown.body_bytes, shown.cut), (long.len() as u64, true));
        let shown = Room::new(true).message(&message(long.clone().into()));
        assert_eq!((shown.body, shown.cut), (Some(long), false));

        let shown = Room::new(false).message(&message(vec![0xff; BODY_BYTES_SHOWN + 1]));
        let bytes = STANDARD.decode(shown.body_base64.expect("no text"));
        assert_eq!(bytes.expect("Base64").len(), BODY_BYTES_SHOWN);
        assert_eq!((shown.body, shown.cut), (None, true));
    }

    #[test]
    fn an_answer_ends_with_the_message_that_fills_it() {
        let large = message(vec![b'a'; SHOWN_BYTES_MAX / 2]);
        let mut room = Room::new(true);
        room.message(&large);
        assert!(!room.is_used_up());
        room.message(&large);
        assert!(room.is_used_up());
        let mut room = Room::new(false);
        for _ in 0..100 {
            room.message(&large);
        }
        assert!(!room.is_used_up(), "what is cut takes no room");
    }
}
