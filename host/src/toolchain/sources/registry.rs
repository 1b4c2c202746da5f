//! Registries: finds, in what a reference names, the component or the application.
//!
//! The artifacts that are understood: wasm artifacts as the CNCF's working group has them (config
//! `application/vnd.wasm.config.v0+json`, one layer `application/wasm`), the older ones with one wasm
//! layer of another type, Spin applications, and Wharf's own applications.
//! <https://tag-runtime.cncf.io/wgs/wasm/deliverables/wasm-oci-artifact/>

use futures::TryStreamExt as _;
use oci_client::client::{ClientConfig, ClientProtocol};
use oci_client::errors::{OciDistributionError, OciEnvelope, OciErrorCode};
use oci_client::manifest::{ImageIndexEntry, OciDescriptor, OciImageManifest};
use oci_client::secrets::RegistryAuth;
use oci_client::{Client, Reference};

use super::Access;
use super::application::{Pulled, is_application};
use super::collect::collect;
use super::credentials::credentials;
use super::error::SourceError;
use super::fetch::{CONNECT_LIMIT, SILENCE_LIMIT};
use super::store::Store;
use crate::capability::tls::install_crypto;
use crate::manifest::model::Source;
use crate::manifest::origin::parse_reference;
use crate::name::Digest;
use crate::telemetry::in_words;
use crate::toolchain::progress::Progress;

/// The config of a wasm artifact.
pub(super) const WASM_CONFIG: &str = "application/vnd.wasm.config.v0+json";

/// The layer of a wasm artifact.
pub(super) const WASM_LAYER: &str = "application/wasm";

/// What else wasm layers are called: by older tools, and within Spin applications.
const OLDER_WASM_LAYERS: [&str; 3] = [
    "application/vnd.wasm.content.layer.v1+wasm",
    "application/vnd.bytecodealliance.wasm.component.layer.v0+wasm",
    "application/vnd.bytecodealliance.wasm.module.layer.v0+wasm",
];

/// A reference in its registry, and who asks.
pub(super) struct Registry {
    pub(super) client: Client,
    pub(super) reference: Reference,
    pub(super) auth: RegistryAuth,
    /// The reference as it was written, with its scheme.
    pub(super) from: String,
}

impl Registry {
    /// The registry of `reference`, with the credentials that the Docker configuration has for it.
    pub(super) fn of(reference: &str, access: Access) -> Result<Self, SourceError> {
        let from = Source::Oci(reference.to_owned()).to_string();
        let reference = parse_reference(reference).map_err(|why| SourceError::Reference {
            reference: from.clone(),
            why,
        })?;
        let plain = access.insecure || is_local(reference.registry());
        let config = ClientConfig {
            protocol: if plain {
                ClientProtocol::Http
            } else {
                ClientProtocol::Https
            },
            platform_resolver: Some(Box::new(wasm_entry)),
            connect_timeout: Some(CONNECT_LIMIT),
            read_timeout: Some(SILENCE_LIMIT),
            user_agent: concat!("wharf/", env!("CARGO_PKG_VERSION")),
            ..ClientConfig::default()
        };
        install_crypto();
        Ok(Self {
            auth: credentials(reference.resolve_registry())?,
            client: Client::try_from(config).map_err(|error| SourceError::Away {
                from: from.clone(),
                why: in_words(&error),
            })?,
            reference,
            from,
        })
    }

    /// The bytes of the one component or module that it names.
    pub(super) async fn component(
        &self,
        progress: &mut dyn Progress,
    ) -> Result<Vec<u8>, SourceError> {
        let (manifest, _) = self.manifest().await?;
        self.wasm(&manifest, progress).await
    }

    /// Whatever it names.
    pub(super) async fn pull(&self, progress: &mut dyn Progress) -> Result<Pulled, SourceError> {
        let (manifest, digest) = self.manifest().await?;
        if is_application(&manifest) {
            return Pulled::application(self, &manifest, &digest, progress).await;
        }
        self.wasm(&manifest, progress).await.map(Pulled::Component)
    }

    async fn wasm(
        &self,
        manifest: &OciImageManifest,
        progress: &mut dyn Progress,
    ) -> Result<Vec<u8>, SourceError> {
        let layers: Vec<_> = manifest.layers.iter().filter(|l| is_wasm(l)).collect();
        match layers[..] {
            [layer] if !is_application(manifest) => self.blob(layer, progress).await,
            _ => Err(self.wrong_kind(manifest, layers.len())),
        }
    }

    fn wrong_kind(&self, manifest: &OciImageManifest, wasm_layers: usize) -> SourceError {
        let what = if is_application(manifest) {
            format!(
                "an application, not a component; run it with: wharf up {}",
                self.from
            )
        } else {
            let types = manifest
                .layers
                .iter()
                .map(|layer| layer.media_type.as_str());
            let types: Vec<_> = types.collect();
            format!(
                "not one component, it has {wasm_layers} layers of WebAssembly: its config is {}, \
                 its layers are {}",
                manifest.config.media_type,
                types.join(", ")
            )
        };
        SourceError::WrongKind {
            from: self.from.clone(),
            what,
        }
    }

