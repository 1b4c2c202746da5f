//! Requests' bodies, read to their end within bounds.

use std::time::Duration;

use http_body_util::BodyExt as _;
use hyper::body::{Body as _, Incoming};
use serde::de::DeserializeOwned;
use tokio::time::timeout;

use super::refusal::Refusal;
use crate::capability::streams::MESSAGE_BYTES_MAX;

/// Most bytes of a JSON body: a manifest of some thousand components has fewer.
pub(super) const JSON_BYTES_MAX: usize = 1 << 20;

/// Most bytes of the JSON of a message: JSON writes a byte of the largest in six at most.
pub(super) const MESSAGE_JSON_BYTES_MAX: usize = 6 * MESSAGE_BYTES_MAX + (64 << 10);

/// Most bytes of an artifact: an interpreter with its whole library has some tens of megabytes.
pub(super) const ARTIFACT_BYTES_MAX: usize = 256 << 20;

/// Longest wait for the next piece of a body.
const PIECE_WITHIN: Duration = Duration::from_secs(30);

/// The whole body, which may have `limit` bytes.
pub(super) async fn bytes(mut body: Incoming, limit: usize) -> Result<Vec<u8>, Refusal> {
    // A body that says itself that it is too large is not begun; its sender may wait for that.
    if body.size_hint().lower() > limit as u64 {
        return Err(Refusal::TooLarge { limit });
    }
    let mut read = Vec::new();
    loop {
        let Ok(frame) = timeout(PIECE_WITHIN, body.frame()).await else {
            let seconds = PIECE_WITHIN.as_secs();
            return Err(Refusal::Slow { seconds });
        };
        let Some(frame) = frame else {
            return Ok(read);
        };
        let Ok(data) = frame.map_err(Refusal::Broken)?.into_data() else {
            continue;
        };
        if read.len() + data.len() > limit {
            return Err(Refusal::TooLarge { limit });
        }
        read.extend_from_slice(&data);
    }
}

/// The whole body, which may have `limit` bytes, as what its JSON says.
pub(super) async fn json<T: DeserializeOwned>(body: Incoming, limit: usize) -> Result<T, Refusal> {
    let read = bytes(body, limit).await?;
    serde_json::from_slice(&read).map_err(Refusal::Json)
}
