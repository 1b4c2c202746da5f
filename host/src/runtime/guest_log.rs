//! What a guest writes to standard output and standard error becomes log lines, as long as it is not
//! too much.

use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context as TaskContext, Poll};
use std::time::{Duration, Instant};

use bytes::Bytes;
use tokio::io::AsyncWrite;
use wasmtime_wasi::cli::{IsTerminal, StdoutStream};
use wasmtime_wasi::p2::{OutputStream, Pollable, StreamError, StreamResult};

use super::state::Context;
use super::work::WorkName;

/// Longest line that is logged whole; a longer one is cut into several. Collectors commonly refuse
/// lines past 16 KiB.
const LINE_BYTES_MAX: usize = 8 * 1024;

/// Which of the two streams.
#[derive(Debug, Clone, Copy)]
pub enum Source {
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
}

/// Where one of them goes.
pub trait Sink: Send + Sync {
    /// Takes all of `bytes`, at once.
    ///
    /// # Errors
    ///
    /// Nothing takes them any more.
    fn write(&self, bytes: &[u8]) -> io::Result<()>;

    /// Whether a person sees them.
    fn is_terminal(&self) -> bool;
}

/// What one instance may log within [`WINDOW`], in bytes. A panic with a long stack has some 10 KiB;
/// a guest that logs in a loop would fill the disk.
const LOG_BYTES_MAX: usize = 256 * 1024;

/// How long what was logged counts.
const WINDOW: Duration = Duration::from_secs(10);

/// The log of one instance.
#[derive(Clone)]
pub struct GuestLog(Arc<Shared>);

struct Shared {
    context: Arc<Context>,
    /// Whose lines it writes.
    owner: Mutex<WorkName>,
    budget: Mutex<Budget>,
}

/// What is left of the volume that an instance may log.
struct Budget {
    since: Instant,
    bytes: usize,
    dropped: u64,
}

impl GuestLog {
    /// The log of an instance whose lines are `owner`'s.
    pub fn new(context: Arc<Context>, owner: WorkName) -> Self {
        Self(Arc::new(Shared {
            context,
            owner: Mutex::new(owner),
            budget: Mutex::new(Budget {
                since: Instant::now(),
                bytes: 0,
                dropped: 0,
            }),
        }))
    }

    /// What is written from here on is `owner`'s.
    pub fn turn_to(&self, owner: WorkName) {
        *self.0.owner.lock().expect("no holder of this lock panics") = owner;
    }

    /// Whether a line of `bytes` bytes may be logged. What is dropped is counted, and told in a line of
    /// its own once the window has passed or the instance ends.
    pub fn admits(&self, bytes: usize) -> bool {
        let mut budget = self.0.budget.lock().expect("no holder of this lock panics");
        let ended = if budget.since.elapsed() >= WINDOW {
            budget.since = Instant::now();
            budget.bytes = 0;
            std::mem::take(&mut budget.dropped)
        } else {
            0
        };
        budget.bytes = budget.bytes.saturating_add(bytes);
        let admitted = budget.bytes <= LOG_BYTES_MAX;
        budget.dropped += u64::from(!admitted);
        drop(budget);
        self.0.tell_dropped(ended);
        admitted
    }

    /// Standard output: logged at *info*.
    pub fn stdout(&self) -> LineStream {
        self.stream(Source::Stdout)
    }

    /// Standard error: logged at *warn*, since panics arrive there.
    pub fn stderr(&self) -> LineStream {
        self.stream(Source::Stderr)
    }

    fn stream(&self, source: Source) -> LineStream {
        LineStream::to(Arc::new(Lines {
            log: self.clone(),
            source,
            pending: Mutex::new(Vec::new()),
        }))
    }
}

