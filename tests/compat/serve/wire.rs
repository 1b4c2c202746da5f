//! One connection, byte by byte: what is sent, what comes back, and how it ends.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::time::Duration;

/// An answer that does not come fails the test; it is no measure.
const ANSWER_WITHIN: Duration = Duration::from_secs(60);

/// Sent after the last answer, to learn whether the connection still serves.
const PROBE: &[u8] = b"GET /probe HTTP/1.1\r\nhost: probe\r\n\r\n";

/// What a client does next.
#[derive(Clone, Debug)]
pub enum Step {
    /// It sends these bytes.
    Send(Vec<u8>),
    /// It waits for `100 Continue`.
    Continue,
    /// It waits until a body has brought this text, whose response has begun.
    Hear(&'static str),
    /// It sends nothing more.
    End,
}

/// How a connection is left after an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// It serves the next request.
    Kept,
    /// The server closed it after a whole answer, or without any.
    Closed,
    /// The answer breaks off.
    Broken,
}

/// An answer, as it is compared.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// Status lines of informational responses that came before.
    pub informational: Vec<String>,
    /// The status line; empty where there was none.
    pub status: String,
    /// Sorted, without `date`.
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
    pub trailers: Vec<(String, String)>,
    pub end: End,
}

impl Answer {
    fn nothing() -> Self {
        Self {
            informational: Vec::new(),
            status: String::new(),
            headers: Vec::new(),
            body: Vec::new(),
            trailers: Vec::new(),
            end: End::Closed,
        }
    }

    /// The status code; 0 where there was no answer.
    pub fn code(&self) -> u16 {
        let code = self.status.split(' ').nth(1);
        code.and_then(|code| code.parse().ok()).unwrap_or_default()
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        let mut headers = self.headers.iter();
        headers.find_map(|(known, value)| (known == name).then_some(value.as_str()))
    }
}

/// Does what `steps` say on a connection of its own, and reads `answers` answers; those to `HEAD` have
/// no body.
pub fn talk(address: SocketAddr, steps: &[Step], answers: usize, head: bool) -> Vec<Answer> {
    let mut stream = TcpStream::connect(address).expect("the server listens");
    stream.set_read_timeout(Some(ANSWER_WITHIN)).unwrap();
    stream.set_nodelay(true).unwrap();
    let mut input = Input {
        reader: BufReader::new(stream.try_clone().unwrap()),
        informational: Vec::new(),
        early: None,
    };
    for step in steps {
        match step {
            // A server may have closed already: what it said is read below.
            Step::Send(bytes) => drop(stream.write_all(bytes)),
            Step::Continue => input.until_informational(),
            Step::Hear(text) => input.hear(text),
            Step::End => drop(stream.shutdown(Shutdown::Write)),
        }
    }
    let mut found = Vec::new();
    while found.len() < answers {
        let answer = input.answer(head);
        let goes_on = answer.end == End::Kept;
        found.push(answer);
        if !goes_on {
            return found;
        }
    }
    let kept = stream.write_all(PROBE).is_ok() && input.line().is_some();
    let last = found.last_mut().expect("at least one answer is read");
    last.end = if kept { End::Kept } else { End::Closed };
    found
}

type Head = (String, Vec<(String, String)>);

struct Input {
    reader: BufReader<TcpStream>,
    informational: Vec<String>,
    /// The head of a response whose body was heard already, and what of the body was.
    early: Option<(Head, Vec<u8>)>,
}

impl Input {
    /// A line without its end; `None` where the connection ended or broke.
    fn line(&mut self) -> Option<String> {
        let mut line = Vec::new();
        match self.reader.read_until(b'\n', &mut line) {
            Ok(_) if line.ends_with(b"\n") => {
                Some(line.trim_ascii_end().escape_ascii().to_string())
            }
            Ok(_) => None,
            Err(error) => {
                let silent = matches!(
                    error.kind(),
                    std::io::ErrorKind::WouldBlock | std::io::ErrorKind::TimedOut
                );
                assert!(!silent, "no answer within {ANSWER_WITHIN:?}");
                None
            }
        }
    }

