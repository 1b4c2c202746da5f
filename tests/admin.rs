//! The operators' side: health, readiness and metrics on an address of its own, and the commands that
//! ask a running host.

use std::path::Path;
use std::process::{Output, Stdio};
use std::time::Duration;

use serde_json::Value;

use crate::harness::{Host, Launch, Manifest, artifacts, guest, scratch};

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

/// Runs a command that asks the host with this state directory.
fn ask(state: &Path, arguments: &[&str]) -> Output {
    artifacts::command()
        .args(arguments)
        .arg("--state-dir")
        .arg(state)
        .stdin(Stdio::null())
        .output()
        .expect("the host was built")
}

/// The same, which must end well; gives what it printed to standard output.
#[track_caller]
fn asked(host: &Host, arguments: &[&str]) -> String {
    let output = ask(host.state().path(), arguments);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{arguments:?}: {errors}");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// The same, as JSON.
#[track_caller]
fn asked_json(host: &Host, arguments: &[&str]) -> Value {
    let text = asked(host, &[arguments, &["--output", "json"]].concat());
    serde_json::from_str(&text).unwrap_or_else(|_| panic!("{arguments:?} is not JSON: {text}"))
}

/// Why a command failed, which it must.
#[track_caller]
fn failure(state: &Path, arguments: &[&str]) -> String {
    let output = ask(state, arguments);
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{arguments:?}: {text}");
    text
}

#[tokio::test(flavor = "multi_thread")]
async fn commands_say_what_to_do_where_no_host_can_be_asked() {
    let nowhere = scratch();
    let none = failure(nowhere.path(), &["ps"]);
    assert!(none.contains("no host has run with"), "{none}");
    assert!(none.contains("wharf up"), "{none}");

    let host = Launch::of(&Manifest::serving("hello", "")).start().await;
    let state = host.state().clone();
    let admin = host.admin.to_string();
    let no_token = failure(nowhere.path(), &["ps", "--admin", &admin]);
    assert!(
        no_token.contains("there is no operators' token"),
        "{no_token}"
    );
    assert!(no_token.contains("--state-dir"), "{no_token}");

    let other = Launch::of(&Manifest::serving("hello", "")).start().await;
    let other_token = failure(other.state().path(), &["ps", "--admin", &admin]);
    assert!(
        other_token.contains("does not accept the token"),
        "{other_token}"
    );
    let public = failure(state.path(), &["ps", "--admin", &host.http.to_string()]);
    assert!(public.contains("not the operators' address"), "{public}");

    host.stop().await;
    let gone = failure(state.path(), &["ps"]);
    assert!(
        gone.contains(&format!("no host answers at {admin}")),
        "{gone}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn an_operator_swaps_rolls_back_and_sees_what_happened() {
    let host = Launch::of(&Manifest::serving("hello", "")).start().await;
    let hello3 = guest("hello3");
    let hello3 = hello3.to_str().unwrap();

    let plan = asked(&host, &["swap", "hello", hello3, "--dry-run"]);
    assert!(plan.contains("component  hello"), "{plan}");
    let wrong = "0".repeat(64);
    let state = host.state().path();
    let refused = failure(state, &["swap", "hello", hello3, "--sha256", &wrong]);
    assert!(refused.contains("--sha256 asks for"), "{refused}");
    let refused = failure(state, &["swap", "hello"]);
    assert!(refused.contains("nothing to swap"), "{refused}");
    let refused = failure(state, &["swap", "nobody", hello3]);
    assert!(refused.contains("no component nobody"), "{refused}");

    let output = ask(
        state,
        &["swap", "hello", hello3, "--config", "WHO=operator"],
    );
    let steps = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{steps}");
    for step in ["upload", "verify", "compile", "switch"] {
        let shown = steps
            .lines()
            .any(|line| line.starts_with(&format!("{step:<8}  ok ")));
        assert!(shown, "no {step} in:\n{steps}");
    }
    let result = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(result.contains("of hello serves"), "{result}");
    let reply = host.client().get("/env?name=WHO").await.expect(200);
    assert_eq!(reply.text(), "operator");

    let revisions = asked_json(&host, &["revisions", "hello"]);
    let revisions = revisions.as_array().unwrap();
    assert_eq!(revisions.len(), 2, "{revisions:?}");
    assert_eq!(revisions[0]["current"], true);
    assert_eq!(revisions[0]["environment"], serde_json::json!(["WHO"]));
    let by = revisions[0]["by"].as_str().unwrap();
    assert!(by.contains('@'), "{by}");
    let ps = asked_json(&host, &["ps"]);
    assert_eq!(ps[0]["revisions"][0]["revision"], revisions[0]["revision"]);
    assert!(asked(&host, &["ps"]).starts_with("COMPONENT  REVISION  ROLE"));

    let rolled_back = asked_json(&host, &["rollback", "hello"]);
    assert_eq!(rolled_back["state"], "completed", "{rolled_back}");
    host.client().get("/env?name=WHO").await.expect(404);
    let history = asked_json(&host, &["rollouts", "hello", "--limit", "2"]);
    assert_eq!(history[0]["cause"], "rollback", "{history}");
    assert_eq!(history[1]["cause"], "swap", "{history}");
    let id = history[0]["id"].to_string();
    let late = failure(host.state().path(), &["rollouts", "--cancel", &id]);
    assert!(late.contains("can no longer be cancelled"), "{late}");
}

#[tokio::test(flavor = "multi_thread")]
async fn apply_makes_a_manifest_true_and_says_what_changes() {
    let host = Launch::of(&Manifest::serving("hello", "")).start().await;
    let more = "[component.hello.environment]\nWHO = \"manifest\"\n";
    let changed = Manifest::serving("hello", more);
    let path = changed.path().to_str().unwrap();

    let plan = asked(&host, &["apply", path, "--dry-run"]);
    assert!(plan.contains("~ hello  changed"), "{plan}");
    host.client().get("/env?name=WHO").await.expect(404);
    let rollouts = asked_json(&host, &["apply", path]);
    assert_eq!(rollouts[0]["state"], "completed", "{rollouts}");
    let reply = host.client().get("/env?name=WHO").await.expect(200);
    assert_eq!(reply.text(), "manifest");
    let again = asked(&host, &["apply", path, "--dry-run"]);
    assert!(again.contains("nothing changes"), "{again}");

    let wrong = Manifest::serving("hello", "colour = \"blue\"\n");
    let path = wrong.path().to_str().unwrap();
    let refused = failure(host.state().path(), &["apply", path]);
    assert!(refused.contains("component.hello.colour"), "{refused}");
    let pinned = Manifest::new(&format!(
        "[component.hello]\nartifact = {{ path = \"{{hello.wasm}}\", sha256 = \"{}\" }}\n\
         [[route]]\npath = \"/...\"\ncomponent = \"hello\"\n",
        "0".repeat(64)
    ));
    let path = pinned.path().to_str().unwrap();
    let refused = failure(host.state().path(), &["apply", path]);
    assert!(refused.contains("the manifest pins"), "{refused}");
}
