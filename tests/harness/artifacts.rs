//! What the tests run, built once per test run by the commands that a user would use.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

/// A step that is done at most once; its failure is every caller's.
struct Once(OnceLock<Result<(), String>>);

impl Once {
    const fn new() -> Self {
        Self(OnceLock::new())
    }

    fn run(&self, step: impl FnOnce() -> Result<(), String>) {
        if let Err(error) = self.0.get_or_init(step) {
            panic!("{error}");
        }
    }
}

/// The workspace.
pub fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .expect("the tests stand in the workspace")
}

/// The target directory of the cargo that runs the tests.
fn target() -> &'static Path {
    Path::new(env!("CARGO_TARGET_TMPDIR"))
        .parent()
        .expect("cargo keeps it in the target directory")
}

/// Where a test leaves what a person may want to look at.
pub fn output(name: &str) -> PathBuf {
    let path = target().join("test-output").join(name);
    std::fs::create_dir_all(&path).expect("the target directory can be written");
    path
}

/// The host's binary, once it is known which.
static HOST: OnceLock<PathBuf> = OnceLock::new();

/// The host's binary: the one that `WHARF_BINARY` names, or else built from the workspace.
pub fn wharf() -> &'static Path {
    host(
        "release",
        // With the tests, so that their dependencies take part in choosing features as they did in
        // `cargo test --workspace`; all but the binary itself is then there already.
        &["--quiet", "--workspace", "--bin", "wharf", "--tests"],
    )
}

/// From here on [`wharf`] is the host as it is deployed, unless `WHARF_BINARY` names another.
#[allow(dead_code, reason = "the figures use it")]
pub fn deployed() {
    host("dist", &["--package", "wharf"]);
}

fn host(profile: &str, what: &[&str]) -> &'static Path {
    static BUILT: Once = Once::new();
    if let Some(path) = std::env::var_os("WHARF_BINARY") {
        return HOST.get_or_init(|| PathBuf::from(path));
    }
    BUILT.run(|| {
        let mut cargo = Command::new(env!("CARGO"));
        // What cargo tells a test of its package would make build scripts run again that look at it,
        // and everything above them be compiled again.
        let of_test =
            |name: &str| name.starts_with("CARGO_PKG_") || name.starts_with("CARGO_MANIFEST_");
        for (name, _) in std::env::vars_os() {
            if name.to_str().is_some_and(of_test) {
                cargo.env_remove(name);
            }
        }
        run(cargo
            .args(["build", "--locked", "--profile", profile])
            .args(what)
            .env("CARGO_TARGET_DIR", target()))
    });
    HOST.get_or_init(|| {
        let name = format!("wharf{}", std::env::consts::EXE_SUFFIX);
        target().join(profile).join(name)
    })
}

/// A `wharf` command, in the workspace. Guests are built into the workspace's own target directory,
/// where the manifests look for them, whatever directory the tests themselves are built in.
pub fn command() -> Command {
    let mut command = Command::new(wharf());
    command
        .current_dir(root())
        .env_remove("CARGO_TARGET_DIR")
        .env_remove("RUSTFLAGS")
        .env_remove("RUST_BACKTRACE")
        .env_remove("WHARF_LOG");
    command
}

/// The artifact of a guest in `fixtures/`.
pub fn guest(name: &str) -> PathBuf {
    static BUILT: Once = Once::new();
    BUILT.run(|| run(command().args(["build", "tests/fixtures/fixtures.toml"])));
    let path = root()
        .join("target/wasm32-wasip2/release")
        .join(format!("{name}.wasm"));
    assert!(path.is_file(), "{} was not built", path.display());
    path
}

/// The media application's manifest, with its components built.
pub fn application() -> PathBuf {
    static BUILT: Once = Once::new();
    BUILT.run(|| run(command().args(["build", "runtime-config/media.toml"])));
    root().join("runtime-config/media.toml")
}

/// Installs, where they are missing, the programs that only the tests need: ffmpeg, Chromium, node,
/// redis-server, PostgreSQL, docker-registry.
pub fn tools() {
    static INSTALLED: Once = Once::new();
    INSTALLED.run(|| run(command().args(["setup", "--tests"])));
}

/// Installs redis-server where it is missing, with the other programs.
pub fn install_redis_server() {
    if Command::new("redis-server")
        .arg("--version")
        .output()
        .is_err()
    {
        tools();
    }
}

/// The registry's binary, under the names that systems give it.
pub fn registry() -> Option<&'static str> {
    let mut names = ["docker-registry", "registry"].into_iter();
    names.find(|name| {
        let asked = Command::new(name).arg("--version").output();
        asked.is_ok_and(|output| output.status.success())
    })
}

/// Installs a registry where there is none, with the other programs.
pub fn install_registry() {
    if registry().is_none() {
        tools();
    }
}

/// Runs a command to its end, its output beside the tests' own, so that long steps show progress.
pub fn run(command: &mut Command) -> Result<(), String> {
    match command.status() {
        Ok(status) if status.success() => Ok(()),
        Ok(status) => Err(format!("{command:?} failed: {status}")),
        Err(error) => Err(format!("{command:?} cannot be started: {error}")),
    }
}
