//! What this machine has and lacks for building, testing and running applications.

use std::path::Path;
use std::process::Command;

use super::c_compiler::CCompiler;
use super::rust::{RustToolchain, TARGET};
use super::system::{System, is_root};
use super::tool::{Tool, test_tools};

/// The oldest compiler that builds Wharf and its components; the workspace's `rust-version`.
const RUST_MINIMUM: &str = env!("CARGO_PKG_RUST_VERSION");

/// The first Linux whose page map can be scanned (`PAGEMAP_SCAN` in ioctl_pagemap_scan(2)).
const PAGEMAP_SCAN_KERNEL: (u32, u32) = (6, 7);

/// Open files that a host under load wants: a connection each, and the store's files.
const OPEN_FILES_WANTED: u64 = 4096;

/// One thing that was looked at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// What was looked for.
    pub what: String,
    /// How it stands.
    pub state: State,
}

/// How something stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum State {
    /// It is there.
    Present {
        /// Its version or place.
        detail: String,
    },
    /// It is not there, or not as it should be.
    Missing {
        /// What cannot be done, or how it works worse, without it.
        why_needed: String,
        /// The command that brings it, or what to do.
        how_to_get: String,
    },
}

impl Finding {
    fn present(what: impl Into<String>, detail: impl Into<String>) -> Self {
        Self {
            what: what.into(),
            state: State::Present {
                detail: detail.into(),
            },
        }
    }

    fn missing(
        what: impl Into<String>,
        why_needed: impl Into<String>,
        how_to_get: impl Into<String>,
    ) -> Self {
        let (why_needed, how_to_get) = (why_needed.into(), how_to_get.into());
        Self {
            what: what.into(),
            state: State::Missing {
                why_needed,
                how_to_get,
            },
        }
    }
}

/// Looks at everything, in the order in which it is needed. Changes nothing; takes under two seconds.
pub fn doctor() -> Vec<Finding> {
    let mut findings = rust_findings();
    findings.extend(test_tools().iter().map(|tool| tool_finding(*tool)));
    if cfg!(target_os = "linux") {
        findings.push(kernel_finding());
        findings.extend(open_files_finding());
    }
    findings
}

fn rust_findings() -> Vec<Finding> {
    let compiler = format!("Rust compiler {RUST_MINIMUM} or newer");
    let toolchain = match RustToolchain::find(Path::new(".")) {
        Ok(toolchain) => toolchain,
        Err(_) => {
            let why = "components written in Rust cannot be built";
            return vec![Finding::missing(
                compiler,
                why,
                "install it from https://rustup.rs",
            )];
        }
    };
    let version = if version_numbers(&toolchain.release) >= version_numbers(RUST_MINIMUM) {
        let detail = format!("{} in {}", toolchain.release, toolchain.sysroot.display());
        Finding::present(compiler, detail)
    } else {
        let why = format!("{} is too old for this project", toolchain.release);
        Finding::missing(compiler, why, "rustup update stable")
    };
    let name = format!("Rust target {TARGET}");
    let target = if toolchain.has_target() {
        Finding::present(name, toolchain.target_libraries().display().to_string())
    } else {
        let why = "components written in Rust cannot be built; `wharf build` tries to add it";
        Finding::missing(name, why, toolchain.how_to_add_target())
    };
    vec![version, target]
}

fn tool_finding(tool: Tool) -> Finding {
    let Some(found) = tool.find() else {
        let how = tool.how_to_get(System::detect(), is_root());
        return Finding::missing(tool.name(), tool.why_needed(), how);
    };
    let mut detail = found.path.display().to_string();
    let argument = if tool == Tool::Ffmpeg {
        "-version"
    } else {
        "--version"
    };
    if let Ok(output) = Command::new(&found.path).arg(argument).output() {
        let text = String::from_utf8_lossy(&output.stdout);
        let first = text.lines().next().unwrap_or_default().trim();
        detail = format!("{first} ({detail})");
    }
    if tool == Tool::CForWasm
        && let Some(compiler) = CCompiler::find()
    {
        detail = format!("{detail}, WASI sysroot {}", compiler.sysroot.display());
    }
    Finding::present(tool.name(), detail)
}

fn kernel_finding() -> Finding {
    let (major, minor) = PAGEMAP_SCAN_KERNEL;
    let what = format!("Linux {major}.{minor} or newer (page map scan)");
    let release = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let release = release.trim();
    if version_numbers(release) >= vec![major, minor] {
        return Finding::present(what, release);
    }
    let why = format!(
        "Linux {release} cannot say which pages an instance wrote to: requests cost about twice \
         the processor time. Everything works"
    );
    Finding::missing(what, why, "a newer kernel, where that is a choice")
}

/// `None` where the limit cannot be read.
fn open_files_finding() -> Option<Finding> {
    let limits = std::fs::read_to_string("/proc/self/limits").ok()?;
    let limit = open_files_limit(&limits)?;
    let what = format!("at least {OPEN_FILES_WANTED} open files");
    if limit >= OPEN_FILES_WANTED {
        return Some(Finding::present(what, limit.to_string()));
    }
    let why = format!("{limit} files may be open at once, and every connection is one");
    Some(Finding::missing(
        what,
        why,
        format!("ulimit -n {OPEN_FILES_WANTED}"),
    ))
}

/// The soft limit in the text of /proc/PID/limits.
fn open_files_limit(limits: &str) -> Option<u64> {
    let line = limits
        .lines()
        .find_map(|line| line.strip_prefix("Max open files"))?;
    match line.split_whitespace().next()? {
        "unlimited" => Some(u64::MAX),
        number => number.parse().ok(),
    }
}

/// `6.7.0-rc1` is 6, 7, 0: the numbers up to the first that is none.
fn version_numbers(version: &str) -> Vec<u32> {
    let parts = version.split('.').map(|part| {
        let digits = part
            .split(|c: char| !c.is_ascii_digit())
            .next()
            .unwrap_or_default();
        digits.parse().ok()
    });
    parts.map_while(|number| number).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_compare_by_number() {
        let at_least =
            |version: &str, minimum: &str| version_numbers(version) >= version_numbers(minimum);
        assert!(at_least("1.95.0", "1.95"));
        assert!(at_least("1.100.0", "1.95"));
        assert!(at_least("1.96.0-nightly", "1.95"));
        assert!(!at_least("1.94.1", "1.95"));
        assert!(at_least("6.18.44-fc-v669", "6.7"));
        assert!(!at_least("6.1.0-18-amd64", "6.7"));
    }

    #[test]
    fn the_limit_of_open_files_is_the_soft_one() {
        let limits = "Limit                     Soft Limit           Hard Limit           Units\n\
            Max open files            1024                 524288               files\n";
        assert_eq!(open_files_limit(limits), Some(1024));
        assert_eq!(
            open_files_limit("Max open files unlimited unlimited files"),
            Some(u64::MAX)
        );
        assert_eq!(open_files_limit(""), None);
    }

    #[test]
    fn everything_that_is_looked_at_says_how_it_stands() {
        let findings = doctor();
        assert!(findings.iter().any(|finding| finding.what.contains(TARGET)));
        for finding in findings {
            match finding.state {
                State::Present { detail } => assert!(!detail.is_empty(), "{}", finding.what),
                State::Missing {
                    why_needed,
                    how_to_get,
                } => {
                    assert!(
                        !why_needed.is_empty() && !how_to_get.is_empty(),
                        "{}",
                        finding.what
                    );
                }
            }
        }
    }
}
