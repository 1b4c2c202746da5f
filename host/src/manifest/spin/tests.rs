//! One file past 500 lines: each test is a table of what a manifest may say, and they share its frame.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::*;
use crate::document::TextForm as _;
use crate::manifest::model::{
    DatabaseSource, Dependency, MountSource, PathPattern, RouteTarget, Source,
};
use crate::manifest::{Loaded, resolve_with};

/// A manifest that is valid, to which `more` is added.
fn text(more: &str) -> String {
    format!(
        "spin_manifest_version = 2\n\
         application.name = \"shop\"\n\
         {more}\n\
         [[trigger.http]]\nroute = \"/...\"\ncomponent = \"web\"\n\
         [component.web]\nsource = \"web.wasm\"\n"
    )
}

fn supplied(named: &[(&str, &str)]) -> Supplied {
    let named = named.iter();
    Supplied {
        named: named
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect(),
        ..Supplied::default()
    }
}

fn load_with(text: &str, supplied: &Supplied) -> Loaded {
    resolve_with(text, Path::new("app/spin.toml"), supplied)
        .unwrap_or_else(|problems| panic!("{problems}\n{text}"))
}

fn load(text: &str) -> Loaded {
    load_with(text, &Supplied::default())
}

/// What is wrong with the valid manifest after `more` is added.
fn problems(more: &str) -> String {
    let text = text(more);
    match resolve_with(&text, Path::new("app/spin.toml"), &Supplied::default()) {
        Ok(_) => panic!("nothing is wrong with {text}"),
        Err(problems) => problems.to_string(),
    }
}

/// What is said of a valid manifest, each with its key.
fn warnings(text: &str) -> Vec<String> {
    let warnings = load(text).warnings;
    warnings
        .iter()
        .map(|warning| format!("{}: {}", warning.key, warning.what))
        .collect()
}

#[test]
fn a_manifest_becomes_the_application_model() {
    let loaded = load(
        r#"
spin_manifest_version = 2

[application]
name = "My Shop"
version = "1.2.3"
description = "Sells."
authors = ["A <a@example.com>"]

[application.trigger.redis]
address = "redis://u:{{ password }}@cache.test"

[variables]
host = { default = "api.example.com" }
password = { default = "hunter2", secret = true }

[[trigger.http]]
route = "/cart/:id/..."
component = "Cart"

[[trigger.http]]
id = "front"
route = "/"
component = { source = "front.wasm", environment = { A = "{{ host }}" } }

[[trigger.http]]
route = "/moved"
static_response = { status_code = 302, headers = { location = "/" }, body = "gone" }

[[trigger.http]]
route = { private = true }
component = "inner"
executor = { type = "http" }

[[trigger.redis]]
channel = "orders-{{ host }}"
component = "inner"

[[trigger.redis]]
address = "rediss://other.test"
channel = "x"
component = "inner"

[component.Cart]
source = { url = "https://example.com/cart.wasm", digest = "sha256:0000000000000000000000000000000000000000000000000000000000000001" }
variables = { api = "https://{{ host }}/v1", token = "t-{{password}}" }
allowed_outbound_hosts = ["https://{{ host }}", "http://inner.spin.internal", "redis://cache.test"]
key_value_stores = ["default", "my_cache"]
sqlite_databases = ["default", "stock"]

[component.inner]
source = { registry = "ghcr.io", package = "owner:inner", version = "0.1.0" }
allowed_http_hosts = ["example.com"]
[component.inner.build]
command = ["npm install", "npm run build"]
workdir = "inner"
watch = ["src/**"]
[component.inner.tool.wharf]
limits = { deadline = "1s" }
health = "GET /healthz"
[component.inner.tool.other]
anything = 1
[component.inner.dependencies]
"a:b/c@0.1.0" = { path = "c.wasm", export = "x:y/c" }
"d:e" = { component = "tools" }

[component.tools]
source = "tools.wasm"
"#,
    );
    let application = loaded.application;
    assert_eq!(application.name, "my-shop");
    let names: Vec<&str> = application.components.keys().map(|n| n.as_str()).collect();
    assert_eq!(names, ["cart", "front-component", "inner"]);

    let cart = &application.components["cart"];
    let origin = cart.artifact.origin.as_ref().unwrap();
    assert_eq!(
        origin.source,
        Source::Url("https://example.com/cart.wasm".to_owned())
    );
    assert!(origin.sha256.is_some());
    let variables = cart.variables.as_ref().unwrap();
    assert_eq!(variables.plain["api"], "https://api.example.com/v1");
    let secret = &variables.secrets["token"].name;
    assert_eq!(application.provided_secrets[secret].0, "t-hunter2");
    assert!(!format!("{application:?}").contains("hunter2"));
    let outbound: Vec<String> = cart.grants.outbound.iter().map(|o| o.to_string()).collect();
    assert_eq!(
        outbound,
        [
            "https://api.example.com",
            "http://inner.internal",
            "redis://cache.test"
        ]
    );
    assert_eq!(cart.grants.stores["default"].as_str(), "default");
    assert!(
        cart.grants.stores["my_cache"]
            .as_str()
            .starts_with("my-cache-")
    );
    assert!(cart.grants.keyvalue.is_empty() && cart.grants.refuse_when_called);
    assert_eq!(
        cart.grants.sqlite["stock"],
        DatabaseSource::Own("stock".to_owned())
    );

    let front = &application.components["front-component"];
    assert_eq!(front.environment["A"], "{{ host }}");
    let source = &front.artifact.origin.as_ref().unwrap().source;
    assert_eq!(*source, Source::Path("app/front.wasm".into()));

    let inner = &application.components["inner"];
    let origin = inner.artifact.origin.as_ref().unwrap();
    assert_eq!(
        origin.source,
        Source::Oci("ghcr.io/owner/inner:0.1.0".to_owned())
    );
    assert_eq!(
        origin.dependencies,
        [
            Dependency {
                import: "a:b/c@0.1.0".to_owned(),
                source: Source::Path("app/c.wasm".into()),
                sha256: None,
                export: Some("x:y/c".to_owned()),
            },
            Dependency {
                import: "d:e".to_owned(),
                source: Source::Path("app/tools.wasm".into()),
                sha256: None,
                export: None,
            },
        ]
    );
    let build = inner.build.as_ref().unwrap();
    assert_eq!(build.command, "npm install && npm run build");
    assert_eq!(build.workdir, Path::new("app/inner"));
    assert_eq!(inner.limits.deadline.as_secs(), 1);
    assert_eq!(inner.limits.memory_bytes_max, 256 << 20);
    assert_eq!(inner.health.as_ref().unwrap().path, "/healthz");

    let channels: Vec<String> = application
        .channels
        .iter()
        .map(|channel| {
            format!(
                "{} {} {}",
                channel.address, channel.channel, channel.component
            )
        })
        .collect();
    assert_eq!(
        channels,
        [
            "redis://cache.test orders-api.example.com inner",
            "rediss://other.test x inner"
        ]
    );
    assert_eq!(
        application.channels[0].address.0,
        "redis://u:hunter2@cache.test"
    );
}

