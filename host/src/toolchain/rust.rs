//! The Rust toolchain, and its target for components.
//!
//! A toolchain comes without `wasm32-wasip2`. rustup adds it in seconds; where it cannot, Debian's
//! source of the same compiler version does (`debian_target`).

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use super::progress::{Progress, run};
use super::system::on_path;
use super::{SetupError, debian_target};

/// The target that components are built for.
pub(super) const TARGET: &str = "wasm32-wasip2";

/// Longest that rustup may take to fetch the target's 20 MB; where downloads are blocked, it tries
/// again for a while before it says so.
const RUSTUP_LIMIT: Duration = Duration::from_secs(300);

/// The compiler that a directory's builds use.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct RustToolchain {
    /// Where the compiler and its libraries are.
    pub(super) sysroot: PathBuf,
    /// Its version, such as `1.95.0`.
    pub(super) release: String,
    /// The commit that it was made from; `unknown` for some distributions' own builds.
    pub(super) commit: String,
}

impl RustToolchain {
    /// Asks rustc, as `workdir`'s toolchain file or rustup's default choose it.
    ///
    /// # Errors
    ///
    /// There is no rustc, or it does not answer.
    pub(super) fn find(workdir: &Path) -> Result<Self, SetupError> {
        let ask = |arguments: &[&str]| {
            let output = Command::new("rustc")
                .args(arguments)
                .current_dir(workdir)
                .output()
                .ok()?;
            output
                .status
                .success()
                .then(|| String::from_utf8_lossy(&output.stdout).into_owned())
        };
        let missing = || SetupError::Missing {
            what: "Rust compiler",
            why: "components written in Rust cannot be built",
            fix: "curl --proto '=https' --tlsv1.2 -sSf https://sh.rustup.rs | sh".to_owned(),
        };
        let version = ask(&["-vV"]).ok_or_else(missing)?;
        let sysroot = ask(&["--print", "sysroot"]).ok_or_else(missing)?;
        Self::from_answers(&version, &sysroot).ok_or_else(missing)
    }

    fn from_answers(version: &str, sysroot: &str) -> Option<Self> {
        let field = |name: &str| {
            let value = version.lines().find_map(|line| line.strip_prefix(name))?;
            Some(value.trim_start_matches(':').trim().to_owned())
        };
        Some(Self {
            sysroot: PathBuf::from(sysroot.trim()),
            release: field("release")?,
            commit: field("commit-hash").unwrap_or_else(|| "unknown".to_owned()),
        })
    }

    /// Where the target's libraries are, once it has them.
    pub(super) fn target_libraries(&self) -> PathBuf {
        self.sysroot.join("lib/rustlib").join(TARGET).join("lib")
    }

    /// The target's standard library, once it is there.
    pub(super) fn standard_library(&self) -> Option<PathBuf> {
        let files = std::fs::read_dir(self.target_libraries()).ok()?;
        files.flatten().map(|file| file.path()).find(|path| {
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            name.starts_with("libstd-") && name.ends_with(".rlib")
        })
    }

    /// The toolchain has the target.
    pub(super) fn has_target(&self) -> bool {
        self.standard_library().is_some()
    }

    /// Gives the toolchain its target: it has it, rustup adds it, or Debian's source yields it.
    ///
    /// # Errors
    ///
    /// None of the three works here. The error holds what the last one said.
    pub(super) fn ensure_target(
        &self,
        workdir: &Path,
        progress: &mut dyn Progress,
    ) -> Result<(), SetupError> {
        if self.has_target() {
            return Ok(());
        }
        let step = format!("adding the Rust target {TARGET}");
        let mut output = String::new();
        if on_path("rustup").is_some() {
            let mut rustup = Command::new("rustup");
            rustup.args(["target", "add", TARGET]).current_dir(workdir);
            match run(&mut rustup, &step, RUSTUP_LIMIT, progress) {
                Ok(outcome) => output = outcome.output,
                Err(error) => output = format!("rustup target add {TARGET}: {error}"),
            }
            if self.has_target() {
                return Ok(());
            }
        }
        if on_path("apt-get").is_some() {
            debian_target::build(self, progress)?;
            if self.has_target() {
                return Ok(());
            }
        }
        Err(SetupError::Step {
            step,
            output,
            fix: self.how_to_add_target(),
        })
    }

    /// The command that adds the target.
    pub(super) fn how_to_add_target(&self) -> String {
        if on_path("rustup").is_some() {
            format!("rustup target add {TARGET}")
        } else {
            format!("install Rust through https://rustup.rs, then: rustup target add {TARGET}")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rustc_says_what_it_is() {
        let version = "rustc 1.95.0 (59807616e 2026-04-14)\nbinary: rustc\n\
            commit-hash: 59807616e1\nhost: x86_64-unknown-linux-gnu\nrelease: 1.95.0\n";
        let toolchain = RustToolchain::from_answers(version, "/opt/rust\n").unwrap();
        assert_eq!(toolchain.release, "1.95.0");
        assert_eq!(toolchain.commit, "59807616e1");
        assert_eq!(
            toolchain.target_libraries(),
            Path::new("/opt/rust/lib/rustlib/wasm32-wasip2/lib")
        );
        assert_eq!(RustToolchain::from_answers("error", "/opt/rust"), None);
    }
}
