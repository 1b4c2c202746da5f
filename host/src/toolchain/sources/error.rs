//! Why an artifact cannot be had.

use std::io;
use std::path::PathBuf;

use super::SOURCE_BYTES_MAX;
use super::compose::ComposeError;
use crate::name::{ComponentName, Digest};

/// A component's artifact cannot be had.
#[derive(Debug, thiserror::Error)]
#[error("the artifact of component {component} cannot be had")]
pub struct ProvideError {
    /// Whose artifact it is.
    pub component: ComponentName,
    /// Why.
    pub source: SourceError,
}

impl ProvideError {
    /// Whether a source is not there, rather than wrong.
    pub fn is_absent(&self) -> bool {
        match &self.source {
            SourceError::Away { .. } => true,
            SourceError::Read { source, .. } => source.kind() == io::ErrorKind::NotFound,
            _ => false,
        }
    }
}

/// A source cannot be had, or nothing can be made of it. `from` is the source as it was written.
#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    /// A file of this machine.
    #[error("{path} cannot be read")]
    Read {
        /// The file.
        path: PathBuf,
        /// What happened.
        source: io::Error,
    },
    /// What was fetched or made cannot be kept.
    #[error("{path} cannot be written; XDG_CACHE_HOME names another place for it")]
    Cache {
        /// The file or directory.
        path: PathBuf,
        /// What happened.
        source: io::Error,
    },
    /// Nobody answers, or not to the end; and no earlier fetch is there instead.
    #[error("{from} cannot be reached: {why}")]
    Away {
        /// The source.
        from: String,
        /// What happened.
        why: String,
    },
    /// It does not exist.
    #[error("{from} does not exist: {why}")]
    Missing {
        /// The source.
        from: String,
        /// What was answered.
        why: String,
    },
    /// The registry or server does not give it to whoever asks.
    #[error("{from} is not for us: {why}")]
    Unauthorized {
        /// The source.
        from: String,
        /// What was answered, and who asked.
        why: String,
    },
    /// Any other answer.
    #[error("{from} is not given: {why}")]
    Refused {
        /// The source.
        from: String,
        /// What was answered.
        why: String,
    },
    /// More bytes than are taken.
    #[error("{from} has more than {} bytes", SOURCE_BYTES_MAX)]
    TooLarge {
        /// The source.
        from: String,
    },
    /// Other bytes than are asked for.
    #[error("{from} has the digest sha256:{found}, and sha256:{pinned} is asked for")]
    WrongDigest {
        /// The source.
        from: String,
        /// The digest that it has.
        found: Digest,
        /// The digest that it must have.
        pinned: Digest,
    },
    /// Something else than a component, a module or an application.
    #[error("{from} is {what}")]
    WrongKind {
        /// The source.
        from: String,
        /// What it is, and what would do.
        what: String,
    },
    /// Not an OCI reference.
    #[error(
        "{reference:?} is not an OCI reference ({why}): write HOST/NAME:TAG or HOST/NAME@sha256:HEX"
    )]
    Reference {
        /// What was written.
        reference: String,
        /// What is wrong with it.
        why: String,
    },
    /// The Docker configuration has no usable credentials.
    #[error("the credentials for {registry} in {path} cannot be used: {why}")]
    Credentials {
        /// The registry.
        registry: String,
        /// The Docker configuration.
        path: PathBuf,
        /// What happened.
        why: String,
    },
    /// A core module of which no component can be made.
    #[error("{from} is a core module, and no component can be made of it: {why}")]
    Module {
        /// The source.
        from: String,
        /// What is wrong with it.
        why: String,
    },
    /// Its dependencies do not fit it.
    #[error("its dependencies do not fit")]
    Compose(#[from] ComposeError),
    /// An application's manifest that cannot be turned into files.
    #[error("the application {from} cannot be read: {why}")]
    Application {
        /// The source.
        from: String,
        /// What is wrong with it.
        why: String,
    },
}
