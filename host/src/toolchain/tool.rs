//! The programs that building and testing need: how each is found, and how to get it.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use super::SetupError;
use super::c_compiler::CCompiler;
use super::progress::{Progress, run};
use super::system::{System, is_executable, is_root, on_path};

/// Longest that the package installer may take. Chromium with its libraries is the largest, some
/// 400 MB on a slow line.
const INSTALL_LIMIT: Duration = Duration::from_secs(30 * 60);

/// Something that the build or the tests call and that Wharf does not bring along.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tool {
    /// A C compiler for wasm with a WASI sysroot: LAME in the converter is C.
    CForWasm,
    /// ffmpeg and ffprobe, which make and judge the samples of the tests.
    Ffmpeg,
    /// A Chromium that runs headless, for the tests of the page.
    Chromium,
    /// Node.js with npm, which drives the browser in the tests of the page.
    Node,
    /// A Redis server, for the tests of what runs on one.
    RedisServer,
    /// A PostgreSQL server, for the tests of components that connect to one.
    PostgresServer,
    /// A registry, for the tests of what is pushed to one and pulled from it.
    Registry,
    /// Python that can make virtual environments, for the test of components in it.
    Python,
}

/// A program as found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// Where it is.
    pub path: PathBuf,
}

impl Tool {
    /// What it is called in messages.
    pub fn name(self) -> &'static str {
        match self {
            Self::CForWasm => "C compiler for wasm",
            Self::Ffmpeg => "ffmpeg",
            Self::Chromium => "Chromium",
            Self::Node => "Node.js with npm",
            Self::RedisServer => "Redis server",
            Self::PostgresServer => "PostgreSQL server",
            Self::Registry => "container registry",
            Self::Python => "Python with venv",
        }
    }

    /// What cannot be done without it.
    pub fn why_needed(self) -> &'static str {
        match self {
            Self::CForWasm => "components with C in them (the converter's LAME) cannot be built",
            Self::Ffmpeg => "the tests cannot make and judge audio and video samples",
            Self::Chromium => "the tests of the page have no browser",
            Self::Node => "the tests of the page cannot drive the browser",
            Self::RedisServer => "the tests of several hosts have nothing to share",
            Self::PostgresServer => "the tests of PostgreSQL have nobody to connect to",
            Self::Registry => "the tests of artifacts in registries have none",
            Self::Python => "the test of a component in Python cannot build it",
        }
    }

    /// Looks for it.
    pub fn find(self) -> Option<Found> {
        let path = match self {
            Self::CForWasm => CCompiler::find().map(|compiler| compiler.clang),
            Self::Ffmpeg => on_path("ffprobe").and_then(|_| on_path("ffmpeg")),
            Self::Chromium => find_chromium(),
            Self::Node => on_path("npm").and_then(|_| on_path("node")),
            Self::RedisServer => on_path("redis-server"),
            Self::PostgresServer => find_postgres(),
            Self::Registry => on_path("docker-registry").or_else(|| on_path("registry")),
            Self::Python => on_path("python3").filter(|path| has_venv(path)),
        };
        path.map(|path| Found { path })
    }

    /// The packages that bring it on `system`; none where no package does. `a|b` means `b` where
    /// `a` is unknown.
    fn packages(self, system: System) -> &'static [&'static str] {
        match (self, system) {
            (Self::CForWasm, System::Debian) => &[
                "clang",
                "lld",
                // Ubuntu 22.04 has the versioned name alone.
                "libclang-rt-dev-wasm32|libclang-rt-14-dev-wasm32",
                "wasi-libc",
                "make",
            ],
            (Self::CForWasm, System::Arch) => {
                &["clang", "lld", "wasi-libc", "wasi-compiler-rt", "make"]
            }
            (Self::CForWasm, System::Alpine) => &["wasi-sdk", "make"],
            (Self::CForWasm, System::MacOs) => &["llvm", "lld", "wasi-libc", "wasi-runtimes"],
            // Fedora packages no WASI builtins for its clang: see `how_to_get`.
            (Self::CForWasm, System::Fedora | System::Other) => &[],
            (Self::Ffmpeg, System::Fedora) => &["ffmpeg-free"],
            (Self::Ffmpeg, System::Other) => &[],
            (Self::Ffmpeg, _) => &["ffmpeg"],
            (Self::Chromium, System::Debian) => &["chromium|chromium-browser"],
            (Self::Chromium, System::MacOs) => &["--cask", "chromium"],
            (Self::Chromium, System::Other) => &[],
            (Self::Chromium, _) => &["chromium"],
            (Self::Node, System::MacOs) => &["node"],
            (Self::Node, System::Other) => &[],
            (Self::Node, _) => &["nodejs", "npm"],
            (Self::RedisServer, System::Debian) => &["redis-server"],
            (Self::RedisServer, System::Other) => &[],
            // Arch has Valkey in its place, which answers to both names.
            (Self::RedisServer, System::Arch) => &["valkey"],
            (Self::RedisServer, _) => &["redis"],
            (Self::PostgresServer, System::Other) => &[],
            (Self::PostgresServer, System::Fedora) => &["postgresql-server"],
            (Self::PostgresServer, _) => &["postgresql"],
            (Self::Registry, System::Debian | System::Alpine) => &["docker-registry"],
            (Self::Registry, System::Fedora) => &["docker-distribution"],
            (Self::Registry, _) => &[],
            (Self::Python, System::Debian) => &["python3-venv"],
            (Self::Python, System::Fedora | System::Alpine) => &["python3"],
            (Self::Python, System::Arch | System::MacOs) => &["python"],
            (Self::Python, System::Other) => &[],
        }
    }

    /// The exact command for `system`, or a sentence where there is none.
    pub fn how_to_get(self, system: System, root: bool) -> String {
        let first = |package: &&'static str| package.split('|').next().unwrap_or_default();
        let packages: Vec<_> = self.packages(system).iter().map(first).collect();
        match (self, packages.is_empty()) {
            (Self::CForWasm, true) => wasi_sdk_command(system, root),
            (_, true) => format!("install {} and put it on PATH", self.name()),
            (_, false) => system.install_command(&packages, root).unwrap_or_default(),
        }
    }
}

