//! Bodies on their way through: bounded, watched, and tied to the work that makes them.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use futures::task::AtomicWaker;
use http::header::CONTENT_LENGTH;
use http::{Response, StatusCode};
use http_body::{Body, Frame, SizeHint};
use http_body_util::{BodyExt, Empty};
use tokio::sync::Notify;
use tokio::task::AbortHandle;
use tokio::time::{Instant, Sleep};
use tokio_util::sync::WaitForCancellationFutureOwned;
use wasmtime_wasi_http::{Error, WasiBody};

use crate::runtime::state::Context as InstanceContext;

/// How long a broken body holds back its failure, for what came before it to be written.
const FLUSH_PAUSE: Duration = Duration::from_millis(5);

/// How long a client may take nothing of a response that has more for it: players that are paused and
/// people who come back to a download. A manifest's own idle limit counts where it is longer.
const READER_PAUSE_MAX: Duration = Duration::from_secs(300);

/// What the two sides of one exchange tell each other.
pub struct Exchange {
    began: Instant,
    /// Milliseconds from `began` to when the two sides changed places last: the component has to write,
    /// or the client to read. 0 before the response began.
    turned_ms: AtomicU64,
    /// It is the client's turn: it has not asked for more than it was given.
    reading: AtomicBool,
    responding: Notify,
    /// The component's call has returned: whatever it owes of the body, it works no more.
    returned: AtomicBool,
    /// The body, while it waits for a piece.
    waiting: AtomicWaker,
    /// Nobody waits for the response any more.
    abandoned: Notify,
    /// The response's body has left, or nobody wants it any more.
    ended: AtomicBool,
    /// Told when it is.
    settled: Notify,
    /// Whoever writes the response's body writes no more of it, and is still there.
    stopped: AtomicBool,
    /// Whoever wrote the response's body failed or was stopped before its end.
    cut_off: AtomicBool,
    body_exceeded: AtomicBool,
}

impl Exchange {
    /// An exchange that begins now.
    pub fn new() -> Arc<Self> {
        Arc::new(Self {
            began: Instant::now(),
            turned_ms: AtomicU64::new(0),
            reading: AtomicBool::new(false),
            responding: Notify::new(),
            returned: AtomicBool::new(false),
            waiting: AtomicWaker::new(),
            abandoned: Notify::new(),
            ended: AtomicBool::new(false),
            settled: Notify::new(),
            stopped: AtomicBool::new(false),
            cut_off: AtomicBool::new(false),
            body_exceeded: AtomicBool::new(false),
        })
    }

    /// When it began.
    pub fn began(&self) -> Instant {
        self.began
    }

    /// The response has begun: from here on progress is expected.
    pub fn respond(&self) {
        self.turn(false);
        self.responding.notify_one();
    }

    /// A piece of the response's body was handed on: the client's turn.
    fn handed_on(&self) {
        self.turn(true);
    }

    /// The client asks for more and there is none yet: the component's turn.
    fn asked(&self) {
        if self.reading.load(Ordering::Relaxed) {
            self.turn(false);
        }
    }

    fn turn(&self, reading: bool) {
        let passed = u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.turned_ms.store(passed.max(1), Ordering::Relaxed);
        self.reading.store(reading, Ordering::Relaxed);
    }

    /// The component's call has returned. From here on its body is watched where it is read.
    pub fn returned(&self) {
        self.returned.store(true, Ordering::Release);
        self.waiting.wake();
    }

    /// Nobody waits for the response any more, or wants more of it.
    fn end(&self) {
        self.turn(false);
        self.ended.store(true, Ordering::Relaxed);
        self.settled.notify_one();
    }

    /// Whether nobody wants anything of the response any more.
    pub fn has_ended(&self) -> bool {
        self.ended.load(Ordering::Relaxed)
    }

    /// Resolves once nobody waits for the response, which has not begun.
    pub async fn abandoned(&self) {
        self.abandoned.notified().await;
    }

    /// The response's body ends before its end. To be said before what writes it is dropped: that
    /// alone looks like an end.
    pub fn cut_off(&self) {
        self.cut_off.store(true, Ordering::SeqCst);
    }

