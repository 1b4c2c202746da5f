//! Constant load from outside: requests one after another on several connections, each answer kept
//! with when it was asked for and when it came.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use http::Request;
use tokio::task::JoinHandle;
use tokio::time::Instant;

use crate::harness::client::{Body, empty};
use crate::harness::{Client, Reply};

/// A request's answer.
#[derive(Debug)]
pub struct Answer {
    /// The request's number.
    pub n: u64,
    pub sent: Instant,
    pub answered: Instant,
    /// The error is that no response began.
    pub reply: Result<Reply, String>,
}

impl Answer {
    /// A whole response with this status.
    pub fn is(&self, status: u16) -> bool {
        let whole = |reply: &Reply| reply.status == status && reply.broken.is_none();
        self.reply.as_ref().is_ok_and(whole)
    }

    pub fn text(&self) -> String {
        self.reply.as_ref().map_or_else(Clone::clone, Reply::text)
    }

    pub fn took(&self) -> Duration {
        self.answered - self.sent
    }
}

/// A load that goes on until it is stopped.
pub struct Load {
    stopped: Arc<AtomicBool>,
    connections: Vec<JoinHandle<Vec<Answer>>>,
}

impl Load {
    /// `connections` at once, each with a pause between an answer and the next request. The requests
    /// are numbered from 0 over all connections.
    pub fn of(
        connections: usize,
        pause: Duration,
        request: impl Fn(u64) -> (Client, Request<Body>) + Send + Sync + 'static,
    ) -> Self {
        let stopped = Arc::new(AtomicBool::new(false));
        let numbers = Arc::new(AtomicU64::new(0));
        let request = Arc::new(request);
        let connections = (0..connections).map(|_| {
            let (stopped, numbers, request) = (stopped.clone(), numbers.clone(), request.clone());
            tokio::spawn(async move {
                let mut answers = Vec::new();
                let mut pace = tokio::time::interval(pause);
                pace.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
                while !stopped.load(Ordering::SeqCst) {
                    let n = numbers.fetch_add(1, Ordering::SeqCst);
                    let (client, request) = request(n);
                    answers.push(ask(n, &client, request).await);
                    pace.tick().await;
                }
                answers
            })
        });
        let connections = connections.collect();
        Self {
            stopped,
            connections,
        }
    }

    /// GETs of what `path` gives for a request's number.
    pub fn gets(
        client: &Client,
        connections: usize,
        pause: Duration,
        path: impl Fn(u64) -> String + Send + Sync + 'static,
    ) -> Self {
        let client = client.clone();
        Self::of(connections, pause, move |n| {
            let request = client.request("GET", &path(n)).body(empty()).unwrap();
            (client.clone(), request)
        })
    }

    /// Waits for the last answers; all of them.
    pub async fn stop(self) -> Vec<Answer> {
        self.stopped.store(true, Ordering::SeqCst);
        let mut answers = Vec::new();
        for connection in self.connections {
            answers.extend(connection.await.expect("a connection of the load"));
        }
        answers
    }
}

async fn ask(n: u64, client: &Client, request: Request<Body>) -> Answer {
    let sent = Instant::now();
    let reply = client.try_send(request).await;
    Answer {
        n,
        sent,
        answered: Instant::now(),
        reply,
    }
}

/// Asserts that every answer is whole and has this status.
#[track_caller]
pub fn assert_all(what: &str, answers: &[Answer], status: u16) {
    let failed: Vec<&Answer> = answers.iter().filter(|each| !each.is(status)).collect();
    assert!(
        failed.is_empty(),
        "{what}: {} of {} failed, the first ones: {:#?}",
        failed.len(),
        answers.len(),
        &failed[..failed.len().min(3)]
    );
    assert!(!answers.is_empty(), "{what}: nothing was asked");
}
