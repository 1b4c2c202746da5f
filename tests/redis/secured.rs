//! A server that takes TLS alone, from a user who may do no more than the README says.

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use crate::harness::client::full;
use crate::harness::{Launch, Manifest, RedisServer, eventually, scratch};

const WORKER: &str = r#"
[component.worker]
artifact = "{worker.wasm}"
[component.worker.grants]
keyvalue = ["default"]
blobstore = ["files"]
publish = ["work"]
[component.worker.secrets]
SIGNING = { name = "signing", generate = "hmac-sha256" }

[[route]]
path = "/..."
component = "worker"

[[subscription]]
subject = "work"
component = "worker"
"#;

/// A message takes milliseconds, on a machine that may be doing other things.
const HANDLED_WITHIN: Duration = Duration::from_secs(30);

/// As the README says it.
const RULES: &str = "~wharf:* &wharf:bell -@all +@hash +@set +@sortedset +@stream +get +set +del \
     +evalsha +script|load +multi +exec +ping +time +subscribe +publish";

/// A certificate for `localhost` that signs itself, and its key.
fn certificate(dir: &Path) {
    let made = Command::new("openssl")
        .args(["req", "-x509", "-newkey", "ec", "-pkeyopt"])
        .args(["ec_paramgen_curve:prime256v1", "-nodes", "-days", "2"])
        .args(["-subj", "/CN=localhost"])
        .args(["-addext", "subjectAltName=DNS:localhost"])
        .args(["-addext", "basicConstraints=critical,CA:FALSE"])
        .args(["-keyout", "key.pem", "-out", "cert.pem"])
        .current_dir(dir)
        .output()
        .expect("openssl is installed");
    assert!(made.status.success(), "{made:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn tls_a_limited_user_and_a_password_from_a_secret_are_enough() {
    let dir = scratch();
    certificate(dir.path());
    let port = RedisServer::free_port();
    let file = |name: &str| dir.path().join(name).display().to_string();
    let options = format!(
        "--save  --tls-port {port} --tls-auth-clients no --tls-cert-file {} --tls-key-file {}",
        file("cert.pem"),
        file("key.pem"),
    );
    let server = RedisServer::with(&options.split(' ').collect::<Vec<_>>());
    let user = format!("ACL SETUSER wharf on >a-password {RULES}");
    server.ask(&user, |answer| answer.starts_with("+OK"));
    server.ask("ACL SETUSER default off", |answer| {
        answer.starts_with("+OK")
    });

    let state = scratch();
    let secrets = state.path().join("secrets");
    std::fs::create_dir_all(&secrets).unwrap();
    let password = secrets.join("redis-password");
    std::fs::write(&password, "a-password\n").unwrap();
    std::fs::set_permissions(&password, std::fs::Permissions::from_mode(0o600)).unwrap();
    let config = format!(
        "[redis]\nurl = \"rediss://localhost:{port}\"\nusername = \"wharf\"\n\
         password_secret = \"redis-password\"\n"
    );
    let launch = Launch::of(&Manifest::new(WORKER))
        .state(&state)
        .host_config(&config);

    let host = launch
        .environment("SSL_CERT_FILE", &file("cert.pem"))
        .start()
        .await;
    let client = host.client();
    let post = async |path: &str, body: &str| {
        let request = client.request("POST", path);
        client
            .send(request.body(full(body.to_owned())).unwrap())
            .await
    };
    post("/kv/set?store=default&key=a", "1").await.expect(200);
    let read = post("/kv/get?store=default&key=a", "").await.expect(200);
    assert_eq!(read.text(), "1");
    post("/publish?subject=work", "record k").await.expect(202);
    eventually("the message is handled", HANDLED_WITHIN, async || {
        let count = post("/kv/get?store=default&key=done/k", "").await;
        (count.text() == "1").then_some(())
    })
    .await;
    assert!(!host.log().contains("a-password"));
    assert_eq!(host.metrics().await.sum("wharf_redis_up", &[]), 1.0);
}
