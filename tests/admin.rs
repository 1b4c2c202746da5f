//! The operators' address: health, readiness, metrics; and nothing of it on the public one.

use std::time::Duration;

use crate::harness::{Launch, Manifest};

#[tokio::test(flavor = "multi_thread")]
async fn health_and_readiness_answer_on_the_admin_address_only() {
    let host = Launch::of(&Manifest::serving("hello", "")).start().await;
    host.operator().get("/healthz").await.expect(200);
    host.operator().get("/readyz").await.expect(200);
    host.operator().get("/nothing").await.expect(404);
    for path in ["/healthz", "/readyz", "/metrics"] {
        let reply = host.client().get(path).await.expect(404);
        assert_eq!(
            reply.text(),
            "no such path in hello",
            "the route's component answers {path}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn metrics_count_requests_by_component_and_status_with_latency() {
    let host = Launch::of(&Manifest::serving("hello", "")).start().await;
    for _ in 0..3 {
        host.client().get("/").await.expect(200);
    }
    host.client().get("/nothing").await.expect(404);
    let reply = host.operator().get("/metrics").await.expect(200);
    let content_type = reply.header("content-type").unwrap_or_default().to_owned();
    assert!(
        content_type.starts_with("text/plain")
            || content_type.starts_with("application/openmetrics"),
        "{content_type}"
    );
    let metrics = host.metrics().await;
    let of = |status| {
        metrics.sum(
            "wharf_requests_total",
            &[("component", "hello"), ("status", status)],
        )
    };
    assert_eq!([of("2xx"), of("4xx"), of("5xx")], [3.0, 1.0, 0.0]);
    let labels = [("component", "hello")];
    assert_eq!(
        metrics.sum("wharf_request_duration_seconds_count", &labels),
        4.0
    );
    assert!(metrics.sum("wharf_request_duration_seconds_sum", &labels) > 0.0);
    assert!(metrics.has("wharf_request_duration_seconds_bucket", &[("le", "+Inf")]));
    assert!(metrics.has("wharf_instances", &labels));
    assert!(metrics.has("wharf_traps_total", &labels));
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_whose_clients_go_away_are_counted() {
    for guest in ["hello", "hello3"] {
        let host = Launch::of(&Manifest::serving(guest, "")).start().await;
        let client = host.client();
        let waiting = client.get("/slow?ms=20000");
        let abandoned = tokio::time::timeout(Duration::from_millis(300), waiting).await;
        assert!(abandoned.is_err(), "{guest} answers only after 20 s");
        drop(client);
        let labels = [("component", guest)];
        host.metric_becomes("wharf_requests_cancelled_total", &labels, 1.0)
            .await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn logs_are_json_objects_when_asked() {
    let host = Launch::of(&Manifest::serving("hello", "")).start().await;
    host.client()
        .get("/print?text=something-said")
        .await
        .expect(200);
    let entry = host
        .logged("what the guest printed", |entry| {
            entry.to_string().contains("something-said")
        })
        .await;
    assert_eq!(entry["component"], "hello");
    assert!(entry["revision"].is_string(), "{entry}");
    let log = host.log();
    for line in log.lines() {
        let parsed = serde_json::from_str::<serde_json::Value>(line);
        assert!(
            parsed.is_ok_and(|value| value["level"].is_string()),
            "{line}"
        );
    }
}
