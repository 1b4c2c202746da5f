//! What people already have runs here unchanged, and what was made here is brought elsewhere.

mod export;
mod serve;
mod wasmcloud;
