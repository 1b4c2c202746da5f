//! Typed calls: what calling another component adds to a request.
//!
//! The guest `caller` answers `/adds?n=N` by `N` calls of `add: func(a: u32, b: u32) -> u32` in
//! `callee`. A figure is the difference between requests that differ only in their calls, round by
//! round, in processor time of the host under load:
//!
//! - fresh: one call and none, the callee instantiated for every request;
//! - reused: one call and none, the callee's instance reused by request after request;
//! - further: many calls and one, on the revision that the request has leased already.

use super::harness::{Manifest, scratch};
use super::load::{self, Load};
use super::process::{Announces, Cores, Server};
use super::settings::Settings;
use super::start;
use super::table::{Aim, Row, Spread, Table, number};

/// Calls beyond the first, enough that the request around them is small beside them.
const FURTHER: u32 = 1000;

const UNIT: &str = "µs CPU per call";

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

/// Processor time per request without a call, with one, and with [`FURTHER`] more.
struct Round {
    none: f64,
    one: f64,
    many: f64,
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
    let (fresh_host, reused_host) = (host(1), host(1000));
    let (mut fresh, mut reused) = (Vec::new(), Vec::new());
    for _ in 0..settings.rounds {
        fresh.push(round(&fresh_host.0, settings, cores));
        reused.push(round(&reused_host.0, settings, cores));
    }
    let first_call =
        |rounds: &[Round]| Spread::of(rounds.iter().map(|round| round.one - round.none));
    let around = |rounds: &[Round]| {
        let none = Spread::of(rounds.iter().map(|round| round.none));
        format!(
            "{} µs CPU per request without a call",
            number(none.median())
        )
    };
    let further = Spread::of(
        fresh
            .iter()
            .chain(&reused)
            .map(|round| (round.many - round.one) / f64::from(FURTHER)),
    );
    let row = |of: &str, spread: &Spread, aim: f64| {
        Row::new("typed call `add(u32, u32) -> u32`", of, spread, UNIT).aim(spread, Aim(aim), "µs")
    };
    let spread = first_call(&fresh);
    table.add(
        row(
            "fresh callee: one call per request, less none",
            &spread,
            8.0,
        )
        .beside(around(&fresh)),
    );
    let spread = first_call(&reused);
    table.add(
        row(
            "callee reused between requests: one call per request, less none",
            &spread,
            3.0,
        )
        .beside(around(&reused)),
    );
    table.add(
        row("each of the further calls of one request", &further, 3.0)
            .beside(format!("{FURTHER} further calls in a request")),
    );
}

fn round(server: &Server, settings: &Settings, cores: Option<Cores>) -> Round {
    let cpu_micros = |calls: u32| {
        let path = format!("/adds?n={calls}");
        let load = Load {
            path: &path,
            connections: settings.connections,
            run: settings.run,
        };
        load::run(&load, server, cores).cpu_micros
    };
    Round {
        none: cpu_micros(0),
        one: cpu_micros(1),
        many: cpu_micros(1 + FURTHER),
    }
}
