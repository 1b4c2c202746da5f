//! How many messages are worked off in a second, from a backlog: published before anyone consumes,
//! counted between the tenth and the ninth tenth of them.

use std::time::{Duration, Instant};

use super::consumer::{Progress, Settling, consume};
use super::harness::{Host, RedisServer, scratch};
use super::process::cpu_seconds_by;
use super::settings::Settings;
use super::streams::{
    BODY_BYTES, CONCURRENCY, Instances, SUBJECT, embedded, handles, key, on, redis, sends,
};
use super::table::{AtLeast, Row, Spread, Table, number};

/// Of a native consumer's messages per second.
const AIM: AtLeast = AtLeast(0.8);

/// Requests at once that publish the backlog.
const BURSTS: u32 = 8;

/// How often a host's progress is read.
const EVERY: Duration = Duration::from_millis(50);

/// No run takes longer.
const WITHIN: Duration = Duration::from_secs(300);

const UNIT: &str = "messages/s";

/// Who works a backlog off.
#[derive(Clone, Copy)]
enum Contender {
    Redis(Instances),
    Native(Settling),
    Embedded,
}

impl Contender {
    const ALL: [Self; 5] = [
        Self::Redis(Instances::Fresh),
        Self::Redis(Instances::Reused),
        Self::Native(Settling::Each),
        Self::Native(Settling::Batch),
        Self::Embedded,
    ];

    fn name(self) -> &'static str {
        match self {
            Self::Redis(Instances::Fresh) => "`wharf up` on Redis, fresh instance per message",
            Self::Redis(Instances::Reused) => "`wharf up` on Redis, instance reused 1000 times",
            Self::Native(Settling::Each) => "plain Rust, XREADGROUP, then XACK and XDEL of each",
            Self::Native(Settling::Batch) => {
                "plain Rust, XACK and XDEL of all that were read in one pipeline"
            }
            Self::Embedded => "`wharf up` on the embedded store, fresh instance per message",
        }
    }

    async fn run(self, messages: u32) -> Run {
        match self {
            Self::Redis(instances) => {
                let redis = backlog(messages).await;
                hosts(&redis, 1, instances, messages).await
            }
            Self::Native(settling) => {
                let redis = backlog(messages).await;
                let (url, key) = (redis.url(), key());
                let consuming = consume(&url, &key, messages.into(), CONCURRENCY, settling);
                Run {
                    rate: rate(&consuming.await.progress, messages),
                    cpu_micros: None,
                }
            }
            Self::Embedded => on_embedded(messages).await,
        }
    }
}

/// What one run measured.
struct Run {
    rate: f64,
    /// Of the hosts' processes, for each message.
    cpu_micros: Option<f64>,
}

pub async fn measure(settings: &Settings, table: &mut Table) {
    let mut runs: [Vec<Run>; Contender::ALL.len()] = Default::default();
    for _ in 0..settings.rounds {
        for (contender, runs) in Contender::ALL.into_iter().zip(&mut runs) {
            runs.push(contender.run(settings.messages).await);
        }
    }
    let rates: Vec<Spread> = runs.iter().map(|runs| rates_of(runs)).collect();
    let figure = format!("{} messages worked off", settings.messages);
    for (index, contender) in Contender::ALL.into_iter().enumerate() {
        let own = &rates[index];
        let mut row = Row::new(&figure, contender.name(), own, UNIT).beside(cpu_of(&runs[index]));
        if let Contender::Redis(_) = contender {
            row = row.share(own, &rates[2], "plain Rust, each", Some(AIM));
            row = row.share(own, &rates[3], "plain Rust, one pipeline", None);
        }
        table.add(row);
    }
}