impl Shared {
    fn tell_dropped(&self, lines: u64) {
        if lines > 0 {
            tracing::warn!(
                component = %self.context.component,
                revision = %self.context.digest.short(),
                lines,
                bytes_max = LOG_BYTES_MAX,
                seconds = WINDOW.as_secs(),
                "guest logged more than it may: the rest of its lines was dropped"
            );
        }
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        let budget = self.budget.get_mut();
        let dropped = budget.expect("no holder of this lock panics").dropped;
        self.tell_dropped(dropped);
    }
}

/// One standard stream of a guest.
#[derive(Clone)]
pub struct LineStream(Arc<dyn Sink>);

impl LineStream {
    /// The stream that goes to `sink`.
    pub fn to(sink: Arc<dyn Sink>) -> Self {
        Self(sink)
    }
}

/// A stream cut into lines of the log.
struct Lines {
    log: GuestLog,
    source: Source,
    pending: Mutex<Vec<u8>>,
}

impl Sink for Lines {
    fn write(&self, mut bytes: &[u8]) -> io::Result<()> {
        let mut pending = self.pending.lock().expect("no holder of this lock panics");
        while !bytes.is_empty() {
            let room = LINE_BYTES_MAX - pending.len();
            let taken = &bytes[..bytes.len().min(room)];
            match taken.iter().position(|byte| *byte == b'\n') {
                Some(end) => {
                    pending.extend_from_slice(&taken[..end]);
                    bytes = &bytes[end + 1..];
                    self.emit(&mut pending);
                }
                None => {
                    pending.extend_from_slice(taken);
                    bytes = &bytes[taken.len()..];
                    if pending.len() == LINE_BYTES_MAX {
                        self.emit(&mut pending);
                    }
                }
            }
        }
        Ok(())
    }

    fn is_terminal(&self) -> bool {
        false
    }
}

impl Lines {
    fn emit(&self, line: &mut Vec<u8>) {
        if !self.log.admits(line.len()) {
            line.clear();
            return;
        }
        let Shared { context, owner, .. } = &*self.log.0;
        let text = String::from_utf8_lossy(line);
        let component = &context.component;
        let revision = context.revision;
        let owner = *owner.lock().expect("no holder of this lock panics");
        let (request_id, trace_id) = (owner.request_id(), owner.trace_id());
        let span_id = owner.span_id();
        match self.source {
            Source::Stdout => {
                tracing::info!(target: "wharf::guest", %component, %revision, request_id, trace_id, span_id, line = %text, "guest wrote to standard output");
            }
            Source::Stderr => {
                tracing::warn!(target: "wharf::guest", %component, %revision, request_id, trace_id, span_id, line = %text, "guest wrote to standard error");
            }
        }
        line.clear();
    }
}

impl Drop for Lines {
    fn drop(&mut self) {
        let mut pending = std::mem::take(
            self.pending
                .get_mut()
                .expect("no holder of this lock panics"),
        );
        if !pending.is_empty() {
            self.emit(&mut pending);
        }
    }
}

impl IsTerminal for LineStream {
    fn is_terminal(&self) -> bool {
        self.0.is_terminal()
    }
}

impl StdoutStream for LineStream {
    fn async_stream(&self) -> Box<dyn AsyncWrite + Send + Sync> {
        Box::new(self.clone())
    }

    fn p2_stream(&self) -> Box<dyn OutputStream> {
        Box::new(self.clone())
    }
}

#[async_trait::async_trait]
impl Pollable for LineStream {
    async fn ready(&mut self) {}
}

impl OutputStream for LineStream {
    fn write(&mut self, bytes: Bytes) -> StreamResult<()> {
        let written = self.0.write(&bytes);
        written.map_err(|error| StreamError::LastOperationFailed(error.into()))
    }

    fn flush(&mut self) -> StreamResult<()> {
        Ok(())
    }

    fn check_write(&mut self) -> StreamResult<usize> {
        Ok(64 * 1024)
    }
}

impl AsyncWrite for LineStream {
    fn poll_write(
        self: Pin<&mut Self>,
        _cx: &mut TaskContext<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Poll::Ready(self.0.write(bytes).map(|()| bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _cx: &mut TaskContext<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _cx: &mut TaskContext<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}
