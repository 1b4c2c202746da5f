//! Hosts that share Redis sign with the same keys.

use std::time::Duration;

use super::outage::media;
use crate::harness::client::empty;
use crate::harness::{Host, RedisServer, artifacts, eventually};
use crate::media::User;

/// A host that waits has read its configuration and little else.
const WAITS_WITHIN: Duration = Duration::from_secs(60);

async fn status_for(host: &Host, token: &str) -> u16 {
    let client = host.client();
    let request = client
        .request("GET", "/jobs")
        .header("authorization", format!("Bearer {token}"));
    client.send(request.body(empty()).unwrap()).await.status
}

#[tokio::test(flavor = "multi_thread")]
async fn a_login_on_one_host_holds_on_the_others_also_after_a_rotation() {
    let server = RedisServer::start();
    let launches = [media(&server).await, media(&server).await];
    let one = launches[0].clone().start().await;
    let two = launches[1].clone().start().await;
    let user = User::new(&one).await;
    assert_eq!(status_for(&two, &user.token).await, 200);

    let config = one.state().path().join("host.toml");
    let rotated = artifacts::command()
        .args(["secret", "rotate", "auth-signing-keys", "--host-config"])
        .arg(&config)
        .arg("--state-dir")
        .arg(one.state().path())
        .env("WHARF_REDIS_URL", server.url())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&rotated.stdout);
    assert!(said.contains("has 2 keys now"), "{rotated:?}");
    one.stop().await;
    two.stop().await;

    let [one, two] = launches;
    let (one, two) = (one.start().await, two.start().await);
    assert_eq!(status_for(&one, &user.token).await, 200, "the old key");
    let later = User::new(&two).await;
    assert_eq!(status_for(&one, &later.token).await, 200, "the new key");
    let key_id = |token: &str| token.split('.').next().unwrap().to_owned();
    assert_ne!(key_id(&later.token), key_id(&user.token));
    let rings = [&one, &two].map(|host| {
        let file = host.state().path().join("secrets/auth-signing-keys");
        std::fs::read_to_string(file).unwrap()
    });
    assert_eq!(rings[0], rings[1]);
    let key = rings[0].split('"').nth(7).expect("kid, then key");
    assert!(!one.log().contains(key) && !two.log().contains(key));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_that_never_saw_the_keys_waits_for_redis() {
    let mut server = RedisServer::start();
    let launch = media(&server).await;
    server.kill();
    let log = launch.state_path().join("host.log");
    let starting = tokio::spawn(launch.start());
    eventually("it says that it waits", WAITS_WITHIN, async || {
        let log = std::fs::read_to_string(&log).unwrap_or_default();
        log.contains("begins to serve once Redis is there")
            .then_some(())
    })
    .await;
    server.start_again();
    let host = starting.await.unwrap();
    User::new(&host).await;
}
