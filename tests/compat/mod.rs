//! What people already have runs here unchanged.

mod serve;
mod spin_channels;
mod spin_interfaces;
mod spin_outbound;