/// The commands that fetch the WASI SDK, a clang with everything for wasm, from its makers.
fn wasi_sdk_command(system: System, root: bool) -> String {
    let os = if cfg!(target_os = "macos") {
        "macos"
    } else {
        "linux"
    };
    let arch = if cfg!(target_arch = "aarch64") {
        "arm64"
    } else {
        "x86_64"
    };
    let make = system.install_command(&["make"], root);
    let make = make
        .map(|command| format!("{command} && "))
        .unwrap_or_default();
    let directory = format!("wasi-sdk-25.0-{arch}-{os}");
    format!(
        "{make}curl -fL https://github.com/WebAssembly/wasi-sdk/releases/download/wasi-sdk-25/{directory}.tar.gz \
         | tar -xz -C \"$HOME\" && export WASI_SDK_PATH=\"$HOME/{directory}\""
    )
}

/// Debian keeps what fills a virtual environment in a package of its own.
fn has_venv(python: &Path) -> bool {
    let mut command = Command::new(python);
    let asked = command.args(["-c", "import ensurepip, venv"]).output();
    asked.is_ok_and(|output| output.status.success())
}

/// `CHROMIUM` names one; else the names under which systems have it.
fn find_chromium() -> Option<PathBuf> {
    if let Some(named) = std::env::var_os("CHROMIUM") {
        return Some(PathBuf::from(named)).filter(|path| is_executable(path));
    }
    let names = [
        "chromium",
        "chromium-browser",
        "google-chrome",
        "google-chrome-stable",
    ];
    let application = PathBuf::from("/Applications/Chromium.app/Contents/MacOS/Chromium");
    names
        .into_iter()
        .find_map(on_path)
        .or(Some(application))
        .filter(|path| is_executable(path))
}

/// On the path, or where Debian has each version's own directory.
fn find_postgres() -> Option<PathBuf> {
    let versions = std::fs::read_dir("/usr/lib/postgresql")
        .into_iter()
        .flatten();
    let mut servers =
        versions.filter_map(|version| Some(version.ok()?.path().join("bin/postgres")));
    on_path("postgres").or_else(|| servers.find(|path| is_executable(path)))
}

/// What the tests need.
pub fn test_tools() -> &'static [Tool] {
    &[
        Tool::CForWasm,
        Tool::Ffmpeg,
        Tool::Chromium,
        Tool::Node,
        Tool::RedisServer,
        Tool::PostgresServer,
        Tool::Registry,
        Tool::Python,
    ]
}

