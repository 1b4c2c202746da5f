//! The soak: everything at once. The media application and the fixtures are under constant load from
//! outside, over HTTP and through streams, while each of their components is swapped in turn.
//!
//! Nothing may fail, no effect may be lost or doubled, and every answer comes from a revision that
//! was active while its request ran.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::Value;
use tokio::task::JoinHandle;

use super::load::{Answer, Load, assert_all};
use super::timeline::Timeline;
use crate::harness::client::empty;
use crate::harness::{Client, Host, Launch, Manifest, Operator, Swap, eventually, guest, variant};
use crate::media::{User, manifest};

/// The components in the order in which they are swapped, and what serves at first.
const COMPONENTS: [&str; 8] = [
    "gateway",
    "candidate",
    "auth",
    "callee",
    "notifier",
    "caller",
    "converter",
    "hello3",
];
const AT_FIRST: &str = "at first";

/// Of the fixtures' swaps, one in so many brings new bytes, and thereby a compile.
const NEW_BYTES_EVERY: usize = 5;

/// Fixtures whose answers name their revision.
const FIXTURES: [&str; 4] = ["candidate", "callee", "caller", "hello3"];

/// The messages that are behind when the load ends; each converts a second of sound at most.
const HANDLED_WITHIN: Duration = Duration::from_secs(120);

/// How often is looked whether a conversion is done.
const LOOK: Duration = Duration::from_millis(100);

/// What was done, for whoever wants to print it.
#[derive(Debug)]
pub struct Report {
    pub swaps: usize,
    pub requests: usize,
    pub messages: usize,
    pub uploads: usize,
    pub took: Duration,
    /// Of the gateway's page.
    pub p99: Duration,
}

/// The media application with the fixtures beside it, each on a host name of its own.
fn everything() -> Manifest {
    manifest(|table| {
        let more: toml::Table = fixtures().parse().expect("it is TOML");
        for (key, value) in more {
            match (table.get_mut(&key), value) {
                (Some(toml::Value::Table(held)), toml::Value::Table(more)) => held.extend(more),
                (Some(toml::Value::Array(held)), toml::Value::Array(more)) => held.extend(more),
                (_, value) => panic!("{key} = {value}"),
            }
        }
    })
}

fn fixtures() -> String {
    let mut text = String::new();
    for name in FIXTURES {
        text += &format!(
            "[component.{name}]\nartifact = \"{}\"\n\
             environment = {{ REVISION = \"{AT_FIRST}\" }}\n",
            guest(name).display()
        );
        if name == "candidate" {
            text += "health = \"GET /healthz\"\n\
                     grants = { keyvalue = [\"default\"], publish = [\"work\"] }\n";
        }
        if name != "callee" {
            text +=
                &format!("[[route]]\npath = \"/...\"\nhost = \"{name}\"\ncomponent = \"{name}\"\n");
        }
    }
    text + "[[subscription]]\nsubject = \"work\"\ncomponent = \"candidate\"\n"
}

/// A load of GETs from one of the host names.
fn at(
    client: &Client,
    name: &'static str,
    path: impl Fn(u64) -> String + Send + Sync + 'static,
) -> Load {
    let client = client.clone();
    Load::of(2, Duration::from_millis(30), move |n| {
        let request = client.request("GET", &path(n)).header("host", name);
        (client.clone(), request.body(empty()).unwrap())
    })
}

/// A load of GETs by somebody who is logged in.
fn by(user: &User, path: &'static str) -> Load {
    let (client, token) = (user.client.clone(), user.token.clone());
    Load::of(1, Duration::from_millis(50), move |_| {
        let request = client
            .request("GET", path)
            .header("authorization", format!("Bearer {token}"));
        (client.clone(), request.body(empty()).unwrap())
    })
}

/// What stresses the host from outside.
struct Loads {
    page: Load,
    jobs: Load,
    notices: Load,
    effects: Load,
    published: Load,
    calls: Load,
    concurrent: Load,
    uploads: Uploads,
}

impl Loads {
    fn start(host: &Host, user: &Arc<User>) -> Self {
        let client = host.client();
        Self {
            page: Load::gets(&client, 2, Duration::from_millis(10), |_| "/".to_owned()),
            jobs: by(user, "/jobs"),
            notices: by(user, "/notices"),
            effects: at(&client, "candidate", |n| format!("/effect?id={n}")),
            published: at(&client, "candidate", |n| format!("/publish?id={n}")),
            calls: at(&host.client2(), "caller", |_| {
                "/revisions?n=3&ms=15".to_owned()
            }),
            concurrent: at(&client, "hello3", |_| "/env?name=REVISION".to_owned()),
            uploads: Uploads::start(user.clone()),
        }
    }
}

