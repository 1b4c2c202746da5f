//! Key rings: keys for signing, the newest first.

use std::fmt;
use std::fmt::Write as _;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};

/// Bytes of a generated key: what HMAC-SHA-256 takes whole (RFC 2104, section 3).
const KEY_BYTES: usize = 32;

/// One key of a ring, as it is kept.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Key {
    kid: String,
    /// base64url, without padding.
    key: String,
    /// When a newer key took its place, in seconds since the Unix epoch.
    retired_at: Option<u64>,
}

/// Keys, the one that signs first.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub(super) struct Ring(Vec<Key>);

impl Ring {
    pub(super) fn parse(text: &str) -> Result<Self, serde_json::Error> {
        serde_json::from_str(text)
    }

    /// As it is kept.
    pub(super) fn text(&self) -> String {
        let mut text = serde_json::to_string_pretty(self).expect("texts have a form in JSON");
        text.push('\n');
        text
    }

    /// As a component sees it.
    pub(super) fn value(&self) -> String {
        let mut value = String::new();
        for key in &self.0 {
            let comma = if value.is_empty() { "" } else { "," };
            write!(value, "{comma}{}:{}", key.kid, key.key).expect("a string takes everything");
        }
        value
    }

    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    /// A new key signs from now on; what was retired longer than `keep` ago is gone.
    pub(super) fn with_new_key(mut self, keep: Duration) -> Self {
        let now = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default()
            .as_secs();
        if let Some(newest) = self.0.first_mut() {
            newest.retired_at = Some(now);
        }
        self.0.retain(|key| {
            key.retired_at
                .is_none_or(|retired| now.saturating_sub(retired) <= keep.as_secs())
        });
        self.0.insert(0, new_key());
        self
    }
}

impl fmt::Debug for Ring {
    /// Without the keys.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kids = self.0.iter().map(|key| &key.kid);
        f.debug_list().entries(kids).finish()
    }
}

fn new_key() -> Key {
    let kid: [u8; 8] = rand::random();
    let key: [u8; KEY_BYTES] = rand::random();
    Key {
        kid: hex(&kid),
        key: base64url(&key),
        retired_at: None,
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// base64url without padding (RFC 4648, section 5).
fn base64url(bytes: &[u8]) -> String {
    use base64::Engine as _;
    base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(bytes)
}
