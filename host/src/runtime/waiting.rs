//! Waits that every request begins and hardly any ends: for its deadline, for its revision's end.
//!
//! To register a timer with tokio, and to take it back, takes the lock of its wheel each time, and waits
//! for a token are lists under a lock. These are registered once and kept.

use std::future::Future;
use std::pin::{Pin, pin};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};

use tokio::runtime::{Handle, Id};
use tokio::task::unconstrained;
use tokio::time::{Instant, Sleep};
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};

/// How many timers are kept while nobody waits for them; more are made, and dropped after use.
const KEPT_MAX: usize = 256;

/// Where timers that all wait for about the same length of time come from and go back to.
#[derive(Default)]
pub struct Timers(Mutex<Vec<Kept>>);

/// A timer, and the runtime whose clock it hangs on: another's threads may all be kept by guests.
struct Kept {
    runtime: Id,
    sleep: Pin<Box<Sleep>>,
}

impl Timers {
    /// A timer that comes at `deadline`, for a task of the runtime that this is called in.
    pub fn until(self: &Arc<Self>, deadline: Instant) -> Timer {
        let runtime = Handle::current().id();
        let kept = self.0.lock().expect("no holder of this lock panics").pop();
        let kept = kept.filter(|kept| kept.runtime == runtime);
        Timer {
            deadline,
            kept: Some(kept.unwrap_or_else(|| Kept {
                runtime,
                sleep: Box::pin(tokio::time::sleep_until(deadline)),
            })),
            timers: self.clone(),
        }
    }
}

/// Resolves at its time. What it is made of may wake its task earlier, or the task that had it last.
pub struct Timer {
    deadline: Instant,
    /// Set for some earlier time, when it is set anew, or for the deadline. There until it is dropped.
    kept: Option<Kept>,
    timers: Arc<Timers>,
}

impl Future for Timer {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let deadline = self.deadline;
        let Some(Kept { sleep, .. }) = &mut self.kept else {
            return Poll::Ready(());
        };
        if sleep.deadline() > deadline {
            sleep.as_mut().reset(deadline);
        }
        // Also in a task that has had its turn: what keeps it busy may be what the deadline is for.
        while pin!(unconstrained(sleep.as_mut())).poll(cx).is_ready() {
            if Instant::now() >= deadline {
                return Poll::Ready(());
            }
            sleep.as_mut().reset(deadline);
        }
        Poll::Pending
    }
}

impl Drop for Timer {
    fn drop(&mut self) {
        let Some(kept) = self.kept.take() else {
            return;
        };
        let mut timers = self.timers.0.lock().expect("no holder of this lock panics");
        if timers.len() < KEPT_MAX {
            timers.push(kept);
        }
    }
}

/// The wait for a token in a task that asks with every poll.
#[derive(Default)]
pub struct Cancelled {
    /// The task that will be woken, and by what.
    registered: Option<(Waker, Pin<Box<WaitForCancellationFutureOwned>>)>,
}

impl Cancelled {
    /// Ready once `token`, which is the same each time, is cancelled.
    pub fn poll(&mut self, token: &CancellationToken, cx: &mut Context<'_>) -> Poll<()> {
        if token.is_cancelled() {
            return Poll::Ready(());
        }
        match &mut self.registered {
            Some((waker, _)) if waker.will_wake(cx.waker()) => Poll::Pending,
            Some((waker, wait)) => {
                waker.clone_from(cx.waker());
                wait.as_mut().poll(cx)
            }
            None => {
                let wait = Box::pin(token.clone().cancelled_owned());
                let (_, wait) = self.registered.insert((cx.waker().clone(), wait));
                wait.as_mut().poll(cx)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;
    use std::time::Duration;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_kept_timer_comes_at_its_new_time_and_not_at_its_old_one() {
        let timers = Arc::<Timers>::default();
        let began = Instant::now();
        let at = |seconds| began + Duration::from_secs(seconds);
        let mut first = timers.until(at(1));
        assert!(futures::poll!(&mut first).is_pending());
        drop(first);

        let later = timers.until(at(5));
        assert!(timers.0.lock().unwrap().is_empty(), "the kept one is used");
        later.await;
        assert_eq!(began.elapsed().as_secs(), 5);

        // One that has come serves again, and so does one that is now due earlier than before.
        timers.until(at(9)).await;
        assert_eq!(began.elapsed().as_secs(), 9);
        let mut long = timers.until(at(90));
        assert!(futures::poll!(&mut long).is_pending());
        drop(long);
        timers.until(at(11)).await;
        assert_eq!(began.elapsed().as_secs(), 11);
        assert_eq!(timers.0.lock().unwrap().len(), 1);
    }

    #[test]
    fn a_timer_of_another_runtime_is_not_taken() {
        let runtime = || {
            tokio::runtime::Builder::new_current_thread()
                .enable_time()
                .build()
                .unwrap()
        };
        let timers = Arc::<Timers>::default();
        let soon = || Instant::now() + Duration::from_millis(1);
        let gone = runtime();
        gone.block_on(async { timers.until(soon()).await });
        drop(gone);
        assert_eq!(timers.0.lock().unwrap().len(), 1);
        runtime().block_on(async { timers.until(soon()).await });
    }

    #[tokio::test]
    async fn a_wait_for_a_token_wakes_the_task_that_asked_last() {
        let token = CancellationToken::new();
        let mut cancelled = Cancelled::default();
        // Another task asks first, and is gone.
        let elsewhere = futures::task::noop_waker();
        let mut elsewhere = Context::from_waker(&elsewhere);
        assert!(cancelled.poll(&token, &mut elsewhere).is_pending());

        let waiting = tokio::spawn({
            let token = token.clone();
            async move { poll_fn(|cx| cancelled.poll(&token, cx)).await }
        });
        tokio::task::yield_now().await;
        token.cancel();
        waiting.await.expect("it ends");
    }
}