#[test]
fn routes_are_spins() {
    let loaded = load(&text(
        "[[trigger.http]]\nroute = \"cart/\"\ncomponent = \"web\"\n\
         [[trigger.http]]\nroute = \"/old/*\"\ncomponent = \"web\"\n\
         [[trigger.http]]\nroute = \"/.well-known/spin/mine\"\ncomponent = \"web\"\n\
         [[trigger.http]]\nroute = \"/cart\"\nstatic_response = { body = \"later\" }\n",
    ));
    let routes = loaded.application.routes;
    let lines: Vec<String> = routes
        .iter()
        .map(|route| {
            let target = match &route.target {
                RouteTarget::Component(name) => name.to_string(),
                RouteTarget::Response(response) => response.status.to_string(),
            };
            format!("{} {target}", route.path)
        })
        .collect();
    assert_eq!(
        lines,
        [
            "/.well-known/spin/health 200 OK",
            "/.well-known/spin/info 200 OK",
            "/.well-known/spin/... 404 Not Found",
            "/old/... web",
            "/cart 200 OK",
            "/cart/ 200 OK",
            "/... web",
        ]
    );
    assert_eq!(routes[3].told.as_ref().unwrap().raw, "/old/*");
    let warned: Vec<&str> = loaded.warnings.iter().map(|w| w.what.as_str()).collect();
    assert_eq!(
        warned,
        [
            "the host itself answers all below /.well-known/spin/",
            "an earlier route is /cart, too, and this one takes its place",
        ]
    );
    assert!(PathPattern::parse("/old/...").unwrap().wildcard);
}

