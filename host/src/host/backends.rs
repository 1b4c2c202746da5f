//! Opening what the host configuration names: one backend for each capability.

use std::path::Path;
use std::sync::{Arc, OnceLock};

use crate::capability::blobs::Blobs;
use crate::capability::embedded::Embedded;
use crate::capability::keyvalue::{EmbeddedKeyValue, KeyValue, RedisKeyValue, StoreId};
use crate::capability::redis::Redis;
use crate::capability::secrets::Secrets;
use crate::capability::sqlite::Sqlite;
use crate::capability::streams::{EmbeddedStreams, PatternStreams, RedisStreams, Streams};
use crate::config::model::{HostConfig, RedisConfig, Setting};
use crate::manifest::model::Application;
use crate::name::HostId;
use crate::runtime::Backends;

use super::StartError;

/// Longest part of a made-up host name that comes from the system: a label has room for 63.
const SYSTEM_NAME_MAX: usize = 40;

/// Connections to Redis: large values do not hold up deliveries.
#[derive(Clone)]
pub(super) struct Shared {
    pub(super) values: Redis,
    pub(super) streams: Redis,
}

impl Shared {
    /// Connects as the configuration says, if it does. A server that cannot be reached is waited for
    /// in the background.
    pub(super) async fn connect(
        config: &HostConfig,
        secrets: &Secrets,
        application: &str,
    ) -> Result<Option<Self>, StartError> {
        let Some(redis) = &config.redis else {
            return Ok(None);
        };
        let shared = Self {
            values: connect(redis, secrets)?,
            streams: connect(redis, secrets)?,
        };
        let (values, streams) = tokio::join!(shared.values.greet(), shared.streams.greet());
        values?;
        streams?;
        shared.check_owner(redis, application).await?;
        Ok(Some(shared))
    }

    /// Refuses keys that belong to another application: components of the same name would find each
    /// other's data. While the server is away nobody can tell.
    async fn check_owner(&self, config: &RedisConfig, application: &str) -> Result<(), StartError> {
        let mut claim = redis::cmd("SET");
        let key = self.values.key("application", "name");
        claim.arg(key).arg(application).arg("NX").arg("GET");
        let owner: Result<Option<String>, _> = claim.query_async(&mut self.values.clone()).await;
        match owner {
            Ok(Some(owner)) if owner != application => Err(StartError::OtherApplicationOnRedis {
                prefix: config.prefix.clone(),
                owner,
            }),
            Ok(_) => Ok(()),
            Err(error) => {
                tracing::debug!(%error, "whose the keys in Redis are cannot be asked");
                Ok(())
            }
        }
    }

    /// Waits for a server that cannot be reached, where this host needs it for keys that it never saw:
    /// made up here, they would not be the other hosts'.
    pub(super) async fn wait_for_keys(&self, application: &Application, secrets: &Secrets) {
        let mut wanted = application
            .components
            .values()
            .flat_map(|component| component.secrets.values());
        if !self.values.is_up() && wanted.any(|secret| secrets.needs_redis(secret)) {
            tracing::warn!(
                "this host begins to serve once Redis is there: key rings are in it that this host never saw"
            );
            self.values.until_up().await;
        }
    }

    /// Whether the server answered both when they last asked.
    pub(super) fn is_up(&self) -> bool {
        self.values.is_up() && self.streams.is_up()
    }
}

/// One connection to Redis, in the background.
///
/// # Errors
///
/// The URL or the password is not to be had, or is none.
pub fn connect(config: &RedisConfig, secrets: &Secrets) -> Result<Redis, StartError> {
    let url = config.url.value();
    let url = url.map_err(|variable| StartError::RedisUrl(variable.to_owned()))?;
    let password = config.password_secret.as_ref();
    let password = password
        .map(|name| secrets.plain(name))
        .transpose()
        .map_err(StartError::RedisPassword)?;
    Ok(Redis::open(&url, config, password.as_deref())?)
}

