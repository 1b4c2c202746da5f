//! The host configuration: where an application runs.
//!
//! A TOML file is read into the raw structs of `raw` and resolved once into the [`model`]; what the
//! command line says overrides it. Environment variables are not read. What runs is
//! [`crate::manifest`]'s matter.

pub mod defaults;
pub mod model;
mod raw;

#[cfg(test)]
mod tests;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use crate::document::{At, Located, Report, SPAN_MIN, Text, schema_of, text_of};
pub use crate::document::{Problem, Problems};
use model::{EngineConfig, HostConfig, HttpListener, RedisConfig, RolloutConfig, Setting};

/// What the command line says, which takes precedence over the file.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Overrides {
    /// Where the public listener listens.
    pub http: Option<SocketAddr>,
    /// Where the operators' listener listens.
    pub admin: Option<SocketAddr>,
    /// Where durable state is.
    pub state_dir: Option<PathBuf>,
}

/// Reads the host configuration at `path`, or the defaults where there is none, and lays `overrides`
/// over it.
///
/// Fails with everything that is wrong with the file, or with the one problem that it cannot be
/// read.
pub fn load(path: Option<&Path>, overrides: Overrides) -> Result<HostConfig, Problems> {
    match path {
        Some(path) => resolve(&text_of(path)?, path, overrides),
        None => resolve("", Path::new("host configuration"), overrides),
    }
}

/// Resolves the host configuration `text`, which is what `file` contains; nothing is read from the
/// disk. A relative state directory stays relative, to wherever the host is started.
///
/// Fails with everything that is wrong with it.
pub fn resolve(text: &str, file: &Path, overrides: Overrides) -> Result<HostConfig, Problems> {
    let mut report = Report::new(file, text);
    let raw = report.read::<raw::HostConfig>(text);
    let config = raw.and_then(|raw| host_config(&raw, overrides, &mut report));
    report.finish(config).map(|(config, _)| config)
}

/// The JSON schema of host configurations, for editors and other tools.
pub fn schema() -> serde_json::Value {
    schema_of::<raw::HostConfig>()
}

fn host_config(
    raw: &raw::HostConfig,
    overrides: Overrides,
    report: &mut Report,
) -> Option<HostConfig> {
    let http = http(raw, overrides.http, report);
    let admin = raw
        .admin
        .as_ref()
        .and_then(|admin| admin.value.listen.as_ref());
    let admin_listen = address(admin, overrides.admin, defaults::ADMIN_LISTEN);
    if http.listen == admin_listen && admin_listen.port() != 0 {
        let at = admin.map_or_else(|| whole_file().key("admin").key("listen"), |a| a.at.clone());
        let what = format!("{admin_listen} is where [http] listens, too");
        report.problem(&at, what, "give each listener an address of its own");
    }
    let grace = raw
        .shutdown
        .as_ref()
        .and_then(|shutdown| shutdown.value.grace.as_ref());
    let state_dir = state_dir(raw, overrides.state_dir, report);
    Some(HostConfig {
        code_dir: state_dir.join("code"),
        state_dir,
        http,
        admin_listen,
        shutdown_grace: report.span(grace, SPAN_MIN, defaults::SHUTDOWN_GRACE),
        engine: engine(raw, report),
        rollout: rollout(raw, report),
        name: raw.name.as_ref().map(|name| name.value.0.clone()),
        redis: redis(raw, report),
        blobs: blobs(raw, report),
    })
}

fn whole_file() -> At {
    At {
        key: String::new(),
        line: None,
    }
}

fn address(
    field: Option<&Located<Text<SocketAddr>>>,
    overriding: Option<SocketAddr>,
    default: SocketAddr,
) -> SocketAddr {
    overriding.unwrap_or_else(|| field.map_or(default, |field| field.value.0))
}

fn state_dir(raw: &raw::HostConfig, overriding: Option<PathBuf>, report: &mut Report) -> PathBuf {
    let written = raw.state_dir.as_ref();
    if let Some(written) = written
        && written.value.is_empty()
    {
        report.problem(&written.at, "is empty", "write a path, or leave it out");
    }
    overriding.unwrap_or_else(|| {
        let written = written.map(|written| PathBuf::from(&written.value));
        written.unwrap_or_else(|| PathBuf::from(defaults::STATE_DIR))
    })
}

