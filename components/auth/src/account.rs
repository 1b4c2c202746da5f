//! Accounts as they are stored, and the store as this component needs it.
//!
//! ```text
//! user/{sha256 of the address}   {"id","email","password_hash","created_at"}, written once
//! ```
//!
//! It refuses to know HTTP and tokens.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::credentials::{Email, hex};
use crate::password::{self, PasswordError};

/// 128 random bits cannot collide within the life of anything that is stored here.
const ID_BYTES: usize = 16;

/// The key-value store and the clock. It is a trait so that registration can be tested natively with
/// every interleaving of several callers.
pub trait Store {
    /// The value under a key.
    ///
    /// # Errors
    /// When the store fails.
    fn get(&self, key: &str) -> Result<Option<Vec<u8>>, StoreError>;
    /// Writes or overwrites the value under a key.
    ///
    /// # Errors
    /// When the store fails; the value may have been written nonetheless.
    fn set(&self, key: &str, value: &[u8]) -> Result<(), StoreError>;
    /// Adds one to a counter in one atomic step and gives its new value; a new counter gives 1.
    ///
    /// # Errors
    /// When the store fails; the counter may have been moved nonetheless.
    fn increment(&self, key: &str) -> Result<u64, StoreError>;
    /// Milliseconds since the Unix epoch.
    fn now_ms(&self) -> u64;
    /// Lets time pass.
    fn pause(&self, duration: Duration);
}

/// The store did not do what it was asked.
#[derive(Debug, Clone, thiserror::Error)]
#[error("the key-value store failed: {0}")]
pub struct StoreError(pub String);

/// Why an account could not be read or made, other than by anybody's mistake.
#[derive(Debug, thiserror::Error)]
pub enum AccountError {
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A record or a claim is not what this component writes. Carries the key.
    #[error("the record {0} cannot be read")]
    Corrupt(String),
    /// Hashing failed.
    #[error(transparent)]
    Password(#[from] PasswordError),
    /// No random identifier.
    #[error("there is no randomness for an identifier")]
    Randomness(#[source] getrandom::Error),
    /// One address has seen more abandoned registrations than are looked through.
    #[error("the address {0} (as a digest) has too many abandoned registrations")]
    Abandoned(String),
}

/// A user, as stored. It has no `Debug`: the hash must not reach a log.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Account {
    /// 32 lower-case hex digits: stable, opaque, safe in keys and paths.
    pub id: String,
    /// The normalised address.
    pub email: String,
    /// argon2id as a PHC string.
    pub password_hash: String,
    /// Milliseconds since the Unix epoch.
    pub created_at: u64,
}

impl Account {
    /// A new account, not stored yet. Hashes the password: some 25 ms of work.
    ///
    /// # Errors
    /// When there is no randomness or no memory.
    pub fn new(email: &Email, password: &str, now_ms: u64) -> Result<Self, AccountError> {
        let mut id = [0; ID_BYTES];
        getrandom::fill(&mut id).map_err(AccountError::Randomness)?;
        Ok(Self {
            id: hex(&id),
            email: email.as_str().to_owned(),
            password_hash: password::hash(password)?,
            created_at: now_ms,
        })
    }
}

/// The key of the account of an address.
#[must_use]
pub fn key(digest: &str) -> String {
    format!("user/{digest}")
}

/// The account of an address, if there is one.
///
/// # Errors
/// When the store fails or the record cannot be read.
pub fn find(store: &impl Store, email: &Email) -> Result<Option<Account>, AccountError> {
    let key = key(&email.digest());
    match store.get(&key)? {
        None => Ok(None),
        Some(value) => serde_json::from_slice(&value)
            .map(Some)
            .map_err(|_| AccountError::Corrupt(key)),
    }
}

/// The account whose address and password these are. Whatever is wrong with them, `None` comes after
/// the same work: one read, one argon2id.
///
/// # Errors
/// When the store fails, a record cannot be read, or there is no memory.
pub fn authenticate(
    store: &impl Store,
    user: &str,
    password: &str,
) -> Result<Option<Account>, AccountError> {
    let account = match Email::parse(user) {
        Ok(email) => find(store, &email)?,
        Err(_) => None,
    };
    let stored = account
        .as_ref()
        .map_or(password::nobodys_hash(), |found| &found.password_hash);
    let right = password::verify(password, stored)?;
    Ok(account.filter(|_| right))
}
