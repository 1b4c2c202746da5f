//! A subscription's claims that are under way: one that waits for messages, or while there is a backlog
//! several, so that the stream works while the messages of the last claim are handled.

use std::time::Duration;

use futures::future::{BoxFuture, FutureExt as _};
use futures::stream::{FuturesUnordered, StreamExt as _};
use tokio::time::Instant;

use super::underway::Underway;
use crate::capability::streams::StreamError;

/// Claims at once while there is a backlog.
const CLAIMS_MAX: usize = 2;

/// While there is a backlog, a claim waits until one in so many places is free: a claim costs the stream
/// as much as some messages do.
const GATHERED: usize = 2;

/// It waits for no longer than this, since those that work may take hours.
const GATHER_WAIT: Duration = Duration::from_millis(1);

/// What a claim gives.
type Claimed<T> = Result<Vec<T>, StreamError>;

/// A claim on its way.
pub type Claim<T> = BoxFuture<'static, Claimed<T>>;

/// Claims under way, of deliveries `T`.
pub struct Claims<T> {
    /// Each with how many it may give.
    claims: FuturesUnordered<BoxFuture<'static, (usize, Claimed<T>)>>,
    /// Deliveries that they may give, all together.
    asked: usize,
    /// The last one gave all that it was asked for: there may be more.
    backlog: bool,
    /// When a claim that waits for more places to be free is made nevertheless.
    gathered: Option<Instant>,
}

impl<T: 'static> Claims<T> {
    /// None yet.
    pub fn new() -> Self {
        Self {
            claims: FuturesUnordered::new(),
            asked: 0,
            backlog: false,
            gathered: None,
        }
    }

    /// Has `claim` claim for those of `places` that are free, if it is time to; gives the time when it will
    /// be, where that comes by itself.
    pub fn ask(
        &mut self,
        underway: &Underway,
        places: usize,
        claim: impl Fn(usize) -> Claim<T>,
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
            let claimed = claim(free).map(move |claimed| (free, claimed));
            self.claims.push(claimed.boxed());
        }
    }

    /// What the next claim that ends gave; waits for ever where there is none.
    ///
    /// # Errors
    ///
    /// The backend failed.
    pub async fn next(&mut self) -> Claimed<T> {
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

#[cfg(test)]
mod tests {
    use std::cell::RefCell;
    use std::sync::Arc;

    use tokio::sync::oneshot;

    use super::*;

    /// What was claimed and not answered yet, the oldest claim first.
    #[derive(Default)]
    struct Stream(RefCell<Vec<(usize, oneshot::Sender<usize>)>>);

    impl Stream {
        fn claim(&self, max: usize) -> Claim<()> {
            let (answer, answered) = oneshot::channel();
            self.0.borrow_mut().push((max, answer));
            async move { Ok(vec![(); answered.await.expect("it is answered")]) }.boxed()
        }

        fn asked(&self) -> Vec<usize> {
            self.0.borrow().iter().map(|(max, _)| *max).collect()
        }

        fn answer(&self, count: usize) {
            let (_, answer) = self.0.borrow_mut().remove(0);
            answer.send(count).expect("it is waited for");
        }
    }

    /// Asks for what is free of eight places.
    fn ask(claims: &mut Claims<()>, underway: &Underway, stream: &Stream) -> Option<Instant> {
        claims.ask(underway, 8, |max| stream.claim(max))
    }

    #[tokio::test]
    async fn one_claim_waits_where_there_is_no_backlog() {
        let (underway, stream) = (Arc::<Underway>::default(), Stream::default());
        let mut claims = Claims::new();
        assert_eq!(ask(&mut claims, &underway, &stream), None);
        assert_eq!(ask(&mut claims, &underway, &stream), None);
        assert_eq!(stream.asked(), [8]);
        stream.answer(3);
        assert_eq!(claims.next().await.expect("it claims").len(), 3);
        let three: Vec<_> = (0..3).map(|_| underway.take()).collect();
        ask(&mut claims, &underway, &stream);
        assert_eq!(stream.asked(), [5], "what is free, though it is little");
        drop(three);
    }

    #[tokio::test(start_paused = true)]
    async fn claims_under_way_never_ask_for_more_than_is_free() {
        let (underway, stream) = (Arc::<Underway>::default(), Stream::default());
        let mut claims = Claims::new();
        ask(&mut claims, &underway, &stream);
        stream.answer(8);
        assert_eq!(claims.next().await.expect("it claims").len(), 8);
        let mut held: Vec<_> = (0..8).map(|_| underway.take()).collect();
        assert_eq!(ask(&mut claims, &underway, &stream), None, "none is free");
        // Three of eight: they wait for others, but not for long.
        held.truncate(5);
        let until = ask(&mut claims, &underway, &stream).expect("it waits for others");
        assert!(stream.asked().is_empty());
        tokio::time::sleep_until(until).await;
        ask(&mut claims, &underway, &stream);
        assert_eq!(stream.asked(), [3]);
        // The next four do not.
        held.truncate(1);
        assert_eq!(ask(&mut claims, &underway, &stream), None);
        assert_eq!(stream.asked(), [3, 4]);
        held.clear();
        assert_eq!(ask(&mut claims, &underway, &stream), None, "two are enough");
        assert_eq!(stream.asked(), [3, 4]);
    }

    #[tokio::test]
    async fn what_is_cancelled_may_be_asked_for_again() {
        let (underway, stream) = (Arc::<Underway>::default(), Stream::default());
        let mut claims = Claims::new();
        ask(&mut claims, &underway, &stream);
        claims.cancel();
        ask(&mut claims, &underway, &stream);
        assert_eq!(stream.asked(), [8, 8]);
    }
}
