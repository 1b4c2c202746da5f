//! A storm: three hosts work off messages on one Redis server while hosts and server are killed,
//! stopped and cut off from each other at random.
//!
//! ```text
//! publishers -> any host -> Redis -> any host -> ledger: seen (at least once), booked (exactly once)
//!                 \- killed -/ \- killed, stopped
//!                  \---- cut, held up ----/
//! ```
//!
//! Redis has every write on disk before it answers (`appendfsync always`): with `everysec`, what it
//! answered in its last second may be lost with its machine. A publisher repeats what was not
//! accepted, so a message may be published twice; its id tells.

mod books;
mod dice;
mod report;
mod site;
mod subject;
mod weather;

pub use report::Report;

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use futures::StreamExt;
use futures::channel::mpsc;
use tokio::sync::Mutex;
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout};

use super::fleet::Place;
use crate::harness::client::full;
use crate::harness::{Launch, Manifest, RedisServer, eventually};
use books::Posting;
use dice::Dice;
use site::Site;
use weather::Blows;

pub const HOSTS: u64 = 3;

/// Publishers at once.
const PUBLISHERS: usize = 8;

/// No outage of a storm lasts as long: what befalls Redis waits for what befell it before, so that a
/// whole storm may keep it away for a minute with moments between.
const ACCEPTED_WITHIN: Duration = Duration::from_secs(180);

/// A publisher's patience for one answer.
const ANSWERED_WITHIN: Duration = Duration::from_secs(15);

/// From one attempt to publish a message to the next.
const PUBLISH_PAUSE: Duration = Duration::from_millis(20);

/// From the end of the storm until there is nothing left to do: poison takes its thirty deliveries.
const SETTLED_WITHIN: Duration = Duration::from_secs(120);

/// What is to happen.
pub struct Plan {
    pub messages: u64,
    pub blows: u64,
    pub seed: u64,
}

/// Everything that a storm happens to.
pub struct Storm {
    places: Vec<Site>,
    redis: Mutex<RedisServer>,
    blows: Blows,
}

/// Says how to repeat a storm that ends in a panic.
struct Seed(u64);

impl Drop for Seed {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("WHARF_CHAOS_SEED={} makes the same storm again", self.0);
        }
    }
}

/// A host's death costs every message that it holds one of its deliveries, and while its key-value
/// store is away a handler fails again and again: thirty are more than a storm takes from one that
/// is well.
fn manifest() -> Manifest {
    Manifest::new(
        r#"
[component.ledger]
artifact = "{ledger.wasm}"
[component.ledger.grants]
keyvalue = ["default"]

[component.sender]
artifact = "{sender.wasm}"
[component.sender.grants]
publish = ["bookings"]

[[route]]
path = "/..."
component = "ledger"
[[route]]
path = "/publish"
component = "sender"

[[subscription]]
subject = "bookings"
component = "ledger"
concurrency = 8
lease = "2s"
deliveries = 30
backoff = { first = "20ms", max = "500ms" }
"#,
    )
}

impl Storm {
    async fn gather() -> Arc<Self> {
        let redis = RedisServer::durable();
        let server = SocketAddr::from(([127, 0, 0, 1], redis.port()));
        let manifest = manifest();
        let starting = (0..HOSTS).map(|number| {
            let manifest = &manifest;
            async move {
                let name = format!("host-{number}");
                Site::start(Place::new(&name, server, "", Launch::of(manifest)).await).await
            }
        });
        Arc::new(Self {
            places: futures::future::join_all(starting).await,
            redis: Mutex::new(redis),
            blows: Blows::default(),
        })
    }

    /// Publishes what arrives until there is no more; how often that had to be repeated.
    async fn publish(&self, postings: mpsc::UnboundedReceiver<(Posting, Dice)>) -> u64 {
        let published = postings
            .map(|(posting, dice)| self.publish_one(posting, dice))
            .buffer_unordered(PUBLISHERS);
        published
            .fold(0, async |sum, repeated| sum + repeated)
            .await
    }

