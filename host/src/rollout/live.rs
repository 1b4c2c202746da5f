//! A rollout while it is at work: its record, its events, and whoever wants to end it.

use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use futures::stream::BoxStream;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::model::{Rollout, RolloutEvent, RolloutState, Step, StepDone};

/// How often it is told, at most, how far a step is: all events of a rollout are kept until it ends,
/// and a canary may take a day.
const PROGRESS_EVERY: Duration = Duration::from_secs(1);

/// The time, in milliseconds since 1970.
pub fn now_ms() -> u64 {
    let passed = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    u64::try_from(passed.as_millis()).unwrap_or(u64::MAX)
}

/// A rollout at work, or one that ended not long ago.
pub struct Live {
    state: Mutex<State>,
    changed: watch::Sender<()>,
    /// Why it is to end before the switch, once somebody wants that.
    wanted_end: Mutex<Option<WantedEnd>>,
    ending: CancellationToken,
}

struct State {
    record: Rollout,
    events: Vec<RolloutEvent>,
    /// When it was told last how far it is.
    told: Option<Instant>,
    /// Since when it waits for an earlier rollout.
    queued: Option<Instant>,
    /// It gets a share of the work and may be superseded.
    baking: bool,
    /// It can no longer be ended.
    committed: bool,
}

/// Why a rollout is to end before its switch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WantedEnd {
    /// `Superseded` or `Cancelled`.
    pub state: RolloutState,
    /// In words.
    pub reason: String,
}

impl Live {
    /// A rollout that has just begun.
    pub fn new(record: Rollout) -> Arc<Self> {
        Arc::new(Self {
            state: Mutex::new(State {
                record,
                events: Vec::new(),
                told: None,
                queued: None,
                baking: false,
                committed: false,
            }),
            changed: watch::Sender::new(()),
            wanted_end: Mutex::default(),
            ending: CancellationToken::new(),
        })
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no holder of this lock panics")
    }

    fn push(&self, change: impl FnOnce(&mut State) -> RolloutEvent) {
        let mut state = self.lock();
        let event = change(&mut state);
        state.events.push(event);
        drop(state);
        self.changed.send_replace(());
    }

    /// Its record now.
    pub fn record(&self) -> Rollout {
        self.lock().record.clone()
    }

    /// Changes its record without an event.
    pub fn amend(&self, change: impl FnOnce(&mut Rollout)) {
        change(&mut self.lock().record);
    }

    /// A step begins. The answer is for [`Live::done`].
    pub fn began(&self, step: Step, detail: Option<String>) -> Instant {
        self.push(|_| RolloutEvent::Began { step, detail });
        Instant::now()
    }

    /// It waits for its turn.
    pub fn wait_in_line(&self) {
        let began = self.began(Step::Queue, Some("another rollout is at work".to_owned()));
        self.lock().queued = Some(began);
    }

    /// Its turn has come.
    pub fn leave_line(&self) {
        let queued = self.lock().queued.take();
        if let Some(began) = queued {
            self.done(Step::Queue, began, None);
        }
    }

    /// How far a step is: at most once in [`PROGRESS_EVERY`], and only what is new.
    pub fn progress(&self, step: Step, detail: String) {
        let event = RolloutEvent::Progress { step, detail };
        let mut state = self.lock();
        let soon = state
            .told
            .is_some_and(|told| told.elapsed() < PROGRESS_EVERY);
        if soon || state.events.last() == Some(&event) {
            return;
        }
        state.told = Some(Instant::now());
        drop(state);
        self.push(|_| event);
    }

    /// A step ended well.
    pub fn done(&self, step: Step, began: Instant, detail: Option<String>) {
        let took_ms = began.elapsed().as_secs_f64() * 1e3;
        let done = StepDone {
            step,
            took_ms,
            detail,
        };
        self.push(|state| {
            state.record.steps.push(done.clone());
            RolloutEvent::Done(done)
        });
    }

    /// It is in another state.
    pub fn turn(&self, to: RolloutState, reason: Option<String>) {
        self.push(|state| {
            state.record.state = to;
            if to.is_final() {
                state.record.ended_at_ms = Some(now_ms());
            }
            if reason.is_some() {
                state.record.reason.clone_from(&reason);
            }
            RolloutEvent::State { state: to, reason }
        });
    }

    /// Whether a later swap of the component ends it.
    pub fn set_baking(&self, baking: bool) {
        self.lock().baking = baking;
    }

    /// From here on it cannot be ended any more, unless somebody has: then that is the error.
    pub fn commit(&self) -> Result<(), WantedEnd> {
        let mut state = self.lock();
        let wanted = self
            .wanted_end
            .lock()
            .expect("no holder of this lock panics");
        if let Some(wanted) = &*wanted {
            return Err(wanted.clone());
        }
        state.committed = true;
        Ok(())
    }

    /// Ends it before its switch. False when it is too late.
    pub fn end(&self, wanted: WantedEnd) -> bool {
        let state = self.lock();
        if state.committed || state.record.state != RolloutState::Running {
            return false;
        }
        self.want(wanted);
        true
    }

    /// Ends it if it is a canary at work.
    pub fn supersede(&self, wanted: WantedEnd) {
        let state = self.lock();
        if state.baking && !state.committed {
            self.want(wanted);
        }
    }

    fn want(&self, wanted: WantedEnd) {
        let mut slot = self
            .wanted_end
            .lock()
            .expect("no holder of this lock panics");
        slot.get_or_insert(wanted);
        self.ending.cancel();
    }

    /// Waits until somebody ends it.
    pub async fn ended_early(&self) -> WantedEnd {
        self.ending.cancelled().await;
        let wanted = self
            .wanted_end
            .lock()
            .expect("no holder of this lock panics");
        wanted.clone().expect("it is set before the signal")
    }

    /// Waits until its candidate serves or it has failed, and says which.
    pub async fn decided(&self) -> RolloutState {
        let mut changes = self.changed.subscribe();
        loop {
            changes.mark_unchanged();
            let state = self.lock().record.state;
            if state != RolloutState::Running {
                return state;
            }
            // The sender is this value, which outlives the wait.
            let _ = changes.changed().await;
        }
    }

    /// All its events, from the first to its final state.
    pub fn events(self: Arc<Self>) -> BoxStream<'static, RolloutEvent> {
        let changes = self.changed.subscribe();
        let start = (self, changes, 0);
        Box::pin(futures::stream::unfold(
            start,
            |(live, mut changes, next)| async move {
                loop {
                    changes.mark_unchanged();
                    let (event, over) = {
                        let state = live.lock();
                        (
                            state.events.get(next).cloned(),
                            state.record.state.is_final(),
                        )
                    };
                    match event {
                        Some(event) => return Some((event, (live, changes, next + 1))),
                        None if over => return None,
                        None => {
                            let _ = changes.changed().await;
                        }
                    }
                }
            },
        ))
    }
}

/// The events of a rollout of which only the record is left.
pub fn events_of(record: Rollout) -> BoxStream<'static, RolloutEvent> {
    let steps = record.steps.into_iter().map(RolloutEvent::Done);
    let end = RolloutEvent::State {
        state: record.state,
        reason: record.reason,
    };
    Box::pin(futures::stream::iter(steps.chain([end])))
}
