//! `wharf pull`: brings a component or an application from a registry.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use clap::Args;

use super::sources::{self, Sources};
use crate::manifest::origin::parse_reference;
use crate::name::Digest;
use crate::toolchain::{self, Console, Pulled};

/// Brings a component from a registry, as a file; or an application, as a directory with its manifest.
#[derive(Args)]
pub struct Pull {
    /// What to bring: HOST/NAME:TAG, with or without oci:// before it.
    reference: String,
    /// The file or directory to make. [default: NAME.wasm, or NAME, in the working directory]
    #[arg(short, long, value_name = "PATH")]
    output: Option<PathBuf>,
    #[command(flatten)]
    sources: Sources,
}

impl Pull {
    /// Pulls.
    ///
    /// # Errors
    ///
    /// It cannot be had, or its place cannot be written.
    pub fn run(self) -> anyhow::Result<()> {
        let reference = self
            .reference
            .strip_prefix("oci://")
            .unwrap_or(&self.reference);
        let parsed = parse_reference(reference)
            .map_err(|why| anyhow::anyhow!("{reference:?} is not an OCI reference: {why}"))?;
        let name = parsed
            .repository()
            .rsplit('/')
            .next()
            .unwrap_or("component");
        let access = self.sources.access();
        let (pulled, warnings) = toolchain::pull(reference, access, &mut Console::stderr())?;
        warnings
            .iter()
            .for_each(|warning| sources::to_stderr(warning));
        match pulled {
            Pulled::Component(bytes) => {
                let file = format!("{name}.wasm").into();
                let path = self.output.unwrap_or(file);
                fs::write(&path, &bytes)
                    .with_context(|| format!("{} cannot be written", path.display()))?;
                println!("{} sha256:{}", path.display(), Digest::of(&bytes));
            }
            Pulled::Application(manifest) => {
                let directory = self.output.unwrap_or_else(|| name.into());
                anyhow::ensure!(
                    !directory.exists(),
                    "{} is there already: remove it, or name another directory with -o",
                    directory.display()
                );
                let kept = manifest.parent().unwrap_or(Path::new("."));
                copy(kept, &directory)
                    .with_context(|| format!("{} cannot be written", directory.display()))?;
                let manifest = manifest.file_name().unwrap_or_default();
                println!("{}", directory.join(manifest).display());
            }
        }
        Ok(())
    }
}

/// Copies a directory of files and directories.
fn copy(from: &Path, to: &Path) -> std::io::Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let target = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            copy(&entry.path(), &target)?;
        } else {
            fs::copy(entry.path(), target)?;
        }
    }
    Ok(())
}
