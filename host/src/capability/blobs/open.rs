//! A URL to a store: which service, which bucket, what the environment says, and whether it is there.

use std::path::Path;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt as _;
use object_store::ClientOptions;
use object_store::aws::AmazonS3Builder;
use object_store::azure::MicrosoftAzureBuilder;
use object_store::gcp::GoogleCloudStorageBuilder;
use object_store::path::Path as ObjectPath;
use object_store::prefix::PrefixStore;
use object_store::{BackoffConfig, Error, ObjectStore, RetryConfig};

use super::{ANSWER_WITHIN, BlobError, Blobs, Medium, late};

/// Longest wait for a connection. A store on the network answers within tens of milliseconds, from
/// another continent within one second.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);

/// Longest wait for a response, or for more of one, the request's own body included: a part of 5 MiB
/// passes in this time on a line of 1.5 Mbit/s. There is no limit on the whole of a body, because who
/// reads it may be slow.
const READ_TIMEOUT: Duration = Duration::from_secs(30);

/// After this long a failed request is not tried again: it and one connection that is never made take
/// about ten seconds.
const RETRY_WITHIN: Duration = Duration::from_secs(8);

/// Attempts after the first one. Their pauses, 0.1 s doubling up to 2 s, take about six seconds.
const RETRIES_MAX: usize = 6;

/// How long a prefix may be, so that a key stays below the 1,024 bytes that the services allow.
const PREFIX_BYTES_MAX: usize = 120;

/// Where objects go, as a URL says.
#[derive(Debug, PartialEq, Eq)]
enum Place<'a> {
    Directory(&'a Path),
    Bucket {
        service: Service,
        name: &'a str,
        prefix: &'a str,
    },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Service {
    S3,
    Gcs,
    Azure,
}

impl Service {
    /// The environment variables that matter most.
    fn variables(self) -> &'static str {
        match self {
            Self::S3 => "AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_REGION and AWS_ENDPOINT_URL",
            Self::Gcs => "GOOGLE_APPLICATION_CREDENTIALS or GOOGLE_SERVICE_ACCOUNT",
            Self::Azure => "AZURE_STORAGE_ACCOUNT_NAME and AZURE_STORAGE_ACCOUNT_KEY",
        }
    }

    /// The environment variables that name another endpoint than the service's own.
    fn endpoints(self) -> &'static [&'static str] {
        match self {
            Self::S3 => &["AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL", "AWS_ENDPOINT"],
            Self::Gcs => &["GOOGLE_BASE_URL"],
            Self::Azure => &["AZURE_STORAGE_ENDPOINT", "AZURE_ENDPOINT"],
        }
    }
}

impl Blobs {
    /// Keeps objects where `url` says: `file:///DIRECTORY`, `s3://BUCKET/PREFIX`, `gs://BUCKET/PREFIX`
    /// or `az://CONTAINER/PREFIX`. Credentials, region and endpoint are the environment's. A store
    /// that cannot be reached is no error: it may come up after this host, and until then operations
    /// fail. Takes at most [`ANSWER_WITHIN`].
    ///
    /// # Errors
    ///
    /// [`BlobError::Url`], [`BlobError::Directory`], [`BlobError::Settings`], [`BlobError::Refused`].
    pub async fn open(url: &str) -> Result<Self, BlobError> {
        Self::open_with(url, std::env::vars_os().filter_map(text).collect()).await
    }

    /// As [`open`](Self::open), with an environment of its own.
    pub(super) async fn open_with(
        url: &str,
        environment: Vec<(String, String)>,
    ) -> Result<Self, BlobError> {
        let (service, bucket, prefix) = match place(url)? {
            Place::Directory(dir) => return Self::shared(dir),
            Place::Bucket {
                service,
                name,
                prefix,
            } => (service, name, prefix),
        };
        let variables = service.variables();
        let store =
            connect(service, bucket, &environment).map_err(|source| BlobError::Settings {
                url: url.to_owned(),
                variables,
                source: Box::new(source),
            })?;
        let prefix = ObjectPath::parse(prefix).expect("its segments are plain");
        let blobs = Self {
            store: Arc::new(PrefixStore::new(store, prefix)),
            medium: Medium::Network,
        };
        blobs.greet(url, variables).await?;
        Ok(blobs)
    }

