//! Routes, what guests are told of them, and what the host answers itself.

use super::{component, get, header, launch, manifest, route};
use crate::harness::Host;

/// Both versions of `wasi:http`, each on its routes.
async fn host() -> Host {
    let routes = [
        route("\"/two/...\"", "two"),
        route("\"/three/:item/...\"", "three"),
        route("\"/exact\"", "two"),
        route("{ private = true }", "inner"),
        route("\"/.well-known/spin/mine\"", "two"),
    ]
    .concat();
    let fixed = "[[trigger.http]]\nroute = \"/gone\"\nstatic_response = { status_code = 302, \
                 headers = { location = \"/elsewhere\", x-one = \"1\" }, body = \"moved\" }\n\
                 [[trigger.http]]\nroute = \"/short\"\nstatic_response = { body = \"short\" }\n";
    let components = [
        component("two", "hello", ""),
        component("three", "hello3", ""),
        component("inner", "hello", ""),
    ]
    .concat();
    launch(&manifest(&format!("{routes}{fixed}{components}")))
        .start()
        .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_guest_is_told_which_route_its_request_took() {
    let forged = [
        ("spin-client-addr", "forged"),
        ("spin-path-match-any", "forged"),
        ("spin-path-match-x", "forged"),
    ];
    // Guests of both versions, a route with a parameter and one with a wildcard.
    for (guest, raw, component, parameter) in [
        ("hello", "/:Any", "/:Any", Some("headers")),
        ("hello3", "/headers/...", "/headers", None),
    ] {
        let routes = route(&format!("{raw:?}"), "web");
        let text = format!("{routes}{}", super::component("web", guest, ""));
        let host = launch(&manifest(&text)).start().await;
        let reply = get(&host.client(), "/headers?q=%20a", &forged).await;
        let facts = reply.expect(200).json();
        assert_eq!(header(&facts, "spin-matched-route"), [raw]);
        assert_eq!(header(&facts, "spin-raw-component-route"), [raw]);
        assert_eq!(header(&facts, "spin-component-route"), [component]);
        assert_eq!(header(&facts, "spin-base-path"), ["/"]);
        assert_eq!(header(&facts, "spin-path-info"), [""]);
        let full = format!("http://{}/headers?q=%20a", host.http);
        assert_eq!(header(&facts, "spin-full-url"), [full]);
        let address = header(&facts, "spin-client-addr");
        assert!(address[0].starts_with("127.0.0.1:"), "{address:?}");
        let parameters: Vec<&str> = parameter.into_iter().collect();
        assert_eq!(header(&facts, "spin-path-match-any"), parameters);
        assert!(header(&facts, "spin-path-match-x").is_empty());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn routes_match_as_spins_do() {
    let host = host().await;
    let client = host.client();
    // The guests answer 404 in words of their own, so that it is seen who was asked.
    for (path, answer) in [
        ("/two", "no such path in hello"),
        ("/two/", "no such path in hello"),
        ("/two/x/y", "no such path in hello"),
        ("/three/1", "no such path in hello3"),
        ("/three/1/x", "no such path in hello3"),
        ("/exact", "no such path in hello"),
        ("/exact/", "no such path in hello"),
        ("/three", "no route matches /three"),
        ("/exact/x", "no route matches /exact/x"),
        ("/inner", "no route matches /inner"),
    ] {
        let reply = get(&client, path, &[("accept", "text/plain")])
            .await
            .expect(404);
        assert_eq!(reply.text().trim_end(), answer, "{path}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_host_answers_what_the_manifest_writes_and_what_spin_answers() {
    let host = host().await;
    let client = host.client();
    let gone = get(&client, "/gone", &[]).await.expect(302);
    assert_eq!(gone.header("location"), Some("/elsewhere"));
    assert_eq!(gone.header("x-one"), Some("1"));
    assert_eq!(gone.text(), "moved");
    assert_eq!(
        get(&client, "/short", &[]).await.expect(200).text(),
        "short"
    );
    let health = get(&client, "/.well-known/spin/health", &[]).await;
    assert_eq!(health.expect(200).text(), "OK");
    let info = get(&client, "/.well-known/spin/info", &[])
        .await
        .expect(200);
    assert_eq!(info.json()["name"], "tested");
    assert_eq!(info.json()["version"], "1.2.3");
    get(&client, "/.well-known/spin/mine", &[])
        .await
        .expect(404);
    host.logged("the route that is never used", |entry| {
        entry
            .to_string()
            .contains("the host itself answers all below")
    })
    .await;
}
