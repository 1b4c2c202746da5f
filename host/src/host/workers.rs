//! Threads beside those that serve requests, at a lower priority.

use tokio::runtime;

/// How much lower than the requests' the priority of background work is (nice value).
const WORKER_NICENESS: i32 = 10;

/// The threads on which components work whose deadline is checked at host calls only.
pub(super) struct Workers(Option<runtime::Runtime>);

impl Workers {
    /// Starts `threads` of them.
    pub(super) fn start(threads: usize) -> std::io::Result<Self> {
        let runtime = runtime::Builder::new_multi_thread()
            .worker_threads(threads)
            .thread_name("worker")
            .enable_all()
            .on_thread_start(|| {
                // Where the system refuses, background work has the same priority as requests.
                let thread = rustix::thread::gettid();
                if let Err(error) =
                    rustix::process::setpriority_process(Some(thread), WORKER_NICENESS)
                {
                    tracing::debug!(%error, "a worker's priority could not be lowered");
                }
            })
            .build()?;
        Ok(Self(Some(runtime)))
    }

    /// Where to spawn on them.
    pub(super) fn handle(&self) -> runtime::Handle {
        self.0
            .as_ref()
            .expect("it is there until it is dropped")
            .handle()
            .clone()
    }
}

impl Drop for Workers {
    /// Does not wait: a component that computes without calling the host cannot be stopped, and its
    /// delivery was given back.
    fn drop(&mut self) {
        if let Some(runtime) = self.0.take() {
            runtime.shutdown_background();
        }
    }
}