    /// Asks whether the store is there and lets this host in.
    async fn greet(&self, url: &str, variables: &'static str) -> Result<(), BlobError> {
        let listed = async { self.store.list(None).next().await };
        let answer = match tokio::time::timeout(ANSWER_WITHIN, listed).await {
            Ok(None | Some(Ok(_))) => return Ok(()),
            Ok(Some(Err(source))) => source,
            Err(elapsed) => late(elapsed),
        };
        if refuses(&answer) {
            return Err(BlobError::Refused {
                url: url.to_owned(),
                variables,
                source: Box::new(answer),
            });
        }
        tracing::warn!(url, error = %answer, "the object store cannot be reached yet; what needs it is answered with errors until it can");
        Ok(())
    }
}

/// Whether the store has answered that it will not: no such bucket, wrong credentials or region. The
/// crate keeps the status of a failed listing to itself, but for its text.
fn refuses(error: &Error) -> bool {
    let text = error.to_string();
    let answers = ["400 ", "401 ", "403 ", "404 ", "30"];
    text.contains("redirect without LOCATION")
        || answers
            .iter()
            .any(|status| text.contains(&format!("status code: {status}")))
}

fn text((name, value): (std::ffi::OsString, std::ffi::OsString)) -> Option<(String, String)> {
    Some((name.into_string().ok()?, value.into_string().ok()?))
}

fn place(url: &str) -> Result<Place<'_>, BlobError> {
    let refused = |problem| BlobError::Url {
        url: without_credentials(url),
        problem,
    };
    let (scheme, rest) = url
        .split_once("://")
        .ok_or_else(|| refused("it has no scheme"))?;
    let service = match scheme {
        "file" if rest.starts_with('/') => return Ok(Place::Directory(Path::new(rest))),
        "file" => return Err(refused("the directory has to begin with /")),
        "s3" => Service::S3,
        "gs" => Service::Gcs,
        "az" => Service::Azure,
        _ => return Err(refused("the scheme is unknown")),
    };
    if rest.contains('@') {
        return Err(refused("credentials belong in the environment"));
    }
    let (name, prefix) = rest.split_once('/').unwrap_or((rest, ""));
    let prefix = prefix.strip_suffix('/').unwrap_or(prefix);
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    if name.is_empty() || !name.bytes().all(plain) {
        return Err(refused("it names no bucket"));
    }
    let segment = |part: &str| !matches!(part, "" | "." | "..") && part.bytes().all(plain);
    if prefix.len() > PREFIX_BYTES_MAX || !(prefix.is_empty() || prefix.split('/').all(segment)) {
        return Err(refused(
            "a prefix has up to 120 letters, digits, hyphens, dots and underscores, between slashes",
        ));
    }
    Ok(Place::Bucket {
        service,
        name,
        prefix,
    })
}

/// For errors: what stands before an `@` may be a password.
fn without_credentials(url: &str) -> String {
    match (url.find("://"), url.rfind('@')) {
        (Some(scheme), Some(at)) if at > scheme => {
            format!("{}{}", &url[..scheme + 3], &url[at + 1..])
        }
        (None, Some(at)) => url[at + 1..].to_owned(),
        _ => url.to_owned(),
    }
}

