//! Processes under measurement: started on a core of their own, their processor time and memory
//! read from `/proc`.

use std::io::{BufRead, BufReader, Read};
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

/// A first start compiles the application's components, on a machine that may be doing other things.
const START_WITHIN: Duration = Duration::from_secs(180);

/// `USER_HZ`, the unit of `/proc/PID/stat`: 100 on every architecture that wasmtime compiles for.
const TICKS_PER_SECOND: f64 = 100.0;

/// Where the two sides of a measurement run.
#[derive(Clone, Copy)]
pub struct Cores {
    pub load: usize,
    pub server: usize,
}

impl Cores {
    /// The first two cores that we may use; `None` where there are not two.
    #[cfg(target_os = "linux")]
    pub fn apart() -> Option<Self> {
        use rustix::thread::{CpuSet, sched_getaffinity};
        let allowed = sched_getaffinity(None).expect("our own affinity can be read");
        let mut cores = (0..CpuSet::MAX_CPU).filter(|core| allowed.is_set(*core));
        let (load, server) = (cores.next()?, cores.next()?);
        Some(Self { load, server })
    }

    #[cfg(not(target_os = "linux"))]
    pub fn apart() -> Option<Self> {
        None
    }
}

/// Runs `work` with this thread, and what it starts, on one core.
#[cfg(target_os = "linux")]
pub fn pinned<T>(core: Option<usize>, work: impl FnOnce() -> T) -> T {
    use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};
    let Some(core) = core else {
        return work();
    };
    let before = sched_getaffinity(None).expect("our own affinity can be read");
    let mut only = CpuSet::new();
    only.set(core);
    sched_setaffinity(None, &only).expect("the core is one that we may use");
    let result = work();
    sched_setaffinity(None, &before).expect("it was so before");
    result
}

#[cfg(not(target_os = "linux"))]
pub fn pinned<T>(_core: Option<usize>, work: impl FnOnce() -> T) -> T {
    work()
}

/// How a server tells where it listens.
#[derive(Clone, Copy)]
pub enum Announces {
    /// `{"http":"127.0.0.1:PORT",...}` on standard output: `wharf --print-addresses`.
    Json,
    /// `Serving HTTP on http://127.0.0.1:PORT/` on standard error: `wasmtime serve`.
    Sentence,
}

impl Announces {
    fn address(self, line: &str) -> Option<SocketAddr> {
        match self {
            Self::Json => {
                let value: serde_json::Value = serde_json::from_str(line).ok()?;
                value["http"].as_str()?.parse().ok()
            }
            Self::Sentence => {
                let (_, url) = line.split_once("Serving HTTP on http://")?;
                url.trim().trim_end_matches('/').parse().ok()
            }
        }
    }
}

/// A server that listens. Dropping it kills it.
pub struct Server {
    child: Child,
    pub address: SocketAddr,
    /// Just before its process was started.
    pub started: Instant,
}

impl Server {
    /// Starts it and waits until it says where it listens.
    pub fn start(command: &mut Command, announces: Announces, core: Option<usize>) -> Self {
        // Backtraces make a dropped store dearer: it is no part of either server's work.
        command.env_remove("RUST_BACKTRACE").stdin(Stdio::null());
        match announces {
            Announces::Json => command.stdout(Stdio::piped()).stderr(Stdio::inherit()),
            Announces::Sentence => command.stdout(Stdio::null()).stderr(Stdio::piped()),
        };
        let started = Instant::now();
        let spawned = pinned(core, || command.spawn());
        let mut child = spawned.unwrap_or_else(|error| panic!("{command:?}: {error}"));
        let output: Box<dyn Read + Send> = match announces {
            Announces::Json => Box::new(child.stdout.take().expect("it is piped")),
            Announces::Sentence => Box::new(child.stderr.take().expect("it is piped")),
        };
        let (found, address) = mpsc::channel();
        std::thread::spawn(move || read(output, announces, &found));
        let Ok(address) = address.recv_timeout(START_WITHIN) else {
            let _ = child.kill();
            panic!(
                "{command:?} did not say where it listens: {:?}",
                child.wait()
            );
        };
        Self {
            child,
            address,
            started,
        }
    }

    /// User and system time so far, in seconds.
    pub fn cpu_seconds(&self) -> f64 {
        cpu_seconds_by(self.child.id())
    }

    /// A line of `/proc/PID/status` that is in kB, in MiB: `VmRSS`, `VmHWM`.
    pub fn memory_mib(&self, field: &str) -> f64 {
        let path = format!("/proc/{}/status", self.child.id());
        let status = std::fs::read_to_string(path).expect("the server runs");
        let line = status.lines().find_map(|line| line.strip_prefix(field));
        let digits = line.and_then(|line| line.split_whitespace().next());
        let kib: f64 = digits
            .and_then(|digits| digits.parse().ok())
            .unwrap_or_else(|| panic!("no {field} in\n{status}"));
        kib / 1024.0
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Reads the output to its end, so that the server never waits for us.
fn read(output: Box<dyn Read + Send>, announces: Announces, found: &mpsc::Sender<SocketAddr>) {
    for line in BufReader::new(output).lines().map_while(Result::ok) {
        match announces.address(&line) {
            Some(address) => {
                let _ = found.send(address);
            }
            None => eprintln!("  {line}"),
        }
    }
}

/// User and system time of a process so far, in seconds.
pub fn cpu_seconds_by(pid: u32) -> f64 {
    let [user, system, ..] = times(&pid.to_string());
    (user + system) / TICKS_PER_SECOND
}

/// utime, stime, cutime and cstime of `/proc/PID/stat`, in ticks (proc_pid_stat(5), fields 14 to 17).
fn times(pid: &str) -> [f64; 4] {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).expect("the process runs");
    // The name, field 2, is in parentheses and may have anything in it.
    let (_, rest) = stat.rsplit_once(')').expect("the name is in parentheses");
    let mut fields = rest.split_whitespace().skip(11);
    std::array::from_fn(|_| {
        let field = fields.next().and_then(|field| field.parse().ok());
        field.expect("the times are numbers")
    })
}

/// Runs a command to its end: its user and system time, in seconds. No other child may end meanwhile.
pub fn cpu_seconds_of(command: &mut Command) -> f64 {
    let of_children = || {
        let [.., user, system] = times("self");
        user + system
    };
    let before = of_children();
    let status = command.status();
    let status = status.unwrap_or_else(|error| panic!("{command:?}: {error}"));
    assert!(status.success(), "{command:?}: {status}");
    (of_children() - before) / TICKS_PER_SECOND
}

/// What a command prints, without the end of the line.
pub fn output_of(command: &mut Command) -> Result<String, String> {
    let output = command.stdin(Stdio::null()).output();
    let output = output.map_err(|error| error.to_string())?;
    if !output.status.success() {
        return Err(output.status.to_string());
    }
    Ok(String::from_utf8_lossy(&output.stdout)
        .trim_end()
        .to_owned())
}
