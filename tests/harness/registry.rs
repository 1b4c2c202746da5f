//! A container registry of its own for each test, on a port that it finds free; ended by its process
//! id.

use std::net::TcpStream;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use super::RedisServer;
use super::artifacts;

/// It starts in tens of milliseconds, on a machine that may be doing other things.
const START_WITHIN: Duration = Duration::from_secs(30);

/// Whom a registry with users knows, and by which password.
pub const USER: &str = "harbour";
pub const PASSWORD: &str = "master-7";

/// The same as a line of a password file, in bcrypt.
const HTPASSWD: &str = "harbour:$2y$05$JKz8G0XhHn1oPqY3ZbVw4eYpgmVKwSKwyD4oDGU4RPqEMgNx1tVVG\n";

/// A running registry, with all that it keeps in a directory of its own.
pub struct Registry {
    child: Child,
    pub port: u16,
    _dir: tempfile::TempDir,
}

impl Registry {
    /// Starts one that lets everybody do everything.
    pub fn start() -> Self {
        Self::with("")
    }

    /// Starts one that only knows [`USER`].
    pub fn with_users() -> Self {
        Self::with("auth:\n  htpasswd:\n    realm: tests\n    path: htpasswd\n")
    }

    fn with(more: &str) -> Self {
        artifacts::install_registry();
        let dir = tempfile::tempdir().expect("a temporary directory");
        std::fs::write(dir.path().join("htpasswd"), HTPASSWD).unwrap();
        // Another process may take the port between the two; then another one is tried.
        for _ in 0..10 {
            let port = RedisServer::free_port();
            let config = format!(
                "version: 0.1\nlog:\n  level: error\nstorage:\n  filesystem:\n    rootdirectory: \
                 blobs\nhttp:\n  addr: 127.0.0.1:{port}\n  secret: tests\n{more}"
            );
            std::fs::write(dir.path().join("config.yml"), config).unwrap();
            let mut child = spawn(&dir);
            if answers(port, &mut child) {
                return Self {
                    child,
                    port,
                    _dir: dir,
                };
            }
            let _ = child.kill();
            let _ = child.wait();
        }
        panic!("the registry does not start");
    }

    /// A reference to `name`, which has a tag or not.
    pub fn reference(&self, name: &str) -> String {
        format!("127.0.0.1:{}/{name}", self.port)
    }

    /// Ends it as a power cut would.
    pub fn kill(&mut self) {
        self.child.kill().expect("it is ours");
        self.child.wait().expect("it is ours");
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn spawn(dir: &tempfile::TempDir) -> Child {
    let name = artifacts::registry().expect("it is installed");
    Command::new(name)
        .args(["serve", "config.yml"])
        .current_dir(dir.path())
        .env_clear()
        .env("PATH", std::env::var_os("PATH").unwrap_or_default())
        // It would send traces otherwise, in some of its versions.
        .env("OTEL_TRACES_EXPORTER", "none")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("the registry is installed")
}

/// Whether it answers, before it ends or the time is over.
fn answers(port: u16, child: &mut Child) -> bool {
    use std::io::{Read as _, Write as _};
    let began = Instant::now();
    while began.elapsed() < START_WITHIN {
        if child.try_wait().is_ok_and(|ended| ended.is_some()) {
            return false;
        }
        if let Ok(mut stream) = TcpStream::connect(("127.0.0.1", port)) {
            let mut answer = [0; 8];
            let asked = stream.write_all(b"GET /v2/ HTTP/1.0\r\n\r\n");
            if asked.is_ok()
                && stream.read_exact(&mut answer).is_ok()
                && answer.starts_with(b"HTTP/1.")
            {
                return true;
            }
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    false
}
