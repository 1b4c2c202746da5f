//! A manifest is made true component by component; what did not change is not touched.

use std::collections::BTreeMap;
use std::process::Output;

use serde_json::{Value, json};

use super::commands::wharf;
use super::{host, serves, text};
use crate::harness::client::empty;
use crate::harness::operator::assert_success;
use crate::harness::{Client, Host, Manifest, Operator, Reply, guest};

/// A second component of the same guest, on the host name `other`.
fn other(more: &str) -> String {
    text("", more)
        .replace("component.candidate", "component.other")
        .replace("component = \"candidate\"", "component = \"other\"")
        .replace("path = \"/...\"", "path = \"/...\"\nhost = \"other\"")
        .replace("subject = \"work\"", "subject = \"other-work\"")
}

/// Asks the API to make `manifest` true, with the guest `candidate` for each of `components`.
async fn ask(
    operator: &Operator,
    manifest: &Manifest,
    components: &[&str],
    dry_run: bool,
) -> Reply {
    let digest = operator
        .upload(std::fs::read(guest("candidate")).unwrap())
        .await;
    let artifacts: BTreeMap<&str, &str> = components
        .iter()
        .map(|component| (*component, digest.as_str()))
        .collect();
    let body = json!({
        "manifest": std::fs::read_to_string(manifest.path()).unwrap(),
        "path": manifest.path(),
        "artifacts": artifacts,
        "by": "a test",
        "dry_run": dry_run,
    });
    operator.post("/v1/application", &body).await
}

/// Applies, and waits until all of its rollouts have switched or ended.
async fn apply(operator: &Operator, manifest: &Manifest, components: &[&str]) -> Value {
    let plan = ask(operator, manifest, components, false).await;
    let plan = plan.expect(202).json();
    for id in plan["rollouts"].as_array().expect("a list") {
        assert_success(&operator.decided(id.as_u64().unwrap()).await);
    }
    plan
}

fn changes(plan: &Value) -> Vec<(String, String)> {
    let text = |value: &Value| value.as_str().expect("a text").to_owned();
    let changes = plan["components"].as_array().expect("a list").iter();
    changes
        .map(|each| (text(&each["component"]), text(&each["change"])))
        .collect()
}

async fn of_other(client: &Client) -> Reply {
    let request = client.request("GET", "/work").header("host", "other");
    client.send(request.body(empty()).unwrap()).await
}

fn change(component: &str, change: &str) -> (String, String) {
    (component.to_owned(), change.to_owned())
}