/// Makes the client; nothing is sent. The builders read the variables that the services' own tools
/// read.
fn connect(
    service: Service,
    bucket: &str,
    environment: &[(String, String)],
) -> Result<Arc<dyn ObjectStore>, Error> {
    crate::capability::tls::install_crypto();
    let retry = RetryConfig {
        backoff: BackoffConfig {
            init_backoff: Duration::from_millis(100),
            max_backoff: Duration::from_secs(2),
            base: 2.0,
        },
        max_retries: RETRIES_MAX,
        retry_timeout: RETRY_WITHIN,
    };
    let client = client(service, environment);
    // The bucket comes last: the environment may name another one.
    Ok(match service {
        Service::S3 => {
            let builder = AmazonS3Builder::new().with_client_options(client);
            let builder = settings("AWS_", "", environment)
                .fold(builder, |builder, (key, value)| {
                    builder.with_config(key, value)
                });
            Arc::new(builder.with_retry(retry).with_bucket_name(bucket).build()?)
        }
        Service::Gcs => {
            let builder = GoogleCloudStorageBuilder::new().with_client_options(client);
            let builder = settings("GOOGLE_", "SERVICE_ACCOUNT", environment)
                .fold(builder, |builder, (key, value)| {
                    builder.with_config(key, value)
                });
            Arc::new(builder.with_retry(retry).with_bucket_name(bucket).build()?)
        }
        Service::Azure => {
            let builder = MicrosoftAzureBuilder::new().with_client_options(client);
            let builder = settings("AZURE_", "IDENTITY_ENDPOINT", environment)
                .fold(builder, |builder, (key, value)| {
                    builder.with_config(key, value)
                });
            Arc::new(
                builder
                    .with_retry(retry)
                    .with_container_name(bucket)
                    .build()?,
            )
        }
    })
}

/// What the environment sets of a builder: variables that begin with `prefix`, and the one called
/// `also`. The same names count as in the builders' own `from_env`.
fn settings<K: FromStr>(
    prefix: &str,
    also: &str,
    environment: &[(String, String)],
) -> impl Iterator<Item = (K, String)> {
    environment
        .iter()
        .filter(move |(name, _)| name.starts_with(prefix) || name == also)
        .filter_map(|(name, value)| Some((name.to_ascii_lowercase().parse().ok()?, value.clone())))
}

/// How the HTTP client waits, and that it talks without TLS to an endpoint that is written so.
fn client(service: Service, environment: &[(String, String)]) -> ClientOptions {
    let endpoint = |(name, value): &(String, String)| {
        service.endpoints().contains(&name.as_str()) && value.starts_with("http://")
    };
    ClientOptions::new()
        .with_connect_timeout(CONNECT_TIMEOUT)
        .with_timeout_disabled()
        .with_read_timeout(READ_TIMEOUT)
        .with_allow_http(environment.iter().any(endpoint))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_name_places() {
        let bucket = |service, name, prefix| Place::Bucket {
            service,
            name,
            prefix,
        };
        for (url, expected) in [
            (
                "file:///srv/blobs",
                Place::Directory(Path::new("/srv/blobs")),
            ),
            ("s3://b", bucket(Service::S3, "b", "")),
            ("s3://b/", bucket(Service::S3, "b", "")),
            (
                "s3://b/one/Two_3.4-/",
                bucket(Service::S3, "b", "one/Two_3.4-"),
            ),
            ("gs://b/p", bucket(Service::Gcs, "b", "p")),
            ("az://c/p", bucket(Service::Azure, "c", "p")),
        ] {
            assert_eq!(place(url).unwrap(), expected);
        }
    }

    #[test]
    fn what_is_no_place_is_named_without_credentials() {
        let long = format!("s3://b/{}", "p".repeat(PREFIX_BYTES_MAX + 1));
        for url in [
            "",
            "/srv/blobs",
            "s3:/b",
            "s3://",
            "s3:///p",
            "s3://b//p",
            "s3://b/../p",
            "s3://b/p?x=y",
            "s3://b/p#f",
            "s3://b/%2e",
            "file://srv",
            "file:",
            "http://b/p",
            "S3://b",
            long.as_str(),
            "s3://key:hush@b/p",
            "key:hush@b/p",
            "ftp://key:hush@b/p",
        ] {
            let error = place(url).unwrap_err();
            let text = error.to_string();
            assert!(matches!(error, BlobError::Url { .. }), "{text}");
            assert!(text.contains("s3://BUCKET/PREFIX"), "{text}");
            assert!(!text.contains("hush"), "{text}");
        }
    }
}
