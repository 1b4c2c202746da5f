//! A rollout's events as a stream of server-sent events (HTML Living Standard, section 9.2).

use std::time::Duration;

use bytes::Bytes;
use futures::StreamExt as _;
use futures::stream::{self, BoxStream};
use http::header::HeaderValue;
use http::{Response, StatusCode};
use http_body_util::{BodyExt as _, StreamBody};
use hyper::body::Frame;
use tokio::time::{Instant, Interval, interval_at};
use tokio_util::sync::CancellationToken;

use super::answer::{self, Body};
use crate::rollout::model::RolloutEvent;

/// The media type of server-sent events.
pub(super) const TYPE: &str = "text/event-stream";

/// Longest silence: below the half minute after which proxies give a quiet connection up.
const KEEP_ALIVE_AFTER: Duration = Duration::from_secs(15);

/// A line that readers of events skip.
const KEEP_ALIVE: Bytes = Bytes::from_static(b": still at work\n\n");

/// Sends events until they end, or until `stop`.
pub(super) fn response(
    events: BoxStream<'static, RolloutEvent>,
    stop: CancellationToken,
) -> Response<Body> {
    let frames = written(events, stop).map(|bytes| Ok(Frame::data(bytes)));
    let body = StreamBody::new(frames).boxed_unsync();
    answer::of(StatusCode::OK, HeaderValue::from_static(TYPE), body)
}

struct Sending {
    events: BoxStream<'static, RolloutEvent>,
    stop: CancellationToken,
    silence: Interval,
}

fn written(
    events: BoxStream<'static, RolloutEvent>,
    stop: CancellationToken,
) -> BoxStream<'static, Bytes> {
    let sending = Sending {
        events,
        stop,
        silence: interval_at(Instant::now() + KEEP_ALIVE_AFTER, KEEP_ALIVE_AFTER),
    };
    let next = async |mut sending: Sending| {
        tokio::select! {
            // What has happened is still told when the host stops.
            biased;
            event = sending.events.next() => {
                sending.silence.reset();
                Some((framed(&event?), sending))
            }
            () = sending.stop.cancelled() => None,
            _ = sending.silence.tick() => Some((KEEP_ALIVE, sending)),
        }
    };
    stream::unfold(sending, next).boxed()
}

/// One event. JSON has no line breaks but those that are escaped, so that its data is one line.
fn framed(event: &RolloutEvent) -> Bytes {
    let data = serde_json::to_string(event).expect("an event can be written as JSON");
    let name = match event {
        RolloutEvent::Began { .. } => "began",
        RolloutEvent::Progress { .. } => "progress",
        RolloutEvent::Done(_) => "done",
        RolloutEvent::State { .. } => "state",
    };
    Bytes::from(format!("event: {name}\ndata: {data}\n\n"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rollout::model::{RolloutState, Step, StepDone};

    fn state(state: RolloutState) -> RolloutEvent {
        RolloutEvent::State {
            state,
            reason: Some("two\nlines".to_owned()),
        }
    }

    #[test]
    fn an_event_is_named_by_its_tag_and_has_one_line_of_data() {
        let done = StepDone {
            step: Step::Compile,
            took_ms: 1.5,
            detail: None,
        };
        let began = RolloutEvent::Began {
            step: Step::Drain,
            detail: None,
        };
        let progress = RolloutEvent::Progress {
            step: Step::Drain,
            detail: "3 requests".to_owned(),
        };
        let all = [
            began,
            progress,
            RolloutEvent::Done(done),
            state(RolloutState::Completed),
        ];
        for event in all {
            let text = String::from_utf8(framed(&event).to_vec()).expect("it is text");
            let lines: Vec<&str> = text.split('\n').collect();
            assert_eq!(lines.len(), 4, "{text}");
            assert_eq!(lines[2..], ["", ""], "{text}");
            let name = lines[0].strip_prefix("event: ").expect("a name");
            let data = lines[1].strip_prefix("data: ").expect("data");
            let value: serde_json::Value = serde_json::from_str(data).expect("JSON");
            assert_eq!(value["event"], name);
            assert_eq!(
                serde_json::from_value::<RolloutEvent>(value).expect("an event"),
                event
            );
        }
    }

    #[tokio::test(start_paused = true)]
    async fn silence_is_broken_by_comments() {
        let stop = CancellationToken::new();
        let first = stream::once(async { state(RolloutState::Switched) });
        let events = first.chain(stream::pending()).boxed();
        let mut written = written(events, stop.clone());
        let event = written.next().await.expect("the event");
        assert!(event.starts_with(b"event: state\n"));
        let began = Instant::now();
        assert_eq!(written.next().await, Some(KEEP_ALIVE));
        assert_eq!(written.next().await, Some(KEEP_ALIVE));
        assert_eq!(began.elapsed(), 2 * KEEP_ALIVE_AFTER);
        stop.cancel();
        assert_eq!(written.next().await, None);
    }

    #[tokio::test]
    async fn the_stream_ends_with_its_events_even_when_the_host_stops() {
        let stop = CancellationToken::new();
        stop.cancel();
        let events = stream::iter([state(RolloutState::Switched)]).boxed();
        assert_eq!(written(events, stop).count().await, 1);
    }
}
