//! The cryptography of rustls, which clients of networked backends share.

/// Gives rustls its cryptography, once for the process: the HTTP client of object stores and the
/// Redis client bring none.
pub(crate) fn install_crypto() {
    // The error says that somebody was first, with the same.
    let _ = rustls::crypto::ring::default_provider().install_default();
}