    /// Whoever writes the response's body has failed: what it wrote is all there is, and where that has
    /// no end, the body breaks off. To be said while what writes it is still there, which then waits
    /// until the exchange is settled: once it is dropped, any body looks as if it had ended.
    pub fn stop(&self) {
        self.stopped.store(true, Ordering::Release);
        self.waiting.wake();
    }

    /// Resolves once the response's body has left or broken off, or nobody wants it any more. Where that
    /// takes longer than progress may, the body is cut off.
    pub async fn settled(&self, idle: Duration) {
        while !self.has_ended() {
            let (now, due) = (Instant::now(), self.due(idle));
            if due <= now {
                return self.cut_off();
            }
            tokio::select! {
                () = self.settled.notified() => {}
                // The turn may change meanwhile, and then it is due earlier.
                () = tokio::time::sleep_until(due.min(now + idle)) => {}
            }
        }
    }

    /// Whether whoever writes the body has stopped. Where not, `cx` is woken when it does.
    fn has_stopped(&self, cx: &mut Context<'_>) -> bool {
        self.waiting.register(cx.waker());
        self.stopped.load(Ordering::Acquire)
    }

    /// Whether the request's body was larger than allowed.
    pub fn body_exceeded(&self) -> bool {
        self.body_exceeded.load(Ordering::Relaxed)
    }

    /// When a response that is on its way has stalled, unless there is progress until then.
    pub fn stalls(&self, idle: Duration) -> Option<Instant> {
        let begun = self.turned_ms.load(Ordering::Relaxed) > 0;
        (begun && !self.has_ended()).then(|| self.due(idle))
    }

    /// When the side whose turn it is has taken too long.
    fn due(&self, idle: Duration) -> Instant {
        let allowed = if self.reading.load(Ordering::Relaxed) {
            idle.max(READER_PAUSE_MAX)
        } else {
            idle
        };
        self.began + Duration::from_millis(self.turned_ms.load(Ordering::Relaxed)) + allowed
    }

    /// Resolves once the response has begun and then made no progress: for `idle` because of the
    /// component, or for [`READER_PAUSE_MAX`] because of the client.
    pub async fn stalled(&self, idle: Duration) {
        self.responding.notified().await;
        loop {
            let (now, due) = (Instant::now(), self.due(idle));
            if due <= now {
                return;
            }
            // The turn may change meanwhile, and then it is due earlier.
            tokio::time::sleep_until(due.min(now + idle)).await;
        }
    }
}

/// Says that nobody waits for a response, unless it came.
pub struct Waiter(Option<Arc<Exchange>>);

impl Waiter {
    /// Somebody waits for the response of `exchange`.
    pub fn new(exchange: &Arc<Exchange>) -> Self {
        Self(Some(exchange.clone()))
    }

    /// The response came.
    pub fn answered(mut self) {
        self.0 = None;
    }
}

impl Drop for Waiter {
    fn drop(&mut self) {
        if let Some(exchange) = self.0.take() {
            exchange.end();
            exchange.abandoned.notify_one();
        }
    }
}

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
                self.exchange.body_exceeded.store(true, Ordering::Relaxed);
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
        over: Pin<Box<WaitForCancellationFutureOwned>>,
    },
    /// Nothing.
    Loose,
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
    broken: Option<(Error, Pin<Box<Sleep>>)>,
}

impl GuestBody {
    /// A response that has begun, with its body on the way out.
    pub fn respond(
        response: Response<WasiBody>,
        head: bool,
        tie: Tie,
        exchange: Arc<Exchange>,
        context: &InstanceContext,
    ) -> Response<Self> {
        exchange.respond();
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
                self.exchange.waiting.register(cx.waker());
                if !self.exchange.returned.load(Ordering::Acquire) {
                    return Poll::Pending;
                }
            }
            Tie::Lease { over, .. } => {
                if over.as_mut().poll(cx).is_ready() {
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
        self.broken = Some((error, pause));
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
        if let Some((_, pause)) = &mut self.broken {
            ready!(pause.as_mut().poll(cx));
            return Poll::Ready(self.broken.take().map(|(error, _)| Err(error)));
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
            Poll::Ready(None) if self.exchange.cut_off.load(Ordering::SeqCst) => {
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
