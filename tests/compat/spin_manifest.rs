//! `wharf up spin.toml`: a manifest of Spin's runs as it is.

mod commands;
mod outbound;
mod requests;
mod state;

use serde_json::Value;

use crate::harness::client::{Client, Reply, empty};
use crate::harness::{Launch, Manifest};

/// A manifest with `more` in it.
fn manifest(more: &str) -> Manifest {
    Manifest::spin(&format!(
        "spin_manifest_version = 2\n[application]\nname = \"tested\"\nversion = \"1.2.3\"\n{more}"
    ))
}

/// A guest as a component, with more keys.
fn component(name: &str, guest: &str, more: &str) -> String {
    format!("[component.{name}]\nsource = \"{{{guest}.wasm}}\"\n{more}\n")
}

/// A route to a component.
fn route(route: &str, component: &str) -> String {
    format!("[[trigger.http]]\nroute = {route}\ncomponent = \"{component}\"\n")
}

/// One guest on every path.
fn serving(guest: &str, more: &str) -> Manifest {
    manifest(&format!(
        "{}{}",
        route("\"/...\"", "web"),
        component("web", guest, more)
    ))
}

fn launch(manifest: &Manifest) -> Launch {
    Launch::of(manifest)
}

/// A request with headers of its own.
async fn get(client: &Client, path: &str, headers: &[(&str, &str)]) -> Reply {
    let mut request = client.request("GET", path);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    client.send(request.body(empty()).unwrap()).await
}

/// The values of a header that the guest was sent.
fn header<'a>(facts: &'a Value, name: &str) -> Vec<&'a str> {
    let headers = facts["headers"].as_array().expect("a list").iter();
    headers
        .filter(|header| header[0] == name)
        .map(|header| header[1].as_str().expect("a text"))
        .collect()
}
