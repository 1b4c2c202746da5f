//! Log lines, without bodies, tokens or names.

use crate::bindings::wasi::logging::logging::{Level, log};

const CONTEXT: &str = "gateway";

/// A person must act.
pub fn error(message: &str) {
    log(Level::Error, CONTEXT, message);
}

/// Something is degraded and may recover by itself.
pub fn warn(message: &str) {
    log(Level::Warn, CONTEXT, message);
}