/// The same backlog, by one host and by several.
pub async fn measure_hosts(settings: &Settings, table: &mut Table) {
    let mut runs: [Vec<Run>; 3] = Default::default();
    for _ in 0..settings.rounds {
        for (count, runs) in (1..).zip(&mut runs) {
            let redis = backlog(settings.messages).await;
            runs.push(hosts(&redis, count, Instances::Fresh, settings.messages).await);
        }
    }
    let alone = rates_of(&runs[0]);
    for (count, runs) in (1..).zip(&runs) {
        let of = match count {
            1 => "1 host".to_owned(),
            count => format!("{count} hosts on this machine"),
        };
        let own = rates_of(runs);
        let row = Row::new("throughput by hosts on one Redis", &of, &own, UNIT);
        let row = row.beside(cpu_of(runs));
        table.add(match count {
            1 => row,
            _ => row.share(&own, &alone, "1 host", None),
        });
    }
}

fn rates_of(runs: &[Run]) -> Spread {
    Spread::of(runs.iter().map(|run| run.rate))
}

fn cpu_of(runs: &[Run]) -> String {
    let micros: Vec<f64> = runs.iter().filter_map(|run| run.cpu_micros).collect();
    if micros.is_empty() {
        return String::new();
    }
    let median = Spread::of(micros).median();
    format!("{} µs CPU of the hosts per message", number(median))
}

/// A server with so many messages that nobody was delivered.
async fn backlog(messages: u32) -> RedisServer {
    let redis = redis();
    let host = on(&redis, "filler", &sends(), &scratch()).start().await;
    fill(&host, messages).await;
    host.stop().await;
    redis
}

/// Has the host publish so many messages.
async fn fill(host: &Host, messages: u32) {
    let client = host.client();
    let burst = |n: u32| {
        let client = client.clone();
        async move {
            let path = format!("/burst?subject={SUBJECT}&n={n}&bytes={BODY_BYTES}");
            client.post(&path, "").await.expect(202);
        }
    };
    let bursts = (0..BURSTS).map(|index| {
        let share = messages / BURSTS + u32::from(index < messages % BURSTS);
        burst(share)
    });
    futures::future::join_all(bursts).await;
}

/// So many hosts work the backlog off.
async fn hosts(redis: &RedisServer, count: usize, instances: Instances, messages: u32) -> Run {
    let application = handles(instances);
    // Compiling is no part of it: they are started before on a server that has nothing.
    let empty = super::streams::redis();
    let mut launches = Vec::new();
    for number in 0..count {
        let (name, state) = (format!("host-{number}"), scratch());
        let launch = |redis| on(redis, &name, &application, &state);
        launch(&empty).start().await.stop().await;
        launches.push(launch(redis));
    }
    let starting = launches.into_iter().map(super::harness::Launch::start);
    let hosts = futures::future::join_all(starting).await;
    work_off(&hosts, messages).await
}

async fn on_embedded(messages: u32) -> Run {
    let state = scratch();
    let host = embedded(&sends(), &state).start().await;
    fill(&host, messages).await;
    host.stop().await;
    let both = format!("{}{}", sends(), handles(Instances::Fresh));
    let host = embedded(&both, &state).start().await;
    work_off(&[host], messages).await
}

/// Waits until these hosts have worked off so many messages.
async fn work_off(hosts: &[Host], messages: u32) -> Run {
    let began = Instant::now();
    let mut progress = Progress::new();
    let mut rounds = tokio::time::interval(EVERY);
    loop {
        rounds.tick().await;
        let mut count = 0.0;
        for host in hosts {
            count += host.metrics().await.sum("wharf_deliveries_total", &[]);
        }
        progress.push((Instant::now(), count));
        if count >= f64::from(messages) {
            break;
        }
        assert!(began.elapsed() < WITHIN, "{count} of {messages} so far");
    }
    let cpu: f64 = hosts.iter().map(|host| cpu_seconds_by(host.pid())).sum();
    Run {
        rate: rate(&progress, messages),
        cpu_micros: Some(cpu * 1e6 / f64::from(messages)),
    }
}

/// Messages per second between the first tenth and the last.
fn rate(progress: &Progress, messages: u32) -> f64 {
    let tenth = f64::from(messages) / 10.0;
    let until = |count: f64| {
        let point = progress.iter().find(|(_, done)| *done >= count);
        *point.expect("all of them were done")
    };
    let ((begin, first), (end, last)) = (until(tenth), until(9.0 * tenth));
    (last - first) / (end - begin).as_secs_f64()
}
