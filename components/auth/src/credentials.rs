//! What people type: addresses, passwords, and the `Authorization` header that carries them.
//!
//! It refuses to know accounts: here is only shape. Messages are sentences for a person.

use base64::Engine;
use base64::alphabet;
use base64::engine::GeneralPurpose;
use base64::engine::general_purpose::{NO_PAD, PAD};
use sha2::{Digest, Sha256};

/// RFC 5321 section 4.5.3.1.3: a path of 256 octets, of which two are its angle brackets.
const EMAIL_BYTES_MAX: usize = 254;
/// RFC 5321 section 4.5.3.1.1.
const LOCAL_PART_BYTES_MAX: usize = 64;
/// RFC 1035 section 2.3.4.
const LABEL_BYTES_MAX: usize = 63;
/// NIST SP 800-63B section 5.1.1.1 asks for eight characters.
const PASSWORD_CHARS_MIN: usize = 8;
/// Room for any passphrase, and a bound on what is hashed.
const PASSWORD_CHARS_MAX: usize = 256;

/// Why an address or a password is not accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Unacceptable {
    /// Nothing was given.
    #[error("Please enter an email address.")]
    EmailMissing,
    /// It cannot be an address.
    #[error("This does not look like an email address.")]
    EmailImplausible,
    /// Longer than mail allows.
    #[error("This email address is too long: {EMAIL_BYTES_MAX} characters are the most.")]
    EmailTooLong,
    /// Easily guessed.
    #[error("The password is too short: use at least {PASSWORD_CHARS_MIN} characters.")]
    PasswordTooShort,
    /// Beyond our bound.
    #[error("The password is too long: {PASSWORD_CHARS_MAX} characters are the most.")]
    PasswordTooLong,
}

/// A plausible address, trimmed and in lower case, so that one person has one account.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Email(String);

impl Email {
    /// Normalises and checks an address as typed.
    ///
    /// # Errors
    /// When mail could not possibly be delivered to it. Whether it can is not known here.
    pub fn parse(typed: &str) -> Result<Self, Unacceptable> {
        let email = typed.trim().to_lowercase();
        if email.is_empty() {
            return Err(Unacceptable::EmailMissing);
        }
        if email.len() > EMAIL_BYTES_MAX {
            return Err(Unacceptable::EmailTooLong);
        }
        let (local, domain) = email
            .rsplit_once('@')
            .ok_or(Unacceptable::EmailImplausible)?;
        let strange = |c: char| c.is_whitespace() || c.is_control() || "@<>()[]\\,;:\"".contains(c);
        let label = |label: &str| {
            !label.is_empty()
                && label.len() <= LABEL_BYTES_MAX
                && !label.starts_with('-')
                && !label.ends_with('-')
                && label.chars().all(|c| c.is_alphanumeric() || c == '-')
        };
        let local_fits = !local.is_empty()
            && local.len() <= LOCAL_PART_BYTES_MAX
            && !local.contains(strange)
            && !local.starts_with('.')
            && !local.ends_with('.')
            && !local.contains("..");
        if local_fits && domain.contains('.') && domain.split('.').all(label) {
            Ok(Self(email))
        } else {
            Err(Unacceptable::EmailImplausible)
        }
    }

    /// The normalised address.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The address as a part of keys: its SHA-256 in hex, of one length and free of separators.
    #[must_use]
    pub fn digest(&self) -> String {
        hex(&Sha256::digest(self.0.as_bytes()))
    }
}

/// Checks that a new password has a length that we accept.
///
/// # Errors
/// When it has fewer than 8 or more than 256 characters.
pub fn check_password(password: &str) -> Result<(), Unacceptable> {
    match password.chars().count() {
        0..PASSWORD_CHARS_MIN => Err(Unacceptable::PasswordTooShort),
        PASSWORD_CHARS_MIN..=PASSWORD_CHARS_MAX => Ok(()),
        _ => Err(Unacceptable::PasswordTooLong),
    }
}

/// User and password of an `Authorization: Basic` header (RFC 7617), in UTF-8.
#[must_use]
pub fn basic(authorization: &str) -> Option<(String, String)> {
    // Clients differ about padding; both readings are unambiguous.
    const PADDED: GeneralPurpose = GeneralPurpose::new(&alphabet::STANDARD, PAD);
    const BARE: GeneralPurpose = GeneralPurpose::new(&alphabet::STANDARD, NO_PAD);
    let encoded = credential(authorization, "basic")?;
    let decoded = PADDED
        .decode(encoded)
        .or_else(|_| BARE.decode(encoded))
        .ok()?;
    let text = String::from_utf8(decoded).ok()?;
    let (user, password) = text.split_once(':')?;
    Some((user.to_owned(), password.to_owned()))
}

