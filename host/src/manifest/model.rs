//! The application model: what runs. Every value in it is valid.
//!
//! All manifest formats become this one; nothing downstream knows which format it was. A component's
//! part of it is what the rollout log keeps of a revision: a setting that such a record lacks, since
//! it is younger than the record, has its default.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::ambient::Ambient;
use super::artifact::path_for_people;
pub use super::artifact::{Artifact, Build, Dependency, Origin, Source};
pub use super::channel::{Channel, ChannelAddress};
use super::defaults;
pub use super::outbound::{HostPattern, Network, OutboundHost, Ports, Scheme};
pub use super::target::{RouteTarget, StaticResponse, ToldRoute};
pub use super::wildcard::Wildcard;
use crate::name::{
    ComponentName, ContainerName, Digest, SecretName, StoreLabel, Subject, SubjectPattern,
};

/// One application: its components and what binds the world's events to them.
#[derive(Debug, Clone, PartialEq)]
pub struct Application {
    /// The application's name, a label.
    pub name: String,
    /// At least one component.
    pub components: BTreeMap<ComponentName, Component>,
    /// HTTP routes in the manifest's order; `routing` ranks them.
    pub routes: Vec<Route>,
    /// Subscriptions; one component subscribes to a subject at most once.
    pub subscriptions: Vec<Subscription>,
    /// Subscriptions to all subjects that match, as they appear. A component that subscribes to a
    /// subject by itself does not get it once more.
    pub wildcards: Vec<Wildcard>,
    /// What goes to whichever components export its handler, until the artifacts tell which.
    pub by_export: ByExport,
    /// Channels of Redis servers whose messages components handle, at most once.
    pub channels: Vec<Channel>,
    /// Subjects with limits of their own; others have the defaults.
    pub streams: BTreeMap<Subject, StreamLimits>,
    /// Secrets that came with the manifest. They go before the host's own and are kept nowhere.
    pub provided_secrets: BTreeMap<SecretName, ProvidedSecret>,
}

impl Application {
    /// An application without components.
    pub fn new(name: String) -> Self {
        Self {
            name,
            components: BTreeMap::new(),
            routes: Vec::new(),
            subscriptions: Vec::new(),
            wildcards: Vec::new(),
            by_export: ByExport::default(),
            channels: Vec::new(),
            streams: BTreeMap::new(),
            provided_secrets: BTreeMap::new(),
        }
    }
}

/// What is bound to components by what they export, where a manifest does not name them.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct ByExport {
    /// The components in the manifest's order.
    pub components: Vec<ComponentName>,
    /// Requests, which go to one component each.
    pub requests: Vec<RequestsByExport>,
    /// Subjects whose messages go to every component that handles messages.
    pub patterns: Vec<SubjectPattern>,
}

/// Requests that go to the component of this name if it exports a handler for them, and else to the
/// first one that does.
#[derive(Debug, Clone, PartialEq)]
pub struct RequestsByExport {
    /// The host that they name; any where absent.
    pub host: Option<String>,
    /// A component's name, if it is one.
    pub name: Option<String>,
}

/// A secret's value, which is never shown.
#[derive(Clone, PartialEq, Eq)]
pub struct ProvidedSecret(pub String);

impl fmt::Debug for ProvidedSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ProvidedSecret")
    }
}

/// A named service of the application.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Component {
    /// Its name within the application.
    pub name: ComponentName,
    /// Where its bytes are.
    pub artifact: Artifact,
    /// How they are made, where the manifest says so.
    #[serde(default)]
    pub build: Option<Build>,
    /// What it may use beyond computing.
    #[serde(default)]
    pub grants: Grants,
    /// Environment variables; also what `wasi:config` answers, unless there are variables.
    #[serde(default)]
    pub environment: BTreeMap<String, String>,
    /// Environment variables whose values come from the host configuration's provider.
    #[serde(default)]
    pub secrets: BTreeMap<String, Secret>,
    /// Secrets that it may read by these names beside those of its environment, where it asks for them.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub readable_secrets: BTreeMap<String, Secret>,
    /// Configuration values apart from the environment, where the manifest's format has such.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub variables: Option<Variables>,
    /// Directories that it sees.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub mounts: Vec<Mount>,
    /// What it has without a grant, where it is run without a manifest.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ambient: Option<Ambient>,
    /// Its requests to other components say by `spin-*` headers how they reached them.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub route_headers: bool,
    /// What it may consume.
    #[serde(default)]
    pub limits: Limits,
    /// Where its deadline is checked.
    #[serde(default)]
    pub preemption: Preemption,
    /// How far instances are shared by requests.
    #[serde(default)]
    pub reuse: Reuse,
    /// The request that a new revision must answer before it gets work.
    #[serde(default)]
    pub health: Option<Health>,
    /// How long an earlier revision may take to finish what it accepted.
    #[serde(default)]
    pub drain: Drain,
}

