//! Applications on Redis: what one host or several keep there, and what happens when it goes away.

mod chaos;
mod fleet;
mod media;
mod outage;
mod secrets;
mod secured;
pub mod storm;
