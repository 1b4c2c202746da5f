//! Compiling beside traffic, without taking its processors.
//!
//! ```text
//! work -> turn (one at a time, in order) -> thread 0, nice +19, alone
//!                                           thread 1, nice +10, joins after the patience
//! ```
//!
//! The engine compiles the functions of a component in parallel on the rayon pool that it is called
//! in (wasmtime's `Engine::run_maybe_parallel`), and on rayon's global pool otherwise. That one has
//! a thread for each processor at the priority of requests: a swap would halve what the host serves
//! for as long as it compiles. So compiling has a pool of its own.
//!
//! It refuses to know what is compiled: work is a closure.

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::{Arc, Mutex, mpsc};
use std::time::Duration;

use rayon::{ThreadPool, ThreadPoolBuilder};
use tokio::sync::{Notify, Semaphore, oneshot};

/// The thread that work begins on.
const FIRST: usize = 0;

/// The thread that helps after the patience.
const SECOND: usize = 1;

/// [`FIRST`] and [`SECOND`].
const THREADS: usize = 2;

/// The lowest priority there is: beside full load, compiling a component of 4.7 MB with it changed
/// neither requests per second nor their latency in a way that could be measured.
const FIRST_NICENESS: i32 = 19;

/// On a saturated processor a thread at +19 gets 1.5% of it and one at +10 gets 10%, which is what
/// the scheduler's weights say (15 and 110 against the 1024 of a request's thread).
const SECOND_NICENESS: i32 = 10;

/// How long the first thread works alone: longer than big components take on a processor that has
/// time, so that the second thread helps only where there is none.
const PATIENCE: Duration = Duration::from_secs(20);

/// Threads for compiling beside traffic.
pub struct Background {
    pool: ThreadPool,
    /// One piece of work at a time; the others wait in the order in which they came.
    turn: Arc<Semaphore>,
    patience: Duration,
}

impl Background {
    /// Starts the threads.
    ///
    /// # Errors
    ///
    /// The operating system gives no thread.
    pub fn start() -> io::Result<Self> {
        Self::with_patience(PATIENCE)
    }

    fn with_patience(patience: Duration) -> io::Result<Self> {
        let pool = ThreadPoolBuilder::new()
            .num_threads(THREADS)
            .thread_name(|index| format!("compile-{index}"))
            .start_handler(lower_priority)
            .build()
            .map_err(io::Error::other)?;
        Ok(Self {
            pool,
            turn: Arc::new(Semaphore::new(1)),
            patience,
        })
    }

    /// Runs `work` on these threads and gives what it gives. It may block, and what it does in
    /// parallel with rayon stays here. It waits for its turn: callers are rollouts, of which each
    /// component has one at a time, so no more wait than there are components.
    ///
    /// Cancelling it while it waits leaves nothing behind. Work that has begun cannot be stopped: it
    /// goes on to its end, its result is dropped, and the next piece waits until then.
    ///
    /// # Panics
    ///
    /// Where `work` panics, with its panic. The threads live on.
    pub async fn run<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> T {
        let turn = self.turn.clone().acquire_owned().await;
        let turn = turn.expect("the semaphore is never closed");
        // It is dropped when the work has ended, or was given up before it began.
        let (working, ended) = mpsc::channel::<()>();
        self.park_second(ended).await;
        let (give, result) = oneshot::channel();
        self.pool.spawn(move || {
            let result = catch_unwind(AssertUnwindSafe(work));
            drop(working);
            drop(turn);
            // Nobody may wait any more, which is how a caller is cancelled.
            let _ = give.send(result);
        });
        match result.await.expect("the work sends its result") {
            Ok(result) => result,
            Err(panic) => resume_unwind(panic),
        }
    }

    /// Keeps the second thread from stealing until `ended` is disconnected or the patience has
    /// passed. Returns as soon as it stands still, so that work which is spawned then begins on the
    /// first thread.
    ///
    /// A broadcast puts a job into a queue of each thread's own, from which nobody steals, so
    /// nothing but the second thread waits here; and whatever the first one queues meanwhile lies
    /// in the first one's queue, where it goes on by itself.
    async fn park_second(&self, ended: mpsc::Receiver<()>) {
        let parked = Arc::new(Notify::new());
        let ended = Mutex::new(ended);
        let patience = self.patience;
        let stands = parked.clone();
        self.pool.spawn_broadcast(move |thread| {
            if thread.index() == SECOND {
                stands.notify_one();
                let ended = ended.lock().expect("no other thread locks it");
                // Both outcomes mean: go on.
                let _ = ended.recv_timeout(patience);
            }
        });
        parked.notified().await;
    }
}

