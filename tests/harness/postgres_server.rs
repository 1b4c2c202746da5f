//! A PostgreSQL server of its own for each test, on a port that it finds free; ended by its process id.

use std::os::unix::fs::{PermissionsExt as _, chown};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use super::RedisServer;
use super::artifacts::tools;

/// A server starts within a second, on a machine that may be doing other things.
const START_WITHIN: Duration = Duration::from_secs(60);

/// Whom it runs as where the tests run as root, which it refuses: `nobody`.
const UNPRIVILEGED: u32 = 65534;

/// Its superuser's password.
const PASSWORD: &str = "secret";

/// A running server, with all that it keeps in a directory of its own.
pub struct PostgresServer {
    child: Child,
    port: u16,
    dir: tempfile::TempDir,
}

impl PostgresServer {
    /// Starts one that asks for a password, and speaks TLS as `localhost` with a certificate that only
    /// [`Self::certificate`] knows.
    pub fn start() -> Self {
        let programs = programs();
        let dir = tempfile::tempdir().expect("a temporary directory");
        make(&programs, dir.path());
        // Another process may take the port between the two; then another one is tried.
        for _ in 0..10 {
            let port = RedisServer::free_port();
            let mut child = spawn(&programs, port, dir.path());
            if answers(&programs, port, &mut child) {
                return Self { child, port, dir };
            }
            let _ = child.kill();
            let _ = child.wait();
        }
        let log = std::fs::read_to_string(dir.path().join("log")).unwrap_or_default();
        panic!("postgres does not start:\n{log}");
    }

    /// Where it listens.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Where it listens and who may, as a URL, without TLS.
    pub fn url(&self) -> String {
        format!(
            "postgres://wharf:{PASSWORD}@127.0.0.1:{}/postgres?sslmode=disable",
            self.port
        )
    }

    /// The same with TLS, for those who trust its certificate.
    pub fn tls_url(&self) -> String {
        format!(
            "postgres://wharf:{PASSWORD}@localhost:{}/postgres?sslmode=require",
            self.port
        )
    }

    /// Its certificate, in PEM.
    pub fn certificate(&self) -> String {
        std::fs::read_to_string(self.dir.path().join("server.crt")).expect("it was made")
    }
}

impl Drop for PostgresServer {
    fn drop(&mut self) {
        // It ends its own children when it is told to end at once.
        let pid = self.child.id();
        let _ = Command::new("sh")
            .args(["-c", &format!("kill -QUIT {pid}")])
            .status();
        let _ = self.child.wait();
    }
}

/// The directory with its programs, which Debian keeps off the path.
fn programs() -> PathBuf {
    find().unwrap_or_else(|| {
        tools();
        find().expect("it was installed")
    })
}

fn find() -> Option<PathBuf> {
    let versions = std::fs::read_dir("/usr/lib/postgresql")
        .into_iter()
        .flatten();
    let debian = versions.filter_map(|version| Some(version.ok()?.path().join("bin")));
    let path = std::env::var_os("PATH").unwrap_or_default();
    let mut all = debian.chain(std::env::split_paths(&path).collect::<Vec<_>>());
    all.find(|dir| dir.join("postgres").is_file() && dir.join("initdb").is_file())
}

/// A command as whoever may run a server, in its directory.
fn command(program: PathBuf, dir: &Path) -> Command {
    let mut command = Command::new(program);
    command.current_dir(dir).stdin(Stdio::null());
    if is_root() {
        command.uid(UNPRIVILEGED).gid(UNPRIVILEGED);
    }
    command
}

fn is_root() -> bool {
    use std::os::unix::fs::MetadataExt as _;
    std::fs::metadata("/proc/self").is_ok_and(|own| own.uid() == 0)
}

fn make(programs: &Path, dir: &Path) {
    let run = |command: &mut Command| {
        let output = command.output().expect("it can be run");
        assert!(
            output.status.success(),
            "{command:?}: {}",
            String::from_utf8_lossy(&output.stderr)
        );
    };
    std::fs::write(dir.join("password"), PASSWORD).expect("it is ours");
    run(Command::new("openssl")
        .current_dir(dir)
        .args([
            "req",
            "-x509",
            "-newkey",
            "ec",
            "-pkeyopt",
            "ec_paramgen_curve:P-256",
            "-nodes",
        ])
        .args([
            "-subj",
            "/CN=localhost",
            "-addext",
            "subjectAltName=DNS:localhost",
        ])
        .args([
            "-addext",
            "basicConstraints=critical,CA:FALSE",
            "-days",
            "2",
        ])
        .args(["-keyout", "server.key", "-out", "server.crt"]));
    let key = std::fs::Permissions::from_mode(0o600);
    std::fs::set_permissions(dir.join("server.key"), key).expect("it is ours");
    if is_root() {
        for name in ["", "password", "server.key", "server.crt"] {
            chown(dir.join(name), Some(UNPRIVILEGED), Some(UNPRIVILEGED)).expect("root may");
        }
    }
    run(command(programs.join("initdb"), dir)
        .args([
            "--pgdata",
            "data",
            "--username",
            "wharf",
            "--pwfile",
            "password",
        ])
        .args([
            "--auth",
            "scram-sha-256",
            "--no-sync",
            "--locale",
            "C",
            "--encoding",
            "UTF8",
        ]));
}

fn spawn(programs: &Path, port: u16, dir: &Path) -> Child {
    let log = std::fs::File::options()
        .create(true)
        .append(true)
        .open(dir.join("log"));
    let log = log.expect("the directory is ours");
    command(programs.join("postgres"), dir)
        .args(["-D", "data", "-p", &port.to_string()])
        .args([
            "-c",
            "listen_addresses=127.0.0.1",
            "-c",
            "unix_socket_directories=",
        ])
        .args(["-c", "fsync=off", "-c", "ssl=on"])
        .args([
            "-c",
            &format!("ssl_cert_file={}", dir.join("server.crt").display()),
        ])
        .args([
            "-c",
            &format!("ssl_key_file={}", dir.join("server.key").display()),
        ])
        .stdout(Stdio::null())
        .stderr(log)
        .spawn()
        .expect("postgres is installed")
}

/// Whether it takes connections, before it ends or the time is over.
fn answers(programs: &Path, port: u16, child: &mut Child) -> bool {
    let began = Instant::now();
    while began.elapsed() < START_WITHIN {
        if child.try_wait().is_ok_and(|ended| ended.is_some()) {
            return false;
        }
        let ready = Command::new(programs.join("pg_isready"))
            .args(["-q", "-h", "127.0.0.1", "-p", &port.to_string()])
            .status();
        if ready.is_ok_and(|status| status.success()) {
            return true;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    false
}
