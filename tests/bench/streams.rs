//! Messages: through a component that does nothing, and through a consumer in plain Rust beside it on
//! the same kind of Redis; from one host and from several; and what a thousand idle subscriptions
//! cost.

use std::net::SocketAddr;

use super::harness::manifest::Scratch;
use super::harness::{Launch, Manifest, RedisServer};
use super::redis::fleet::on_redis;
use super::settings::Settings;
use super::table::Table;
use super::{idle, latency, throughput};

/// What the messages go through.
pub const SUBJECT: &str = "work";

/// Bytes of a message: an event with a few fields.
pub const BODY_BYTES: u32 = 200;

/// Deliveries at once, of a host and of the consumer that it is compared with.
pub const CONCURRENCY: usize = 32;

pub fn measure(settings: &Settings, table: &mut Table) {
    let runtime = tokio::runtime::Runtime::new().expect("the machine has threads");
    runtime.block_on(throughput::measure(settings, table));
    runtime.block_on(throughput::measure_hosts(settings, table));
    runtime.block_on(latency::measure(settings, table));
    runtime.block_on(idle::measure(settings, table));
    table.note(format!(
        "Messages of {BODY_BYTES} bytes, at most {CONCURRENCY} at once, acknowledged one by one. Redis: \
         append-only file, appendfsync everysec; a new server for each run, on the same cores as \
         hosts and consumers. The embedded store has every step on disk."
    ));
}

/// A server as most are run.
pub fn redis() -> RedisServer {
    let append_only = ["--appendonly", "yes", "--appendfsync", "everysec"];
    RedisServer::with(&[&["--save", ""], &append_only[..]].concat())
}

/// The stream's key on Redis.
pub fn key() -> String {
    format!("wharf:{{{SUBJECT}}}:entries")
}

/// Whether a delivery finds an instance that served others.
#[derive(Clone, Copy, PartialEq)]
pub enum Instances {
    Fresh,
    Reused,
}

/// An application that publishes.
pub fn sends() -> String {
    format!(
        "[component.sender]\nartifact = \"{{sender.wasm}}\"\n\
         [component.sender.grants]\npublish = [\"{SUBJECT}\"]\n\
         [[route]]\npath = \"/...\"\ncomponent = \"sender\"\n\
         [stream.{SUBJECT}]\nlength_max = 10000000\n"
    )
}

/// An application that handles what is published.
pub fn handles(instances: Instances) -> String {
    let reuse = match instances {
        Instances::Fresh => "",
        Instances::Reused => "[component.noop.reuse]\nrequests = 1000\n",
    };
    format!(
        "[component.noop]\nartifact = \"{{noop.wasm}}\"\n{reuse}\
         [[subscription]]\nsubject = \"{SUBJECT}\"\ncomponent = \"noop\"\n\
         concurrency = {CONCURRENCY}\n"
    )
}

/// A host of this application on Redis. Its log is of no interest but for what guests write.
pub fn on(redis: &RedisServer, name: &str, application: &str, state: &Scratch) -> Launch {
    let server = SocketAddr::from(([127, 0, 0, 1], redis.port()));
    embedded(application, state).host_config(&on_redis(name, server, ""))
}

/// A host of this application on its embedded store.
pub fn embedded(application: &str, state: &Scratch) -> Launch {
    let launch = Launch::of(&Manifest::new(application)).state(state);
    launch.environment("WHARF_LOG", "error,wharf::guest=info")
}
