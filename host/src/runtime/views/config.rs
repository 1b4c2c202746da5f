//! `wasi:config`: the component's configuration values, without its secrets, and what the interface
//! for messages has no field for: the delivery that an instance handles.
//!
//! | key | value |
//! | --- | --- |
//! | `wharf.message.id` | the entry, unique within its subject for ever |
//! | `wharf.message.attempt` | which delivery of it this is, from 1 |
//! | `wharf.message.published-at` | when it was published (RFC 3339), by its publisher's clock |
//! | `wharf.message.header.NAME` | the first header of that name; case does not matter |
//!
//! They are there while a handler handles its message, and for nobody else: neither for a request nor
//! for another component that the handler calls, which is told what it needs by its caller. A manifest
//! cannot set such keys. `get-all` answers the manifest's values only, since guests commonly ask once
//! and keep what they got, and a message's identity must not be kept.

use crate::capability::streams::Delivery;
use crate::runtime::bindings::{config_2024_09_27, config_draft, config_rc1};
use crate::runtime::state::InstanceState;

/// What the keys that describe a message begin with.
const MESSAGE_PREFIX: &str = "wharf.message.";

/// What the keys that give a header of it go on with.
const HEADER_PREFIX: &str = "header.";

impl InstanceState {
    pub(super) fn config_value(&self, key: &str) -> Option<String> {
        if let Some(about) = key.strip_prefix(MESSAGE_PREFIX) {
            return of_message(self.delivery.as_deref()?, about);
        }
        let mut values = self.context.config.iter();
        values.find_map(|(known, value)| (known == key).then(|| value.clone()))
    }
}

fn of_message(delivery: &Delivery, about: &str) -> Option<String> {
    if let Some(wanted) = about.strip_prefix(HEADER_PREFIX) {
        let mut headers = delivery.message.headers.iter();
        return headers
            .find_map(|(name, value)| name.eq_ignore_ascii_case(wanted).then(|| value.clone()));
    }
    match about {
        "id" => Some(delivery.entry.to_string()),
        "attempt" => Some(delivery.attempt.to_string()),
        "published-at" => {
            let published = humantime::format_rfc3339_millis(delivery.published_at);
            Some(published.to_string())
        }
        _ => None,
    }
}

macro_rules! config_view {
    ($bindings:ident) => {
        impl $bindings::wasi::config::store::Host for InstanceState {
            fn get(
                &mut self,
                key: String,
            ) -> wasmtime::Result<Result<Option<String>, $bindings::wasi::config::store::Error>>
            {
                Ok(Ok(self.config_value(&key)))
            }

            fn get_all(
                &mut self,
            ) -> wasmtime::Result<
                Result<Vec<(String, String)>, $bindings::wasi::config::store::Error>,
            > {
                Ok(Ok(self.context.config.clone()))
            }
        }
    };
}

config_view!(config_rc1);
config_view!(config_2024_09_27);
config_view!(config_draft);
