//! A power failure during conversions: every accepted upload ends done, once.

use std::time::Duration;

use super::sound::Sound;
use super::{App, User, manifest};
use crate::harness::{Client, Host, Launch, eventually};

/// Long enough to be interrupted, short enough to be converted a few times.
const SECONDS: u32 = 120;

/// The same person at a host that was started again.
fn at(user: &User, host: &Host) -> User {
    User {
        client: Client::http1(host.http),
        email: user.email.clone(),
        password: user.password.clone(),
        token: user.token.clone(),
    }
}

async fn converting(user: &User) {
    eventually(
        "a conversion is under way",
        Duration::from_secs(90),
        async || {
            let jobs = user.jobs().await;
            let converting = jobs
                .iter()
                .any(|job| job["state"] == "converting" && job["progress"].as_f64() > Some(0.0));
            converting.then_some(())
        },
    )
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_accepted_upload_ends_done_once_whenever_the_host_dies() {
    let manifest = manifest(|table| {
        // What a dead host held is free again after this long.
        for subscription in table["subscription"].as_array_mut().expect("a list") {
            let table = subscription.as_table_mut().expect("a table");
            table.insert("lease".to_owned(), "2s".into());
        }
    });
    let bytes = super::samples::long(SECONDS);
    let mut host = App::own(&manifest).await;
    let state = host.state().clone();
    let mut user = User::new(&host).await;
    let mut ids = Vec::new();
    for index in 0..4 {
        ids.push(user.upload(&format!("clip-{index}.flac"), &bytes).await);
    }
    for _ in 0..2 {
        converting(&user).await;
        host.kill().await;
        host = Launch::of(&manifest).state(&state).start().await;
        user = at(&user, &host);
    }
    let reference = Sound::decode(&bytes);
    for id in &ids {
        let job = user.settled(id).await;
        assert_eq!(job["state"], "done", "{job}");
    }
    let listed = user.jobs().await;
    assert_eq!(
        listed.len(),
        ids.len(),
        "no job was lost and none made twice: {listed:?}"
    );
    for id in &ids {
        reference.assert_same(&Sound::decode(&user.download(id).await), id);
        eventually("the notice", Duration::from_secs(30), async || {
            (!user.notices_of(id).await.is_empty()).then_some(())
        })
        .await;
    }
    host.metric_becomes("wharf_pending", &[], 0.0).await;
    host.metric_becomes("wharf_lag", &[], 0.0).await;
    assert_eq!(
        host.metrics().await.sum("wharf_dead_letters_total", &[]),
        0.0
    );
    for id in &ids {
        assert_eq!(user.notices_of(id).await.len(), 1, "one job, one notice");
    }
    let results = state.path().join("blobs/results");
    let kept = std::fs::read_dir(&results)
        .expect("the results' directory")
        .count();
    assert_eq!(
        kept,
        ids.len(),
        "one job, one result, and nothing half written"
    );
}
