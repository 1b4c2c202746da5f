//! The trace context goes with the work: through components, over HTTP, with messages, into the log
//! (W3C Trace Context).

use std::time::Duration;

use serde_json::Value;

use crate::harness::client::{Client, Reply, empty, full};
use crate::harness::upstream::Upstream;
use crate::harness::{Host, Launch, Manifest, eventually};

const WITHIN: Duration = Duration::from_secs(20);

const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";
const SPAN: &str = "b7ad6b7169203331";

fn parent() -> String {
    format!("00-{TRACE}-{SPAN}-01")
}

async fn host(outbound: &str) -> Host {
    let manifest = Manifest::new(&format!(
        r#"
[component.worker]
artifact = "{{worker.wasm}}"
[component.worker.grants]
keyvalue = ["default"]
blobstore = ["files"]
publish = ["work", "relayed", "unheard"]
outbound_http = ["http://hello.internal", "http://hello3.internal", {outbound}]

[component.hello]
artifact = "{{hello.wasm}}"

[component.hello3]
artifact = "{{hello3.wasm}}"
limits.instances = 1
grants.outbound_http = [{outbound}]

[component.caller]
artifact = "{{caller.wasm}}"
[component.callee]
artifact = "{{callee.wasm}}"

[[route]]
path = "/..."
component = "worker"
[[route]]
path = "/headers"
component = "hello"
[[route]]
path = "/ask"
component = "hello3"
[[route]]
path = "/trap"
component = "caller"

[[subscription]]
subject = "work"
component = "worker"
deliveries = 1
[[subscription]]
subject = "relayed"
component = "worker"
"#
    ));
    Launch::of(&manifest).start().await
}

async fn send(client: &Client, method: &str, path: &str, headers: &[(&str, &str)]) -> Reply {
    let mut request = client.request(method, path);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    client.send(request.body(empty()).unwrap()).await
}

async fn get(client: &Client, path: &str, parent: &str) -> Reply {
    send(client, "GET", path, &[("traceparent", parent)]).await
}

/// A `traceparent`'s trace and span; panics unless it is valid.
fn fields(parent: &str) -> (String, String) {
    let fields: Vec<&str> = parent.split('-').collect();
    let lengths: Vec<usize> = fields.iter().map(|field| field.len()).collect();
    assert_eq!(lengths, [2, 32, 16, 2], "{parent}");
    (fields[1].to_owned(), fields[2].to_owned())
}

