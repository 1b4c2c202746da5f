//! The load: keep-alive HTTP/1.1 connections on one thread, each sending its next request when the
//! last answer is complete.
//!
//! Written by hand, since it must cost less than the fastest server under it. It reads as much of
//! HTTP as the two servers answer with: a content-length, or chunks without trailers.

use std::cell::{Cell, RefCell};
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::{JoinSet, LocalSet};

use super::process::{Cores, Server, pinned};

/// Before the counting: connections open, pools fill, processors wake.
const WARM_UP: Duration = Duration::from_secs(1);

/// No answer may take longer.
const ANSWER_WITHIN: Duration = Duration::from_secs(30);

/// What is asked, and how.
pub struct Load<'a> {
    pub path: &'a str,
    pub connections: usize,
    pub run: Duration,
}

/// What one run measured.
pub struct Run {
    pub requests_per_second: f64,
    pub p50_ms: f64,
    pub p99_ms: f64,
    /// User and system time of the server's process, by request.
    pub cpu_micros: f64,
}

/// What the connections share; they are on one thread.
#[derive(Default)]
struct Shared {
    counting: Cell<bool>,
    answers: RefCell<Vec<Timed>>,
}

/// Puts a server under load. Panics where an answer is not a whole 200.
pub fn run(load: &Load<'_>, server: &Server, cores: Option<Cores>) -> Run {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a thread can have a runtime");
    pinned(cores.map(|cores| cores.load), || {
        LocalSet::new().block_on(&runtime, drive(load, server))
    })
}

async fn drive(load: &Load<'_>, server: &Server) -> Run {
    let shared = Rc::new(Shared::default());
    let mut connections = JoinSet::new();
    for _ in 0..load.connections {
        connections.spawn_local(connection(
            server.address,
            load.path.to_owned(),
            shared.clone(),
        ));
    }
    let window = async {
        tokio::time::sleep(WARM_UP).await;
        let (cpu, start) = (server.cpu_seconds(), Instant::now());
        shared.counting.set(true);
        tokio::time::sleep(load.run).await;
        shared.counting.set(false);
        (server.cpu_seconds() - cpu, start.elapsed())
    };
    let (cpu_seconds, elapsed) = tokio::select! {
        ended = connections.join_next() => {
            panic!("a connection to {}: {ended:?}", load.path)
        }
        measured = window => measured,
    };
    let answers = shared.answers.take();
    assert!(!answers.is_empty(), "{} was never answered", load.path);
    let requests = answers.len() as f64;
    Run {
        requests_per_second: requests / elapsed.as_secs_f64(),
        p50_ms: quantile_of(&answers, 0.50),
        p99_ms: quantile_of(&answers, 0.99),
        cpu_micros: cpu_seconds * 1e6 / requests,
    }
}

/// An answer, when it was complete and how long it took.
pub type Timed = (Instant, Duration);

/// Keeps a server under load for as long as `work` runs, which is told nothing of it; all answers, in
/// the order in which they came. Panics where one is not a whole 200.
pub fn beside<T>(
    load: &Load<'_>,
    address: SocketAddr,
    core: Option<usize>,
    work: impl FnOnce() -> T,
) -> (T, Vec<Timed>) {
    let (stop, stopped) = tokio::sync::oneshot::channel();
    std::thread::scope(|scope| {
        let load = scope.spawn(|| {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .expect("a thread can have a runtime");
            pinned(core, || {
                LocalSet::new().block_on(&runtime, until(load, address, stopped))
            })
        });
        let done = work();
        // Where the load has ended before, joining it says why.
        let _ = stop.send(());
        (done, load.join().expect("the load is answered"))
    })
}

async fn until(
    load: &Load<'_>,
    address: SocketAddr,
    stopped: tokio::sync::oneshot::Receiver<()>,
) -> Vec<Timed> {
    let shared = Rc::new(Shared::default());
    shared.counting.set(true);
    let mut connections = JoinSet::new();
    for _ in 0..load.connections {
        connections.spawn_local(connection(address, load.path.to_owned(), shared.clone()));
    }
    tokio::select! {
        ended = connections.join_next() => panic!("a connection to {}: {ended:?}", load.path),
        _ = stopped => {}
    }
    shared.answers.take()
}

