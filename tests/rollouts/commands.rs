//! The commands that an operator types: what they print, and how they exit.

use std::process::{Output, Stdio};
use std::time::Duration;

use serde_json::Value;

use super::{host, serves};
use crate::harness::operator::assert_success;
use crate::harness::variant::CORE_MODULE;
use crate::harness::{Host, artifacts, guest, scratch, variant};

/// Runs a command against a host, which it finds by its state directory.
pub fn wharf(host: &Host, arguments: &[&str]) -> Output {
    artifacts::command()
        .args(arguments)
        .arg("--state-dir")
        .arg(host.state().path())
        .stdin(Stdio::null())
        .output()
        .expect("the host was built")
}

fn stdout(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[track_caller]
fn assert_exit(output: &Output, code: i32) {
    assert_eq!(output.status.code(), Some(code), "{}", stderr(output));
}

#[tokio::test(flavor = "multi_thread")]
async fn swap_brings_an_artifact_and_shows_each_step() {
    let (host, operator) = host("", "").await;
    let dir = scratch();
    let path = dir.path().join("new.wasm");
    let bytes = variant(&std::fs::read(guest("candidate")).unwrap(), "by command");
    std::fs::write(&path, &bytes).unwrap();
    let path = path.to_str().unwrap();
    let swapped = wharf(
        &host,
        &["swap", "candidate", path, "--config", "REVISION=two"],
    );
    assert_exit(&swapped, 0);
    let shown = stderr(&swapped);
    for step in ["verify", "compile", "prewarm", "migrate", "switch", "drain"] {
        assert!(shown.contains(step), "no {step} in {shown}");
    }
    assert!(shown.contains("ms"), "{shown}");
    assert_eq!(serves(&host.client()).await, "two");
    let digest = operator.living("candidate").await[0]["digest"].clone();
    let digest = digest.as_str().unwrap();

    let back = wharf(&host, &["rollback", "candidate"]);
    assert_exit(&back, 0);
    assert_eq!(serves(&host.client()).await, "one");

    let said = ["swap", "candidate", path, "--sha256", digest];
    assert_exit(&wharf(&host, &said), 0);
    let wrong = "0".repeat(64);
    let refused = wharf(&host, &["swap", "candidate", path, "--sha256", &wrong]);
    assert_exit(&refused, 1);
    assert!(stderr(&refused).contains(&wrong));
}

#[tokio::test(flavor = "multi_thread")]
async fn swap_says_why_it_failed_and_what_still_serves() {
    let (host, operator) = host("", "").await;
    let dir = scratch();
    let path = dir.path().join("core.wasm");
    std::fs::write(&path, CORE_MODULE).unwrap();
    let active = operator.active("candidate").await;
    for arguments in [
        ["swap", "candidate", path.to_str().unwrap()].as_slice(),
        &["swap", "candidate", "--config", "AT_START=trap"],
    ] {
        let refused = wharf(&host, arguments);
        assert_exit(&refused, 1);
        let shown = stderr(&refused);
        assert!(shown.contains(&format!("revision {active}")), "{shown}");
        assert_eq!(serves(&host.client()).await, "one");
    }
    let shown = stderr(&wharf(
        &host,
        &["swap", "candidate", path.to_str().unwrap()],
    ));
    assert!(shown.contains("core module"), "{shown}");
    let nothing = wharf(&host, &["swap", "candidate"]);
    assert!(!nothing.status.success());
}

#[tokio::test(flavor = "multi_thread")]
async fn swap_without_waiting_returns_at_the_switch() {
    let (host, operator) = host("", "").await;
    let client = host.client();
    let slow = tokio::spawn(async move { client.get("/work?ms=6000").await });
    super::at_work(&operator, "candidate").await;
    let began = std::time::Instant::now();
    let arguments = ["swap", "candidate", "--config", "REVISION=two", "--no-wait"];
    assert_exit(&wharf(&host, &arguments), 0);
    assert!(began.elapsed() < Duration::from_secs(5), "it did not drain");
    assert!(!slow.is_finished());
    assert_eq!(serves(&host.client()).await, "two");
    assert_eq!(slow.await.unwrap().expect(200).text(), "one");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dry_run_prints_the_plan() {
    let (host, operator) = host("", "").await;
    let arguments = ["swap", "candidate", "--config", "REVISION=two", "--dry-run"];
    let planned = wharf(&host, &arguments);
    assert_exit(&planned, 0);
    assert!(stdout(&planned).contains("REVISION"));
    assert_eq!(serves(&host.client()).await, "one");
    let history = operator.history("candidate").await;
    assert!(history.iter().all(|each| each["cause"] == "start"));
    let hello = guest("hello");
    let bad = ["swap", "candidate", hello.to_str().unwrap(), "--dry-run"];
    let planned = wharf(&host, &bad);
    assert_exit(&planned, 1);
    let shown = stdout(&planned) + &stderr(&planned);
    assert!(shown.contains("wasmcloud:messaging"), "{shown}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_printed_as_json_is_one_document() {
    let (host, _) = host("", "").await;
    let json = |arguments: &[&str]| -> Value {
        let arguments = [arguments, &["--output", "json"]].concat();
        let output = wharf(&host, &arguments);
        assert_exit(&output, 0);
        serde_json::from_slice(&output.stdout).expect("one JSON document")
    };
    let rollout = json(&["swap", "candidate", "--config", "REVISION=two"]);
    assert_success(&rollout);
    assert_eq!(json(&["ps"])[0]["component"], "candidate");
    let revisions = json(&["revisions", "candidate"]);
    assert_eq!(revisions.as_array().unwrap().len(), 2);
    assert_eq!(json(&["rollouts", "candidate"])[0]["id"], rollout["id"]);
    assert_success(&json(&["rollback", "candidate"]));
    assert_eq!(json(&["rollouts", "--limit", "1"])[0]["cause"], "rollback");
}

#[tokio::test(flavor = "multi_thread")]
async fn ps_shows_a_canary_and_a_command_ends_it() {
    let (host, operator) = host("", "").await;
    let child = artifacts::command()
        .args(["swap", "candidate", "--config", "REVISION=two"])
        .args(["--canary", "10%,50%", "--bake", "10min", "--state-dir"])
        .arg(host.state().path())
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let candidate = operator.in_role("candidate", "candidate").await;
    let shown = stdout(&wharf(&host, &["ps"]));
    assert!(shown.contains("10 %") && shown.contains("90 %"), "{shown}");
    assert!(shown.contains(&candidate.to_string()), "{shown}");
    let id = operator.history("candidate").await[0]["id"].to_string();
    assert_exit(&wharf(&host, &["rollouts", "--cancel", &id]), 0);
    let ended = tokio::task::spawn_blocking(|| child.wait_with_output())
        .await
        .unwrap()
        .unwrap();
    assert_exit(&ended, 1);
    assert!(stderr(&ended).contains("cancelled"), "{}", stderr(&ended));
    let shown = stdout(&wharf(&host, &["rollouts", "candidate"]));
    assert!(shown.contains("cancelled"), "{shown}");
    assert_eq!(serves(&host.client()).await, "one");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_that_is_not_there_or_another_token_is_a_sentence() {
    let (host, _) = host("", "").await;
    let nobody = scratch();
    let elsewhere = artifacts::command()
        .args(["ps", "--admin", &host.admin.to_string(), "--state-dir"])
        .arg(nobody.path())
        .output()
        .unwrap();
    assert_exit(&elsewhere, 1);
    std::fs::write(nobody.path().join("admin-token"), "not the token\n").unwrap();
    let wrong = artifacts::command()
        .args(["ps", "--admin", &host.admin.to_string(), "--state-dir"])
        .arg(nobody.path())
        .output()
        .unwrap();
    assert_exit(&wrong, 1);
    assert!(stderr(&wrong).contains("token"), "{}", stderr(&wrong));
}
