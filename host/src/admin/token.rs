//! The operators' token: who may read a file in the state directory may command the host.
//!
//! It is made once, kept over restarts, and never logged. A host that finds a token which others may
//! read refuses to start: it would obey them.

use std::fmt;
use std::fs;
use std::io::{self, Write as _};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::header::HeaderValue;

/// The token's file, in the state directory.
const FILE: &str = "admin-token";

/// Random bytes of a token: as many as the key that it stands for would have.
const TOKEN_BYTES: usize = 32;

/// Characters of a token: its bytes in base64url without padding.
const TOKEN_CHARS: usize = (TOKEN_BYTES * 8).div_ceil(6);

/// Why there is no token.
#[derive(Debug, thiserror::Error)]
pub enum TokenError {
    /// No host has made one.
    #[error("there is no operators' token at {}", .0.display())]
    Missing(PathBuf),
    /// Others than its owner may read or write it.
    #[error("the operators' token in {path} can be read by others: run `chmod 600 {path}`, or remove it and start the host again for a new one", path = .0.display())]
    TooOpen(PathBuf),
    /// What is there is not a token.
    #[error("{} does not hold an operators' token: remove it and start the host again for a new one", .0.display())]
    NotAToken(PathBuf),
    /// It cannot be read or written.
    #[error("the operators' token in {} cannot be read or written", path.display())]
    Io {
        /// Where it is.
        path: PathBuf,
        /// What the operating system said.
        source: io::Error,
    },
}

/// A token.
#[derive(Clone, PartialEq, Eq)]
pub struct Token(String);

impl Token {
    /// The token of the host with this state directory, made first where there is none.
    ///
    /// # Errors
    ///
    /// See [`TokenError`].
    pub fn open(state_dir: &Path) -> Result<Self, TokenError> {
        match Self::read(state_dir) {
            Err(TokenError::Missing(path)) => Self::make(state_dir, path),
            read => read,
        }
    }

    /// The token of the host with this state directory.
    ///
    /// # Errors
    ///
    /// See [`TokenError`].
    pub fn read(state_dir: &Path) -> Result<Self, TokenError> {
        let path = Self::path(state_dir);
        let metadata = match fs::metadata(&path) {
            Ok(metadata) => metadata,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Err(TokenError::Missing(path));
            }
            Err(source) => return Err(TokenError::Io { path, source }),
        };
        if metadata.permissions().mode() & 0o077 != 0 {
            return Err(TokenError::TooOpen(path));
        }
        let text = match fs::read_to_string(&path) {
            Ok(text) => text,
            Err(source) => return Err(TokenError::Io { path, source }),
        };
        let text = text.trim_end();
        let decoded = URL_SAFE_NO_PAD.decode(text);
        if text.len() == TOKEN_CHARS && decoded.is_ok() {
            Ok(Self(text.to_owned()))
        } else {
            Err(TokenError::NotAToken(path))
        }
    }

    /// Where the token lies.
    pub fn path(state_dir: &Path) -> PathBuf {
        state_dir.join(FILE)
    }

    /// Makes one. The file appears with all its bytes and its mode, or not at all.
    fn make(state_dir: &Path, path: PathBuf) -> Result<Self, TokenError> {
        let bytes: [u8; TOKEN_BYTES] = rand::random();
        let token = Self(URL_SAFE_NO_PAD.encode(bytes));
        let written = (|| {
            // Made with mode 0600.
            let mut file = tempfile::NamedTempFile::new_in(state_dir)?;
            writeln!(file, "{}", token.0)?;
            file.as_file().sync_all()?;
            file.persist_noclobber(&path)?;
            fs::File::open(state_dir)?.sync_all()
        })();
        match written {
            Ok(()) => Ok(token),
            Err(source) => Err(TokenError::Io { path, source }),
        }
    }

    /// Whether `given` is this token. Takes as long whatever `given` has in common with it.
    pub fn is(&self, given: &[u8]) -> bool {
        let own = self.0.as_bytes();
        if given.len() != own.len() {
            return false;
        }
        let differing = own
            .iter()
            .zip(given)
            .fold(0, |differing, (own, given)| differing | (own ^ given));
        std::hint::black_box(differing) == 0
    }

    /// What a request's `Authorization` header says.
    pub fn authorization(&self) -> HeaderValue {
        let mut value = HeaderValue::try_from(format!("Bearer {}", self.0))
            .expect("base64url is allowed in a header");
        value.set_sensitive(true);
        value
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mode(path: &Path) -> u32 {
        path.metadata().expect("it is there").permissions().mode() & 0o777
    }

    #[test]
    fn a_token_is_made_once_for_its_owner_alone() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        assert!(matches!(
            Token::read(dir.path()),
            Err(TokenError::Missing(_))
        ));
        let token = Token::open(dir.path()).expect("a token");
        assert_eq!(mode(&Token::path(dir.path())), 0o600);
        assert_eq!(Token::open(dir.path()).expect("a token"), token);
        assert_eq!(Token::read(dir.path()).expect("a token"), token);
        let left: Vec<_> = fs::read_dir(dir.path()).expect("it is there").collect();
        assert_eq!(left.len(), 1, "{left:?}");
        assert_eq!(format!("{token:?}"), "Token");
    }

    #[test]
    fn a_token_that_others_may_read_or_that_is_none_is_refused() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        Token::open(dir.path()).expect("a token");
        let path = Token::path(dir.path());
        fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).expect("chmod");
        let error = Token::open(dir.path()).expect_err("too open");
        assert!(error.to_string().contains("chmod 600"), "{error}");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).expect("chmod");
        for text in ["", "short\n", &"!".repeat(TOKEN_CHARS)] {
            fs::write(&path, text).expect("write");
            assert!(
                matches!(Token::open(dir.path()), Err(TokenError::NotAToken(_))),
                "{text:?}"
            );
        }
    }

    #[test]
    fn only_the_same_token_is_the_same() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let token = Token::open(dir.path()).expect("a token");
        assert!(token.is(token.0.as_bytes()));
        let mut other = token.0.clone().into_bytes();
        other[TOKEN_CHARS - 1] ^= 1;
        assert!(!token.is(&other));
        assert!(!token.is(b""));
        assert!(!token.is(format!("{}x", token.0).as_bytes()));
        assert!(token.authorization().is_sensitive());
    }
}
