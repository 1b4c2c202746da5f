//! One message, one telling: the order of its steps and what a second delivery repeats.
//!
//! ```text
//! told/{job} there? -> done
//! 1. the user's list     completed by the next delivery, never doubled
//! 2. the webhook, if set failure -> Err, delivered again later; the list already shows it
//! 3. told/{job}          from here on every delivery is done at once
//! ```
//!
//! The list comes first, so that a webhook that is down keeps nothing from the page. The mark comes
//! last, so that a webhook that failed is tried again. Only a crash (or a lost lease) between 2 and
//! 3 tells the webhook twice: its receiver can tell by the `idempotency-key` header, the job's id.

use crate::event::Event;
use crate::list::{self, ListError, Notice, Store};
use crate::webhook::WebhookError;

/// Why a message was not told completely. Delivering it again may help.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum TellError {
    /// The user's list could not be written.
    #[error("the notice could not be put into the user's list")]
    List(#[from] ListError),
    /// The webhook did not take it.
    #[error("the webhook was not told")]
    Webhook(#[from] WebhookError),
}

/// What a delivery came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Told {
    /// It was told now.
    Now,
    /// An earlier delivery had told it.
    Before,
}

/// Tells an event. `webhook` posts a notice, or does nothing where none is configured.
///
/// # Errors
/// When the store or the webhook fails; see the module for what the next delivery repeats.
pub fn tell(
    store: &impl Store,
    event: &Event,
    now_ms: u64,
    webhook: impl FnOnce(&Event, &Notice) -> Result<(), WebhookError>,
) -> Result<Told, TellError> {
    let mark = format!("told/{}", event.job);
    if store.get(&mark).map_err(ListError::from)?.is_some() {
        return Ok(Told::Before);
    }
    let notice = list::append(store, event, now_ms)?;
    webhook(event, &notice)?;
    store
        .set(&mark, now_ms.to_string().as_bytes())
        .map_err(ListError::from)?;
    Ok(Told::Now)
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;
    use crate::list::tests::{Memory, event};

    fn listed(store: &Memory) -> usize {
        list::recent(store, "ff", 10).unwrap().len()
    }

    #[test]
    fn a_redelivery_tells_neither_list_nor_webhook_again() {
        let store = Memory::default();
        let posts = Cell::new(0);
        let post = |_: &Event, _: &Notice| {
            posts.set(posts.get() + 1);
            Ok(())
        };
        assert_eq!(tell(&store, &event(1), 1, post), Ok(Told::Now));
        assert_eq!(tell(&store, &event(1), 2, post), Ok(Told::Before));
        assert_eq!((posts.get(), listed(&store)), (1, 1));
    }

    #[test]
    fn a_webhook_that_is_down_keeps_nothing_from_the_list_and_is_tried_again() {
        let store = Memory::default();
        let down = || Err(WebhookError::Status(503));
        for _ in 0..3 {
            let outcome = tell(&store, &event(1), 1, |_, _| down());
            assert_eq!(outcome, Err(TellError::Webhook(WebhookError::Status(503))));
            assert_eq!(listed(&store), 1);
        }
        assert_eq!(tell(&store, &event(1), 1, |_, _| Ok(())), Ok(Told::Now));
        assert_eq!(listed(&store), 1);
    }

    #[test]
    fn only_a_crash_between_webhook_and_mark_tells_the_webhook_twice() {
        // told?, place?, count, place, notice?, notice, mark
        for operations in 0..7 {
            let store = Memory::default();
            let posts = Cell::new(0);
            let post = |_: &Event, _: &Notice| {
                posts.set(posts.get() + 1);
                Ok(())
            };
            store.breaks_after.set(Some(operations));
            assert!(tell(&store, &event(1), 1, post).is_err());
            store.breaks_after.set(None);
            assert_eq!(tell(&store, &event(1), 2, post), Ok(Told::Now));
            let crashed_between = operations == 6;
            assert_eq!(posts.get(), if crashed_between { 2 } else { 1 });
            assert_eq!(listed(&store), 1);
        }
    }
}