/// Makes sure that `tools` are there, and installs what is missing where that is allowed: as root on
/// Debian and its derivatives.
///
/// # Errors
///
/// Something is missing and may not be installed by Wharf, or installing failed. The error holds the
/// command to run.
pub fn ensure(tools: &[Tool], progress: &mut dyn Progress) -> Result<(), SetupError> {
    let missing: Vec<Tool> = tools
        .iter()
        .copied()
        .filter(|tool| tool.find().is_none())
        .collect();
    let Some(first) = missing.first() else {
        return Ok(());
    };
    let system = System::detect();
    let root = is_root();
    if system != System::Debian || !root || on_path("apt-get").is_none() {
        let fixes: Vec<_> = missing
            .iter()
            .map(|tool| tool.how_to_get(system, root))
            .collect();
        return Err(SetupError::Missing {
            what: first.name(),
            why: first.why_needed(),
            fix: fixes.join("\n  "),
        });
    }
    let names: Vec<_> = missing.iter().map(|tool| tool.name()).collect();
    install_with_apt(&missing, &names.join(", "), progress)?;
    match missing.into_iter().find(|tool| tool.find().is_none()) {
        None => Ok(()),
        Some(tool) => Err(SetupError::Missing {
            what: tool.name(),
            why: "its packages are installed, but it still does not work",
            fix: tool.how_to_get(system, root),
        }),
    }
}

fn install_with_apt(
    tools: &[Tool],
    names: &str,
    progress: &mut dyn Progress,
) -> Result<(), SetupError> {
    let wanted: Vec<&str> = tools
        .iter()
        .flat_map(|tool| tool.packages(System::Debian))
        .copied()
        .collect();
    if !apt_has_lists() {
        // A failed update is not the end: the lists of the sources that answered are there.
        apt(&["update"], "updating the package lists", progress).ok();
    }
    let step = format!("installing {names}");
    let install = |progress: &mut dyn Progress| {
        let packages: Vec<_> = wanted.iter().map(|package| apt_choice(package)).collect();
        let mut arguments = vec!["install", "-y", "--no-install-recommends"];
        arguments.extend(&packages);
        apt(&arguments, &step, progress)
    };
    if install(progress).is_ok() {
        return Ok(());
    }
    // Old lists name files that the archive no longer has.
    apt(&["update"], "updating the package lists", progress).ok();
    install(progress)
}

fn apt(arguments: &[&str], step: &str, progress: &mut dyn Progress) -> Result<(), SetupError> {
    let mut command = Command::new("apt-get");
    command
        .args(["-q", "-o", "DPkg::Lock::Timeout=300"])
        .args(arguments)
        .env("DEBIAN_FRONTEND", "noninteractive");
    let outcome =
        run(&mut command, step, INSTALL_LIMIT, progress).map_err(|source| SetupError::Io {
            step: step.to_owned(),
            source,
        })?;
    if outcome.status.success() {
        return Ok(());
    }
    Err(SetupError::Step {
        step: step.to_owned(),
        output: outcome.output,
        fix: format!("apt-get {}", arguments.join(" ")),
    })
}

fn apt_has_lists() -> bool {
    let Ok(lists) = std::fs::read_dir("/var/lib/apt/lists") else {
        return false;
    };
    lists
        .flatten()
        .any(|entry| entry.file_name().to_string_lossy().contains("_Packages"))
}

/// Of `a|b` the first that apt knows; the first where it knows none, so that the error names it.
fn apt_choice(package: &'static str) -> &'static str {
    let known = |name: &&str| {
        Command::new("apt-cache")
            .args(["show", name])
            .output()
            .is_ok_and(|o| o.status.success())
    };
    let first = package.split('|').next().unwrap_or(package);
    if first == package {
        first
    } else {
        package.split('|').find(known).unwrap_or(first)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_tool_has_a_way_to_get_it_on_every_system() {
        let systems = [
            System::Debian,
            System::Fedora,
            System::Arch,
            System::Alpine,
            System::MacOs,
            System::Other,
        ];
        for tool in test_tools() {
            for system in systems {
                let text = tool.how_to_get(system, false);
                assert!(
                    text.len() > 10 && !text.contains('|') || text.contains("| tar"),
                    "{text}"
                );
            }
        }
    }

    #[test]
    fn the_command_is_the_one_for_the_system() {
        let text = Tool::CForWasm.how_to_get(System::Debian, false);
        assert_eq!(
            text,
            "sudo apt-get update && sudo apt-get install -y clang lld libclang-rt-dev-wasm32 wasi-libc make"
        );
        let text = Tool::CForWasm.how_to_get(System::Fedora, false);
        assert!(
            text.starts_with("sudo dnf install -y make && curl -fL https://"),
            "{text}"
        );
        assert!(text.contains("WASI_SDK_PATH"), "{text}");
        assert_eq!(
            Tool::Ffmpeg.how_to_get(System::Fedora, true),
            "dnf install -y ffmpeg-free"
        );
    }
}
