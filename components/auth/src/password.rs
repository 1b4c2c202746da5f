//! Passwords as argon2id, with the parameters that OWASP recommends.
//!
//! A login for an unknown user verifies against [`nobodys_hash`], so that it costs what a wrong
//! password costs. It refuses to know users.

use argon2::password_hash::phc::PasswordHash;
use argon2::password_hash::{Error, PasswordHasher, PasswordVerifier};
use argon2::{Algorithm, Argon2, Params, Version};

/// OWASP Password Storage Cheat Sheet, argon2id: m = 19 MiB, t = 2, p = 1.
const MEMORY_KIB: u32 = 19_456;
const PASSES: u32 = 2;
const LANES: u32 = 1;
/// RFC 9106 section 3.1 recommends 128 bits.
const SALT_BYTES: usize = 16;

/// A hash of the parameters above that belongs to nobody.
const NOBODY: &str = "$argon2id$v=19$m=19456,t=2,p=1$SW5ToKaB0sSgaUkPJdZlAQ$MVfOYgjRmcAXRMbY+Qn/aqm4Yqy2rIJ/ju+ooOt+B2Q";

/// Why a password could not be hashed or checked. A wrong password is not an error.
#[derive(Debug, thiserror::Error)]
pub enum PasswordError {
    /// No random salt.
    #[error("there is no randomness for a salt")]
    Salt(#[source] getrandom::Error),
    /// The hash function failed, for want of memory above all.
    #[error("the password hash function failed")]
    Hash(#[source] Error),
    /// A stored hash is not one of ours.
    #[error("a stored password hash cannot be read")]
    Stored(#[source] Error),
}

fn hasher() -> Argon2<'static> {
    let params = Params::new(MEMORY_KIB, PASSES, LANES, None)
        .expect("the parameters are constants within the bounds of RFC 9106");
    Argon2::new(Algorithm::Argon2id, Version::V0x13, params)
}

/// Hashes a password with a fresh random salt, into a PHC string.
///
/// # Errors
/// When there is no randomness or no memory.
pub fn hash(password: &str) -> Result<String, PasswordError> {
    let mut salt = [0; SALT_BYTES];
    getrandom::fill(&mut salt).map_err(PasswordError::Salt)?;
    let hash: PasswordHash = hasher()
        .hash_password_with_salt(password.as_bytes(), &salt)
        .map_err(PasswordError::Hash)?;
    Ok(hash.to_string())
}

/// Whether the password is the one that was hashed. Takes the parameters from the stored hash.
///
/// # Errors
/// When the stored hash cannot be read, or there is no memory.
pub fn verify(password: &str, stored: &str) -> Result<bool, PasswordError> {
    let parsed =
        PasswordHash::new(stored).map_err(|_| PasswordError::Stored(Error::EncodingInvalid))?;
    match hasher().verify_password(password.as_bytes(), &parsed) {
        Ok(()) => Ok(true),
        Err(Error::PasswordInvalid) => Ok(false),
        Err(error @ (Error::Algorithm | Error::Version)) => Err(PasswordError::Stored(error)),
        Err(error) => Err(PasswordError::Hash(error)),
    }
}

/// What a login for an unknown user is verified against: the same work, and nobody's password.
#[must_use]
pub fn nobodys_hash() -> &'static str {
    NOBODY
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_verifies_against_its_hash_alone() {
        let stored = hash("correct horse").unwrap();
        assert!(
            stored.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"),
            "{stored}"
        );
        assert!(verify("correct horse", &stored).unwrap());
        assert!(!verify("correct horse ", &stored).unwrap());
        assert!(!verify("", &stored).unwrap());
    }

    #[test]
    fn two_hashes_of_one_password_differ() {
        assert_ne!(
            hash("correct horse").unwrap(),
            hash("correct horse").unwrap()
        );
    }

    #[test]
    fn an_unknown_user_costs_the_same_work() {
        let parts = |hash: &str| hash.split('$').map(str::to_owned).collect::<Vec<_>>();
        let (nobody, real) = (parts(nobodys_hash()), parts(&hash("anything").unwrap()));
        assert_eq!(nobody[..4], real[..4]);
        assert_eq!(nobody[4].len(), real[4].len());
        assert_eq!(nobody[5].len(), real[5].len());
        assert!(!verify("anything", nobodys_hash()).unwrap());
    }

    #[test]
    fn a_stored_hash_that_is_none_is_an_error() {
        for stored in ["", "plain text", "$2b$12$abc"] {
            assert!(verify("anything", stored).is_err(), "{stored}");
        }
    }
}
