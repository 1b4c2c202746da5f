//! Shows that long steps are alive, and runs the commands that take long.
//!
//! On a terminal a step is one line that counts its seconds and ends as one line; elsewhere (a log of
//! continuous integration) a line is added every ten seconds. A command's own output is kept aside
//! and is shown only when the command fails.

use std::fs::File;
use std::io::{self, IsTerminal, Write};
use std::os::unix::fs::FileExt;
use std::process::{Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

/// Pause between two looks at a running command. A build ends this much later than it could.
const POLL: Duration = Duration::from_millis(40);

/// Pause between two lines where the output is not a terminal.
const LOG_INTERVAL: Duration = Duration::from_secs(10);

/// Pause between two updates of a terminal's line.
const TERMINAL_INTERVAL: Duration = Duration::from_millis(200);

/// Bytes of a failed command's output that are shown: its end, where the error stands.
const OUTPUT_BYTES_MAX: u64 = 64 * 1024;

/// Bytes looked at for the last line of a running command's output.
const TAIL_BYTES: u64 = 512;

/// Characters of the last output line that a terminal's line shows.
const DETAIL_CHARS_MAX: usize = 56;

/// What hears about steps. Steps do not nest.
pub trait Progress {
    /// `step` began.
    fn begin(&mut self, step: &str);
    /// `step` still runs; `detail` is the last line that it wrote, possibly empty. Called often.
    fn alive(&mut self, step: &str, elapsed: Duration, detail: &str);
    /// `step` is over.
    fn end(&mut self, step: &str, elapsed: Duration, succeeded: bool);
}

/// Hears nothing.
#[derive(Debug, Default)]
pub struct Silent;

impl Progress for Silent {
    fn begin(&mut self, _: &str) {}
    fn alive(&mut self, _: &str, _: Duration, _: &str) {}
    fn end(&mut self, _: &str, _: Duration, _: bool) {}
}

/// Writes for a person, or for a log.
#[derive(Debug)]
pub struct Console<W> {
    out: W,
    terminal: bool,
    shown: Duration,
}

impl Console<io::Stderr> {
    /// Writes to standard error, as it suits what standard error is.
    pub fn stderr() -> Self {
        let out = io::stderr();
        let terminal = out.is_terminal();
        Self::new(out, terminal)
    }
}

impl<W: Write> Console<W> {
    /// Writes to `out`, which is a terminal or not.
    pub fn new(out: W, terminal: bool) -> Self {
        Self {
            out,
            terminal,
            shown: Duration::ZERO,
        }
    }

    /// Progress that cannot be shown is not worth failing for.
    fn write(&mut self, text: &str) {
        let _ = self
            .out
            .write_all(text.as_bytes())
            .and_then(|()| self.out.flush());
    }
}

impl<W: Write> Progress for Console<W> {
    fn begin(&mut self, step: &str) {
        self.shown = Duration::ZERO;
        if self.terminal {
            self.write(&format!("\r\x1b[K  {step} ..."));
        } else {
            self.write(&format!("{step} ...\n"));
        }
    }

    fn alive(&mut self, step: &str, elapsed: Duration, detail: &str) {
        let interval = if self.terminal {
            TERMINAL_INTERVAL
        } else {
            LOG_INTERVAL
        };
        if elapsed < self.shown + interval {
            return;
        }
        self.shown = elapsed;
        let seconds = elapsed.as_secs();
        if self.terminal {
            let detail: String = detail.chars().take(DETAIL_CHARS_MAX).collect();
            self.write(&format!("\r\x1b[K  {step} ... {seconds} s  {detail}"));
        } else {
            self.write(&format!("{step} ... {seconds} s  {detail}\n"));
        }
    }

    fn end(&mut self, step: &str, elapsed: Duration, succeeded: bool) {
        let outcome = if succeeded { "done" } else { "failed" };
        let seconds = elapsed.as_secs_f32();
        let start = if self.terminal { "\r\x1b[K  " } else { "" };
        self.write(&format!("{start}{step}: {outcome} in {seconds:.1} s\n"));
    }
}

/// How a command ended.
#[derive(Debug)]
pub(super) struct Outcome {
    pub(super) status: ExitStatus,
    /// The end of what it wrote to standard output and standard error.
    pub(super) output: String,
}

/// Runs `command` to its end and reports it as `step`.
///
/// # Errors
///
/// The command cannot be started, or it still runs after `limit`; it is killed then.
pub(super) fn run(
    command: &mut Command,
    step: &str,
    limit: Duration,
    progress: &mut dyn Progress,
) -> io::Result<Outcome> {
    progress.begin(step);
    let started = Instant::now();
    let result = run_watched(command, limit, &mut |elapsed, log| {
        progress.alive(step, elapsed, &last_line(log));
    });
    let succeeded = matches!(&result, Ok(outcome) if outcome.status.success());
    progress.end(step, started.elapsed(), succeeded);
    result
}

fn run_watched(
    command: &mut Command,
    limit: Duration,
    watch: &mut dyn FnMut(Duration, &File),
) -> io::Result<Outcome> {
    // A file instead of pipes: it needs no thread, holds any amount, and a grandchild that outlives
    // the command cannot block the end.
    let file = tempfile::NamedTempFile::new()?;
    let log = file.reopen()?;
    let started = Instant::now();
    let mut child = command
        .stdin(Stdio::null())
        .stdout(file.as_file().try_clone()?)
        .stderr(file.as_file().try_clone()?)
        .spawn()?;
    let status = loop {
        if let Some(status) = child.try_wait()? {
            break status;
        }
        if started.elapsed() > limit {
            child.kill()?;
            child.wait()?;
            return Err(io::Error::new(
                io::ErrorKind::TimedOut,
                format!("it was still running after {} s", limit.as_secs()),
            ));
        }
        watch(started.elapsed(), &log);
        std::thread::sleep(POLL);
    };
    Ok(Outcome {
        status,
        output: tail(&log, OUTPUT_BYTES_MAX)?,
    })
}

/// The last `bytes_max` bytes of `log`, from the start of a line.
fn tail(log: &File, bytes_max: u64) -> io::Result<String> {
    let length = log.metadata()?.len();
    let start = length.saturating_sub(bytes_max);
    let mut bytes = vec![0; usize::try_from(length - start).unwrap_or(0)];
    let read = log.read_at(&mut bytes, start)?;
    let text = String::from_utf8_lossy(&bytes[..read]).into_owned();
    Ok(match text.split_once('\n') {
        Some((_, rest)) if start > 0 => rest.to_owned(),
        _ => text,
    })
}

fn last_line(log: &File) -> String {
    let text = tail(log, TAIL_BYTES).unwrap_or_default();
    let line = text
        .lines()
        .rev()
        .map(str::trim)
        .find(|line| !line.is_empty());
    line.unwrap_or_default()
        .chars()
        .filter(|c| !c.is_control())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(terminal: bool) -> String {
        let mut console = Console::new(Vec::new(), terminal);
        console.begin("building auth");
        for seconds in 0..25 {
            console.alive(
                "building auth",
                Duration::from_secs(seconds),
                "Compiling serde",
            );
        }
        console.end("building auth", Duration::from_millis(25_200), true);
        String::from_utf8(console.out).unwrap()
    }

    #[test]
    fn a_log_gets_a_line_every_ten_seconds() {
        let expected = "building auth ...\n\
            building auth ... 10 s  Compiling serde\n\
            building auth ... 20 s  Compiling serde\n\
            building auth: done in 25.2 s\n";
        assert_eq!(shown(false), expected);
    }

    #[test]
    fn a_terminal_gets_one_line_that_counts() {
        let text = shown(true);
        assert!(
            text.contains("\r\x1b[K  building auth ... 24 s  Compiling serde"),
            "{text:?}"
        );
        assert_eq!(text.matches('\n').count(), 1);
    }

    #[test]
    fn a_command_returns_its_status_and_both_outputs() {
        let mut command = Command::new("sh");
        command.args(["-c", "echo out; echo err >&2; exit 3"]);
        let outcome = run(&mut command, "step", Duration::from_secs(20), &mut Silent).unwrap();
        assert_eq!(outcome.status.code(), Some(3));
        assert_eq!(outcome.output, "out\nerr\n");
    }

    #[test]
    fn a_command_past_its_limit_is_killed() {
        let mut command = Command::new("sleep");
        command.arg("60");
        let error = run(&mut command, "step", Duration::from_millis(50), &mut Silent).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
    }
}
