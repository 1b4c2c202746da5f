//! Wharf runs an application made of WebAssembly components.
//!
//! One host process loads services as sandboxed components, links their typed WIT calls to each
//! other, brings HTTP requests and stream messages to them, and lets any one of them be replaced.
//!
//! # Three flows
//!
//! ```text
//! request   listener -> route -> lease -> instance -> capability -> response
//! message   subscription -> delivery -> lease -> instance -> ack | retry | dead letter
//! rollout   artifact -> verify -> compile -> prewarm -> (canary) -> switch -> drain -> retire
//! ```
//!
//! Both traffic flows take a *lease* from the revision registry for as long as an instance works for
//! them, and so does a call from one component into another: an import that another component
//! exports is a trampoline that leases the callee's current revision. Switching is one atomic pointer
//! swap per component; whatever fails before it discards the new revision, and the old one never
//! notices. Starting is the same without traffic: the log says what was current last.
//!
//! # Floors
//!
//! A module imports from lower floors only; siblings meet at the registry. A test reads the imports.
//!
//! | floor | module | job |
//! | --- | --- | --- |
//! | 6 | [`host`] | composition: build, serve, ordered shutdown |
//! | 5 | [`trigger`], [`admin`], [`toolchain`], [`export`] | the world's events, operators' commands, building and fetching components, other platforms' manifests |
//! | 4 | [`dispatch`], [`rollout`] | lease, invoke under a deadline, count: all traffic; verify, prewarm, switch, drain |
//! | 3 | [`revision`] | what is current, who still works on what was |
//! | 2 | [`runtime`] | engines, compile cache, linker, instances, limits, WIT interface to capability trait |
//! | 1 | [`capability`], [`routing`] | traits with their backends; pure matching |
//! | 0 | [`name`], [`document`], [`manifest`], [`config`], [`telemetry`] | models and their file formats, metric names |
//!
//! On floor 0 each module may use the ones named before it. [`cli`] stands above all: one file for
//! each command.
//!
//! # What is absent
//!
//! - A component reaches nothing that its manifest does not grant: no directory, no socket, no
//!   variable of the host's environment.
//! - Only [`runtime`] names wasmtime. [`routing`] does no I/O. No lock is held across an await.
//! - Nothing compiles a component on the threads that accept requests, and beside traffic nothing
//!   compiles at their priority.

// Unit tests and end-to-end tests start their Redis servers with the same file.
#[cfg(test)]
extern crate self as wharf;

pub mod admin;
pub mod capability;
pub mod cli;
pub mod config;
pub mod dispatch;
pub mod document;
pub mod export;
pub mod host;
pub mod manifest;
pub mod name;
pub mod revision;
pub mod rollout;
pub mod routing;
pub mod runtime;
pub mod telemetry;
pub mod toolchain;
pub mod trigger;
