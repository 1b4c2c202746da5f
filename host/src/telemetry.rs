//! Metric names and log set-up: what operators see.
//!
//! Metrics are in the Prometheus text format. A component's handles are looked up once, when it is
//! loaded; counting a request afterwards is an atomic addition.

use std::io::IsTerminal;
use std::sync::Mutex;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use prometheus_client::encoding::text::encode;
use prometheus_client::encoding::{EncodeLabelSet, EncodeLabelValue};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Registry, Unit};
use tracing_subscriber::EnvFilter;

use crate::name::{ComponentName, Subject};

/// Upper bounds of the latency histogram's buckets, in seconds: from what an instance costs to what
/// an upload takes.
const LATENCY_BUCKETS: [f64; 14] = [
    0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0, 5.0, 30.0,
];

/// How log lines are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum LogFormat {
    /// One JSON object per line, for collectors.
    Json,
    /// For people.
    Pretty,
}

/// What is logged unless `WHARF_LOG` says otherwise. A PostgreSQL server's remarks on statements are not.
const LOGGED: &str = "info,tokio_postgres=warn";

/// Sends log lines to standard error. `WHARF_LOG` filters them in tracing's directive syntax
/// (`info` by default).
pub fn init_logs(format: LogFormat) {
    let filter = EnvFilter::try_from_env("WHARF_LOG").unwrap_or_else(|_| EnvFilter::new(LOGGED));
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr);
    match format {
        LogFormat::Json => builder.json().flatten_event(true).init(),
        LogFormat::Pretty => {
            builder
                .with_ansi(std::io::stderr().is_terminal())
                .with_target(false)
                .init();
        }
    }
}

