//! Where one host of a storm runs, is killed, and runs again.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::sync::Mutex;

use crate::harness::{Client, Host};
use crate::redis::fleet::Place;

/// A place and the host that runs there, if it does.
pub struct Site {
    pub place: Place,
    pub host: Mutex<Option<Host>>,
    /// Where it serves.
    address: std::sync::Mutex<Option<SocketAddr>>,
}

impl Site {
    pub async fn start(place: Place) -> Self {
        let site = Self {
            place,
            host: Mutex::default(),
            address: std::sync::Mutex::default(),
        };
        site.restart(Duration::ZERO).await;
        site
    }

    /// Kills the host, if it runs, and starts it again after so long.
    pub async fn restart(&self, after: Duration) {
        let mut held = self.host.lock().await;
        self.serves_at(None);
        // Dropping it sends SIGKILL.
        drop(held.take());
        tokio::time::sleep(after).await;
        let host = self.place.launch().start().await;
        self.serves_at(Some(host.http));
        *held = Some(host);
    }

    fn serves_at(&self, address: Option<SocketAddr>) {
        *self.address.lock().expect("no holder of this lock panics") = address;
    }

    /// A client of the host, if it runs.
    pub fn client(&self) -> Option<Client> {
        let address = *self.address.lock().expect("no holder of this lock panics");
        address.map(Client::http1)
    }
}
