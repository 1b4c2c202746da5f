//! What Wharf promises, tried on the real binary over sockets: one file per promise.
//!
//! The harness builds the host, the guests and the application once, by the commands that a user
//! runs, and every test starts its own host on port 0 with its own state directory, unless it can
//! share one without seeing the others.

#![allow(
    clippy::unwrap_used,
    reason = "in a test a panic is the report, and the harness adds the host's log to it"
)]

mod compat;
mod harness;
mod media;
mod redis;
mod rollouts;

mod admin;
mod admin_api;
mod blobstore;
mod browser;
mod command_line;
mod compile_cache;
mod configuration;
mod deadlines_and_limits;
mod fair_delivery;
mod floors;
mod keyvalue;
mod message_context;
mod messages;
mod misbehaving_guests;
mod object_store;
mod outbound_http;
mod protocols;
mod readme;
mod reproducible_builds;
mod routes;
mod shutdown;
mod streams_operator;
mod trace_context;
mod typed_calls;
mod watch;