    /// Asks one host after another until one has accepted it.
    async fn publish_one(&self, posting: Posting, mut dice: Dice) -> u64 {
        let began = Instant::now();
        let mut repeated = 0;
        loop {
            let site = &self.places[dice.within(0..HOSTS) as usize];
            let asked = async {
                let client = site.client()?;
                let request = client
                    .request("POST", "/publish?subject=bookings")
                    .body(full(posting.to_string()))
                    .unwrap();
                Some(client.try_send(request).await)
            };
            match timeout(ANSWERED_WITHIN, asked).await {
                Ok(Some(Ok(reply))) if reply.status == 202 => return repeated,
                // Nobody was asked.
                Ok(None) => {}
                _ => repeated += 1,
            }
            assert!(
                began.elapsed() < ACCEPTED_WITHIN,
                "nobody accepts {posting}"
            );
            tokio::time::sleep(PUBLISH_PAUSE).await;
        }
    }

    /// Lets the blows fall, a share of the messages being published before each; returns once all is
    /// well again.
    async fn rage(
        self: &Arc<Self>,
        plan: &Plan,
        postings: &[Posting],
        mut dice: Dice,
        publish: mpsc::UnboundedSender<(Posting, Dice)>,
    ) {
        let share = postings.len().div_ceil(plan.blows as usize);
        let mut falling = JoinSet::new();
        for postings in postings.chunks(share) {
            for posting in postings {
                let to_publish = (posting.clone(), dice.split());
                publish.unbounded_send(to_publish).expect("it is published");
            }
            let calm = Duration::from_millis(dice.within(50..500));
            tokio::time::sleep(calm).await;
            falling.spawn(weather::strike(self.clone(), dice.split()));
        }
        while let Some(fell) = falling.join_next().await {
            fell.expect("a blow passes");
        }
    }

    /// Asserts what the storm must not have changed; how many deliveries there were.
    async fn assert_books(&self, postings: &[Posting]) -> u64 {
        let client = self.places[0].client().expect("the storm is over");
        books::assert_booked_once(&client, postings).await;
        books::assert_all_seen(&client, postings.len() as u64).await
    }

    /// Every host says that nothing is left.
    async fn assert_idle(&self) {
        for site in &self.places {
            let host = site.host.lock().await;
            let host = host.as_ref().expect("the storm is over");
            host.metric_becomes("wharf_lag", &[], 0.0).await;
            host.metric_becomes("wharf_pending", &[], 0.0).await;
        }
    }
}

/// `WHARF_CHAOS_SEED`, or another each time.
pub fn seed() -> u64 {
    let given = std::env::var("WHARF_CHAOS_SEED").ok();
    let given = given.map(|text| text.parse().expect("WHARF_CHAOS_SEED is a number"));
    given.unwrap_or_else(|| {
        let now = std::time::SystemTime::now();
        let age = now.duration_since(std::time::UNIX_EPOCH);
        age.expect("it is past 1970").as_micros() as u64
    })
}

/// Makes a storm. Panics where anything is lost, booked twice, or a dead letter that is no poison.
pub async fn run(plan: &Plan) -> Report {
    let _seed = Seed(plan.seed);
    let mut dice = Dice::of(plan.seed);
    let postings = books::postings(plan.messages, &mut dice);
    let storm = Storm::gather().await;
    let began = Instant::now();
    let (publish, to_publish) = mpsc::unbounded();
    let (repeated, ()) = tokio::join!(
        storm.publish(to_publish),
        storm.rage(plan, &postings, dice.split(), publish)
    );
    let stormed = began.elapsed();
    let url = storm.redis.lock().await.url();
    let mut subject = subject::Subject::of(&url, "bookings", "ledger").await;
    eventually("only dead letters are left", SETTLED_WITHIN, async || {
        subject.is_settled().await.then_some(())
    })
    .await;
    let settled = began.elapsed() - stormed;
    let deliveries = storm.assert_books(&postings).await;
    let poison = books::poison(&postings);
    assert_eq!(subject.dead().await, poison, "dead letters");
    storm.assert_idle().await;
    let count = |of: &std::sync::atomic::AtomicU64| of.load(Ordering::Relaxed);
    let blows = &storm.blows;
    Report {
        messages: plan.messages,
        poison: poison.len(),
        hosts_killed: count(&blows.host),
        redis_killed: count(&blows.redis),
        redis_paused: count(&blows.pause),
        connections_cut: count(&blows.cut),
        connections_held: count(&blows.hold),
        repeated,
        doubled: subject.added().await - plan.messages,
        deliveries,
        stormed,
        settled,
    }
}
