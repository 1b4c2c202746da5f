//! What the commands share that take artifacts from elsewhere.

use std::path::{Path, PathBuf};

use anyhow::Context as _;
use clap::Args;

use crate::manifest::model::{Application, Artifact, Origin, Source};
use crate::name::Digest;
use crate::toolchain::{self, Access, Console, Pulled};

/// How registries are spoken to.
#[derive(Args, Clone, Copy)]
pub struct Sources {
    /// Speak to registries without TLS. To those of this machine that is always done.
    #[arg(long)]
    insecure: bool,
}

impl Sources {
    /// The same for the toolchain.
    pub(super) fn access(self) -> Access {
        Access {
            insecure: self.insecure,
            offline: false,
        }
    }

    /// The manifest that `named` names: a file, or an application in a registry (`oci://...`), which is
    /// brought to this machine. `warn` hears warnings.
    pub(super) fn manifest(self, named: PathBuf, warn: fn(&str)) -> anyhow::Result<PathBuf> {
        let Some(Source::Oci(reference)) = remote(&named) else {
            return Ok(named);
        };
        let access = self.access();
        let (pulled, warnings) = toolchain::pull(&reference, access, &mut Console::stderr())?;
        warnings.iter().for_each(|warning| warn(warning));
        match pulled {
            Pulled::Application(manifest) => Ok(manifest),
            Pulled::Component(_) => anyhow::bail!(
                "oci://{reference} is a component, not an application: run it with \
                 `wharf serve oci://{reference}`, or name it in a manifest"
            ),
        }
    }

    /// Makes the artifacts of `application` that are made from something else.
    pub(super) fn provide(self, application: &Application, warn: fn(&str)) -> anyhow::Result<()> {
        let access = self.access();
        let warnings = toolchain::provide(application, access, &mut Console::stderr())?;
        warnings.iter().for_each(|warning| warn(warning));
        Ok(())
    }

    /// The artifact that was named on the command line, as a file of this machine.
    pub(super) fn file(self, named: &Path, warn: fn(&str)) -> anyhow::Result<Artifact> {
        let Some(source) = checked(named)? else {
            return Ok(Artifact::file(named.to_owned()));
        };
        let artifact = Artifact::from_origin(Origin::of(source));
        let access = self.access();
        let warnings = toolchain::provide_file(&artifact, access, &mut Console::stderr())?;
        warnings.iter().for_each(|warning| warn(warning));
        Ok(artifact)
    }

    /// The bytes of an artifact that was named on the command line, in a file or elsewhere. They must
    /// have the digest `sha256`, where one is asked for.
    pub(super) fn artifact(self, named: &Path, sha256: Option<Digest>) -> anyhow::Result<Vec<u8>> {
        if let Some(source) = checked(named)? {
            let access = self.access();
            let (bytes, warnings) =
                toolchain::component(&source, sha256, access, &mut Console::stderr())?;
            warnings.iter().for_each(|warning| to_stderr(warning));
            return Ok(bytes);
        }
        let path = named.display();
        let bytes = std::fs::read(named).with_context(|| format!("{path} cannot be read"))?;
        if let Some(expected) = sha256 {
            let digest = Digest::of(&bytes);
            anyhow::ensure!(
                digest == expected,
                "{path} has the digest sha256:{digest}, and --sha256 asks for sha256:{expected}"
            );
        }
        Ok(bytes)
    }
}

/// The same where it can be fetched.
fn checked(named: &Path) -> anyhow::Result<Option<Source>> {
    let source = remote(named);
    match source.as_ref().and_then(Source::wrong) {
        Some(wrong) => anyhow::bail!("{} {wrong}", named.display()),
        None => Ok(source),
    }
}

/// What is named on the command line where it is not a file.
fn remote(named: &Path) -> Option<Source> {
    Source::remote(named.to_str()?)
}

/// Writes a warning where a command's progress goes.
pub(super) fn to_stderr(warning: &str) {
    eprintln!("warning: {warning}");
}

/// Writes a warning to the log of a host.
pub(super) fn to_log(warning: &str) {
    tracing::warn!("{warning}");
}