#[tokio::test(flavor = "multi_thread")]
async fn only_what_changed_is_rolled_out() {
    let (host, operator) = host("", &other("")).await;
    let untouched = operator.active("candidate").await;
    let changed = text("", &other("REVISION_NOTE = \"new\""));
    let plan = apply(&operator, &Manifest::new(&changed), &["candidate", "other"]).await;
    assert_eq!(changes(&plan), [change("other", "changed")]);
    let details = plan["components"][0]["details"].to_string();
    assert!(details.contains("REVISION_NOTE"), "{details}");
    assert_eq!(plan["rollouts"].as_array().unwrap().len(), 1);
    assert_eq!(operator.active("candidate").await, untouched);
    assert_eq!(operator.history("other").await[0]["cause"], "apply");
    assert_eq!(of_other(&host.client()).await.expect(200).text(), "one");

    // A second time there is nothing to do.
    let plan = ask(
        &operator,
        &Manifest::new(&changed),
        &["candidate", "other"],
        false,
    )
    .await
    .json();
    assert_eq!(changes(&plan), []);
    assert_eq!(plan["rollouts"], json!([]));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dry_run_says_what_would_be_and_changes_nothing() {
    let (host, operator) = host("", "").await;
    let both = Manifest::new(&text("", &other("")));
    let reply = ask(&operator, &both, &["candidate", "other"], true).await;
    let plan = reply.expect(200).json();
    assert_eq!(changes(&plan), [change("other", "added")]);
    assert_eq!(plan["rollouts"], json!([]));
    let listed = |key: &str, word: &str| {
        let lines = plan[key].as_array().expect("a list");
        let has = |line: &Value| {
            let line = line.as_str().expect("a text");
            line.starts_with('+') && line.contains(word)
        };
        assert!(lines.iter().any(has), "{key}: {plan:#}");
    };
    listed("routes", "other");
    listed("subscriptions", "other-work");
    assert_eq!(of_other(&host.client()).await.text(), "one", "by candidate");
    let components = operator.get("/v1/components").await.json();
    assert_eq!(components.as_array().unwrap().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn components_routes_and_subscriptions_are_added_and_removed() {
    let (host, operator) = host("", "").await;
    let client = host.client();
    let named = other("").replace("REVISION = \"one\"", "REVISION = \"other\"");
    let both = Manifest::new(&text("", &named));
    let plan = apply(&operator, &both, &["candidate", "other"]).await;
    assert_eq!(changes(&plan), [change("other", "added")]);
    assert_eq!(of_other(&client).await.expect(200).text(), "other");
    assert_eq!(serves(&client).await, "one");

    // A path less, and a subject that nobody handles any more.
    let narrow = text("", "").replace("\"/...\"", "\"/work\"");
    let plan = apply(&operator, &Manifest::new(&narrow), &["candidate"]).await;
    assert_eq!(changes(&plan), [change("other", "removed")]);
    assert_eq!(serves(&client).await, "one");
    client.get("/effect?id=1").await.expect(404);
    assert_eq!(of_other(&client).await.expect(200).text(), "one");
    crate::harness::eventually(
        "the removed component is gone",
        std::time::Duration::from_secs(20),
        async || {
            let components = operator.get("/v1/components").await.json();
            (components.as_array().unwrap().len() == 1).then_some(())
        },
    )
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_subscription_that_is_added_is_served_at_once() {
    let nobody = text("", "").replace(
        "[[subscription]]\nsubject = \"work\"\ncomponent = \"candidate\"\ndeliveries = 1\n",
        "",
    );
    let host = crate::harness::Launch::of(&Manifest::new(&nobody))
        .start()
        .await;
    let operator = Operator::of(&host);
    let plan = apply(&operator, &Manifest::new(&text("", "")), &["candidate"]).await;
    assert_eq!(changes(&plan), [], "no component changes");
    let client = host.client();
    client.get("/publish?id=1").await.expect(202);
    host.metric_becomes("wharf_deliveries_total", &[("subject", "work")], 1.0)
        .await;
    assert_eq!(
        client.get("/counts?of=delivery&from=1&to=2").await.status,
        200
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_manifest_that_makes_no_sense_changes_nothing() {
    let (host, operator) = host("", "").await;
    let active = operator.active("candidate").await;
    let changed = text("", "ADDED = \"x\"");
    for wrong in [
        format!("{changed}\n[[route]]\npath = \"/more\"\ncomponent = \"nobody\"\n"),
        format!("{changed}\n[component.candidate.limits]\nmemory = \"a lot\"\n"),
    ] {
        let reply = ask(&operator, &Manifest::new(&wrong), &["candidate"], false).await;
        let refused = reply.status >= 400
            || reply.json()["problems"] != json!([]) && reply.json()["rollouts"] == json!([]);
        assert!(refused, "{} {}\n{wrong}", reply.status, reply.text());
        assert_eq!(operator.active("candidate").await, active);
        assert_eq!(serves(&host.client()).await, "one");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_candidate_that_is_refused_leaves_its_component_as_it_was() {
    let (host, operator) = host("", "").await;
    let bad = Manifest::new(&text("", "AT_START = \"trap\""));
    let plan = ask(&operator, &bad, &["candidate"], false).await;
    let plan = plan.expect(202).json();
    let id = plan["rollouts"][0].as_u64().expect("one rollout");
    assert_eq!(operator.decided(id).await["state"], "refused");
    assert_eq!(serves(&host.client()).await, "one");
}

fn wharf_apply(host: &Host, manifest: &Manifest, more: &[&str]) -> Output {
    let path = manifest.path().to_str().expect("it is text");
    let arguments = [&["apply", path, "--no-build"], more].concat();
    wharf(host, &arguments)
}

#[tokio::test(flavor = "multi_thread")]
async fn the_command_does_it_all() {
    let (host, operator) = host("", "").await;
    let changed = Manifest::new(&text("", "ADDED = \"x\"").replace("\"one\"", "\"two\""));
    let dry = wharf_apply(&host, &changed, &["--dry-run"]);
    assert!(dry.status.success(), "{dry:?}");
    let shown = String::from_utf8_lossy(&dry.stdout);
    assert!(shown.contains("candidate"), "{shown}");
    assert_eq!(serves(&host.client()).await, "one");
    let real = wharf_apply(&host, &changed, &[]);
    assert!(real.status.success(), "{real:?}");
    assert_eq!(serves(&host.client()).await, "two");

    let bad = Manifest::new(&text("", "AT_START = \"trap\""));
    let refused = wharf_apply(&host, &bad, &[]);
    assert_eq!(refused.status.code(), Some(1), "{refused:?}");
    assert_eq!(serves(&host.client()).await, "two");
    assert_eq!(operator.history("candidate").await[0]["state"], "refused");
}
