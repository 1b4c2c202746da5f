//! How long a message takes from the call that publishes it to its handler, at a pace that leaves
//! everything idle in between. Both clocks are the machine's.

use super::consumer::{Settling, consume};
use super::harness::{Host, eventually, scratch};
use super::settings::Settings;
use super::streams::{
    BODY_BYTES, CONCURRENCY, Instances, SUBJECT, embedded, handles, key, on, redis, sends,
};
use super::table::{Row, Spread, Table, number};

use std::time::Duration;

/// Messages in a second.
const PACE: u32 = 200;

/// The last one's way.
const ARRIVED_WITHIN: Duration = Duration::from_secs(30);

const UNIT: &str = "ms, p50";

/// Latencies of one run, in milliseconds, sorted.
struct Run(Vec<f64>);

impl Run {
    fn of(nanoseconds: impl IntoIterator<Item = u64>) -> Self {
        let mut ms: Vec<f64> = nanoseconds.into_iter().map(|ns| ns as f64 / 1e6).collect();
        assert!(!ms.is_empty(), "nothing arrived");
        ms.sort_by(f64::total_cmp);
        Self(ms)
    }

    fn quantile(&self, quantile: f64) -> f64 {
        self.0[((self.0.len() - 1) as f64 * quantile).round() as usize]
    }
}

pub async fn measure(settings: &Settings, table: &mut Table) {
    let messages = (settings.run.as_secs_f64() * f64::from(PACE)).ceil() as u32;
    let (mut ours, mut native, mut local) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..settings.rounds {
        ours.push(through_redis(messages).await);
        native.push(through_plain_rust(messages).await);
        local.push(through_the_embedded_store(messages).await);
    }
    let figure = format!("a message's way to its handler, {PACE} a second");
    let mut add = |of: &str, runs: &[Run]| {
        let p50 = Spread::of(runs.iter().map(|run| run.quantile(0.5)));
        let p99 = Spread::of(runs.iter().map(|run| run.quantile(0.99)));
        let row = Row::new(&figure, of, &p50, UNIT);
        table.add(row.beside(format!("p99 {} ms", number(p99.median()))));
    };
    add("`wharf up` on Redis, published by another host", &ours);
    add("plain Rust, XREADGROUP BLOCK, published by a host", &native);
    add("`wharf up` on the embedded store", &local);
}

/// Has the host publish at the pace.
async fn burst(host: &Host, messages: u32) {
    let apart = 1_000_000 / PACE;
    let path = format!(
        "/burst?subject={SUBJECT}&n={messages}&bytes={BODY_BYTES}&apart_us={apart}&timed=1"
    );
    host.client().post(&path, "").await.expect(202);
}

/// What the component logged of each message, once all have arrived.
async fn arrivals(host: &Host, messages: u32) -> Run {
    let logged = |entry: &serde_json::Value| {
        let line = entry["fields"]["line"].as_str().or(entry["line"].as_str());
        line.and_then(|line| line.parse().ok())
    };
    let arrived = eventually("every message arrived", ARRIVED_WITHIN, async || {
        let lines: Vec<u64> = host.log_entries().iter().filter_map(logged).collect();
        (lines.len() >= messages as usize).then_some(lines)
    });
    Run::of(arrived.await)
}

async fn through_redis(messages: u32) -> Run {
    let redis = redis();
    let sender = on(&redis, "sender", &sends(), &scratch()).start().await;
    let handles = handles(Instances::Fresh);
    let handler = on(&redis, "handler", &handles, &scratch()).start().await;
    burst(&sender, messages).await;
    arrivals(&handler, messages).await
}

async fn through_plain_rust(messages: u32) -> Run {
    let redis = redis();
    let sender = on(&redis, "sender", &sends(), &scratch()).start().await;
    let (url, key) = (redis.url(), key());
    let consuming = consume(&url, &key, messages.into(), CONCURRENCY, Settling::Each);
    let (consumed, ()) = tokio::join!(consuming, burst(&sender, messages));
    Run::of(consumed.nanoseconds)
}

async fn through_the_embedded_store(messages: u32) -> Run {
    let both = format!("{}{}", sends(), handles(Instances::Fresh));
    let host = embedded(&both, &scratch()).start().await;
    burst(&host, messages).await;
    arrivals(&host, messages).await
}
