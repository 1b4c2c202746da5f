mod wrong_line;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::model::{
    Access, Backoff, Component, Drain, Generate, Health, Limits, PathSegment, Preemption, Reuse,
    Subscription,
};
use super::*;

const MEDIA: &str = include_str!("../../../../runtime-config/media.toml");

/// A manifest of one component, `a`, that a route leads to.
const SMALLEST: &str = "application.name = \"x\"\ncomponent.a.artifact = \"a.wasm\"\n\
                        route = [{ path = \"/...\", component = \"a\" }]\n";

fn loaded(text: &str) -> Loaded {
    resolve(text, Path::new("app/x.toml")).unwrap_or_else(|problems| panic!("{problems}"))
}

/// The component `a` of [`SMALLEST`] with `lines` added.
fn component(lines: &str) -> Component {
    loaded(&format!("{SMALLEST}{lines}")).application.components["a"].clone()
}

fn problems(text: &str) -> String {
    resolve(text, Path::new("x.toml"))
        .expect_err(text)
        .to_string()
}

fn warnings(text: &str) -> Vec<String> {
    loaded(text)
        .warnings
        .iter()
        .map(Problem::to_string)
        .collect()
}

fn set<T: std::str::FromStr + Ord>(names: &[&str]) -> BTreeSet<T> {
    let parsed = names.iter().map(|name| name.parse().ok());
    parsed.map(|name| name.expect("valid")).collect()
}

#[test]
fn the_media_application_is_accepted_without_a_warning() {
    let loaded = resolve(MEDIA, Path::new("runtime-config/media.toml")).unwrap();
    assert_eq!(loaded.warnings, []);
    let application = loaded.application;
    assert_eq!(application.name, "media");
    let names: Vec<&str> = application
        .components
        .keys()
        .map(|name| name.as_str())
        .collect();
    assert_eq!(names, ["auth", "converter", "gateway", "notifier"]);

    let auth = &application.components["auth"];
    let artifact = "runtime-config/../target/wasm32-wasip2/release/auth.wasm";
    assert_eq!(auth.artifact.path, PathBuf::from(artifact));
    assert_eq!(
        auth.build.as_ref().unwrap().workdir,
        Path::new("runtime-config/..")
    );
    assert_eq!(auth.environment["AUTH_TOKEN_TTL_SECONDS"], "86400");
    let key = &auth.secrets["AUTH_SIGNING_KEYS"];
    assert_eq!(key.name.as_str(), "auth-signing-keys");
    assert_eq!(key.generate, Some(Generate::HmacSha256));
    assert_eq!(auth.limits.deadline, Duration::from_secs(10));

    let gateway = &application.components["gateway"];
    assert_eq!(gateway.limits.request_body_bytes_max, 4 << 30);
    assert_eq!(gateway.limits.instances_max, 256);
    assert_eq!(
        gateway.grants.outbound[0].to_string(),
        "http://auth.internal"
    );
    assert_eq!(gateway.grants.publish, set(&["media.uploaded"]));

    let converter = &application.components["converter"];
    assert_eq!(converter.preemption, Preemption::HostCalls);
    assert!(converter.build.as_ref().unwrap().c_toolchain);
    assert_eq!(converter.grants.blobstore["uploads"], Access::Read);
    assert_eq!(converter.grants.blobstore["results"], Access::ReadWrite);

    assert!(application.routes[0].path.wildcard);
    assert_eq!(application.subscriptions.len(), 6);
    assert_eq!(
        application.subscriptions[0].deadline,
        Duration::from_secs(6 * 3600)
    );
    assert_eq!(application.streams["media.uploaded"].length_max, 10_000);
}

#[test]
fn what_is_left_out_has_its_default() {
    let component = component("");
    assert_eq!(component.artifact.path, Path::new("app/a.wasm"));
    assert_eq!(component.artifact.sha256, None);
    assert_eq!(component.build, None);
    assert_eq!(component.grants, Default::default());
    assert_eq!(component.preemption, Preemption::Epoch);
    assert_eq!(component.reuse.requests_max, None);
    assert_eq!(component.reuse.concurrent_max, 16);
    assert_eq!(component.reuse.idle_timeout, Duration::from_secs(1));
    assert_eq!(component.health, None);
    assert_eq!(component.drain.requests, Duration::from_secs(30));
    assert_eq!(component.drain.deliveries, Duration::from_secs(600));
    let limits = Limits {
        memory_bytes_max: 64 << 20,
        deadline: Duration::from_secs(30),
        response_idle: Duration::from_secs(60),
        instances_max: 128,
        queue_max: 1024,
        request_body_bytes_max: 10 << 20,
        request_header_bytes_max: 64 << 10,
    };
    assert_eq!(component.limits, limits);

    let text = format!("{SMALLEST}subscription = [{{ subject = \"s\", component = \"a\" }}]");
    let subscription = Subscription {
        subject: "s".parse().unwrap(),
        component: "a".parse().unwrap(),
        concurrency: 4,
        lease: Duration::from_secs(30),
        deadline: Duration::from_secs(600),
        deliveries_max: 5,
        backoff: Backoff {
            first: Duration::from_millis(500),
            max: Duration::from_secs(60),
        },
    };
    assert_eq!(loaded(&text).application.subscriptions, [subscription]);
}

