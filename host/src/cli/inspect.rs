//! `wharf inspect`: what a component exports, imports, and needs to be granted.

use std::path::PathBuf;

use anyhow::Context as _;
use clap::Args;

use super::sources::Sources;
use crate::name::Digest;
use crate::runtime::{self, Verdict};

/// The imports through which requests leave a component. They are always linked; where the requests
/// may go is granted.
const OUTBOUND: [&str; 2] = ["wasi:http/outgoing-handler@", "wasi:http/client@"];

/// Prints what a component exports and imports, and which grants it would need.
#[derive(Args)]
pub struct Inspect {
    /// The component: a file, an http or https URL, or oci://HOST/NAME:TAG.
    component: PathBuf,
    /// Print its whole WIT as well.
    #[arg(long)]
    wit: bool,
    #[command(flatten)]
    sources: Sources,
}

impl Inspect {
    /// Prints.
    ///
    /// # Errors
    ///
    /// The file cannot be read or is not a component.
    pub fn run(self) -> anyhow::Result<()> {
        let path = self.component.display();
        let bytes = self.sources.artifact(&self.component, None)?;
        let shape = runtime::shape(&bytes).with_context(|| format!("{path} is not a component"))?;
        println!("digest   sha256:{}", Digest::of(&bytes));
        println!("size     {} bytes", bytes.len());
        println!(
            "engine   {}",
            if shape.concurrent {
                "WASI 0.3 (concurrent)"
            } else {
                "WASI 0.2"
            }
        );
        println!("exports");
        for export in &shape.exports {
            println!("  {export}");
        }
        println!("imports");
        let mut grants: Vec<&str> = Vec::new();
        for import in &shape.imports {
            let note = match runtime::verdict(import, &Default::default()) {
                Verdict::Provided => String::new(),
                Verdict::NotGranted { line } => {
                    if !grants.contains(&line) {
                        grants.push(line);
                    }
                    "  (needs a grant)".to_owned()
                }
                Verdict::OtherVersions { versions } => {
                    format!(
                        "  (not in this version; this host has {})",
                        versions.join(", ")
                    )
                }
                Verdict::Unknown => "  (from another component of the application)".to_owned(),
            };
            if OUTBOUND.iter().any(|outbound| import.starts_with(outbound)) {
                grants.push("outbound_http = [\"https://HOST\"]  # where it may send requests");
            }
            println!("  {import}{note}");
        }
        if grants.is_empty() {
            println!("grants   none needed");
        } else {
            println!("grants   in the manifest's [component.NAME.grants]:");
            for grant in grants {
                println!("  {grant}");
            }
        }
        if self.wit {
            println!("\n{}", runtime::wit(&bytes)?);
        }
        Ok(())
    }
}
