//! What was made for other platforms runs here, and what was made here is brought there.

mod wasmcloud;