#[test]
fn every_key_of_a_component_is_resolved() {
    let digest = "ab".repeat(32);
    let text = format!(
        r#"
[application]
name = "x"
[component.a]
artifact = {{ path = "/abs/a.wasm", sha256 = "sha256:{digest}" }}
preemption = "epoch"
build = {{ command = "make" }}
health = "GET /healthz?deep=1"
[component.a.environment]
"log.level" = "info"
[component.a.secrets]
TOKEN = {{ name = "token" }}
[component.a.grants]
keyvalue = ["default", "shared"]
blobstore = ["one", {{ container = "two" }}, {{ container = "three", access = "read-write" }}]
publish = ["s"]
outbound_http = ["https://*.example.com:8443"]
[component.a.limits]
memory = 65537
deadline = "1s"
response_idle = "2s"
instances = 3
queue = 4
request_body = "5B"
request_headers = "6KiB"
[component.a.reuse]
requests = 7
concurrent = 2
idle = "8s"
[component.a.drain]
requests = "9s"
deliveries = "1h"
"#
    );
    let application = loaded(&text).application;
    let a = &application.components["a"];
    assert_eq!(a.artifact.path, Path::new("/abs/a.wasm"));
    assert_eq!(a.artifact.sha256.unwrap().to_string(), digest);
    assert_eq!(a.build.as_ref().unwrap().workdir, Path::new("app"));
    assert!(!a.build.as_ref().unwrap().c_toolchain);
    assert_eq!(a.environment["log.level"], "info");
    assert_eq!(a.secrets["TOKEN"].generate, None);
    assert_eq!(a.grants.keyvalue, set(&["default", "shared"]));
    assert!(
        a.grants
            .blobstore
            .values()
            .all(|access| *access == Access::ReadWrite)
    );
    assert_eq!(a.grants.blobstore.len(), 3);
    let limits = Limits {
        memory_bytes_max: 2 * 65536,
        deadline: Duration::from_secs(1),
        response_idle: Duration::from_secs(2),
        instances_max: 3,
        queue_max: 4,
        request_body_bytes_max: 5,
        request_header_bytes_max: 6 << 10,
    };
    assert_eq!(a.limits, limits);
    let reuse = Reuse {
        requests_max: Some(7),
        concurrent_max: 2,
        idle_timeout: Duration::from_secs(8),
    };
    assert_eq!(a.reuse, reuse);
    let health = Health {
        method: "GET".to_owned(),
        path: "/healthz?deep=1".to_owned(),
    };
    assert_eq!(a.health, Some(health));
    let drain = Drain {
        requests: Duration::from_secs(9),
        deliveries: Duration::from_secs(3600),
    };
    assert_eq!(a.drain, drain);
    let record = serde_json::to_string(a).unwrap();
    assert_eq!(&serde_json::from_str::<Component>(&record).unwrap(), a);
}

#[test]
fn a_manifest_that_is_named_alone_builds_where_it_lies() {
    let text = "[application]\nname = \"x\"\n[component.a]\nartifact = \"a.wasm\"\n\
                build = { command = \"x\" }\n";
    let loaded = resolve(text, Path::new("app.toml")).unwrap();
    let build = loaded.application.components["a"].build.as_ref();
    assert_eq!(build.unwrap().workdir, Path::new("."));
}

/// The rollout log keeps components as JSON, and outlives the versions that wrote it.
#[test]
fn a_record_that_is_older_than_a_setting_has_its_default() {
    let record = r#"{ "name": "a", "artifact": { "path": "app/a.wasm", "sha256": null },
                      "limits": { "queue_max": 5 } }"#;
    let read: Component = serde_json::from_str(record).unwrap();
    assert_eq!(read, component("component.a.limits.queue = 5"));
}

