//! Wakes whoever waits for something on the server, when somebody else has changed it.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use redis::{PushInfo, PushKind, Value};
use tokio::sync::Notify;

/// Wakes whoever waits for something on the server. A ring may be missed while the connection is
/// lost, so nobody waits for one without a limit.
#[derive(Debug, Default)]
pub struct Bell {
    waiting: Mutex<HashMap<String, Arc<Notify>>>,
}

impl Bell {
    /// What is notified when `name` is rung, and when rings may have been missed.
    pub fn of(&self, name: &str) -> Arc<Notify> {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        waiting.entry(name.to_owned()).or_default().clone()
    }

    /// Rings for `name`, in this process.
    pub fn ring(&self, name: &str) {
        let waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(notify) = waiting.get(name) {
            notify.notify_waiters();
        }
    }

    /// Takes what the server sent unasked.
    pub(super) fn pushed(&self, push: &PushInfo) {
        match push.kind {
            PushKind::Message => {
                if let Some(Value::BulkString(name)) = push.data.get(1)
                    && let Ok(name) = std::str::from_utf8(name)
                {
                    self.ring(name);
                }
            }
            // The first listens again after a loss: what rang in between was not heard.
            PushKind::Subscribe | PushKind::Disconnection => self.ring_all(),
            _ => {}
        }
    }

    fn ring_all(&self) {
        let waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        waiting.values().for_each(|notify| notify.notify_waiters());
    }
}
