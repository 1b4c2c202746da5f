//! Hosts that share a Redis server: what one host promises, together.

mod chaos;
mod fleet;
mod media;
pub mod storm;
