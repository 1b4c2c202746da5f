//! Environment, `wasi:config` and secrets come from the manifest and the host, and secrets stay out
//! of logs, listings and other components.

use crate::harness::{Host, Launch, Manifest};

const CONFIGURED: &str = r#"
[component.worker]
artifact = "{worker.wasm}"
[component.worker.grants]
keyvalue = ["default"]
blobstore = ["files"]
publish = ["work"]
[component.worker.environment]
GREETING = "from the manifest"
[component.worker.secrets]
SIGNING = { name = "signing", generate = "hmac-sha256" }

[component.hello]
artifact = "{hello.wasm}"
[component.hello.environment]
GREETING = "another"
[component.hello.secrets]
SIGNING = { name = "signing", generate = "hmac-sha256" }

[[route]]
path = "/..."
component = "worker"
[[route]]
path = "/env"
component = "hello"
[[route]]
path = "/print"
component = "hello"
"#;

async fn host() -> Host {
    Launch::of(&Manifest::new(CONFIGURED))
        .environment("WHARF_LOG", "debug")
        .start()
        .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_component_reads_its_own_values_through_both_interfaces() {
    let host = host().await;
    let client = host.client();
    assert_eq!(
        client.get("/config?key=GREETING").await.expect(200).text(),
        "from the manifest"
    );
    assert_eq!(
        client.get("/env?name=GREETING").await.expect(200).text(),
        "another"
    );
    client.get("/config?key=PATH").await.expect(404);
    client.get("/env?name=PATH").await.expect(404);
    let all = client.get("/config").await.expect(200).text();
    assert!(all.contains("GREETING"), "{all}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_generated_secret_is_strong_kept_and_private() {
    let host = host().await;
    let secret = host
        .client()
        .get("/env?name=SIGNING")
        .await
        .expect(200)
        .text();
    let (kid, key) = secret.split_once(':').expect("kid:key");
    assert!(!kid.is_empty());
    assert_eq!(key.len(), 43, "32 bytes in base64url without padding");
    let state = host.state().clone();
    let file = state.path().join("secrets/signing");
    let kept = std::fs::read_to_string(&file).unwrap();
    assert!(
        kept.contains(kid) && kept.contains(key),
        "the state directory keeps it"
    );
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        let mode = std::fs::metadata(&file).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode, 0o600, "{mode:o}");
    }
    host.stop().await;
    let again = Launch::of(&Manifest::new(CONFIGURED))
        .state(&state)
        .start()
        .await;
    let kept = again
        .client()
        .get("/env?name=SIGNING")
        .await
        .expect(200)
        .text();
    assert_eq!(kept, secret, "a restart keeps it");
    let other = self::host().await;
    let another = other
        .client()
        .get("/env?name=SIGNING")
        .await
        .expect(200)
        .text();
    assert_ne!(another, secret, "another host makes its own");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_secret_appears_in_no_log_and_no_metric() {
    let host = host().await;
    let secret = host
        .client()
        .get("/env?name=SIGNING")
        .await
        .expect(200)
        .text();
    host.client().get("/print?text=marker").await.expect(200);
    host.logged("the marker", |entry| entry.to_string().contains("marker"))
        .await;
    let key = secret.split_once(':').expect("kid:key").1;
    assert!(!host.log().contains(key), "the host logged a secret");
    let metrics = host.operator().get("/metrics").await.text();
    assert!(!metrics.contains(key));
}

#[tokio::test(flavor = "multi_thread")]
async fn headers_and_bodies_of_requests_are_never_logged() {
    let host = host().await;
    let client = host.client();
    let request = client
        .request("POST", "/kv/set?store=default&key=a")
        .header("authorization", "Bearer a-token-that-nobody-may-read")
        .header("cookie", "session=a-cookie-that-nobody-may-read");
    let body = crate::harness::client::full("a body that nobody may read");
    client.send(request.body(body).unwrap()).await.expect(200);
    client.get("/print?text=marker").await.expect(200);
    host.logged("the marker", |entry| entry.to_string().contains("marker"))
        .await;
    assert!(
        !host.log().contains("nobody-may-read"),
        "a header was logged"
    );
    assert!(!host.log().contains("nobody may read"), "a body was logged");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_guests_log_carries_component_level_and_context() {
    let host = host().await;
    host.client()
        .get("/log?text=said-through-wasi-logging")
        .await
        .expect(200);
    let entry = host
        .logged("what the guest logged", |entry| {
            entry.to_string().contains("said-through-wasi-logging")
        })
        .await;
    assert_eq!(entry["component"], "worker", "{entry}");
    assert_eq!(entry["level"], "WARN", "{entry}");
    assert!(entry["revision"].is_string(), "{entry}");
}
