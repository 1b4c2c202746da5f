//! How many deliveries each subscription of an application may hold at once.
//!
//! A subscription asks for its concurrency, and its component has only so many instances, as has the
//! host. Where they do not suffice for all, they are dealt out evenly: each subscription gets what it
//! asks for or the same number as the others, so that the one with the backlog does not take what the
//! rest need. The deal is fixed until another manifest holds: nobody can be given a place that is taken
//! from somebody whose work takes hours.
//!
//! A component with more subscriptions than instances cannot give each a place. Its subscriptions take
//! turns: whoever has a message waits for an instance, in the order of asking.

use std::collections::BTreeMap;
use std::sync::Arc;

use tokio::sync::Semaphore;

use crate::manifest::model::{Application, Subscription};
use crate::name::ComponentName;

/// What one subscription may hold.
#[derive(Debug, Clone)]
pub struct Places {
    /// Deliveries at once.
    pub own: usize,
    /// What it waits for before it works, where its component has fewer instances than subscriptions.
    pub turns: Option<Turns>,
}

/// The instances of a component whose subscriptions take turns.
#[derive(Debug, Clone)]
pub struct Turns {
    /// A permit for each instance, given in the order of asking.
    pub permits: Arc<Semaphore>,
    instances: usize,
}

impl Turns {
    fn of(instances: usize) -> Self {
        Self {
            permits: Arc::new(Semaphore::new(instances)),
            instances,
        }
    }

    fn is_same(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.permits, &other.permits)
    }
}

impl PartialEq for Places {
    fn eq(&self, other: &Self) -> bool {
        let same_turns = match (&self.turns, &other.turns) {
            (Some(turns), Some(others)) => turns.is_same(others),
            (None, None) => true,
            (Some(_), None) | (None, Some(_)) => false,
        };
        self.own == other.own && same_turns
    }
}

/// The turns of every component that has them. They are kept when another manifest comes to hold, since
/// work that goes on still has its turn.
#[derive(Debug, Clone, Default)]
pub struct AllTurns(BTreeMap<ComponentName, Turns>);

impl AllTurns {
    /// What each of the application's subscriptions may hold, in their order, on a host where
    /// `instances_max` instances may live.
    pub fn deal(&mut self, application: &Application, instances_max: usize) -> Vec<Places> {
        let subscriptions = &application.subscriptions;
        let mut own: Vec<usize> = subscriptions.iter().map(|s| s.concurrency).collect();
        let mut turns = BTreeMap::new();
        for (name, component) in &application.components {
            let of_component = |subscription: &Subscription| subscription.component == *name;
            let mine: Vec<usize> = (0..subscriptions.len())
                .filter(|index| of_component(&subscriptions[*index]))
                .collect();
            let instances = component.limits.instances_max;
            limit(&mut own, &mine, instances);
            if mine.len() > instances {
                turns.insert(name.clone(), self.turns(name, instances));
            }
        }
        let all: Vec<usize> = (0..subscriptions.len()).collect();
        limit(&mut own, &all, instances_max);
        self.0 = turns;
        let places = own.into_iter().zip(subscriptions);
        places
            .map(|(own, subscription)| Places {
                own,
                turns: self.0.get(&subscription.component).cloned(),
            })
            .collect()
    }

    fn turns(&self, component: &ComponentName, instances: usize) -> Turns {
        let kept = self.0.get(component);
        let kept = kept.filter(|turns| turns.instances == instances);
        kept.cloned().unwrap_or_else(|| Turns::of(instances))
    }
}

/// Lowers those of `own` that `among` names until they sum up to `available`: the largest first, and
/// none below 1.
fn limit(own: &mut [usize], among: &[usize], available: usize) {
    let mut by_size = among.to_vec();
    by_size.sort_by_key(|index| own[*index]);
    let mut left = available;
    let mut sharers = by_size.len();
    for index in by_size {
        // What the smaller ones did not need is there for the larger ones.
        own[index] = own[index].min(left / sharers).max(1);
        left = left.saturating_sub(own[index]);
        sharers -= 1;
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    fn limited(own: &[usize], available: usize) -> Vec<usize> {
        let mut own = own.to_vec();
        let all: Vec<usize> = (0..own.len()).collect();
        limit(&mut own, &all, available);
        own
    }

    #[test]
    fn what_suffices_is_not_limited() {
        assert_eq!(limited(&[4, 1, 8], 13), [4, 1, 8]);
        assert_eq!(limited(&[], 1), [0; 0]);
    }

    #[test]
    fn what_is_scarce_is_dealt_out_evenly() {
        assert_eq!(limited(&[4, 4], 4), [2, 2]);
        assert_eq!(limited(&[100, 1], 4), [3, 1]);
        assert_eq!(limited(&[100, 1, 100], 8), [3, 1, 4]);
        assert_eq!(limited(&[9], 4), [4]);
        assert_eq!(limited(&[2, 2, 2], 2), [1, 1, 1], "nobody gets nothing");
    }

    fn application(subscriptions: &[(&str, usize)], instances: usize) -> Application {
        let mut text = format!(
            "application.name = \"x\"\ncomponent.b.artifact = \"b.wasm\"\n\
             component.a.artifact = \"a.wasm\"\ncomponent.a.limits.instances = {instances}\n"
        );
        for (index, (component, concurrency)) in subscriptions.iter().enumerate() {
            text.push_str(&format!(
                "[[subscription]]\nsubject = \"s{index}\"\ncomponent = \"{component}\"\n\
                 concurrency = {concurrency}\n"
            ));
        }
        let loaded = crate::manifest::resolve(&text, Path::new("x.toml"));
        loaded
            .unwrap_or_else(|problems| panic!("{problems}"))
            .application
    }

    fn own(places: &[Places]) -> Vec<usize> {
        places.iter().map(|places| places.own).collect()
    }

    #[test]
    fn a_component_and_the_host_are_limits() {
        let application = application(&[("a", 4), ("b", 4), ("a", 8)], 6);
        let mut turns = AllTurns::default();
        let places = turns.deal(&application, 100);
        assert_eq!(own(&places), [3, 4, 3]);
        assert!(places.iter().all(|places| places.turns.is_none()));
        assert_eq!(own(&turns.deal(&application, 6)), [2, 2, 2]);
    }

    #[test]
    fn those_that_are_more_than_the_instances_take_turns() {
        let many = application(&[("a", 4), ("a", 4), ("a", 1), ("b", 2)], 2);
        let mut turns = AllTurns::default();
        let places = turns.deal(&many, 100);
        assert_eq!(own(&places), [1, 1, 1, 2]);
        let permits = places[0].turns.as_ref().expect("a's").permits.clone();
        assert_eq!(permits.available_permits(), 2);
        assert!(places[3].turns.is_none());
        assert_eq!(places[0], places[2]);
        assert_eq!(turns.deal(&many, 100), places, "what holds is kept");
    }
}
