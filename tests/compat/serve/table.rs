//! One row of the comparison: what is sent, what `wharf serve` answers, and where that differs from
//! what `wasmtime serve` answers, if it does.

use super::wire::{Answer, End, Step};

/// The guests that answer the rows.
pub const GUESTS: [&str; 2] = ["compat2", "compat3"];

/// How much of an answer is compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Compared {
    /// All of it.
    Whole,
    /// All but the page that says that something failed, which names the program.
    AllButPage,
    /// The two differ, for this reason.
    Differs(&'static str),
    /// The two may differ, for this reason.
    MayDiffer(&'static str),
}

/// A row.
pub struct Case {
    pub name: &'static str,
    /// The guests that it is for.
    pub guests: &'static [&'static str],
    pub steps: Vec<Step>,
    /// How many answers come.
    pub answers: usize,
    pub compared: Compared,
    status: u16,
    body: Option<Vec<u8>>,
    headers: Vec<(&'static str, &'static str)>,
    trailers: Vec<(&'static str, &'static str)>,
    end: End,
}

/// Bytes that are sent at once.
pub fn sent(name: &'static str, bytes: impl Into<Vec<u8>>) -> Case {
    steps(name, vec![Step::Send(bytes.into())])
}

/// A request line without its version, and headers beside the host.
pub fn request(name: &'static str, line: &str, headers: &str) -> Case {
    sent(
        name,
        format!("{line} HTTP/1.1\r\nhost: a.example\r\n{headers}\r\n"),
    )
}

/// A request without a body.
pub fn get(name: &'static str, path: &str) -> Case {
    sent(
        name,
        format!("GET {path} HTTP/1.1\r\nhost: a.example\r\n\r\n"),
    )
}

/// A request with a body of a known length.
pub fn post(name: &'static str, path: &str, body: &str) -> Case {
    let length = body.len();
    sent(
        name,
        format!(
            "POST {path} HTTP/1.1\r\nhost: a.example\r\ncontent-length: {length}\r\n\r\n{body}"
        ),
    )
}

/// A request whose body ends once `text` of the response's has come: what the guest does then, it does
/// after its response began.
pub fn held(name: &'static str, path: &str, text: &'static str) -> Case {
    let head =
        format!("POST {path} HTTP/1.1\r\nhost: a.example\r\ntransfer-encoding: chunked\r\n\r\n");
    steps(
        name,
        vec![
            Step::Send(head.into_bytes()),
            Step::Hear(text),
            Step::Send(b"0\r\n\r\n".to_vec()),
        ],
    )
}

/// What a client does, step by step.
pub fn steps(name: &'static str, steps: Vec<Step>) -> Case {
    Case {
        name,
        guests: &GUESTS,
        steps,
        answers: 1,
        compared: Compared::Whole,
        status: 200,
        body: None,
        headers: Vec::new(),
        trailers: Vec::new(),
        end: End::Kept,
    }
}

impl Case {
    /// For one of the guests.
    pub fn only(mut self, guest: &'static str) -> Self {
        let at = GUESTS.iter().position(|known| *known == guest);
        let at = at.expect("it is one of them");
        self.guests = &GUESTS[at..=at];
        self
    }

    /// So many answers come; what is expected is the last one's.
    pub fn answers(mut self, answers: usize) -> Self {
        self.answers = answers;
        self
    }

    /// The status that is expected, 200 otherwise; 0 is no answer.
    pub fn status(mut self, status: u16) -> Self {
        self.status = status;
        self
    }

    /// The body that is expected.
    pub fn body(mut self, body: impl Into<Vec<u8>>) -> Self {
        self.body = Some(body.into());
        self
    }

    /// A header that is expected.
    pub fn header(mut self, name: &'static str, value: &'static str) -> Self {
        self.headers.push((name, value));
        self
    }

    /// A trailer that is expected; without any, none may come.
    pub fn trailer(mut self, name: &'static str, value: &'static str) -> Self {
        self.trailers.push((name, value));
        self
    }

    /// The server closes the connection.
    pub fn closes(mut self) -> Self {
        self.end = End::Closed;
        self
    }

    /// The answer breaks off.
    pub fn breaks(mut self) -> Self {
        self.end = End::Broken;
        self
    }

    /// The host answers, since the guest failed.
    pub fn fails(mut self) -> Self {
        self.compared = Compared::AllButPage;
        self.status(500)
            .header("content-type", "text/html; charset=UTF-8")
    }

    /// `wasmtime serve` answers otherwise, for this reason.
    pub fn differs(mut self, reason: &'static str) -> Self {
        self.compared = Compared::Differs(reason);
        self
    }

    /// `wasmtime serve` may answer otherwise, for this reason.
    pub fn may_differ(mut self, reason: &'static str) -> Self {
        self.compared = Compared::MayDiffer(reason);
        self
    }

    /// Whether it asks for a head alone.
    pub fn head(&self) -> bool {
        matches!(self.steps.first(), Some(Step::Send(bytes)) if bytes.starts_with(b"HEAD "))
    }

    /// What is wrong with the last of the answers.
    pub fn wrong(&self, answers: &[Answer]) -> Option<String> {
        let Some(answer) = answers.last().filter(|_| answers.len() == self.answers) else {
            return Some(format!("{} answers", answers.len()));
        };
        let mut wrong = Vec::new();
        if answer.code() != self.status {
            wrong.push(format!("the status is not {}", self.status));
        }
        if self.body.as_ref().is_some_and(|body| *body != answer.body) {
            wrong.push("the body is another".to_owned());
        }
        for (name, value) in &self.headers {
            if answer.header(name) != Some(*value) {
                wrong.push(format!("no header {name}: {value}"));
            }
        }
        let trailers = answer.trailers.iter();
        let trailers: Vec<_> = trailers.map(|(n, v)| (n.as_str(), v.as_str())).collect();
        if trailers != self.trailers {
            wrong.push(format!("the trailers are not {:?}", self.trailers));
        }
        if answer.end != self.end {
            wrong.push(format!("the connection is not {:?}", self.end));
        }
        (!wrong.is_empty()).then(|| wrong.join(", "))
    }

    /// What of an answer is compared with the other program's.
    pub fn comparable(&self, mut answer: Answer) -> Answer {
        if self.compared == Compared::AllButPage {
            answer.body.clear();
            answer.headers.retain(|(name, _)| name != "content-length");
        }
        answer
    }
}
