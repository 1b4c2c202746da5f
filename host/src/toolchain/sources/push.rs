//! Brings components and applications to a registry.

use std::collections::BTreeMap;

use oci_client::RegistryOperation;
use oci_client::client::{Config, ImageLayer};
use oci_client::manifest::{OCI_IMAGE_MEDIA_TYPE, OciImageManifest};
use serde_json::json;

use super::Access;
use super::application::{APPLICATION_CONFIG, TITLE};
use super::error::SourceError;
use super::fetch::blocking;
use super::registry::{Registry, WASM_CONFIG, WASM_LAYER};
use crate::name::ComponentName;
use crate::runtime::{self, ShapeError};

/// When everything was created, so that the same component has the same digest whoever pushes it.
/// 1980, as the builds have it.
const CREATED: &str = "1980-01-01T00:00:00Z";

/// What a registry has now.
#[derive(Debug)]
pub struct Pushed {
    /// The reference, by which others pull it.
    pub reference: String,
    /// Its digest, by which it can be pinned: `sha256:...`.
    pub digest: String,
}

/// Pushes a component, or a core module, as a wasm artifact.
///
/// # Errors
///
/// It is neither, or the registry does not take it.
pub fn push_file(bytes: Vec<u8>, reference: &str, access: Access) -> Result<Pushed, SourceError> {
    let registry = Registry::of(reference, access)?;
    let layer = ImageLayer::new(bytes, WASM_LAYER.to_owned(), None);
    let mut config = json!({
        "created": CREATED,
        "architecture": "wasm",
        "layerDigests": [layer.sha256_digest()],
    });
    match runtime::shape(&layer.data) {
        Ok(shape) => {
            config["os"] = json!("wasip2");
            config["component"] = json!({ "exports": shape.exports, "imports": shape.imports });
        }
        Err(ShapeError::Module) => config["os"] = json!("wasip1"),
        Err(error @ ShapeError::Invalid(_)) => {
            return Err(SourceError::WrongKind {
                from: "the file".to_owned(),
                what: format!("not pushed: {error}"),
            });
        }
    }
    let config = Config::new(
        config.to_string().into_bytes(),
        WASM_CONFIG.to_owned(),
        None,
    );
    push(&registry, vec![layer], config)
}

/// Pushes an application: its manifest, in which each component's artifact is the file
/// `COMPONENT.wasm`, and those.
///
/// # Errors
///
/// The registry does not take it.
pub fn push_application(
    manifest: &str,
    artifacts: Vec<(ComponentName, Vec<u8>)>,
    reference: &str,
    access: Access,
) -> Result<Pushed, SourceError> {
    let registry = Registry::of(reference, access)?;
    let layers = artifacts.into_iter().map(|(component, bytes)| {
        let title = BTreeMap::from([(TITLE.to_owned(), format!("{component}.wasm"))]);
        ImageLayer::new(bytes, WASM_LAYER.to_owned(), Some(title))
    });
    let config = manifest.as_bytes().to_vec();
    let config = Config::new(config, APPLICATION_CONFIG.to_owned(), None);
    push(&registry, layers.collect(), config)
}

fn push(
    registry: &Registry,
    layers: Vec<ImageLayer>,
    config: Config,
) -> Result<Pushed, SourceError> {
    let mut manifest = OciImageManifest::build(&layers, &config, None);
    manifest.media_type = Some(OCI_IMAGE_MEDIA_TYPE.to_owned());
    if config.media_type == APPLICATION_CONFIG {
        manifest.artifact_type = Some(APPLICATION_CONFIG.to_owned());
    }
    let Registry {
        client,
        reference,
        auth,
        from,
    } = registry;
    let digest = blocking(from, async {
        // Asked for by itself, since pushing does not say why it is refused.
        let asked = client.auth(reference, auth, RegistryOperation::Push).await;
        asked.map_err(|error| registry.error(error))?;
        let pushed = client.push(reference, &layers, config, auth, Some(manifest));
        pushed.await.map_err(|error| registry.error(error))?;
        let digest = client.fetch_manifest_digest(reference, auth).await;
        digest.map_err(|error| registry.error(error))
    })?;
    Ok(Pushed {
        reference: reference.whole(),
        digest,
    })
}
