//! Operators look into streams and help them: the commands and the calls behind them.
//!
//! Each test is a function over how a host is launched, so that it holds on every backend of streams. They
//! stand in one file past 500 lines since all look at one small application through the same few words.

use std::collections::BTreeSet;
use std::io::Write as _;
use std::process::{Output, Stdio};
use std::time::Duration;

use serde_json::{Value, json};

use crate::admin_api::{assert_documented, operations};
use crate::harness::{Host, Launch, Manifest, Operator, RedisServer, artifacts, eventually};

const WITHIN: Duration = Duration::from_secs(20);

/// How a host is launched: on which backend.
type On<'a> = &'a (dyn Fn(&Manifest) -> Launch + Sync);

macro_rules! on {
    ($backend:ident, $launch:expr, $($test:ident)*) => {
        mod $backend {
            use super::*;
            $(
                #[tokio::test(flavor = "multi_thread")]
                async fn $test() {
                    super::$test(&$launch).await;
                }
            )*
        }
    };
}

macro_rules! on_every_backend {
    ($($test:ident)*) => {
        on!(embedded, Launch::of, $($test)*);
        on!(redis, on_a_server_of_its_own(), $($test)*);
    };
}

on_every_backend!(
    subjects_are_listed_as_a_table_and_as_json
    dead_letters_are_shown_with_their_reasons_and_go_back
    one_dead_letter_goes_back_by_its_entry
    a_look_shows_messages_and_takes_none
    what_is_published_by_hand_reaches_the_subscriber
    what_there_is_not_is_said_with_what_there_is
    a_group_is_forgotten_once_nobody_subscribes
    a_full_subject_takes_nothing_more
    figures_of_streams_are_in_the_metrics
    every_call_on_streams_answers_as_its_description_says
);

/// Launches hosts on a Redis server that lives as long as what launches them.
fn on_a_server_of_its_own() -> impl Fn(&Manifest) -> Launch {
    let server = RedisServer::start();
    move |manifest| {
        let text = format!("name = \"alone\"\n[redis]\nurl = \"{}\"\n", server.url());
        Launch::of(manifest).host_config(&text)
    }
}

/// `work` is subscribed to by a worker, `unheard` by nobody.
fn manifest(subscription: &str, more: &str) -> Manifest {
    Manifest::new(&format!(
        r#"
[component.worker]
artifact = "{{worker.wasm}}"
[component.worker.grants]
keyvalue = ["default"]
blobstore = ["files"]
publish = ["work", "relayed", "unheard"]

[[route]]
path = "/..."
component = "worker"
{subscription}
{more}
"#
    ))
}

const SUBSCRIBED: &str = r#"
[[subscription]]
subject = "work"
component = "worker"
deliveries = 2
backoff = { first = "20ms", max = "20ms" }
"#;

async fn host(on: On<'_>) -> Host {
    on(&manifest(SUBSCRIBED, "")).start().await
}

fn wharf(host: &Host, arguments: &[&str], input: &[u8]) -> Output {
    let mut child = artifacts::command()
        .arg("streams")
        .args(arguments)
        .arg("--state-dir")
        .arg(host.state().path())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the host was built");
    // A command that refuses its arguments reads nothing.
    let _ = child.stdin.take().expect("it is piped").write_all(input);
    child.wait_with_output().expect("it is our child")
}

#[track_caller]
fn text(host: &Host, arguments: &[&str]) -> String {
    let output = wharf(host, arguments, b"");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{arguments:?}: {said}");
    String::from_utf8(output.stdout).unwrap()
}

#[track_caller]
fn answer(host: &Host, arguments: &[&str]) -> Value {
    let arguments = [arguments, &["--output", "json"]].concat();
    serde_json::from_str(&text(host, &arguments)).expect("JSON")
}

/// What a command says that fails.
#[track_caller]
fn refusal(host: &Host, arguments: &[&str]) -> String {
    let output = wharf(host, arguments, b"");
    assert!(!output.status.success(), "{arguments:?} succeeds");
    String::from_utf8(output.stderr).unwrap()
}

fn publish(host: &Host, body: &str) -> String {
    let published = answer(host, &["publish", "work", "--body", body]);
    published["id"].as_str().expect("an entry").to_owned()
}