/// The header `name` of a request as `hello` shows it.
fn shown(facts: &Value, name: &str) -> Option<String> {
    let mut headers = facts["headers"].as_array().expect("a list").iter();
    let found = headers.find(|pair| pair[0] == name)?;
    Some(found[1].as_str().expect("a text").to_owned())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_component_is_told_the_trace_of_its_request() {
    let host = host("").await;
    for client in [host.client(), host.client2()] {
        let facts = get(&client, "/headers", &parent()).await.expect(200).json();
        let (trace, span) = fields(&shown(&facts, "traceparent").expect("it is there"));
        assert_eq!(trace, TRACE);
        assert_ne!(span, SPAN, "the component's work is a span of its own");
        let headers = [
            ("traceparent", &*parent()),
            ("tracestate", "a=1"),
            ("tracestate", "b=2"),
        ];
        let facts = send(&client, "GET", "/headers", &headers).await.json();
        assert_eq!(shown(&facts, "tracestate").as_deref(), Some("a=1,b=2"));
        for broken in ["", "00-xyz", &parent().replace("00-", "ff-")] {
            let headers = [("traceparent", broken), ("tracestate", "a=1")];
            let facts = send(&client, "GET", "/headers", &headers).await.json();
            let (trace, _) = fields(&shown(&facts, "traceparent").expect("one begins"));
            assert_ne!(trace, TRACE, "{broken}");
            assert_eq!(shown(&facts, "tracestate"), None, "{broken}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_of_a_component_go_on_in_its_trace_unless_it_names_one() {
    let upstream = Upstream::start().await;
    let host = host(&format!("\"http://{}\"", upstream.address)).await;
    let client = host.client();
    let target = format!("/outbound?authority={}&path=/x", upstream.address);
    get(&client, &target, &parent()).await.expect(200);
    let own = "00-11111111111111111111111111111111-2222222222222222-00";
    let named = format!("{target}&traceparent={own}");
    get(&client, &named, &parent()).await.expect(200);
    let arrived: Vec<String> = upstream
        .arrivals()
        .iter()
        .map(|arrival| arrival.headers["traceparent"].to_str().unwrap().to_owned())
        .collect();
    let (trace, span) = fields(&arrived[0]);
    assert_eq!(trace, TRACE);
    assert_ne!(span, SPAN);
    assert_eq!(arrived[1], own);
    for callee in ["hello.internal", "hello3.internal"] {
        let target = format!("/outbound?authority={callee}&path=/headers");
        let of = |reply: Reply| {
            let text = reply.expect(200).text();
            let facts = text.strip_prefix("200 ").expect("a status");
            let facts = serde_json::from_str(facts).expect("JSON");
            fields(&shown(&facts, "traceparent").expect("it is there"))
        };
        let (trace, span) = of(get(&client, &target, &parent()).await);
        assert_eq!(trace, TRACE, "{callee}");
        assert_ne!(span, SPAN, "{callee}");
        let named = format!("{target}&traceparent={own}");
        let (trace, span) = of(get(&client, &named, &parent()).await);
        assert_eq!(trace, "1".repeat(32), "{callee}");
        assert_ne!(span, "2".repeat(16), "{callee}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_that_share_an_instance_keep_their_own_traces() {
    let upstream = Upstream::start().await;
    let host = host(&format!("\"http://{}\"", upstream.address)).await;
    let client = host.client();
    let asks = (1..=8_u8).map(|number| {
        let client = client.clone();
        let target = format!("/ask?ms=200&number={number}&authority={}", upstream.address);
        let parent = parent().replace(TRACE, &format!("{number:032x}"));
        async move { get(&client, &target, &parent).await.expect(200) }
    });
    futures::future::join_all(asks).await;
    let mut traces: Vec<String> = upstream
        .arrivals()
        .iter()
        .map(|arrival| fields(arrival.headers["traceparent"].to_str().unwrap()).0)
        .collect();
    traces.sort();
    let expected: Vec<String> = (1..=8_u8).map(|number| format!("{number:032x}")).collect();
    assert_eq!(traces, expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_carries_its_trace_to_whoever_handles_it_and_into_the_log() {
    let host = host("").await;
    let client = host.client();
    let publish = async |command: &str| {
        let request = client.request("POST", "/publish?subject=work");
        let request = request.header("traceparent", parent());
        let reply = client
            .send(request.body(full(command.to_owned())).unwrap())
            .await;
        reply.expect(202);
    };
    publish("context a").await;
    let target = "/kv/get?store=default&key=seen/a";
    let seen = eventually("the message is handled", WITHIN, async || {
        let reply = client.get(target).await;
        (reply.status == 200).then(|| reply.text())
    })
    .await;
    let line = seen
        .lines()
        .find_map(|line| line.strip_prefix("header.traceparent "));
    let (trace, published_by) = fields(line.expect("it is told"));
    assert_eq!(trace, TRACE);
    assert_ne!(published_by, SPAN);
    let logged = host
        .logged("what the handler logged", |entry| {
            entry["line"] == "context of a"
        })
        .await;
    let printed = host
        .logged("what the handler printed", |entry| {
            entry["line"] == "printed for a"
        })
        .await;
    for entry in [&logged, &printed] {
        assert_eq!(entry["trace_id"], TRACE, "{entry}");
        assert_ne!(entry["span_id"], published_by, "{entry}");
        assert!(entry["request_id"].is_u64(), "{entry}");
    }
    assert_eq!(logged["span_id"], printed["span_id"]);
    publish("error b").await;
    for message in ["delivery failed", "message moved to the dead letters"] {
        let what = format!("the host's own {message:?}");
        host.logged(&what, |entry| {
            entry["message"] == message && entry["trace_id"] == TRACE
        })
        .await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_largest_message_is_not_refused_for_its_trace() {
    let host = host("").await;
    let client = host.client();
    // What a message may have: `MESSAGE_BYTES_MAX`.
    let mut body = vec![b'x'; 1 << 20];
    let target = "/publish?subject=unheard";
    client.post(target, body.clone()).await.expect(202);
    body.push(b'x');
    client.post(target, body).await.expect(503);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_typed_call_goes_on_in_the_callers_trace() {
    let host = host("").await;
    get(&host.client(), "/trap", &parent()).await.expect(502);
    let of_callee = host
        .logged("the callee's panic", |entry| {
            entry["component"] == "callee" && entry["line"].is_string()
        })
        .await;
    let of_caller = host
        .logged("the caller's failure", |entry| {
            entry["component"] == "caller" && entry["message"] == "request failed"
        })
        .await;
    assert_eq!(of_callee["trace_id"], TRACE);
    assert_eq!(of_caller["trace_id"], TRACE);
    assert_eq!(of_callee["request_id"], of_caller["request_id"]);
    assert_ne!(of_callee["span_id"], of_caller["span_id"]);
}