/// Where the system refuses, compiling has the same priority as requests.
fn lower_priority(index: usize) {
    let niceness = match index {
        FIRST => FIRST_NICENESS,
        _ => SECOND_NICENESS,
    };
    let thread = rustix::thread::gettid();
    if let Err(error) = rustix::process::setpriority_process(Some(thread), niceness) {
        tracing::debug!(%error, "a compiling thread's priority could not be lowered");
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    /// Longer than any test takes.
    const NEVER: Duration = Duration::from_secs(3600);

    fn background(patience: Duration) -> Arc<Background> {
        Arc::new(Background::with_patience(patience).expect("threads start"))
    }

    /// Two halves of work of which the first waits for the second: whether another thread takes it.
    fn is_helped(within: Duration) -> bool {
        let (helper, help) = mpsc::channel();
        let first = move || help.recv_timeout(within).is_ok();
        rayon::join(first, move || helper.send(()).is_ok()).0
    }

    #[tokio::test]
    async fn work_begins_on_the_first_thread_at_the_lowest_priority() {
        let background = background(NEVER);
        for _ in 0..100 {
            let work = || (rayon::current_thread_index(), rayon::current_num_threads());
            assert_eq!(background.run(work).await, (Some(FIRST), THREADS));
        }
        let nice = || rustix::process::getpriority_process(Some(rustix::thread::gettid()));
        assert_eq!(background.run(nice).await, Ok(FIRST_NICENESS));
    }

    #[tokio::test]
    async fn the_first_thread_works_alone_while_patience_lasts() {
        let background = background(NEVER);
        let work = || is_helped(Duration::from_millis(100));
        assert!(!background.run(work).await);
    }

    #[tokio::test]
    async fn the_second_thread_helps_after_the_patience() {
        let background = background(Duration::from_millis(50));
        for _ in 0..3 {
            let work = || is_helped(Duration::from_secs(60));
            assert!(background.run(work).await);
        }
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn one_piece_of_work_runs_at_a_time() {
        static RUNNING: AtomicUsize = AtomicUsize::new(0);
        let background = background(Duration::ZERO);
        let tasks: Vec<_> = (0..20)
            .map(|number| {
                let background = background.clone();
                tokio::spawn(async move {
                    let work = move || {
                        let others = RUNNING.fetch_add(1, Ordering::SeqCst);
                        std::thread::yield_now();
                        RUNNING.fetch_sub(1, Ordering::SeqCst);
                        (number, others)
                    };
                    background.run(work).await
                })
            })
            .collect();
        for (number, task) in tasks.into_iter().enumerate() {
            assert_eq!(task.await.expect("it ends"), (number, 0));
        }
    }

    #[tokio::test]
    async fn a_panic_is_passed_on_and_the_threads_live_on() {
        let background = background(NEVER);
        let failing = background.clone();
        let task = tokio::spawn(async move { failing.run(|| panic!("as the test wants")).await });
        let error = task.await.expect_err("it panics").into_panic();
        assert_eq!(error.downcast_ref(), Some(&"as the test wants"));
        assert_eq!(background.run(|| 7).await, 7);
    }

    #[tokio::test]
    async fn cancelling_frees_the_caller_and_the_next_work_waits_for_what_runs() {
        let background = background(NEVER);
        let (begun, begins) = oneshot::channel();
        let (go_on, wait) = mpsc::channel::<()>();
        let (over, ends) = mpsc::channel();
        let cancelled = background.clone();
        let task = tokio::spawn(async move {
            let work = move || {
                let _ = begun.send(());
                let _ = wait.recv();
                over.send(()).expect("somebody waits");
            };
            cancelled.run(work).await;
        });
        begins.await.expect("it begins");
        task.abort();
        assert!(task.await.expect_err("cancelled").is_cancelled());
        let waiting = background.clone();
        let given_up = tokio::spawn(async move { waiting.run(|| ()).await });
        let next = tokio::spawn(async move { background.run(move || ends.try_recv()).await });
        // Both come to wait for their turn: this runtime has one thread.
        tokio::task::yield_now().await;
        given_up.abort();
        drop(go_on);
        assert_eq!(next.await.expect("it ends"), Ok(()));
    }
}