#[test]
fn a_value_is_taken_from_the_first_that_has_it() {
    let text = text(
        "[variables]\na = { required = true }\nb = { default = \"default\" }\n\
         c = { default = \"default\" }\n\
         [[trigger.http]]\nroute = \"/x\"\ncomponent = \"x\"\n\
         [component.x]\nsource = \"x.wasm\"\n\
         variables = { all = \"{{ a }} {{b}} {{ c }}\" }\n",
    );
    let mut supplied = supplied(&[("a", "named")]);
    let ambient = [("a", "ambient"), ("b", "ambient"), ("other", "ambient")];
    supplied.ambient = ambient
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .into();
    let application = load_with(&text, &supplied).application;
    let variables = application.components["x"].variables.as_ref().unwrap();
    assert_eq!(variables.plain["all"], "named ambient default");
    let unused = Supplied {
        unused: true,
        ..Supplied::default()
    };
    load_with(&text, &unused);
}

#[test]
fn a_component_sees_files_where_the_manifest_puts_them() {
    let directory = tempfile::tempdir().unwrap();
    let write = |path: &str| {
        let path = directory.path().join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, "").unwrap();
    };
    for path in [
        "a/1.txt",
        "a/2.tmp",
        "a/sub/3.txt",
        "b/4.txt",
        "c[1]/5.txt",
        "6.txt",
    ] {
        write(path);
    }
    let text = text(
        "[[trigger.http]]\nroute = \"/x\"\ncomponent = \"x\"\n[component.x]\nsource = \"x.wasm\"\n\
         files = [\"a\", \"*.txt\", { source = \"b\", destination = \"/data\" }, \
         { source = \"c[1]\", destination = \"/\" }, { source = \"6.txt\", destination = \"/y/z\" }]\n\
         exclude_files = [\"a/*.tmp\"]\n",
    );
    let file = directory.path().join("spin.toml");
    let loaded = resolve_with(&text, &file, &Supplied::default()).unwrap();
    let mounts = &loaded.application.components["x"].mounts;
    let MountSource::Files(files) = &mounts[0].source else {
        panic!("{mounts:?}");
    };
    assert_eq!((mounts.len(), mounts[0].writable), (1, false));
    assert_eq!(mounts[0].guest, "/");
    let from = |path: &str| directory.path().join(path);
    let expected = [
        ("5.txt", "c[1]/5.txt"),
        ("6.txt", "6.txt"),
        ("a/1.txt", "a/1.txt"),
        ("a/sub/3.txt", "a/sub/3.txt"),
        ("data/4.txt", "b/4.txt"),
        ("y/z", "6.txt"),
    ];
    let expected: BTreeMap<String, PathBuf> = expected
        .map(|(seen, path)| (seen.to_owned(), from(path)))
        .into();
    assert_eq!(*files, expected);
}

#[test]
fn redis_triggers_may_take_durable_streams_instead() {
    let loaded = load(&text(
        "[application.tool.wharf]\ndurable_redis_triggers = true\n\
         [[trigger.redis]]\nchannel = \"orders.new\"\ncomponent = \"web\"\n",
    ));
    let subscription = &loaded.application.subscriptions[0];
    assert_eq!(subscription.subject.as_str(), "orders.new");
    assert!(loaded.application.channels.is_empty());
    let text = problems(
        "[application.tool.wharf]\ndurable_redis_triggers = true\n\
         [[trigger.redis]]\nchannel = \"a b\"\ncomponent = \"web\"\n",
    );
    assert!(text.contains("\"a b\" is not a subject"), "{text}");
}

#[test]
fn what_is_done_otherwise_is_said() {
    for (more, warning) in [
        (
            "[component.x]\nsource = \"x.wasm\"\n",
            "component.x: no trigger leads to this component",
        ),
        (
            "application.targets = [\"spin-up:3\"]",
            "application.targets: is not checked",
        ),
        (
            "[component.x]\nsource = \"x.wasm\"\nprofile.debug.source = \"y.wasm\"\n\
             [[trigger.http]]\nroute = \"/x\"\ncomponent = \"x\"",
            "component.x.profile: there are no profiles here",
        ),
        (
            "[component.x]\nsource = \"x.wasm\"\nai_models = [\"llama2-chat\"]\n\
             [[trigger.http]]\nroute = \"/x\"\ncomponent = \"x\"",
            "component.x.ai_models: there are no language models here",
        ),
        (
            "[component.x]\nsource = \"x.wasm\"\ndependencies.\"a:b\" = { path = \"b.wasm\" }\n\
             [[trigger.http]]\nroute = \"/x\"\ncomponent = \"x\"",
            "component.x.dependencies: what is composed into a component may do",
        ),
        (
            "[component.x]\nsource = \"x.wasm\"\nfiles = [\"none/*\"]\n\
             [[trigger.http]]\nroute = \"/x\"\ncomponent = \"x\"",
            "component.x.files[0]: \"none/*\" matches no file",
        ),
    ] {
        let warnings = warnings(&text(more));
        assert_eq!(warnings.len(), 1, "{warnings:?}");
        assert!(warnings[0].starts_with(warning), "{warnings:?}");
    }
}

