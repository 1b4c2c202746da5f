//! A subscription's claims that are under way: one that waits for messages, or while there is a backlog
//! several, so that the stream works while the messages of the last claim are handled.

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use futures::stream::{FuturesUnordered, StreamExt as _};
use tokio::time::Instant;

use super::Consumer;
use super::underway::Underway;
use crate::capability::streams::{Delivery, StreamError};

/// Claims at once while there is a backlog.
const CLAIMS_MAX: usize = 2;

/// While there is a backlog, a claim waits until one in so many places is free: a claim costs the stream
/// as much as some messages do.
const GATHERED: usize = 2;

/// It waits for no longer than this, since those that work may take hours.
const GATHER_WAIT: Duration = Duration::from_millis(1);

type Claim = Pin<Box<dyn Future<Output = (usize, Result<Vec<Delivery>, StreamError>)> + Send>>;

/// Claims under way.
pub struct Claims {
    claims: FuturesUnordered<Claim>,
    /// Deliveries that they may give, all together.
    asked: usize,
    /// The last one gave all that it was asked for: there may be more.
    backlog: bool,
    /// When a claim that waits for more places to be free is made nevertheless.
    gathered: Option<Instant>,
}

impl Claims {
    /// None yet.
    pub fn new() -> Self {
        Self {
            claims: FuturesUnordered::new(),
            asked: 0,
            backlog: false,
            gathered: None,
        }
    }

    /// Claims for those of `places` that are free, if it is time to; gives the time when it will be, where
    /// that comes by itself.
    pub fn ask(
        &mut self,
        consumer: &Arc<Consumer>,
        underway: &Underway,
        places: usize,
    ) -> Option<Instant> {
        let (claims_max, wanted) = match self.backlog {
            true => (CLAIMS_MAX, places.div_ceil(GATHERED)),
            false => (1, 1),
        };
        loop {
            if self.claims.len() >= claims_max {
                underway.want_none();
                return None;
            }
            let free = underway.free(places, self.asked + wanted);
            let free = free.saturating_sub(self.asked);
            if free < wanted {
                if free == 0 {
                    return None;
                }
                let now = Instant::now();
                let gathered = *self.gathered.get_or_insert(now + GATHER_WAIT);
                if gathered > now {
                    return Some(gathered);
                }
            }
            self.gathered = None;
            self.asked += free;
            let consumer = consumer.clone();
            self.claims
                .push(Box::pin(async move { (free, consumer.claim(free).await) }));
        }
    }

    /// What the next claim that ends gave; waits for ever where there is none.
    ///
    /// # Errors
    ///
    /// The backend failed.
    pub async fn next(&mut self) -> Result<Vec<Delivery>, StreamError> {
        let Some((asked, claimed)) = self.claims.next().await else {
            return std::future::pending().await;
        };
        self.asked -= asked;
        let claimed = claimed?;
        self.backlog = claimed.len() == asked;
        Ok(claimed)
    }

    /// Cancels all of them.
    pub fn cancel(&mut self) {
        self.claims.clear();
        self.asked = 0;
    }
}