    /// Lines up to an empty one, as names and values.
    fn fields(&mut self) -> Option<Vec<(String, String)>> {
        let mut fields = Vec::new();
        loop {
            let line = self.line()?;
            if line.is_empty() {
                fields.sort();
                return Some(fields);
            }
            let (name, value) = line
                .split_once(": ")
                .unwrap_or((line.trim_end_matches(':'), ""));
            if name != "date" {
                fields.push((name.to_owned(), value.to_owned()));
            }
        }
    }

    fn head(&mut self) -> Option<Head> {
        let status = self.line()?;
        Some((status, self.fields()?))
    }

    fn until_informational(&mut self) {
        if let Some(head) = self.head() {
            if head.0.contains(" 100 ") {
                self.informational.push(head.0);
            } else {
                self.early = Some((head, Vec::new()));
            }
        }
    }

    /// Reads one chunk after another until `text` is among them.
    fn hear(&mut self, text: &str) {
        let Some(head) = self.head() else {
            return;
        };
        let chunked = head.1.iter().any(|(name, _)| name == "transfer-encoding");
        let mut body = Vec::new();
        while !body.escape_ascii().to_string().contains(text) {
            let piece = if chunked { self.chunk() } else { self.piece() };
            match piece {
                Some(piece) if !piece.is_empty() => body.extend(piece),
                Some(_) | None => panic!("the body ended without {text:?}"),
            }
        }
        self.early = Some((head, body));
    }

    fn answer(&mut self, head: bool) -> Answer {
        let mut answer = Answer::nothing();
        let (found, heard) = match self.early.take() {
            Some((found, heard)) => (Some(found), heard),
            None => (self.final_head(), Vec::new()),
        };
        answer.informational = std::mem::take(&mut self.informational);
        let Some((status, headers)) = found else {
            return answer;
        };
        answer.status = status;
        answer.headers = headers;
        answer.body = heard;
        answer.end = End::Kept;
        let bodiless = head || matches!(answer.code(), 204 | 304);
        if !bodiless {
            self.body(&mut answer);
        }
        answer
    }

    /// The head of a response that is not informational.
    fn final_head(&mut self) -> Option<Head> {
        loop {
            let head = self.head()?;
            // With 101 the connection is another protocol's.
            if !head.0.starts_with("HTTP/1.1 1") || head.0.contains(" 101 ") {
                return Some(head);
            }
            self.informational.push(head.0);
        }
    }

    fn body(&mut self, answer: &mut Answer) {
        if answer.header("transfer-encoding") == Some("chunked") {
            loop {
                match self.chunk() {
                    Some(chunk) if chunk.is_empty() => break,
                    Some(chunk) => answer.body.extend(chunk),
                    None => {
                        answer.end = End::Broken;
                        return;
                    }
                }
            }
            match self.fields() {
                Some(trailers) => answer.trailers = trailers,
                None => answer.end = End::Broken,
            }
            return;
        }
        match answer.header("content-length").map(str::parse) {
            Some(length) => {
                let length: u64 = length.expect("a length is a number");
                let rest = length - answer.body.len() as u64;
                let read = (&mut self.reader).take(rest).read_to_end(&mut answer.body);
                if read.is_err() || answer.body.len() as u64 != length {
                    answer.end = End::Broken;
                }
            }
            None => {
                let read = self.reader.read_to_end(&mut answer.body);
                answer.end = if read.is_ok() {
                    End::Closed
                } else {
                    End::Broken
                };
            }
        }
    }

    /// What has come of a body that has no chunks.
    fn piece(&mut self) -> Option<Vec<u8>> {
        let piece = self.reader.fill_buf().ok()?.to_vec();
        self.reader.consume(piece.len());
        Some(piece)
    }

    /// A chunk; the last one is empty.
    fn chunk(&mut self) -> Option<Vec<u8>> {
        let size = usize::from_str_radix(&self.line()?, 16).ok()?;
        let mut chunk = vec![0; size];
        self.reader.read_exact(&mut chunk).ok()?;
        if size > 0 {
            self.line()?;
        }
        Some(chunk)
    }
}
