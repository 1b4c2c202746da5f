//! The converter, tested natively as a whole.

#![allow(clippy::unwrap_used, reason = "a test that fails is to panic")]

mod delivery;
mod failures;
mod formats;
mod support;
