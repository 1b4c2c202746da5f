//! `wharf serve` is to a client and to a component what `wasmtime serve` 48 is.
//!
//! The same bytes go to both, and what comes back is compared: status line, headers apart from `date`,
//! body, trailers, how the connection ends. Where the two differ on purpose, the row says why, and the
//! test fails once they do not. Without `wasmtime` the rows are checked against what they expect.

mod options;
mod requests;
mod responses;
mod server;
mod table;
mod wire;

use server::{Program, Server, wasmtime_is_here};
use table::{Case, Compared, GUESTS};
use wire::{Answer, talk};

/// What both programs are told for the guests.
const ARGUMENTS: [&str; 2] = ["-S", "cli,config,keyvalue"];

/// The programs that serve one guest.
struct Pair {
    guest: &'static str,
    wharf: Server,
    wasmtime: Option<Server>,
}

impl Pair {
    fn start(guest: &'static str, arguments: &[&str], compare: bool) -> Self {
        let arguments = [&ARGUMENTS, arguments].concat();
        Self {
            guest,
            wharf: Program::Wharf.serve(guest, &arguments),
            wasmtime: compare.then(|| Program::Wasmtime.serve(guest, &arguments)),
        }
    }

    /// What is wrong with the answers to a row.
    fn wrong(&self, case: &Case) -> Option<String> {
        let ask = |server: &Server| talk(server.address, &case.steps, case.answers, case.head());
        let ours = ask(&self.wharf);
        let unexpected = case.wrong(&ours);
        let theirs = self.wasmtime.as_ref().map(ask);
        let comparable = |answers: &[Answer]| -> Vec<Answer> {
            let answers = answers.iter().cloned();
            answers.map(|answer| case.comparable(answer)).collect()
        };
        let apart = theirs.as_ref().and_then(|theirs| {
            let same = comparable(&ours) == comparable(theirs);
            match case.compared {
                Compared::Differs(reason) if same => {
                    Some(format!("the two do not differ, although {reason}"))
                }
                Compared::Whole | Compared::AllButPage if !same => {
                    Some("the two differ".to_owned())
                }
                Compared::Differs(_)
                | Compared::MayDiffer(_)
                | Compared::Whole
                | Compared::AllButPage => None,
            }
        });
        let wrong: Vec<String> = unexpected.into_iter().chain(apart).collect();
        (!wrong.is_empty()).then(|| {
            let theirs = theirs.map(|theirs| shown(&theirs)).unwrap_or_default();
            format!(
                "{} on {}: {}\n  wharf    {}\n  wasmtime {theirs}",
                case.name,
                self.guest,
                wrong.join(", "),
                shown(&ours),
            )
        })
    }
}

/// Answers, short enough to be read.
fn shown(answers: &[Answer]) -> String {
    let shown = answers.iter().map(|answer| {
        let body = answer.body.escape_ascii().to_string();
        let body: String = body.chars().take(300).collect();
        let headers: Vec<String> = answer
            .headers
            .iter()
            .map(|(name, value)| format!("{name}: {}", value.chars().take(80).collect::<String>()))
            .collect();
        format!(
            "{:?} {:?} {headers:?} {} bytes {body:?} {:?} {:?}",
            answer.informational,
            answer.status,
            answer.body.len(),
            answer.trailers,
            answer.end
        )
    });
    shown.collect::<Vec<_>>().join("\n           ")
}

/// Runs the rows on every guest; all that is wrong is reported at once.
fn compare(cases: &[Case], arguments: &[&str]) {
    let compare = wasmtime_is_here();
    let wrong: Vec<String> = std::thread::scope(|scope| {
        let running: Vec<_> = GUESTS
            .iter()
            .map(|guest| {
                scope.spawn(move || {
                    let pair = Pair::start(guest, arguments, compare);
                    let mine = cases.iter().filter(|case| case.guests.contains(guest));
                    mine.filter_map(|case| pair.wrong(case)).collect::<Vec<_>>()
                })
            })
            .collect();
        let ended = running
            .into_iter()
            .map(|thread| thread.join().expect("rows do not panic"));
        ended.flatten().collect()
    });
    assert!(
        wrong.is_empty(),
        "{} rows:\n{}",
        wrong.len(),
        wrong.join("\n")
    );
}

#[test]
fn what_a_guest_sees_of_a_request_is_what_it_sees_under_wasmtime() {
    let cases = requests::cases();
    assert!(cases.len() >= 50, "{} rows", cases.len());
    compare(&cases, &[]);
}

#[test]
fn a_response_reaches_its_client_as_it_does_under_wasmtime() {
    compare(&responses::cases(), &[]);
}

#[test]
fn what_takes_too_long_is_answered_as_wasmtime_does() {
    compare(&responses::late(), &["-W", "timeout=250ms"]);
}