impl Component {
    /// A component that may do nothing but compute, within the default limits.
    pub fn new(name: ComponentName, artifact: Artifact) -> Self {
        Self {
            name,
            artifact,
            build: None,
            grants: Grants::default(),
            environment: BTreeMap::new(),
            secrets: BTreeMap::new(),
            readable_secrets: BTreeMap::new(),
            variables: None,
            mounts: Vec::new(),
            ambient: None,
            route_headers: false,
            limits: Limits::default(),
            preemption: Preemption::default(),
            reuse: Reuse::default(),
            health: None,
            drain: Drain::default(),
        }
    }
}

/// Configuration values: what `wasi:config` and its like answer.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Variables {
    /// Values by key.
    pub plain: BTreeMap<String, String>,
    /// Those that are secret.
    pub secrets: BTreeMap<String, Secret>,
}

/// A directory that a component sees.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Mount {
    /// Where it sees it: an absolute path.
    pub guest: String,
    /// What it sees there.
    pub source: MountSource,
    /// Whether it may change what is there.
    pub writable: bool,
    /// What single files held when the manifest was read, so that other content is another revision.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub digest: Option<Digest>,
}

/// What is mounted.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MountSource {
    /// A directory of the host's; resolved against the manifest's directory.
    Directory(#[serde(serialize_with = "path_for_people")] PathBuf),
    /// A directory below the state directory that the application's components share by this name,
    /// empty when the host starts.
    Ephemeral(String),
    /// A directory made of these files, by their paths in it, when a revision is loaded.
    Files(BTreeMap<String, PathBuf>),
}

/// What a component may use beyond computing. Nothing is granted by default.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Grants {
    /// Key-value labels. `default` is the component's own; any other is shared with whom it is
    /// granted to.
    pub keyvalue: BTreeSet<StoreLabel>,
    /// Blob containers.
    pub blobstore: BTreeMap<ContainerName, Access>,
    /// Subjects that it may publish to.
    pub publish: BTreeSet<Subject>,
    /// Where its outbound requests and connections may go.
    #[serde(rename = "outbound_http")]
    pub outbound: Vec<OutboundHost>,
    /// Key-value stores by names of the manifest's own choosing. Each is shared with whom its label is
    /// granted to, `default` as well.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub stores: BTreeMap<String, StoreLabel>,
    /// SQLite databases, by the names that it opens them by.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub sqlite: BTreeMap<String, DatabaseSource>,
    /// Language models that it may ask for.
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    pub ai_models: BTreeSet<String>,
    /// An import that nothing grants is there nonetheless, and refuses when it is called; otherwise the
    /// component is not loaded.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub refuse_when_called: bool,
    /// What it may use under any name, where the manifest's format has no lists of names.
    #[serde(skip_serializing_if = "AnyName::is_none")]
    pub any: AnyName,
}

/// What a component may use under any name, beside what is granted by name.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct AnyName {
    /// Key-value stores, all of them the application's: `default`, too.
    pub keyvalue: bool,
    /// Blob containers, to read and write.
    pub blobstore: bool,
    /// Subjects to publish to.
    pub publish: bool,
}

impl AnyName {
    fn is_none(&self) -> bool {
        *self == Self::default()
    }
}

/// Where a SQLite database is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DatabaseSource {
    /// A file below the state directory that whoever is granted this name shares: `NAME.db`, where the
    /// name has letters, digits, `-` and `_` only.
    Own(String),
    /// A file of the host's; resolved against the manifest's directory.
    File(#[serde(serialize_with = "path_for_people")] PathBuf),
}

/// How a blob container may be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Access {
    /// Objects may be read and listed.
    Read,
    /// Objects may also be written and deleted.
    ReadWrite,
}

/// A secret's source.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Secret {
    /// What the host configuration's provider knows it as.
    pub name: SecretName,
    /// What to make it where the provider does not have it yet.
    pub generate: Option<Generate>,
}

/// The secrets that a host can make by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Generate {
    /// A key ring of 256-bit HMAC keys, newest first: `kid:base64url[,kid:base64url...]`.
    HmacSha256,
}

/// What a component may consume.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Limits {
    /// Linear memory of one instance, in bytes.
    pub memory_bytes_max: usize,
    /// From a request's arrival to the first byte of its response.
    pub deadline: Duration,
    /// Longest pause within a response body.
    pub response_idle: Duration,
    /// Instances that live at once.
    pub instances_max: usize,
    /// Requests that wait for an instance; past it the answer is 503.
    pub queue_max: usize,
    /// Bytes of a request's body; past it the answer is 413.
    pub request_body_bytes_max: u64,
    /// Bytes of a request's header names and values; past it the answer is 431.
    pub request_header_bytes_max: usize,
}