/// Everything that components may ask of the host.
pub(super) async fn open(
    config: &HostConfig,
    store: Arc<Embedded>,
    shared: Option<&Shared>,
) -> Result<(Backends, Arc<PatternStreams>), StartError> {
    let streams = PatternStreams::new(open_streams(config, store.clone(), shared).await?);
    let blobs = match config.blobs.as_ref().map(Setting::value) {
        Some(Ok(url)) => Blobs::open(&url).await,
        None | Some(Err(_)) => Blobs::local(&config.state_dir.join("blobs")),
    };
    let keyvalue: Arc<dyn KeyValue> = match shared {
        Some(shared) => Arc::new(RedisKeyValue::open(shared.values.clone())),
        None => Arc::new(EmbeddedKeyValue::open(store).await?),
    };
    let backends = Backends {
        keyvalue,
        streams: streams.clone(),
        blobs: blobs.map_err(StartError::Blobs)?,
        sqlite: Arc::new(Sqlite::new(&config.state_dir)),
        redis: Arc::default(),
        postgres: Arc::default(),
        peers: OnceLock::new(),
    };
    Ok((backends, streams))
}

/// Puts into the components' own key-value stores what they are to hold when the host starts.
pub(super) async fn fill(backends: &Backends, application: &Application) -> Result<(), StartError> {
    for component in application.components.values() {
        let Some(ambient) = &component.ambient else {
            continue;
        };
        let store = StoreId::component(&component.name);
        let data = ambient.keyvalue_data.iter();
        let entries = data.map(|(key, value)| (key.clone(), value.clone().into()));
        let filled = backends.keyvalue.set_many(&store, entries.collect()).await;
        filled.map_err(StartError::Fill)?;
    }
    Ok(())
}

async fn open_streams(
    config: &HostConfig,
    store: Arc<Embedded>,
    shared: Option<&Shared>,
) -> Result<Arc<dyn Streams>, StartError> {
    let Some(shared) = shared else {
        return Ok(Arc::new(EmbeddedStreams::open(store).await?));
    };
    let host = host_id(config.name.as_ref(), &config.state_dir)?;
    tracing::info!(%host, redis = ?shared.streams, "streams and key-value stores are shared");
    Ok(Arc::new(RedisStreams::open(shared.streams.clone(), host)))
}

/// This host's name among those that share Redis: the configured one, or one that is made up once and
/// kept in the file `host` of the state directory, so that a host that is started again finds what it
/// held.
fn host_id(configured: Option<&HostId>, state_dir: &Path) -> Result<HostId, StartError> {
    if let Some(name) = configured {
        return Ok(name.clone());
    }
    let path = state_dir.join("host");
    match std::fs::read_to_string(&path) {
        Ok(kept) => kept
            .trim_end()
            .parse()
            .map_err(|_| StartError::HostName(path)),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            // Where the system does not keep its name there, the name has chance alone.
            let system = std::fs::read_to_string("/etc/hostname").unwrap_or_default();
            let name = made_up(system.trim());
            std::fs::write(&path, format!("{name}\n")).map_err(StartError::State)?;
            Ok(name)
        }
        Err(error) => Err(StartError::State(error)),
    }
}

/// The first label of the system's name as far as it may stand in a host's, and chance.
fn made_up(system: &str) -> HostId {
    let label = system.split('.').next().unwrap_or_default();
    let fits = |c: char| if c.is_ascii_alphanumeric() { c } else { '-' };
    let label: String = label.chars().map(fits).take(SYSTEM_NAME_MAX).collect();
    let label = label.trim_matches('-').to_ascii_lowercase();
    let label = if label.is_empty() { "host" } else { &label };
    let chance: [u8; 3] = rand::random();
    let [a, b, c] = chance;
    format!("{label}-{a:02x}{b:02x}{c:02x}")
        .parse()
        .expect("letters, digits and inner hyphens, 63 at most")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_makes_up_its_name_once() {
        let dir = tempfile::tempdir().unwrap();
        let name = host_id(None, dir.path()).unwrap();
        assert_eq!(host_id(None, dir.path()).unwrap(), name);
        let configured: HostId = "east-1".parse().unwrap();
        assert_eq!(host_id(Some(&configured), dir.path()).unwrap(), configured);
        std::fs::write(dir.path().join("host"), "not a name\n").unwrap();
        let error = host_id(None, dir.path()).unwrap_err();
        assert!(matches!(error, StartError::HostName(_)), "{error:?}");
    }

    #[test]
    fn whatever_the_system_is_called_becomes_a_name() {
        for (system, starts) in [
            ("Web-01.example.org", "web-01-"),
            ("__", "host-"),
            ("", "host-"),
            ("caf\u{e9}_1", "caf--1-"),
            (&"x".repeat(90), &"x".repeat(40)),
        ] {
            let name = made_up(system).to_string();
            assert!(name.starts_with(starts), "{name}");
        }
        assert_ne!(made_up("a"), made_up("a"));
    }
}
