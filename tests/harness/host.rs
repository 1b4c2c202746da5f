//! A running host: started on free ports, stopped by signal, its log kept for the failure report.

use std::io::{BufRead, BufReader, Write};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, ExitStatus, Stdio};
use std::time::Duration;

use serde_json::Value;
use tokio::sync::oneshot;
use tokio::time::timeout;

use super::manifest::{Manifest, Scratch, scratch};
use super::metrics::Samples;
use super::{Client, artifacts, eventually};

/// A first start compiles the application's components, on a machine that may be doing other things.
const START_WITHIN: Duration = Duration::from_secs(180);

/// Longer than any grace that a test configures.
const STOP_WITHIN: Duration = Duration::from_secs(60);

/// Lines of the log that are shown when a test fails.
const LOG_LINES_SHOWN: usize = 120;

/// A host about to be started.
#[derive(Clone)]
pub struct Launch {
    manifest: PathBuf,
    kept: Option<Manifest>,
    state: Scratch,
    /// The host configuration's text.
    host_config: Option<String>,
    environment: Vec<(String, String)>,
    arguments: Vec<String>,
}

impl Launch {
    /// Runs `manifest` with a new state directory.
    pub fn of(manifest: &Manifest) -> Self {
        Self {
            manifest: manifest.path().to_owned(),
            kept: Some(manifest.clone()),
            state: scratch(),
            host_config: None,
            environment: Vec::new(),
            arguments: Vec::new(),
        }
    }

    /// Runs the manifest at `path` with a new state directory.
    pub fn at(path: &Path) -> Self {
        Self {
            manifest: path.to_owned(),
            kept: None,
            state: scratch(),
            host_config: None,
            environment: Vec::new(),
            arguments: Vec::new(),
        }
    }

    /// With this state directory.
    pub fn state(mut self, state: &Scratch) -> Self {
        self.state = state.clone();
        self
    }

    /// With this host configuration's text.
    pub fn host_config(mut self, text: &str) -> Self {
        self.host_config = Some(text.to_owned());
        self
    }

    /// Where its state is.
    pub fn state_path(&self) -> &Path {
        self.state.path()
    }

    pub fn environment(mut self, name: &str, value: &str) -> Self {
        self.environment.push((name.to_owned(), value.to_owned()));
        self
    }

    /// With one more argument.
    pub fn argument(mut self, argument: &str) -> Self {
        self.arguments.push(argument.to_owned());
        self
    }

    /// Starts it and waits until it serves.
    pub async fn start(self) -> Host {
        match self.try_start().await {
            Ok(host) => host,
            Err(failure) => panic!("the host did not start: {failure}"),
        }
    }

    /// Starts it; the error is what it printed before it exited instead.
    pub async fn try_start(self) -> Result<Host, String> {
        let log = self.state.path().join("host.log");
        let file = std::fs::File::options()
            .create(true)
            .append(true)
            .open(&log)
            .expect("the state directory can be written");
        let mut command = artifacts::command();
        command
            .arg("up")
            .arg(&self.manifest)
            .args(["--http", "127.0.0.1:0", "--admin", "127.0.0.1:0"])
            .args(["--print-addresses", "--log-format", "json", "--state-dir"])
            .arg(self.state.path())
            .args(&self.arguments)
            .envs(self.environment.iter().cloned())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(file);
        if let Some(text) = &self.host_config {
            let path = self.state.path().join("host.toml");
            std::fs::write(&path, text).expect("the target directory can be written");
            command.arg("--host-config").arg(path);
        }
        let mut child = command.spawn().expect("the host was built");
        let stdout = child.stdout.take().expect("it is piped");
        let (found, addresses) = oneshot::channel();
        std::thread::spawn({
            let log = log.clone();
            move || read(stdout, found, &log)
        });
        let ended = timeout(START_WITHIN, addresses).await;
        let Ok(Ok(addresses)) = ended else {
            // Standard output ends a moment before the process does.
            let why = if ended.is_ok() { "exited" } else { "hung" };
            let _ = child.kill();
            let status = child.wait();
            let text = std::fs::read_to_string(&log).unwrap_or_default();
            return Err(format!("{why} with {status:?}\n{text}"));
        };
        Ok(Host {
            child,
            http: address(&addresses, "http"),
            admin: address(&addresses, "admin"),
            log,
            state: self.state,
            _manifest: self.kept,
        })
    }
}

