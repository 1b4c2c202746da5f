//! WIT interfaces turned into capability traits: one module each.
//!
//! A view checks the component's grants, translates errors into the interface's own, and knows no
//! backend.

pub mod blobstore;
pub mod config;
pub mod keyvalue;
pub mod logging;
pub mod messaging;
pub mod secrets;
pub mod spin;
