//! `wharf export`: writes the application for another platform.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use clap::{Args, ValueEnum};

use super::MANIFEST;
use super::supplies::Supplies;
use crate::config::{self, Overrides};
use crate::export::{self, Place, Subject, Target, Written};
use crate::manifest::model::Application;
use crate::name::ComponentName;
use crate::runtime;

/// The adapter as Wharf's own repository builds it.
const ADAPTER: &str = "target/wasm32-wasip2/release/spin_adapter.wasm";

/// Writes the application for another platform: what it cannot carry is said on standard error, and in
/// the files.
#[derive(Args)]
pub struct Export {
    /// The platform.
    #[arg(value_enum)]
    target: To,
    /// The application manifest.
    #[arg(default_value = MANIFEST)]
    manifest: PathBuf,
    /// Where to write. [default: standard output]
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// What the names of images begin with. [default: registry.example.com/APPLICATION]
    #[arg(long, value_name = "PREFIX")]
    registry: Option<String>,
    /// For Spin: the adapter component.
    #[arg(long, value_name = "FILE", default_value = ADAPTER)]
    adapter: PathBuf,
    /// A host configuration, for how long a drain may take.
    #[arg(long, value_name = "FILE")]
    host_config: Option<PathBuf>,
}

/// Where applications can go.
#[derive(Clone, Copy, ValueEnum)]
enum To {
    /// A spin.toml, with the components that need nothing but what Spin has.
    Spin,
    /// A WorkloadDeployment for each component.
    Wasmcloud,
    /// Kubernetes objects that run Wharf on several replicas with Redis.
    Kubernetes,
    /// A Dockerfile for an image of Wharf with the application.
    Docker,
}

impl Export {
    /// Writes.
    ///
    /// # Errors
    ///
    /// The manifest is wrong, or a file cannot be written.
    pub fn run(self) -> anyhow::Result<()> {
        let loaded = Supplies::load_unused(&self.manifest)?;
        for warning in &loaded.warnings {
            eprintln!("warning: {warning}");
        }
        let application = super::up::bound(loaded.application)?;
        let config = config::load(self.host_config.as_deref(), Overrides::default())?;
        // What goes to standard output is seen from where it is written.
        let out = self.out.clone().unwrap_or_else(|| PathBuf::from("."));
        let shapes = shapes(&application);
        let registry = self.registry.clone();
        let subject = Subject {
            place: Place::new(&out, &self.manifest).context("the directory cannot be told")?,
            registry: registry
                .unwrap_or_else(|| format!("registry.example.com/{}", application.name)),
            linked: linked(&shapes),
            imports: shapes
                .into_iter()
                .map(|(name, shape)| (name, shape.imports))
                .collect(),
            adapter: self.adapter,
            shutdown_grace: config.shutdown_grace,
            application: &application,
        };
        let target = match self.target {
            To::Spin => Target::Spin,
            To::Wasmcloud => Target::Wasmcloud,
            To::Kubernetes => Target::Kubernetes,
            To::Docker => Target::Docker,
        };
        let written = export::write(target, &subject);
        match &self.out {
            Some(directory) => save(&written, directory)?,
            None => print(&written),
        }
        for note in &written.notes {
            eprintln!("note: {note}");
        }
        Ok(())
    }
}

/// What the components that are built import and export.
fn shapes(application: &Application) -> BTreeMap<ComponentName, runtime::Shape> {
    let components = application.components.values();
    components
        .filter_map(|component| {
            let bytes = std::fs::read(component.artifact.built()).ok()?;
            Some((component.name.clone(), runtime::shape(&bytes).ok()?))
        })
        .collect()
}

/// Who calls whom by an interface of their own.
fn linked(shapes: &BTreeMap<ComponentName, runtime::Shape>) -> Vec<(ComponentName, ComponentName)> {
    let mut linked = Vec::new();
    for (caller, wanted) in shapes {
        for (callee, shape) in shapes.iter().filter(|(callee, _)| *callee != caller) {
            let serves =
                |import: &String| !import.starts_with("wasi:") && shape.exports.contains(import);
            if wanted.imports.iter().any(serves) {
                linked.push((caller.clone(), callee.clone()));
            }
        }
    }
    linked
}

fn save(written: &Written, directory: &Path) -> anyhow::Result<()> {
    std::fs::create_dir_all(directory)
        .with_context(|| format!("{} cannot be made", directory.display()))?;
    for (name, text) in &written.files {
        let path = directory.join(name);
        std::fs::write(&path, text)
            .with_context(|| format!("{} cannot be written", path.display()))?;
        println!("{}", path.display());
    }
    Ok(())
}

fn print(written: &Written) {
    for (name, text) in &written.files {
        if written.files.len() > 1 {
            println!("# --- {name}");
        }
        print!("{text}");
    }
}
