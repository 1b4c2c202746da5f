//! The converter, tested natively as a whole.

mod delivery;
mod failures;
mod formats;
mod support;
