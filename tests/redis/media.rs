//! The media application on two hosts that share Redis and an S3 bucket: either of them finishes what
//! the other began.

use std::net::SocketAddr;
use std::time::Duration;

use super::fleet::Place;
use crate::harness::{
    BLOBS, Client, Host, Launch, ObjectServer, RedisServer, artifacts, eventually,
};
use crate::media::{App, Sound, User, long, manifest};

/// Long enough to be interrupted, short enough to be converted twice.
const SECONDS: u32 = 120;

const WITHIN: Duration = Duration::from_secs(90);

/// The same person at another host.
fn at(user: &User, host: &Host) -> User {
    User {
        client: Client::http1(host.http),
        email: user.email.clone(),
        password: user.password.clone(),
        token: user.token.clone(),
    }
}

/// A conversion is under way at this host.
async fn converts(host: &Host) -> bool {
    let metrics = host.metrics().await;
    metrics.sum("wharf_instances", &[("component", "converter")]) > 0.0
}

#[tokio::test(flavor = "multi_thread")]
async fn a_conversion_whose_host_dies_is_finished_by_the_other() {
    let redis = RedisServer::durable();
    let server = SocketAddr::from(([127, 0, 0, 1], redis.port()));
    let objects = ObjectServer::start();
    let manifest = manifest(|table| {
        for subscription in table["subscription"].as_array_mut().expect("a list") {
            let table = subscription.as_table_mut().expect("a table");
            // What a dead host held is another's after this long.
            table.insert("lease".to_owned(), "2s".into());
        }
    });
    let place = async |name| {
        let launch = Launch::of(&manifest).state(&App::compiled().await);
        let launch = objects.serve_blobs_of(launch, "media");
        Place::new(name, server, BLOBS, launch).await
    };
    let (first, second) = (place("first").await, place("second").await);
    let hosts = [first.launch().start().await, second.launch().start().await];
    let user = User::new(&hosts[0]).await;
    let users = [at(&user, &hosts[0]), at(&user, &hosts[1])];
    let bytes = long(SECONDS);
    let id = users[0].upload("clip.flac", &bytes).await;
    // The other host knows the account, the token and the job.
    assert_eq!(users[1].job(&id).await["name"], "clip.flac");

    let busy = eventually("a conversion is under way", WITHIN, async || {
        let job = users[0].job(&id).await;
        let begun = job["state"] == "converting" && job["progress"].as_f64() > Some(0.0);
        let busy = match begun {
            true => [converts(&hosts[0]).await, converts(&hosts[1]).await],
            false => [false, false],
        };
        busy.iter().position(|busy| *busy)
    })
    .await;
    let [first, second] = hosts;
    let (dies, survivor) = match busy {
        0 => (first, second),
        _ => (second, first),
    };
    dies.kill().await;

    let user = at(&user, &survivor);
    let job = user.settled(&id).await;
    assert_eq!(job["state"], "done", "{job}");
    let converted = Sound::decode(&user.download(&id).await);
    Sound::decode(&bytes).assert_same(&converted, &id);
    eventually("the notice", WITHIN, async || {
        (!user.notices_of(&id).await.is_empty()).then_some(())
    })
    .await;
    survivor.metric_becomes("wharf_pending", &[], 0.0).await;
    survivor.metric_becomes("wharf_lag", &[], 0.0).await;
    assert_eq!(user.notices_of(&id).await.len(), 1, "one job, one notice");
    assert_eq!(user.jobs().await.len(), 1, "one upload, one job");
    let metrics = survivor.metrics().await;
    assert_eq!(metrics.sum("wharf_dead_letters_total", &[]), 0.0);
    let keys = objects.keys();
    let results = keys.iter().filter(|key| key.contains("/results/"));
    assert_eq!(results.count(), 1, "one job, one result: {keys:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_login_at_one_host_is_good_at_another() {
    let redis = RedisServer::durable();
    let server = SocketAddr::from(([127, 0, 0, 1], redis.port()));
    let objects = ObjectServer::start();
    let manifest = artifacts::application();
    let place = async |name| {
        let launch = Launch::at(&manifest).state(&App::compiled().await);
        let launch = objects.serve_blobs_of(launch, "media");
        Place::new(name, server, BLOBS, launch).await
    };
    let (first, second) = (place("first").await, place("second").await);
    // Both at once: each would make the signing keys.
    let (first, second) = tokio::join!(first.launch().start(), second.launch().start());
    let user = User::new(&first).await;
    let there = at(&user, &second);
    assert!(there.jobs().await.is_empty());
    // And the other way round.
    let reply = crate::media::log_in(&there.client, &user.email, &user.password).await;
    let token = reply.expect(200).json()["token"]
        .as_str()
        .unwrap()
        .to_owned();
    let here = User {
        token,
        ..at(&user, &first)
    };
    assert!(here.jobs().await.is_empty());
}
