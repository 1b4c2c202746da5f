//! What happened in a storm.

use std::fmt;
use std::time::Duration;

/// What happened.
#[derive(Debug)]
pub struct Report {
    pub messages: u64,
    pub poison: usize,
    pub hosts_killed: u64,
    pub redis_killed: u64,
    pub redis_paused: u64,
    pub connections_cut: u64,
    pub connections_held: u64,
    /// Attempts to publish that were refused or not answered.
    pub repeated: u64,
    /// Messages of which the publisher did not know that they were accepted.
    pub doubled: u64,
    /// As the handler saw them.
    pub deliveries: u64,
    pub stormed: Duration,
    pub settled: Duration,
}

impl fmt::Display for Report {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            out,
            "{} hosts and {} Redis servers killed and started again, Redis paused {} times, a host's \
             connections cut {} times and held up {} times; {} attempts to publish repeated, {} messages \
             thereby published twice; {} deliveries of {} messages, {} of them poison; {:.1} s of \
             storm, settled {:.1} s later",
            self.hosts_killed,
            self.redis_killed,
            self.redis_paused,
            self.connections_cut,
            self.connections_held,
            self.repeated,
            self.doubled,
            self.deliveries,
            self.messages,
            self.poison,
            self.stormed.as_secs_f64(),
            self.settled.as_secs_f64(),
        )
    }
}
