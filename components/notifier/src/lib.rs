//! *notifier*: tells people what became of their videos.
//!
//! ```text
//! media.converted, media.failed -> glue -> event -> telling -+-> the user's list (wasi:keyvalue)
//!                                                            +-> webhook (wasi:http), if it is set
//! notices.recent(user, limit)   -> glue -> list
//! ```
//!
//! The list is always written, and the page shows it. A webhook is told as well where
//! `NOTIFY_WEBHOOK_URL` is set and the manifest allows its host. E-mail goes the same way: mail
//! services take requests of their own making, and this component knows a user's id but not the
//! address, so that the receiver of the webhook is who turns a notice into mail. All logic is plain
//! Rust, tested natively; `glue` alone touches the generated bindings.

pub mod event;
pub mod list;
pub mod telling;
pub mod webhook;

#[cfg(target_family = "wasm")]
mod glue;
