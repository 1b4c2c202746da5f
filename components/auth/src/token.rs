//! Tokens: issuing them, and saying precisely why one is not accepted.
//!
//! ```text
//! three parts -> alg is HS256 -> kid is ours -> signature -> iss -> aud -> exp -> Claims
//! malformed      algorithm       unknown-key    signature    issuer audience expired
//! ```
//!
//! The algorithm is pinned: the token's header chooses a key by name and nothing else. It refuses to
//! know the time and the environment: both are handed in.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::errors::ErrorKind;
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation};
use serde::{Deserialize, Serialize};

use crate::config::Settings;
use crate::hs256;

/// Ours are some 400 bytes long; what is much longer is not worth a hash.
const TOKEN_BYTES_MAX: usize = 4096;

/// The claims of a token, in the names of RFC 7519.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Claims {
    /// Who signed.
    pub iss: String,
    /// For whom.
    pub aud: String,
    /// The user's id: lower-case hex.
    pub sub: String,
    /// The user's address, normalised.
    pub email: String,
    /// Issued at, seconds since the Unix epoch.
    pub iat: u64,
    /// Not valid at or after this time, seconds since the Unix epoch (RFC 7519 section 4.1.4).
    pub exp: u64,
}

/// Why a token is not accepted; the words of `wharf:media/identity.denial`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Denial {
    /// Not a JWT, or its claims are not ours.
    #[error("the token is malformed")]
    Malformed,
    /// Any algorithm other than HS256, `none` included.
    #[error("the token's algorithm is not accepted")]
    Algorithm,
    /// No key of ours has its `kid`.
    #[error("the token was signed with an unknown key")]
    UnknownKey,
    /// The signature is not that of the named key over these bytes.
    #[error("the token's signature is wrong")]
    Signature,
    /// Somebody else issued it.
    #[error("the token was issued by somebody else")]
    Issuer,
    /// It is meant for somebody else.
    #[error("the token is meant for another audience")]
    Audience,
    /// Its time is over.
    #[error("the token has expired")]
    Expired,
    /// The keys could not be read; the caller may try again.
    #[error("tokens cannot be checked at the moment")]
    Unavailable,
}

impl Denial {
    /// The word that the typed interface uses for it.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Malformed => "malformed",
            Self::Algorithm => "algorithm",
            Self::UnknownKey => "unknown-key",
            Self::Signature => "signature",
            Self::Issuer => "issuer",
            Self::Audience => "audience",
            Self::Expired => "expired",
            Self::Unavailable => "unavailable",
        }
    }
}

/// The part of a token's header that decides anything.
#[derive(Deserialize)]
struct Head {
    alg: String,
    kid: Option<String>,
    /// RFC 7515 section 4.1.11: extensions that must be understood. We understand none.
    crit: Option<serde_json::Value>,
}

/// Signs a token for a user with the first key. `now` is in seconds since the Unix epoch.
///
/// # Errors
/// The signer's own error, which the key length that `Settings` guarantees leaves no cause for.
pub fn issue(
    settings: &Settings,
    subject: &str,
    email: &str,
    now: u64,
) -> Result<String, jsonwebtoken::errors::Error> {
    hs256::install();
    let key = settings.signing_key();
    let mut header = Header::new(Algorithm::HS256);
    header.kid = Some(key.kid.clone());
    let claims = Claims {
        iss: settings.issuer.clone(),
        aud: settings.audience.clone(),
        sub: subject.to_owned(),
        email: email.to_owned(),
        iat: now,
        exp: now.saturating_add(settings.token_ttl_seconds),
    };
    jsonwebtoken::encode(&header, &claims, &EncodingKey::from_secret(&key.secret))
}

/// Checks a token completely. `now` is in seconds since the Unix epoch; there is no leeway.
///
/// # Errors
/// The first check that fails, in the order of the module's diagram.
pub fn verify(settings: &Settings, token: &str, now: u64) -> Result<Claims, Denial> {
    hs256::install();
    let head = head(token)?;
    if head.alg != "HS256" {
        return Err(Denial::Algorithm);
    }
    if head.crit.is_some() {
        return Err(Denial::Malformed);
    }
    let key = head
        .kid
        .and_then(|kid| settings.key(&kid))
        .ok_or(Denial::UnknownKey)?;

    let mut validation = Validation::new(Algorithm::HS256);
    validation.set_issuer(&[&settings.issuer]);
    validation.set_audience(&[&settings.audience]);
    validation.set_required_spec_claims(&["iss", "aud", "sub", "exp"]);
    // Checked below, against the time that is handed in and with the RFC's own boundary: the crate
    // still accepts a token in the very second in which it expires.
    validation.validate_exp = false;
    let key = DecodingKey::from_secret(&key.secret);
    let claims = jsonwebtoken::decode::<Claims>(token, &key, &validation)
        .map_err(|error| denial(error.kind()))?
        .claims;
    if claims.exp <= now {
        return Err(Denial::Expired);
    }
    Ok(claims)
}

