//! Where artifacts come from: URLs, registries, core modules. And where they go.

mod applications;
mod artifact;
mod files;
mod person;

use std::path::Path;

use serde_json::json;

use crate::harness::registry::{PASSWORD, USER};
use crate::harness::{Client, Launch, Manifest, Registry, guest, variant};
use artifact::{blob, blob_of, digest, hex, manifest, manifest_of};
use files::Files;
use person::{Person, Serving};

const WASM: &str = "application/wasm";
const WASM_CONFIG: &str = "application/vnd.wasm.config.v0+json";
const MODULE_TEXT: &str = "random bytes from WASI 0.1";

/// The core module, which has no file name that a manifest could run.
fn module() -> Vec<u8> {
    std::fs::read(guest("preview1")).unwrap()
}

fn hello() -> Vec<u8> {
    std::fs::read(guest("hello")).unwrap()
}

fn one_component(artifact: &str) -> Manifest {
    Manifest::new(&format!(
        "[component.front]\nartifact = {artifact}\n\
         [[route]]\npath = \"/...\"\ncomponent = \"front\"\n"
    ))
}

fn path_of(path: &Path) -> &str {
    path.to_str().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_pushed_is_a_wasm_artifact_and_comes_back_as_it_was() {
    let (registry, person) = (Registry::start(), Person::new());
    let reference = registry.reference("tools/hello:1");
    let said = person.succeeds(&["push", path_of(&guest("hello")), &reference]);

    let manifest = manifest_of(&registry, "tools/hello", "1").await;
    assert_eq!(manifest["config"]["mediaType"], WASM_CONFIG);
    assert_eq!(manifest["layers"][0]["mediaType"], WASM);
    assert_eq!(manifest["layers"].as_array().unwrap().len(), 1);
    let config = blob_of(&registry, "tools/hello", &manifest["config"]).await;
    let config: serde_json::Value = serde_json::from_slice(&config).unwrap();
    assert_eq!(config["architecture"], "wasm");
    assert_eq!(config["os"], "wasip2");
    assert_eq!(config["layerDigests"], json!([digest(&hello())]));
    let exports = config["component"]["exports"].as_array().unwrap();
    assert!(
        exports.contains(&json!("wasi:http/incoming-handler@0.2.2")),
        "{config}"
    );

    person.succeeds(&["pull", &format!("oci://{reference}")]);
    assert!(person.file("hello.wasm") == hello());
    // The digest that pushing prints names the same, and pushing again changes nothing.
    let by_digest = said
        .lines()
        .find_map(|line| line.strip_prefix("digest "))
        .unwrap();
    let pinned = registry.reference(&format!("tools/hello@{by_digest}"));
    person.succeeds(&["pull", &pinned, "-o", "pinned.wasm"]);
    assert!(person.file("pinned.wasm") == hello());
    assert_eq!(
        person.succeeds(&["push", path_of(&guest("hello")), &reference]),
        said
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_manifest_takes_components_from_registries_and_urls_and_modules_become_components() {
    let (registry, person, files) = (Registry::start(), Person::new(), Files::start().await);
    let reference = registry.reference("hello3");
    person.succeeds(&["push", path_of(&guest("hello3")), &reference]);
    let url = files.put("old.wasm", module());
    let manifest = Manifest::new(&format!(
        "[component.old]\nartifact = {{ path = \"{url}\", sha256 = \"{}\" }}\n\
         [component.new]\nartifact = \"oci://{reference}\"\n\
         [[route]]\npath = \"/old\"\ncomponent = \"old\"\n\
         [[route]]\npath = \"/...\"\ncomponent = \"new\"\n",
        hex(&module())
    ));
    let note = person.wharf(&["check", path_of(manifest.path())]);
    let note = String::from_utf8_lossy(&note.stderr).into_owned();
    assert!(
        note.contains("not built or fetched yet, so not checked: new, old"),
        "{note}"
    );
    assert_eq!(files.asked("old.wasm"), 0, "checking asks nobody");

    let host = person.launch(Launch::of(&manifest)).start().await;
    assert_eq!(
        host.client().get("/old").await.expect(200).text(),
        MODULE_TEXT
    );
    assert_eq!(host.client().get("/").await.expect(200).text(), "hello");
    host.stop().await;
    // Now that both are there they are checked.
    let note = person.wharf(&["check", path_of(manifest.path())]);
    assert_eq!(String::from_utf8_lossy(&note.stderr), "");

    // What is pinned cannot have changed, and is not fetched again.
    let host = person.launch(Launch::of(&manifest)).start().await;
    host.stop().await;
    assert_eq!(files.asked("old.wasm"), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_pinned_is_fetched_at_each_start_and_taken_from_the_cache_offline() {
    let (mut registry, person, files) = (Registry::start(), Person::new(), Files::start().await);
    let reference = registry.reference("hello:latest");
    person.succeeds(&["push", path_of(&guest("hello")), &reference]);
    let url = files.put("a.wasm", hello());
    let manifest = Manifest::new(&format!(
        "[component.a]\nartifact = \"{url}\"\n[component.b]\nartifact = \"oci://{reference}\"\n\
         [[route]]\npath = \"/...\"\ncomponent = \"a\"\n\
         [[route]]\npath = \"/...\"\nhost = \"b\"\ncomponent = \"b\"\n",
    ));
    let host = person.launch(Launch::of(&manifest)).start().await;
    let unpinned = host.log();
    assert!(
        unpinned.contains("is fetched again at each start"),
        "{unpinned}"
    );
    host.stop().await;

    // What is there instead is what runs.
    files.put("a.wasm", module());
    let host = person.launch(Launch::of(&manifest)).start().await;
    assert_eq!(host.client().get("/").await.expect(200).text(), MODULE_TEXT);
    host.stop().await;
    assert_eq!(files.asked("a.wasm"), 2);

    // Nobody answers: what was fetched last runs, and a warning says so.
    registry.kill();
    drop(files);
    let host = person.launch(Launch::of(&manifest)).start().await;
    assert_eq!(host.client().get("/").await.expect(200).text(), MODULE_TEXT);
    let warned = host.log();
    for source in [&url, &format!("oci://{reference}")] {
        let warning = format!("{source} cannot be reached");
        assert!(warned.contains(&warning), "{warned}");
    }
    host.stop().await;

    // Whoever has no cache has nothing.
    let stranger = Person::new();
    let failed = stranger.launch(Launch::of(&manifest)).try_start().await;
    let failed = failed.err().expect("there is nothing to run");
    assert!(
        failed.contains("the artifact of component a cannot be had"),
        "{failed}"
    );
    assert!(
        failed.contains(&format!("{url} cannot be reached")),
        "{failed}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn each_way_not_to_have_an_artifact_is_told_apart() {
    let (registry, person, files) = (Registry::start(), Person::new(), Files::start().await);
    let reference = registry.reference("hello:1");
    person.succeeds(&["push", path_of(&guest("hello")), &reference]);
    let image = registry.reference("image:1");
    let config = blob(
        &registry,
        "image",
        "application/vnd.oci.image.config.v1+json",
        b"{}",
    )
    .await;
    let layer = "application/vnd.oci.image.layer.v1.tar+gzip";
    let layer = blob(&registry, "image", layer, b"an archive").await;
    manifest(&registry, "image", "1", config, json!([layer])).await;
    let url = files.put("a.wasm", hello());
    let page = files.put("page.html", "<html>");
    let foreign = files.put("foreign.wasm", foreign_module());
    let other = "0".repeat(64);
    for (artifact, reasons) in [
        (
            format!("{{ path = \"{url}\", sha256 = \"{other}\" }}"),
            vec![
                format!("{url} has the digest sha256:{}", hex(&hello())),
                other.clone(),
            ],
        ),
        (
            format!("{{ path = \"oci://{reference}\", sha256 = \"{other}\" }}"),
            vec![format!(
                "oci://{reference} has the digest sha256:{}",
                hex(&hello())
            )],
        ),
        (
            format!("\"{url}.gone\""),
            vec![
                format!("{url}.gone does not exist"),
                "404 Not Found".to_owned(),
            ],
        ),
        (
            format!("\"{page}\""),
            vec![format!(
                "{page} is neither a WebAssembly component nor a module"
            )],
        ),
        (
            format!("\"{foreign}\""),
            vec![
                format!("{foreign} is a core module, and no component can be made of it"),
                "env".to_owned(),
            ],
        ),
        (
            format!("\"oci://{}\"", registry.reference("hello:2")),
            vec!["does not exist".to_owned(), "manifest unknown".to_owned()],
        ),
        (
            format!("\"oci://{image}\""),
            vec![
                format!("oci://{image} is not one component"),
                "application/vnd.oci.image.config.v1+json".to_owned(),
            ],
        ),
    ] {
        let manifest = one_component(&artifact);
        let failed = person.launch(Launch::of(&manifest)).try_start().await;
        let failed = failed.err().unwrap_or_else(|| panic!("{artifact} starts"));
        for reason in reasons {
            assert!(
                failed.contains(&reason),
                "{artifact}: no {reason:?} in {failed}"
            );
        }
    }
    for (artifact, what) in [
        ("\"oci://No Reference\"", "is not an OCI reference"),
        ("\"https://\"", "is not a URL"),
    ] {
        let manifest = one_component(artifact);
        let failed = person.fails(&["check", path_of(manifest.path())]);
        let place = format!(
            ":{}: component.front.artifact: {what}",
            manifest.line_of("artifact")
        );
        assert!(failed.contains(&place), "{failed}");
    }
    let manifest = one_component(&format!(
        "\"oci://{reference}\"\n[component.front.build]\ncommand = \"make\""
    ));
    let failed = person.fails(&["check", path_of(manifest.path())]);
    assert!(
        failed.contains("component.front.build: makes an artifact that is fetched"),
        "{failed}"
    );
}

/// A module with an import of which nobody knows anything.
fn foreign_module() -> Vec<u8> {
    b"\0asm\x01\0\0\0\x01\x04\x01\x60\0\0\x02\x09\x01\x03env\x01f\0\0".to_vec()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_docker_configuration_says_who_we_are() {
    let registry = Registry::with_users();
    let reference = registry.reference("private/hello:1");
    let hello = guest("hello");
    let (nobody, known) = (Person::new(), Person::logged_in(&registry, PASSWORD));
    let wrong = Person::logged_in(&registry, "a guess");

    let login = format!("docker login 127.0.0.1:{}", registry.port);
    let refused = nobody.fails(&["push", path_of(&hello), &reference]);
    assert!(
        refused.contains("is not for us") && refused.contains(&login),
        "{refused}"
    );
    known.succeeds(&["push", path_of(&hello), &reference]);
    known.succeeds(&["pull", &reference]);
    assert!(known.file("hello.wasm") == self::hello());
    let refused = nobody.fails(&["pull", &reference]);
    assert!(
        refused.contains("is not for us") && refused.contains(&login),
        "{refused}"
    );
    let refused = wrong.fails(&["pull", &reference]);
    assert!(refused.contains(&format!("asked as {USER}")), "{refused}");
    assert!(!refused.contains("a guess"), "{refused}");

    // A configuration that cannot be used is told, rather than that nobody is refused.
    std::fs::write(wrong.home.path().join("docker/config.json"), "{").unwrap();
    let unusable = wrong.fails(&["pull", &reference]);
    assert!(unusable.contains("cannot be used"), "{unusable}");
    assert!(unusable.contains("docker/config.json"), "{unusable}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_component_is_swapped_in_from_a_registry_and_from_a_url() {
    let (registry, person, files) = (Registry::start(), Person::new(), Files::start().await);
    let other = variant(&hello(), "another");
    let reference = registry.reference("hello:2");
    let file = person.home.path().join("other.wasm");
    std::fs::write(&file, &other).unwrap();
    person.succeeds(&["push", path_of(&file), &reference]);
    let host = Launch::of(&Manifest::serving("hello", "")).start().await;
    let state = host.state().path().display().to_string();
    let named = format!("oci://{reference}");
    let swap = |artifact: &str, sha256: &str| {
        let mut arguments = vec!["swap", "hello", artifact, "--state-dir", &state];
        if !sha256.is_empty() {
            arguments.extend(["--sha256", sha256]);
        }
        person.wharf(&arguments)
    };
    assert!(
        !swap(&named, &hex(&hello())).status.success(),
        "the digest is another"
    );
    let swapped = swap(&named, &hex(&other));
    let text = String::from_utf8_lossy(&swapped.stderr).into_owned();
    assert!(swapped.status.success(), "{text}");
    let revisions = person.succeeds(&["revisions", "hello", "--state-dir", &state]);
    assert!(revisions.contains(&hex(&other)[..12]), "{revisions}");

    let url = files.put("old.wasm", module());
    let swapped = swap(&url, &hex(&module()));
    let text = String::from_utf8_lossy(&swapped.stderr).into_owned();
    assert!(swapped.status.success(), "{text}");
    assert_eq!(host.client().get("/").await.expect(200).text(), MODULE_TEXT);
    host.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn artifacts_of_older_tools_are_read() {
    let (registry, person) = (Registry::start(), Person::new());
    for (tag, config, layer) in [
        (
            "1",
            WASM_CONFIG,
            "application/vnd.bytecodealliance.wasm.component.layer.v0+wasm",
        ),
        (
            "2",
            "application/vnd.wasm.config.v1+json",
            "application/vnd.wasm.content.layer.v1+wasm",
        ),
    ] {
        let config = blob(&registry, "old", config, b"{}").await;
        let layer = blob(&registry, "old", layer, &hello()).await;
        manifest(&registry, "old", tag, config, json!([layer])).await;
        let reference = registry.reference(&format!("old:{tag}"));
        person.succeeds(&["pull", &reference, "-o", "old.wasm"]);
        assert!(person.file("old.wasm") == hello());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_component_is_served_from_a_registry() {
    let (registry, person) = (Registry::start(), Person::new());
    let reference = registry.reference("tools/hello:1");
    person.succeeds(&["push", path_of(&guest("hello")), &reference]);
    let named = format!("oci://{reference}");
    let host = Serving::start(&person, &named);
    let client = Client::http1(host.http);
    assert_eq!(client.get("/").await.expect(200).text(), "hello");
}