/// Where a component's deadline is checked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Preemption {
    /// At every loop and call, so that nothing can run past it.
    Epoch,
    /// Where the guest calls the host: tight loops run up to 30 % faster, and an endless one is
    /// never stopped. For trusted components.
    HostCalls,
}

/// How far instances are shared by requests.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Reuse {
    /// Requests that one instance serves; 1 is a fresh instance for each. `None` chooses by what
    /// the component exports: 1 for 0.2, 128 for 0.3.
    pub requests_max: Option<u32>,
    /// Requests that one 0.3 instance serves at the same time.
    pub concurrent_max: u32,
    /// How long an idle instance is kept for the next request.
    pub idle_timeout: Duration,
}

/// A request that a component answers with a status of 2xx when it can work.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Health {
    /// The method, upper-case.
    pub method: String,
    /// The path, and the query if there is one; begins with a slash.
    pub path: String,
}

impl fmt::Display for Health {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.method, self.path)
    }
}

/// How long a revision that is no longer current may take to finish what it accepted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Drain {
    /// For requests.
    pub requests: Duration,
    /// For deliveries.
    pub deliveries: Duration,
}

/// What binds HTTP requests to who answers them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Route {
    /// `Host` that the request must name, lower-case and without port; any where absent.
    pub host: Option<String>,
    /// Methods, upper-case; any where empty.
    pub methods: BTreeSet<String>,
    /// The path pattern.
    pub path: PathPattern,
    /// Who answers them.
    pub target: RouteTarget,
    /// What its requests are told about it, in `spin-*` headers, where they are.
    pub told: Option<ToldRoute>,
}

impl Route {
    /// All requests to `path`.
    pub fn new(path: PathPattern, component: ComponentName) -> Self {
        Self {
            host: None,
            methods: BTreeSet::new(),
            path,
            target: RouteTarget::Component(component),
            told: None,
        }
    }

    /// The component that answers, where one does.
    pub fn component(&self) -> Option<&ComponentName> {
        match &self.target {
            RouteTarget::Component(name) => Some(name),
            RouteTarget::Response(_) => None,
        }
    }
}

/// `/jobs/:id/events`, `/static/...`: literal segments, one-segment parameters, and optionally the
/// rest of the path.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PathPattern {
    /// The segments between slashes; none for `/` itself.
    pub segments: Vec<PathSegment>,
    /// It ends in `/...`, which also matches the bare prefix.
    pub wildcard: bool,
}

impl PathPattern {
    /// `/...`: every path.
    pub fn any() -> Self {
        Self {
            segments: Vec::new(),
            wildcard: true,
        }
    }
}

/// One segment of a path pattern.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum PathSegment {
    /// Exactly this text.
    Literal(String),
    /// Any one segment, `:name`.
    Parameter(String),
}

/// What binds a subject's messages to a component.
#[derive(Debug, Clone, PartialEq)]
pub struct Subscription {
    /// The subject.
    pub subject: Subject,
    /// Who handles its messages; also the consumer group's name.
    pub component: ComponentName,
    /// Most deliveries in progress at once; fewer where instances do not suffice for all.
    pub concurrency: usize,
    /// How long a delivery is held before another host may take it over; extended while the
    /// instance works.
    pub lease: Duration,
    /// Longest that one delivery may work.
    pub deadline: Duration,
    /// Deliveries of one message before it becomes a dead letter.
    pub deliveries_max: u32,
    /// The pause before a retry.
    pub backoff: Backoff,
}

impl Subscription {
    /// The component's subscription to `subject`, within the default limits.
    pub fn new(subject: Subject, component: ComponentName) -> Self {
        Self {
            subject,
            component,
            concurrency: defaults::SUBSCRIPTION_CONCURRENCY,
            lease: defaults::SUBSCRIPTION_LEASE,
            deadline: defaults::SUBSCRIPTION_DEADLINE,
            deliveries_max: defaults::SUBSCRIPTION_DELIVERIES_MAX,
            backoff: Backoff::default(),
        }
    }
}

/// Exponential backoff with full jitter between retries.
#[derive(Debug, Clone, PartialEq)]
pub struct Backoff {
    /// The pause after the first failure.
    pub first: Duration,
    /// The longest pause.
    pub max: Duration,
}

/// Limits of one subject's stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StreamLimits {
    /// Messages not yet acknowledged by every group; past it publishing fails.
    pub length_max: u64,
}
