use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

use redis::AsyncCommands as _;
use rustix::process::{Pid, Signal, kill_process};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use super::testing::{RedisServer, config, open, open_cluster, open_limited};
use super::*;
use crate::config::model::RedisConfig;

/// What a refused connection may take, on a machine that does other things.
const AT_ONCE: Duration = Duration::from_secs(1);

/// What finding a server that is there again may take: a pause between attempts, and an attempt.
const SOON: Duration = Duration::from_secs(15);

async fn set(redis: &Redis, value: u32) -> Result<(), RedisError> {
    redis.clone().set(redis.key("test", "key"), value).await
}

async fn get(redis: &Redis) -> Result<Option<u32>, RedisError> {
    redis.clone().get(redis.key("test", "key")).await
}

async fn comes_up(redis: &Redis) {
    let up = tokio::time::timeout(SOON, redis.until_up()).await;
    up.expect("it is found again");
}

fn signal(server: &RedisServer, signal: Signal) {
    let id = Pid::from_raw(i32::try_from(server.id()).unwrap()).unwrap();
    kill_process(id, signal).unwrap();
}

async fn dies_and_comes_back(mut server: RedisServer, redis: Redis) {
    set(&redis, 1).await.unwrap();
    assert!(redis.is_up());
    server.kill();
    let lost = set(&redis, 2).await.unwrap_err();
    assert!(lost.is_io_error(), "{lost:?}");
    let began = Instant::now();
    while redis.is_up() {
        let _ = set(&redis, 3).await;
        assert!(began.elapsed() < SOON, "the loss is noticed");
    }
    let began = Instant::now();
    let away = set(&redis, 4).await.unwrap_err();
    assert!(away.to_string().contains("Redis is away"), "{away}");
    assert!(began.elapsed() < AT_ONCE, "{:?}", began.elapsed());
    server.start_again();
    comes_up(&redis).await;
    set(&redis, 5).await.unwrap();
    assert_eq!(get(&redis).await.unwrap(), Some(5));
}

#[tokio::test]
async fn a_server_that_dies_is_an_error_at_once_and_found_when_it_is_back() {
    let server = RedisServer::start();
    let redis = open(&server);
    dies_and_comes_back(server, redis).await;
}

#[tokio::test]
async fn so_it_is_with_a_cluster() {
    let server = RedisServer::cluster();
    let redis = open_cluster(&server);
    dies_and_comes_back(server, redis).await;
}

#[tokio::test]
async fn a_server_that_comes_up_after_the_host_is_found() {
    let mut server = RedisServer::start();
    server.kill();
    let redis = open(&server);
    assert!(!redis.greet().await.unwrap());
    assert!(set(&redis, 1).await.unwrap_err().is_io_error());
    redis.listen().await.expect("it listens once it can");
    server.start_again();
    comes_up(&redis).await;
    set(&redis, 2).await.unwrap();
    hears_the_bell(&redis).await;
}

#[tokio::test]
async fn a_server_that_stops_answering_is_an_error_within_seconds() {
    let server = RedisServer::start();
    let redis = open(&server);
    set(&redis, 1).await.unwrap();
    signal(&server, Signal::STOP);
    let began = Instant::now();
    assert!(set(&redis, 2).await.unwrap_err().is_io_error());
    let waited = began.elapsed();
    assert!(
        waited < link::RESPONSE_TIMEOUT + AT_ONCE,
        "the first waits for an answer: {waited:?}"
    );
    let began = Instant::now();
    assert!(set(&redis, 3).await.unwrap_err().is_io_error());
    assert!(began.elapsed() < AT_ONCE, "{:?}", began.elapsed());
    signal(&server, Signal::CONT);
    comes_up(&redis).await;
    set(&redis, 4).await.unwrap();
    assert_eq!(get(&redis).await.unwrap(), Some(4));
}

/// Rings, again and again: a ring may be missed while the subscription is being made.
async fn hears_the_bell(redis: &Redis) {
    let began = Instant::now();
    loop {
        let rung = redis.bell().of("work");
        let heard = rung.notified();
        tokio::pin!(heard);
        heard.as_mut().enable();
        let mut link = redis.clone();
        let _: u64 = link.publish(redis.bell_channel(), "work").await.unwrap();
        if tokio::time::timeout(AT_ONCE, heard).await.is_ok() {
            return;
        }
        assert!(began.elapsed() < SOON, "the bell is heard");
    }
}

#[tokio::test]
async fn the_bell_is_heard_again_after_a_loss() {
    for cluster in [false, true] {
        let mut server = if cluster {
            RedisServer::cluster()
        } else {
            RedisServer::start()
        };
        let redis = if cluster {
            open_cluster(&server)
        } else {
            open(&server)
        };
        redis.listen().await.unwrap();
        hears_the_bell(&redis).await;
        let missed = redis.bell().of("missed");
        let missed = missed.notified();
        tokio::pin!(missed);
        missed.as_mut().enable();
        server.kill();
        let told = tokio::time::timeout(SOON, missed).await;
        told.expect("who waits is told that a ring may have been missed");
        let began = Instant::now();
        while redis.is_up() {
            assert!(began.elapsed() < SOON, "the loss is noticed");
            tokio::task::yield_now().await;
        }
        server.start_again();
        comes_up(&redis).await;
        hears_the_bell(&redis).await;
    }
}

