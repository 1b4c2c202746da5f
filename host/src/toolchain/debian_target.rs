//! The Rust target out of Debian's archive, for machines where rustup may not download.
//!
//! Debian publishes the source of each compiler version (`rust-src`). Built with exactly the compiler
//! of that version, and linked with the start files of Debian's `wasi-libc`, its standard library is
//! what rustup would have brought, though not byte for byte: components built with it have digests of
//! their own. Nothing is installed on the system; the packages are unpacked in a temporary directory.

use std::ffi::OsString;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use super::SetupError;
use super::environment::cargo_home;
use super::progress::{Progress, run};
use super::rust::{RustToolchain, TARGET};

/// Releases of Debian that carry recent compilers, the likeliest first.
const SUITES: [&str; 4] = ["trixie-backports", "forky", "sid", "trixie"];

/// Longest that one step may take: fetching some 60 MB, or compiling the standard library.
const STEP_LIMIT: Duration = Duration::from_secs(20 * 60);

const KEYRING: &str = "/usr/share/keyrings/debian-archive-keyring.gpg";

/// Builds the target for `toolchain` and puts it into its sysroot.
///
/// # Errors
///
/// The system names no Debian archive, the archive has no source of this version, or a step fails.
pub(super) fn build(
    toolchain: &RustToolchain,
    progress: &mut dyn Progress,
) -> Result<(), SetupError> {
    let archive =
        configured_archive().ok_or_else(|| unavailable(toolchain, "apt has no Debian archive"))?;
    let scratch = tempfile::tempdir().map_err(|source| io_error("making a directory", source))?;
    let apt =
        ScratchApt::new(scratch.path(), &archive).map_err(|e| io_error("preparing apt", e))?;
    apt.update(progress)?;
    let source = apt.newest("rust-src", |version| {
        is_release(version, &toolchain.release)
    });
    let libc = apt.newest("wasi-libc", |_| true);
    let (Some(source), Some(libc)) = (source, libc) else {
        return Err(unavailable(
            toolchain,
            "the Debian archive has no source of this version",
        ));
    };
    let root = scratch.path().join("root");
    apt.unpack(
        &[format!("rust-src={source}"), format!("wasi-libc={libc}")],
        &root,
        progress,
    )?;
    let library = root.join(format!("usr/src/rustc-{}/library", toolchain.release));
    let libc = root.join("usr/lib").join(TARGET);
    let target = scratch.path().join("target");
    compile(toolchain, &library, &libc, &target, progress)?;
    install(toolchain, &target, &libc)
        .map_err(|source| io_error("installing the Rust target", source))
}

fn unavailable(toolchain: &RustToolchain, reason: &str) -> SetupError {
    SetupError::Step {
        step: format!(
            "building the Rust target {TARGET} from Debian's rust-src {}",
            toolchain.release
        ),
        output: reason.to_owned(),
        fix: toolchain.how_to_add_target(),
    }
}

fn io_error(step: &str, source: io::Error) -> SetupError {
    SetupError::Io {
        step: step.to_owned(),
        source,
    }
}

/// The Debian archive that this system's apt uses.
fn configured_archive() -> Option<String> {
    let parts = fs::read_dir("/etc/apt/sources.list.d")
        .into_iter()
        .flatten()
        .flatten();
    let files =
        std::iter::once(PathBuf::from("/etc/apt/sources.list")).chain(parts.map(|p| p.path()));
    files
        .filter_map(|file| fs::read_to_string(file).ok())
        .find_map(|text| archive_in(&text))
}

/// The first Debian archive in a file of either format of sources.list(5).
fn archive_in(text: &str) -> Option<String> {
    let lines = text.lines().map(str::trim);
    let sources = lines.filter(|line| line.starts_with("URIs:") || line.starts_with("deb "));
    sources
        .flat_map(str::split_whitespace)
        .map(|word| word.trim_end_matches('/'))
        .find(|word| word.contains("://") && word.ends_with("/debian"))
        .map(str::to_owned)
}

/// `1.95.0+dfsg1-1~bpo13+1` is the release `1.95.0`.
fn is_release(version: &str, release: &str) -> bool {
    version
        .strip_prefix(release)
        .is_some_and(|rest| rest.starts_with(['+', '~', '-']))
}

