//! What people already have runs here unchanged, wherever it lies, and what was made here is brought
//! elsewhere.

mod export;
mod new;
mod serve;
mod sources;
mod spin_channels;
mod spin_interfaces;
mod spin_manifest;
mod spin_outbound;
mod wasmcloud;
