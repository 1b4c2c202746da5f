//! The commands on a manifest of Spin's: check, build, apply, swap, ps; and what operators see.

use std::process::{Output, Stdio};

use super::{component, get, launch, manifest, route, serving};
use crate::harness::{Host, Manifest, Operator, Swap, artifacts};

fn wharf(arguments: &[&str]) -> Output {
    let mut command = artifacts::command();
    command.args(arguments).stdin(Stdio::null());
    command.output().expect("the host was built")
}

fn all_text(output: &Output) -> String {
    let stdout = String::from_utf8_lossy(&output.stdout);
    let stderr = String::from_utf8_lossy(&output.stderr);
    format!("{stdout}{stderr}")
}

fn on(host: &Host, arguments: &[&str]) -> String {
    let state = host.state().path().to_str().unwrap();
    let output = wharf(&[arguments, &["--state-dir", state]].concat());
    assert!(output.status.success(), "{}", all_text(&output));
    all_text(&output)
}

fn path(manifest: &Manifest) -> &str {
    manifest.path().to_str().expect("a path in Unicode")
}

#[test]
fn check_says_all_that_is_wrong_and_all_that_is_otherwise() {
    let wrong = manifest(
        "[variables]\nkey = { required = true }\n\
         [[trigger.http]]\nroute = \"/\"\ncomponent = \"wep\"\n\
         [component.web]\nsource = \"x.wasm\"\ncolour = \"red\"\nallowed_outbound_hosts = [\"a.test\"]\n",
    );
    let output = wharf(&["check", path(&wrong)]);
    let text = all_text(&output);
    assert!(!output.status.success(), "{text}");
    for (line, words) in [
        ("key = { required", "is required and has no value"),
        ("component = \"wep\"", "did you mean web?"),
        ("colour = \"red\"", "component.web.colour: unknown key"),
        ("allowed_outbound_hosts", "\"a.test\" has no scheme"),
    ] {
        let place = format!("spin.toml:{}: ", wrong.line_of(line));
        let found = text.lines().any(|told| told.contains(&place)) && text.contains(words);
        assert!(found, "{place}{words}\n{text}");
    }
    let right = serving("hello", "ai_models = [\"llama2-chat\"]");
    let output = wharf(&["check", path(&right)]);
    let text = all_text(&output);
    assert!(output.status.success(), "{text}");
    assert!(
        text.contains("warning: ") && text.contains("no language models"),
        "{text}"
    );
    assert!(text.contains("is valid: 1 components"), "{text}");
}

#[test]
fn variables_are_for_manifests_of_spin_alone() {
    let own = Manifest::serving("hello", "");
    let output = wharf(&["check", path(&own), "--variable", "a=b"]);
    let text = all_text(&output);
    assert!(
        !output.status.success() && text.contains("is not a manifest of Spin's"),
        "{text}"
    );
    let spin = serving("hello", "");
    let output = wharf(&["check", path(&spin), "--variable", "a"]);
    let text = all_text(&output);
    assert!(
        !output.status.success() && text.contains("NAME=VALUE"),
        "{text}"
    );
    let output = wharf(&["check", path(&spin), "--variable", "a=b"]);
    let text = all_text(&output);
    assert!(
        !output.status.success() && text.contains("there is no variable \"a\""),
        "{text}"
    );
}

#[test]
fn build_runs_the_manifests_commands_whatever_its_variables() {
    let manifest = manifest(
        &[
            "[variables]\nkey = { required = true }\n",
            &route("\"/...\"", "web"),
            "[component.web]\nsource = \"out/web.wasm\"\nvariables = { key = \"{{ key }}\" }\n\
         [component.web.build]\ncommand = [\"mkdir -p out\", \"cp input out/web.wasm\"]\n",
        ]
        .concat(),
    );
    std::fs::copy(crate::harness::guest("hello"), manifest.dir().join("input")).unwrap();
    let output = wharf(&["build", path(&manifest)]);
    let text = all_text(&output);
    assert!(output.status.success(), "{text}");
    assert!(manifest.dir().join("out/web.wasm").is_file(), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_spin_application_is_watched_swapped_and_counted_like_any_other() {
    let host = launch(&serving("candidate", "key_value_stores = [\"default\"]"))
        .start()
        .await;
    let client = host.client();
    let operator = Operator::of(&host);
    get(&client, "/work", &[]).await.expect(200);
    operator.swapped("web", Swap::to_revision("two")).await;
    let reply = get(&client, "/work", &[]).await.expect(200);
    assert!(reply.text().contains("two"), "{}", reply.text());
    let table = on(&host, &["ps"]);
    assert!(table.contains("web"), "{table}");
    let samples = host.metrics().await;
    let requests = samples.sum("wharf_requests_total", &[("component", "web")]);
    assert!(requests >= 2.0, "{requests}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_changed_manifest_is_applied_with_what_it_is_given() {
    let text = |route_of: &str, value: &str| {
        manifest(
            &[
                "[variables]\nkey = { required = true }\n",
                &route(route_of, "web"),
                &component(
                    "web",
                    "worker",
                    &format!("variables = {{ key = \"{value} {{{{ key }}}}\" }}"),
                ),
            ]
            .concat(),
        )
    };
    let before = text("\"/config\"", "before");
    let host = launch(&before)
        .argument("--variable")
        .argument("key=1")
        .start()
        .await;
    let client = host.client();
    let reply = get(&client, "/config?key=key", &[]).await.expect(200);
    assert_eq!(reply.text(), "before 1");
    let after = text("\"/...\"", "after");
    on(&host, &["apply", path(&after), "--variable", "key=2"]);
    let reply = get(&client, "/config?key=key", &[]).await.expect(200);
    assert_eq!(reply.text(), "after 2");
    let facts = get(&client, "/x", &[]).await.expect(404).text();
    assert_eq!(facts, "no such path in worker");
}
