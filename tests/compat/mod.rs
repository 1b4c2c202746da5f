//! Runs what people already have, and what comes from elsewhere.

mod sources;
