//! The manifest as it is written. The JSON schema is derived from these declarations, so their
//! documentation is what an editor shows.

use schemars::{Schema, json_schema};
use toml::Spanned;
use toml::de::DeValue;

use super::forms::{ApplicationName, EnvironmentName, HostName, Method};
use super::model::{Access, Generate, Health, OutboundHost, PathPattern, Preemption};
use crate::document::{
    At, Located, Map, NonEmpty, Read, Report, Short, Shorthand, Size, Span, Text, TextForm,
    raw_table,
};
use crate::name::{
    ComponentName, ContainerName, DatabaseName, Digest, SecretName, StoreLabel, Subject,
};

raw_table! {
    /// What an application is: its components, and what binds the world's events to them.
    pub struct Manifest {
        required {
            /// The application as a whole.
            application: ApplicationTable,
            /// The components, by name.
            component: Map<ComponentName, Component>,
        }
        optional {
            /// HTTP routes. The most specific one that matches a request serves it.
            route: Vec<Located<Route>>,
            /// Message subscriptions.
            subscription: Vec<Located<Subscription>>,
            /// Limits of single subjects' streams, by subject.
            stream: Map<Subject, Stream>,
        }
    }
}

raw_table! {
    /// The application as a whole.
    pub struct ApplicationTable {
        required {
            /// Its name.
            name: Text<ApplicationName>,
        }
        optional {}
    }
}

raw_table! {
    /// One component: a named service of the application.
    pub struct Component {
        required {
            /// The component's file, relative to the manifest, or where it is fetched from: an http or
            /// https URL, or "oci://HOST/NAME:TAG". Or a table with that and a digest.
            artifact: Short<Artifact>,
        }
        optional {
            /// How `wharf build` makes the artifact.
            build: Build,
            /// What the component may use beyond computing. Nothing is granted by default.
            grants: Grants,
            /// Environment variables; also what wasi:config answers. Names that begin with "wharf." are
            /// the host's own.
            environment: Map<EnvironmentName, String>,
            /// Environment variables whose values come from the host's secrets.
            secrets: Map<EnvironmentName, Secret>,
            /// What it may consume.
            limits: Limits,
            /// Where its deadline is checked. "epoch" (the default) at every loop and call, so that
            /// nothing can run past it; "host-calls" only where it calls the host, so that tight
            /// loops run up to 30 % faster and an endless one is never stopped.
            preemption: Text<Preemption>,
            /// How far its instances are shared by requests.
            reuse: Reuse,
            /// The request, such as "GET /healthz", that a new revision must answer with a status
            /// below 400 before it gets work. It needs no route. None where left out.
            health: Text<Health>,
            /// How long a revision that was replaced may take to finish what it accepted.
            drain: Drain,
        }
    }
}

raw_table! {
    /// A component's file and its digest.
    pub struct Artifact {
        required {
            /// The file, relative to the manifest; or an http or https URL, or "oci://HOST/NAME:TAG".
            /// A core module that is fetched is made a component.
            path: String,
        }
        optional {
            /// The SHA-256 that the bytes there must have, in hexadecimal digits.
            sha256: Text<Digest>,
        }
    }
}

raw_table! {
    /// How a component is built from source.
    pub struct Build {
        required {
            /// A shell command.
            command: String,
        }
        optional {
            /// Where it runs, relative to the manifest; by default the manifest's own directory.
            workdir: String,
            /// It compiles C for wasm, so clang and a WASI sysroot must be there.
            c_toolchain: bool,
        }
    }
}

raw_table! {
    /// What a component may use beyond computing.
    pub struct Grants {
        required {}
        optional {
            /// Key-value labels. "default" is the component's own store; any other label is shared
            /// by all components that it is granted to.
            keyvalue: Vec<Located<Text<StoreLabel>>>,
            /// Blob containers: a name to read and write, or a table with less.
            blobstore: Vec<Located<Short<BlobGrant>>>,
            /// Subjects that it may publish to.
            publish: Vec<Located<Text<Subject>>>,
            /// Where its HTTP requests may go: "https://api.example.com", "https://*.example.com",
            /// "http://other-component.internal".
            outbound_http: Vec<Located<Text<OutboundHost>>>,
            /// SQLite databases. "default" is the component's own; any other is shared by all
            /// components that it is granted to.
            sqlite: Vec<Located<Text<DatabaseName>>>,
        }
    }
}

raw_table! {
    /// A blob container and how it may be used.
    pub struct BlobGrant {
        required {
            /// The container.
            container: Text<ContainerName>,
        }
        optional {
            /// "read", or "read-write" (the default).
            access: Text<Access>,
        }
    }
}

