//! What goes wrong in a storm: one blow after another, which may overlap.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};

use super::Storm;
use super::dice::Dice;
use crate::harness::Cut;

/// Something that goes wrong.
#[derive(Clone, Copy, Debug)]
pub enum Blow {
    /// A host gets SIGKILL, and is started again later.
    Host,
    /// Redis gets SIGKILL, and is started again later.
    Redis,
    /// Redis is stopped by SIGSTOP for a while.
    Pause,
    /// A host's connections to Redis are cut.
    Cut(Cut),
    /// What a host and Redis say to each other is held up for a while: its leases may run out.
    Hold,
}

impl Blow {
    fn any(dice: &mut Dice) -> Self {
        match dice.within(0..20) {
            0..=5 => Self::Host,
            6..=8 => Self::Redis,
            9..=10 => Self::Pause,
            11..=13 => Self::Cut(Cut::Request),
            14..=16 => Self::Cut(Cut::Reply),
            17 => Self::Cut(Cut::Now),
            _ => Self::Hold,
        }
    }

    /// How long it lasts: around the lease of two seconds where that is to run out, less where
    /// something is away.
    fn lasts(self, dice: &mut Dice) -> Duration {
        Duration::from_millis(match self {
            Self::Host | Self::Redis => dice.within(50..1000),
            Self::Pause | Self::Hold => dice.within(100..3000),
            Self::Cut(_) => 0,
        })
    }
}

/// How often each of them happened.
#[derive(Default)]
pub struct Blows {
    pub host: AtomicU64,
    pub redis: AtomicU64,
    pub pause: AtomicU64,
    pub cut: AtomicU64,
    pub hold: AtomicU64,
}

impl Blows {
    fn count(&self, blow: Blow) {
        let counter = match blow {
            Blow::Host => &self.host,
            Blow::Redis => &self.redis,
            Blow::Pause => &self.pause,
            Blow::Cut(_) => &self.cut,
            Blow::Hold => &self.hold,
        };
        counter.fetch_add(1, Ordering::Relaxed);
    }
}

/// One blow, from when it falls until all is well again.
pub async fn strike(storm: Arc<Storm>, mut dice: Dice) {
    let blow = Blow::any(&mut dice);
    let lasts = blow.lasts(&mut dice);
    let places = &storm.places;
    let hit = &places[dice.within(0..places.len() as u64) as usize];
    storm.blows.count(blow);
    match blow {
        Blow::Host => hit.restart(lasts).await,
        Blow::Redis => {
            let mut redis = storm.redis.lock().await;
            redis.kill();
            tokio::time::sleep(lasts).await;
            tokio::task::block_in_place(|| redis.start_again());
        }
        Blow::Pause => {
            let redis = storm.redis.lock().await;
            let pid = i32::try_from(redis.id()).ok().and_then(Pid::from_raw);
            let pid = pid.expect("a process has a number");
            kill_process(pid, Signal::STOP).expect("it is ours");
            tokio::time::sleep(lasts).await;
            kill_process(pid, Signal::CONT).expect("it is ours");
        }
        Blow::Cut(at) => hit.place.proxy.cut(at),
        Blow::Hold => {
            hit.place.proxy.hold();
            tokio::time::sleep(lasts).await;
            hit.place.proxy.let_go();
        }
    }
}
