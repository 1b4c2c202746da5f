//! `wharf serve`: runs a single HTTP component with no manifest, with the options of
//! `wasmtime serve`.

mod asked;
mod groups;
mod headers;
mod setting;

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, bail};
use clap::Args;

use super::sources::{self, Sources};
use super::up;
use crate::config::model::{HostConfig, OneComponent};
use crate::config::{self, Overrides};
use crate::host::Addresses;
use crate::manifest::ambient::Console;
use crate::manifest::defaults;
use crate::manifest::model::{
    Application, Artifact, Component, Grants, Limits, Mount, MountSource, PathPattern, Reuse,
    Route, Variables,
};
use crate::name::ComponentName;
use crate::runtime;
use crate::telemetry::{LogFormat, init_logs};
use asked::Asked;

/// Where `wasmtime serve` listens, too.
const ADDR: &str = "0.0.0.0:8080";

/// Connections, and requests without a response, at once: what `wasmtime serve` has.
const AT_ONCE: usize = 1000;

/// Longer than anybody waits, and what timers can still count.
const NO_LIMIT: Duration = Duration::from_secs(365 * 24 * 60 * 60);

/// Requests that wait for an instance. Nobody is sent away: those without a place wait before.
const QUEUE_MAX: usize = 1_000_000;

/// The largest piece of a response's body that a 0.2 guest may write at once: what wasmtime has.
const BODY_PIECE_BYTES: usize = 1024 * 1024;

/// Runs a single HTTP component with no manifest, with the options of `wasmtime serve`.
///
/// All of WASI is there, with or without `-S cli`, and outbound HTTP may go anywhere. What cannot be
/// done is refused, and says what to do.
#[derive(Args)]
pub struct Serve {
    /// The component: a file, an http or https URL, or oci://HOST/NAME:TAG.
    component: PathBuf,
    /// Where to listen for requests; port 0 takes any free port.
    #[arg(long, value_name = "ADDR", default_value = ADDR)]
    addr: SocketAddr,
    /// Where a connection stops the host, as SIGTERM and SIGINT do.
    #[arg(long, value_name = "ADDR")]
    shutdown_addr: Option<SocketAddr>,
    /// Where to listen for operators; by default a free port of the loopback interface.
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:0")]
    admin: SocketAddr,
    /// An environment variable for the component, by its value or as this process has it; may be
    /// repeated.
    #[arg(long = "env", value_name = "NAME[=VALUE]")]
    environment: Vec<String>,
    /// A directory for the component, to read and write; may be repeated.
    #[arg(long = "dir", value_name = "HOST[::GUEST]")]
    directories: Vec<String>,
    /// A header that requests have instead of what they came with; `@FILE` has one in each line. May
    /// be repeated.
    #[arg(short = 'H', long = "header", value_name = "NAME: VALUE")]
    headers: Vec<String>,
    /// WASI: config, config-var=NAME=VALUE, keyvalue, keyvalue-in-memory-data=NAME=VALUE,
    /// inherit-env, inherit-network, ...
    #[arg(short = 'S', long = "wasi", value_name = "KEY[=VALUE],...")]
    wasi: Vec<String>,
    /// How it runs: timeout=5s, max-memory-size=BYTES, trap-on-grow-failure, ...
    #[arg(short = 'W', long = "wasm", value_name = "KEY[=VALUE],...")]
    wasm: Vec<String>,
    #[arg(short = 'O', long = "optimize", hide = true)]
    optimize: Vec<String>,
    #[arg(short = 'C', long = "codegen", hide = true)]
    codegen: Vec<String>,
    #[arg(short = 'D', long = "debug", hide = true)]
    debug: Vec<String>,
    #[arg(short = 'R', long = "record", hide = true)]
    record: Vec<String>,
    #[command(flatten)]
    refused: Refused,
    /// Requests that one instance serves. [default: 1 for 0.2 components, 128 for 0.3]
    #[arg(long, value_name = "N")]
    max_instance_reuse_count: Option<u32>,
    /// Requests that one instance of a 0.3 component serves at once.
    #[arg(long, value_name = "N", default_value_t = defaults::REUSE_CONCURRENT_MAX)]
    max_instance_concurrent_reuse_count: u32,
    /// How long an idle instance is kept.
    #[arg(long, value_name = "SPAN", default_value = "1s", value_parser = parse_span)]
    idle_instance_timeout: Duration,
    /// Requests without a response at once; more wait.
    #[arg(long, value_name = "N", default_value_t = AT_ONCE)]
    max_concurrent_requests: usize,
    /// Connections at once; more wait.
    #[arg(long, value_name = "N", default_value_t = AT_ONCE)]
    max_concurrent_connections: usize,
    /// Instances that live at once; requests wait for one.
    #[arg(long, value_name = "N", default_value_t = AT_ONCE)]
    max_instances: usize,
    /// What the component prints does not begin with `stdout [N] :: ` or `stderr [N] :: `.
    #[arg(long)]
    no_logging_prefix: bool,
    /// Where compiled code is kept. [default: wharf/code in the user's cache]
    #[arg(long, value_name = "DIR")]
    state_dir: Option<PathBuf>,
    /// Print the bound addresses to standard output, as one line of JSON.
    #[arg(long)]
    print_addresses: bool,
    /// How log lines are written to standard error; as `json`, what the component prints is among
    /// them. WHARF_LOG filters them (`info` by default).
    #[arg(long, value_enum, default_value = "pretty")]
    log_format: LogFormat,
    #[command(flatten)]
    sources: Sources,
}

