//! Where components may ask: other components, the application itself, the world.

use serde_json::Value;

use super::{component, get, header, launch, manifest, route};
use crate::harness::client::Client;
use crate::harness::upstream::Upstream;
use crate::harness::{Host, Reply};

/// `worker` on `/outbound`, which asks as it is told, with what it may ask; and components behind it.
async fn host(allowed: &str) -> Host {
    host_with(allowed, "", &[]).await
}

async fn host_with(allowed: &str, more: &str, arguments: &[&str]) -> Host {
    let text = [
        route("\"/outbound\"", "asker"),
        route("\"/public/...\"", "public"),
        route("\"/headers\"", "public"),
        route("{ private = true }", "inner"),
        "[[trigger.http]]\nroute = \"/fixed\"\nstatic_response = { body = \"fixed\" }\n".to_owned(),
        component(
            "asker",
            "worker",
            &format!("allowed_outbound_hosts = [{allowed}]"),
        ),
        component("public", "hello", ""),
        component("inner", "hello3", ""),
    ]
    .concat();
    let mut launch = launch(&manifest(&format!("{more}{text}")));
    for argument in arguments {
        launch = launch.argument(argument);
    }
    launch.start().await
}

/// Has `worker` ask `authority` for `path`.
async fn ask(client: &Client, authority: &str, path: &str) -> Reply {
    let target = format!("/outbound?authority={authority}&path={path}");
    get(client, &target, &[("spin-client-addr", "forged")]).await
}

/// The headers that the guest was sent which `worker` asked.
fn told(reply: Reply) -> Value {
    let text = reply.expect(200).text();
    let json = text
        .strip_prefix("200 ")
        .unwrap_or_else(|| panic!("{text}"));
    serde_json::from_str(json).unwrap_or_else(|_| panic!("{text}"))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_private_component_is_reached_by_its_name_alone() {
    let host = host("\"http://inner.spin.internal\"").await;
    let client = host.client();
    let facts = told(ask(&client, "inner.spin.internal", "/headers").await);
    assert_eq!(header(&facts, "spin-path-info"), ["/headers"]);
    assert_eq!(header(&facts, "spin-matched-route"), ["/..."]);
    assert_eq!(header(&facts, "spin-raw-component-route"), ["/..."]);
    assert_eq!(header(&facts, "spin-component-route"), [""]);
    assert_eq!(header(&facts, "spin-client-addr"), ["0.0.0.0:0"]);
    assert_eq!(
        header(&facts, "spin-full-url"),
        ["http://inner.spin.internal/headers"]
    );
    let denied = ask(&client, "public.spin.internal", "/").await.expect(502);
    assert!(
        denied.text().contains("HttpRequestDenied"),
        "{}",
        denied.text()
    );
    host.logged("the denial and its remedy", |entry| {
        let text = entry.to_string();
        text.contains("http://public.spin.internal") && text.contains("allowed_outbound_hosts")
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_component_is_reached_where_all_of_them_are_allowed() {
    let host = host("\"http://*.spin.internal\"").await;
    let client = host.client();
    for component in ["inner", "public"] {
        let reply = ask(&client, &format!("{component}.spin.internal"), "/").await;
        assert_eq!(reply.expect(200).text(), "200 hello");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_application_asks_itself_by_its_public_routes() {
    let host = host("\"http://self\"").await;
    let client = host.client();
    let facts = told(ask(&client, "self.alt", "/headers").await);
    assert_eq!(header(&facts, "spin-matched-route"), ["/headers"]);
    let fixed = ask(&client, "self.alt", "/fixed").await;
    assert_eq!(fixed.expect(200).text(), "200 fixed");
    let nowhere = ask(&client, "self.alt", "/nowhere").await;
    assert!(nowhere.expect(200).text().starts_with("404 "));
    let inner = ask(&client, "inner.spin.internal", "/").await.expect(502);
    assert!(
        inner.text().contains("HttpRequestDenied"),
        "{}",
        inner.text()
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn the_application_does_not_ask_itself_unless_it_may() {
    let host = host("\"http://inner.spin.internal\"").await;
    let denied = ask(&host.client(), "self.alt", "/fixed").await.expect(502);
    assert!(
        denied.text().contains("HttpRequestDenied"),
        "{}",
        denied.text()
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn the_world_is_reached_as_far_as_patterns_and_variables_allow() {
    let allowed = Upstream::start().await;
    let other = Upstream::start().await;
    let variables = "[variables]\nport = { required = true }\n";
    let port = format!("port={}", allowed.address.port());
    let host = host_with(
        "\"http://127.0.0.0/8:{{ port }}\"",
        variables,
        &["--variable", &port],
    )
    .await;
    let client = host.client();
    let reply = ask(&client, &allowed.address.to_string(), "/there").await;
    assert_eq!(reply.expect(200).text(), "200 upstream");
    ask(&client, &other.address.to_string(), "/there")
        .await
        .expect(502);
    assert!(other.arrivals().is_empty());
}
