//! *auth*: accounts, and tokens that say who somebody is.
//!
//! ```text
//! POST /register, /login, /validate -> glue -> api -> registration, account, token
//! identity.verify(token)            -> glue ----------------------------> token
//!                                       |
//!                wasi:keyvalue, environment, standard error
//! ```
//!
//! The host gives every request a fresh instance, so nothing is kept between two of them. All logic
//! is plain Rust, tested natively; `glue` alone touches the generated bindings.

pub mod account;
pub mod api;
pub mod config;
pub mod credentials;
pub mod hs256;
pub mod password;
pub mod registration;
pub mod token;

#[cfg(target_family = "wasm")]
mod glue;