/// Options of `wasmtime serve` that Wharf does not have.
#[derive(Args)]
struct Refused {
    #[arg(long, hide = true)]
    config: Option<String>,
    #[arg(long, hide = true)]
    target: Option<String>,
    #[arg(long, hide = true)]
    profile: Option<String>,
    #[arg(short = 'g', long, hide = true)]
    gdbstub: Option<String>,
    #[arg(long, hide = true)]
    allow_precompiled: bool,
}

impl Refused {
    fn check(&self) -> anyhow::Result<()> {
        let refused = [
            (
                self.config.is_some(),
                "--config: Wharf does not read wasmtime's configuration; give -S and -W here",
            ),
            (
                self.target.is_some(),
                "--target: Wharf runs on this machine alone; leave it out",
            ),
            (
                self.profile.is_some(),
                "--profile: Wharf does not profile guests; profile this component with wasmtime",
            ),
            (
                self.gdbstub.is_some(),
                "--gdbstub: Wharf does not debug guests; debug this component with wasmtime",
            ),
            (
                self.allow_precompiled,
                "--allow-precompiled: Wharf runs components, and keeps what it compiled by itself; \
                 give it the .wasm file",
            ),
        ];
        match refused.into_iter().find(|(given, _)| *given) {
            Some((_, reason)) => bail!(reason),
            None => Ok(()),
        }
    }
}

fn parse_span(text: &str) -> Result<Duration, String> {
    setting::span(text).map_err(|error| error.to_string())
}

impl Serve {
    /// Serves until it is told to stop.
    ///
    /// # Errors
    ///
    /// An option or the component is wrong, or an address is taken.
    pub fn run(self) -> anyhow::Result<()> {
        init_logs(self.log_format);
        self.refused.check()?;
        let asked = self.asked()?;
        // Nothing is granted that lasts, so what a host always opens is gone with it.
        let scratch = tempfile::tempdir().context("no temporary directory can be made")?;
        let config = self.host_config(&asked, scratch.path())?;
        let print = self.print_addresses;
        let pretty = matches!(self.log_format, LogFormat::Pretty);
        let artifact = self.sources.file(&self.component, sources::to_log)?;
        let (path, keyvalue) = (artifact.path.clone(), asked.keyvalue);
        let application = self.application(asked, artifact, config.engine.memory_bytes_max)?;
        check_imports(&path, keyvalue)?;
        let name = application.name.clone();
        let tell = move |addresses| {
            up::tell(&name, addresses, print);
            if pretty {
                tell_people(addresses);
            }
        };
        up::serve(&application, config, tell, None)
    }

    /// What the options by letters ask for.
    fn asked(&self) -> anyhow::Result<Asked> {
        let mut asked = Asked::default();
        for (group, arguments) in [
            (groups::WASI, &self.wasi),
            (groups::WASM, &self.wasm),
            (groups::OPTIMIZE, &self.optimize),
            (groups::CODEGEN, &self.codegen),
            (groups::DEBUG, &self.debug),
            (groups::RECORD, &self.record),
        ] {
            group.read(arguments, &mut asked)?;
        }
        Ok(asked)
    }

    fn host_config(&self, asked: &Asked, scratch: &Path) -> anyhow::Result<HostConfig> {
        let state_dir = self.state_dir.clone();
        let overrides = Overrides {
            http: Some(self.addr),
            admin: Some(self.admin),
            state_dir: Some(state_dir.unwrap_or_else(|| scratch.to_owned())),
        };
        let mut config = config::load(None, overrides)?;
        if self.state_dir.is_none() {
            config.code_dir = code_dir()?;
        }
        let engine = &mut config.engine;
        engine.instances_max = self.max_instances.max(AT_ONCE).try_into()?;
        let memory = asked.memory_bytes_max;
        engine.memory_bytes_max = memory
            .unwrap_or(config::defaults::MEMORY_BYTES_CEILING)
            .next_multiple_of(config::defaults::PAGE_BYTES);
        config.http.connections_max = self.max_concurrent_connections;
        config.http.one_component = Some(OneComponent {
            component: name_of(&self.component),
            headers: headers::parse(&self.headers)?,
            requests_max: self.max_concurrent_requests,
            shutdown_listen: self.shutdown_addr,
        });
        Ok(config)
    }