/// Passes bytes on to `server`. Once an INCR is answered it ends the connection, and keeps the answer.
async fn cut_in_mid_command(listener: TcpListener, server: u16) {
    loop {
        let (client, _) = listener.accept().await.unwrap();
        let upstream = TcpStream::connect(("127.0.0.1", server)).await.unwrap();
        tokio::spawn(async move {
            let (mut from_client, mut to_client) = client.into_split();
            let (mut from_server, mut to_server) = upstream.into_split();
            let cutting = AtomicBool::new(false);
            let up = async {
                let mut bytes = vec![0; 4096];
                while let Ok(1..) = from_client.peek(&mut bytes).await {
                    let read = from_client.read(&mut bytes).await.unwrap();
                    if bytes[..read].windows(4).any(|word| word == b"INCR") {
                        cutting.store(true, Ordering::Relaxed);
                    }
                    to_server.write_all(&bytes[..read]).await.unwrap();
                }
            };
            let down = async {
                let mut bytes = vec![0; 4096];
                loop {
                    let read = from_server.read(&mut bytes).await.unwrap_or(0);
                    if read == 0 || cutting.load(Ordering::Relaxed) {
                        return;
                    }
                    to_client.write_all(&bytes[..read]).await.unwrap();
                }
            };
            tokio::select! {
                () = up => {}
                () = down => {}
            }
        });
    }
}

#[tokio::test]
async fn a_command_whose_answer_was_lost_is_not_sent_again() {
    for cluster in [false, true] {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let server = if cluster {
            let (ip, port) = ("--cluster-announce-ip", port.to_string());
            RedisServer::cluster_with(&[ip, "127.0.0.1", "--cluster-announce-port", &port])
        } else {
            RedisServer::start()
        };
        let proxy = tokio::spawn(cut_in_mid_command(listener, server.port()));
        let config = RedisConfig {
            cluster,
            ..config()
        };
        let url = format!("redis://127.0.0.1:{port}");
        let redis = Redis::open(&url, &config, None).unwrap();
        assert!(redis.greet().await.unwrap());
        let mut link = redis.clone();
        let lost = link.incr::<_, _, u32>(redis.key("test", "key"), 1).await;
        assert!(lost.as_ref().unwrap_err().is_io_error(), "{lost:?}");
        let began = Instant::now();
        let counted = loop {
            match get(&redis).await {
                Ok(counted) => break counted,
                Err(error) => assert!(began.elapsed() < SOON, "{error}"),
            }
            tokio::task::yield_now().await;
        };
        assert_eq!(counted, Some(1), "once");
        proxy.abort();
    }
}

#[tokio::test]
async fn a_user_who_may_do_no_more_than_the_documented_is_enough() {
    let nodes = [RedisServer::start()];
    let redis = open_limited(&nodes);
    assert!(redis.greet().await.unwrap());
    redis.listen().await.unwrap();
    set(&redis, 1).await.unwrap();
    hears_the_bell(&redis).await;
    let other = redis.clone().set::<_, _, ()>("other:key", 1).await;
    assert_eq!(other.unwrap_err().code(), Some("NOPERM"));
    let all = redis::cmd("FLUSHALL");
    let all = all.query_async::<()>(&mut redis.clone()).await;
    assert_eq!(all.unwrap_err().code(), Some("NOPERM"));
}

#[tokio::test]
async fn so_it_is_in_a_cluster() {
    let nodes = RedisServer::cluster_of_three();
    let redis = open_limited(&nodes);
    assert!(redis.greet().await.unwrap());
    redis.listen().await.unwrap();
    set(&redis, 1).await.unwrap();
    hears_the_bell(&redis).await;
}

#[tokio::test]
async fn a_wrong_password_is_refused_in_words_and_accepted_once_it_is_right() {
    let server = RedisServer::with(&["--save", "", "--requirepass", "right"]);
    for (password, cluster) in [(Some("wrong"), false), (None, false)] {
        let config = RedisConfig {
            cluster,
            ..config()
        };
        let redis = Redis::open(&server.url(), &config, password).unwrap();
        let error = redis.greet().await.unwrap_err();
        assert!(matches!(error, RedisOpenError::Refused { .. }), "{error:?}");
        assert!(error.to_string().contains("password_secret"), "{error}");
        assert!(!format!("{error:?}").contains("wrong"), "{error:?}");
    }
    let redis = Redis::open(&server.url(), &config(), Some("later")).unwrap();
    assert!(redis.greet().await.is_err());
    let admin = Redis::open(&server.url(), &config(), Some("right")).unwrap();
    let mut change = redis::cmd("CONFIG");
    change.arg("SET").arg("requirepass").arg("later");
    let () = change.query_async(&mut admin.clone()).await.unwrap();
    comes_up(&redis).await;
    set(&redis, 1).await.unwrap();
}

#[tokio::test]
async fn what_is_no_url_is_said_without_its_password() {
    for url in ["http://:password@host", "redis://:password@host:port"] {
        let error = Redis::open(url, &config(), None).unwrap_err();
        assert!(matches!(error, RedisOpenError::Url { .. }), "{error:?}");
        assert!(
            !format!("{error:?} {error}").contains("password"),
            "{error:?}"
        );
    }
}
