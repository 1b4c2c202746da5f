//! Artifacts as other tools leave them in a registry, put there by hand.

use base64::Engine as _;
use serde_json::{Value, json};
use sha2::Digest as _;

use crate::harness::client::full;
use crate::harness::registry::{PASSWORD, USER};
use crate::harness::{Client, Registry, Reply};

/// The digest of `bytes`, as registries write it.
pub fn digest(bytes: &[u8]) -> String {
    format!("sha256:{}", hex(bytes))
}

/// The SHA-256 of `bytes` in hexadecimal digits.
pub fn hex(bytes: &[u8]) -> String {
    let digest = sha2::Sha256::digest(bytes);
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn client(registry: &Registry) -> Client {
    Client::http1(([127, 0, 0, 1], registry.port).into())
}

async fn send(registry: &Registry, method: &str, path: &str, kind: &str, body: Vec<u8>) -> Reply {
    let basic = format!("{USER}:{PASSWORD}");
    let basic = base64::engine::general_purpose::STANDARD.encode(basic);
    let client = client(registry);
    let request = client
        .request(method, path)
        .header("authorization", format!("Basic {basic}"))
        .header("content-type", kind)
        .header("accept", "application/vnd.oci.image.manifest.v1+json");
    client.send(request.body(full(body)).unwrap()).await
}

/// Puts a blob there; its descriptor.
pub async fn blob(registry: &Registry, name: &str, kind: &str, bytes: &[u8]) -> Value {
    let path = format!("/v2/{name}/blobs/uploads/");
    let begun = send(registry, "POST", &path, "text/plain", Vec::new()).await;
    let begun = begun.expect(202);
    let location: http::Uri = begun.header("location").unwrap().parse().unwrap();
    let digest = digest(bytes);
    let path = format!("{}&digest={digest}", location.path_and_query().unwrap());
    let kind_of_body = "application/octet-stream";
    let put = send(registry, "PUT", &path, kind_of_body, bytes.to_vec()).await;
    put.expect(201);
    json!({ "mediaType": kind, "digest": digest, "size": bytes.len() })
}

/// Puts a manifest there, of descriptors.
pub async fn manifest(registry: &Registry, name: &str, tag: &str, config: Value, layers: Value) {
    let kind = "application/vnd.oci.image.manifest.v1+json";
    let manifest = json!({
        "schemaVersion": 2, "mediaType": kind, "config": config, "layers": layers,
    });
    let path = format!("/v2/{name}/manifests/{tag}");
    let body = manifest.to_string().into_bytes();
    send(registry, "PUT", &path, kind, body).await.expect(201);
}

/// The manifest that is there.
pub async fn manifest_of(registry: &Registry, name: &str, tag: &str) -> Value {
    let path = format!("/v2/{name}/manifests/{tag}");
    let got = send(registry, "GET", &path, "text/plain", Vec::new()).await;
    got.expect(200).json()
}

/// The blob that a descriptor names.
pub async fn blob_of(registry: &Registry, name: &str, descriptor: &Value) -> Vec<u8> {
    let digest = descriptor["digest"].as_str().unwrap();
    let path = format!("/v2/{name}/blobs/{digest}");
    let got = send(registry, "GET", &path, "text/plain", Vec::new()).await;
    got.expect(200).body.to_vec()
}
