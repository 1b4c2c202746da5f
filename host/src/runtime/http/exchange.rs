//! What the two sides of one exchange tell each other: whose turn it is, and how the response ends.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use futures::task::AtomicWaker;
use tokio::sync::Notify;
use tokio::time::Instant;

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
    abandoned: AtomicBool,
    /// Whoever works for the response, while it has not begun.
    working: AtomicWaker,
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
    /// An exchange that has begun.
    pub fn begun(began: Instant) -> Arc<Self> {
        Arc::new(Self {
            began,
            turned_ms: AtomicU64::new(0),
            reading: AtomicBool::new(false),
            responding: Notify::new(),
            returned: AtomicBool::new(false),
            waiting: AtomicWaker::new(),
            abandoned: AtomicBool::new(false),
            working: AtomicWaker::new(),
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

    /// The response has begun: from here on progress is expected. Returns how long it took to come.
    pub fn respond(&self) -> Duration {
        let passed = self.turn(false);
        self.responding.notify_one();
        passed
    }

    /// A piece of the response's body was handed on: the client's turn.
    pub(super) fn handed_on(&self) {
        self.turn(true);
    }

    /// All of the response's body was handed on: the component's turn, if it has anything left to do.
    pub(super) fn handed_over(&self) {
        self.turn(false);
    }

    /// The client asks for more and there is none yet: the component's turn.
    pub(super) fn asked(&self) {
        if self.reading.load(Ordering::Relaxed) {
            self.turn(false);
        }
    }

    fn turn(&self, reading: bool) -> Duration {
        let passed = self.began.elapsed();
        let passed_ms = u64::try_from(passed.as_millis()).unwrap_or(u64::MAX);
        self.turned_ms.store(passed_ms.max(1), Ordering::Relaxed);
        self.reading.store(reading, Ordering::Relaxed);
        passed
    }

    /// The component's call has returned. From here on its body is watched where it is read.
    pub fn returned(&self) {
        self.returned.store(true, Ordering::Release);
        self.waiting.wake();
    }

    /// Nobody waits for the response any more, or wants more of it.
    pub(super) fn end(&self) {
        self.ended.store(true, Ordering::Relaxed);
        self.settled.notify_one();
    }

    /// Whether nobody wants anything of the response any more.
    pub fn has_ended(&self) -> bool {
        self.ended.load(Ordering::Relaxed)
    }

    /// Resolves once nobody waits for the response, which has not begun. One task at a time may wait.
    pub async fn abandoned(&self) {
        std::future::poll_fn(|cx| {
            self.working.register(cx.waker());
            match self.abandoned.load(Ordering::Acquire) {
                true => Poll::Ready(()),
                false => Poll::Pending,
            }
        })
        .await;
    }

    /// Nobody waits for the response any more, which has not begun.
    fn abandon(&self) {
        self.end();
        self.abandoned.store(true, Ordering::Release);
        self.working.wake();
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
    pub(super) fn has_stopped(&self, cx: &Context<'_>) -> bool {
        self.waiting.register(cx.waker());
        self.stopped.load(Ordering::Acquire)
    }

    /// Whether the component's call has returned. Where not, `cx` is woken when it does.
    pub(super) fn has_returned(&self, cx: &Context<'_>) -> bool {
        self.waiting.register(cx.waker());
        self.returned.load(Ordering::Acquire)
    }

    /// Whether the response's body ended before its end.
    pub(super) fn is_cut_off(&self) -> bool {
        self.cut_off.load(Ordering::SeqCst)
    }

    /// The request's body is larger than allowed.
    pub(super) fn exceed_body(&self) {
        self.body_exceeded.store(true, Ordering::Relaxed);
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
    pub(super) fn due(&self, idle: Duration) -> Instant {
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
            exchange.abandon();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const IDLE: Duration = Duration::from_secs(30);

    #[tokio::test(start_paused = true)]
    async fn the_side_whose_turn_it_is_has_its_own_time() {
        let exchange = Exchange::begun(Instant::now());
        let after = |seconds| tokio::time::sleep(Duration::from_secs(seconds));
        let left = || exchange.due(IDLE) - Instant::now();
        after(2).await;
        assert_eq!(exchange.respond(), Duration::from_secs(2));
        assert_eq!(left(), IDLE, "the component's turn");
        after(5).await;
        exchange.handed_on();
        assert_eq!(left(), READER_PAUSE_MAX, "the client's");
        after(5).await;
        exchange.asked();
        after(5).await;
        exchange.asked();
        assert_eq!(
            left(),
            IDLE - Duration::from_secs(5),
            "asking again is no progress"
        );
        // What the component does after its body is watched from the body's end.
        exchange.handed_over();
        assert_eq!(left(), IDLE);
    }

    #[tokio::test]
    async fn whoever_works_is_told_that_nobody_waits_unless_the_response_came() {
        let now = Instant::now();
        let (left, answered) = (Exchange::begun(now), Exchange::begun(now));
        let working = left.clone();
        let working = tokio::spawn(async move { working.abandoned().await });
        tokio::task::yield_now().await;
        drop(Waiter::new(&left));
        working.await.expect("it is told");
        assert!(left.has_ended());

        Waiter::new(&answered).answered();
        assert!(futures::poll!(std::pin::pin!(answered.abandoned())).is_pending());
        assert!(!answered.has_ended());
    }
}
