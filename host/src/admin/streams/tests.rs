use std::time::Duration;

use super::*;
use crate::capability::embedded::Embedded;
use crate::capability::streams::EmbeddedStreams;
use crate::manifest::model::Backoff;

struct Desk {
    operator: Arc<StreamsOperator>,
    streams: Arc<EmbeddedStreams>,
    _dir: tempfile::TempDir,
}

fn subject(name: &str) -> Subject {
    name.parse().expect("a subject")
}

fn name(name: &str) -> ComponentName {
    name.parse().expect("a name")
}

fn group(subject_name: &str, component: &str) -> Group {
    Group {
        subject: subject(subject_name),
        name: name(component),
    }
}

fn text(body: &str) -> PublishRequest {
    PublishRequest {
        body: Some(body.to_owned()),
        ..PublishRequest::default()
    }
}

/// `work` has the groups `reader`, which this host subscribes to, and `stranger`.
async fn desk() -> Desk {
    let dir = tempfile::tempdir().expect("a directory");
    let store = Embedded::open(dir.path()).expect("a store");
    let streams = EmbeddedStreams::open(store).await;
    let streams = Arc::new(streams.expect("streams"));
    for component in ["stranger", "reader"] {
        let group = group("work", component);
        let declared = streams.declare(&group, Duration::from_secs(30)).await;
        declared.expect("a group");
    }
    let subscribed = || Subscribed {
        subscriptions: vec![Subscription {
            subject: subject("work"),
            component: name("reader"),
            concurrency: 4,
            lease: Duration::from_secs(30),
            deadline: Duration::from_secs(20),
            deliveries_max: 3,
            backoff: Backoff {
                first: Duration::from_millis(50),
                max: Duration::from_secs(1),
            },
        }],
        wildcards: Vec::new(),
        limits: BTreeMap::from([(subject("work"), StreamLimits { length_max: 7 })]),
    };
    Desk {
        operator: StreamsOperator::new(streams.clone(), Box::new(subscribed)),
        streams,
        _dir: dir,
    }
}

impl Desk {
    async fn publish(&self, body: &str) -> String {
        let published = self.operator.publish(&subject("work"), text(body)).await;
        published.expect("it is published").to_string()
    }

    /// Gives up the next message of a group.
    async fn give_up(&self, group: &Group, reason: &str) {
        let claimed = self.streams.claim(group, 1).await.expect("a message");
        let died = self.streams.dead_letter(&claimed[0], reason).await;
        died.expect("it is given up");
    }
}

#[tokio::test]
async fn subjects_are_listed_with_their_groups_and_settings() {
    let desk = desk().await;
    for index in 0..3 {
        desk.publish(&format!("m{index}")).await;
    }
    desk.give_up(&group("work", "reader"), "no").await;
    let claimed = desk.streams.claim(&group("work", "reader"), 1).await;
    let claimed = claimed.expect("a message");
    let later = Duration::from_secs(60);
    let retried = desk.streams.retry(&claimed[0], later, "again").await;
    retried.expect("it waits");
    let listed = desk.operator.list(None).await.expect("a list");
    let [work] = &listed[..] else {
        panic!("{listed:?}");
    };
    assert_eq!((work.length, work.length_max), (3, 7));
    let [reader, stranger] = &work.groups[..] else {
        panic!("{work:?}");
    };
    assert_eq!(reader.group, name("reader"));
    let figures = |group: &GroupFigures| (group.lag, group.pending, group.waiting, group.dead);
    assert_eq!(figures(reader), (1, 1, 1, 1));
    assert!(reader.oldest_age_ms.is_some());
    let settings = reader.subscription.as_ref().expect("it is ours");
    assert_eq!((settings.concurrency, settings.backoff_first_ms), (4, 50));
    assert_eq!(figures(stranger), (3, 0, 0, 0));
    assert!(stranger.subscription.is_none());
    let only = desk.operator.list(Some(&subject("work"))).await;
    assert_eq!(only.expect("a list").len(), 1);
    let unknown = desk.operator.list(Some(&subject("other"))).await;
    assert!(matches!(unknown, Err(OperateError::UnknownSubject(_))));
}

#[tokio::test]
async fn dead_letters_are_shown_and_go_back_one_or_all() {
    let desk = desk().await;
    let work = subject("work");
    let mut ids = Vec::new();
    for index in 0..4 {
        ids.push(desk.publish(&format!("m{index}")).await);
    }
    for reason in ["first", "second", "third"] {
        desk.give_up(&group("work", "reader"), reason).await;
    }
    desk.give_up(&group("work", "stranger"), "other").await;
    let dead = desk.operator.dead(&work, None, 10, false).await;
    let dead = dead.expect("a list");
    let reasons: Vec<&str> = dead.iter().map(|letter| letter.reason.as_str()).collect();
    assert_eq!(reasons, ["first", "second", "third", "other"]);
    assert_eq!(dead[0].message.body.as_deref(), Some("m0"));
    let two = desk.operator.dead(&work, None, 2, false).await;
    assert_eq!(two.expect("a list").len(), 2);
    let stranger = name("stranger");
    let others = desk.operator.dead(&work, Some(&stranger), 10, false).await;
    assert_eq!(others.expect("a list").len(), 1);

    let redrive = |group: Option<&str>, id: Option<&str>| {
        let request = RedriveRequest {
            group: group.map(name),
            id: id.map(ToOwned::to_owned),
        };
        desk.operator.redrive(&work, request)
    };
    let unknown = redrive(Some("stranger"), Some(&ids[1])).await;
    assert!(matches!(unknown, Err(OperateError::UnknownEntry { .. })));
    let unknown = redrive(None, Some("nonsense")).await;
    assert!(matches!(unknown, Err(OperateError::UnknownEntry { .. })));
    let both = redrive(None, Some(&ids[0])).await.expect("they are back");
    assert_eq!(both.redriven, 2, "both groups gave it up");
    let one = redrive(Some("reader"), Some(&ids[1])).await;
    assert_eq!(one.expect("it is back").redriven, 1);
    let rest = redrive(None, None).await.expect("they are back");
    assert_eq!(rest.redriven, 1);
    assert_eq!(redrive(None, None).await.expect("fine").redriven, 0);
}

