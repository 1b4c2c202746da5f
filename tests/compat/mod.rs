//! What people already have runs here unchanged, wherever it lies.

mod new;
mod serve;
mod sources;
