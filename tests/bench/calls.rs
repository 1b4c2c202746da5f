//! Typed calls: what calling another component takes.
//!
//! The guest `caller` answers `/timed?n=N` by the nanoseconds, on its own clock, of `N` calls of
//! `add: func(a: u32, b: u32) -> u32` in `callee`, one after the other. Each round asks for as long as
//! a run lasts, and takes the median: requests in which the process lost its core would spoil a mean.
//!
//! - fresh: the callee is instantiated for every call, and dropped after it;
//! - reused: one instance of the callee serves call after call.

use std::time::Instant;

use super::harness::client::Client;
use super::harness::{Manifest, scratch};
use super::process::{Announces, Cores, Server, pinned};
use super::settings::Settings;
use super::start;
use super::table::{Aim, Row, Spread, Table};

/// Calls in a request, enough that reading the clock is small beside them.
const CALLS: u32 = 200;

/// Requests before the counting.
const WARM_UP: usize = 50;

const UNIT: &str = "µs per call";

fn manifest(reuse: u32) -> Manifest {
    Manifest::new(&format!(
        r#"
[component.caller]
artifact = "{{caller.wasm}}"

[component.callee]
artifact = "{{callee.wasm}}"
[component.callee.reuse]
requests = {reuse}

[[route]]
path = "/..."
component = "caller"
"#
    ))
}

pub fn measure(settings: &Settings, table: &mut Table) {
    let cores = Cores::apart();
    let host = |reuse: u32| {
        let manifest = manifest(reuse);
        let state = scratch();
        let mut command = start::up(manifest.path(), &state);
        let core = cores.map(|cores| cores.server);
        let server = Server::start(&mut command, Announces::Json, core);
        (server, state, manifest)
    };
    let (fresh_host, reused_host) = (host(1), host(1_000_000));
    let (mut fresh, mut reused) = (Vec::new(), Vec::new());
    for _ in 0..settings.rounds {
        fresh.push(round(&fresh_host.0, settings, cores));
        reused.push(round(&reused_host.0, settings, cores));
    }
    let mut add = |of: &str, rounds: Vec<f64>, aim: f64| {
        let spread = Spread::of(rounds);
        table.add(
            Row::new("typed call `add(u32, u32) -> u32`", of, &spread, UNIT)
                .aim(&spread, Aim(aim), "µs")
                .beside(format!("{CALLS} calls in a request, timed by the caller")),
        );
    };
    add("a fresh instance of the callee for each call", fresh, 8.0);
    add("one instance of the callee for all calls", reused, 3.0);
}

/// The median of what a call took, in microseconds.
fn round(server: &Server, settings: &Settings, cores: Option<Cores>) -> f64 {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a thread can have a runtime");
    let path = format!("/timed?n={CALLS}");
    let asking = async {
        let client = Client::http1(server.address);
        for _ in 0..WARM_UP {
            client.get(&path).await.expect(200);
        }
        let began = Instant::now();
        let mut micros = Vec::new();
        while began.elapsed() < settings.run {
            let reply = client.get(&path).await.expect(200).text();
            let nanoseconds: f64 = reply.parse().expect("a number of nanoseconds");
            micros.push(nanoseconds / 1e3 / f64::from(CALLS));
        }
        Spread::of(micros).median()
    };
    pinned(cores.map(|cores| cores.load), || runtime.block_on(asking))
}
