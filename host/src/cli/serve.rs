//! `wharf serve`: runs a single HTTP component with no manifest.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use clap::Args;

use super::up;
use crate::config::{self, Overrides};
use crate::manifest::defaults;
use crate::manifest::model::{Application, Artifact, Component, Limits, PathPattern, Reuse, Route};
use crate::name::ComponentName;
use crate::telemetry::{LogFormat, init_logs};

/// Where `wasmtime serve` listens, too.
const ADDR: &str = "0.0.0.0:8080";

/// Runs a single HTTP component with no manifest, as `wasmtime serve` does.
#[derive(Args)]
pub struct Serve {
    /// The component.
    component: PathBuf,
    /// Where to listen for requests; port 0 takes any free port.
    #[arg(long, value_name = "ADDR", default_value = ADDR)]
    addr: SocketAddr,
    /// Where to listen for operators; by default a free port of the loopback interface.
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:0")]
    admin: SocketAddr,
    /// An environment variable for the component; may be repeated.
    #[arg(long = "env", value_name = "NAME=VALUE")]
    environment: Vec<String>,
    /// Requests that one instance serves. [default: 1 for 0.2 components, 128 for 0.3]
    #[arg(long, value_name = "N")]
    max_instance_reuse_count: Option<u32>,
    /// Requests that one instance of a 0.3 component serves at once.
    #[arg(long, value_name = "N", default_value_t = defaults::REUSE_CONCURRENT_MAX)]
    max_instance_concurrent_reuse_count: u32,
    /// Instances that live at once.
    #[arg(long, value_name = "N", default_value_t = defaults::INSTANCES_MAX)]
    max_instances: usize,
    /// Where compiled code is kept. [default: wharf/code in the user's cache]
    #[arg(long, value_name = "DIR")]
    state_dir: Option<PathBuf>,
    /// Print the bound addresses to standard output, as one line of JSON.
    #[arg(long)]
    print_addresses: bool,
    /// How log lines are written to standard error. WHARF_LOG filters them (`info` by default).
    #[arg(long, value_enum, default_value = "pretty")]
    log_format: LogFormat,
}

impl Serve {
    /// Serves until it is told to stop.
    ///
    /// # Errors
    ///
    /// An option or the component is wrong, or an address is taken.
    pub fn run(self) -> anyhow::Result<()> {
        init_logs(self.log_format);
        // Nothing is granted that lasts, so what a host always opens is gone with it.
        let scratch = tempfile::tempdir().context("no temporary directory can be made")?;
        let state_dir = self.state_dir.clone();
        let overrides = Overrides {
            http: Some(self.addr),
            admin: Some(self.admin),
            state_dir: Some(state_dir.unwrap_or_else(|| scratch.path().to_owned())),
        };
        let mut config = config::load(None, overrides)?;
        if self.state_dir.is_none() {
            config.code_dir = code_dir()?;
        }
        let print_addresses = self.print_addresses;
        let application = self.application(config.engine.memory_bytes_max)?;
        up::serve(&application, config, print_addresses, None)
    }

    /// The manifest that the options stand for: one component, which has every route.
    fn application(self, memory_bytes_max: usize) -> anyhow::Result<Application> {
        let name = name_of(&self.component);
        let limits = Limits {
            // One component has the machine for itself, as under `wasmtime serve`.
            memory_bytes_max,
            instances_max: self.max_instances,
            request_body_bytes_max: u64::MAX,
            ..Limits::default()
        };
        let component = Component {
            environment: environment(&self.environment)?,
            limits,
            reuse: Reuse {
                requests_max: self.max_instance_reuse_count,
                concurrent_max: self.max_instance_concurrent_reuse_count,
                idle_timeout: defaults::REUSE_IDLE,
            },
            ..Component::new(name.clone(), Artifact::file(self.component))
        };
        Ok(Application {
            components: BTreeMap::from([(name.clone(), component)]),
            routes: vec![Route::new(PathPattern::any(), name.clone())],
            ..Application::new(name.to_string())
        })
    }
}

/// The file's name where that can be a component's, as it mostly can.
fn name_of(path: &Path) -> ComponentName {
    let stem = path
        .file_stem()
        .and_then(|stem| stem.to_str())
        .unwrap_or_default();
    let name = stem.to_ascii_lowercase().replace(['_', '.'], "-");
    name.parse()
        .unwrap_or_else(|_| "component".parse().expect("a valid name"))
}

fn environment(pairs: &[String]) -> anyhow::Result<BTreeMap<String, String>> {
    let pair = |pair: &String| match pair.split_once('=') {
        Some((name, value)) if !name.is_empty() => Ok((name.to_owned(), value.to_owned())),
        Some(_) | None => Err(anyhow::anyhow!(
            "--env {pair:?} is not of the form NAME=VALUE"
        )),
    };
    pairs.iter().map(pair).collect()
}

/// A place for compiled code that the next run finds again.
fn code_dir() -> anyhow::Result<PathBuf> {
    let cache = std::env::var_os("XDG_CACHE_HOME")
        .map(PathBuf::from)
        .or_else(|| Some(PathBuf::from(std::env::var_os("HOME")?).join(".cache")));
    let cache = cache.context("neither XDG_CACHE_HOME nor HOME is set: name a --state-dir")?;
    Ok(cache.join("wharf").join("code"))
}