raw_table! {
    /// Where a secret environment variable's value comes from.
    pub struct Secret {
        required {
            /// What the host's provider knows it as.
            name: Text<SecretName>,
        }
        optional {
            /// What to make it on first start, where the provider does not have it.
            generate: Text<Generate>,
        }
    }
}

raw_table! {
    /// What a component may consume.
    pub struct Limits {
        required {}
        optional {
            /// Linear memory of one instance, rounded up to whole pages of 64 KiB. Default 64MiB.
            memory: Size,
            /// From a request's arrival to the first byte of its response. Default 30s.
            deadline: Span,
            /// Longest wait for the component's next piece of a response body. Default 60s.
            response_idle: Span,
            /// Instances alive at once. Default 128.
            instances: u64,
            /// Requests that wait for an instance; past it the answer is 503. Default 1024.
            queue: u64,
            /// Bytes of a request's body; past it the answer is 413. Default 10MiB.
            request_body: Size,
            /// Bytes of a request's header names and values; past it the answer is 431. Default
            /// 64KiB.
            request_headers: Size,
        }
    }
}

raw_table! {
    /// How far instances are shared by requests.
    pub struct Reuse {
        required {}
        optional {
            /// Requests that one instance serves. By default 1 for a component of WASI 0.2, and 128
            /// for one of WASI 0.3. More than 1 gives up isolation between requests.
            requests: u64,
            /// Requests that one WASI 0.3 instance serves at the same time. Default 16.
            concurrent: u64,
            /// How long an idle instance is kept for the next request. Default 1s.
            idle: Span,
        }
    }
}

raw_table! {
    /// How long a revision that was replaced may take to finish what it accepted.
    pub struct Drain {
        required {}
        optional {
            /// For requests. Default 30s.
            requests: Span,
            /// For deliveries. Default 10m.
            deliveries: Span,
        }
    }
}

raw_table! {
    /// What binds HTTP requests to a component.
    pub struct Route {
        required {
            /// "/jobs" exactly, "/jobs/:id" with a parameter of one segment, "/static/..." with
            /// everything below.
            path: Text<PathPattern>,
            /// Who serves it.
            component: Text<ComponentName>,
        }
        optional {
            /// Methods that it serves; all where left out.
            methods: NonEmpty<Located<Text<Method>>>,
            /// The host that a request must name, without a port; any where left out.
            host: Text<HostName>,
        }
    }
}

raw_table! {
    /// What binds a subject's messages to a component.
    pub struct Subscription {
        required {
            /// The subject.
            subject: Text<Subject>,
            /// Who handles its messages.
            component: Text<ComponentName>,
        }
        optional {
            /// Most deliveries in progress at once. Subscriptions of one component share its instances
            /// evenly. Default 4.
            concurrency: u64,
            /// How long a delivery is held before another host may take it over, 1s at least; it is
            /// extended while the component works. Default 30s.
            lease: Span,
            /// Longest that one delivery may work. Default 10m.
            deadline: Span,
            /// Deliveries of one message before it becomes a dead letter. Default 5.
            deliveries: u64,
            /// The pause before a retry.
            backoff: Backoff,
        }
    }
}

raw_table! {
    /// The pause before a retry: random, below a bound that doubles.
    pub struct Backoff {
        required {}
        optional {
            /// The bound after the first failure. Default 500ms.
            first: Span,
            /// The largest bound. Default 60s.
            max: Span,
        }
    }
}

raw_table! {
    /// Limits of one subject's stream.
    pub struct Stream {
        required {
            /// Messages not yet handled by every subscriber; past it publishing fails.
            length_max: u64,
        }
        optional {}
    }
}

impl Shorthand for Artifact {
    const WANTED: &'static str = "a path, or a table with path and sha256";

    fn short(value: &Spanned<DeValue<'_>>, at: &At, report: &mut Report) -> Option<Self> {
        let path = Located::read(value, at, report)?;
        Some(Self {
            path: Some(path),
            sha256: None,
        })
    }

    fn short_schema() -> Schema {
        json_schema!({ "type": "string" })
    }
}

impl Shorthand for BlobGrant {
    const WANTED: &'static str = "a container, or a table with container and access";

    fn short(value: &Spanned<DeValue<'_>>, at: &At, report: &mut Report) -> Option<Self> {
        let container = Located::read(value, at, report)?;
        Some(Self {
            container: Some(container),
            access: None,
        })
    }

    fn short_schema() -> Schema {
        ContainerName::schema()
    }
}
