//! Outbound HTTP: denied unless granted, and `http://<component>.internal/` is another component.

use crate::harness::client::{Client, empty};
use crate::harness::upstream::Upstream;
use crate::harness::{Host, Launch, Manifest};

fn manifest(outbound: &str) -> Manifest {
    Manifest::new(&format!(
        r#"
[component.worker]
artifact = "{{worker.wasm}}"
[component.worker.grants]
keyvalue = ["default"]
blobstore = ["files"]
publish = ["work"]
outbound_http = [{outbound}]

[component.hello]
artifact = "{{hello.wasm}}"
[component.hello3]
artifact = "{{hello3.wasm}}"
[component.misbehave]
artifact = "{{misbehave.wasm}}"
[component.misbehave.limits]
deadline = "1s"

[[route]]
path = "/..."
component = "worker"
"#
    ))
}

async fn host(outbound: &str) -> Host {
    Launch::of(&manifest(outbound)).start().await
}

async fn ask(client: &Client, authority: &str, path: &str) -> (u16, String) {
    let target = format!("/outbound?authority={authority}&path={path}");
    let reply = client
        .send(client.request("GET", &target).body(empty()).unwrap())
        .await;
    (reply.status, reply.text())
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_reachable_without_a_grant() {
    let upstream = Upstream::start().await;
    let host = host("").await;
    let authority = upstream.address.to_string();
    let (status, text) = ask(&host.client(), &authority, "/x").await;
    assert_eq!(status, 502, "{text}");
    assert!(text.contains("HttpRequestDenied"), "{text}");
    assert!(upstream.arrivals().is_empty());
    // The log has the line that would allow it.
    host.logged("the denial and its remedy", |entry| {
        let text = entry.to_string();
        text.contains(&authority) && text.contains("outbound_http")
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_granted_host_is_reached_and_its_other_ports_are_not() {
    let granted = Upstream::start().await;
    let other = Upstream::start().await;
    let host = host(&format!("\"http://{}\"", granted.address)).await;
    let client = host.client();
    let reply = ask(&client, &granted.address.to_string(), "/there").await;
    assert_eq!(reply, (200, "200 upstream".to_owned()));
    let arrivals = granted.arrivals();
    assert_eq!(arrivals.len(), 1);
    assert_eq!(arrivals[0].path, "/there");
    let (status, text) = ask(&client, &other.address.to_string(), "/x").await;
    assert_eq!(status, 502, "{text}");
    assert!(other.arrivals().is_empty());
    let port = granted.address.port();
    for disguise in [format!("localhost:{port}"), format!("127.0.0.1.:{port}")] {
        let (status, text) = ask(&client, &disguise, "/x").await;
        assert_eq!(status, 502, "{disguise}: {text}");
    }
    assert_eq!(granted.arrivals().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_granted_host_that_is_down_is_an_error_and_not_a_trap() {
    let address = {
        let gone = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        gone.local_addr().unwrap()
    };
    let host = host(&format!("\"http://{address}\"")).await;
    let (status, text) = ask(&host.client(), &address.to_string(), "/x").await;
    assert_eq!(status, 502, "{text}");
    assert!(
        text.contains("failed") || text.contains("refused"),
        "{text}"
    );
    let traps = host.metrics().await.sum("wharf_traps_total", &[]);
    assert_eq!(traps, 0.0);
}

#[tokio::test(flavor = "multi_thread")]
async fn another_component_is_reached_in_process() {
    let host = host("\"http://hello.internal\", \"http://hello3.internal\"").await;
    let client = host.client();
    assert_eq!(
        ask(&client, "hello.internal", "/").await,
        (200, "200 hello".to_owned())
    );
    assert_eq!(
        ask(&client, "hello3.internal", "/").await,
        (200, "200 hello".to_owned())
    );
    let (_, missing) = ask(&client, "hello.internal", "/nothing").await;
    assert_eq!(missing, "404 no such path in hello");
    let (status, _) = ask(&client, "misbehave.internal", "/ok").await;
    assert_eq!(status, 502, "it is not granted");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_component_that_fails_is_an_error_to_the_one_that_asked() {
    let host = host("\"http://misbehave.internal\"").await;
    let client = host.client();
    for path in ["/trap", "/never", "/no-response"] {
        let (status, text) = ask(&client, "misbehave.internal", path).await;
        let failed = status == 502 || text.starts_with("50");
        assert!(failed, "{path}: {status} {text}");
    }
    let reply = ask(&client, "misbehave.internal", "/ok").await;
    assert_eq!(reply, (200, "200 ok".to_owned()));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_callers_own_time_limits_hold_for_components_too() {
    let host = host("\"http://hello.internal\"").await;
    let client = host.client();
    let (status, text) = ask(
        &client,
        "hello.internal",
        "/slow%3Fms=20000&first_byte_ms=200",
    )
    .await;
    assert_eq!(status, 502, "{text}");
    assert!(text.contains("ConnectionReadTimeout"), "{text}");
    host.metric_becomes("wharf_instances", &[("component", "hello")], 0.0)
        .await;
    let path = "/stream%3Fn=2%26ms=20000&between_bytes_ms=200";
    let reply = ask(&client, "hello.internal", path).await;
    assert_eq!(
        reply,
        (200, "200 chunk 0\n".to_owned()),
        "the second piece is too late"
    );
    let path = "/stream%3Fn=3%26ms=50&between_bytes_ms=5000";
    let reply = ask(&client, "hello.internal", path).await;
    assert_eq!(reply, (200, "200 chunk 0\nchunk 1\nchunk 2\n".to_owned()));
}
