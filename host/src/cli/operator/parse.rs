//! Reading what comes in pieces: settings on the command line, events on the wire.

/// Reads `KEY=VALUE`.
pub(in crate::cli) fn setting(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((name, value)) if !name.is_empty() => Ok((name.to_owned(), value.to_owned())),
        Some(_) | None => Err(format!("{text:?} is not of the form KEY=VALUE")),
    }
}

/// Takes the text of a stream of server-sent events in whatever pieces it comes, and gives each
/// event's data (HTML Living Standard, section 9.2.6). Names and comments are left out: the data says
/// the name, too.
#[derive(Default)]
pub(super) struct EventText {
    /// Bytes that are not a whole line yet.
    rest: Vec<u8>,
    /// Data of the event that is not ended yet.
    data: Option<String>,
}

impl EventText {
    pub(super) fn push(&mut self, bytes: &[u8]) {
        self.rest.extend_from_slice(bytes);
    }

    /// The data of the next event that is there whole.
    pub(super) fn next(&mut self) -> Option<String> {
        while let Some(end) = self.rest.iter().position(|byte| *byte == b'\n') {
            let line: Vec<u8> = self.rest.drain(..=end).collect();
            let line = String::from_utf8_lossy(&line);
            let line = line.trim_end_matches(['\n', '\r']);
            if line.is_empty() {
                if let Some(data) = self.data.take() {
                    return Some(data);
                }
            } else if let Some(value) = line.strip_prefix("data:") {
                let value = value.strip_prefix(' ').unwrap_or(value);
                match &mut self.data {
                    Some(data) => {
                        data.push('\n');
                        data.push_str(value);
                    }
                    None => self.data = Some(value.to_owned()),
                }
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_have_a_key() {
        let pair = |key: &str, value: &str| Ok((key.to_owned(), value.to_owned()));
        assert_eq!(setting("LEVEL=debug"), pair("LEVEL", "debug"));
        assert_eq!(setting("URL=http://a/?b=c"), pair("URL", "http://a/?b=c"));
        assert_eq!(setting("EMPTY="), pair("EMPTY", ""));
        assert!(setting("LEVEL").is_err());
        assert!(setting("=debug").is_err());
    }

    #[test]
    fn events_are_found_however_they_are_cut() {
        let text = ": still at work\n\nevent: state\ndata: {\"a\":1}\n\ndata:two\r\ndata: lines\r\n\r\ndata: cut";
        for size in 1..text.len() {
            let mut events = EventText::default();
            let mut found = Vec::new();
            for piece in text.as_bytes().chunks(size) {
                events.push(piece);
                while let Some(data) = events.next() {
                    found.push(data);
                }
            }
            assert_eq!(found, ["{\"a\":1}", "two\nlines"], "in pieces of {size}");
        }
    }
}