#[test]
fn what_cannot_be_done_is_refused_with_what_can() {
    // Keys of a component `x`, which a route leads to.
    let of_component = [
        (
            "source = 1",
            "component.x.source: must be a string or a table",
        ),
        ("source = \"\"", "component.x.source: is empty"),
        ("source = {}", "says of no bytes where they are"),
        (
            "source = { url = \"https://a.test/x\" }",
            "source.url: has no digest",
        ),
        (
            "source = { url = \"ftp://a/x\", digest = \"sha256:00\" }",
            "is not a SHA-256",
        ),
        (
            "source = { package = \"a:b\", version = \"1.0.0\" }",
            "names no registry",
        ),
        (
            "source = { registry = \"r\", package = \"ab\", version = \"1.0.0\" }",
            "names no package",
        ),
        (
            "source = { registry = \"r\", package = \"a:b\", version = \">=1\" }",
            "does not name one version",
        ),
        ("source = \"x\"\nid = \"y\"", "component.x.id: unknown key"),
        (
            "source = \"x\"\nvariables.A = \"1\"",
            "\"A\" is not a variable's name",
        ),
        (
            "source = \"x\"\nvariables.a = \"{{ b }}\"",
            "there is no variable \"b\"",
        ),
        (
            "source = \"x\"\nvariables.a = \"{{ b\"",
            "opens a template and does not close it",
        ),
        (
            "source = \"x\"\nenvironment.\"a b\" = \"1\"",
            "is not a variable name",
        ),
        (
            "source = \"x\"\nfiles = [\"../y\"]",
            "leads out of its directory",
        ),
        (
            "source = \"x\"\nfiles = [\"/etc/*\"]",
            "leads out of its directory",
        ),
        (
            "source = \"x\"\nfiles = [\"a[\"]",
            "is not a pattern of files",
        ),
        (
            "source = \"x\"\nfiles = [{ source = \"y\", destination = \"/\" }]",
            "there is no file or directory",
        ),
        (
            "source = \"x\"\nfiles = [{ source = \"y\", destination = \"z\" }]",
            "is not an absolute path",
        ),
        (
            "source = \"x\"\nallowed_outbound_hosts = [\"a.test\"]",
            "\"a.test\" has no scheme",
        ),
        (
            "source = \"x\"\nallowed_outbound_hosts = [\"http://y.spin.internal\"]",
            "no trigger leads to a component \"y\"",
        ),
        (
            "source = \"x\"\nallowed_outbound_hosts = [\"http://{{ secret }}\"]",
            "kept where everybody",
        ),
        (
            "source = \"x\"\nbuild.command = []",
            "build.command: is empty",
        ),
        (
            "source = \"x\"\ndependencies.\"a:b\" = \"1.0.0\"",
            "no default registry",
        ),
        (
            "source = \"x\"\ndependencies.\"a:b\" = { component = \"y\" }",
            "there is no component \"y\"",
        ),
        (
            "source = \"x\"\ndependencies.\"a:b\" = { path = \"y\", component = \"web\" }",
            "names several sources",
        ),
        (
            "source = \"x\"\ndependencies.\"a:b\" = { component = \"rich\" }",
            "has key_value_stores, which a dependency cannot have",
        ),
        (
            "source = \"x\"\ntool.wharf.limit = 1",
            "tool.wharf.limit: unknown key",
        ),
        (
            "source = \"x\"\ntool.wharf.limits.memory = 1.5",
            "tool.wharf.limits.memory: must be",
        ),
    ];
    for (keys, expected) in of_component {
        let problems = problems(&format!(
            "[variables]\nsecret = {{ default = \"s\", secret = true }}\n\
             [component.rich]\nsource = \"rich.wasm\"\nkey_value_stores = [\"default\"]\n\
             [[trigger.http]]\nroute = \"/x\"\ncomponent = \"x\"\n[component.x]\n{keys}\n"
        ));
        assert!(problems.contains(expected), "{keys}:\n{problems}");
    }
    let of_trigger = [
        ("route = \"/x\"", "says nobody who answers"),
        ("component = \"web\"", "trigger.http[0].route: missing"),
        (
            "route = \"/x\"\ncomponent = \"wob\"",
            "there is no component \"wob\"\n    fix: did you mean web?",
        ),
        (
            "route = \"/x\"\ncomponent = \"web\"\nstatic_response = {}",
            "has a component, too",
        ),
        (
            "route = \"/x\"\nstatic_response = { status_code = 99 }",
            "99 is not a status",
        ),
        (
            "route = \"/x\"\nstatic_response.headers = { \"a b\" = \"1\" }",
            "is not a header's name",
        ),
        (
            "route = \"/x/.../y\"\ncomponent = \"web\"",
            "elsewhere than as its last segment",
        ),
        (
            "route = { private = false }\ncomponent = \"web\"",
            "a route is a path or private",
        ),
        (
            "route = \"/x\"\ncomponent = \"web\"\nexecutor = { type = \"wagi\" }",
            "speak CGI",
        ),
        (
            "route = \"/x\"\ncomponent = \"web\"\nexecutor = { type = \"htp\" }",
            "there is no executor",
        ),
        (
            "route = \"/x\"\ncomponent = \"web\"\ncomponents = {}",
            "are not run",
        ),
        (
            "route = \"/x\"\ncomponent = \"web\"\nmethods = [\"GET\"]",
            "methods: unknown key",
        ),
    ];
    for (keys, expected) in of_trigger {
        let problems = problems(&format!("[[trigger.http]]\n{keys}\n"));
        assert!(problems.contains(expected), "{keys}:\n{problems}");
    }
    for (more, expected) in [
        (
            "application.trigger.http.base = \"/api\"",
            "base: there is no path that all routes begin with",
        ),
        (
            "application.colour = \"red\"",
            "application.colour: unknown key",
        ),
        (
            "[variables]\na = {}",
            "variables.a: has neither a default nor required = true",
        ),
        (
            "[variables]\na = { required = true }",
            "variables.a: is required and has no value",
        ),
        (
            "[variables]\nA-b = { default = \"\" }",
            "is not a variable's name",
        ),
        (
            "[[trigger.cron]]\ncron = \"* * * * *\"",
            "trigger.cron: unknown key",
        ),
        (
            "[[trigger.redis]]\nchannel = \"a\"\ncomponent = \"web\"",
            "trigger.redis[0]: names no server",
        ),
        (
            "[[trigger.redis]]\naddress = \"cache\"\nchannel = \"a\"\ncomponent = \"web\"",
            "does not say where a Redis server is",
        ),
        (
            "[component.WEB]\nsource = \"x\"\n[[trigger.http]]\nroute = \"/x\"\ncomponent = \"WEB\"",
            "two components are called web",
        ),
        (
            "[component.a_b]\nsource = \"x\"\n[[trigger.http]]\nroute = \"/x\"\ncomponent = \"ü\"",
            "there is no component \"ü\"",
        ),
    ] {
        let problems = problems(more);
        assert!(problems.contains(expected), "{more}:\n{problems}");
    }
}

