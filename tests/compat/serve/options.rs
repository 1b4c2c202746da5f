//! The options mean here what they mean there; where `wasmtime` is, the same is asked of both.

use std::collections::BTreeSet;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::mpsc;
use std::time::{Duration, Instant};

use super::server::{Program, Server, wasmtime_is_here};
use super::wire::{Answer, Step, talk};
use crate::harness::{guest, scratch};

/// What every server here is told.
const ALL: [&str; 2] = ["-S", "cli,config,keyvalue"];

/// Long enough for an answer that should not come to come.
const MOMENT: Duration = Duration::from_millis(300);

/// By then what should happen has happened.
const SOON: Duration = Duration::from_secs(60);

fn programs() -> Vec<Program> {
    let mut programs = vec![Program::Wharf];
    programs.extend(wasmtime_is_here().then_some(Program::Wasmtime));
    programs
}

/// The servers of one guest with these arguments, one for each program that is there.
fn servers(name: &str, arguments: &[&str]) -> Vec<(Program, Server)> {
    let arguments = [&ALL, arguments].concat();
    let mut servers = Vec::new();
    for program in programs() {
        servers.push((program, program.serve(name, &arguments)));
    }
    servers
}

fn request(path: &str, headers: &str) -> Vec<Step> {
    let text = format!("GET {path} HTTP/1.1\r\nhost: a.example\r\n{headers}\r\n");
    vec![Step::Send(text.into_bytes())]
}

fn get(server: &Server, path: &str) -> (u16, String) {
    let mut answers = talk(server.address, &request(path, ""), 1, false);
    let Answer { body, .. } = answers[0].clone();
    (
        answers.remove(0).code(),
        String::from_utf8_lossy(&body).into_owned(),
    )
}

fn is(status: u16, text: &str) -> (u16, String) {
    (status, text.to_owned())
}

