//! What people already have runs here unchanged.

mod serve;
mod spin_manifest;
