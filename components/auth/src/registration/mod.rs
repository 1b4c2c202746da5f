//! One address, one account, with no compare-and-swap to lean on: only an atomic counter.
//!
//! ```text
//! marked/{address}/{generation}   when the generation began, written before anybody claims it
//! claim/{address}/{generation}    a counter: whoever gets 1 owns the registration
//!
//! generation n:  mark -> claim -+- 1 ----> no account yet, mark still young -> write the account
//!                               +- other -> wait for the account; none comes -> in progress
//! mark older than CLAIM_ABANDONED_AFTER  -> generation n + 1
//! ```
//!
//! An owner that dies leaves a claim that nobody can take. It does not lock the address: the mark
//! grows old and the next generation opens. Two owners do not both write: an owner starts to write
//! only while its mark is younger than `OWNER_WRITES_WITHIN`, the host ends its request within the
//! deadline, and the next generation opens long after both. That takes hosts that share a store to
//! agree on the time within some seconds, and deadlines to be kept.

use std::time::Duration;

use crate::account::{self, Account, AccountError, Store};
use crate::credentials::Email;

/// When a claim counts as abandoned. Above `OWNER_WRITES_WITHIN` by three times the request deadline
/// (10 s in the shipped manifest), so that its owner's write is either done or will never happen.
pub const CLAIM_ABANDONED_AFTER: Duration = Duration::from_secs(60);
/// How old its mark may be when an owner writes the account. Mark and write are a few milliseconds
/// apart, unless whoever wrote the mark died before it claimed and this owner came later.
const OWNER_WRITES_WITHIN: Duration = Duration::from_secs(30);
/// How long the others wait for the owner. It needs a few milliseconds.
const OWNER_WAIT: Duration = Duration::from_secs(2);
/// How often they look.
const OWNER_POLL: Duration = Duration::from_millis(50);
/// Every generation is a minute and a crash apart. Looking through this many takes far less than
/// a request's deadline.
const GENERATIONS_MAX: u32 = 1000;

/// How a registration ends.
#[derive(Clone, PartialEq, Eq)]
pub enum Registration {
    /// The account was made, by this caller.
    Created(Account),
    /// The address has an account.
    Taken,
    /// Another caller is at it and did not finish in time, or died. Trying again in a minute helps.
    InProgress,
}

/// What a caller's claim to a generation came to.
enum Claim {
    /// This caller alone may write, while the mark is young.
    Ours { marked_ms: u64 },
    /// Another caller may.
    Theirs,
    /// Nobody may any more.
    Abandoned,
}

/// Registers an address: the password is hashed only if the address is still free.
///
/// # Errors
/// When the store fails, or there is no randomness or memory. The address is then free, taken, or
/// in progress until its claim is abandoned.
pub fn register(
    store: &impl Store,
    email: &Email,
    password: &str,
) -> Result<Registration, AccountError> {
    if account::find(store, email)?.is_some() {
        return Ok(Registration::Taken);
    }
    // Before the claim, so that an owner holds it for as short a time as possible.
    let account = Account::new(email, password, store.now_ms())?;
    settle(store, &email.digest(), account)
}

/// Finds out which of the callers for one address makes its account. `digest` names the address.
fn settle(
    store: &impl Store,
    digest: &str,
    account: Account,
) -> Result<Registration, AccountError> {
    for generation in 1..=GENERATIONS_MAX {
        match claim(store, digest, generation)? {
            Claim::Ours { marked_ms } => return write(store, digest, marked_ms, account),
            Claim::Theirs => return wait(store, digest),
            Claim::Abandoned => {}
        }
    }
    Err(AccountError::Abandoned(digest.to_owned()))
}

/// Marks a generation, unless it is, and claims it, unless it is abandoned.
///
/// Two callers may both find no mark and write one. The later write wins and differs by less than
/// one request lasts, which the bounds leave room for.
fn claim(store: &impl Store, digest: &str, generation: u32) -> Result<Claim, AccountError> {
    let mark_key = format!("marked/{digest}/{generation}");
    let marked_ms = match store.get(&mark_key)? {
        Some(value) => std::str::from_utf8(&value)
            .ok()
            .and_then(|text| text.parse().ok())
            .ok_or(AccountError::Corrupt(mark_key))?,
        None => {
            let now_ms = store.now_ms();
            store.set(&mark_key, now_ms.to_string().as_bytes())?;
            now_ms
        }
    };
    if age(store, marked_ms) >= CLAIM_ABANDONED_AFTER {
        return Ok(Claim::Abandoned);
    }
    match store.increment(&format!("claim/{digest}/{generation}"))? {
        1 => Ok(Claim::Ours { marked_ms }),
        _ => Ok(Claim::Theirs),
    }
}

/// Writes the account, as the owner of a claim.
///
/// An earlier generation's owner may have written between this caller's first look and its claim,
/// so that it looks again; and the mark may be somebody else's and old, so that it checks.
fn write(
    store: &impl Store,
    digest: &str,
    marked_ms: u64,
    account: Account,
) -> Result<Registration, AccountError> {
    let key = account::key(digest);
    if store.get(&key)?.is_some() {
        return Ok(Registration::Taken);
    }
    if age(store, marked_ms) >= OWNER_WRITES_WITHIN {
        return Ok(Registration::InProgress);
    }
    let value = serde_json::to_vec(&account).expect("an account is strings and a number");
    store.set(&key, &value)?;
    Ok(Registration::Created(account))
}

/// Waits for the account that another caller is making.
fn wait(store: &impl Store, digest: &str) -> Result<Registration, AccountError> {
    let key = account::key(digest);
    let mut waited = Duration::ZERO;
    loop {
        if store.get(&key)?.is_some() {
            return Ok(Registration::Taken);
        }
        if waited >= OWNER_WAIT {
            return Ok(Registration::InProgress);
        }
        store.pause(OWNER_POLL);
        waited += OWNER_POLL;
    }
}

/// How old a mark is. A clock that was set back makes it young, never old.
fn age(store: &impl Store, marked_ms: u64) -> Duration {
    Duration::from_millis(store.now_ms().saturating_sub(marked_ms))
}

#[cfg(test)]
mod tests;
