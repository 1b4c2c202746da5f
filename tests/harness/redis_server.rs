//! A Redis server of its own for each test, on a port that it finds free; ended by its process id.
//! It is used by the host's own tests, too, so it knows nothing of either: each has a way
//! of its own to install a `redis-server` where there is none.

use std::net::TcpListener;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use super::install_redis_server;

/// Names another server to be tried, for example a Valkey's.
const PROGRAM: &str = "WHARF_TEST_REDIS_SERVER";

/// A server starts in tens of milliseconds, on a machine that may be doing other things.
const START_WITHIN: Duration = Duration::from_secs(30);

/// A running `redis-server`, with all that it keeps in a directory of its own.
pub struct RedisServer {
    child: Child,
    port: u16,
    dir: tempfile::TempDir,
    options: Vec<String>,
}

impl RedisServer {
    /// Starts one that keeps nothing.
    pub fn start() -> Self {
        Self::with(&["--save", "", "--appendonly", "no"])
    }

    /// Starts one that has every write on disk when it answers.
    pub fn durable() -> Self {
        Self::with(&[
            "--save",
            "",
            "--appendonly",
            "yes",
            "--appendfsync",
            "always",
        ])
    }

    /// Starts a cluster of one node, which keeps nothing.
    pub fn cluster() -> Self {
        Self::cluster_with(&[])
    }

    /// The same, with more options.
    pub fn cluster_with(options: &[&str]) -> Self {
        let (server, _) = Self::node(options);
        server.ask("CLUSTER ADDSLOTSRANGE 0 16383", |answer| {
            answer.starts_with("+OK")
        });
        server.serves_its_slots();
        server
    }

    /// Starts a cluster of three nodes, which share the slots and keep nothing.
    pub fn cluster_of_three() -> [Self; 3] {
        let slots = ["0 5460", "5461 10922", "10923 16383"];
        let nodes = slots.map(|slots| {
            let (server, bus) = Self::node(&["--cluster-announce-ip", "127.0.0.1"]);
            let add = format!("CLUSTER ADDSLOTSRANGE {slots}");
            server.ask(&add, |answer| answer.starts_with("+OK"));
            (server, bus)
        });
        let meets = nodes
            .each_ref()
            .map(|(server, bus)| format!("CLUSTER MEET 127.0.0.1 {} {bus}", server.port));
        for meet in &meets[1..] {
            nodes[0].0.ask(meet, |answer| answer.starts_with("+OK"));
        }
        nodes.map(|(server, _)| {
            // Each has to have heard of the slots of all.
            server.ask("CLUSTER INFO", |answer| {
                answer.contains("cluster_state:ok") && answer.contains("cluster_size:3")
            });
            server
        })
    }

    /// Starts a node of a cluster, which keeps nothing; with it goes the port of its bus.
    fn node(options: &[&str]) -> (Self, String) {
        // By default its bus listens 10,000 above the port, which may be past the last.
        let bus = Self::free_port().to_string();
        let enabled = ["--cluster-enabled", "yes", "--cluster-port", &bus];
        let nothing = ["--save", "", "--appendonly", "no"];
        let server = Self::with(&[&enabled[..], &nothing, options].concat());
        (server, bus)
    }

    /// Waits until a node of a cluster takes commands: two seconds after its start.
    fn serves_its_slots(&self) {
        self.ask("CLUSTER INFO", |answer| answer.contains("cluster_state:ok"));
    }

    /// Starts one with these options of `redis-server`.
    pub fn with(options: &[&str]) -> Self {
        install_redis_server();
        let dir = tempfile::tempdir().expect("a temporary directory");
        let options: Vec<String> = options.iter().map(|option| (*option).to_owned()).collect();
        // Another process may take the port between the two; then another one is tried.
        for _ in 0..10 {
            let port = Self::free_port();
            let mut child = spawn(port, &dir.path().into(), &options);
            if answers(port, &mut child) {
                return Self {
                    child,
                    port,
                    dir,
                    options,
                };
            }
            let _ = child.kill();
            let _ = child.wait();
        }
        panic!("redis-server does not start");
    }

    /// Sends one command without spaces in its arguments, again until the answer is as wanted.
    pub fn ask(&self, command: &str, wanted: impl Fn(&str) -> bool) {
        use std::io::{Read as _, Write as _};
        let began = Instant::now();
        loop {
            let mut stream =
                std::net::TcpStream::connect(("127.0.0.1", self.port)).expect("it runs");
            let sent = write!(stream, "{command}\r\nQUIT\r\n");
            let mut answer = String::new();
            if sent
                .and_then(|()| stream.read_to_string(&mut answer))
                .is_ok()
                && wanted(&answer)
            {
                return;
            }
            assert!(began.elapsed() < START_WITHIN, "{command}: {answer}");
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// Where it listens.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Where it listens, as a URL.
    pub fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    /// A port that nobody listens on at the moment.
    pub fn free_port() -> u16 {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        listener.local_addr().expect("it is bound").port()
    }

    /// Its process id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Ends it as a power cut would.
    pub fn kill(&mut self) {
        self.child.kill().expect("it is ours");
        self.child.wait().expect("it is ours");
    }

    /// Starts it again after [`kill`](Self::kill), over what it kept, on the same port.
    pub fn start_again(&mut self) {
        let began = Instant::now();
        loop {
            self.child = spawn(self.port, &self.dir.path().into(), &self.options);
            if answers(self.port, &mut self.child) {
                if self
                    .options
                    .iter()
                    .any(|option| option == "--cluster-enabled")
                {
                    self.serves_its_slots();
                }
                return;
            }
            assert!(began.elapsed() < START_WITHIN, "the port is not free again");
            self.kill();
        }
    }
}

impl Drop for RedisServer {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn spawn(port: u16, dir: &PathBuf, options: &[String]) -> Child {
    let program = std::env::var_os(PROGRAM).unwrap_or_else(|| "redis-server".into());
    Command::new(program)
        .args(["--port", &port.to_string(), "--bind", "127.0.0.1"])
        .args(["--daemonize", "no", "--logfile", "redis.log", "--dir"])
        .arg(dir)
        .args(options)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("redis-server is installed")
}

/// Whether it answers, before it ends or the time is over.
fn answers(port: u16, child: &mut Child) -> bool {
    use std::io::{Read as _, Write as _};
    let began = Instant::now();
    while began.elapsed() < START_WITHIN {
        if child.try_wait().is_ok_and(|ended| ended.is_some()) {
            return false;
        }
        if let Ok(mut stream) = std::net::TcpStream::connect(("127.0.0.1", port)) {
            let mut answer = [0; 5];
            let asked = stream.write_all(b"PING\r\n");
            // "-NOAUTH" is an answer too, "-LOADING" is not one yet.
            if asked.is_ok()
                && stream.read_exact(&mut answer).is_ok()
                && (answer.starts_with(b"+PONG") || answer.starts_with(b"-NOAU"))
            {
                return true;
            }
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    false
}
