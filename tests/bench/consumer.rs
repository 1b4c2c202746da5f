//! What a host's subscriptions are compared with: a consumer in plain Rust on the same Redis stream,
//! with the same client library, which does nothing with each message and acknowledges it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use redis::aio::MultiplexedConnection;
use redis::streams::{StreamReadOptions, StreamReadReply};
use redis::{AsyncCommands, Client, RedisResult};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinSet;

const GROUP: &str = "native";

/// How long one read waits for a message.
const BLOCK_MS: usize = 1000;

/// How often progress is noted: as often as a host's is read.
const EVERY: Duration = Duration::from_millis(50);

/// How messages are acknowledged.
#[derive(Clone, Copy, PartialEq)]
pub enum Settling {
    /// Each in a task of its own, as soon as it is handled: a slow one holds up no other's. A host
    /// does it so.
    Each,
    /// All that came with one read in one pipeline, once all of them are handled.
    Batch,
}

/// How far somebody was at a time.
pub type Progress = Vec<(Instant, f64)>;

/// What a consumer saw.
pub struct Consumed {
    pub progress: Progress,
    /// Nanoseconds from the publication of those that say when that was, by the wall clock.
    pub nanoseconds: Vec<u64>,
}

/// Consumes so many messages from the stream at `key`, at most `concurrency` at once.
pub async fn consume(
    url: &str,
    key: &str,
    messages: u64,
    concurrency: usize,
    settling: Settling,
) -> Consumed {
    let client = Client::open(url).expect("a URL");
    let connect = async || {
        let connection = client.get_multiplexed_async_connection().await;
        connection.expect("it serves")
    };
    // Reading blocks its connection.
    let (mut reading, settled) = (connect().await, Arc::new(AtomicU64::new(0)));
    let created: RedisResult<()> = reading.xgroup_create_mkstream(key, GROUP, "0").await;
    created.expect("the group is new");
    let consumer = Consumer {
        reading,
        settling: connect().await,
        key: key.into(),
        places: Arc::new(Semaphore::new(concurrency)),
        settled: settled.clone(),
        nanoseconds: Vec::new(),
    };
    let watched = tokio::spawn(watch(settled, messages));
    let nanoseconds = consumer.run(messages, concurrency, settling).await;
    Consumed {
        progress: watched.await.expect("it does not panic"),
        nanoseconds,
    }
}

async fn watch(settled: Arc<AtomicU64>, messages: u64) -> Progress {
    let mut progress = Progress::new();
    let mut rounds = tokio::time::interval(EVERY);
    loop {
        rounds.tick().await;
        let count = settled.load(Ordering::Relaxed);
        progress.push((Instant::now(), count as f64));
        if count >= messages {
            return progress;
        }
    }
}

struct Consumer {
    reading: MultiplexedConnection,
    settling: MultiplexedConnection,
    key: Arc<str>,
    places: Arc<Semaphore>,
    settled: Arc<AtomicU64>,
    nanoseconds: Vec<u64>,
}

impl Consumer {
    async fn run(mut self, messages: u64, concurrency: usize, settling: Settling) -> Vec<u64> {
        let (mut read, mut tasks) = (0, JoinSet::new());
        while read < messages {
            let places = match settling {
                Settling::Batch => Vec::new(),
                Settling::Each => self.free_places().await,
            };
            let count = match settling {
                Settling::Batch => concurrency,
                Settling::Each => places.len(),
            };
            let ids = self.read(count).await;
            read += ids.len() as u64;
            match settling {
                Settling::Batch => settle(&mut self.settling, &self.key, &ids, &self.settled).await,
                Settling::Each => {
                    for (id, place) in ids.into_iter().zip(places) {
                        let (mut connection, key) = (self.settling.clone(), self.key.clone());
                        let settled = self.settled.clone();
                        tasks.spawn(async move {
                            settle(&mut connection, &key, &[id], &settled).await;
                            drop(place);
                        });
                    }
                    while tasks.try_join_next().is_some() {}
                }
            }
        }
        while tasks.join_next().await.is_some() {}
        self.nanoseconds
    }

    /// All that are free, at least one.
    async fn free_places(&self) -> Vec<OwnedSemaphorePermit> {
        let first = self.places.clone().acquire_owned().await;
        let mut places = vec![first.expect("it is never closed")];
        while let Ok(free) = self.places.clone().try_acquire_owned() {
            places.push(free);
        }
        places
    }

    /// The next messages' ids, at most `count`.
    async fn read(&mut self, count: usize) -> Vec<String> {
        let options = StreamReadOptions::default()
            .group(GROUP, "one")
            .count(count)
            .block(BLOCK_MS);
        let key = [&*self.key];
        let read = self.reading.xread_options(&key, &[">"], &options).await;
        let read: RedisResult<Option<StreamReadReply>> = read;
        let streams = read.expect("it serves").map(|read| read.keys);
        let entries = streams.into_iter().flatten().flat_map(|stream| stream.ids);
        let mut ids = Vec::new();
        for entry in entries {
            let body: Vec<u8> = entry.get("body").expect("an entry has a body");
            self.nanoseconds.extend(age(&body));
            ids.push(entry.id);
        }
        ids
    }
}

/// XACK and XDEL of each, in one pipeline.
async fn settle(
    connection: &mut MultiplexedConnection,
    key: &str,
    ids: &[String],
    settled: &AtomicU64,
) {
    let mut pipeline = redis::pipe();
    for id in ids {
        pipeline.xack(key, GROUP, &[id]).ignore();
        pipeline.xdel(key, &[id]).ignore();
    }
    let done: RedisResult<()> = pipeline.query_async(connection).await;
    done.expect("it serves");
    settled.fetch_add(ids.len() as u64, Ordering::Relaxed);
}

/// How long ago the message was published, in nanoseconds, if it says so.
fn age(body: &[u8]) -> Option<u64> {
    let digits = body
        .strip_prefix(b"@")?
        .split(|byte| *byte == b' ')
        .next()?;
    let sent: u64 = std::str::from_utf8(digits).ok()?.parse().ok()?;
    let now = SystemTime::now().duration_since(UNIX_EPOCH).ok()?;
    Some((now.as_nanos() as u64).saturating_sub(sent))
}
