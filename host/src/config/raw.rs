//! The host configuration as it is written. The JSON schema is derived from these declarations, so
//! their documentation is what an editor shows.

use std::net::SocketAddr;

use http::HeaderName;
use http::header;

use crate::document::{Size, Span, Text, TextForm, Wrong, raw_table};
use crate::name::{HostId, SecretName};

raw_table! {
    /// Where and how a host runs.
    pub struct HostConfig {
        required {}
        optional {
            /// This host among those that share Redis: unique, and the same after a restart. Default:
            /// a name that it makes up once and keeps in its state directory.
            name: Text<HostId>,
            /// Durable state, relative to the directory in which the host is started. Default
            /// ".wharf".
            state_dir: String,
            /// The public listener.
            http: Http,
            /// The operators' listener.
            admin: Admin,
            /// Ordered shutdown.
            shutdown: Shutdown,
            /// Bounds that all components share.
            engine: Engine,
            /// Revisions of components.
            rollout: Rollout,
            /// Messages and key-value stores on Redis. Where left out, they are in the embedded store.
            redis: Redis,
            /// Blobs. Where left out, they are files below the state directory.
            blobs: Blobs,
        }
    }
}

raw_table! {
    /// A Redis server or cluster (Redis 7 and newer, Valkey 8).
    pub struct Redis {
        required {}
        optional {
            /// redis://HOST:PORT, or rediss://HOST:PORT for TLS. Of a cluster, some of its nodes, with
            /// commas between.
            url: String,
            /// The environment variable that holds the URL, in place of `url`.
            url_env: String,
            /// Whether it is a cluster. Default false.
            cluster: bool,
            /// The ACL user. Default: the one in the URL, or Redis' own default user.
            username: String,
            /// The secret that holds the user's password.
            password_secret: Text<SecretName>,
            /// What all keys begin with: hosts with the same prefix run one application together.
            /// Default "wharf".
            prefix: String,
        }
    }
}

raw_table! {
    /// An object store.
    pub struct Blobs {
        required {}
        optional {
            /// file:///DIRECTORY, s3://BUCKET/PREFIX, gs://BUCKET/PREFIX or az://CONTAINER/PREFIX. The
            /// provider's usual environment variables give credentials, region and endpoint.
            url: String,
            /// The environment variable that holds the URL, in place of `url`. Where it is not set,
            /// blobs are files below the state directory.
            url_env: String,
        }
    }
}

raw_table! {
    /// The public listener.
    pub struct Http {
        required {}
        optional {
            /// An address and port; port 0 takes any free one. Default "127.0.0.1:8080".
            listen: Text<SocketAddr>,
            /// Connections open at once; more wait in the kernel's backlog. Default 8192.
            connections: u64,
            /// Longest wait for a request's headers, once its first byte is there. Default 15s.
            header_timeout: Span,
        }
    }
}

raw_table! {
    /// The operators' listener.
    pub struct Admin {
        required {}
        optional {
            /// An address and port; port 0 takes any free one. Default "127.0.0.1:9090".
            listen: Text<SocketAddr>,
        }
    }
}

raw_table! {
    /// Ordered shutdown.
    pub struct Shutdown {
        required {}
        optional {
            /// How long accepted work may take to finish. Default 30s.
            grace: Span,
        }
    }
}

raw_table! {
    /// Bounds that all components share.
    pub struct Engine {
        required {}
        optional {
            /// Component instances alive at once. Default 1000.
            instances: u64,
            /// Linear memory that one instance can be allowed, rounded up to whole pages of 64 KiB;
            /// a component's own limit is at most this. Default 256MiB.
            memory: Size,
            /// Threads for deliveries and other background work. Default: one for each core.
            worker_threads: u64,
        }
    }
}

raw_table! {
    /// Revisions of components.
    pub struct Rollout {
        required {}
        optional {
            /// The request header, such as "wharf-revision", by which a request names the revision
            /// that is to serve it. Where left out, requests cannot choose.
            revision_header: Text<HeaderName>,
            /// Revisions of each component that can be rolled back to, the current one counted.
            /// Default 10.
            revisions_kept: u64,
        }
    }
}

/// Headers that shape a message and its connection (RFC 9110, sections 6.6, 7.2, 7.6.1 and 8.6;
/// RFC 9112, section 6.1): every request has a use for them already.
const TAKEN_HEADERS: [HeaderName; 7] = [
    header::CONNECTION,
    header::CONTENT_LENGTH,
    header::HOST,
    header::TE,
    header::TRAILER,
    header::TRANSFER_ENCODING,
    header::UPGRADE,
];

impl TextForm for HeaderName {
    const NAME: &'static str = "header name";

    fn parse(text: &str) -> Result<Self, Wrong> {
        let fix = "write a name of your own, such as \"wharf-revision\"";
        match text.parse::<Self>() {
            Ok(name) if TAKEN_HEADERS.contains(&name) => {
                let what = format!("{text:?} has a meaning in HTTP");
                Err(Wrong::new(what, fix))
            }
            Ok(name) => Ok(name),
            Err(_) => {
                let what = format!("{text:?} is not a {}", <Self as TextForm>::NAME);
                Err(Wrong::new(what, fix))
            }
        }
    }
}

impl TextForm for SocketAddr {
    const NAME: &'static str = "address";

    fn parse(text: &str) -> Result<Self, Wrong> {
        text.parse().map_err(|_| {
            let what = format!("{text:?} is not an address and port");
            Wrong::new(
                what,
                "write an IP address and a port, such as \"127.0.0.1:8080\"",
            )
        })
    }
}
