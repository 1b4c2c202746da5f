//! The deliveries of one subscription that are under way, and when there is room for more.
//!
//! A delivery takes a place while it is handled. What comes after, its settlement, is the stream's work
//! and needs no instance: it holds up no other delivery, unless far more are being settled than there are
//! places.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::Instant;

/// Deliveries that are handled or settled, to the places: enough that the stream is never waited for
/// while it answers, and few to be delivered again where this host dies.
const HELD_TO_HANDLED: usize = 3;

/// What the consumer's loop and its deliveries share.
#[derive(Default)]
pub struct Underway {
    /// Places, taken or not.
    places: AtomicUsize,
    /// The loop is told once so many are free.
    wanted: AtomicUsize,
    handled: AtomicUsize,
    held: AtomicUsize,
    /// Nothing is claimed before.
    resume: Mutex<Option<Instant>>,
    changed: Notify,
}

impl Underway {
    /// Free places among `places`. The loop is told once `wanted` are free.
    pub fn free(&self, places: usize, wanted: usize) -> usize {
        self.places.store(places, Ordering::SeqCst);
        self.wanted.store(wanted, Ordering::SeqCst);
        // Read after it was said what is wanted: whoever ends in between tells it.
        self.free_now()
    }

    /// The loop wants to hear of no free place.
    pub fn want_none(&self) {
        self.wanted.store(usize::MAX, Ordering::SeqCst);
    }

    fn free_now(&self) -> usize {
        let places = self.places.load(Ordering::SeqCst);
        let handled = self.handled.load(Ordering::SeqCst);
        let held = self.held.load(Ordering::SeqCst);
        let room = places.saturating_mul(HELD_TO_HANDLED).saturating_sub(held);
        places.saturating_sub(handled).min(room)
    }

    /// Takes a place for a delivery.
    pub fn take(self: &Arc<Self>) -> (Handled, Held) {
        self.handled.fetch_add(1, Ordering::SeqCst);
        self.held.fetch_add(1, Ordering::SeqCst);
        (Handled(self.clone()), Held(self.clone()))
    }

    /// Has nothing claimed for so long.
    pub fn pause(&self, pause: Duration) {
        let until = Instant::now() + pause;
        let mut resume = self.resume();
        *resume = Some(resume.map_or(until, |resume| resume.max(until)));
        drop(resume);
        self.changed.notify_one();
    }

    /// When to claim again, where it is not now.
    pub fn paused(&self) -> Option<Instant> {
        let mut resume = self.resume();
        if resume.is_some_and(|resume| resume <= Instant::now()) {
            *resume = None;
        }
        *resume
    }

    /// Resolves when as many places are free as are wanted, or there is a pause.
    pub async fn changed(&self) {
        self.changed.notified().await;
    }

    fn resume(&self) -> std::sync::MutexGuard<'_, Option<Instant>> {
        self.resume.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn ended(&self, count: &AtomicUsize) {
        count.fetch_sub(1, Ordering::SeqCst);
        if self.free_now() >= self.wanted.load(Ordering::SeqCst) {
            self.changed.notify_one();
        }
    }
}

/// A delivery that is handled. Dropped, its place is free.
pub struct Handled(Arc<Underway>);

impl Handled {
    /// Has nothing claimed for so long.
    pub fn pause(&self, pause: Duration) {
        self.0.pause(pause);
    }
}

impl Drop for Handled {
    fn drop(&mut self) {
        self.0.ended(&self.0.handled);
    }
}

/// A delivery that is held, until it is settled.
pub struct Held(Arc<Underway>);

impl Drop for Held {
    fn drop(&mut self) {
        self.0.ended(&self.0.held);
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt as _;

    use super::*;

    fn is_told(underway: &Underway) -> bool {
        underway.changed().now_or_never().is_some()
    }

    #[test]
    fn a_place_is_free_once_its_delivery_is_handled() {
        let underway = Arc::<Underway>::default();
        assert_eq!(underway.free(2, 1), 2);
        let (handled, held) = underway.take();
        let (others_handled, others_held) = underway.take();
        assert_eq!(underway.free(2, 1), 0);
        drop(handled);
        assert_eq!(underway.free(2, 1), 1, "its settlement takes no place");
        drop((held, others_handled, others_held));
        assert_eq!(underway.free(2, 1), 2);
    }

    #[test]
    fn what_is_being_settled_is_bounded() {
        let underway = Arc::<Underway>::default();
        let mut settling = Vec::new();
        for _ in 0..10 * HELD_TO_HANDLED {
            if underway.free(3, 1) == 0 {
                break;
            }
            let (handled, held) = underway.take();
            drop(handled);
            settling.push(held);
        }
        assert_eq!(settling.len(), 3 * HELD_TO_HANDLED);
        assert_eq!(underway.free(3, 1), 0);
        drop(settling.pop());
        assert_eq!(underway.free(3, 1), 1);
    }

    #[test]
    fn the_loop_is_told_when_as_many_are_free_as_it_wants() {
        let underway = Arc::<Underway>::default();
        let (first, second) = (underway.take(), underway.take());
        assert_eq!(underway.free(2, 2), 0);
        drop(first);
        assert!(!is_told(&underway), "one is free");
        drop(second);
        assert!(is_told(&underway));
        underway.want_none();
        drop(underway.take());
        assert!(!is_told(&underway));
    }

    #[test]
    fn a_pause_is_told_and_the_longest_counts() {
        let underway = Arc::<Underway>::default();
        assert_eq!(underway.paused(), None);
        underway.pause(Duration::from_secs(60));
        let until = underway.paused();
        underway.pause(Duration::from_secs(1));
        assert_eq!(underway.paused(), until);
        assert!(until.is_some() && is_told(&underway));
    }
}
