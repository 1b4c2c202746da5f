use super::super::conformance;
use super::*;
use crate::config::model::{RedisConfig, Setting};

#[path = "../../../../../tests/harness/redis_server.rs"]
#[allow(dead_code, reason = "the end-to-end tests use all of it")]
mod redis_server;

use redis_server::RedisServer;

/// Longest that a suite takes on a machine that does other things, too.
const SUITE_WITHIN: Duration = Duration::from_secs(120);

fn open(server: &RedisServer, host: &str, cluster: bool) -> RedisStreams {
    let config = RedisConfig {
        url: Setting::Written(server.url()),
        cluster,
        username: None,
        password_secret: None,
        prefix: "test".to_owned(),
    };
    let redis = Redis::open(&server.url(), &config, None).unwrap();
    RedisStreams::open(redis, host.parse().unwrap())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_redis_server_is_a_stream_store() {
    let server = RedisServer::start();
    let streams = open(&server, "one", false);
    let promises = conformance::every_promise(&streams);
    let kept = tokio::time::timeout(SUITE_WITHIN, promises).await;
    kept.expect("a claim waits for what never comes");
}

#[tokio::test]
async fn it_keeps_what_it_answered() {
    let server = RedisServer::start();
    conformance::survives_a_crash(async || Box::new(open(&server, "one", false)) as _).await;
}