/// An error with all its causes, in one sentence: for a log field, or an operator's answer. Each
/// Display prints its own level only.
pub fn in_words(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        text.push_str(": ");
        text.push_str(&error.to_string());
        source = error.source();
    }
    text
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ComponentLabel {
    component: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RequestLabel {
    component: String,
    status: StatusClass,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct StatusClass(usize);

impl EncodeLabelValue for StatusClass {
    fn encode(
        &self,
        encoder: &mut prometheus_client::encoding::LabelValueEncoder<'_>,
    ) -> Result<(), std::fmt::Error> {
        EncodeLabelValue::encode(&["1xx", "2xx", "3xx", "4xx", "5xx"][self.0], encoder)
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct SubscriptionLabel {
    subject: String,
    component: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct SubjectLabel {
    subject: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ChannelLabel {
    channel: String,
    component: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ChannelMessageLabel {
    channel: String,
    component: String,
    outcome: &'static str,
}

/// A figure that is asked for.
pub type Count = Gauge<u64, AtomicU64>;

/// All metrics of a host.
pub struct Metrics {
    registry: Mutex<Registry>,
    requests: Family<RequestLabel, Counter>,
    cancelled: Family<ComponentLabel, Counter>,
    latency: Family<ComponentLabel, Histogram>,
    instances: Family<ComponentLabel, Gauge>,
    traps: Family<ComponentLabel, Counter>,
    deliveries: Family<SubscriptionLabel, Counter>,
    retries: Family<SubscriptionLabel, Counter>,
    dead: Family<SubscriptionLabel, Counter>,
    lag: Family<SubscriptionLabel, Count>,
    pending: Family<SubscriptionLabel, Count>,
    waiting: Family<SubscriptionLabel, Count>,
    dead_now: Family<SubscriptionLabel, Count>,
    oldest_age: Family<SubscriptionLabel, Gauge<f64, AtomicU64>>,
    lengths: Family<SubjectLabel, Count>,
    stale: Count,
    channel_messages: Family<ChannelMessageLabel, Counter>,
    channels_listening: Family<ChannelLabel, Gauge>,
}

/// One component's metrics.
pub struct ComponentMetrics {
    requests: [Counter; 5],
    /// Requests whose client went away before the response began.
    pub cancelled: Counter,
    latency: Histogram,
    /// Instances alive.
    pub instances: Gauge,
    /// Traps, whatever they worked for.
    pub traps: Counter,
}

/// One channel's metrics.
pub struct ChannelMetrics {
    /// Messages that came.
    pub received: Counter,
    /// Messages that were handled well.
    pub handled: Counter,
    /// Messages that were lost, since their handler failed.
    pub failed: Counter,
    /// Messages that were lost, since too many waited.
    pub dropped: Counter,
    /// 1 while the channel is listened to.
    pub listening: Gauge,
}

/// One subscription's metrics.
pub struct SubscriptionMetrics {
    /// Attempts that were begun.
    pub deliveries: Counter,
    /// Attempts that failed and are made again.
    pub retries: Counter,
    /// Messages given up.
    pub dead: Counter,
    /// Messages never delivered, when last asked.
    pub lag: Count,
    /// Messages delivered and not settled, when last asked.
    pub pending: Count,
    /// Those of the pending ones that wait for another attempt, when last asked.
    pub waiting: Count,
    /// Dead letters, when last asked.
    pub dead_now: Count,
    /// Age of the oldest message that is not settled, in seconds, when last asked.
    pub oldest_age: Gauge<f64, AtomicU64>,
}

impl Default for Metrics {
    fn default() -> Self {
        let metrics = Self {
            registry: Mutex::new(Registry::with_prefix("wharf")),
            requests: Family::default(),
            cancelled: Family::default(),
            latency: Family::new_with_constructor(|| Histogram::new(LATENCY_BUCKETS)),
            instances: Family::default(),
            traps: Family::default(),
            deliveries: Family::default(),
            retries: Family::default(),
            dead: Family::default(),
            lag: Family::default(),
            pending: Family::default(),
            waiting: Family::default(),
            dead_now: Family::default(),
            oldest_age: Family::default(),
            lengths: Family::default(),
            stale: Count::default(),
            channel_messages: Family::default(),
            channels_listening: Family::default(),
        };
        metrics.register();
        metrics
    }
}

impl Metrics {
    fn register(&self) {
        let mut registry = self.registry.lock().expect("no holder of this lock panics");
        registry.register("requests", "Requests answered", self.requests.clone());
        registry.register(
            "requests_cancelled",
            "Requests whose client went away before the response began",
            self.cancelled.clone(),
        );
        registry.register_with_unit(
            "request_duration",
            "From a request's arrival to the first byte of its response",
            Unit::Seconds,
            self.latency.clone(),
        );
        registry.register("instances", "Instances alive", self.instances.clone());
        registry.register("traps", "Traps", self.traps.clone());
        registry.register(
            "deliveries",
            "Attempts at messages",
            self.deliveries.clone(),
        );
        registry.register(
            "retries",
            "Attempts that failed and are retried",
            self.retries.clone(),
        );
        registry.register("dead_letters", "Messages given up", self.dead.clone());
        registry.register("lag", "Messages never delivered", self.lag.clone());
        registry.register(
            "pending",
            "Messages delivered, not settled",
            self.pending.clone(),
        );
        self.register_figures(&mut registry);
    }

    fn register_figures(&self, registry: &mut Registry) {
        registry.register(
            "waiting",
            "Messages delivered, waiting for another attempt",
            self.waiting.clone(),
        );
        registry.register(
            "dead_letters_held",
            "Messages given up and kept, until a redrive",
            self.dead_now.clone(),
        );
        registry.register_with_unit(
            "oldest_age",
            "Since the oldest message that is not settled was published",
            Unit::Seconds,
            self.oldest_age.clone(),
        );
        registry.register(
            "stream_length",
            "Messages that a subject holds",
            self.lengths.clone(),
        );
        registry.register(
            "subscriptions_stale",
            "Subscriptions whose figures are of before, because the streams did not answer",
            self.stale.clone(),
        );
        registry.register(
            "channel_messages",
            "Messages of channels",
            self.channel_messages.clone(),
        );
        registry.register(
            "channel_listening",
            "Whether a channel is listened to",
            self.channels_listening.clone(),
        );
    }

    /// The handles of one component.
    pub fn component(&self, component: &ComponentName) -> ComponentMetrics {
        let name = component.to_string();
        let label = ComponentLabel {
            component: name.clone(),
        };
        let requests = std::array::from_fn(|class| {
            let label = RequestLabel {
                component: name.clone(),
                status: StatusClass(class),
            };
            self.requests.get_or_create(&label).clone()
        });
        ComponentMetrics {
            requests,
            cancelled: self.cancelled.get_or_create(&label).clone(),
            latency: self.latency.get_or_create(&label).clone(),
            instances: self.instances.get_or_create(&label).clone(),
            traps: self.traps.get_or_create(&label).clone(),
        }
    }

    /// The handles of one subscription.
    pub fn subscription(
        &self,
        subject: &Subject,
        component: &ComponentName,
    ) -> SubscriptionMetrics {
        let label = SubscriptionLabel {
            subject: subject.to_string(),
            component: component.to_string(),
        };
        SubscriptionMetrics {
            deliveries: self.deliveries.get_or_create(&label).clone(),
            retries: self.retries.get_or_create(&label).clone(),
            dead: self.dead.get_or_create(&label).clone(),
            lag: self.lag.get_or_create(&label).clone(),
            pending: self.pending.get_or_create(&label).clone(),
            waiting: self.waiting.get_or_create(&label).clone(),
            dead_now: self.dead_now.get_or_create(&label).clone(),
            oldest_age: self.oldest_age.get_or_create(&label).clone(),
        }
    }

    /// The handles of one channel.
    pub fn channel(&self, channel: &str, component: &ComponentName) -> ChannelMetrics {
        let (channel, component) = (channel.to_owned(), component.to_string());
        let messages = |outcome| {
            let label = ChannelMessageLabel {
                channel: channel.clone(),
                component: component.clone(),
                outcome,
            };
            self.channel_messages.get_or_create(&label).clone()
        };
        let [received, handled, failed, dropped] =
            ["received", "handled", "failed", "dropped"].map(messages);
        let label = ChannelLabel { channel, component };
        ChannelMetrics {
            received,
            handled,
            failed,
            dropped,
            listening: self.channels_listening.get_or_create(&label).clone(),
        }
    }

    /// Whether Redis answered when it was last asked: 1 or 0. To be called once, by a host that uses
    /// one; others do not have the metric.
    pub fn redis_up(&self) -> Gauge {
        let up = Gauge::default();
        let mut registry = self.registry.lock().expect("no holder of this lock panics");
        registry.register(
            "redis_up",
            "Whether Redis answered when it was last asked",
            up.clone(),
        );
        up
    }

    /// The number of messages that a subject holds, when last asked.
    pub fn stream_length(&self, subject: &Subject) -> Count {
        let label = SubjectLabel {
            subject: subject.to_string(),
        };
        self.lengths.get_or_create(&label).clone()
    }

    /// Says how many subscriptions' figures could not be brought up to date.
    pub fn stale_subscriptions(&self, count: usize) {
        self.stale.set(count as u64);
    }

    /// Everything in the Prometheus text format.
    pub fn text(&self) -> String {
        let mut text = String::new();
        let registry = self.registry.lock().expect("no holder of this lock panics");
        encode(&mut text, &registry).expect("writing to a string cannot fail");
        text
    }
}

impl ComponentMetrics {
    /// Counts one answered request.
    pub fn answered(&self, status: http::StatusCode, latency: Duration) {
        let class = usize::from(status.as_u16() / 100).clamp(1, 5) - 1;
        self.requests[class].inc();
        self.latency.observe(latency.as_secs_f64());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_shows_in_the_text() {
        let metrics = Metrics::default();
        let component = metrics.component(&"hello".parse().expect("a name"));
        component.answered(http::StatusCode::OK, Duration::from_millis(3));
        component.answered(http::StatusCode::BAD_GATEWAY, Duration::from_millis(3));
        let text = metrics.text();
        assert!(
            text.contains(r#"wharf_requests_total{component="hello",status="2xx"} 1"#),
            "{text}"
        );
        assert!(
            text.contains(r#"wharf_requests_total{component="hello",status="5xx"} 1"#),
            "{text}"
        );
        assert!(
            text.contains("wharf_request_duration_seconds_bucket"),
            "{text}"
        );
    }
}
