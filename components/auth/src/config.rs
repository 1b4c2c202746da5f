//! What auth is told by its environment, parsed once into types that cannot hold nonsense.
//!
//! ```text
//! AUTH_ISSUER             who signs                     wharf-media-auth
//! AUTH_AUDIENCE           for whom                      wharf-media
//! AUTH_TOKEN_TTL_SECONDS  how long a token lives        86400
//! AUTH_SIGNING_KEYS       kid:base64url[,kid:base64url] the first signs, all verify
//! ```
//!
//! It refuses to know where the values come from. Every problem is reported at once, and no message
//! repeats a key.

use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

/// RFC 7518 section 3.2: a key for HS256 is at least as long as the hash.
const KEY_BYTES_MIN: usize = 32;
/// Longer than this is a mistake in the secret, not a better key: HMAC hashes what exceeds a block.
const KEY_BYTES_MAX: usize = 64;
/// `kid` travels in every token, so it stays short.
const KID_CHARS_MAX: usize = 64;
/// Rotation keeps this many old keys at the most; more would mean that nobody removes them.
const KEYS_MAX: usize = 32;
/// A year. A token cannot be called back, so a longer life is taken for a mistake in the unit.
const TTL_SECONDS_MAX: u64 = 366 * 24 * 60 * 60;

/// One symmetric signing key and the name under which tokens refer to it.
///
/// It has no `Debug`: the key must not reach a log by accident.
pub struct SigningKey {
    /// The name, as in the `kid` header of a token.
    pub kid: String,
    /// 32 to 64 bytes.
    pub secret: Vec<u8>,
}

/// All that auth is configured with.
pub struct Settings {
    /// The `iss` claim that is written and demanded.
    pub issuer: String,
    /// The `aud` claim that is written and demanded.
    pub audience: String,
    /// How long a new token is valid.
    pub token_ttl_seconds: u64,
    /// At least one key: the first signs, all verify. Names are distinct.
    pub keys: Vec<SigningKey>,
}

/// Everything that is wrong with the environment, one sentence each, without any secret in it.
#[derive(Debug, thiserror::Error)]
pub struct ConfigError(Vec<String>);

impl fmt::Display for ConfigError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0.join("; "))
    }
}

impl Settings {
    /// Reads the settings through `variable`, which gives the value of an environment variable.
    ///
    /// # Errors
    /// Names every variable that is missing or malformed.
    pub fn read(variable: impl Fn(&str) -> Option<String>) -> Result<Self, ConfigError> {
        let mut problems = Vec::new();
        let mut text = |name: &str| match variable(name) {
            Some(value) if !value.trim().is_empty() => value.trim().to_owned(),
            _ => {
                problems.push(format!("{name} is not set"));
                String::new()
            }
        };
        let issuer = text("AUTH_ISSUER");
        let audience = text("AUTH_AUDIENCE");
        let ttl = text("AUTH_TOKEN_TTL_SECONDS");
        let keys = text("AUTH_SIGNING_KEYS");

        let token_ttl_seconds = match ttl.parse() {
            Ok(seconds @ 1..=TTL_SECONDS_MAX) => seconds,
            _ => {
                if !ttl.is_empty() {
                    problems.push(format!(
                        "AUTH_TOKEN_TTL_SECONDS must be a number of seconds from 1 to {TTL_SECONDS_MAX}"
                    ));
                }
                0
            }
        };
        let keys = if keys.is_empty() {
            Vec::new()
        } else {
            parse_keys(&keys, &mut problems)
        };

        if problems.is_empty() {
            Ok(Self {
                issuer,
                audience,
                token_ttl_seconds,
                keys,
            })
        } else {
            Err(ConfigError(problems))
        }
    }

    /// The key that signs new tokens.
    #[must_use]
    pub fn signing_key(&self) -> &SigningKey {
        self.keys
            .first()
            .expect("reading the settings demands at least one key")
    }

    /// The key with this name, if it is one of ours.
    #[must_use]
    pub fn key(&self, kid: &str) -> Option<&SigningKey> {
        self.keys.iter().find(|key| key.kid == kid)
    }
}