#[test]
fn every_key_of_a_binding_is_resolved() {
    let text = format!(
        r#"{SMALLEST}
[[subscription]]
subject = "s"
component = "a"
concurrency = 1
lease = "1s"
deadline = "2s"
deliveries = 3
backoff = {{ first = "1s", max = "1s" }}
[stream.s]
length_max = 9
"#
    );
    let text = text.replace(
        "path = \"/...\"",
        "path = \"/jobs/:id\", methods = [\"PUT\", \"GET\"], host = \"WWW.Example.com\"",
    );
    let application = loaded(&text).application;
    let route = &application.routes[0];
    assert_eq!(route.host.as_deref(), Some("www.example.com"));
    assert_eq!(route.methods, set(&["GET", "PUT"]));
    let segments = [
        PathSegment::Literal("jobs".into()),
        PathSegment::Parameter("id".into()),
    ];
    assert_eq!(route.path.segments, segments);
    let subscription = &application.subscriptions[0];
    assert_eq!(subscription.concurrency, 1);
    assert_eq!(subscription.lease, Duration::from_secs(1));
    assert_eq!(subscription.deadline, Duration::from_secs(2));
    assert_eq!(subscription.deliveries_max, 3);
    assert_eq!(subscription.backoff.first, subscription.backoff.max);
    let lengths: BTreeMap<_, _> = application
        .streams
        .iter()
        .map(|(s, limits)| (s.as_str(), limits.length_max))
        .collect();
    assert_eq!(lengths, BTreeMap::from([("s", 9)]));
}

#[test]
fn everything_wrong_is_reported_at_once() {
    let found = problems(
        r#"[application]
name = "My App"
[component.gateway]
artefact = "g.wasm"
[component.gateway.limits]
memroy = "64MiB"
deadline = 30
[component.Auth]
artifact = "a.wasm"
[component.auth]
artifact = 3
[[route]]
path = "jobs"
component = "gatway"
[[subscription]]
subject = "a..b"
component = "auth"
lease = "10ms"
"#,
    );
    let expected = r#"x.toml:2: application.name: "My App" is not an application name
    fix: use 1 to 63 lower-case letters, digits and inner hyphens
x.toml:3: component.gateway.artifact: missing
    fix: add artifact
x.toml:4: component.gateway.artefact: unknown key
    fix: did you mean artifact? Known here: artifact, build, grants, environment, secrets, limits, preemption, reuse, health, drain
x.toml:6: component.gateway.limits.memroy: unknown key
    fix: did you mean memory? Known here: memory, deadline, response_idle, instances, queue, request_body, request_headers
x.toml:7: component.gateway.limits.deadline: must be a time with its unit, such as "30s", but is an integer
    fix: write a time with its unit, such as "30s"
x.toml:8: component.Auth: "Auth" is not a component name
    fix: use 1 to 63 lower-case letters, digits and inner hyphens
x.toml:11: component.auth.artifact: must be a path, or a table with path and sha256, but is an integer
    fix: write a path, or a table with path and sha256
x.toml:13: route[0].path: "jobs" is not a path
    fix: begin it with a slash: "/jobs"
x.toml:14: route[0].component: there is no component "gatway"
    fix: did you mean gateway? Known here: auth, gateway
x.toml:16: subscription[0].subject: "a..b" is not a subject
    fix: use letters, digits, '-' and '_' in tokens separated by single dots, 255 bytes at most
x.toml:18: subscription[0].lease: must be at least 1s
    fix: write "1s" or more, or leave it out"#;
    assert_eq!(found, expected);
}

#[test]
fn a_manifest_without_its_parts_says_which() {
    let all = "x.toml: application: missing\n    fix: add application\n\
               x.toml: component: missing\n    fix: add component";
    assert_eq!(problems(""), all);
    let none = problems("application.name = \"x\"\n[component]\n");
    assert!(
        none.contains("x.toml:2: component: the application has no component"),
        "{none}"
    );
    let nobody = problems(
        "application.name = \"x\"\nroute = [{ path = \"/\", component = \"a\" }]\n[component]",
    );
    assert!(
        nobody.contains("remove it; nothing is known here"),
        "{nobody}"
    );
    let binding = problems(&format!("{SMALLEST}subscription = [{{}}]\nstream.s = {{}}"));
    for key in [
        "subscription[0].subject",
        "subscription[0].component",
        "stream.s.length_max",
    ] {
        assert!(
            binding.contains(&format!(
                "x.toml:{}: {key}: missing",
                if key.starts_with("st") { 5 } else { 4 }
            )),
            "{binding}"
        );
    }
}

