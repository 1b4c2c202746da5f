//! Redis goes away and comes back, and nobody restarts anything.

use std::time::Duration;

use crate::harness::{Host, Launch, RedisServer, artifacts, eventually, scratch};
use crate::media::{App, User, log_in};

/// The host configuration that the repository ships.
pub fn shipped() -> String {
    let path = artifacts::root().join("runtime-config/redis.toml");
    std::fs::read_to_string(path).expect("it is in the workspace")
}

/// Pauses between attempts to connect are a second at most; hashing takes its time.
const BACK_WITHIN: Duration = Duration::from_secs(30);

pub async fn media(server: &RedisServer) -> Launch {
    Launch::at(&artifacts::application())
        .state(&App::compiled().await)
        .host_config(&shipped())
        .environment("WHARF_REDIS_URL", &server.url())
}

async fn redis_up(host: &Host) -> f64 {
    host.metrics().await.sum("wharf_redis_up", &[])
}

#[tokio::test(flavor = "multi_thread")]
async fn while_redis_is_away_what_needs_it_is_503_and_the_rest_goes_on() {
    let mut server = RedisServer::durable();
    let host = media(&server).await.start().await;
    let user = User::new(&host).await;
    assert_eq!(redis_up(&host).await, 1.0);

    server.kill();
    for _ in 0..3 {
        let refused = log_in(&user.client, &user.email, &user.password).await;
        let refused = refused.expect(503);
        assert_eq!(refused.header("retry-after"), Some("5"));
        let refused = user.get("/jobs").await.expect(503);
        assert_eq!(refused.header("retry-after"), Some("5"));
        let refused = user.try_upload("a.mp4", b"whatever").await.expect(503);
        assert_eq!(refused.header("retry-after"), Some("5"));
        user.client.get("/").await.expect(200);
    }
    assert_eq!(redis_up(&host).await, 0.0);

    server.start_again();
    eventually("somebody can log in again", BACK_WITHIN, async || {
        let reply = log_in(&user.client, &user.email, &user.password).await;
        (reply.status == 200).then_some(())
    })
    .await;
    assert_eq!(user.jobs().await.len(), 0);
    assert_eq!(redis_up(&host).await, 1.0);

    let log = host.log();
    assert_eq!(log.matches("Redis is lost").count(), 2, "one a connection");
    assert_eq!(log.matches("Redis is there again").count(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_starts_without_redis_and_works_once_it_is_there() {
    let mut server = RedisServer::durable();
    let launch = media(&server).await;
    // The keys that all hosts sign with are there, and this host has seen them.
    let host = launch.clone().start().await;
    let user = User::new(&host).await;
    host.stop().await;

    server.kill();
    let host = launch.start().await;
    let client = host.client();
    client.get("/").await.expect(200);
    log_in(&client, &user.email, &user.password)
        .await
        .expect(503);
    server.start_again();
    eventually("somebody can log in", BACK_WITHIN, async || {
        let reply = log_in(&client, &user.email, &user.password).await;
        (reply.status == 200).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unset_variable_a_wrong_password_and_anothers_keys_are_start_errors() {
    let server = RedisServer::with(&["--save", "", "--requirepass", "right"]);
    let launch = Launch::at(&artifacts::application()).state(&scratch());
    let said = launch.host_config(&shipped()).try_start().await;
    let said = said.err().expect("it does not start");
    assert!(
        said.contains("environment variable WHARF_REDIS_URL is not set"),
        "{said}"
    );

    let launch = Launch::at(&artifacts::application()).host_config(&shipped());
    let launch = launch.environment("WHARF_REDIS_URL", &server.url());
    let said = launch.try_start().await.err().expect("it does not start");
    assert!(
        said.contains("check username and password_secret"),
        "{said}"
    );

    // Another application has been here.
    let server = RedisServer::start();
    server.ask("SET wharf:{application}:name other", |answer| {
        answer.starts_with("+OK")
    });
    let launch = Launch::at(&artifacts::application()).host_config(&shipped());
    let launch = launch.environment("WHARF_REDIS_URL", &server.url());
    let said = launch.try_start().await.err().expect("it does not start");
    assert!(said.contains("belongs to the application"), "{said}");
}