/// Uploads of a second of sound, one after another, each when the last is done.
struct Uploads {
    stop: tokio::sync::watch::Sender<bool>,
    task: JoinHandle<Vec<String>>,
}

impl Uploads {
    fn start(user: Arc<User>) -> Self {
        let (stop, stopped) = tokio::sync::watch::channel(false);
        let task = tokio::spawn(async move {
            let (mut ids, sound) = (Vec::new(), a_second_of_sound());
            while !*stopped.borrow() {
                let id = user.upload("second.wav", &sound).await;
                let mut looks = tokio::time::interval(LOOK);
                while !is_settled(&user.job(&id).await) {
                    looks.tick().await;
                }
                ids.push(id);
            }
            ids
        });
        Self { stop, task }
    }

    async fn stop(self) -> Vec<String> {
        self.stop.send_replace(true);
        self.task.await.expect("every upload was taken")
    }
}

fn is_settled(job: &Value) -> bool {
    matches!(job["state"].as_str(), Some("done" | "failed"))
}

/// RIFF/WAVE, 8 kHz, mono, 16 bits: a tone.
fn a_second_of_sound() -> Vec<u8> {
    const RATE: u32 = 8000;
    let samples = (0..RATE).flat_map(|n| {
        let level = (f64::from(n) * 440.0 * std::f64::consts::TAU / f64::from(RATE)).sin();
        ((level * 8000.0) as i16).to_le_bytes()
    });
    let samples: Vec<u8> = samples.collect();
    let length = samples.len() as u32;
    let mut bytes = Vec::new();
    bytes.extend_from_slice(b"RIFF");
    bytes.extend((36 + length).to_le_bytes());
    bytes.extend_from_slice(b"WAVEfmt \x10\0\0\0\x01\0\x01\0");
    bytes.extend(RATE.to_le_bytes());
    bytes.extend((2 * RATE).to_le_bytes());
    bytes.extend_from_slice(b"\x02\0\x10\0data");
    bytes.extend(length.to_le_bytes());
    bytes.extend(samples);
    bytes
}

/// Swaps every component in turn; when each revision may have answered.
async fn swap_all(operator: &Operator, swaps: usize) -> BTreeMap<&'static str, Timeline> {
    let mut timelines: BTreeMap<_, _> = COMPONENTS
        .map(|component| (component, Timeline::from(AT_FIRST)))
        .into();
    for n in 0..swaps {
        let component = COMPONENTS[n % COMPONENTS.len()];
        let revision = format!("{component} {n}");
        let mut swap = Swap::to_revision(&revision);
        let is_fixture = FIXTURES.contains(&component);
        if is_fixture && (n / COMPONENTS.len()).is_multiple_of(NEW_BYTES_EVERY) {
            let bytes = std::fs::read(guest(component)).expect("it was built");
            let digest = operator.upload(variant(&bytes, &revision)).await;
            swap = swap.artifact(&digest);
        }
        let asked = tokio::time::Instant::now();
        let id = operator.begin(component, swap).await;
        let decision = operator.events(id).await.decision().await;
        let timeline = timelines.get_mut(component).expect("it is in the list");
        timeline.switched(&revision, asked);
        assert!(
            matches!(decision["state"].as_str(), Some("switched" | "completed")),
            "{component}, swap {n}: {decision}"
        );
    }
    timelines
}

/// Asserts that each answer is from a revision that was active meanwhile. A response of several lines
/// is of several calls within one request, which all see the same.
fn assert_in_time(what: &str, answers: &[Answer], timeline: &Timeline) {
    for answer in answers {
        let text = answer.text();
        let lines: Vec<&str> = text.lines().collect();
        assert!(
            lines.windows(2).all(|two| two[0] == two[1]),
            "{what}: {text}"
        );
        if let Err(wrong) = timeline.check(lines[0], answer) {
            panic!("{what}: {wrong}");
        }
    }
}

