use std::collections::BTreeMap;

use futures::future::join_all;
use tokio::time::Instant;

use super::super::conformance;
use super::*;
use crate::capability::redis::testing::{self, RedisServer};

/// Longest that a test takes on a machine that does other things, too.
const WITHIN: Duration = Duration::from_secs(120);

const LEASE: Duration = Duration::from_secs(600);
const LEASE_SHORT: Duration = Duration::from_millis(400);

/// Streams over `redis` for the host called `host`.
fn streams(redis: Redis, host: &str) -> RedisStreams {
    RedisStreams::open(redis, host.parse().unwrap())
}

fn open(server: &RedisServer, host: &str) -> RedisStreams {
    streams(testing::open(server), host)
}

/// Asks the server something behind the backend's back.
async fn ask<T: redis::FromRedisValue>(server: &RedisServer, command: &Cmd) -> T {
    let client = redis::Client::open(server.url()).unwrap();
    let mut link = client.get_multiplexed_async_connection().await.unwrap();
    command.query_async(&mut link).await.unwrap()
}

fn group() -> Group {
    Group {
        subject: "media.uploaded".parse().unwrap(),
        name: "converter".parse().unwrap(),
    }
}

fn message(body: impl Into<bytes::Bytes>) -> Message {
    Message {
        subject: group().subject,
        body: body.into(),
        reply_to: None,
        headers: Vec::new(),
    }
}

async fn in_time<T>(what: impl Future<Output = T>) -> T {
    let ended = tokio::time::timeout(WITHIN, what).await;
    ended.expect("a claim waits for what never comes")
}