async fn count(host: &Host, key: &str) -> u64 {
    let path = format!("/kv/get?store=default&key={key}");
    host.client().get(&path).await.text().parse().unwrap_or(0)
}

async fn handled(host: &Host, key: &str) {
    eventually(&format!("{key} is handled"), WITHIN, async || {
        (count(host, &format!("done/{key}")).await == 1).then_some(())
    })
    .await;
}

/// The figures of the group of `work`, once they are as wanted.
async fn group(host: &Host, what: &str, wanted: impl Fn(&Value) -> bool) -> Value {
    let operator = Operator::of(host);
    eventually(what, WITHIN, async || {
        let listed = operator.get("/v1/streams?subject=work").await;
        let group = listed.expect(200).json()[0]["groups"][0].clone();
        wanted(&group).then_some(group)
    })
    .await
}

async fn dead_letters(host: &Host, count: u64) {
    let what = format!("{count} dead letters");
    group(host, &what, |group| group["dead"] == count).await;
    // The figure runs ahead of what is on the disk by one commit.
    let operator = Operator::of(host);
    eventually(&what, WITHIN, async || {
        let dead = operator.get("/v1/streams/work/dead").await.expect(200);
        (dead.json().as_array()?.len() as u64 == count).then_some(())
    })
    .await;
}

async fn subjects_are_listed_as_a_table_and_as_json(on: On<'_>) {
    let host = host(on).await;
    let unheard = host.client().post("/publish?subject=unheard", "x").await;
    unheard.expect(202);
    publish(&host, "error k");
    dead_letters(&host, 1).await;
    let listed = answer(&host, &[]);
    let listed = listed.as_array().expect("a list");
    let names: Vec<&Value> = listed.iter().map(|subject| &subject["subject"]).collect();
    assert_eq!(names, ["unheard", "work"]);
    assert_eq!(listed[0]["length"], 1);
    assert_eq!(listed[0]["groups"], json!([]));
    let worker = &listed[1]["groups"][0];
    assert_eq!(worker["group"], "worker");
    assert_eq!(
        [&worker["lag"], &worker["pending"], &worker["waiting"]],
        [0, 0, 0]
    );
    assert_eq!(worker["dead"], 1);
    assert_eq!(worker["oldest_age_ms"], Value::Null);
    assert_eq!(worker["subscription"]["deliveries_max"], 2);
    assert_eq!(worker["subscription"]["backoff_first_ms"], 20);

    let table = text(&host, &[]);
    let mut lines = table.lines();
    let head: Vec<&str> = lines.next().unwrap().split_whitespace().collect();
    let columns = "SUBJECT LENGTH MAX GROUP LAG PENDING RETRIES OLDEST DEAD";
    assert_eq!(head.join(" "), columns);
    let unheard: Vec<&str> = lines.next().unwrap().split_whitespace().collect();
    assert_eq!(unheard.join(" "), "unheard 1 100000 - - - - - -");
    let work: Vec<&str> = lines.next().unwrap().split_whitespace().collect();
    assert_eq!(work.join(" "), "work 0 100000 worker 0 0 0 - 1");
    assert_eq!(text(&host, &["work"]).lines().count(), 2);
}

async fn dead_letters_are_shown_with_their_reasons_and_go_back(on: On<'_>) {
    let host = host(on).await;
    // Its counter is kept over attempts, so that the third one succeeds.
    let header = ["--header", "source=shell", "--reply-to", "inbox.1"];
    let publish = ["publish", "work", "--body", "flaky k 3"];
    answer(&host, &[&publish[..], &header].concat());
    dead_letters(&host, 1).await;
    let dead = answer(&host, &["dead", "work", "--group", "worker"]);
    let letter = &dead[0];
    assert_eq!(letter["attempts"], 2, "{letter}");
    assert_eq!(letter["group"], "worker");
    assert_eq!(letter["body"], "flaky k 3");
    assert_eq!(letter["reply_to"], "inbox.1");
    let headers = letter["headers"].as_array().expect("headers");
    assert!(
        headers.contains(&json!({ "name": "source", "value": "shell" })),
        "{letter}"
    );
    let reason = letter["reason"].as_str().expect("a reason");
    assert!(reason.contains("too early"), "{reason}");
    let died = letter["died_at_ms"].as_u64().expect("a time");
    assert!(letter["published_at_ms"].as_u64().expect("a time") <= died);
    let table = text(&host, &["dead", "work"]);
    for word in ["ENTRY", "REASON", "too early", "source=shell", "flaky k 3"] {
        assert!(table.contains(word), "no {word} in {table}");
    }

    let back = text(&host, &["redrive", "work"]);
    assert_eq!(back.trim_end(), "1 dead letter of work is back");
    handled(&host, "k").await;
    dead_letters(&host, 0).await;
    assert_eq!(answer(&host, &["dead", "work"]), json!([]));
    assert_eq!(
        answer(&host, &["redrive", "work"]),
        json!({ "redriven": 0 })
    );
    let none = text(&host, &["dead", "work"]);
    assert_eq!(none.trim_end(), "work has no dead letters");
}

