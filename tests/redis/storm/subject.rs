//! A subject as Redis holds it, read without a host.

use std::collections::BTreeSet;

use redis::aio::MultiplexedConnection;
use redis::streams::{StreamPendingReply, StreamRangeReply};
use redis::{AsyncCommands, Client};

/// One group's view of one subject.
pub struct Subject {
    connection: MultiplexedConnection,
    entries: String,
    group: String,
    dead: String,
}

impl Subject {
    pub async fn of(url: &str, subject: &str, group: &str) -> Self {
        let client = Client::open(url).expect("a URL");
        let connection = client.get_multiplexed_async_connection().await;
        Self {
            connection: connection.expect("it serves"),
            entries: format!("wharf:{{{subject}}}:entries"),
            group: group.to_owned(),
            dead: format!("wharf:{{{subject}}}:dead:{group}"),
        }
    }

    /// Nothing is delivered or waits for it, and what the stream holds are dead letters.
    pub async fn is_settled(&mut self) -> bool {
        let held: u64 = self.connection.xlen(&self.entries).await.unwrap();
        let dead: u64 = self.connection.zcard(&self.dead).await.unwrap();
        let pending = self.connection.xpending(&self.entries, &self.group).await;
        let pending: StreamPendingReply = pending.unwrap();
        pending.count() == 0 && held == dead
    }

    /// The ids of the messages that are dead letters.
    pub async fn dead(&mut self) -> BTreeSet<u64> {
        let entries: Vec<String> = self.connection.zrange(&self.dead, 0, -1).await.unwrap();
        let mut ids = BTreeSet::new();
        for entry in &entries {
            let range = self.connection.xrange(&self.entries, entry, entry).await;
            let range: StreamRangeReply = range.unwrap();
            let [held] = &range.ids[..] else {
                panic!("the dead letter {entry} is not there");
            };
            let body: String = held.get("body").expect("an entry has a body");
            let id = body.split(' ').nth(1).expect("the id is the second word");
            ids.insert(id.parse().unwrap());
        }
        ids
    }

    /// Entries that were ever added.
    pub async fn added(&mut self) -> u64 {
        let info = self.connection.xinfo_stream(&self.entries).await;
        let info: redis::Value = info.unwrap();
        let info: std::collections::HashMap<String, redis::Value> =
            redis::from_redis_value(info).unwrap();
        redis::from_redis_value(info["entries-added"].clone()).unwrap()
    }
}