    /// The manifest that the options stand for: one component, which has every route.
    fn application(
        self,
        asked: Asked,
        artifact: Artifact,
        memory_bytes_max: usize,
    ) -> anyhow::Result<Application> {
        let name = name_of(&self.component);
        let time = asked.timeout.unwrap_or(NO_LIMIT);
        let limits = Limits {
            // One component has the machine for itself, as under `wasmtime serve`.
            memory_bytes_max: asked.memory_bytes_max.unwrap_or(memory_bytes_max),
            deadline: time,
            response_idle: time,
            instances_max: self.max_instances,
            queue_max: QUEUE_MAX,
            request_body_bytes_max: u64::MAX,
            request_header_bytes_max: usize::MAX,
        };
        let mut ambient = asked.ambient;
        ambient.keyvalue = asked.keyvalue;
        ambient
            .bounds
            .body_piece_bytes
            .get_or_insert(BODY_PIECE_BYTES);
        ambient.console = matches!(self.log_format, LogFormat::Pretty).then_some(Console {
            prefix: !self.no_logging_prefix,
        });
        let own = "default".parse().expect("a valid label");
        let component = Component {
            grants: Grants {
                keyvalue: BTreeSet::from_iter(asked.keyvalue.then_some(own)),
                ..Grants::default()
            },
            environment: environment(asked.inherit_env, &self.environment)?,
            variables: Some(Variables {
                plain: asked.variables,
                ..Variables::default()
            }),
            mounts: self.directories.iter().map(|text| mount(text)).collect(),
            ambient: Some(ambient),
            limits,
            reuse: Reuse {
                requests_max: self.max_instance_reuse_count,
                concurrent_max: self.max_instance_concurrent_reuse_count,
                idle_timeout: self.idle_instance_timeout,
            },
            ..Component::new(name.clone(), artifact)
        };
        Ok(Application {
            components: BTreeMap::from([(name.clone(), component)]),
            routes: vec![Route::new(PathPattern::any(), name.clone())],
            ..Application::new(name.to_string())
        })
    }
}

/// Says where it listens in the words of `wasmtime serve`, which scripts wait for.
fn tell_people(addresses: Addresses) {
    if let Some(shutdown) = addresses.shutdown {
        eprintln!("Listening for shutdown on tcp://{shutdown}/");
    }
    eprintln!("Serving HTTP on http://{}/", addresses.http);
}

/// Refuses a component that needs an option that was not given. Whatever else is wrong with it is
/// told when it is loaded.
fn check_imports(path: &Path, keyvalue: bool) -> anyhow::Result<()> {
    let bytes =
        std::fs::read(path).with_context(|| format!("{} cannot be read", path.display()))?;
    let Ok(shape) = runtime::shape(&bytes) else {
        return Ok(());
    };
    let mut imports = shape.imports.iter();
    match imports.find(|import| import.starts_with("wasi:keyvalue/")) {
        Some(import) if !keyvalue => bail!(
            "the component imports {import}: add -S keyvalue, and it has stores that are gone when the \
             host ends"
        ),
        Some(_) | None => Ok(()),
    }
}

/// The file's name where that can be a component's, as it mostly can; what follows a name in a
/// reference or a URL does not belong to it.
fn name_of(path: &Path) -> ComponentName {
    let stem = path
        .file_stem()
        .and_then(|stem| stem.to_str())
        .unwrap_or_default();
    let name = stem.split([':', '@', '?']).next().unwrap_or_default();
    let name = name.to_ascii_lowercase().replace(['_', '.'], "-");
    name.parse()
        .unwrap_or_else(|_| "component".parse().expect("a valid name"))
}

/// The component's environment: the process's own, if it is inherited, and over it what `--env` says.
/// A variable that `--env` names and the process does not have is left out.
fn environment(inherit: bool, named: &[String]) -> anyhow::Result<BTreeMap<String, String>> {
    let mut environment = BTreeMap::new();
    if inherit {
        for (name, value) in std::env::vars_os() {
            match (name.into_string(), value.into_string()) {
                (Ok(name), Ok(value)) => environment.insert(name, value),
                (Ok(name), Err(_)) => bail!("the environment variable {name} is not UTF-8"),
                (Err(name), _) => bail!("the environment variable {name:?} is not UTF-8"),
            };
        }
    }
    for text in named {
        let (name, value) = match text.split_once('=') {
            Some((name, value)) => (name, Some(value.to_owned())),
            None => (text.as_str(), std::env::var(text).ok()),
        };
        if name.is_empty() {
            bail!("--env {text:?} is not of the form NAME[=VALUE]");
        }
        environment.extend(value.map(|value| (name.to_owned(), value)));
    }
    Ok(environment)
}

/// A directory that is seen where it is, or by another name.
fn mount(text: &str) -> Mount {
    let (host, guest) = text.split_once("::").unwrap_or((text, text));
    Mount {
        guest: guest.to_owned(),
        source: MountSource::Directory(PathBuf::from(host)),
        writable: true,
        digest: None,
    }
}

/// A place for compiled code that the next run finds again.
fn code_dir() -> anyhow::Result<PathBuf> {
    let cache = std::env::var_os("XDG_CACHE_HOME")
        .map(PathBuf::from)
        .or_else(|| Some(PathBuf::from(std::env::var_os("HOME")?).join(".cache")));
    let cache = cache.context("neither XDG_CACHE_HOME nor HOME is set: name a --state-dir")?;
    Ok(cache.join("wharf").join("code"))
}