    async fn manifest(&self) -> Result<(OciImageManifest, String), SourceError> {
        let pulled = self.client.pull_image_manifest(&self.reference, &self.auth);
        pulled.await.map_err(|error| self.error(error))
    }

    /// The bytes of a layer or config, which are kept.
    pub(super) async fn blob(
        &self,
        blob: &OciDescriptor,
        progress: &mut dyn Progress,
    ) -> Result<Vec<u8>, SourceError> {
        let digest: Digest = blob.digest.parse().map_err(|_| SourceError::Refused {
            from: self.from.clone(),
            why: format!("the manifest names {:?}, which is no SHA-256", blob.digest),
        })?;
        if let Some(bytes) = Store::blob(digest) {
            return Ok(bytes);
        }
        let stream = self.client.pull_blob_stream(&self.reference, blob).await;
        let stream = stream.map_err(|error| self.error(error))?;
        let length = u64::try_from(blob.size).ok();
        let stream = stream.stream.map_err(|error| in_words(&error));
        let bytes = collect(stream, length, &self.from, progress).await?;
        let found = Digest::of(&bytes);
        if found != digest {
            return Err(SourceError::WrongDigest {
                from: self.from.clone(),
                found,
                pinned: digest,
            });
        }
        Store::keep_blob(&bytes, digest)?;
        Ok(bytes)
    }

    /// What an error of the client means.
    pub(super) fn error(&self, error: OciDistributionError) -> SourceError {
        let from = self.from.clone();
        let unauthorized = |why: String| SourceError::Unauthorized {
            from: from.clone(),
            why: format!("{why}; {}", self.asker()),
        };
        match error {
            OciDistributionError::UnauthorizedError { .. } => {
                unauthorized("the registry asks who we are".to_owned())
            }
            OciDistributionError::AuthenticationFailure(why) => unauthorized(why),
            OciDistributionError::ServerError {
                code: 401 | 403,
                message,
                ..
            } => unauthorized(brief(message)),
            OciDistributionError::ServerError {
                code: 404, message, ..
            } => SourceError::Missing {
                from,
                why: brief(message),
            },
            OciDistributionError::ServerError { code, message, .. } if code >= 500 => {
                let why = format!("the registry answers {code} {message}");
                SourceError::Away { from, why }
            }
            OciDistributionError::RegistryError { ref envelope, .. } => {
                let why = envelope.to_string();
                let is = |codes: &[OciErrorCode]| {
                    envelope
                        .errors
                        .iter()
                        .any(|error| codes.contains(&error.code))
                };
                if is(&[OciErrorCode::Unauthorized, OciErrorCode::Denied]) {
                    unauthorized(why)
                } else if is(&[
                    OciErrorCode::ManifestUnknown,
                    OciErrorCode::NameUnknown,
                    OciErrorCode::NotFound,
                ]) {
                    SourceError::Missing { from, why }
                } else {
                    SourceError::Refused { from, why }
                }
            }
            OciDistributionError::RequestError(error) => SourceError::Away {
                from,
                why: in_words(&error.without_url()),
            },
            other => SourceError::Refused {
                from,
                why: in_words(&other),
            },
        }
    }

    fn asker(&self) -> String {
        let registry = self.reference.resolve_registry();
        match &self.auth {
            RegistryAuth::Anonymous => format!(
                "the Docker configuration has no credentials for {registry}: run docker login \
                 {registry}"
            ),
            RegistryAuth::Basic(user, _) => {
                format!("asked as {user}, whom the Docker configuration has for {registry}")
            }
            RegistryAuth::Bearer(_) => "asked with a token".to_owned(),
        }
    }
}

/// What a registry says, of which the client has told the status alone.
fn brief(message: String) -> String {
    match serde_json::from_str::<OciEnvelope>(&message) {
        Ok(envelope) => envelope.to_string(),
        Err(_) => message,
    }
}

/// Whether a registry is one of this machine, to which nobody else listens.
fn is_local(registry: &str) -> bool {
    let host = match registry.rsplit_once(':') {
        Some((host, port)) if port.bytes().all(|b| b.is_ascii_digit()) => host,
        Some(_) | None => registry,
    };
    matches!(host, "localhost" | "127.0.0.1" | "[::1]")
}

pub(super) fn is_wasm(layer: &OciDescriptor) -> bool {
    let media_type = layer.media_type.as_str();
    media_type == WASM_LAYER || OLDER_WASM_LAYERS.contains(&media_type)
}

/// The entry of an index that is for wasm.
fn wasm_entry(entries: &[ImageIndexEntry]) -> Option<String> {
    let is_wasm = |entry: &&ImageIndexEntry| {
        let platform = entry.platform.as_ref();
        platform.is_some_and(|platform| platform.architecture.to_string() == "wasm")
    };
    entries
        .iter()
        .find(is_wasm)
        .map(|entry| entry.digest.clone())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_this_machine_is_local() {
        for (registry, local) in [
            ("localhost", true),
            ("localhost:5000", true),
            ("127.0.0.1:5000", true),
            ("[::1]:5000", true),
            ("localhost.example.com", false),
            ("127.0.0.1.example.com:80", false),
            ("ghcr.io", false),
            ("10.0.0.1:5000", false),
        ] {
            assert_eq!(is_local(registry), local, "{registry}");
        }
    }
}