#[test]
fn a_missing_value_is_told_with_every_way_to_give_it() {
    let text = problems("[variables]\napi_key = { required = true }");
    for way in [
        "--variable api_key=VALUE",
        "SPIN_VARIABLE_API_KEY",
        ".env",
        "variables_provider",
        "default",
    ] {
        assert!(text.contains(way), "{way}: {text}");
    }
    let known = resolve_with(
        &self::text("[variables]\na = { default = \"\" }"),
        Path::new("spin.toml"),
        &supplied(&[("b", "1")]),
    );
    let text = known.unwrap_err().to_string();
    assert!(
        text.contains("there is no variable \"b\", and it was given a value"),
        "{text}"
    );
}

#[test]
fn earlier_versions_are_told_apart() {
    for text in [
        "spin_version = \"1\"\nname = \"x\"\n",
        "spin_manifest_version = \"1\"\nname = \"x\"\n",
        "spin_manifest_version = 1\n",
    ] {
        let problems = resolve_with(text, Path::new("spin.toml"), &Supplied::default());
        let problems = problems.unwrap_err().to_string();
        assert!(problems.contains("is not of version 2"), "{problems}");
        assert!(problems.contains("spin doctor"), "{problems}");
    }
    let text = text("").replace("version = 2", "version = 3");
    let problems = resolve_with(&text, Path::new("spin.toml"), &Supplied::default());
    let problems = problems.unwrap_err().to_string();
    assert!(problems.contains("there is no version 3"), "{problems}");
}