fn http(
    raw: &raw::HostConfig,
    overriding: Option<SocketAddr>,
    report: &mut Report,
) -> HttpListener {
    let raw = raw.http.as_ref().map(|http| &http.value);
    let listen = raw.and_then(|http| http.listen.as_ref());
    let connections = raw.and_then(|http| http.connections.as_ref());
    let header_timeout = raw.and_then(|http| http.header_timeout.as_ref());
    HttpListener {
        listen: address(listen, overriding, defaults::HTTP_LISTEN),
        connections_max: report.count(connections, defaults::CONNECTIONS_MAX),
        header_timeout: report.span(header_timeout, SPAN_MIN, defaults::HEADER_TIMEOUT),
        one_component: None,
    }
}

fn engine(raw: &raw::HostConfig, report: &mut Report) -> EngineConfig {
    let raw = raw.engine.as_ref().map(|engine| &engine.value);
    let instances = raw.and_then(|engine| engine.instances.as_ref());
    let memory = raw.and_then(|engine| engine.memory.as_ref());
    let workers = raw.and_then(|engine| engine.worker_threads.as_ref());
    let memory_bytes_max = report.size(memory, defaults::MEMORY_BYTES_MAX);
    if let Some(memory) = memory
        && memory_bytes_max > defaults::MEMORY_BYTES_CEILING
    {
        report.problem(
            &memory.at,
            "is more than a component can address",
            "write \"4GiB\" at most",
        );
    }
    EngineConfig {
        instances_max: report.count(instances, defaults::INSTANCES_MAX),
        memory_bytes_max: memory_bytes_max.next_multiple_of(defaults::PAGE_BYTES),
        worker_threads: report.count(workers, defaults::worker_threads()),
    }
}

fn rollout(raw: &raw::HostConfig, report: &mut Report) -> RolloutConfig {
    let raw = raw.rollout.as_ref().map(|rollout| &rollout.value);
    let header = raw.and_then(|rollout| rollout.revision_header.as_ref());
    let kept = raw.and_then(|rollout| rollout.revisions_kept.as_ref());
    RolloutConfig {
        revision_header: header.map(|header| header.value.0.clone()),
        revisions_kept: report.count(kept, defaults::REVISIONS_KEPT),
    }
}

fn redis(raw: &raw::HostConfig, report: &mut Report) -> Option<RedisConfig> {
    let table = raw.redis.as_ref()?;
    let redis = &table.value;
    let url = setting(&table.at, &redis.url, &redis.url_env, report);
    let prefix = redis.prefix.as_ref();
    if let Some(prefix) = prefix
        && (prefix.value.is_empty() || prefix.value.contains(['{', '}']))
    {
        report.problem(
            &prefix.at,
            "is empty or has braces, which mark the slot of a key in a cluster",
            "write a word, such as \"wharf\"",
        );
    }
    Some(RedisConfig {
        url: url?,
        cluster: redis.cluster.as_ref().is_some_and(|cluster| cluster.value),
        username: redis.username.as_ref().map(|name| name.value.clone()),
        password_secret: redis
            .password_secret
            .as_ref()
            .map(|name| name.value.0.clone()),
        prefix: prefix.map_or_else(
            || defaults::REDIS_PREFIX.to_owned(),
            |prefix| prefix.value.clone(),
        ),
    })
}

fn blobs(raw: &raw::HostConfig, report: &mut Report) -> Option<Setting> {
    let table = raw.blobs.as_ref()?;
    setting(&table.at, &table.value.url, &table.value.url_env, report)
}

/// A URL that is written, or the variable that holds it; one of the two.
fn setting(
    table: &At,
    url: &Option<Located<String>>,
    url_env: &Option<Located<String>>,
    report: &mut Report,
) -> Option<Setting> {
    match (url, url_env) {
        (Some(url), None) => Some(Setting::Written(url.value.clone())),
        (None, Some(name)) => Some(Setting::Variable(name.value.clone())),
        (None, None) => {
            report.problem(
                table,
                "says no URL",
                "write url, or url_env with the name of a variable",
            );
            None
        }
        (Some(_), Some(name)) => {
            report.problem(
                &name.at,
                "says the URL a second time",
                "write url or url_env",
            );
            None
        }
    }
}