/// The header of a token of three parts. `jsonwebtoken` has no word for `none`, so the algorithm is
/// read here, before the crate sees the token.
fn head(token: &str) -> Result<Head, Denial> {
    if token.len() > TOKEN_BYTES_MAX {
        return Err(Denial::Malformed);
    }
    let mut parts = token.split('.');
    let (Some(header), Some(_), Some(_), None) =
        (parts.next(), parts.next(), parts.next(), parts.next())
    else {
        return Err(Denial::Malformed);
    };
    let header = URL_SAFE_NO_PAD
        .decode(header)
        .map_err(|_| Denial::Malformed)?;
    serde_json::from_slice(&header).map_err(|_| Denial::Malformed)
}

fn denial(kind: &ErrorKind) -> Denial {
    match kind {
        ErrorKind::InvalidSignature => Denial::Signature,
        ErrorKind::InvalidIssuer => Denial::Issuer,
        ErrorKind::InvalidAudience => Denial::Audience,
        ErrorKind::InvalidAlgorithm => Denial::Algorithm,
        // The crate's list is open; whatever else it objects to is about the token's shape.
        _ => Denial::Malformed,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::config::SigningKey;

    const NOW: u64 = 1_790_000_000;

    fn settings(keys: &[(&str, u8)]) -> Settings {
        let keys = keys.iter().map(|&(kid, byte)| SigningKey {
            kid: kid.to_owned(),
            secret: vec![byte; 32],
        });
        Settings {
            issuer: "us".to_owned(),
            audience: "everybody".to_owned(),
            token_ttl_seconds: 60,
            keys: keys.collect(),
        }
    }

    fn ours() -> Settings {
        settings(&[("a", 1)])
    }

    fn good() -> String {
        issue(&ours(), "00ff", "ada@example.org", NOW).unwrap()
    }

    /// A token with any header and claims at all, properly signed with key `a`.
    fn forged(header: &Value, claims: &Value, secret: &[u8]) -> String {
        let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
        let message = format!("{}.{}", part(header), part(claims));
        hs256::install();
        let key = EncodingKey::from_secret(secret);
        let signature =
            jsonwebtoken::crypto::sign(message.as_bytes(), &key, Algorithm::HS256).unwrap();
        format!("{message}.{signature}")
    }

    fn header() -> Value {
        json!({"typ": "JWT", "alg": "HS256", "kid": "a"})
    }

    fn claims() -> Value {
        json!({"iss": "us", "aud": "everybody", "sub": "00ff", "email": "ada@example.org",
               "iat": NOW, "exp": NOW + 60})
    }

    fn with(mut value: Value, name: &str, new: Value) -> Value {
        value[name] = new;
        value
    }

    fn without(mut value: Value, name: &str) -> Value {
        value.as_object_mut().unwrap().remove(name);
        value
    }

    fn verdict(token: &str) -> Result<Claims, Denial> {
        verify(&ours(), token, NOW)
    }

    #[test]
    fn an_issued_token_is_accepted_and_carries_the_claims() {
        let claims = verdict(&good()).unwrap();
        assert_eq!(
            (claims.sub.as_str(), claims.email.as_str()),
            ("00ff", "ada@example.org")
        );
        assert_eq!((claims.iat, claims.exp), (NOW, NOW + 60));
        assert!(verdict(&forged(&header(), &self::claims(), &[1; 32])).is_ok());
    }

    #[test]
    fn a_token_ends_in_the_second_that_it_names() {
        assert!(verify(&ours(), &good(), NOW + 59).is_ok());
        assert_eq!(verify(&ours(), &good(), NOW + 60), Err(Denial::Expired));
        assert_eq!(
            verify(&ours(), &good(), NOW + 1_000_000),
            Err(Denial::Expired)
        );
    }

    #[test]
    fn what_is_not_a_token_is_malformed() {
        for token in [
            "",
            "a",
            "a.b",
            "a.b.c",
            "....",
            "é.é.é",
            "e30.e30.",
            "W10.e30.AAAA",
        ] {
            assert_eq!(verdict(token), Err(Denial::Malformed), "{token}");
        }
        assert_eq!(verdict(&format!("{}.x", good())), Err(Denial::Malformed));
        assert_eq!(
            verdict(&"a".repeat(TOKEN_BYTES_MAX + 1)),
            Err(Denial::Malformed)
        );
    }

    #[test]
    fn every_other_algorithm_is_denied_even_with_a_right_signature() {
        for algorithm in [
            "none", "None", "NONE", "", "hs256", "HS384", "HS512", "RS256", "ES256",
        ] {
            let header = with(header(), "alg", json!(algorithm));
            assert_eq!(
                verdict(&forged(&header, &claims(), &[1; 32])),
                Err(Denial::Algorithm)
            );
        }
        let unsigned = forged(&with(header(), "alg", json!("none")), &claims(), &[1; 32]);
        let (message, _) = unsigned.rsplit_once('.').unwrap();
        assert_eq!(verdict(&format!("{message}.")), Err(Denial::Algorithm));
    }

    #[test]
    fn an_unknown_or_missing_key_name_is_denied() {
        for header in [with(header(), "kid", json!("b")), without(header(), "kid")] {
            assert_eq!(
                verdict(&forged(&header, &claims(), &[1; 32])),
                Err(Denial::UnknownKey)
            );
        }
    }

    #[test]
    fn extensions_that_must_be_understood_are_malformed() {
        let header = with(header(), "crit", json!(["b64"]));
        assert_eq!(
            verdict(&forged(&header, &claims(), &[1; 32])),
            Err(Denial::Malformed)
        );
    }

    #[test]
    fn another_key_under_our_name_does_not_verify() {
        assert_eq!(
            verdict(&forged(&header(), &claims(), &[2; 32])),
            Err(Denial::Signature)
        );
        let (message, _) = forged(&header(), &claims(), &[1; 32])
            .rsplit_once('.')
            .map(|(message, signature)| (message.to_owned(), signature.to_owned()))
            .unwrap();
        assert_eq!(verdict(&format!("{message}.")), Err(Denial::Signature));
    }

    #[test]
    fn tampering_with_any_character_is_noticed() {
        let token = good();
        for place in 0..token.len() {
            let mut bytes = token.clone().into_bytes();
            if bytes[place] == b'.' {
                continue;
            }
            bytes[place] = if bytes[place] == b'A' { b'Q' } else { b'A' };
            let tampered = String::from_utf8(bytes).unwrap();
            assert!(verdict(&tampered).is_err(), "place {place}");
        }
    }

    #[test]
    fn claims_exchanged_under_an_old_signature_are_noticed() {
        let token = good();
        let parts: Vec<&str> = token.split('.').collect();
        let others = with(claims(), "sub", json!("beef")).to_string();
        let tampered = format!(
            "{}.{}.{}",
            parts[0],
            URL_SAFE_NO_PAD.encode(others),
            parts[2]
        );
        assert_eq!(verdict(&tampered), Err(Denial::Signature));
    }

    #[test]
    fn another_issuer_and_another_audience_each_have_their_own_denial() {
        let others = [
            (with(claims(), "iss", json!("them")), Denial::Issuer),
            (with(claims(), "iss", json!("")), Denial::Issuer),
            (with(claims(), "aud", json!("nobody")), Denial::Audience),
            (with(claims(), "aud", json!("")), Denial::Audience),
        ];
        for (claims, expected) in others {
            assert_eq!(
                verdict(&forged(&header(), &claims, &[1; 32])),
                Err(expected),
                "{claims}"
            );
        }
    }

    #[test]
    fn claims_of_another_shape_are_malformed() {
        for claims in [
            without(claims(), "iss"),
            with(claims(), "iss", json!(["us", "them"])),
            without(claims(), "aud"),
            with(claims(), "aud", json!(null)),
            without(claims(), "sub"),
            without(claims(), "email"),
            without(claims(), "exp"),
            with(claims(), "exp", json!("tomorrow")),
            with(claims(), "exp", json!(-1)),
            json!([]),
        ] {
            assert_eq!(
                verdict(&forged(&header(), &claims, &[1; 32])),
                Err(Denial::Malformed)
            );
        }
    }

    #[test]
    fn rotation_signs_with_the_first_key_and_still_accepts_the_old_one() {
        let old = good();
        let rotated = settings(&[("b", 2), ("a", 1)]);
        assert!(verify(&rotated, &old, NOW).is_ok());
        let new = issue(&rotated, "00ff", "ada@example.org", NOW).unwrap();
        assert_eq!(head(&new).ok().unwrap().kid.as_deref(), Some("b"));
        assert!(verify(&rotated, &new, NOW).is_ok());
        let retired = settings(&[("b", 2)]);
        assert_eq!(verify(&retired, &old, NOW), Err(Denial::UnknownKey));
    }
}
