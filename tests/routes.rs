//! Routes: exact before parameter before wildcard, restricted by method and host.

use crate::harness::client::{Client, empty};
use crate::harness::{Launch, Manifest};

/// Two guests with the same bytes that say who they are.
fn named(names: &[&str]) -> String {
    let table = |name: &&str| {
        format!(
            "[component.{name}]\nartifact = \"{{hello.wasm}}\"\n\
             [component.{name}.environment]\nNAME = \"{name}\"\n"
        )
    };
    names.iter().map(table).collect()
}

fn route(path: &str, component: &str, more: &str) -> String {
    format!("[[route]]\npath = \"{path}\"\ncomponent = \"{component}\"\n{more}\n")
}

async fn who(client: &Client, method: &str, path: &str, host: Option<&str>) -> String {
    let mut request = client.request(method, path);
    if let Some(host) = host {
        request = request.header("host", host);
    }
    let reply = client.send(request.body(empty()).unwrap()).await;
    match reply.status {
        200 => reply.text(),
        status => status.to_string(),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_most_specific_route_wins_whatever_their_order() {
    let manifest = Manifest::new(&format!(
        "{}{}{}{}",
        named(&["rest", "one", "exact"]),
        route("/...", "rest", ""),
        route("/:any", "one", ""),
        route("/env", "exact", ""),
    ));
    let host = Launch::of(&manifest).start().await;
    let client = host.client();
    assert_eq!(who(&client, "GET", "/env?name=NAME", None).await, "exact");
    // `hello` knows no such path: what tells the components apart is the log, so ask by status.
    let reply = client.get("/other").await;
    assert_eq!(reply.status, 404);
    let metrics = host.metrics().await;
    let answered = |component| metrics.sum("wharf_requests_total", &[("component", component)]);
    assert_eq!(
        [answered("exact"), answered("one"), answered("rest")],
        [1.0, 1.0, 0.0]
    );
    client.get("/two/segments").await.expect(404);
    client.get("/").await.expect(200);
    let metrics = host.metrics().await;
    let rest = metrics.sum("wharf_requests_total", &[("component", "rest")]);
    assert_eq!(
        rest, 2.0,
        "the wildcard takes what is deeper, and the bare prefix"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_method_and_a_host_narrow_a_route() {
    let manifest = Manifest::new(&format!(
        "{}{}{}{}",
        named(&["get", "post", "tenant"]),
        route("/env", "get", "methods = [\"GET\"]"),
        route("/env", "post", "methods = [\"POST\"]"),
        route("/env", "tenant", "host = \"tenant.example.com\""),
    ));
    let host = Launch::of(&manifest).start().await;
    let client = host.client();
    assert_eq!(who(&client, "GET", "/env?name=NAME", None).await, "get");
    assert_eq!(who(&client, "POST", "/env?name=NAME", None).await, "post");
    let tenant = Some("Tenant.Example.com:8080");
    assert_eq!(
        who(&client, "GET", "/env?name=NAME", tenant).await,
        "tenant"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn what_no_route_matches_is_404_and_a_wrong_method_405() {
    let manifest = Manifest::new(&format!(
        "{}{}",
        named(&["only"]),
        route("/env", "only", "methods = [\"GET\", \"PUT\"]"),
    ));
    let host = Launch::of(&manifest).start().await;
    let client = host.client();
    client.get("/nowhere").await.expect(404);
    client.get("/env/deeper").await.expect(404);
    let reply = client.delete("/env").await.expect(405);
    let allow = reply
        .header("allow")
        .expect("405 names the methods (RFC 9110, 15.5.6)");
    assert!(allow.contains("GET") && allow.contains("PUT"), "{allow}");
}

#[tokio::test(flavor = "multi_thread")]
async fn two_routes_that_match_the_same_requests_are_refused() {
    let manifest = Manifest::new(&format!(
        "{}{}{}",
        named(&["a", "b"]),
        route("/same/:x", "a", ""),
        route("/same/:y", "b", ""),
    ));
    let failure = Launch::of(&manifest)
        .try_start()
        .await
        .err()
        .expect("it must not start");
    assert!(failure.contains("route[1]"), "{failure}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_host_answers_by_itself_is_json_and_words_for_a_browser() {
    let manifest = Manifest::new(
        "[component.hello]\nartifact = \"{hello.wasm}\"\n\
         [[route]]\npath = \"/only\"\ncomponent = \"hello\"\n",
    );
    let host = Launch::of(&manifest).start().await;
    let client = host.client();
    let reply = client.get("/nothing").await.expect(404);
    assert_eq!(reply.header("content-type"), Some("application/json"));
    assert_eq!(reply.json()["error"], "no route matches /nothing");
    let request = client
        .request("GET", "/nothing")
        .header("accept", "text/html,*/*;q=0.8");
    let reply = client
        .send(request.body(empty()).unwrap())
        .await
        .expect(404);
    assert_eq!(reply.text(), "no route matches /nothing\n");
}