#[tokio::test]
async fn a_look_reads_on_in_pieces_and_takes_nothing() {
    let desk = desk().await;
    let work = subject("work");
    let streams = &desk.streams;
    streams.limit(&work, 1000).await.expect("a limit");
    for index in 0..3 * READ_AT_ONCE {
        desk.publish(&format!("m{index}")).await;
    }
    let all = desk.operator.peek(&work, None, 1000, false).await;
    let all = all.expect("messages");
    assert_eq!(all.len(), 3 * READ_AT_ONCE);
    let after = Some(EntryId::new(all[20].entry.as_str()));
    let some = desk.operator.peek(&work, after, 20, false).await;
    assert_eq!(some.expect("messages"), all[21..41]);
    let status = streams.status(&group("work", "reader")).await;
    assert_eq!(status.expect("a status").lag, all.len() as u64);
}

#[tokio::test]
async fn what_is_large_ends_the_answer_and_is_read_on_after() {
    let desk = desk().await;
    let work = subject("work");
    desk.streams.limit(&work, 1000).await.expect("a limit");
    let large = "a".repeat(1 << 20);
    for _ in 0..9 {
        desk.publish(&large).await;
    }
    let first = desk.operator.peek(&work, None, 200, true).await;
    let first = first.expect("messages");
    assert_eq!(first.len(), SHOWN_BYTES_MAX >> 20);
    let after = first.last().map(|held| EntryId::new(held.entry.as_str()));
    let rest = desk.operator.peek(&work, after, 200, true).await;
    assert_eq!(rest.expect("messages").len(), 1);
}

#[tokio::test]
async fn what_is_published_is_what_was_asked_for() {
    let desk = desk().await;
    let work = subject("work");
    let request = PublishRequest {
        body_base64: Some("/w==".to_owned()),
        headers: vec![model::MessageHeader {
            name: "k".to_owned(),
            value: "v".to_owned(),
        }],
        reply_to: Some("inbox".to_owned()),
        ..PublishRequest::default()
    };
    let entry = desk.operator.publish(&work, request).await;
    let entry = entry.expect("it is published");
    let held = desk.operator.peek(&work, None, 1, false).await;
    let held = held.expect("messages").remove(0);
    assert_eq!(held.entry, entry.as_str());
    assert_eq!(held.message.body_base64.as_deref(), Some("/w=="));
    assert_eq!(held.message.headers[0].value, "v");
    assert_eq!(held.message.reply_to.as_deref(), Some("inbox"));
    let both = PublishRequest {
        body_base64: Some(String::new()),
        ..text("a")
    };
    let bad = PublishRequest {
        body_base64: Some("~".to_owned()),
        ..PublishRequest::default()
    };
    let nameless = PublishRequest {
        headers: vec![model::MessageHeader {
            name: String::new(),
            value: "v".to_owned(),
        }],
        ..text("a")
    };
    for wrong in [both, bad, nameless] {
        let refused = desk.operator.publish(&work, wrong).await;
        assert!(matches!(refused, Err(OperateError::Invalid(_))));
    }
    let elsewhere = desk.operator.publish(&subject("typo"), text("a")).await;
    assert!(matches!(elsewhere, Err(OperateError::UnknownSubject(_))));
    let listed = desk.operator.list(None).await.expect("a list");
    assert_eq!(listed.len(), 1, "a mistake makes no subject");
}

#[tokio::test]
async fn only_a_group_without_subscription_is_forgotten() {
    let desk = desk().await;
    let work = subject("work");
    desk.publish("a").await;
    desk.publish("b").await;
    desk.give_up(&group("work", "stranger"), "no").await;
    let refused = desk.operator.forget(&work, &name("reader")).await;
    assert!(matches!(refused, Err(OperateError::Subscribed(_))));
    let forgotten = desk.operator.forget(&work, &name("stranger")).await;
    let forgotten = forgotten.expect("it is forgotten");
    assert_eq!((forgotten.owed, forgotten.dead), (1, 1));
    let again = desk.operator.forget(&work, &name("stranger")).await;
    let error = again.expect_err("it is gone").to_string();
    assert!(error.contains("the subject has reader"), "{error}");
    let unknown = desk
        .operator
        .forget(&subject("typo"), &name("reader"))
        .await;
    assert!(matches!(unknown, Err(OperateError::UnknownSubject(_))));
}
