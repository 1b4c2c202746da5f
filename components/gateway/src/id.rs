//! The identifiers that this component puts in keys, object names and paths.
//!
//! Both are lower-case hexadecimal, so that no identifier can carry a path trick, a key separator or
//! a header break. Whatever does not parse is treated as an identifier that does not exist.

use serde::{Deserialize, Serialize};

/// A job's random identifier is 128 bits, two digits a byte.
pub const JOB_ID_BYTES: usize = 16;
/// Longest user identifier that is accepted: 256 bits, room for any digest that auth may choose.
const USER_ID_DIGITS_MAX: usize = 64;

/// The text was not an identifier of the expected kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a lower-case hexadecimal identifier of the expected length")]
pub struct NotAnId;

/// One upload and all that follows from it: exactly 32 lower-case hexadecimal digits.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct JobId(String);

impl JobId {
    /// Takes random bytes and gives the identifier that spells them.
    pub fn from_random(bytes: [u8; JOB_ID_BYTES]) -> Self {
        Self(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
    }

    /// The digits.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The name of this job's result in the container `results`.
    pub fn result_object(&self) -> String {
        format!("{}.mp3", self.0)
    }
}

impl TryFrom<String> for JobId {
    type Error = NotAnId;

    fn try_from(text: String) -> Result<Self, NotAnId> {
        if text.len() == JOB_ID_BYTES * 2 && is_lower_hex(&text) {
            Ok(Self(text))
        } else {
            Err(NotAnId)
        }
    }
}

impl From<JobId> for String {
    fn from(id: JobId) -> Self {
        id.0
    }
}

/// A person, as auth names them: 1 to 64 lower-case hexadecimal digits.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct UserId(String);

impl UserId {
    /// The digits.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for UserId {
    type Error = NotAnId;

    fn try_from(text: String) -> Result<Self, NotAnId> {
        if (1..=USER_ID_DIGITS_MAX).contains(&text.len()) && is_lower_hex(&text) {
            Ok(Self(text))
        } else {
            Err(NotAnId)
        }
    }
}

impl From<UserId> for String {
    fn from(id: UserId) -> Self {
        id.0
    }
}

fn is_lower_hex(text: &str) -> bool {
    text.bytes()
        .all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_random_identifier_parses_as_itself() {
        let id = JobId::from_random([0xab; JOB_ID_BYTES]);
        assert_eq!(JobId::try_from(id.as_str().to_owned()), Ok(id.clone()));
        assert_eq!(id.result_object(), format!("{}.mp3", "ab".repeat(16)));
    }

    #[test]
    fn path_tricks_and_wrong_shapes_are_not_identifiers() {
        for text in [
            "",
            "..",
            "../../etc/passwd",
            "abababababababababababababababa",
            "ababababababababababababababababa",
            "ABABABABABABABABABABABABABABABAB",
            "abababababababababababababababa/",
            "%61bababababababababababababababab",
            "abababababababababababababababa\n",
        ] {
            assert_eq!(JobId::try_from(text.to_owned()), Err(NotAnId), "{text:?}");
        }
        assert_eq!(UserId::try_from(String::new()), Err(NotAnId));
        assert_eq!(UserId::try_from("a".repeat(65)), Err(NotAnId));
        assert!(UserId::try_from("0f".to_owned()).is_ok());
    }
}