/// An apt that sees only the given archive and keeps everything in one directory.
struct ScratchApt {
    directory: PathBuf,
    options: Vec<OsString>,
}

impl ScratchApt {
    fn new(directory: &Path, archive: &str) -> io::Result<Self> {
        for part in ["lists/partial", "archives/partial"] {
            fs::create_dir_all(directory.join(part))?;
        }
        let sources = directory.join("sources.list");
        let lines = SUITES.map(|suite| {
            format!("deb [signed-by={KEYRING} target=Packages lang=none] {archive} {suite} main\n")
        });
        fs::write(&sources, lines.concat())?;
        let lists = directory.join("lists");
        let settings = [
            ("Dir::Etc::SourceList", sources.as_os_str()),
            ("Dir::Etc::SourceParts", "/dev/null".as_ref()),
            ("Dir::State::Lists", lists.as_os_str()),
            ("Dir::Cache", directory.as_os_str()),
            // The directory is this user's alone; apt's own user cannot enter it.
            ("APT::Sandbox::User", "root".as_ref()),
        ];
        let mut options = Vec::new();
        for (name, value) in settings {
            let mut setting = OsString::from(format!("{name}="));
            setting.push(value);
            options.extend([OsString::from("-o"), setting]);
        }
        Ok(Self {
            directory: directory.to_owned(),
            options,
        })
    }

    fn command(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        command.args(&self.options).current_dir(&self.directory);
        command
    }

    /// A suite that does not exist (any more) is no reason to stop: the others are there then.
    fn update(&self, progress: &mut dyn Progress) -> Result<(), SetupError> {
        let step = "reading Debian's package lists";
        let mut command = self.command("apt-get");
        run(command.args(["-q", "update"]), step, STEP_LIMIT, progress)
            .map(|_| ())
            .map_err(|source| io_error(step, source))
    }

    fn newest(&self, package: &str, accept: impl Fn(&str) -> bool) -> Option<String> {
        let output = self
            .command("apt-cache")
            .args(["madison", package])
            .output()
            .ok()?;
        let text = String::from_utf8_lossy(&output.stdout);
        text.lines()
            .filter_map(|line| line.split('|').nth(1))
            .map(str::trim)
            .find(|version| accept(version))
            .map(str::to_owned)
    }

    fn unpack(
        &self,
        packages: &[String],
        root: &Path,
        progress: &mut dyn Progress,
    ) -> Result<(), SetupError> {
        let mut download = self.command("apt-get");
        download.args(["-q", "download"]).args(packages);
        succeed(
            &mut download,
            "fetching the Rust library's source",
            progress,
        )?;
        let step = "unpacking the Rust library's source";
        let files = fs::read_dir(&self.directory).map_err(|source| io_error(step, source))?;
        let debs = files.flatten().map(|file| file.path());
        for deb in debs.filter(|path| path.extension().is_some_and(|end| end == "deb")) {
            succeed(
                Command::new("dpkg").arg("-x").arg(deb).arg(root),
                step,
                progress,
            )?;
        }
        Ok(())
    }
}

fn succeed(
    command: &mut Command,
    step: &str,
    progress: &mut dyn Progress,
) -> Result<(), SetupError> {
    let outcome =
        run(command, step, STEP_LIMIT, progress).map_err(|source| io_error(step, source))?;
    if outcome.status.success() {
        return Ok(());
    }
    let fix = format!("rustup target add {TARGET}");
    Err(SetupError::Step {
        step: step.to_owned(),
        output: outcome.output,
        fix,
    })
}