async fn one_dead_letter_goes_back_by_its_entry(on: On<'_>) {
    let host = host(on).await;
    let first = publish(&host, "flaky one 3");
    let second = publish(&host, "flaky two 3");
    dead_letters(&host, 2).await;
    let dead = answer(&host, &["dead", "work"]);
    assert_eq!(dead[0]["entry"], first.as_str());
    assert_eq!(dead[1]["entry"], second.as_str());
    let limited = answer(&host, &["dead", "work", "--limit", "1"]);
    assert_eq!(limited.as_array().map(Vec::len), Some(1));
    let named = ["redrive", "work", "--group", "worker", "--id", &second];
    assert_eq!(answer(&host, &named), json!({ "redriven": 1 }));
    handled(&host, "two").await;
    dead_letters(&host, 1).await;
    assert_eq!(count(&host, "attempts/one").await, 2);
    let again = refusal(&host, &named);
    let wanted = format!("worker of work has no dead letter {second}");
    assert!(again.contains(&wanted), "{again}");
}

async fn a_look_shows_messages_and_takes_none(on: On<'_>) {
    let host = host(on).await;
    let client = host.client();
    for body in ["a", "b", "c"] {
        client.post("/publish?subject=unheard", body).await;
    }
    let held = answer(&host, &["peek", "unheard"]);
    let bodies: Vec<&Value> = held
        .as_array()
        .unwrap()
        .iter()
        .map(|m| &m["body"])
        .collect();
    assert_eq!(bodies, ["a", "b", "c"]);
    let first = held[0]["entry"].as_str().expect("an entry");
    let after = ["peek", "unheard", "--after", first, "--limit", "1"];
    assert_eq!(answer(&host, &after)[0], held[1]);
    let last = held[2]["entry"].as_str().expect("an entry");
    let none = text(&host, &["peek", "unheard", "--after", last]);
    let wanted = format!("unheard holds no messages after {last}");
    assert_eq!(none.trim_end(), wanted);
    let table = text(&host, &["peek", "unheard"]);
    assert_eq!(table.lines().count(), 4, "{table}");
    assert_eq!(answer(&host, &["peek", "unheard"]), held);

    // What is large is cut, unless it is asked for.
    let large = "x".repeat(5000);
    client.post("/publish?subject=unheard", large.clone()).await;
    let cut = &answer(&host, &["peek", "unheard", "--after", last])[0];
    assert_eq!(
        (&cut["cut"], &cut["body_bytes"]),
        (&json!(true), &json!(5000))
    );
    assert_eq!(cut["body"].as_str().map(str::len), Some(4096));
    let whole = &answer(&host, &["peek", "unheard", "--after", last, "--full"])[0];
    assert_eq!(whole["body"], large.as_str());
}

async fn what_is_published_by_hand_reaches_the_subscriber(on: On<'_>) {
    let host = host(on).await;
    let said = text(&host, &["publish", "work", "--body", "record text"]);
    assert!(said.contains("is published to work"), "{said}");
    handled(&host, "text").await;
    let dir = crate::harness::scratch();
    let path = dir.path().join("body");
    std::fs::write(&path, "record file").unwrap();
    answer(
        &host,
        &["publish", "work", "--file", path.to_str().unwrap()],
    );
    handled(&host, "file").await;
    let output = wharf(&host, &["publish", "work"], b"record stdin");
    assert!(output.status.success(), "{output:?}");
    handled(&host, "stdin").await;

    // The worker's host shows what a component does not see.
    let output = wharf(
        &host,
        &["publish", "work", "--header", "a=1", "--header", "a=2"],
        b"\xff\xfe",
    );
    assert!(output.status.success(), "{output:?}");
    dead_letters(&host, 1).await;
    let letter = answer(&host, &["dead", "work"])[0].clone();
    assert_eq!(letter["body"], Value::Null);
    assert_eq!(letter["body_base64"], "//4=");
    let headers = letter["headers"].as_array().expect("headers").iter();
    let own: Vec<&Value> = headers.filter(|header| header["name"] == "a").collect();
    assert_eq!(
        own,
        [
            &json!({ "name": "a", "value": "1" }),
            &json!({ "name": "a", "value": "2" })
        ]
    );
    let output = wharf(&host, &["publish", "work"], &vec![b'x'; (1 << 20) + 1]);
    assert!(!output.status.success());
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(said.contains("1048576 bytes at most"), "{said}");
}

