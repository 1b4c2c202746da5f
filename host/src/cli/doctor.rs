//! `wharf doctor` and `wharf setup`: what is present, what is missing, and getting it.

use clap::Args;

use crate::toolchain::{self, Console, State, Tool};

/// Says what this machine has for building and testing, what it lacks, and how to get it.
#[derive(Args)]
pub struct Doctor {}

impl Doctor {
    /// Prints the findings.
    ///
    /// # Errors
    ///
    /// Something is missing.
    pub fn run(self) -> anyhow::Result<()> {
        let findings = toolchain::doctor();
        let mut missing = 0;
        for finding in &findings {
            match &finding.state {
                State::Present { detail } => println!("ok       {}: {detail}", finding.what),
                State::Missing {
                    why_needed,
                    how_to_get,
                } => {
                    missing += 1;
                    println!(
                        "missing  {}: {why_needed}\n         {how_to_get}",
                        finding.what
                    );
                }
            }
        }
        anyhow::ensure!(missing == 0, "{missing} of {} are missing", findings.len());
        Ok(())
    }
}

/// Installs what building the components needs, as `wharf up` and `wharf build` do by themselves.
#[derive(Args)]
pub struct Setup {
    /// Install what the tests need as well: ffmpeg, a browser, Node.js, a Redis server.
    #[arg(long)]
    tests: bool,
}

impl Setup {
    /// Installs.
    ///
    /// # Errors
    ///
    /// Something cannot be installed here; the message has the command that would.
    pub fn run(self) -> anyhow::Result<()> {
        let tools = if self.tests {
            toolchain::test_tools()
        } else {
            &[Tool::CForWasm]
        };
        toolchain::ensure(tools, &mut Console::stderr())?;
        Ok(())
    }
}