fn is_lost(settled: &Result<(), StreamError>) -> bool {
    matches!(settled, Err(StreamError::LeaseLost { .. }))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_redis_server_is_a_stream_store() {
    let server = RedisServer::start();
    in_time(conformance::every_promise(&open(&server, "one"))).await;
}

#[tokio::test]
async fn its_subjects_can_be_subscribed_to_by_pattern() {
    let server = RedisServer::start();
    let streams: Arc<dyn Streams> = Arc::new(open(&server, "one"));
    let owned = conformance::patterns::a_new_subject_is_owned_from_its_first_message(streams);
    in_time(owned).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_redis_cluster_is_a_stream_store() {
    let nodes = RedisServer::cluster_of_three();
    let streams = streams(testing::open_cluster(&nodes[0]), "one");
    in_time(conformance::every_promise(&streams)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn so_it_is_for_a_user_who_may_do_no_more_than_the_documented() {
    let server = [RedisServer::start()];
    let limited = streams(testing::open_limited(&server), "one");
    in_time(conformance::every_promise(&limited)).await;
    let nodes = RedisServer::cluster_of_three();
    let limited = streams(testing::open_limited(&nodes), "one");
    in_time(conformance::every_promise(&limited)).await;
}

#[tokio::test]
async fn it_keeps_what_it_answered() {
    let server = RedisServer::start();
    let open = async || Box::new(open(&server, "one")) as _;
    in_time(conformance::survives_a_crash(open)).await;
    let nodes = RedisServer::cluster_of_three();
    let open = async || Box::new(streams(testing::open_cluster(&nodes[0]), "one")) as _;
    in_time(conformance::survives_a_crash(open)).await;
}

#[tokio::test]
async fn a_dead_hosts_work_is_taken_over() {
    let (server, group) = (RedisServer::start(), group());
    let (one, two) = (open(&server, "one"), open(&server, "two"));
    for streams in [&one, &two] {
        streams.declare(&group, LEASE_SHORT).await.unwrap();
    }
    for body in ["a", "b"] {
        one.publish(message(body)).await.unwrap();
    }
    let began = Instant::now();
    let held = one.claim(&group, 1).await.unwrap();
    let own = two.claim(&group, 9).await.unwrap();
    assert_eq!(own.len(), 1, "what another host holds is not given");
    two.acknowledge(&own[0]).await.unwrap();
    // From here on the first host says nothing, as if it were dead.
    let taken = in_time(two.claim(&group, 9)).await.unwrap();
    assert!(began.elapsed() >= LEASE_SHORT);
    assert_eq!((&taken[0].entry, taken[0].attempt), (&held[0].entry, 2));
    assert!(is_lost(&one.acknowledge(&held[0]).await));
    assert!(is_lost(&one.extend(&held[0]).await));
    two.acknowledge(&taken[0]).await.unwrap();
    assert_eq!(one.status(&group).await.unwrap(), GroupStatus::default());
}

#[tokio::test]
async fn a_host_that_starts_again_gets_back_what_it_held_and_only_that() {
    let (server, group) = (RedisServer::start(), group());
    let (one, two) = (open(&server, "one"), open(&server, "two"));
    for streams in [&one, &two] {
        streams.declare(&group, LEASE).await.unwrap();
        streams.publish(message("a")).await.unwrap();
    }
    let held = one.claim(&group, 1).await.unwrap();
    two.claim(&group, 1).await.unwrap();
    let again = open(&server, "one");
    again.declare(&group, LEASE).await.unwrap();
    let back = again.claim(&group, 9).await.unwrap();
    assert_eq!(back.len(), 1);
    assert_eq!((&back[0].entry, back[0].attempt), (&held[0].entry, 2));
    again.declare(&group, LEASE).await.unwrap();
    again.acknowledge(&back[0]).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hosts_that_wait_go_on_when_the_server_is_back() {
    let (mut server, group) = (RedisServer::durable(), group());
    let (one, two) = (open(&server, "one"), open(&server, "two"));
    for streams in [&one, &two] {
        streams.declare(&group, LEASE).await.unwrap();
    }
    one.publish(message("held")).await.unwrap();
    let held = one.claim(&group, 1).await.unwrap();
    let waiting = async {
        let claim = async |streams: &RedisStreams| {
            let claimed = streams.claim(&group, 1).await.unwrap();
            String::from_utf8(claimed[0].message.body.to_vec()).unwrap()
        };
        let mut seen = join_all([claim(&one), claim(&two)]).await;
        seen.sort();
        seen
    };
    let restart = async {
        // Both wait, and say so to the server, before it goes.
        let idle = Cmd::new()
            .arg("EXISTS")
            .arg(one.topic(&group.subject).idle())
            .clone();
        while ask::<u8>(&server, &idle).await == 0 {
            tokio::task::yield_now().await;
        }
        server.kill();
        one.publish(message("nobody")).await.unwrap_err();
        one.status(&group).await.unwrap_err();
        server.start_again();
        for body in ["a", "b"] {
            while one.publish(message(body)).await.is_err() {
                tokio::task::yield_now().await;
            }
        }
    };
    let (seen, ()) = in_time(async { tokio::join!(waiting, restart) }).await;
    assert_eq!(seen, ["a", "b"]);
    one.acknowledge(&held[0]).await.unwrap();
    let status = one.status(&group).await.unwrap();
    assert_eq!((status.length, status.pending), (2, 2));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_lost_everything_is_told_again() {
    let (server, group) = (RedisServer::start(), group());
    let streams = open(&server, "one");
    streams.declare(&group, LEASE_SHORT).await.unwrap();
    streams.publish(message("lost")).await.unwrap();
    let lost = streams.claim(&group, 1).await.unwrap();
    let flush = redis::cmd("FLUSHALL");
    let empty = async {
        let idle = streams.topic(&group.subject);
        let idle = Cmd::new().arg("EXISTS").arg(idle.idle()).clone();
        while ask::<u8>(&server, &idle).await == 0 {
            tokio::task::yield_now().await;
        }
        ask::<()>(&server, &flush).await;
        streams.publish(message("next")).await.unwrap();
    };
    let (claimed, ()) = in_time(async { tokio::join!(streams.claim(&group, 9), empty) }).await;
    let claimed = claimed.unwrap();
    assert_eq!(
        (claimed.len(), &*claimed[0].message.body),
        (1, &b"next"[..])
    );
    assert!(is_lost(&streams.acknowledge(&lost[0]).await));
    streams.acknowledge(&claimed[0]).await.unwrap();
    ask::<()>(&server, &flush).await;
    assert_eq!(
        streams.status(&group).await.unwrap(),
        GroupStatus::default()
    );
    assert_eq!(streams.groups().await.unwrap(), [group]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn three_hosts_share_the_work_and_double_nothing() {
    const COUNT: usize = 2000;
    let (server, group) = (RedisServer::start(), group());
    let hosts: Vec<_> = ["one", "two", "three"]
        .map(|host| Arc::new(open(&server, host)))
        .into();
    for host in &hosts {
        host.declare(&group, LEASE).await.unwrap();
    }
    let publish = (0..COUNT).map(|n| hosts[n % 3].publish(message(n.to_string())));
    let published = async {
        join_all(publish)
            .await
            .into_iter()
            .for_each(|p| drop(p.unwrap()))
    };
    let (seen, done) = (Mutex::new(BTreeMap::new()), tokio::sync::Notify::new());
    let work = async |host: &RedisStreams| {
        loop {
            let claimed = host.claim(&group, 16).await.unwrap();
            let settled = claimed.iter().map(|delivery| host.acknowledge(delivery));
            join_all(settled).await.into_iter().for_each(Result::unwrap);
            let mut seen = lock(&seen);
            for delivery in claimed {
                *seen.entry(delivery.message.body).or_insert(0) += 1;
            }
            if seen.len() == COUNT {
                done.notify_one();
            }
        }
    };
    in_time(async {
        let workers = join_all(hosts.iter().map(|host| work(host)));
        tokio::select! {
            _ = workers => {}
            () = async { tokio::join!(published, done.notified()); } => {}
        }
    })
    .await;
    assert!(lock(&seen).values().all(|times| *times == 1));
    assert_eq!(
        hosts[0].status(&group).await.unwrap(),
        GroupStatus::default()
    );
}

#[tokio::test]
async fn very_many_dead_letters_go_back_in_several_steps() {
    let (server, group) = (RedisServer::start(), group());
    let streams = open(&server, "one");
    streams.declare(&group, LEASE).await.unwrap();
    let many = usize::try_from(REDRIVE_MAX).unwrap() * 2 + 1;
    join_all((0..many).map(|_| streams.publish(message("a")))).await;
    let claimed = streams.claim(&group, many).await.unwrap();
    let dead = claimed
        .iter()
        .map(|delivery| streams.dead_letter(delivery, "poison"));
    join_all(dead).await.into_iter().for_each(Result::unwrap);
    assert_eq!(streams.redrive(&group, None).await.unwrap(), many as u64);
    assert_eq!(streams.status(&group).await.unwrap().lag, many as u64);
    let back = streams.claim(&group, many).await.unwrap();
    let order = |deliveries: &[Delivery]| {
        let entries = deliveries.iter().map(|delivery| delivery.entry.clone());
        entries.collect::<Vec<_>>()
    };
    assert_eq!(order(&back), order(&claimed));
}

#[tokio::test]
async fn what_is_no_message_becomes_a_dead_letter() {
    let (server, group) = (RedisServer::start(), group());
    let streams = open(&server, "one");
    streams.declare(&group, LEASE).await.unwrap();
    let strange = redis::cmd("XADD")
        .arg(streams.topic(&group.subject).entries())
        .arg(&["*", "at", "noon"])
        .clone();
    ask::<String>(&server, &strange).await;
    let publish = async { streams.publish(message("a")).await.unwrap() };
    let (claimed, _) = tokio::join!(in_time(streams.claim(&group, 1)), publish);
    assert_eq!(&*claimed.unwrap()[0].message.body, b"a");
    let dead = streams.dead(&group, 9).await.unwrap();
    assert_eq!((dead.len(), dead[0].message.body.len()), (1, 0));
    assert!(dead[0].reason.contains("no message"), "{}", dead[0].reason);
    ask::<String>(&server, &strange).await;
    assert_eq!(
        streams.peek(&group.subject, None, 9).await.unwrap().len(),
        2
    );
}

#[tokio::test]
async fn errors_of_the_server_are_told() {
    let (server, group) = (RedisServer::start(), group());
    let streams = open(&server, "one");
    let error = streams.claim(&group, 1).await.unwrap_err();
    assert!(
        matches!(error, StreamError::UnknownGroup { .. }),
        "{error:?}"
    );
    let topic = streams.topic(&group.subject);
    for key in [topic.entries(), &streams.index()] {
        ask::<()>(&server, &Cmd::new().arg("SET").arg(key).arg("x").clone()).await;
    }
    let error = streams.declare(&group, LEASE).await.unwrap_err();
    assert!(matches!(error, StreamError::Backend { .. }), "{error:?}");
    let error = streams.groups().await.unwrap_err();
    assert!(matches!(error, StreamError::Index { .. }), "{error:?}");
}
