use std::path::Path;

use crate::manifest::model::{Application, Component, MountSource, Source};
use crate::manifest::resolve;

fn application(spec: &str) -> Application {
    let text = format!(
        "apiVersion: runtime.wasmcloud.dev/v1alpha1\nkind: Workload\nmetadata: {{name: x}}\nspec:\n{spec}"
    );
    let loaded = resolve(&text, Path::new("/app/x.yaml"));
    loaded
        .unwrap_or_else(|problems| panic!("{problems}"))
        .application
}

fn component(more: &str) -> Component {
    let spec = format!("  components:\n    - name: a\n      image: ./a.wasm\n{more}");
    application(&spec).components["a"].clone()
}

#[test]
fn an_image_is_a_path_or_a_reference() {
    let image = |image: &str| {
        let spec = format!("  components:\n    - {{name: a, image: \"{image}\"}}\n");
        application(&spec).components["a"].artifact.clone()
    };
    for (written, path) in [
        ("./a.wasm", "/app/./a.wasm"),
        ("../a", "/app/../a"),
        ("/b/a.wasm", "/b/a.wasm"),
        ("file:///b/a", "/b/a"),
        ("file://a", "/app/a"),
        ("build/a.wasm", "/app/build/a.wasm"),
    ] {
        let artifact = image(written);
        assert_eq!(artifact.path, Path::new(path), "{written}");
        assert_eq!(artifact.origin, None, "{written}");
    }
    for (written, reference) in [
        ("ghcr.io/a/b:1", "ghcr.io/a/b:1"),
        ("oci://ghcr.io/a/b:1", "ghcr.io/a/b:1"),
        ("localhost:5000/a@sha256:ab", "localhost:5000/a@sha256:ab"),
    ] {
        let origin = image(written).origin.expect(written);
        assert_eq!(
            origin.source,
            Source::Oci(reference.to_owned()),
            "{written}"
        );
    }
}

#[test]
fn a_pool_keeps_instances_and_nothing_else_does() {
    let fresh = component("").reuse;
    assert_eq!(
        (fresh.requests_max, fresh.concurrent_max > 0),
        (Some(1), true)
    );
    assert_eq!(
        component("      maxInvocations: 9\n").reuse.requests_max,
        Some(1)
    );
    assert_eq!(component("      poolSize: 0\n").reuse.requests_max, Some(1));
    assert_eq!(
        component("      poolSize: -1\n").reuse.requests_max,
        Some(1)
    );
    let pooled = component("      poolSize: 4\n").reuse;
    assert_eq!(
        (pooled.requests_max, pooled.concurrent_max),
        (Some(u32::MAX), 1)
    );
    let bounded =
        component("      poolSize: 4\n      maxInvocations: 9\n      maxConcurrency: 3\n").reuse;
    assert_eq!((bounded.requests_max, bounded.concurrent_max), (Some(9), 3));
}

#[test]
fn allowed_hosts_allow_what_they_name() {
    let grants = |list: &str| {
        let more = format!("      localResources: {{allowedHosts: {list}}}\n");
        component(&more).grants
    };
    let asked = [
        ("https", "api.example.com", 443),
        ("http", "api.example.com", 8080),
        ("https", "example.com", 443),
        ("https", "evil.com", 443),
    ];
    for (list, allowed) in [
        ("[]", [false, false, false, false]),
        ("['*']", [true, true, true, true]),
        ("['*.example.com']", [true, true, false, false]),
        ("['*.example.com:443']", [true, false, false, false]),
        ("[api.example.com]", [true, true, false, false]),
        ("['https://API.example.com']", [true, false, false, false]),
        (
            "['http://*.example.com:8080/', example.com]",
            [false, true, true, false],
        ),
    ] {
        let grants = grants(list);
        let got = asked.map(|(scheme, host, port)| grants.allows(scheme, host, port));
        assert_eq!(got, allowed, "{list}");
    }
}

#[test]
fn volumes_are_resolved_where_they_are_mounted() {
    let mounts = component(
        "      localResources:\n        volumeMounts:\n          - {name: d, mountPath: /d, readOnly: true}\n          \
         - {name: t, mountPath: /t}\n  volumes:\n    - {name: d, hostPath: {path: data}}\n    - {name: t, ephemeral: {}}\n",
    )
    .mounts;
    assert_eq!(mounts[0].source, MountSource::Directory("/app/data".into()));
    assert!(!mounts[0].writable);
    assert_eq!(mounts[1].source, MountSource::Ephemeral("t".to_owned()));
    assert!(mounts[1].writable);
}

#[test]
fn with_one_component_everything_is_bound_to_it() {
    let application = application(
        "  components: [{name: a, image: a.wasm}]\n  hostInterfaces:\n    - {namespace: wasi, package: http, \
         interfaces: [incoming-handler], config: {host: 'A.test:80'}}\n    - {namespace: wasmcloud, package: \
         messaging, interfaces: [handler], config: {subscriptions: 'b, c.*,b'}}\n",
    );
    assert_eq!(application.routes[0].host.as_deref(), Some("a.test"));
    assert_eq!(application.subscriptions.len(), 1);
    assert_eq!(application.subscriptions[0].subject.as_str(), "b");
    assert_eq!(application.wildcards[0].pattern.as_str(), "c.*");
    assert_eq!(application.by_export, Default::default());
}
