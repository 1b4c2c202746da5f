//! Figures of streams for the metrics, which are asked for rather than counted.
//!
//! Whoever reads the metrics waits for them no longer than [`WITHIN`], however many subscriptions
//! there are and whether or not the backend answers. What did not answer keeps its earlier figures,
//! and a gauge says how many did not.

use std::sync::Arc;
use std::time::Duration;

use futures::{StreamExt as _, stream};
use tokio::time::timeout;

use crate::capability::streams::{StreamError, Streams};
use crate::telemetry::{Metrics, in_words};
use crate::trigger::stream::Consumer;

/// Longest that the figures may take: a scraper waits some ten seconds for all metrics, and a backend
/// that is well answers within milliseconds.
const WITHIN: Duration = Duration::from_secs(1);

/// Questions to the backend at once: a thousand subscriptions behind a network of a millisecond are
/// asked in some thirty.
const AT_ONCE: usize = 32;

/// Brings the figures of all subscriptions and subjects up to date.
pub(super) async fn observe(
    consumers: Vec<Arc<Consumer>>,
    streams: Arc<dyn Streams>,
    metrics: &Metrics,
) {
    let all = consumers.len();
    let questions = consumers
        .into_iter()
        .map(|consumer| async move { consumer.observe().await });
    let lengths = async { streams.subjects().await };
    let (answers, lengths) = tokio::join!(asked(questions, WITHIN), timeout(WITHIN, lengths));
    match lengths {
        Ok(Ok(lengths)) => {
            for (subject, length) in lengths {
                metrics.stream_length(&subject).set(length);
            }
        }
        Ok(Err(error)) => {
            tracing::warn!(error = %in_words(&error), "lengths of streams are those of before");
        }
        Err(_) => tracing::warn!("lengths of streams are those of before: no answer in time"),
    }
    let stale = all - answers.good;
    metrics.stale_subscriptions(stale);
    if stale > 0 {
        let error = answers.failure.as_ref();
        let error = error.map_or_else(|| "no answer in time".to_owned(), |error| in_words(error));
        tracing::warn!(subscriptions = stale, %error, "figures of subscriptions are those of before");
    }
}

struct Answers {
    good: usize,
    /// The first of the failures.
    failure: Option<StreamError>,
}

/// Asks a bounded number at once, until all have answered or the time is over.
async fn asked<Q>(questions: impl Iterator<Item = Q>, within: Duration) -> Answers
where
    Q: Future<Output = Result<(), StreamError>>,
{
    let mut answers = Answers {
        good: 0,
        failure: None,
    };
    let all = async {
        let mut asked = stream::iter(questions).buffer_unordered(AT_ONCE);
        while let Some(answer) = asked.next().await {
            match answer {
                Ok(()) => answers.good += 1,
                Err(error) => {
                    answers.failure.get_or_insert(error);
                }
            }
        }
    };
    // Whether or not the time was enough, the count says so.
    let _ = timeout(within, all).await;
    answers
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use tokio::time::{Instant, sleep};

    use super::*;

    fn failed() -> StreamError {
        StreamError::Backend {
            subject: "work".parse().expect("a subject"),
            source: Box::new(std::io::Error::other("gone")),
        }
    }

    #[tokio::test(start_paused = true)]
    async fn many_are_asked_at_once_and_not_all() {
        let (now, most) = (AtomicUsize::new(0), AtomicUsize::new(0));
        let question = |index: usize| {
            let (now, most) = (&now, &most);
            async move {
                most.fetch_max(1 + now.fetch_add(1, Ordering::Relaxed), Ordering::Relaxed);
                sleep(Duration::from_millis(1)).await;
                now.fetch_sub(1, Ordering::Relaxed);
                if index == 7 { Err(failed()) } else { Ok(()) }
            }
        };
        let began = Instant::now();
        let answers = asked((0..10 * AT_ONCE).map(question), WITHIN).await;
        assert_eq!(answers.good, 10 * AT_ONCE - 1);
        assert!(answers.failure.is_some());
        assert_eq!(most.into_inner(), AT_ONCE);
        assert!(began.elapsed() < Duration::from_millis(50));
    }

    #[tokio::test(start_paused = true)]
    async fn a_backend_that_hangs_holds_nobody_up() {
        let question = |index: usize| async move {
            if index > 0 {
                std::future::pending::<()>().await;
            }
            Ok(())
        };
        let began = Instant::now();
        let answers = asked((0..1000).map(question), WITHIN).await;
        assert_eq!(began.elapsed(), WITHIN);
        assert_eq!(answers.good, 1);
        assert!(answers.failure.is_none());
    }
}
