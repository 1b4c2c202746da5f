//! `GET /jobs/{id}/events`: a job's changes as server-sent events (HTML, section 9.2).
//!
//! Every change is one event `job` with the whole job as data, so that a client which missed some
//! needs none of them. The stream ends after `done` or `failed`, with an event `gone` when the job is
//! deleted, and when the caller's token expires.

use crate::bindings::wasi::clocks::monotonic_clock;
use crate::glue::answer::Answer;
use crate::glue::caller::Caller;
use crate::glue::exchange::{BodyWriter, Closed, Exchange};
use crate::glue::jobs::{self, JobError};
use crate::glue::store::Store;
use crate::id::JobId;
use crate::job::{Job, Stored};
use crate::time;

/// Between two looks at the job: soon enough to look live, seldom enough to cost nothing.
const POLL_NS: u64 = 250_000_000;
/// A comment is sent after this long without an event, well inside any proxy's and the host's idle
/// limit.
const HEARTBEAT_POLLS: u32 = 40;

/// Streams until the job is settled or the client goes away.
pub fn stream(exchange: Exchange, caller: &Caller, id: &JobId) {
    let opened = Store::open().map_err(JobError::from).and_then(|store| {
        let stored = jobs::find(&store, &caller.user, id)?;
        Ok(stored.map(|stored| (store, stored)))
    });
    let (store, stored) = match opened {
        Ok(Some(found)) => found,
        Ok(None) => return exchange.send(Answer::not_found()),
        Err(error) => return exchange.send(error.to_answer()),
    };
    let headers = [
        ("content-type", "text/event-stream".to_owned()),
        ("cache-control", "no-store".to_owned()),
        ("x-accel-buffering", "no".to_owned()),
    ];
    let Some(mut writer) = exchange.start(200, &headers) else {
        return;
    };
    if follow(&mut writer, &store, caller, id, stored).is_ok() {
        writer.finish();
    }
}

fn follow(
    writer: &mut BodyWriter,
    store: &Store,
    caller: &Caller,
    id: &JobId,
    first: Stored,
) -> Result<(), Closed> {
    let mut next = Some(first);
    let mut sent = String::new();
    let mut quiet_polls = 0;
    while time::now_ms() / 1_000 < caller.expires_at {
        let Some(stored) = next else {
            return send(writer, "event: gone\ndata: {}\n\n");
        };
        let job = Job::of(id.clone(), stored);
        let data = serde_json::to_string(&job).expect("a job is representable as JSON");
        if data != sent {
            send(writer, &format!("event: job\ndata: {data}\n\n"))?;
            sent = data;
            quiet_polls = 0;
        } else if quiet_polls >= HEARTBEAT_POLLS {
            send(writer, ": still here\n\n")?;
            quiet_polls = 0;
        }
        if job.is_settled() {
            return Ok(());
        }
        monotonic_clock::subscribe_duration(POLL_NS).block();
        quiet_polls += 1;
        next = match jobs::find(store, &caller.user, id) {
            Ok(found) => found,
            // The client asks again, and is then told what is wrong.
            Err(error) => {
                error.to_answer();
                return Err(Closed);
            }
        };
    }
    Ok(())
}

fn send(writer: &mut BodyWriter, text: &str) -> Result<(), Closed> {
    writer.write(text.as_bytes())?;
    writer.flush()
}
