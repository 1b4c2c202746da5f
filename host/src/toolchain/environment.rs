//! The environment of a component's build command.
//!
//! It brings the settings that every component profits from (SIMD), what C for wasm needs, and what
//! makes a build reproducible: two small scripts stand for rustc and clang and give this machine's
//! directories fixed names, and nothing that a developer's own environment says about flags or
//! profiles gets through. It is set for the build command alone; the same variables would break a
//! native build of the same crates.
//!
//! What the digest still depends on: the source with its `Cargo.lock`, the version of rustc, and for
//! C the version of clang and of the WASI sysroot.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::c_compiler::CCompiler;
use super::rust::{RustToolchain, TARGET};
use crate::manifest::model::{Build, Component};
use crate::name::Digest;

const RUSTC_SCRIPT: &str = include_str!("wharf-rustc.sh");
const CLANG_SCRIPT: &str = include_str!("wharf-clang.sh");

/// Instructions that every engine of today has, for Rust and for C.
const RUST_FEATURES: &str = "-C target-feature=+simd128";
const C_FLAGS: &str = "-O3 -msimd128 -D_WASI_EMULATED_SIGNAL";

/// 1980-01-01, the earliest time that a zip archive can hold: for tools that would write down the
/// time of the build. <https://reproducible-builds.org/docs/source-date-epoch/>
const SOURCE_DATE_EPOCH: &str = "315532800";

/// What of the developer's environment would change an artifact.
const REMOVED: [&str; 8] = [
    "CARGO_BUILD_RUSTFLAGS",
    "CARGO_BUILD_TARGET",
    "CARGO_ENCODED_RUSTFLAGS",
    "CARGO_INCREMENTAL",
    "CFLAGS_wasm32-wasip2",
    "OUT_DIR",
    "RUSTC_WORKSPACE_WRAPPER",
    "RUSTFLAGS",
];

/// The same by prefix; `CARGO_PKG_` and `CARGO_MANIFEST_` are what `cargo run` tells its program
/// about the program's own package.
const REMOVED_PREFIXES: [&str; 4] = [
    "CARGO_MANIFEST_",
    "CARGO_PKG_",
    "CARGO_PROFILE_",
    "CARGO_TARGET_WASM32_",
];

/// Cargo's layout of the directories around an artifact, where the artifact lies in one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Layout {
    /// Cargo's target directory; `None` where the artifact's path is not cargo's.
    pub(super) cargo_target: Option<PathBuf>,
    /// Where the scripts are put.
    scripts: PathBuf,
}

impl Layout {
    /// Reads it off `<target>/wasm32-wasip2/<profile>/<name>.wasm`.
    pub(super) fn of(artifact: &Path) -> Self {
        let mut ancestors = artifact.ancestors().skip(2);
        let triple = ancestors
            .next()
            .and_then(Path::file_name)
            .unwrap_or_default();
        let cargo_target = ancestors
            .next()
            .filter(|_| triple.to_string_lossy().starts_with("wasm32-"))
            .map(Path::to_owned);
        let base = cargo_target
            .as_deref()
            .or(artifact.parent())
            .unwrap_or(Path::new("."));
        let scripts = base.join(if cargo_target.is_some() {
            "wharf"
        } else {
            ".wharf"
        });
        Self {
            cargo_target,
            scripts,
        }
    }
}

/// What tells two environments apart, without the machine's paths: a change of it asks for a build.
pub(super) fn fingerprint(build: &Build) -> String {
    let c_toolchain = if build.c_toolchain { C_FLAGS } else { "" };
    let parts = [
        RUSTC_SCRIPT,
        CLANG_SCRIPT,
        RUST_FEATURES,
        c_toolchain,
        &build.command,
    ];
    Digest::of(parts.join("\0").as_bytes()).to_string()
}

/// The environment of one component's build command.
#[derive(Debug)]
pub(super) struct Environment {
    set: BTreeMap<String, OsString>,
    layout: Layout,
}

impl Environment {
    /// Composes it. `rust` is `None` where the build needs no Rust, `c` where it needs no C.
    pub(super) fn new(
        component: &Component,
        workdir: &Path,
        rust: Option<&RustToolchain>,
        c: Option<&CCompiler>,
    ) -> Self {
        let layout = Layout::of(component.artifact.built());
        let mut environment = Self {
            set: BTreeMap::new(),
            layout,
        };
        environment.put("SOURCE_DATE_EPOCH", SOURCE_DATE_EPOCH);
        if let Some(rust) = rust {
            environment.put_rust(workdir, rust);
        }
        if let Some(c) = c {
            environment.put_c(c);
        }
        environment
    }

    fn put(&mut self, name: &str, value: impl AsRef<OsStr>) {
        self.set.insert(name.to_owned(), value.as_ref().to_owned());
    }

    fn put_rust(&mut self, workdir: &Path, rust: &RustToolchain) {
        let target = self.layout.cargo_target.clone();
        if let Some(target) = &target {
            // The artifact is where the manifest says, wherever the developer's settings would
            // have put it.
            self.put("CARGO_TARGET_DIR", target);
        }
        let target = target.unwrap_or_else(|| workdir.join("target"));
        let flags = format!("{RUST_FEATURES} --cfg wharf_build=\"{}\"", means(rust));
        let variable = TARGET.to_uppercase().replace('-', "_");
        self.put(&format!("CARGO_TARGET_{variable}_RUSTFLAGS"), flags);
        self.put("RUSTC_WRAPPER", self.layout.scripts.join("wharf-rustc"));
        self.put("WHARF_CARGO_HOME", cargo_home());
        self.put("WHARF_RUSTC_COMMIT", &rust.commit);
        self.put("WHARF_SYSROOT", &rust.sysroot);
        self.put("WHARF_TARGET_DIR", target);
    }

