//! The conformance suite on each backend, and what each one promises beyond it.

mod files;
mod network;

#[allow(dead_code, reason = "the tests of the whole host use more of it")]
#[path = "../../../../../tests/harness/object_server.rs"]
mod object_server;
