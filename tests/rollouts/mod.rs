//! Rollouts: any component can be replaced under traffic, nothing is dropped, and what is bad does
//! not come to serve.
//!
//! Most tests run the guest `candidate`, whose environment says which revision it is and what is
//! wrong with it, so that a swap of its configuration is a swap to another behaviour.

mod apply;
mod canary;
mod commands;
mod conversion;
mod crash;
mod drain;
mod gate;
mod history;
pub mod load;
mod migration;
mod one_revision;
mod order;
mod pinning;
mod resources;
mod restart;
pub mod soak;
pub mod timeline;
mod under_load;

use crate::harness::{Client, Host, Launch, Manifest, Operator};

/// `candidate` as revision "one" on every path, and subscribed to `work`. `keys` are its own keys;
/// `more` goes on with its environment, and may begin further tables. A message is delivered once.
fn manifest(keys: &str, more: &str) -> Manifest {
    Manifest::new(&text(keys, more))
}

fn text(keys: &str, more: &str) -> String {
    format!(
        r#"
[[route]]
path = "/..."
component = "candidate"

[[subscription]]
subject = "work"
component = "candidate"
deliveries = 1

[component.candidate]
artifact = "{{candidate.wasm}}"
{keys}
[component.candidate.grants]
keyvalue = ["default"]
publish = ["work"]
[component.candidate.environment]
REVISION = "one"
{more}
"#
    )
}

/// `caller` calls `callee`, which is revision "one".
fn typed() -> Manifest {
    Manifest::new(
        r#"
[component.caller]
artifact = "{caller.wasm}"
[component.callee]
artifact = "{callee.wasm}"
[component.callee.environment]
REVISION = "one"
[[route]]
path = "/..."
component = "caller"
"#,
    )
}

/// A host that serves `candidate`, and its operator.
async fn host(keys: &str, more: &str) -> (Host, Operator) {
    let host = Launch::of(&manifest(keys, more)).start().await;
    let operator = Operator::of(&host);
    (host, operator)
}

/// Which revision answers.
async fn serves(client: &Client) -> String {
    client.get("/work").await.expect(200).text()
}

/// Waits until one piece of HTTP work is under way on the active revision.
async fn at_work(operator: &Operator, component: &str) {
    let what = format!("{component} is at work");
    let within = std::time::Duration::from_secs(20);
    crate::harness::eventually(&what, within, async || {
        let living = operator.living(component).await;
        let working = |each: &serde_json::Value| each["requests"].as_u64() > Some(0);
        living.iter().any(working).then_some(())
    })
    .await;
}

/// Every file below a directory.
fn files_below(dir: &std::path::Path) -> Vec<std::path::PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(dir).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.is_dir() {
            found.extend(files_below(&path));
        } else {
            found.push(path);
        }
    }
    found
}
