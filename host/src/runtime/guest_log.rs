//! What a guest writes to standard output and standard error becomes log lines.

use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context as TaskContext, Poll};

use bytes::Bytes;
use tokio::io::AsyncWrite;
use wasmtime_wasi::cli::{IsTerminal, StdoutStream};
use wasmtime_wasi::p2::{OutputStream, Pollable, StreamResult};

use super::state::Context;

/// Longest line that is logged whole; a longer one is cut into several. Collectors commonly refuse
/// lines past 16 KiB.
const LINE_BYTES_MAX: usize = 8 * 1024;

/// Which of the two streams.
#[derive(Debug, Clone, Copy)]
enum Source {
    Stdout,
    Stderr,
}

/// The log of one instance.
pub struct GuestLog {
    context: Arc<Context>,
    work_id: u64,
}

impl GuestLog {
    /// The log of an instance that works for the request or delivery `work_id`.
    pub fn new(context: Arc<Context>, work_id: u64) -> Self {
        Self { context, work_id }
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
        LineStream(Arc::new(Lines {
            context: self.context.clone(),
            work_id: self.work_id,
            source,
            pending: Mutex::new(Vec::new()),
        }))
    }
}

/// One standard stream of a guest, cut into lines.
#[derive(Clone)]
pub struct LineStream(Arc<Lines>);

struct Lines {
    context: Arc<Context>,
    work_id: u64,
    source: Source,
    pending: Mutex<Vec<u8>>,
}

impl Lines {
    fn write(&self, mut bytes: &[u8]) {
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
    }

    fn emit(&self, line: &mut Vec<u8>) {
        let text = String::from_utf8_lossy(line);
        let component = &self.context.component;
        let revision = self.context.revision;
        let request_id = self.work_id;
        match self.source {
            Source::Stdout => {
                tracing::info!(target: "wharf::guest", %component, %revision, request_id, line = %text, "guest wrote to standard output");
            }
            Source::Stderr => {
                tracing::warn!(target: "wharf::guest", %component, %revision, request_id, line = %text, "guest wrote to standard error");
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
        false
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
        self.0.write(&bytes);
        Ok(())
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
        self.0.write(bytes);
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _cx: &mut TaskContext<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _cx: &mut TaskContext<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}
