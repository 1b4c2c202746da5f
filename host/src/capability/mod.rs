//! What components may ask of the host, one directory for each capability: a trait, its errors, its
//! backends, and a conformance suite that every backend passes.
//!
//! ```text
//! runtime/views, trigger/stream -> trait -> embedded store (one file under the state directory)
//!                                       \-> networked backend
//! ```
//!
//! Nothing here knows components, grants or WIT: callers have checked that the component may, and
//! hand over resolved identifiers.

pub mod blobs;
pub mod channels;
pub mod embedded;
pub mod keyvalue;
pub mod mounts;
pub mod outbound;
pub mod redis;
pub mod secrets;
pub mod sqlite;
pub mod streams;
pub(crate) mod tls;
