//! *spin-adapter*: what components of Wharf and wasmCloud import and Spin does not have, made of what
//! Spin has. A manifest names it as a dependency of the component that needs it.
//!
//! ```text
//! wasi:keyvalue@0.2.0-draft        -> wasi:keyvalue@0.2.0-draft2
//! wasi:logging/logging@0.1.0-draft -> standard error, which Spin keeps
//! ```

#![cfg(target_family = "wasm")]

use std::cell::RefCell;

use bindings::exports::wasi::keyvalue0_2_0_draft::atomics;
use bindings::exports::wasi::keyvalue0_2_0_draft::batch;
use bindings::exports::wasi::keyvalue0_2_0_draft::store::{self, Error, KeyResponse};
use bindings::exports::wasi::logging::logging::{self, Level};
use bindings::wasi::keyvalue0_2_0_draft2 as spin;

#[allow(
    unsafe_code,
    missing_docs,
    clippy::all,
    reason = "generated from wit/, where the documentation is"
)]
mod bindings {
    wit_bindgen::generate!({
        path: ["../../wit"],
        inline: "
            package wharf:spin-adapter;
            world adapter {
                import wasi:keyvalue/store@0.2.0-draft2;
                import wasi:keyvalue/atomics@0.2.0-draft2;
                import wasi:keyvalue/batch@0.2.0-draft2;
                export wasi:keyvalue/store@0.2.0-draft;
                export wasi:keyvalue/atomics@0.2.0-draft;
                export wasi:keyvalue/batch@0.2.0-draft;
                export wasi:logging/logging@0.1.0-draft;
            }
        ",
        generate_all,
    });
    use super::Adapter;
    export!(Adapter);
}

/// The store that Spin gives every application; wasmtime and Wharf know it without a name, too.
const DEFAULT: &str = "default";

struct Adapter;

/// An open store, and Spin's cursor of each page that was listed: the older draft counts pages.
struct Bucket {
    spin: spin::store::Bucket,
    pages: RefCell<Vec<String>>,
}

impl From<spin::store::Error> for Error {
    fn from(error: spin::store::Error) -> Self {
        match error {
            spin::store::Error::NoSuchStore => Self::NoSuchStore,
            spin::store::Error::AccessDenied => Self::AccessDenied,
            spin::store::Error::Other(reason) => Self::Other(reason),
        }
    }
}

impl store::Guest for Adapter {
    type Bucket = Bucket;

    fn open(identifier: String) -> Result<store::Bucket, Error> {
        let label = match identifier.as_str() {
            "" => DEFAULT,
            label => label,
        };
        Ok(store::Bucket::new(Bucket {
            spin: spin::store::open(label)?,
            pages: RefCell::default(),
        }))
    }
}

impl store::GuestBucket for Bucket {
    fn get(&self, key: String) -> Result<Option<Vec<u8>>, Error> {
        Ok(self.spin.get(&key)?)
    }

    fn set(&self, key: String, value: Vec<u8>) -> Result<(), Error> {
        Ok(self.spin.set(&key, &value)?)
    }

    fn delete(&self, key: String) -> Result<(), Error> {
        Ok(self.spin.delete(&key)?)
    }

    fn exists(&self, key: String) -> Result<bool, Error> {
        Ok(self.spin.exists(&key)?)
    }

    fn list_keys(&self, cursor: Option<u64>) -> Result<KeyResponse, Error> {
        let page = cursor.and_then(|page| usize::try_from(page).ok()?.checked_sub(1));
        let after = page.and_then(|page| self.pages.borrow().get(page).cloned());
        let response = self.spin.list_keys(after.as_deref())?;
        let mut pages = self.pages.borrow_mut();
        let cursor = response.cursor.map(|next| {
            pages.push(next);
            pages.len() as u64
        });
        Ok(KeyResponse {
            keys: response.keys,
            cursor,
        })
    }
}

impl atomics::Guest for Adapter {
    fn increment(bucket: store::BucketBorrow<'_>, key: String, delta: u64) -> Result<u64, Error> {
        let delta = i64::try_from(delta);
        let delta = delta.map_err(|_| Error::Other("the delta must be below 2^63".to_owned()))?;
        let bucket = &bucket.get::<Bucket>().spin;
        let sum = spin::atomics::increment(bucket, &key, delta)?;
        u64::try_from(sum).map_err(|_| Error::Other(format!("the value of {key:?} is negative")))
    }
}

impl batch::Guest for Adapter {
    fn get_many(
        bucket: store::BucketBorrow<'_>,
        keys: Vec<String>,
    ) -> Result<Vec<Option<(String, Vec<u8>)>>, Error> {
        let values = spin::batch::get_many(&bucket.get::<Bucket>().spin, &keys)?;
        let pair = |(key, value): (String, Option<Vec<u8>>)| Some((key, value?));
        Ok(values.into_iter().map(pair).collect())
    }

    fn set_many(
        bucket: store::BucketBorrow<'_>,
        key_values: Vec<(String, Vec<u8>)>,
    ) -> Result<(), Error> {
        Ok(spin::batch::set_many(
            &bucket.get::<Bucket>().spin,
            &key_values,
        )?)
    }

    fn delete_many(bucket: store::BucketBorrow<'_>, keys: Vec<String>) -> Result<(), Error> {
        Ok(spin::batch::delete_many(
            &bucket.get::<Bucket>().spin,
            &keys,
        )?)
    }
}

impl logging::Guest for Adapter {
    fn log(level: Level, context: String, message: String) {
        let level = match level {
            Level::Trace => "TRACE",
            Level::Debug => "DEBUG",
            Level::Info => "INFO",
            Level::Warn => "WARN",
            Level::Error => "ERROR",
            Level::Critical => "CRITICAL",
        };
        eprintln!("{level} {context}: {message}");
    }
}
