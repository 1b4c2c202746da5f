//! Bodies on their way through: bounded, watched, and tied to the work that makes them.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http::header::CONTENT_LENGTH;
use http::{Response, StatusCode};
use http_body::{Body, Frame, SizeHint};
use http_body_util::{BodyExt, Empty};
use tokio::task::AbortHandle;
use tokio::time::Sleep;
use wasmtime_wasi_http::{Error, WasiBody};

use super::exchange::Exchange;
use crate::runtime::state::Context as InstanceContext;
use crate::runtime::waiting::Cancelled;
use crate::runtime::work::WorkKind;

/// How long a broken body holds back its failure, for what came before it to be written.
const FLUSH_PAUSE: Duration = Duration::from_millis(5);

/// A request's body that fails once it is larger than allowed.
pub struct LimitedBody<B> {
    inner: B,
    remaining: u64,
    bytes_max: u64,
    exchange: Arc<Exchange>,
}

impl<B> LimitedBody<B> {
    /// `inner`, of which at most `bytes_max` bytes are let through.
    pub fn new(inner: B, bytes_max: u64, exchange: Arc<Exchange>) -> Self {
        Self {
            inner,
            remaining: bytes_max,
            bytes_max,
            exchange,
        }
    }
}

impl<B> Body for LimitedBody<B>
where
    B: Body<Data = Bytes> + Unpin,
    B::Error: Into<Error>,
{
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        let Some(frame) = ready!(Pin::new(&mut self.inner).poll_frame(cx)) else {
            return Poll::Ready(None);
        };
        let frame = frame.map_err(Into::into)?;
        let bytes = frame.data_ref().map_or(0, |data| data.len() as u64);
        match self.remaining.checked_sub(bytes) {
            Some(remaining) => {
                self.remaining = remaining;
                Poll::Ready(Some(Ok(frame)))
            }
            None => {
                self.exchange.exceed_body();
                Poll::Ready(Some(Err(Error::HttpRequestBodySize(Some(self.bytes_max)))))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

/// Aborts a task when it is dropped, unless the task may go on by itself.
pub struct AbortOnDrop(Option<AbortHandle>);

impl AbortOnDrop {
    /// Ties the task to this value.
    pub fn new(task: AbortHandle) -> Self {
        Self(Some(task))
    }

    /// The task goes on: it has nothing left that anybody waits for.
    fn release(&mut self) {
        self.0 = None;
    }
}

impl Drop for AbortOnDrop {
    fn drop(&mut self) {
        if let Some(task) = self.0.take() {
            task.abort();
        }
    }
}

/// What must live, or must end, with a response's body.
pub enum Tie {
    /// The task that writes it: ended when the body is dropped before its end.
    Task(AbortOnDrop),
    /// A shared instance's request.
    Lease {
        /// What it holds.
        lease: Arc<dyn Send + Sync>,
        /// When its revision's time ends.
        over: Ends,
    },
    /// Nothing.
    Loose,
}

/// The end of a revision's time.
pub struct Ends {
    context: Arc<InstanceContext>,
    kind: WorkKind,
    cancelled: Cancelled,
}

impl Ends {
    /// The end for one kind of the revision's work.
    pub fn of(context: Arc<InstanceContext>, kind: WorkKind) -> Self {
        Self {
            context,
            kind,
            cancelled: Cancelled::default(),
        }
    }

    /// Ready once it has come.
    pub fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.cancelled.poll(self.context.over.of(self.kind), cx)
    }
}

/// A response's body, streamed out of a component.
pub struct GuestBody {
    inner: WasiBody,
    exchange: Arc<Exchange>,
    tie: Tie,
    /// What is left of the response's `Content-Length`, where it has one.
    unsent: Option<u64>,
    /// Longest wait for a piece, where nothing else watches whoever writes it.
    idle: Duration,
    /// Ends such a wait, or comes before its end; made when there is one.
    timer: Option<Pin<Box<Sleep>>>,
    /// Why it breaks off, once what came before has been handed on.
    broken: Option<Box<(Error, Pin<Box<Sleep>>)>>,
}

impl GuestBody {
    /// A response with its body on the way out.
    pub fn respond(
        response: Response<WasiBody>,
        head: bool,
        tie: Tie,
        exchange: Arc<Exchange>,
        context: &InstanceContext,
    ) -> Response<Self> {
        if head {
            return response.map(|body| Self::for_head(body, tie, exchange, context));
        }
        let length = response.headers().get(CONTENT_LENGTH);
        let length = length.and_then(|length| length.to_str().ok()?.parse().ok());
        let bodiless = length == Some(0)
            || matches!(
                response.status(),
                StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED
            );
        response.map(|inner| {
            let mut body = Self {
                inner,
                exchange,
                tie,
                unsent: length,
                idle: context.limits.response_idle,
                timer: None,
                broken: None,
            };
            // The server drops such a body unread, and that cancels nothing.
            if bodiless {
                body.end();
            }
            body
        })
    }

    /// The empty body of a response to HEAD. What the component writes nevertheless is thrown away,
    /// for as long as a pause between pieces may last, so that it does not fail.
    fn for_head(
        mut inner: WasiBody,
        tie: Tie,
        exchange: Arc<Exchange>,
        context: &InstanceContext,
    ) -> Self {
        let idle = context.limits.response_idle;
        tokio::spawn(async move {
            let drained = async { while let Some(Ok(_)) = inner.frame().await {} };
            let ended = tokio::time::timeout(idle, drained).await.is_ok();
            if let (Tie::Task(mut task), true) = (tie, ended) {
                task.release();
            }
        });
        let empty = Empty::new().map_err(|never| match never {}).boxed_unsync();
        Self {
            inner: empty,
            exchange,
            tie: Tie::Loose,
            unsent: None,
            idle,
            timer: None,
            broken: None,
        }
    }

    fn end(&mut self) {
        if let Tie::Task(task) = &mut self.tie {
            self.exchange.handed_over();
            task.release();
        }
        self.tie = Tie::Loose;
    }

    /// Ready once the next piece has not come within the idle limit. While a call of its own writes the
    /// body, that call's task is what watches it.
    fn poll_stalled(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.exchange.asked();
        match &mut self.tie {
            Tie::Task(_) => {
                if !self.exchange.has_returned(cx) {
                    return Poll::Pending;
                }
            }
            Tie::Lease { over, .. } => {
                if over.poll(cx).is_ready() {
                    return Poll::Ready(());
                }
            }
            Tie::Loose => {}
        }
        let until = self.exchange.due(self.idle);
        let timer = self
            .timer
            .get_or_insert_with(|| Box::pin(tokio::time::sleep_until(until)));
        loop {
            ready!(timer.as_mut().poll(cx));
            if timer.deadline() >= until {
                return Poll::Ready(());
            }
            // There was progress since it was set.
            timer.as_mut().reset(until);
        }
    }

    /// What was written before its writer stopped, though this task may have had its turn.
    fn poll_rest(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        let inner = &mut self.inner;
        let rest = std::future::poll_fn(|cx| Pin::new(&mut *inner).poll_frame(cx));
        std::pin::pin!(tokio::task::unconstrained(rest)).poll(cx)
    }

    /// The server drops what it has not written yet when a body fails. Failing a moment later lets
    /// the head and the pieces that came before reach the client.
    fn break_off(
        &mut self,
        error: Error,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        let mut pause = Box::pin(tokio::time::sleep(FLUSH_PAUSE));
        // Polled once, so that it wakes this body.
        let _ = pause.as_mut().poll(cx);
        self.broken = Some(Box::new((error, pause)));
        Poll::Pending
    }

    fn track(&mut self, frame: &Frame<Bytes>) {
        self.exchange.handed_on();
        if let (Some(unsent), Some(data)) = (&mut self.unsent, frame.data_ref()) {
            *unsent = unsent.saturating_sub(data.len() as u64);
            if *unsent == 0 {
                self.end();
            }
        }
    }
}

impl Body for GuestBody {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        if let Some(broken) = &mut self.broken {
            ready!(broken.1.as_mut().poll(cx));
            return Poll::Ready(self.broken.take().map(|broken| Err(broken.0)));
        }
        let mut polled = Pin::new(&mut self.inner).poll_frame(cx);
        if polled.is_pending() && self.exchange.has_stopped(cx) {
            polled = self.poll_rest(cx);
            if polled.is_pending() {
                return self.break_off(Error::HttpProtocolError, cx);
            }
        }
        match polled {
            Poll::Ready(Some(Ok(frame))) => {
                self.track(&frame);
                Poll::Ready(Some(Ok(frame)))
            }
            Poll::Ready(Some(Err(error))) => self.break_off(error, cx),
            Poll::Ready(None) if self.exchange.is_cut_off() => {
                self.break_off(Error::HttpProtocolError, cx)
            }
            Poll::Ready(None) => {
                self.end();
                Poll::Ready(None)
            }
            Poll::Pending => {
                ready!(self.poll_stalled(cx));
                Poll::Ready(Some(Err(Error::HttpResponseTimeout)))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

impl Drop for GuestBody {
    fn drop(&mut self) {
        self.exchange.end();
        if self.broken.is_none() && self.inner.is_end_stream() {
            self.end();
        }
    }
}
