//! Fetches what sources name: from files, URLs and registries, or from what was fetched before.

use std::time::{Duration, Instant};

use futures::TryStreamExt as _;
use reqwest::StatusCode;

use super::Access;
use super::application::Pulled;
use super::collect::collect;
use super::error::SourceError;
use super::registry::Registry;
use super::store::Store;
use crate::capability::tls::install_crypto;
use crate::manifest::model::Source;
use crate::name::Digest;
use crate::toolchain::progress::Progress;

/// How long a server may take to accept a connection.
pub(super) const CONNECT_LIMIT: Duration = Duration::from_secs(10);

/// How long a server may be silent.
pub(super) const SILENCE_LIMIT: Duration = Duration::from_secs(30);

/// What a source gave.
pub(super) struct Fetched {
    pub(super) bytes: Vec<u8>,
    pub(super) digest: Digest,
}

impl Fetched {
    fn of(bytes: Vec<u8>) -> Self {
        let digest = Digest::of(&bytes);
        Self { bytes, digest }
    }
}

/// Fetches, one source after the other.
pub(super) struct Fetcher<'a> {
    access: Access,
    progress: &'a mut dyn Progress,
    /// What whoever started it should know.
    pub(super) warnings: Vec<String>,
}

impl<'a> Fetcher<'a> {
    pub(super) fn new(access: Access, progress: &'a mut dyn Progress) -> Self {
        Self {
            access,
            progress,
            warnings: Vec::new(),
        }
    }

    /// Fetches `source`, whose bytes must have the digest `pinned` if there is one. What cannot
    /// change is not fetched twice; what can is fetched each time, unless nobody answers: then what
    /// was fetched last is taken, with a warning.
    pub(super) fn fetch(
        &mut self,
        source: &Source,
        pinned: Option<Digest>,
    ) -> Result<Fetched, SourceError> {
        if let Source::Path(path) = source {
            let bytes = std::fs::read(path).map_err(|error| SourceError::Read {
                path: path.clone(),
                source: error,
            })?;
            return verified(Fetched::of(bytes), source, pinned);
        }
        if let Some(digest) = pinned
            && let Some(bytes) = Store::blob(digest)
        {
            return Ok(Fetched { bytes, digest });
        }
        if let Source::Oci(reference) = source
            && reference.contains("@sha256:")
            && let Some((digest, bytes)) = Store::latest(source)
        {
            return verified(Fetched { bytes, digest }, source, pinned);
        }
        match self.fetch_anew(source) {
            Ok(fetched) => {
                let fetched = verified(fetched, source, pinned)?;
                Store::keep_blob(&fetched.bytes, fetched.digest)?;
                Store::keep_latest(source, fetched.digest)?;
                Ok(fetched)
            }
            Err(SourceError::Away { from, why }) if pinned.is_none() => {
                let Some((digest, bytes)) = Store::latest(source) else {
                    return Err(SourceError::Away { from, why });
                };
                if !self.access.offline {
                    self.warnings.push(format!(
                        "{from} cannot be reached ({why}): what was fetched last is used, \
                         sha256:{digest}"
                    ));
                }
                Ok(Fetched { bytes, digest })
            }
            Err(error) => Err(error),
        }
    }

    fn fetch_anew(&mut self, source: &Source) -> Result<Fetched, SourceError> {
        let from = source.to_string();
        let access = self.access;
        self.step(&from, async |progress| match source {
            Source::Url(url) => download(url, progress).await.map(Fetched::of),
            Source::Oci(reference) => {
                let registry = Registry::of(reference, access)?;
                let bytes = registry.component(progress).await?;
                Ok(Fetched::of(bytes))
            }
            Source::Path(_) => unreachable!("a path is read before"),
        })
    }

    /// What `reference` names in a registry.
    pub(super) fn pull(&mut self, reference: &str) -> Result<Pulled, SourceError> {
        let registry = Registry::of(reference, self.access)?;
        let source = Source::Oci(reference.to_owned());
        let from = source.to_string();
        let result = self.step(&from, async |progress| registry.pull(progress).await);
        match result {
            Err(SourceError::Away { from, why }) => {
                let Some(pulled) = Pulled::latest(&source) else {
                    return Err(SourceError::Away { from, why });
                };
                self.warnings.push(format!(
                    "{from} cannot be reached ({why}): what was pulled last is used"
                ));
                Ok(pulled)
            }
            other => other,
        }
    }

    /// Does something as a step that is shown, on a thread of no runtime.
    fn step<T>(
        &mut self,
        from: &str,
        work: impl AsyncFnOnce(&mut dyn Progress) -> Result<T, SourceError>,
    ) -> Result<T, SourceError> {
        if self.access.offline {
            return Err(SourceError::Away {
                from: from.to_owned(),
                why: "nobody was asked".to_owned(),
            });
        }
        let step = format!("fetching {from}");
        let began = Instant::now();
        self.progress.begin(&step);
        let result = blocking(from, work(&mut *self.progress));
        self.progress.end(&step, began.elapsed(), result.is_ok());
        result
    }
}

/// Runs `work`, which speaks to `with`, to its end.
pub(super) fn blocking<T>(
    with: &str,
    work: impl Future<Output = Result<T, SourceError>>,
) -> Result<T, SourceError> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| SourceError::Away {
            from: with.to_owned(),
            why: error.to_string(),
        })?;
    runtime.block_on(work)
}

fn verified(
    fetched: Fetched,
    source: &Source,
    pinned: Option<Digest>,
) -> Result<Fetched, SourceError> {
    match pinned {
        Some(pinned) if pinned != fetched.digest => Err(SourceError::WrongDigest {
            from: source.to_string(),
            found: fetched.digest,
            pinned,
        }),
        Some(_) | None => Ok(fetched),
    }
}

async fn download(url: &str, progress: &mut dyn Progress) -> Result<Vec<u8>, SourceError> {
    let away = |error: reqwest::Error| SourceError::Away {
        from: url.to_owned(),
        // The error's own text names the URL again.
        why: crate::telemetry::in_words(&error.without_url()),
    };
    install_crypto();
    let client = reqwest::Client::builder()
        .connect_timeout(CONNECT_LIMIT)
        .read_timeout(SILENCE_LIMIT)
        .user_agent(concat!("wharf/", env!("CARGO_PKG_VERSION")))
        .build()
        .map_err(away)?;
    let response = client.get(url).send().await.map_err(away)?;
    let status = response.status();
    let from = url.to_owned();
    let why = format!("the server answers {status}");
    match status {
        _ if status.is_success() => {}
        _ if status.is_server_error() => return Err(SourceError::Away { from, why }),
        StatusCode::NOT_FOUND | StatusCode::GONE => {
            return Err(SourceError::Missing { from, why });
        }
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => {
            return Err(SourceError::Unauthorized { from, why });
        }
        _ => return Err(SourceError::Refused { from, why }),
    }
    let length = response.content_length();
    let stream = response
        .bytes_stream()
        .map_err(|error| crate::telemetry::in_words(&error.without_url()));
    collect(stream, length, url, progress).await
}
