//! `wharf serve` and `wasmtime serve`, started alike.

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc;
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use serde_json::Value;

use crate::harness::{artifacts, guest, manifest::Scratch, scratch};

/// A first start compiles, on a machine that may be doing other things.
const START_WITHIN: Duration = Duration::from_secs(180);

/// What both programs say once they serve.
const SERVING: &str = "Serving HTTP on http://";

/// The version that `wharf serve` is compared with.
const WASMTIME: &str = "wasmtime 48.";

/// Which of the two.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Program {
    Wharf,
    Wasmtime,
}

/// Whether `wasmtime` is there in the version that is compared with; otherwise says so where it cannot
/// be overlooked.
pub fn wasmtime_is_here() -> bool {
    static HERE: OnceLock<bool> = OnceLock::new();
    *HERE.get_or_init(|| {
        let output = Command::new("wasmtime").arg("--version").output();
        let version = output.map(|output| String::from_utf8_lossy(&output.stdout).into_owned());
        let here = version
            .as_ref()
            .is_ok_and(|version| version.starts_with(WASMTIME));
        if !here {
            // Not through the test's captured output.
            let line = format!("COMPARISON SKIPPED: no {WASMTIME}* on PATH, found {version:?}\n");
            let _ = std::io::Write::write_all(&mut std::io::stderr(), line.as_bytes());
        }
        here
    })
}

/// A program that serves one guest. Dropping it kills it.
pub struct Server {
    child: Child,
    pub address: SocketAddr,
    said: Arc<Mutex<Vec<String>>>,
}

/// Where compiled code is kept for all servers of a test run.
fn cache() -> &'static Path {
    static CACHE: OnceLock<Scratch> = OnceLock::new();
    CACHE.get_or_init(scratch).path()
}

impl Program {
    /// The command, up to the arguments of its `serve`.
    pub fn command(self) -> Command {
        let mut command = match self {
            Self::Wharf => artifacts::command(),
            Self::Wasmtime => {
                let mut command = Command::new("wasmtime");
                command.env_remove("RUST_BACKTRACE");
                command
            }
        };
        command.arg("serve");
        command
    }

    /// Serves the guest `name` with these arguments.
    pub fn serve(self, name: &str, arguments: &[&str]) -> Server {
        match self.try_serve(guest(name), arguments) {
            Ok(server) => server,
            Err(said) => panic!("{self:?} does not serve {name}: {said}"),
        }
    }

    /// Serves the component at `path`; the error is what the program says instead.
    pub fn try_serve(self, path: PathBuf, arguments: &[&str]) -> Result<Server, String> {
        let mut command = self.command();
        command
            .args(["--addr", "127.0.0.1:0"])
            .args(arguments)
            .arg(path)
            .env("XDG_CACHE_HOME", cache())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let mut child = command.spawn().expect("the program is there");
        let said = Arc::<Mutex<Vec<String>>>::default();
        let (found, address) = mpsc::channel();
        let stdout = BufReader::new(child.stdout.take().expect("it is piped"));
        let stderr = BufReader::new(child.stderr.take().expect("it is piped"));
        let (lines, printed) = (said.clone(), found.clone());
        std::thread::spawn(move || {
            for line in stdout.lines().map_while(Result::ok) {
                // With --print-addresses; other log lines may be JSON as well.
                let value: Value = serde_json::from_str(&line).unwrap_or_default();
                if let Some(address) = value["http"].as_str() {
                    let _ = printed.send(address.parse());
                }
                note(&lines, line);
            }
        });
        let lines = said.clone();
        std::thread::spawn(move || {
            for line in stderr.lines().map_while(Result::ok) {
                if let Some(rest) = line.strip_prefix(SERVING) {
                    let _ = found.send(rest.trim_end_matches('/').parse());
                }
                note(&lines, line);
            }
        });
        match address.recv_timeout(START_WITHIN) {
            Ok(address) => Ok(Server {
                child,
                address: address.expect("it says an address"),
                said,
            }),
            Err(_) => {
                let _ = child.kill();
                let _ = child.wait();
                let said = said.lock().expect("no holder panics").join("\n");
                Err(said)
            }
        }
    }
}

fn note(lines: &Mutex<Vec<String>>, line: String) {
    lines.lock().expect("no holder panics").push(line);
}

impl Server {
    /// What it has printed so far.
    pub fn said(&self) -> Vec<String> {
        self.said.lock().expect("no holder panics").clone()
    }

    /// Its end, if it has ended.
    pub fn ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().expect("it is our child")
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            let said = self.said();
            let shown = &said[said.len().saturating_sub(40)..];
            eprintln!("--- the server's last lines ---\n{}", shown.join("\n"));
        }
    }
}
