//! Messages in a line of a table.

use crate::admin::streams::model::ShownMessage;
use crate::cli::operator::bytes;

/// Characters of a body that a line has room for.
const BODY_CHARS: usize = 60;

/// The beginning of a text, with an ellipsis where it goes on.
pub(super) fn beginning(text: &str, chars: usize) -> String {
    match text.char_indices().nth(chars) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

/// A body in one line.
pub(super) fn body(message: &ShownMessage) -> String {
    match &message.body {
        Some(text) => beginning(text, BODY_CHARS),
        None => format!("({}, no text)", bytes(message.body_bytes)),
    }
}

/// Headers in one line.
pub(super) fn headers(message: &ShownMessage) -> String {
    let pairs = message.headers.iter();
    let pairs: Vec<String> = pairs
        .map(|header| format!("{}={}", header.name, header.value))
        .collect();
    beginning(&pairs.join(" "), BODY_CHARS)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::admin::streams::model::MessageHeader;

    #[test]
    fn a_message_fits_its_line() {
        let mut message = ShownMessage {
            headers: vec![MessageHeader {
                name: "k".to_owned(),
                value: "v".to_owned(),
            }],
            reply_to: None,
            body: Some("ü".repeat(BODY_CHARS + 1)),
            body_base64: None,
            body_bytes: 122,
            cut: false,
        };
        assert_eq!(headers(&message), "k=v");
        assert_eq!(body(&message), format!("{}…", "ü".repeat(BODY_CHARS)));
        message.body = None;
        assert_eq!(body(&message), "(122 B, no text)");
    }
}
