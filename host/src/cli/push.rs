//! `wharf push`: brings a component or an application to a registry.

use std::path::{Path, PathBuf};

use anyhow::Context as _;
use clap::Args;

use super::sources::{self, Sources};
use crate::document::text_of;
use crate::name::ComponentName;
use crate::toolchain::{self, Console, Pushed};

/// What every WebAssembly binary begins with.
const WASM_MAGIC: &[u8] = b"\0asm";

/// Brings a component, or an application with its components, to a registry.
///
/// A component becomes a wasm artifact as other runtimes read it. An application, named by its
/// manifest, is built first, and runs elsewhere with `wharf up oci://REFERENCE`. Credentials come from
/// the Docker configuration.
#[derive(Args)]
pub struct Push {
    /// The component, or the application manifest.
    file: PathBuf,
    /// Where it goes: HOST/NAME:TAG, with or without oci:// before it.
    reference: String,
    /// Do not build components, even if their sources are newer than their artifacts.
    #[arg(long)]
    no_build: bool,
    #[command(flatten)]
    sources: Sources,
}

impl Push {
    /// Pushes.
    ///
    /// # Errors
    ///
    /// The file is neither, something cannot be built, or the registry does not take it.
    pub fn run(self) -> anyhow::Result<()> {
        let path = self.file.display();
        let bytes = std::fs::read(&self.file).with_context(|| format!("{path} cannot be read"))?;
        let access = self.sources.access();
        let reference = self
            .reference
            .strip_prefix("oci://")
            .unwrap_or(&self.reference);
        let Pushed { reference, digest } = if bytes.starts_with(WASM_MAGIC) {
            toolchain::push_file(bytes, reference, access)?
        } else {
            let text = portable(&self.file)?;
            let artifacts = self.artifacts()?;
            toolchain::push_application(&text, artifacts, reference, access)?
        };
        println!("pushed oci://{reference}");
        println!("digest {digest}");
        Ok(())
    }

    /// The artifacts of the application's components, built and fetched.
    fn artifacts(&self) -> anyhow::Result<Vec<(ComponentName, Vec<u8>)>> {
        let loaded = super::supplies::Supplies::load_unused(&self.file)?;
        for warning in &loaded.warnings {
            eprintln!("warning: {warning}");
        }
        let application = loaded.application;
        if !self.no_build && application.components.values().any(toolchain::needs_build) {
            toolchain::build(&application, None, &mut Console::stderr())?;
        }
        self.sources.provide(&application, sources::to_stderr)?;
        let components = application.components.into_values();
        let artifacts = components.map(|component| {
            let path = &component.artifact.path;
            let bytes = std::fs::read(path).with_context(|| {
                format!(
                    "the artifact of component {}, {}, cannot be read",
                    component.name,
                    path.display()
                )
            })?;
            Ok((component.name, bytes))
        });
        artifacts.collect()
    }
}

/// The manifest as it is where each component's artifact lies beside it, already built.
fn portable(path: &Path) -> anyhow::Result<String> {
    let text = text_of(path)?;
    let own = "only a component, or an application with a manifest of Wharf's own, can be pushed";
    let mut manifest: toml::Table = toml::from_str(&text).ok().with_context(|| own)?;
    anyhow::ensure!(!manifest.contains_key("spin_manifest_version"), own);
    let components = manifest
        .get_mut("component")
        .and_then(toml::Value::as_table_mut);
    for (name, component) in components.with_context(|| own)? {
        let component = component.as_table_mut().with_context(|| own)?;
        component.remove("build");
        component.insert("artifact".to_owned(), format!("{name}.wasm").into());
    }
    Ok(toml::to_string(&manifest)?)
}
