//! Typed calls between components through their own WIT.

use crate::harness::{Host, Launch, Manifest};

async fn host(more: &str) -> Host {
    let manifest = Manifest::new(&format!(
        r#"
[component.caller]
artifact = "{{caller.wasm}}"
[component.caller.limits]
deadline = "5s"

[component.callee]
artifact = "{{callee.wasm}}"
{more}

[[route]]
path = "/..."
component = "caller"
"#
    ));
    Launch::of(&manifest).start().await
}

#[tokio::test(flavor = "multi_thread")]
async fn values_of_every_kind_cross_unharmed() {
    let host = host("").await;
    let client = host.client();
    assert_eq!(client.get("/add?a=40&b=2").await.expect(200).text(), "42");
    assert_eq!(
        client.get("/add?a=4294967295&b=1").await.expect(200).text(),
        "0"
    );
    assert_eq!(
        client.get("/divide?a=84&b=2").await.expect(200).text(),
        "42"
    );
    let refused = client.get("/divide?a=1&b=0").await.expect(422);
    assert_eq!(refused.text(), "1 cannot be divided by 0");
    let text = client.get("/shapes").await.expect(200).text();
    for expected in [
        "nothing",
        "Point { x: 2.0, y: 4.0 }, 1.0",
        "Point { x: 6.0, y: 8.0 }",
        "naïve ☕",
        "Text(\"unchanged\")",
        "Green",
        "None",
    ] {
        assert!(text.contains(expected), "no {expected} in {text}");
    }
    let refusals = client.get("/refusals").await.expect(200).text();
    assert!(refusals.contains("TooMany(101)"), "{refusals}");
    assert!(refusals.contains("Unnamed"), "{refusals}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_callee_that_traps_or_hangs_fails_the_call_and_nothing_else() {
    let host = host("[component.callee.limits]\ndeadline = \"500ms\"").await;
    let client = host.client();
    client.get("/trap").await.expect(502);
    host.metric_becomes("wharf_traps_total", &[("component", "callee")], 1.0)
        .await;
    let status = client.get("/spin").await.status;
    assert!(matches!(status, 502 | 504), "{status}");
    assert_eq!(client.get("/add?a=1&b=2").await.expect(200).text(), "3");
    host.metric_becomes("wharf_instances", &[("component", "callee")], 0.0)
        .await;
    host.metric_becomes("wharf_instances", &[("component", "caller")], 0.0)
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn many_calls_at_once_each_get_their_own_answer() {
    let host = host("").await;
    let client = host.client();
    let all = (0..200).map(|index| {
        let client = client.clone();
        async move {
            let text = client
                .get(&format!("/add?a={index}&b=1000"))
                .await
                .expect(200)
                .text();
            assert_eq!(text, (index + 1000).to_string());
        }
    });
    futures::future::join_all(all).await;
}

/// What a host says that does not start with `more` beside the caller.
async fn refusal(more: &str) -> String {
    let manifest = Manifest::new(&format!(
        "[component.caller]\nartifact = \"{{caller.wasm}}\"\n{more}\n\
         [[route]]\npath = \"/...\"\ncomponent = \"caller\"\n"
    ));
    let started = Launch::of(&manifest).try_start().await;
    started.err().expect("it must not start")
}

#[tokio::test(flavor = "multi_thread")]
async fn an_interface_that_two_components_export_is_refused_with_both_names() {
    let failure = refusal(
        "[component.callee]\nartifact = \"{callee.wasm}\"\n\
         [component.double]\nartifact = \"{callee.wasm}\"",
    )
    .await;
    assert!(
        failure.contains("wharf:fixtures/arithmetic@0.1.0: both callee and double export it"),
        "{failure}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn an_export_of_other_types_is_refused_with_the_function_that_differs() {
    let failure = refusal("[component.callee]\nartifact = \"{reshaped.wasm}\"").await;
    assert!(
        failure.contains(
            "wharf:fixtures/shapes@0.1.0: component callee exports it with other types: scale differs"
        ),
        "{failure}"
    );
    assert!(
        !failure.contains("arithmetic"),
        "what fits is no part of it: {failure}"
    );
}