/// Reads standard output to its end: the line that says where the host listens, and into the log
/// whatever else there is.
fn read(stdout: ChildStdout, found: oneshot::Sender<Value>, log: &Path) {
    let mut found = Some(found);
    for line in BufReader::new(stdout).lines().map_while(Result::ok) {
        match serde_json::from_str::<Value>(&line) {
            Ok(value) if value.get("http").is_some() && found.is_some() => {
                let _ = found.take().expect("it is there").send(value);
            }
            _ => append(log, &line),
        }
    }
}

fn append(log: &Path, line: &str) {
    if let Ok(mut file) = std::fs::File::options().append(true).open(log) {
        let _ = writeln!(file, "{line}");
    }
}

fn address(addresses: &Value, listener: &str) -> SocketAddr {
    let text = addresses[listener].as_str().unwrap_or_default();
    text.parse()
        .unwrap_or_else(|_| panic!("{addresses} has no {listener} address"))
}

/// A host that serves. Dropping it kills it.
pub struct Host {
    child: Child,
    pub http: SocketAddr,
    pub admin: SocketAddr,
    log: PathBuf,
    state: Scratch,
    _manifest: Option<Manifest>,
}

impl Host {
    /// An HTTP/1.1 client of the public listener.
    pub fn client(&self) -> Client {
        Client::http1(self.http)
    }

    /// An HTTP/2 client (prior knowledge) of the public listener.
    pub fn client2(&self) -> Client {
        Client::http2(self.http)
    }

    /// A client of the operators' listener.
    pub fn operator(&self) -> Client {
        Client::http1(self.admin)
    }

    pub fn state(&self) -> &Scratch {
        &self.state
    }

    /// All that it has logged.
    pub fn log(&self) -> String {
        std::fs::read_to_string(&self.log).expect("the log is there from the start")
    }

    /// The log's lines that are JSON objects.
    pub fn log_entries(&self) -> Vec<Value> {
        let entries = self.log();
        let parsed = entries
            .lines()
            .filter_map(|line| serde_json::from_str(line).ok());
        parsed.filter(Value::is_object).collect()
    }

    /// Waits for a log line that satisfies `wanted`.
    pub async fn logged(&self, what: &str, wanted: impl Fn(&Value) -> bool) -> Value {
        eventually(what, Duration::from_secs(10), async || {
            self.log_entries().into_iter().find(|entry| wanted(entry))
        })
        .await
    }

    pub async fn metrics(&self) -> Samples {
        let reply = self.operator().get("/metrics").await;
        assert_eq!(reply.status, 200, "{reply:?}");
        Samples::parse(&reply.text())
    }

    /// Waits until a sum of samples is `wanted`.
    pub async fn metric_becomes(&self, name: &str, labels: &[(&str, &str)], wanted: f64) {
        let what = format!("{name}{labels:?} is {wanted}");
        eventually(&what, Duration::from_secs(20), async || {
            (self.metrics().await.sum(name, labels) == wanted).then_some(())
        })
        .await;
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Sends a signal, such as `TERM`.
    pub fn signal(&self, name: &str) {
        let status = std::process::Command::new("sh")
            .args(["-c", &format!("kill -{name} {}", self.pid())])
            .status()
            .expect("there is a shell");
        assert!(status.success(), "kill -{name} failed");
    }

    /// Waits for its end.
    pub async fn ended(&mut self) -> ExitStatus {
        eventually("the host ended", STOP_WITHIN, async || {
            self.child.try_wait().expect("it is our child")
        })
        .await
    }

    /// Stops it as an operator would.
    pub async fn stop(mut self) {
        self.signal("TERM");
        let status = self.ended().await;
        assert!(status.success(), "{status}");
    }

    /// Ends it as a power failure would.
    pub async fn kill(mut self) {
        self.signal("KILL");
        self.ended().await;
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            let log = std::fs::read_to_string(&self.log).unwrap_or_default();
            let lines: Vec<&str> = log.lines().collect();
            let shown = &lines[lines.len().saturating_sub(LOG_LINES_SHOWN)..];
            eprintln!(
                "--- the host's log, its last lines ---\n{}",
                shown.join("\n")
            );
        }
    }
}