async fn what_there_is_not_is_said_with_what_there_is(on: On<'_>) {
    let host = host(on).await;
    for arguments in [
        &["wrok"][..],
        &["dead", "wrok"],
        &["redrive", "wrok"],
        &["peek", "wrok"],
        &["publish", "wrok", "--body", "x"],
        &["forget", "wrok", "--group", "worker"],
    ] {
        let said = refusal(&host, arguments);
        let wanted = "there is no subject wrok: `wharf streams` lists";
        assert!(said.contains(wanted), "{arguments:?}: {said}");
    }
    for arguments in [
        &["dead", "work", "--group", "wroker"][..],
        &["redrive", "work", "--group", "wroker"],
        &["forget", "work", "--group", "wroker"],
    ] {
        let said = refusal(&host, arguments);
        let wanted = "there is no group wroker of work: the subject has worker";
        assert!(said.contains(wanted), "{arguments:?}: {said}");
    }
    let said = refusal(&host, &["redrive", "work", "--id", "999999"]);
    let wanted = "work has no dead letter 999999: `wharf streams dead work` shows";
    assert!(said.contains(wanted), "{said}");
    let said = refusal(&host, &["redrive", "work", "--id", "no id"]);
    assert!(said.contains("use an ENTRY as"), "{said}");
    assert_eq!(answer(&host, &[]).as_array().map(Vec::len), Some(1));
}

async fn a_group_is_forgotten_once_nobody_subscribes(on: On<'_>) {
    let host = host(on).await;
    publish(&host, "error k");
    dead_letters(&host, 1).await;
    let forget = ["forget", "work", "--group", "worker"];
    let said = refusal(&host, &forget);
    assert!(said.contains("a subscription of this host names"), "{said}");
    let operator = Operator::of(&host);
    let refused = operator.delete("/v1/streams/work/groups/worker").await;
    refused.expect(409);
    dead_letters(&host, 1).await;
    let state = host.state().clone();
    host.stop().await;

    let host = on(&manifest("", "")).state(&state).start().await;
    let left = group(&host, "the group is there", |group| group["dead"] == 1).await;
    assert_eq!(left["subscription"], Value::Null);
    let table = text(&host, &["work"]);
    assert!(table.contains("not subscribed by this host"), "{table}");
    let said = text(&host, &forget);
    let wanted =
        "group worker of work is forgotten, with 0 messages that it owed and 1 dead letters";
    assert_eq!(said.trim_end(), wanted);
    let listed = answer(&host, &["work"]);
    assert_eq!(listed[0]["groups"], json!([]));
    assert!(refusal(&host, &forget).contains("the subject has none"));
}

async fn a_full_subject_takes_nothing_more(on: On<'_>) {
    let limits = "[stream.unheard]\nlength_max = 2\n";
    let host = on(&manifest(SUBSCRIBED, limits)).start().await;
    let first = host.client().post("/publish?subject=unheard", "a").await;
    first.expect(202);
    answer(&host, &["publish", "unheard", "--body", "b"]);
    let said = refusal(&host, &["publish", "unheard", "--body", "c"]);
    assert!(said.contains("subject unheard is full"), "{said}");
    let operator = Operator::of(&host);
    let empty = json!({});
    let refused = operator.post("/v1/streams/unheard/messages", &empty);
    refused.await.expect(507);
    assert_eq!(answer(&host, &["unheard"])[0]["length_max"], 2);
}

