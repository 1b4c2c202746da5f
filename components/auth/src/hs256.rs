//! The only algorithm that exists here, for `jsonwebtoken` to use: HMAC with SHA-256 (RFC 7518
//! section 3.2).
//!
//! The crate's own backend compiles in RSA, P-256, P-384 and Ed25519 beside it, which triples the
//! artifact and brings an RSA implementation with an open timing advisory (RUSTSEC-2023-0071).
//! Without it, no token can make this component run any of that, whatever its header says.

use hmac::{Hmac, KeyInit, Mac};
use jsonwebtoken::crypto::{CryptoProvider, JwtSigner, JwtVerifier, KeyUtils};
use jsonwebtoken::errors::{ErrorKind, Result, new_error};
use jsonwebtoken::signature::{Error, Signer, Verifier};
use jsonwebtoken::{Algorithm, AlgorithmFamily, DecodingKey, EncodingKey};
use sha2::Sha256;

static PROVIDER: CryptoProvider = CryptoProvider {
    signer_factory: signer,
    verifier_factory: verifier,
    // For JSON Web Keys, which are not used.
    key_utils: KeyUtils::new_unimplemented(),
};

/// Makes this the algorithm of every token that the process signs or checks from now on.
pub fn install() {
    // The provider is the process's. Whoever was first installed this same one.
    let _ = PROVIDER.install_default();
}

/// A key, ready to sign or to check one message after the other.
struct Hs256(Hmac<Sha256>);

impl Hs256 {
    fn new(algorithm: Algorithm, family: AlgorithmFamily, secret: &[u8]) -> Result<Self> {
        if algorithm != Algorithm::HS256 {
            return Err(new_error(ErrorKind::InvalidAlgorithm));
        }
        if family != AlgorithmFamily::Hmac {
            return Err(new_error(ErrorKind::InvalidKeyFormat));
        }
        Hmac::new_from_slice(secret)
            .map(Self)
            .map_err(|_| new_error(ErrorKind::InvalidKeyFormat))
    }
}

fn signer(algorithm: &Algorithm, key: &EncodingKey) -> Result<Box<dyn JwtSigner>> {
    Ok(Box::new(Hs256::new(
        *algorithm,
        key.family(),
        key.as_bytes(),
    )?))
}

fn verifier(algorithm: &Algorithm, key: &DecodingKey) -> Result<Box<dyn JwtVerifier>> {
    Ok(Box::new(Hs256::new(
        *algorithm,
        key.family(),
        key.try_get_as_bytes()?,
    )?))
}

impl Signer<Vec<u8>> for Hs256 {
    fn try_sign(&self, message: &[u8]) -> std::result::Result<Vec<u8>, Error> {
        Ok(self
            .0
            .clone()
            .chain_update(message)
            .finalize()
            .into_bytes()
            .to_vec())
    }
}

impl Verifier<Vec<u8>> for Hs256 {
    fn verify(&self, message: &[u8], signature: &Vec<u8>) -> std::result::Result<(), Error> {
        // Compares in constant time, and the whole length.
        let mac = self.0.clone().chain_update(message);
        mac.verify_slice(signature).map_err(|_| Error::new())
    }
}

impl JwtSigner for Hs256 {
    fn algorithm(&self) -> Algorithm {
        Algorithm::HS256
    }
}

impl JwtVerifier for Hs256 {
    fn algorithm(&self) -> Algorithm {
        Algorithm::HS256
    }
}

#[cfg(test)]
mod tests {
    use base64::Engine;
    use base64::engine::general_purpose::URL_SAFE_NO_PAD;

    use super::*;

    /// RFC 7515 appendix A.1.
    const KEY: &str =
        "AyM1SysPpbyDfgZld3umj1qzKObwVMkoqQ-EstJQLr_T-1qS0gZH75aKtMN3Yj0iPS4hcgUuTwjAzZr1Z9CAow";
    const MESSAGE: &[u8] =
        b"eyJ0eXAiOiJKV1QiLA0KICJhbGciOiJIUzI1NiJ9.eyJpc3MiOiJqb2UiLA0KICJleHAiOj\
EzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ";
    const SIGNATURE: &str = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";

    #[test]
    fn the_example_of_rfc_7515_signs_and_verifies() {
        install();
        let key = URL_SAFE_NO_PAD.decode(KEY).unwrap();
        let signed =
            jsonwebtoken::crypto::sign(MESSAGE, &EncodingKey::from_secret(&key), Algorithm::HS256);
        assert_eq!(signed.unwrap(), SIGNATURE);
        let verify = |signature: &str| {
            let key = DecodingKey::from_secret(&key);
            jsonwebtoken::crypto::verify(signature, MESSAGE, &key, Algorithm::HS256).unwrap()
        };
        assert!(verify(SIGNATURE));
        assert!(!verify(""));
        assert!(!verify(&SIGNATURE[..40]));
        assert!(!verify(&SIGNATURE.replace('d', "e")));
    }

    #[test]
    fn no_other_algorithm_and_no_other_kind_of_key_exists() {
        let secret = EncodingKey::from_secret(&[1; 32]);
        for algorithm in [
            Algorithm::HS384,
            Algorithm::HS512,
            Algorithm::RS256,
            Algorithm::EdDSA,
        ] {
            assert!(signer(&algorithm, &secret).is_err());
            assert!(verifier(&algorithm, &DecodingKey::from_secret(&[1; 32])).is_err());
        }
        assert!(verifier(&Algorithm::HS256, &DecodingKey::from_rsa_der(&[1; 32])).is_err());
    }
}
