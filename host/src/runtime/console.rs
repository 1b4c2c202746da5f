//! What a guest prints goes to the host's own standard streams, as `wasmtime serve` has it: at once,
//! each line behind its stream and its instance's number.

use std::io::{self, IsTerminal, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::guest_log::{LineStream, Sink, Source};
use crate::manifest::ambient::Console;

/// Standard output and error of the instance `id`.
pub fn streams(console: &Console, id: u64) -> (LineStream, LineStream) {
    let stream = |source: Source| {
        let name = match source {
            Source::Stdout => "stdout",
            Source::Stderr => "stderr",
        };
        let prefix = if console.prefix {
            format!("{name} [{id}] :: ")
        } else {
            String::new()
        };
        LineStream::to(Arc::new(Printed {
            source,
            prefix,
            within_line: AtomicBool::new(false),
        }))
    };
    (stream(Source::Stdout), stream(Source::Stderr))
}

struct Printed {
    source: Source,
    prefix: String,
    /// What was written last did not end its line.
    within_line: AtomicBool,
}

impl Printed {
    /// `bytes` with the prefix at the beginning of each line.
    fn prefixed(&self, bytes: &[u8]) -> Vec<u8> {
        let mut text = Vec::with_capacity(self.prefix.len() + bytes.len());
        for line in bytes.split_inclusive(|byte| *byte == b'\n') {
            let goes_on = !line.ends_with(b"\n");
            if !self.within_line.swap(goes_on, Ordering::Relaxed) {
                text.extend_from_slice(self.prefix.as_bytes());
            }
            text.extend_from_slice(line);
        }
        text
    }
}

impl Sink for Printed {
    fn write(&self, bytes: &[u8]) -> io::Result<()> {
        let text = self.prefixed(bytes);
        match self.source {
            Source::Stdout => {
                let mut out = io::stdout().lock();
                out.write_all(&text)?;
                out.flush()
            }
            Source::Stderr => io::stderr().write_all(&text),
        }
    }

    fn is_terminal(&self) -> bool {
        match self.source {
            Source::Stdout => io::stdout().is_terminal(),
            Source::Stderr => io::stderr().is_terminal(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_line_has_its_prefix_once_however_it_is_written() {
        let printed = Printed {
            source: Source::Stdout,
            prefix: "stdout [3] :: ".to_owned(),
            within_line: AtomicBool::new(false),
        };
        let mut text = Vec::new();
        for piece in ["a", "b\nc\n", "\n", "d"] {
            text.extend(printed.prefixed(piece.as_bytes()));
        }
        let expected = "stdout [3] :: ab\nstdout [3] :: c\nstdout [3] :: \nstdout [3] :: d";
        assert_eq!(String::from_utf8(text).expect("it is text"), expected);
    }
}
