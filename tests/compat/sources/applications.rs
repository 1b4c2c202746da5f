//! Whole applications in registries, and components that are composed of several.

use std::path::Path;

use serde_json::json;

use super::artifact::{blob, digest, manifest};
use super::files::Files;
use super::person::Person;
use super::{WASM, hello, path_of};
use crate::harness::{Launch, Manifest, Registry, guest};

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

#[tokio::test(flavor = "multi_thread")]
async fn a_spin_application_runs_from_a_registry() {
    let (registry, person) = (Registry::start(), Person::new());
    spin_application(&registry).await;
    let named = format!("oci://{}", registry.reference("spin/shop:1"));
    let host = person.launch(Launch::at(Path::new(&named))).start().await;
    let greeting = host.client().get("/env?name=GREETING").await;
    assert_eq!(greeting.expect(200).text(), "ahoy");
    host.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn dependencies_are_composed_into_a_component() {
    let (registry, person, files) = (Registry::start(), Person::new(), Files::start().await);
    let reference = registry.reference("callee:1");
    person.succeeds(&["push", path_of(&guest("callee")), &reference]);
    let callee = std::fs::read(guest("callee")).unwrap();
    let url = files.put("callee.wasm", callee.clone());
    let caller = guest("caller");
    let application = |dependencies: &str| {
        let manifest = Manifest::raw(&format!(
            "spin_manifest_version = 2\n[application]\nname = \"composed\"\n\
             [[trigger.http]]\nroute = \"/...\"\ncomponent = \"caller\"\n\
             [component.caller]\nsource = \"{}\"\ndependencies_inherit_configuration = true\n\
             [component.caller.dependencies]\n{dependencies}\n",
            caller.display()
        ));
        person.launch(Launch::of(&manifest))
    };
    // By its package a dependency satisfies all interfaces of it.
    let digest = digest(&callee);
    let host = application(&format!(
        "\"wharf:fixtures\" = {{ url = \"{url}\", digest = \"{digest}\" }}"
    ));
    let host = host.start().await;
    assert_eq!(
        host.client().get("/add?a=2&b=3").await.expect(200).text(),
        "5"
    );
    host.stop().await;

    for (dependencies, reason) in [
        (
            format!(
                "\"wharf:absent/thing@1.0.0\" = {{ path = \"{}\" }}",
                guest("callee").display()
            ),
            "the component does not import wharf:absent/thing@1.0.0; what it imports: ",
        ),
        (
            format!(
                "\"wharf:fixtures/arithmetic\" = {{ path = \"{}\" }}",
                guest("hello").display()
            ),
            "the dependency for wharf:fixtures/arithmetic@0.1.0 does not export \
             wharf:fixtures/arithmetic@0.1.0; what it exports: ",
        ),
        (
            format!(
                "\"wharf:fixtures/arithmetic\" = {{ path = \"{}\", export = \
                 \"wharf:fixtures/shapes\" }}",
                guest("callee").display()
            ),
            "the dependency's wharf:fixtures/shapes@0.1.0 does not satisfy \
             wharf:fixtures/arithmetic@0.1.0",
        ),
    ] {
        let failed = application(&dependencies).try_start().await;
        let failed = failed
            .err()
            .unwrap_or_else(|| panic!("{dependencies} starts"));
        assert!(failed.contains("its dependencies do not fit"), "{failed}");
        assert!(failed.contains(reason), "{failed}");
    }
}