async fn figures_of_streams_are_in_the_metrics(on: On<'_>) {
    let slow = SUBSCRIBED.replace(
        "first = \"20ms\", max = \"20ms\"",
        "first = \"1h\", max = \"1h\"",
    );
    let subscribed = slow.replace("deliveries = 2", "deliveries = 1");
    let labels = [("subject", "work"), ("component", "worker")];
    let host = on(&manifest(&subscribed, "")).start().await;
    publish(&host, "error k");
    host.metric_becomes("wharf_dead_letters_held", &labels, 1.0)
        .await;
    host.metric_becomes("wharf_oldest_age_seconds", &labels, 0.0)
        .await;
    host.metric_becomes("wharf_stream_length", &labels[..1], 0.0)
        .await;
    answer(&host, &["redrive", "work"]);
    host.metric_becomes("wharf_dead_letters_total", &labels, 2.0)
        .await;
    let state = host.state().clone();
    host.stop().await;

    let host = on(&manifest(&slow, "")).state(&state).start().await;
    publish(&host, "error again");
    // Half of an hour, on the average, is what it waits.
    host.metric_becomes("wharf_waiting", &labels, 1.0).await;
    host.metric_becomes("wharf_pending", &labels, 1.0).await;
    host.metric_becomes("wharf_stream_length", &labels[..1], 1.0)
        .await;
    let metrics = host.metrics().await;
    assert!(metrics.sum("wharf_oldest_age_seconds", &labels) > 0.0);
    assert_eq!(metrics.sum("wharf_dead_letters_held", &labels), 1.0);
    assert!(metrics.has("wharf_subscriptions_stale", &[]));
    assert_eq!(metrics.sum("wharf_subscriptions_stale", &[]), 0.0);
    let listed = answer(&host, &["work"]);
    assert_eq!(listed[0]["groups"][0]["waiting"], 1);
    assert!(listed[0]["groups"][0]["oldest_age_ms"].is_u64());
}

async fn every_call_on_streams_answers_as_its_description_says(on: On<'_>) {
    let host = host(on).await;
    let operator = Operator::of(&host);
    let document = operator.get("/v1/openapi.json").await.expect(200).json();
    let mut called: BTreeSet<(String, String)> = BTreeSet::new();
    let calls = [
        ("GET", "/v1/streams", "", Value::Null, 200),
        ("GET", "/v1/streams", "?subject=wrok", Value::Null, 404),
        ("GET", "/v1/streams", "?subject=a..b", Value::Null, 400),
        ("GET", "dead", "?limit=200&full=true", Value::Null, 200),
        ("GET", "dead", "?group=wroker", Value::Null, 404),
        ("GET", "dead", "?limit=201", Value::Null, 400),
        ("GET", "messages", "?after=1&limit=1", Value::Null, 200),
        ("GET", "messages", "?after=a%20b", Value::Null, 400),
        ("GET", "messages", "?full=maybe", Value::Null, 400),
        ("POST", "messages", "", json!({ "body": "record k" }), 201),
        ("POST", "messages", "", json!({ "body_base64": "~" }), 400),
        ("POST", "messages", "", json!({ "bodi": "" }), 400),
        (
            "POST",
            "messages",
            "",
            json!({ "body": "x".repeat((1 << 20) + 1) }),
            413,
        ),
        ("POST", "redrive", "", json!({}), 200),
        ("POST", "redrive", "", json!({ "id": "999999" }), 404),
        ("POST", "redrive", "", json!({ "groop": "x" }), 400),
        ("DELETE", "groups/{group}", "", Value::Null, 409),
    ];
    for (method, place, query, body, status) in calls {
        let template = match place {
            "/v1/streams" => place.to_owned(),
            below => format!("/v1/streams/{{subject}}/{below}"),
        };
        let path = template.replace("{subject}", "work");
        let path = format!("{}{query}", path.replace("{group}", "worker"));
        let reply = match method {
            "GET" => operator.get(&path).await,
            "POST" => operator.post(&path, &body).await,
            _ => operator.delete(&path).await,
        };
        let found = assert_documented(&document, method, &template, &reply);
        assert_eq!(found, status, "{method} {path}: {}", reply.text());
        called.insert((method.to_owned(), template));
    }
    let documented: BTreeSet<(String, String)> = operations(&document)
        .into_iter()
        .map(|(method, path, _)| (method, path))
        .filter(|(_, path)| path.starts_with("/v1/streams"))
        .collect();
    assert_eq!(called, documented);
}
