//! Connections that wait for their next user, by the component and the address that they are of.

use std::collections::HashMap;
use std::ops::Deref;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::{CONNECT_TIMEOUT, CONNECTIONS_MAX, ConnectError};
use crate::name::ComponentName;

/// Longest time that a connection idles: servers commonly close theirs after minutes.
const IDLE_MAX: Duration = Duration::from_secs(60);

/// Why a lock can be taken.
const UNPOISONED: &str = "no holder of this lock panics";

/// Whose connections, and where to. The address has its password.
type Key = (ComponentName, String);

/// The connections of all components by one protocol.
pub(super) struct Pool<C> {
    addresses: Mutex<HashMap<Key, Arc<Address<C>>>>,
}

impl<C> Default for Pool<C> {
    fn default() -> Self {
        Self {
            addresses: Mutex::default(),
        }
    }
}

struct Address<C> {
    places: Arc<Semaphore>,
    idle: Mutex<Vec<(C, Instant)>>,
}

impl<C> Pool<C> {
    /// A place for a connection, and one that idled if there is one.
    ///
    /// # Errors
    ///
    /// [`ConnectError::TooMany`].
    pub(super) async fn enter(
        &self,
        component: &ComponentName,
        address: &str,
    ) -> Result<(Place<C>, Option<(C, Duration)>), ConnectError> {
        let address = self.address(component, address);
        let permit = tokio::time::timeout(CONNECT_TIMEOUT, address.places.clone().acquire_owned());
        let permit = permit.await.map_err(|_| ConnectError::TooMany)?;
        let permit = permit.expect("the semaphore is never closed");
        let idle = address.idle.lock().expect(UNPOISONED).pop();
        let idle = idle.map(|(connection, since)| (connection, since.elapsed()));
        let place = Place {
            address,
            _permit: permit,
        };
        Ok((place, idle))
    }

    /// The address's connections. What has idled too long anywhere is closed.
    fn address(&self, component: &ComponentName, address: &str) -> Arc<Address<C>> {
        let mut addresses = self.addresses.lock().expect(UNPOISONED);
        addresses.retain(|_, address| {
            let mut idle = address.idle.lock().expect(UNPOISONED);
            idle.retain(|(_, since)| since.elapsed() < IDLE_MAX);
            let used = !idle.is_empty() || address.places.available_permits() < CONNECTIONS_MAX;
            drop(idle);
            // Somebody may be about to take the first place.
            used || Arc::strong_count(address) > 1
        });
        let make = || {
            Arc::new(Address {
                places: Arc::new(Semaphore::new(CONNECTIONS_MAX)),
                idle: Mutex::default(),
            })
        };
        let key = (component.clone(), address.to_owned());
        addresses.entry(key).or_insert_with(make).clone()
    }
}

/// A place for one connection, free again when it is dropped.
pub(super) struct Place<C> {
    address: Arc<Address<C>>,
    _permit: OwnedSemaphorePermit,
}

impl<C> Place<C> {
    /// Lets the connection idle until somebody needs it.
    pub(super) fn keep(self, connection: C) {
        let mut idle = self.address.idle.lock().expect(UNPOISONED);
        idle.push((connection, Instant::now()));
    }

    /// Puts a connection onto the place.
    pub(super) fn with(self, connection: C) -> Placed<C> {
        Placed {
            connection,
            place: self,
        }
    }
}

/// A connection on its place.
pub(super) struct Placed<C> {
    connection: C,
    place: Place<C>,
}

impl<C> Placed<C> {
    /// Lets it idle until somebody needs it.
    pub(super) fn keep(self) {
        self.place.keep(self.connection);
    }
}

impl<C> Deref for Placed<C> {
    type Target = C;

    fn deref(&self) -> &C {
        &self.connection
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name() -> ComponentName {
        "c".parse().unwrap()
    }

    #[tokio::test(start_paused = true)]
    async fn a_component_has_so_many_connections_to_an_address_and_no_more() {
        let pool = Pool::<u32>::default();
        let mut places = Vec::new();
        for _ in 0..CONNECTIONS_MAX {
            places.push(pool.enter(&name(), "a").await.unwrap().0);
        }
        let refused = pool.enter(&name(), "a").await;
        assert!(matches!(refused, Err(ConnectError::TooMany)));
        assert!(pool.enter(&name(), "b").await.is_ok(), "another address");
        places.pop().expect("there are many").keep(7);
        let (_, idle) = pool.enter(&name(), "a").await.unwrap();
        assert_eq!(idle.expect("it was kept").0, 7);
    }

    #[tokio::test]
    async fn a_connection_is_its_components_own() {
        let pool = Pool::<u32>::default();
        pool.enter(&name(), "a").await.unwrap().0.keep(7);
        let other = "d".parse().unwrap();
        assert!(pool.enter(&other, "a").await.unwrap().1.is_none());
        assert!(pool.enter(&name(), "a").await.unwrap().1.is_some());
    }
}
