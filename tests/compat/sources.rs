//! Where artifacts come from: URLs, registries, core modules. And where they go.

mod artifact;
mod files;

use std::path::Path;
use std::process::Output;

use serde_json::json;

use crate::harness::manifest::Scratch;
use crate::harness::registry::{PASSWORD, USER};
use crate::harness::{Launch, Manifest, Registry, artifacts, guest, scratch, variant};
use artifact::{blob, blob_of, digest, hex, manifest, manifest_of};
use files::Files;

const WASM: &str = "application/wasm";
const WASM_CONFIG: &str = "application/vnd.wasm.config.v0+json";
const MODULE_TEXT: &str = "random bytes from WASI 0.1";

/// Somebody at a machine: a cache and a Docker configuration of their own.
struct Person {
    home: Scratch,
}

impl Person {
    fn new() -> Self {
        let home = scratch();
        std::fs::create_dir(home.path().join("docker")).unwrap();
        Self { home }
    }

    /// Who has logged in to `registry`, with this password.
    fn logged_in(registry: &Registry, password: &str) -> Self {
        use base64::Engine as _;
        let person = Self::new();
        let auth = format!("{USER}:{password}");
        let auth = base64::engine::general_purpose::STANDARD.encode(auth);
        let config =
            json!({ "auths": { registry.reference("").trim_end_matches('/'): { "auth": auth } } });
        let path = person.home.path().join("docker/config.json");
        std::fs::write(path, config.to_string()).unwrap();
        person
    }

    fn environment(&self) -> [(&'static str, String); 2] {
        let path = |name| self.home.path().join(name).display().to_string();
        [
            ("XDG_CACHE_HOME", path("cache")),
            ("DOCKER_CONFIG", path("docker")),
        ]
    }

    /// Runs a `wharf` command in their home.
    fn wharf(&self, arguments: &[&str]) -> Output {
        let mut command = artifacts::command();
        command.args(arguments).envs(self.environment());
        command.current_dir(self.home.path());
        command.output().expect("the host was built")
    }

    /// The same, which must succeed; its standard output.
    #[track_caller]
    fn succeeds(&self, arguments: &[&str]) -> String {
        let output = self.wharf(arguments);
        let error = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "wharf {arguments:?}: {error}");
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    /// The same, which must fail; its standard error.
    #[track_caller]
    fn fails(&self, arguments: &[&str]) -> String {
        let output = self.wharf(arguments);
        let error = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(!output.status.success(), "wharf {arguments:?}: {error}");
        error
    }

    fn launch(&self, launch: Launch) -> Launch {
        let environment = self.environment();
        environment.iter().fold(launch, |launch, (name, value)| {
            launch.environment(name, value)
        })
    }

    fn file(&self, name: &str) -> Vec<u8> {
        std::fs::read(self.home.path().join(name)).unwrap()
    }
}

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
async fn an_application_is_pushed_and_runs_elsewhere() {
    let (mut registry, person) = (Registry::start(), Person::new());
    let manifest = Manifest::new(
        "[component.hello]\nartifact = \"{hello.wasm}\"\nenvironment.GREETING = \"ahoy\"\n\
         [component.hello.build]\ncommand = \"echo it is built already\"\n\
         [component.callee]\nartifact = \"{callee.wasm}\"\n\
         [[route]]\npath = \"/...\"\ncomponent = \"hello\"\n",
    );
    let reference = registry.reference("apps/shop:1");
    person.succeeds(&["push", "--no-build", path_of(manifest.path()), &reference]);

    let elsewhere = Person::new();
    let named = format!("oci://{reference}");
    let host = elsewhere
        .launch(Launch::at(Path::new(&named)))
        .start()
        .await;
    let greeting = host.client().get("/env?name=GREETING").await;
    assert_eq!(greeting.expect(200).text(), "ahoy");
    host.stop().await;
    // It is no component.
    let refused = elsewhere.fails(&["inspect", &named]);
    assert!(
        refused.contains(&format!("run it with: wharf up {named}")),
        "{refused}"
    );
    // As a directory it can be looked at and changed.
    let said = elsewhere.succeeds(&["pull", &reference, "-o", "shop"]);
    assert_eq!(said.trim(), "shop/application.toml");
    assert!(elsewhere.file("shop/hello.wasm") == hello());
    let refused = elsewhere.fails(&["pull", &reference, "-o", "shop"]);
    assert!(refused.contains("shop is there already"), "{refused}");

    registry.kill();
    let host = elsewhere
        .launch(Launch::at(Path::new(&named)))
        .start()
        .await;
    assert_eq!(host.client().get("/").await.expect(200).text(), "hello");
    assert!(host.log().contains("what was pulled last is used"));
    host.stop().await;
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
async fn a_spin_application_becomes_a_directory_with_its_manifest_and_files() {
    let (registry, person) = (Registry::start(), Person::new());
    spin_application(&registry).await;
    let reference = registry.reference("spin/shop:1");
    let said = person.succeeds(&["pull", &reference]);
    assert_eq!(said.trim(), "shop/spin.toml");
    assert!(person.file("shop/components/front.wasm") == hello());
    assert_eq!(person.file("shop/files/front/a.txt"), b"file\n");
    assert_eq!(person.file("shop/files/front/empty.txt"), b"");
    let manifest: toml::Table =
        toml::from_str(&String::from_utf8(person.file("shop/spin.toml")).unwrap()).unwrap();
    assert_eq!(
        manifest["trigger"]["http"][0]["route"].as_str(),
        Some("/...")
    );
}

/// An application as `spin registry push` leaves it: the locked application is a layer.
async fn spin_application(registry: &Registry) {
    let name = "spin/shop";
    let wasm = "application/vnd.wasm.content.layer.v1+wasm";
    let data = "application/vnd.wasm.content.layer.v1+data";
    let front = blob(registry, name, wasm, &hello()).await;
    let file = blob(registry, name, data, b"file\n").await;
    let mut empty = blob(registry, name, data, b"\0\0").await;
    empty["annotations"] = json!({ "com.fermyon.spin.application.layer.isEmpty": "true" });
    let locked = json!({
        "spin_lock_version": 0,
        "metadata": { "name": "shop", "trigger": { "type": "http" } },
        "triggers": [{ "id": "trigger--front", "trigger_type": "http",
            "trigger_config": { "component": "front", "route": "/..." } }],
        "components": [{
            "id": "front",
            "source": { "content_type": WASM, "digest": front["digest"] },
            "env": { "GREETING": "ahoy" },
            "files": [
                { "path": "a.txt", "digest": file["digest"] },
                { "path": "empty.txt", "digest": empty["digest"] },
            ],
        }],
    });
    let kind = "application/vnd.fermyon.spin.application.v1+config";
    let locked = blob(registry, name, kind, locked.to_string().as_bytes()).await;
    let config = json!({ "architecture": "wasm", "os": "Wasip1" }).to_string();
    let kind = "application/vnd.oci.image.config.v1+json";
    let config = blob(registry, name, kind, config.as_bytes()).await;
    let layers = json!([front, file, empty, locked]);
    manifest(registry, name, "1", config, layers).await;
}