#[test]
fn routes_for_the_same_requests_are_reported() {
    let same = |left: &str, right: &str| {
        let route = |keys: &str| format!("[[route]]\ncomponent = \"a\"\n{keys}\n");
        let text = format!(
            "application.name = \"x\"\ncomponent.a.artifact = \"a\"\n{}{}",
            route(left),
            route(right)
        );
        match resolve(&text, Path::new("x.toml")) {
            Ok(_) => false,
            Err(problems) => {
                let expected = "route[1]: matches the same requests as route[0] (line 3)";
                assert!(problems.to_string().contains(expected), "{problems}");
                true
            }
        }
    };
    for (left, right, expected) in [
        ("path = \"/a\"", "path = \"/a\"", true),
        ("path = \"/:x\"", "path = \"/:y\"", true),
        ("path = \"/a/...\"", "path = \"/a/...\"", true),
        ("path = \"/a/...\"", "path = \"/a\"", false),
        ("path = \"/a\"", "path = \"/a/\"", false),
        ("path = \"/a\"", "path = \"/:x\"", false),
        ("path = \"/:x\"", "path = \"/a\"", false),
        ("path = \"/a\"", "path = \"/b\"", false),
        ("path = \"/\"\nhost = \"a.test\"", "path = \"/\"", false),
        (
            "path = \"/\"\nhost = \"a.test\"",
            "path = \"/\"\nhost = \"A.test\"",
            true,
        ),
        ("path = \"/\"\nmethods = [\"GET\"]", "path = \"/\"", false),
        ("path = \"/\"", "path = \"/\"\nmethods = [\"GET\"]", false),
        (
            "path = \"/\"\nmethods = [\"GET\"]",
            "path = \"/\"\nmethods = [\"PUT\"]",
            false,
        ),
        (
            "path = \"/\"\nmethods = [\"GET\"]",
            "path = \"/\"\nmethods = [\"PUT\", \"GET\"]",
            true,
        ),
    ] {
        assert_eq!(same(left, right), expected, "{left} {right}");
    }
}

#[test]
fn what_looks_unintended_is_a_warning() {
    assert_eq!(warnings(SMALLEST), [""; 0]);
    let found = warnings(
        "application.name = \"x\"\n\
         component.a.artifact = \"a\"\n\
         component.a.grants = { publish = [\"p\", \"q\"], outbound_http = [\"http://a.internal\"] }\n\
         component.b.artifact = \"b\"\n\
         component.b.grants.outbound_http = [\"http://c.internal\"]\n\
         component.c.artifact = \"c\"\n\
         subscription = [{ subject = \"q\", component = \"b\" }, { subject = \"r\", component = \"b\" }]\n\
         stream = { p.length_max = 1, r.length_max = 1, z.length_max = 1 }\n",
    );
    let expected = [
        "app/x.toml:2: component.a: no route, subscription or outbound_http grant leads to this \
         component\n    fix: add one, unless other components reach it through typed calls alone",
        "app/x.toml:3: component.a.grants.publish[0]: nothing subscribes to p\n    fix: correct \
         its name, or add a subscription",
        "app/x.toml:7: subscription[1].subject: no component may publish to r\n    fix: correct \
         its name, or grant it to who publishes",
        "app/x.toml:8: stream.z: nothing publishes or subscribes to this subject\n    fix: correct \
         its name, or remove it",
    ];
    assert_eq!(found, expected);
}

#[test]
fn a_manifest_is_read_from_its_file() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("x.toml");
    let absent = load(&path).unwrap_err().to_string();
    assert!(absent.contains("x.toml: cannot be read: "), "{absent}");
    std::fs::write(&path, SMALLEST).unwrap();
    let component = &load(&path).unwrap().application.components["a"];
    assert_eq!(component.artifact.path, directory.path().join("a.wasm"));
}

#[test]
fn the_committed_schema_is_the_generated_one() {
    crate::document::assert_schema_is_fresh("manifest.schema.json", &schema());
}

/// Every key that the schema offers to an editor is one that a manifest may have.
#[test]
fn the_schema_describes_the_keys_that_are_read() {
    let schema = schema();
    let limits = &schema["$defs"]["Limits"];
    assert_eq!(limits["additionalProperties"], false);
    assert_eq!(limits["properties"].as_object().unwrap().len(), 7);
    assert_eq!(
        schema["required"],
        serde_json::json!(["application", "component"])
    );
    assert_eq!(
        schema["$defs"]["Route"]["required"],
        serde_json::json!(["path", "component"])
    );
}