/// Asserts that every one of these was done exactly once.
async fn assert_once(client: &Client, of: &str, answers: &[Answer]) {
    let to = answers.iter().map(|answer| answer.n).max().unwrap_or(0) + 1;
    for from in (0..to).step_by(500) {
        let until = to.min(from + 500);
        let path = format!("/counts?of={of}&from={from}&to={until}");
        let what = format!("every {of} from {from} is counted once");
        eventually(&what, HANDLED_WITHIN, async || {
            let request = client.request("GET", &path).header("host", "candidate");
            let text = client
                .send(request.body(empty()).unwrap())
                .await
                .expect(200)
                .text();
            let counts: Vec<&str> = text.split(' ').collect();
            assert_eq!(counts.len() as u64, until - from);
            let doubled = counts.iter().position(|count| !matches!(*count, "0" | "1"));
            assert_eq!(doubled, None, "{of} from {from}: {text}");
            counts.iter().all(|count| *count == "1").then_some(())
        })
        .await;
    }
}

/// Every upload is one job that is done, with one notice; what each subscriber handled, it handled at
/// the first delivery.
async fn assert_jobs(host: &Host, user: &User, ids: &[String]) {
    for id in ids {
        let job = user.settled(id).await;
        assert_eq!(job["state"], "done", "{job}");
    }
    host.metric_becomes("wharf_pending", &[], 0.0).await;
    host.metric_becomes("wharf_lag", &[], 0.0).await;
    let metrics = host.metrics().await;
    for none in [
        "wharf_retries_total",
        "wharf_dead_letters_total",
        "wharf_traps_total",
    ] {
        assert_eq!(metrics.sum(none, &[]), 0.0, "{none}");
    }
    let results = host.state().path().join("blobs/results");
    let kept = std::fs::read_dir(&results)
        .expect("there are results")
        .count();
    assert_eq!(kept, ids.len(), "one job, one result");
    let notices = user.get("/notices?limit=100").await.expect(200).json();
    let notices = notices.as_array().expect("a list").len();
    assert_eq!(notices, ids.len().min(100), "one job, one notice");
}

async fn assert_completed(operator: &Operator, swaps: usize) {
    for component in COMPONENTS {
        operator.alone(component).await;
    }
    let reply = operator
        .get("/v1/rollouts?limit=1000")
        .await
        .expect(200)
        .json();
    let of_swaps = |each: &&Value| each["cause"] == "swap";
    let rollouts: Vec<&Value> = reply
        .as_array()
        .expect("a list")
        .iter()
        .filter(of_swaps)
        .collect();
    assert_eq!(rollouts.len(), swaps.min(1000));
    for rollout in rollouts {
        assert_eq!(rollout["state"], "completed", "{rollout:#}");
    }
}

fn p99(answers: &[Answer]) -> Duration {
    let mut all: Vec<Duration> = answers.iter().map(Answer::took).collect();
    all.sort_unstable();
    all[(all.len() - 1) * 99 / 100]
}

/// Makes so many swaps under load. Panics where anything is not as it was promised.
pub async fn run(swaps: usize) -> Report {
    let host = Launch::of(&everything()).start().await;
    let operator = Operator::of(&host);
    let user = Arc::new(User::new(&host).await);
    let loads = Loads::start(&host, &user);
    let began = Instant::now();
    let timelines = swap_all(&operator, swaps).await;
    let took = began.elapsed();
    let uploads = loads.uploads.stop().await;
    let page = loads.page.stop().await;
    let (jobs, notices) = (loads.jobs.stop().await, loads.notices.stop().await);
    let (effects, published) = (loads.effects.stop().await, loads.published.stop().await);
    let (calls, concurrent) = (loads.calls.stop().await, loads.concurrent.stop().await);
    assert_all("the page", &page, 200);
    assert_all("jobs, by a typed call to auth", &jobs, 200);
    assert_all(
        "notices, by typed calls to auth and notifier",
        &notices,
        200,
    );
    assert_all("effects", &effects, 200);
    assert_all("published", &published, 202);
    assert_all("typed calls", &calls, 200);
    assert_all("0.3", &concurrent, 200);
    assert_in_time("effects", &effects, &timelines["candidate"]);
    assert_in_time("published", &published, &timelines["candidate"]);
    assert_in_time("typed calls", &calls, &timelines["callee"]);
    assert_in_time("0.3", &concurrent, &timelines["hello3"]);
    assert_once(&user.client, "request", &effects).await;
    assert_once(&user.client, "delivery", &published).await;
    assert_jobs(&host, &user, &uploads).await;
    assert_completed(&operator, swaps).await;
    let all = [
        &page,
        &jobs,
        &notices,
        &effects,
        &published,
        &calls,
        &concurrent,
    ];
    Report {
        swaps,
        requests: all.iter().map(|answers| answers.len()).sum(),
        messages: published.len(),
        uploads: uploads.len(),
        took,
        p99: p99(&page),
    }
}