/// Waits until the server has printed a line that is `wanted`.
fn until(server: &Server, what: &str, wanted: impl Fn(&str) -> bool) {
    let began = Instant::now();
    while !server.said().iter().any(|line| wanted(line)) {
        assert!(began.elapsed() < SOON, "no {what:?} in {:?}", server.said());
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn configuration_values_are_apart_from_the_environment() {
    let arguments = [
        "-S",
        "config-var=one=1=1,config-var=none",
        "--env",
        "ONLY=env",
    ];
    for (program, server) in servers("compat2", &arguments) {
        assert_eq!(
            get(&server, "/config?name=one"),
            is(200, "1=1"),
            "{program:?}"
        );
        assert_eq!(
            get(&server, "/config?name=none"),
            is(200, ""),
            "{program:?}"
        );
        assert_eq!(
            get(&server, "/config?name=ONLY"),
            is(404, "not set"),
            "{program:?}"
        );
        assert_eq!(
            get(&server, "/env?name=ONLY"),
            is(200, "env"),
            "{program:?}"
        );
        assert_eq!(
            get(&server, "/env?name=one"),
            is(404, "not set"),
            "{program:?}"
        );
    }
}

#[test]
fn the_environment_is_inherited_where_it_is_asked_for() {
    let path = std::env::var("PATH").unwrap();
    for (program, server) in servers("compat2", &["--env", "PATH", "--env", "NO_SUCH_VARIABLE"]) {
        assert_eq!(
            get(&server, "/env?name=PATH"),
            is(200, &path),
            "{program:?}"
        );
        assert_eq!(get(&server, "/env?name=HOME").0, 404, "{program:?}");
        assert_eq!(
            get(&server, "/env?name=NO_SUCH_VARIABLE").0,
            404,
            "{program:?}"
        );
    }
    for (program, server) in servers("compat2", &["-S", "inherit-env", "--env", "HOME=/mine"]) {
        assert_eq!(
            get(&server, "/env?name=PATH"),
            is(200, &path),
            "{program:?}"
        );
        // There, the guest has both, and finds the one that was inherited.
        if program == Program::Wharf {
            assert_eq!(get(&server, "/env?name=HOME"), is(200, "/mine"));
        }
    }
}

#[test]
fn a_store_holds_what_it_was_given_and_what_is_written() {
    for (program, server) in servers("compat2", &["-S", "keyvalue-in-memory-data=k=v=w"]) {
        assert_eq!(get(&server, "/get?name=k"), is(200, "v=w"), "{program:?}");
        assert_eq!(
            get(&server, "/get?name=other"),
            is(404, "not set"),
            "{program:?}"
        );
        assert_eq!(
            get(&server, "/increment?name=n"),
            is(200, "1"),
            "{program:?}"
        );
        // There, each opened store begins anew, and there is one.
        if program == Program::Wharf {
            assert_eq!(get(&server, "/increment?name=n"), is(200, "2"));
            assert_eq!(
                get(&server, "/get?name=k&store=another"),
                is(404, "not set")
            );
        }
    }
}

#[test]
fn headers_are_added_and_replaced() {
    let dir = scratch();
    let file = dir.path().join("headers");
    std::fs::write(&file, "x-c: 3\n\nx-a: 4\n").unwrap();
    let from_file = format!("@{}", file.display());
    let arguments = ["-H", "X-A: 1", "--header", "x-b: 2", "-H", &from_file];
    for name in ["compat2", "compat3"] {
        for (program, server) in servers(name, &arguments) {
            let steps = request("/facts", "x-a: theirs\r\nx-d: 5\r\n");
            let answer = talk(server.address, &steps, 1, false).remove(0);
            let text = String::from_utf8_lossy(&answer.body).into_owned();
            let headers: Vec<_> = text.lines().filter(|line| line.starts_with("x-")).collect();
            let expected = ["x-a: 1", "x-a: 4", "x-b: 2", "x-c: 3", "x-d: 5"];
            assert_eq!(headers, expected, "{program:?} {name}");
        }
    }
}

#[test]
fn directories_are_seen_where_they_were_put() {
    let dir = scratch();
    std::fs::write(dir.path().join("a"), "text").unwrap();
    let named = format!("{}::/data", dir.path().display());
    for (program, server) in servers("compat2", &["--dir", &named]) {
        assert_eq!(
            get(&server, "/file?name=/data/a"),
            is(200, "text"),
            "{program:?}"
        );
        assert_eq!(
            get(&server, "/write?name=/data/b&text=new"),
            is(200, "written"),
            "{program:?}"
        );
        assert_eq!(
            std::fs::read_to_string(dir.path().join("b")).unwrap(),
            "new"
        );
        assert_eq!(
            get(&server, "/file?name=/etc/hostname").0,
            404,
            "{program:?}"
        );
    }
    let same = dir.path().display().to_string();
    for (program, server) in servers("compat2", &["--dir", &same]) {
        let path = format!("/file?name={same}/a");
        assert_eq!(get(&server, &path), is(200, "text"), "{program:?}");
    }
}

#[test]
fn memory_is_what_it_is_there() {
    for (program, server) in servers("compat2", &[]) {
        assert_eq!(
            get(&server, "/grow?mib=1500"),
            is(200, "grown"),
            "{program:?}"
        );
    }
    for (program, server) in servers("compat2", &["-W", "max-memory-size=8388608"]) {
        assert_eq!(get(&server, "/grow?mib=4"), is(200, "grown"), "{program:?}");
        assert_eq!(
            get(&server, "/grow?mib=8"),
            is(507, "no more memory"),
            "{program:?}"
        );
    }
    let arguments = ["-W", "max-memory-size=8388608,trap-on-grow-failure"];
    for (program, server) in servers("compat2", &arguments) {
        assert_eq!(get(&server, "/grow?mib=8").0, 500, "{program:?}");
    }
}

#[test]
fn resources_are_bounded_where_it_is_said() {
    for (program, server) in servers("compat2", &[]) {
        assert_eq!(
            get(&server, "/resources?n=5000"),
            is(200, "5000"),
            "{program:?}"
        );
    }
    for (program, server) in servers("compat2", &["-S", "max-resources=20"]) {
        assert_eq!(get(&server, "/resources?n=5"), is(200, "5"), "{program:?}");
        assert_eq!(get(&server, "/resources?n=50").0, 500, "{program:?}");
    }
    for (program, server) in servers("compat2", &["-S", "max-component-handles=20"]) {
        assert_eq!(get(&server, "/resources?n=50").0, 500, "{program:?}");
    }
    for (program, server) in servers("compat2", &["-S", "max-http-fields-size=1000"]) {
        let path = format!("/header?name=x&value={}", "v".repeat(2000));
        assert_eq!(get(&server, &path).0, 500, "{program:?}");
    }
}

#[test]
fn the_network_is_there_where_it_is_asked_for() {
    for (program, server) in servers("compat2", &[]) {
        let path = format!("/connect?name={}", server.address);
        assert_eq!(
            get(&server, &path),
            is(403, "PermissionDenied"),
            "{program:?}"
        );
        // Outbound HTTP needs no option.
        let (status, text) = get(&server, &format!("/ask?authority={}", server.address));
        assert_eq!(status, 200, "{program:?}: {text}");
        assert!(text.contains("path /asked"), "{program:?}: {text}");
        // The host says nothing of itself in it.
        assert!(!text.contains("trace"), "{program:?}: {text}");
    }
    for (program, server) in servers("compat2", &["-S", "inherit-network"]) {
        let path = format!("/connect?name={}", server.address);
        assert_eq!(get(&server, &path), is(200, "connected"), "{program:?}");
    }
    for (program, server) in servers("compat2", &["-S", "inherit-network,tcp=n"]) {
        let path = format!("/connect?name={}", server.address);
        assert_eq!(get(&server, &path).0, 403, "{program:?}");
    }
}

#[test]
fn instances_have_numbers_and_are_reused_as_often_as_is_said() {
    // Six requests, each with a probe behind it. An instance may still be at work when the next
    // request comes, which then gets another.
    for (name, count, numbers) in [
        ("compat2", None, 6..=6),
        ("compat2", Some("4"), 2..=5),
        ("compat3", None, 1..=5),
        ("compat3", Some("1"), 6..=6),
    ] {
        let mut arguments = vec!["--idle-instance-timeout", "1000s"];
        arguments.extend(
            count
                .into_iter()
                .flat_map(|count| ["--max-instance-reuse-count", count]),
        );
        for (program, server) in servers(name, &arguments) {
            let ids: BTreeSet<u64> = (0..6)
                .map(|_| get(&server, "/env?name=INSTANCE_ID").1.parse().unwrap())
                .collect();
            assert!(
                numbers.contains(&ids.len()),
                "{program:?} {name} {count:?}: {ids:?}"
            );
        }
    }
}

#[test]
fn what_a_guest_prints_goes_where_it_goes_there() {
    for name in ["compat2", "compat3"] {
        for (_, server) in servers(name, &[]) {
            assert_eq!(get(&server, "/print?text=said"), is(200, "printed"));
            let lines = [
                "stdout [0] :: one",
                "stdout [0] :: two said",
                "stderr [0] :: said",
            ];
            for line in lines {
                until(&server, line, |said| said == line);
            }
            // What it does after its response is done to its end.
            assert_eq!(get(&server, "/after?name=wards"), is(200, "before"));
            until(&server, "its work", |said| said.ends_with(":: after wards"));
        }
        for (_, server) in servers(name, &["--no-logging-prefix"]) {
            get(&server, "/print?text=said");
            for line in ["one", "two said", "said"] {
                until(&server, line, |said| said == line);
            }
        }
    }
}

#[test]
fn a_connection_to_the_shutdown_address_ends_it() {
    for (program, mut server) in servers("compat2", &["--shutdown-addr", "127.0.0.1:0"]) {
        let said = server.said();
        let line = said
            .iter()
            .find_map(|line| line.strip_prefix("Listening for shutdown on tcp://"));
        let address = line
            .expect("it says where")
            .trim_end_matches('/')
            .to_owned();
        assert_eq!(get(&server, "/status?code=201").0, 201);
        TcpStream::connect(address).unwrap();
        let began = Instant::now();
        let status = loop {
            match server.ended() {
                Some(status) => break status,
                None => std::thread::sleep(Duration::from_millis(20)),
            }
            assert!(
                began.elapsed() < Duration::from_secs(60),
                "{program:?} goes on"
            );
        };
        assert!(status.success(), "{program:?}: {status}");
    }
}

#[test]
fn what_a_guest_prints_is_a_log_line_where_log_lines_are_json() {
    let arguments = [&ALL[..], &["--log-format", "json", "--print-addresses"]].concat();
    let server = Program::Wharf.serve("compat2", &arguments);
    assert_eq!(get(&server, "/print?text=said"), is(200, "printed"));
    until(&server, "a log line", |line| {
        let entry: serde_json::Value = serde_json::from_str(line).unwrap_or_default();
        entry.to_string().contains("\"two said\"")
    });
}

#[test]
fn connections_beyond_the_limit_wait() {
    for (program, server) in servers("compat2", &["--max-concurrent-connections", "1"]) {
        let address = server.address;
        let mut first = TcpStream::connect(address).unwrap();
        first
            .write_all(b"GET /status?code=202 HTTP/1.1\r\nhost: a.example\r\n\r\n")
            .unwrap();
        let mut status = [0; 12];
        first.read_exact(&mut status).unwrap();
        let (answered, second) = mpsc::channel();
        let asking = std::thread::spawn(move || {
            let answer = talk(address, &request("/status?code=201", ""), 1, false).remove(0);
            answered.send(answer.code()).unwrap();
        });
        assert!(
            second.recv_timeout(MOMENT).is_err(),
            "{program:?} did not wait"
        );
        drop(first);
        assert_eq!(second.recv().unwrap(), 201, "{program:?}");
        asking.join().unwrap();
    }
}

#[test]
fn requests_beyond_the_limit_wait() {
    for (program, server) in servers("compat2", &["--max-concurrent-requests", "1"]) {
        let address = server.address;
        let (go, held) = mpsc::channel::<()>();
        let (entered, wait) = mpsc::channel();
        let first = std::thread::spawn(move || {
            let mut stream = TcpStream::connect(address).unwrap();
            let head = b"POST /count HTTP/1.1\r\nhost: a.example\r\nexpect: 100-continue\r\ncontent-length: 2\r\n\r\n";
            stream.write_all(head).unwrap();
            let mut line = [0; 25];
            stream.read_exact(&mut line).unwrap();
            entered.send(()).unwrap();
            held.recv().unwrap();
            stream.write_all(b"hi").unwrap();
            let mut status = [0; 15];
            stream.read_exact(&mut status).unwrap();
            status
        });
        wait.recv().unwrap();
        let (answered, second) = mpsc::channel();
        let asking = std::thread::spawn(move || {
            let answer = talk(address, &request("/status?code=201", ""), 1, false).remove(0);
            answered.send(answer.code()).unwrap();
        });
        assert!(
            second.recv_timeout(MOMENT).is_err(),
            "{program:?} did not wait"
        );
        go.send(()).unwrap();
        assert_eq!(first.join().unwrap(), *b"HTTP/1.1 200 OK");
        assert_eq!(second.recv().unwrap(), 201, "{program:?}");
        asking.join().unwrap();
    }
}

#[test]
fn what_cannot_be_done_is_refused_with_what_to_do() {
    for (arguments, says) in [
        (&["-S", "nn"][..], "wasi:nn"),
        (&["-S", "cli,keyvlaue"], "keyvalue"),
        (&["-S", "http=n"], "-S http"),
        (&["-S", "tcplisten=127.0.0.1:80"], "--addr"),
        (&["-W", "fuel=100"], "-W timeout"),
        (&["-O", "opt-level=0"], "leave -O out"),
        (&["-C", "compiler=winch"], "leave -C out"),
        (&["-D", "debug-info"], "leave -D out"),
        (&["-R", "path=x"], "leave -R out"),
        (&["--profile", "guest"], "with wasmtime"),
        (&["-g", "1234"], "with wasmtime"),
        (&["--config", "x.toml"], "-S and -W"),
        (&["--allow-precompiled"], ".wasm"),
        (&["-H", "no colon"], "NAME: VALUE"),
        (&["--env", "=x"], "NAME[=VALUE]"),
        (
            &["-S", "keyvalue", "--dir", "/no/such/directory"],
            "/no/such/directory",
        ),
        (&["--idle-instance-timeout", "soon"], "250ms"),
        (&[], "-S keyvalue"),
    ] {
        let refused = Program::Wharf.try_serve(guest("compat2"), arguments);
        let said = refused
            .err()
            .unwrap_or_else(|| panic!("{arguments:?} is taken"));
        assert!(said.contains(says), "{arguments:?}: {said}");
    }
}

/// What `wasmtime serve` does not have.
#[tokio::test(flavor = "multi_thread")]
async fn http2_is_spoken_as_well() {
    for name in ["compat2", "compat3"] {
        let server = Program::Wharf.serve(name, &ALL);
        let reply = crate::harness::Client::http2(server.address)
            .get("/facts")
            .await;
        assert!(
            reply.expect(200).text().starts_with("method GET\n"),
            "{name}"
        );
    }
}
