//! Makes artifacts that are not files of the manifest's own.
//!
//! ```text
//! source        --fetch--> bytes --verify--> component (of a module: with an adapter) --.
//! dependencies  --fetch--> bytes --verify--> components --------------------------------+--> compose --> cache
//! ```
//!
//! What was fetched is kept by digest, and what was made of it beside it, so that a start without a
//! network works if one with it did, and making happens once. Which formats of manifests name such
//! sources, and what runs of them, it does not know.

mod application;
mod collect;
mod compose;
mod credentials;
mod error;
mod fetch;
mod module;
mod push;
mod registry;
mod spin;
mod store;

pub use application::Pulled;
pub use compose::{ComposeError, Part, compose};
pub use error::{ProvideError, SourceError};
pub use push::{Pushed, push_application, push_file};

use fetch::{Fetched, Fetcher};
use store::Store;

use super::progress::Progress;
use crate::manifest::model::{Application, Artifact, Component, Origin, Source};
use crate::name::Digest;

/// Bytes of one source. A component with a language's whole runtime in it has 20 MB.
pub const SOURCE_BYTES_MAX: u64 = 256 << 20;

/// How places that are not on this machine may be asked.
#[derive(Debug, Clone, Copy, Default)]
pub struct Access {
    /// Registries are spoken to without TLS, wherever they are. Those of this machine always are.
    pub insecure: bool,
    /// Nobody is asked: what was fetched before is what there is.
    pub offline: bool,
}

/// Makes the artifacts of `application` that are made from something else, and gives warnings for
/// whoever started it. What is there already, of what its sources still are, is left.
///
/// # Errors
///
/// The first component whose artifact cannot be had ends it.
pub fn provide(
    application: &Application,
    access: Access,
    progress: &mut dyn Progress,
) -> Result<Vec<String>, ProvideError> {
    let mut warnings = Vec::new();
    for component in application.components.values() {
        warnings.extend(provide_one(component, access, progress)?);
    }
    Ok(warnings)
}

/// The same for one component.
///
/// # Errors
///
/// Its artifact cannot be had.
pub fn provide_one(
    component: &Component,
    access: Access,
    progress: &mut dyn Progress,
) -> Result<Vec<String>, ProvideError> {
    provide_file(&component.artifact, access, progress).map_err(|source| ProvideError {
        component: component.name.clone(),
        source,
    })
}

/// The same for an artifact.
///
/// # Errors
///
/// It cannot be had.
pub fn provide_file(
    artifact: &Artifact,
    access: Access,
    progress: &mut dyn Progress,
) -> Result<Vec<String>, SourceError> {
    let Some(origin) = &artifact.origin else {
        return Ok(Vec::new());
    };
    let mut fetcher = Fetcher::new(access, progress);
    make(origin, &artifact.path, &mut fetcher)?;
    Ok(fetcher.warnings)
}

/// The component that `source` is or can be made, without a manifest that names it. What is there must
/// have the digest `sha256`, if one is given. Warnings come with it.
///
/// # Errors
///
/// It cannot be had.
pub fn component(
    source: &Source,
    sha256: Option<Digest>,
    access: Access,
    progress: &mut dyn Progress,
) -> Result<(Vec<u8>, Vec<String>), SourceError> {
    let mut fetcher = Fetcher::new(access, progress);
    let fetched = fetcher.fetch(source, sha256)?;
    let component = module::component(fetched.bytes, source)?;
    Ok((component, fetcher.warnings))
}

/// What `reference` names in a registry: one component, or an application, which becomes a directory
/// with its manifest. Warnings come with it.
///
/// # Errors
///
/// It cannot be had.
pub fn pull(
    reference: &str,
    access: Access,
    progress: &mut dyn Progress,
) -> Result<(Pulled, Vec<String>), SourceError> {
    let mut fetcher = Fetcher::new(access, progress);
    let pulled = fetcher.pull(reference)?;
    Ok((pulled, fetcher.warnings))
}

/// Makes the file at `path` from `origin`, if it is not what would be made now.
fn make(
    origin: &Origin,
    path: &std::path::Path,
    fetcher: &mut Fetcher<'_>,
) -> Result<(), SourceError> {
    let main = fetcher.fetch(&origin.source, origin.sha256)?;
    let mut parts = Vec::new();
    for dependency in &origin.dependencies {
        parts.push(fetcher.fetch(&dependency.source, dependency.sha256)?);
    }
    let inputs: Vec<Digest> = std::iter::once(&main)
        .chain(&parts)
        .map(|fetched| fetched.digest)
        .collect();
    if Store::is_made_of(path, &inputs) {
        return Ok(());
    }
    let component = module::component(main.bytes, &origin.source)?;
    let made = if parts.is_empty() {
        component
    } else {
        compose(component, &composition(origin, parts)?)?
    };
    Store::keep_made(path, &made, &inputs)
}

fn composition(origin: &Origin, parts: Vec<Fetched>) -> Result<Vec<Part>, SourceError> {
    let parts = origin.dependencies.iter().zip(parts);
    let part = parts.map(|(dependency, fetched)| {
        Ok(Part {
            import: dependency.import.clone(),
            export: dependency.export.clone(),
            bytes: module::component(fetched.bytes, &dependency.source)?,
        })
    });
    part.collect()
}