    fn put_c(&mut self, c: &CCompiler) {
        let path = std::env::var_os("PATH").unwrap_or_default();
        let with_scripts =
            std::iter::once(self.layout.scripts.clone()).chain(std::env::split_paths(&path));
        // A directory whose name holds a colon cannot be on PATH; building C fails below it anyway.
        let path = std::env::join_paths(with_scripts).unwrap_or(path);
        let variable = TARGET.replace('-', "_");
        self.put("PATH", path);
        self.put("WHARF_CLANG", &c.clang);
        // By name, so that the scripts' directory does not get into what configure writes.
        self.put(&format!("CC_{variable}"), "wharf-clang");
        self.put(&format!("AR_{variable}"), &c.archiver);
        self.put(&format!("RANLIB_{variable}"), &c.ranlib);
        let flags = format!("--target=wasm32-wasi {} {C_FLAGS}", c.sysroot_flag());
        self.put(&format!("CFLAGS_{variable}"), flags);
        // mp3lame-sys passes the Rust target to configure, which does not know it.
        self.put("MP3LAME_SYS_OVERRIDE_HOST", "wasm32-wasi");
    }

    /// Writes the scripts where they are to be called.
    pub(super) fn write_scripts(&self) -> io::Result<()> {
        fs::create_dir_all(&self.layout.scripts)?;
        for (name, text) in [("wharf-rustc", RUSTC_SCRIPT), ("wharf-clang", CLANG_SCRIPT)] {
            write_script(&self.layout.scripts.join(name), text)?;
        }
        Ok(())
    }

    /// Gives the environment to `command`.
    pub(super) fn apply(&self, command: &mut Command) {
        for (name, _) in std::env::vars_os() {
            let text = name.to_string_lossy();
            let by_prefix = REMOVED_PREFIXES
                .iter()
                .any(|prefix| text.starts_with(prefix));
            if by_prefix || REMOVED.contains(&&*text) {
                command.env_remove(&name);
            }
        }
        command.envs(&self.set);
    }
}

/// What cargo does not look at, although artifacts depend on it: the scripts, the standard library
/// (rustup's or Debian's) and the C compiler. As a `cfg` that no code asks for, a change of it makes
/// cargo build anew, as it does after a build by hand; it does not get into artifacts.
fn means(rust: &RustToolchain) -> String {
    let bytes = |file: &Path| fs::metadata(file).map_or(0, |data| data.len());
    let library = rust.standard_library().unwrap_or_default();
    let clang = CCompiler::candidates().into_iter().next();
    let parts = [
        RUSTC_SCRIPT.to_owned(),
        CLANG_SCRIPT.to_owned(),
        library
            .file_name()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned(),
        bytes(&library).to_string(),
        clang.map_or(0, |c| bytes(&c.clang)).to_string(),
    ];
    Digest::of(parts.join("\0").as_bytes()).short()
}

/// Replaces a script in one step, and only where it differs: another build may be calling it.
fn write_script(path: &Path, text: &str) -> io::Result<()> {
    use std::os::unix::fs::PermissionsExt;
    if fs::read_to_string(path).is_ok_and(|present| present == text) {
        return Ok(());
    }
    let directory = path.parent().unwrap_or(Path::new("."));
    let file = tempfile::NamedTempFile::new_in(directory)?;
    fs::write(file.path(), text)?;
    fs::set_permissions(file.path(), fs::Permissions::from_mode(0o755))?;
    // Closed before it is renamed: a file that is open for writing cannot be executed.
    file.into_temp_path()
        .persist(path)
        .map_err(|error| error.error)
}

/// Where cargo keeps the sources of dependencies.
pub(super) fn cargo_home() -> PathBuf {
    let home = || std::env::home_dir().unwrap_or_default().join(".cargo");
    std::env::var_os("CARGO_HOME").map_or_else(home, PathBuf::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_target_directory_is_read_off_the_artifact() {
        let layout = Layout::of(Path::new("/src/target/wasm32-wasip2/release/auth.wasm"));
        assert_eq!(
            layout.cargo_target.as_deref(),
            Some(Path::new("/src/target"))
        );
        assert_eq!(layout.scripts, Path::new("/src/target/wharf"));
        let layout = Layout::of(Path::new("/src/dist/app.wasm"));
        assert_eq!(layout.cargo_target, None);
        assert_eq!(layout.scripts, Path::new("/src/dist/.wharf"));
    }

    #[test]
    fn a_change_of_the_command_or_of_the_flags_changes_the_fingerprint() {
        let build = |command: &str, c_toolchain| Build {
            command: command.to_owned(),
            workdir: PathBuf::from("."),
            c_toolchain,
        };
        let first = fingerprint(&build("cargo build", false));
        assert_eq!(first, fingerprint(&build("cargo build", false)));
        assert_ne!(first, fingerprint(&build("cargo build", true)));
        assert_ne!(first, fingerprint(&build("cargo build -v", false)));
    }

    #[test]
    fn a_script_is_executable_and_is_left_alone_when_it_is_right() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("script");
        write_script(&path, "#!/bin/sh\nexit 7\n").unwrap();
        let before = fs::metadata(&path).unwrap().modified().unwrap();
        write_script(&path, "#!/bin/sh\nexit 7\n").unwrap();
        assert_eq!(before, fs::metadata(&path).unwrap().modified().unwrap());
        assert_eq!(Command::new(&path).status().unwrap().code(), Some(7));
    }
}