fn parse_keys(list: &str, problems: &mut Vec<String>) -> Vec<SigningKey> {
    let mut keys: Vec<SigningKey> = Vec::new();
    for (index, entry) in list.split(',').enumerate() {
        let place = index + 1;
        match parse_key(entry.trim()) {
            Ok(key) if keys.iter().any(|known| known.kid == key.kid) => {
                problems.push(format!(
                    "AUTH_SIGNING_KEYS entry {place} repeats a key name"
                ));
            }
            Ok(key) => keys.push(key),
            Err(problem) => {
                problems.push(format!("AUTH_SIGNING_KEYS entry {place} {problem}"));
            }
        }
    }
    if keys.len() > KEYS_MAX {
        problems.push(format!("AUTH_SIGNING_KEYS has more than {KEYS_MAX} keys"));
    }
    keys
}

fn parse_key(entry: &str) -> Result<SigningKey, String> {
    let (kid, encoded) = entry
        .split_once(':')
        .ok_or("is not of the form kid:base64url".to_owned())?;
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    if kid.is_empty() || kid.len() > KID_CHARS_MAX || !kid.chars().all(plain) {
        return Err(format!(
            "needs a key name of 1 to {KID_CHARS_MAX} letters, digits, dashes, underscores or dots"
        ));
    }
    let secret = URL_SAFE_NO_PAD
        .decode(encoded.trim_end_matches('='))
        .map_err(|_| "is not base64url after the colon".to_owned())?;
    if !(KEY_BYTES_MIN..=KEY_BYTES_MAX).contains(&secret.len()) {
        return Err(format!(
            "must hold {KEY_BYTES_MIN} to {KEY_BYTES_MAX} bytes"
        ));
    }
    Ok(SigningKey {
        kid: kid.to_owned(),
        secret,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn encoded(byte: u8, length: usize) -> String {
        URL_SAFE_NO_PAD.encode(vec![byte; length])
    }

    fn read(keys: &str, ttl: &str) -> Result<Settings, String> {
        Settings::read(|name| {
            Some(match name {
                "AUTH_ISSUER" => "issuer".to_owned(),
                "AUTH_AUDIENCE" => "audience".to_owned(),
                "AUTH_TOKEN_TTL_SECONDS" => ttl.to_owned(),
                "AUTH_SIGNING_KEYS" => keys.to_owned(),
                other => panic!("{other} is not a variable of ours"),
            })
        })
        .map_err(|error| error.to_string())
    }

    #[test]
    fn the_first_key_signs_and_every_key_is_found_by_name() {
        let settings = read(
            &format!("new:{}, old:{}=", encoded(1, 32), encoded(2, 32)),
            "60",
        )
        .unwrap();
        assert_eq!(settings.signing_key().kid, "new");
        assert_eq!(settings.key("old").unwrap().secret, vec![2; 32]);
        assert!(settings.key("other").is_none());
        assert_eq!(settings.token_ttl_seconds, 60);
    }

    #[test]
    fn every_missing_variable_is_named_at_once() {
        let message = Settings::read(|_| None).err().unwrap().to_string();
        for name in [
            "AUTH_ISSUER",
            "AUTH_AUDIENCE",
            "AUTH_TOKEN_TTL_SECONDS",
            "AUTH_SIGNING_KEYS",
        ] {
            assert!(message.contains(&format!("{name} is not set")), "{message}");
        }
    }

    #[test]
    fn malformed_values_are_refused_without_repeating_the_key() {
        let secret = encoded(7, 31);
        let cases = [
            (format!("short:{secret}"), "60", "must hold 32 to 64 bytes"),
            ("k:not base64!".to_owned(), "60", "is not base64url"),
            (encoded(1, 32), "60", "kid:base64url"),
            (format!(":{}", encoded(1, 32)), "60", "needs a key name"),
            (
                format!("a:{0},a:{0}", encoded(1, 32)),
                "60",
                "repeats a key name",
            ),
            (format!("a:{},", encoded(1, 32)), "60", "entry 2"),
            (
                format!("a:{}", encoded(1, 32)),
                "0",
                "AUTH_TOKEN_TTL_SECONDS",
            ),
            (
                format!("a:{}", encoded(1, 32)),
                "a day",
                "AUTH_TOKEN_TTL_SECONDS",
            ),
            (
                format!("a:{}", encoded(1, 32)),
                "99999999999",
                "AUTH_TOKEN_TTL_SECONDS",
            ),
        ];
        for (keys, ttl, expected) in cases {
            let message = read(&keys, ttl).err().unwrap();
            assert!(message.contains(expected), "{message}");
            assert!(!message.contains(&secret), "{message}");
        }
    }
}