/// The token of an `Authorization: Bearer` header (RFC 6750).
#[must_use]
pub fn bearer(authorization: &str) -> Option<&str> {
    credential(authorization, "bearer")
}

/// What follows the scheme, whose name is case-insensitive (RFC 9110 section 11.1).
fn credential<'a>(authorization: &'a str, scheme: &str) -> Option<&'a str> {
    let (name, rest) = authorization.trim().split_once(' ')?;
    let rest = rest.trim();
    (name.eq_ignore_ascii_case(scheme) && !rest.is_empty()).then_some(rest)
}

/// Lower-case hexadecimal digits of some bytes.
#[must_use]
pub fn hex(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let digit = |nibble: u8| char::from(DIGITS[usize::from(nibble & 15)]);
    bytes
        .iter()
        .flat_map(|byte| [digit(byte >> 4), digit(*byte)])
        .collect()
}

#[cfg(test)]
mod tests {
    use base64::engine::general_purpose::STANDARD;

    use super::*;

    #[test]
    fn an_address_is_trimmed_and_lowered() {
        let email = Email::parse("  Ada.Lovelace+mp3@Example.ORG ").unwrap();
        assert_eq!(email.as_str(), "ada.lovelace+mp3@example.org");
        assert_eq!(
            email.digest(),
            Email::parse("ada.lovelace+mp3@example.org")
                .unwrap()
                .digest()
        );
        assert_eq!(email.digest().len(), 64);
        assert!(Email::parse("grüße@exämple.de").is_ok());
    }

    #[test]
    fn implausible_addresses_are_refused_in_words() {
        assert_eq!(Email::parse(" "), Err(Unacceptable::EmailMissing));
        let long = format!("{}@example.org", "a".repeat(300));
        assert_eq!(Email::parse(&long), Err(Unacceptable::EmailTooLong));
        for typed in [
            "ada",
            "@example.org",
            "ada@",
            "ada@example",
            "a@b@example.org",
            "a b@example.org",
            "ada@exa mple.org",
            "ada@.org",
            "ada@example.",
            "ada@-example.org",
            ".ada@example.org",
            "a..da@example.org",
            "ada\n@example.org",
            "<ada@example.org>",
            "ada@example.org/..",
        ] {
            assert_eq!(
                Email::parse(typed),
                Err(Unacceptable::EmailImplausible),
                "{typed}"
            );
        }
        let local = format!("{}@example.org", "a".repeat(65));
        assert_eq!(Email::parse(&local), Err(Unacceptable::EmailImplausible));
    }

    #[test]
    fn passwords_are_counted_in_characters() {
        assert_eq!(
            check_password("seven77"),
            Err(Unacceptable::PasswordTooShort)
        );
        assert!(check_password("ßßßßßßßß").is_ok());
        assert!(check_password(&"x".repeat(256)).is_ok());
        assert_eq!(
            check_password(&"x".repeat(257)),
            Err(Unacceptable::PasswordTooLong)
        );
    }

    #[test]
    fn basic_credentials_keep_colons_in_the_password() {
        let header = |text: &str| format!("bAsIc  {}", STANDARD.encode(text));
        assert_eq!(
            basic(&header("ada:pass:word")),
            Some(("ada".into(), "pass:word".into()))
        );
        assert_eq!(basic(&header("ada:")), Some(("ada".into(), String::new())));
        assert_eq!(
            basic(header("ada:pä").trim_end_matches('=')),
            Some(("ada".into(), "pä".into()))
        );
        for wrong in [
            header("ada"),
            "Basic".into(),
            "Basic !".into(),
            "Bearer abc".into(),
        ] {
            assert_eq!(basic(&wrong), None, "{wrong}");
        }
        assert_eq!(
            basic(&format!("Basic {}", STANDARD.encode([0xff, b':']))),
            None
        );
    }

    #[test]
    fn bearer_takes_the_token() {
        assert_eq!(bearer("bearer a.b.c"), Some("a.b.c"));
        assert_eq!(bearer("Bearer "), None);
        assert_eq!(bearer("Basic a.b.c"), None);
    }
}
