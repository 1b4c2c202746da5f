//! The C compiler for wasm: a clang with the wasm32 target, a WASI sysroot and the compiler's own
//! runtime library for wasm.
//!
//! What counts is whether a program compiles and links, so that is what the search tries. A WASI SDK
//! named by `WASI_SDK_PATH` comes before what the system has.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::system::{is_executable, on_path};

/// Where the distributions put WASI's headers and libraries: Debian, Alpine and Arch, Homebrew on
/// ARM and on Intel, Fedora.
const SYSROOTS: [&str; 5] = [
    "/usr",
    "/usr/share/wasi-sysroot",
    "/opt/homebrew/share/wasi-sysroot",
    "/usr/local/share/wasi-sysroot",
    "/usr/wasm32-wasi",
];

/// Where clang may be beside `PATH`: Homebrew keeps its own apart, since Apple's lacks wasm.
const CLANGS: [&str; 2] = [
    "/opt/homebrew/opt/llvm/bin/clang",
    "/usr/local/opt/llvm/bin/clang",
];

/// A C compiler that makes wasm.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct CCompiler {
    pub(super) clang: PathBuf,
    /// Absolute, or a name on `PATH`.
    pub(super) archiver: PathBuf,
    pub(super) ranlib: PathBuf,
    pub(super) sysroot: PathBuf,
}

impl CCompiler {
    /// The first candidate that compiles and links a program, in some tenths of a second.
    pub(super) fn find() -> Option<Self> {
        on_path("make")?;
        Self::candidates().into_iter().find(Self::works)
    }

    /// What there might be, by looking at files only.
    pub(super) fn candidates() -> Vec<Self> {
        let sdk = std::env::var_os("WASI_SDK_PATH").map(PathBuf::from);
        let from_sdk = sdk
            .iter()
            .map(|sdk| Self::with_binutils(sdk.join("bin/clang"), sdk.join("share/wasi-sysroot")));
        let clangs = on_path("clang")
            .into_iter()
            .chain(CLANGS.map(PathBuf::from));
        let from_system = clangs.flat_map(|clang| {
            SYSROOTS.map(|sysroot| Self::with_binutils(clang.clone(), PathBuf::from(sysroot)))
        });
        from_sdk
            .chain(from_system)
            .filter(Self::has_files)
            .collect()
    }

    /// LLVM's archiver where it stands beside clang: Apple's refuses wasm, GNU's takes it.
    fn with_binutils(clang: PathBuf, sysroot: PathBuf) -> Self {
        let beside = |llvm: &str, plain: &str| {
            let file = clang.with_file_name(llvm);
            if is_executable(&file) {
                file
            } else {
                PathBuf::from(plain)
            }
        };
        let archiver = beside("llvm-ar", "ar");
        let ranlib = beside("llvm-ranlib", "ranlib");
        Self {
            clang,
            archiver,
            ranlib,
            sysroot,
        }
    }

    fn has_files(&self) -> bool {
        // Older sysroots have their headers in include/, newer ones in include/<target>/.
        let headers = [
            "include/wasm32-wasi/errno.h",
            "include/wasm32-wasip1/errno.h",
        ];
        let own =
            self.sysroot != Path::new("/usr") && self.sysroot.join("include/errno.h").is_file();
        is_executable(&self.clang)
            && (own
                || headers
                    .iter()
                    .any(|header| self.sysroot.join(header).is_file()))
    }

    fn works(&self) -> bool {
        let Ok(directory) = tempfile::tempdir() else {
            return false;
        };
        let source = directory.path().join("probe.c");
        let program = "#include <stdio.h>\nint main(void) { puts(\"\"); return 0; }\n";
        std::fs::write(&source, program).is_ok()
            && Command::new(&self.clang)
                .arg("--target=wasm32-wasi")
                .arg(self.sysroot_flag())
                .arg(&source)
                .arg("-o")
                .arg(directory.path().join("probe.wasm"))
                .stdin(Stdio::null())
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                .status()
                .is_ok_and(|status| status.success())
    }

    /// The flag that names the sysroot.
    pub(super) fn sysroot_flag(&self) -> String {
        format!("--sysroot={}", self.sysroot.display())
    }
}