/// The quantile of these answers' latencies, in milliseconds.
pub fn quantile_of(answers: &[Timed], quantile: f64) -> f64 {
    let mut latencies: Vec<Duration> = answers.iter().map(|(_, took)| *took).collect();
    latencies.sort_unstable();
    quantile_ms(&latencies, quantile)
}

fn quantile_ms(sorted: &[Duration], quantile: f64) -> f64 {
    let index = (sorted.len() - 1) as f64 * quantile;
    sorted[index.round() as usize].as_secs_f64() * 1e3
}

/// Asks until it is dropped; ends only with what went wrong.
async fn connection(address: SocketAddr, path: String, shared: Rc<Shared>) -> std::io::Error {
    match ask_on(address, &path, &shared).await {
        Ok(never) => match never {},
        Err(error) => error,
    }
}

async fn ask_on(
    address: SocketAddr,
    path: &str,
    shared: &Shared,
) -> std::io::Result<std::convert::Infallible> {
    let mut socket = TcpStream::connect(address).await?;
    socket.set_nodelay(true)?;
    let request = format!("GET {path} HTTP/1.1\r\nhost: {address}\r\n\r\n");
    let mut answer = Vec::with_capacity(4096);
    loop {
        let start = Instant::now();
        answer.clear();
        let exchange = exchange(&mut socket, request.as_bytes(), &mut answer);
        let in_time = tokio::time::timeout(ANSWER_WITHIN, exchange).await;
        in_time.map_err(|_| std::io::Error::other("no answer in time"))??;
        if !answer.starts_with(b"HTTP/1.1 200") {
            let text = String::from_utf8_lossy(&answer).into_owned();
            return Err(std::io::Error::other(text));
        }
        if shared.counting.get() {
            let answer = (Instant::now(), start.elapsed());
            shared.answers.borrow_mut().push(answer);
        }
    }
}

async fn exchange(
    socket: &mut TcpStream,
    request: &[u8],
    answer: &mut Vec<u8>,
) -> std::io::Result<()> {
    socket.write_all(request).await?;
    while !is_whole(answer) {
        if socket.read_buf(answer).await? == 0 {
            return Err(std::io::ErrorKind::UnexpectedEof.into());
        }
    }
    Ok(())
}

/// The head is there, and as much of a body as it announces.
fn is_whole(answer: &[u8]) -> bool {
    let Some(end) = answer.windows(4).position(|four| four == b"\r\n\r\n") else {
        return false;
    };
    let (head, body) = (&answer[..end], &answer[end + 4..]);
    match content_length(head) {
        Some(length) => body.len() >= length,
        None => body == b"0\r\n\r\n" || body.ends_with(b"\r\n0\r\n\r\n"),
    }
}

fn content_length(head: &[u8]) -> Option<usize> {
    const NAME: &[u8] = b"content-length:";
    let mut lines = head.split(|byte| *byte == b'\n');
    let line = lines.find(|line| {
        let name = line.get(..NAME.len());
        name.is_some_and(|name| name.eq_ignore_ascii_case(NAME))
    })?;
    std::str::from_utf8(&line[NAME.len()..])
        .ok()?
        .trim()
        .parse()
        .ok()
}

/// The time from a process's start to its first answer, in milliseconds.
pub fn first_answer_ms(server: &Server, path: &str) -> f64 {
    let load = ask_once(server.address, path);
    load.unwrap_or_else(|error| panic!("GET {path} at the start: {error}"));
    server.started.elapsed().as_secs_f64() * 1e3
}

/// One request, without a runtime to be set up first.
fn ask_once(address: SocketAddr, path: &str) -> std::io::Result<()> {
    use std::io::{Read, Write};
    let mut socket = std::net::TcpStream::connect(address)?;
    socket.set_read_timeout(Some(ANSWER_WITHIN))?;
    write!(
        socket,
        "GET {path} HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n\r\n"
    )?;
    let mut answer = [0; 12];
    socket.read_exact(&mut answer)?;
    if &answer == b"HTTP/1.1 200" {
        return Ok(());
    }
    Err(std::io::Error::other(
        String::from_utf8_lossy(&answer).into_owned(),
    ))
}
