//! `wharf up`: runs an application.

use std::io::Write as _;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context as _;
use clap::Args;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

use super::MANIFEST;
use super::sources::{self, Sources};
use super::supplies::{Given, Supplies};
use super::watch::Watch;
use crate::config::{self, Overrides, model::HostConfig};
use crate::host::{Addresses, Host};
use crate::manifest::model::Application;
use crate::name::ComponentName;
use crate::runtime;
use crate::telemetry::{LogFormat, init_logs};
use crate::toolchain;

/// The host configuration that is taken, if it is there, where none is named.
const HOST_CONFIG: &str = "runtime-config/local.toml";

/// How long threads that are still busy are waited for at the very end.
const THREADS_GRACE: Duration = Duration::from_secs(1);

/// Runs an application: builds or fetches what is missing, then serves until SIGTERM or SIGINT.
#[derive(Args)]
pub struct Up {
    /// The application manifest: what runs. Or an application in a registry: oci://HOST/NAME:TAG.
    #[arg(default_value = MANIFEST)]
    manifest: PathBuf,
    /// The host configuration: where it runs. [default: runtime-config/local.toml, if it is there]
    #[arg(long, value_name = "FILE")]
    host_config: Option<PathBuf>,
    /// Do not build components, even if their sources are newer than their artifacts.
    #[arg(long)]
    no_build: bool,
    /// Build what is saved and swap it in. A saved manifest is applied.
    #[arg(long, conflicts_with = "no_build")]
    watch: bool,
    #[command(flatten)]
    sources: Sources,
    #[command(flatten)]
    supplies: Supplies,
    #[command(flatten)]
    options: Options,
}

/// What every command that serves takes.
#[derive(Args)]
pub struct Options {
    /// Where to listen for requests; port 0 takes any free port.
    #[arg(long, value_name = "ADDR")]
    pub http: Option<SocketAddr>,
    /// Where to listen for operators.
    #[arg(long, value_name = "ADDR")]
    pub admin: Option<SocketAddr>,
    /// Where durable state is kept.
    #[arg(long, value_name = "DIR")]
    pub state_dir: Option<PathBuf>,
    /// Print the bound addresses to standard output, as one line of JSON, once requests are served.
    #[arg(long)]
    pub print_addresses: bool,
    /// How log lines are written to standard error. WHARF_LOG filters them (`info` by default).
    #[arg(long, value_enum, default_value = "pretty")]
    pub log_format: LogFormat,
}

impl Up {
    /// The same with `--watch`.
    pub fn watching(self) -> Self {
        Self {
            watch: true,
            ..self
        }
    }

    /// Serves until it is told to stop.
    ///
    /// # Errors
    ///
    /// The manifest, the configuration or a component is wrong, or an address is taken.
    pub fn run(self) -> anyhow::Result<()> {
        init_logs(self.options.log_format);
        let manifest = self.sources.manifest(self.manifest, sources::to_log)?;
        let Given {
            loaded, supplied, ..
        } = self.supplies.load(&manifest)?;
        for warning in &loaded.warnings {
            tracing::warn!("{warning}");
        }
        if !self.no_build {
            build(&loaded.application)?;
        }
        self.sources.provide(&loaded.application, sources::to_log)?;
        let overrides = Overrides {
            http: self.options.http,
            admin: self.options.admin,
            state_dir: self.options.state_dir.clone(),
        };
        let file = host_config(self.host_config);
        let config = config::load(file.as_deref(), overrides)?;
        let application = loaded.application;
        let watch = self.watch.then(|| Watch {
            manifest,
            application: application.clone(),
            access: self.sources.access(),
            supplied,
        });
        let name = application.name.clone();
        let print = self.options.print_addresses;
        let tell = move |addresses| tell(&name, addresses, print);
        serve(&application, config, tell, watch)
    }
}

/// The host configuration that is named, or the one that is taken otherwise.
pub(super) fn host_config(named: Option<PathBuf>) -> Option<PathBuf> {
    named.or_else(|| {
        let file = PathBuf::from(HOST_CONFIG);
        file.exists().then_some(file)
    })
}

/// Builds the components that have a build command and are not fresh.
fn build(application: &Application) -> anyhow::Result<()> {
    if application.components.values().any(toolchain::needs_build) {
        toolchain::build(application, None, &mut toolchain::Console::stderr())?;
    }
    Ok(())
}

/// The application with what its manifest binds by export bound to the components whose artifacts are
/// there.
pub(super) fn bound(mut application: Application) -> anyhow::Result<Application> {
    let components = application.components.clone();
    let bytes = |name: &ComponentName| std::fs::read(&components.get(name)?.artifact.path).ok();
    runtime::bind_by_export(&mut application, bytes)
        .map_err(|problems| anyhow::anyhow!("{}", problems.join("\n")))?;
    Ok(application)
}

/// Builds the host and serves until SIGTERM or SIGINT. Once it serves, `tell` is told where. What
/// `watch` says is watched meanwhile.
///
/// # Errors
///
/// The host does not start.
pub(super) fn serve(
    application: &Application,
    config: HostConfig,
    tell: impl FnOnce(Addresses),
    watch: Option<Watch>,
) -> anyhow::Result<()> {
    let application = &bound(application.clone())?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .thread_name("request")
        .enable_all()
        .build()
        .context("the threads cannot be started")?;
    raise_open_files();
    let served = runtime.block_on(async {
        let stop = CancellationToken::new();
        stop_on_signals(stop.clone())?;
        let host = tokio::select! {
            host = Host::build(application, config) => host?,
            () = stop.cancelled() => return Ok(()),
        };
        let addresses = host
            .addresses()
            .context("the bound addresses cannot be read")?;
        if let Some(watch) = watch {
            watch.start(host.rollouts(), stop.clone())?;
        }
        host.serve(stop, || tell(addresses)).await;
        Ok(())
    });
    // A thread that hangs in the operating system, in a name look-up say, is not waited for.
    runtime.shutdown_timeout(THREADS_GRACE);
    served
}

/// Says where the host listens, now that it serves.
pub(super) fn tell(application: &str, addresses: Addresses, print: bool) {
    if print {
        let line = serde_json::to_string(&addresses).expect("addresses have a form in JSON");
        let mut out = std::io::stdout().lock();
        if let Err(error) = writeln!(out, "{line}").and_then(|()| out.flush()) {
            tracing::error!(%error, "the addresses cannot be printed");
        }
    }
    tracing::info!(
        application,
        http = %format_args!("http://{}/", addresses.http),
        admin = %format_args!("http://{}/", addresses.admin),
        "listening"
    );
}

/// Each connection, blob and store takes a file descriptor; the usual soft limit of 1,024 is for
/// programs that use select(2).
fn raise_open_files() {
    let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile);
    let raised = rustix::process::Rlimit {
        current: limit.maximum,
        maximum: limit.maximum,
    };
    if let Err(error) = rustix::process::setrlimit(rustix::process::Resource::Nofile, raised) {
        tracing::debug!(%error, "the limit of open files could not be raised");
    }
}

fn stop_on_signals(stop: CancellationToken) -> anyhow::Result<()> {
    let mut terminate = signal(SignalKind::terminate()).context("SIGTERM cannot be handled")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("SIGINT cannot be handled")?;
    tokio::spawn(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        stop.cancel();
        // Whoever asks twice does not want to wait.
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        tracing::warn!("stopped at once");
        std::process::exit(130);
    });
    Ok(())
}