/// Compiles the standard library with the flags and features of the official target, as far as this
/// target uses them, and with its source's official name, so that components contain no path of this
/// machine.
fn compile(
    toolchain: &RustToolchain,
    library: &Path,
    libc: &Path,
    target: &Path,
    progress: &mut dyn Progress,
) -> Result<(), SetupError> {
    let manifest = library.join("sysroot/Cargo.toml");
    let mut fetch = Command::new("cargo");
    fetch
        .args(["fetch", "--target", TARGET, "--manifest-path"])
        .arg(&manifest)
        .env("RUSTC_BOOTSTRAP", "1");
    succeed(&mut fetch, "fetching what the Rust library uses", progress)?;

    let source = library.parent().unwrap_or(library);
    let mut flags = vec![
        "-Zforce-unstable-if-unmarked".to_owned(),
        "-Cembed-bitcode=yes".to_owned(),
        "-Cdebuginfo=0".to_owned(),
        format!("-Lnative={}", libc.display()),
        format!(
            "--remap-path-prefix={}=/rustc/{}",
            source.display(),
            toolchain.commit
        ),
    ];
    flags.extend(dependency_mappings(&cargo_home()));
    let mut cargo = Command::new("cargo");
    cargo
        .args(["build", "--release", "--target", TARGET, "--manifest-path"])
        .arg(manifest)
        .args(["--features", "panic-unwind compiler-builtins-mem"])
        // Where the flags may hold spaces they are separated by this character.
        .env("CARGO_ENCODED_RUSTFLAGS", flags.join("\u{1f}"))
        .env("CARGO_TARGET_DIR", target)
        // The standard library uses unstable features by right, on the stable compiler too.
        .env("RUSTC_BOOTSTRAP", "1")
        .env("__CARGO_DEFAULT_LIB_METADATA", "stablestd")
        .env_remove("RUSTFLAGS");
    succeed(
        &mut cargo,
        "compiling the Rust library for components",
        progress,
    )
}

/// The flags that give the sources of dependencies the name that they have in the official target,
/// whichever registry or mirror they came from.
fn dependency_mappings(cargo_home: &Path) -> Vec<String> {
    let registries = fs::read_dir(cargo_home.join("registry/src"))
        .into_iter()
        .flatten()
        .flatten();
    registries
        .map(|registry| {
            format!(
                "--remap-path-prefix={}=/rust/deps",
                registry.path().display()
            )
        })
        .collect()
}

fn install(toolchain: &RustToolchain, target: &Path, libc: &Path) -> io::Result<()> {
    let libraries = toolchain.target_libraries();
    let start_files = libraries.join("self-contained");
    fs::create_dir_all(&start_files)?;
    for name in ["crt1-command.o", "crt1-reactor.o", "libc.a"] {
        fs::copy(libc.join(name), start_files.join(name))?;
    }
    // The standard library is copied last: it is what says that the target is there.
    let mut built: Vec<_> = fs::read_dir(target.join(TARGET).join("release/deps"))?
        .collect::<io::Result<Vec<_>>>()?
        .into_iter()
        .filter(|file| file.path().extension().is_some_and(|end| end == "rlib"))
        .collect();
    built.sort_by_key(|file| file.file_name().to_string_lossy().starts_with("libstd-"));
    for file in built {
        fs::copy(file.path(), libraries.join(file.file_name()))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_archive_is_found_in_both_formats() {
        let old = "# deb http://old.example/debian x main\n\
            deb [arch=amd64 signed-by=/k.gpg] http://mirror.example/debian/ bookworm main\n";
        assert_eq!(
            archive_in(old).as_deref(),
            Some("http://mirror.example/debian")
        );
        let new =
            "Types: deb\nURIs: https://deb.example/debian-security https://deb.example/debian\n";
        assert_eq!(
            archive_in(new).as_deref(),
            Some("https://deb.example/debian")
        );
        assert_eq!(
            archive_in("deb http://archive.ubuntu.com/ubuntu noble main\n"),
            None
        );
    }

    #[test]
    fn dependencies_get_their_official_name_whatever_registry_they_came_from() {
        let home = tempfile::tempdir().unwrap();
        fs::create_dir_all(home.path().join("registry/src/mirror.example-1234")).unwrap();
        let flags = dependency_mappings(home.path());
        assert_eq!(flags.len(), 1);
        assert!(
            flags[0].ends_with("/registry/src/mirror.example-1234=/rust/deps"),
            "{flags:?}"
        );
        assert!(dependency_mappings(&home.path().join("none")).is_empty());
    }

    #[test]
    fn only_the_same_release_counts() {
        assert!(is_release("1.95.0+dfsg1-1~bpo13+1", "1.95.0"));
        assert!(is_release("1.95.0-2", "1.95.0"));
        assert!(!is_release("1.95.01-2", "1.95.0"));
        assert!(!is_release("1.94.0+dfsg1-1", "1.95.0"));
    }
}
