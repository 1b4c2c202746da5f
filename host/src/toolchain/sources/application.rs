//! Applications in registries: one becomes a directory with its manifest and its files, which is then
//! run like any other.
//!
//! Spin's hold a locked application, of which a `spin.toml` is made; Wharf's own hold their manifest
//! as it is, with an artifact beside it for each component.

use std::path::{Component, Path, PathBuf};

use oci_client::manifest::{OciDescriptor, OciImageManifest};

use super::error::SourceError;
use super::registry::{Registry, is_wasm};
use super::spin::{self, Content, Unlocked};
use super::store::{Store, write};
use crate::manifest::model::Source;
use crate::manifest::origin::artifacts_dir;
use crate::name::Digest;
use crate::toolchain::progress::Progress;

/// The config of a Wharf application: its manifest.
pub(super) const APPLICATION_CONFIG: &str = "application/vnd.wharf.application.v1+toml";

/// The annotation of a layer that says which file it is.
/// <https://github.com/opencontainers/image-spec/blob/main/annotations.md>
pub(super) const TITLE: &str = "org.opencontainers.image.title";

/// What a Wharf application's manifest is called.
const MANIFEST: &str = "application.toml";

/// What a reference names.
#[derive(Debug)]
pub enum Pulled {
    /// A component, or a module.
    Component(Vec<u8>),
    /// An application, whose manifest this is.
    Application(PathBuf),
}

impl Pulled {
    /// The application that `source` gave when it was pulled last.
    pub(super) fn latest(source: &Source) -> Option<Self> {
        let digest = Store::latest_digest(source)?;
        let there = manifests(&directory(digest)).find(|path| path.exists());
        there.map(Self::Application)
    }

    /// Writes an application's files, and its manifest last: where that is, all is.
    pub(super) async fn application(
        registry: &Registry,
        manifest: &OciImageManifest,
        digest: &str,
        progress: &mut dyn Progress,
    ) -> Result<Self, SourceError> {
        let wrong = |why: String| SourceError::Application {
            from: registry.from.clone(),
            why,
        };
        let digest: Digest = digest
            .parse()
            .map_err(|_| wrong(format!("{digest:?} is no SHA-256")))?;
        let directory = directory(digest);
        let source = Source::parse(&registry.from, Path::new(""));
        if let Some(path) = manifests(&directory).find(|path| path.exists()) {
            Store::keep_latest(&source, digest)?;
            return Ok(Self::Application(path));
        }
        let path = match locked(manifest) {
            Some(locked) => {
                let locked = registry.blob(locked, progress).await?;
                let Unlocked { toml, files } = spin::unlock(&locked).map_err(wrong)?;
                for (path, content) in files {
                    let bytes = content_of(content, registry, manifest, progress).await?;
                    write(&directory.join(checked(&path).map_err(wrong)?), &bytes)?;
                }
                let path = directory.join(spin::MANIFEST);
                write(&path, toml.as_bytes())?;
                path
            }
            None => {
                for layer in manifest.layers.iter().filter(|layer| is_wasm(layer)) {
                    let title = annotation(layer, TITLE).unwrap_or_default();
                    let file = checked(Path::new(title)).map_err(wrong)?;
                    let bytes = registry.blob(layer, progress).await?;
                    write(&directory.join(file), &bytes)?;
                }
                let text = registry.blob(&manifest.config, progress).await?;
                let path = directory.join(MANIFEST);
                write(&path, &text)?;
                path
            }
        };
        Store::keep_latest(&source, digest)?;
        Ok(Self::Application(path))
    }
}

/// Whether a manifest is of an application, Spin's or Wharf's.
pub(super) fn is_application(manifest: &OciImageManifest) -> bool {
    manifest.config.media_type == APPLICATION_CONFIG || locked(manifest).is_some()
}

/// Where the locked application is: the config in older artifacts, a layer in newer ones.
fn locked(manifest: &OciImageManifest) -> Option<&OciDescriptor> {
    let blobs = std::iter::once(&manifest.config).chain(&manifest.layers);
    let mut locked = blobs.filter(|blob| blob.media_type == spin::LOCKED);
    locked.next()
}

fn directory(digest: Digest) -> PathBuf {
    artifacts_dir()
        .join("applications")
        .join(digest.to_string())
}

fn manifests(directory: &Path) -> impl Iterator<Item = PathBuf> {
    [spin::MANIFEST, MANIFEST]
        .map(|name| directory.join(name))
        .into_iter()
}

fn annotation<'a>(layer: &'a OciDescriptor, name: &str) -> Option<&'a str> {
    let annotations = layer.annotations.as_ref()?;
    annotations.get(name).map(String::as_str)
}

async fn content_of(
    content: Content,
    registry: &Registry,
    manifest: &OciImageManifest,
    progress: &mut dyn Progress,
) -> Result<Vec<u8>, SourceError> {
    let digest = match content {
        Content::Inline(bytes) => return Ok(bytes),
        Content::Layer(digest) => digest,
    };
    let wrong = |why: String| SourceError::Application {
        from: registry.from.clone(),
        why,
    };
    let mut layers = manifest.layers.iter();
    let layer = layers.find(|layer| layer.digest == digest);
    let layer = layer.ok_or_else(|| wrong(format!("it has no layer {digest}")))?;
    if layer.media_type == spin::ARCHIVE {
        let why =
            "its files are in an archive, which Wharf does not open: push it with fewer files";
        return Err(wrong(why.to_owned()));
    }
    // Registries refuse layers without bytes, so that Spin fills them.
    if annotation(layer, spin::EMPTY) == Some("true") {
        return Ok(Vec::new());
    }
    registry.blob(layer, progress).await
}

/// A path of the artifact's, which must stay below the directory that it is written to.
fn checked(path: &Path) -> Result<&Path, String> {
    let normal = |part: Component<'_>| matches!(part, Component::Normal(_));
    let inside = path.components().all(normal) && path.file_name().is_some();
    inside
        .then_some(path)
        .ok_or_else(|| format!("it names the file {path:?}, which leads out of it"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_stay_below_their_directory() {
        for (path, inside) in [
            ("a.wasm", true),
            ("files/a/b.txt", true),
            ("../a.wasm", false),
            ("files/../../a.wasm", false),
            ("/etc/passwd", false),
            ("", false),
            (".", false),
        ] {
            assert_eq!(checked(Path::new(path)).is_ok(), inside, "{path}");
        }
    }
}
