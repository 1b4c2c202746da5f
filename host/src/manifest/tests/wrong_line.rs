//! Each thing that can be wrong with one line of a manifest.

use super::problems;

#[test]
fn a_wrong_line_is_reported_with_what_would_be_right() {
    for (line, what, fix) in [
        (
            "component.a.build.workdir = \"x\"",
            "component.a.build.command: missing",
            "add command",
        ),
        (
            "component.a.build = { command = \" \" }",
            "is empty",
            "write a shell command",
        ),
        (
            "component.a.build = { command = \"x\", workdir = \"\" }",
            "component.a.build.workdir: is empty",
            "write a path",
        ),
        (
            "component.a.preemption = \"fuel\"",
            "\"fuel\" is not one of",
            "\"epoch\" or \"host-calls\"",
        ),
        (
            "component.a.health = \"/healthz\"",
            "\"/healthz\" is not a health request",
            "\"GET /healthz\"",
        ),
        (
            "component.a.health = \"get /healthz\"",
            "\"get\" is not an HTTP method",
            "write \"GET\"",
        ),
        (
            "component.a.health = \"GET healthz\"",
            "\"GET healthz\" is not a health request",
            "\"GET /healthz\"",
        ),
        (
            "component.a.health = \"GET /a b\"",
            "\"GET /a b\" is not a health request",
            "\"GET /healthz\"",
        ),
        (
            "component.a.health = \"GET /a#b\"",
            "\"GET /a#b\" is not a health request",
            "\"GET /healthz\"",
        ),
        (
            "component.a.health = \"CONNECT /a\"",
            "\"CONNECT /a\" is not a health request",
            "\"GET /healthz\"",
        ),
        (
            "component.a.drain.requests = \"0s\"",
            "component.a.drain.requests: must be at least 1ms",
            "write \"1ms\" or more",
        ),
        (
            "component.a.grants.keyvalue = [\"A\"]",
            "\"A\" is not a key-value label",
            "lower-case",
        ),
        (
            "component.a.grants.keyvalue = [\"b\", \"b\"]",
            "keyvalue[1]: \"b\" is there twice",
            "keep one",
        ),
        (
            "component.a.grants.publish = [\"b\", \"b\"]",
            "publish[1]: \"b\" is there twice",
            "keep one",
        ),
        (
            "component.a.grants.blobstore = [\"A\"]",
            "\"A\" is not a container name",
            "lower-case",
        ),
        (
            "component.a.grants.blobstore = [1]",
            "blobstore[0]: must be a container, or a",
            "write",
        ),
        (
            "component.a.grants.blobstore = [\"b\", { container = \"b\" }]",
            "blobstore[1]: grants the container \"b\" a second time",
            "keep one",
        ),
        (
            "component.a.grants.blobstore = [{ container = \"b\", access = \"write\" }]",
            "blobstore[0].access: \"write\" is not one of",
            "\"read\" or \"read-write\"",
        ),
        (
            "component.a.grants.blobstore = [{}]",
            "blobstore[0].container: missing",
            "add container",
        ),
        (
            "component.a.grants.outbound_http = [\"example.com\"]",
            "outbound_http[0]: \"example.com\" has no scheme",
            "write \"https://example.com\"",
        ),
        (
            "component.a.grants.outbound_http = [\"http://b.internal\"]",
            "outbound_http[0]: there is no component \"b\"",
            "did you mean a?",
        ),
        (
            "component.a.grants.outbound_http = [\"https://b.test\", \"https://B.test:443\"]",
            "outbound_http[1]: \"https://b.test\" is there twice",
            "keep one",
        ),
        (
            "component.a.environment = { \"A=B\" = \"1\" }",
            "\"A=B\" is not a variable name",
            "use letters",
        ),
        (
            "component.a.environment = { \"wharf.message.id\" = \"1\" }",
            "\"wharf.message.id\" is one of the host's own keys",
            "does not begin with \"wharf.\", such as \"message.id\"",
        ),
        (
            "component.a.secrets = { \"wharf.\" = { name = \"b\" } }",
            "\"wharf.\" is one of the host's own keys",
            "does not begin with",
        ),
        (
            "component.a.environment = { A = 1 }",
            "environment.A: must be a string",
            "in quotes",
        ),
        (
            "component.a.secrets = { A = {} }",
            "secrets.A.name: missing",
            "add name",
        ),
        (
            "component.a.secrets = { A = { name = \"B\" } }",
            "\"B\" is not a secret name",
            "lower-case",
        ),
        (
            "component.a.secrets = { A = { name = \"b\", generate = \"rsa\" } }",
            "generate: \"rsa\" is not one of",
            "\"hmac-sha256\"",
        ),
        (
            "component.a = { environment = { A = \"1\" }, secrets = { A = { name = \"b\" } } }",
            "secrets.A: is a variable of the environment table, too",
            "keep one",
        ),
        (
            "component.a.limits.memory = 0",
            "must be more than 0 bytes",
            "write a size",
        ),
        (
            "component.a.limits.memory = \"5GiB\"",
            "more than a component can address",
            "\"4GiB\"",
        ),
        (
            "component.a.limits.memory = \"99EiB\"",
            "more than a component can address",
            "\"4GiB\"",
        ),
        (
            "component.a.limits.instances = 0",
            "must be at least 1",
            "write 1 or more",
        ),
        (
            "component.a.limits.queue = 0",
            "must be at least 1",
            "write 1 or more",
        ),
        (
            "component.a.limits.request_body = 0",
            "must be more than 0 bytes",
            "write a size",
        ),
        (
            "component.a.limits.request_headers = 0",
            "must be more than 0 bytes",
            "write a size",
        ),
        (
            "component.a.limits.deadline = \"0s\"",
            "must be at least 1ms",
            "\"1ms\" or more",
        ),
        (
            "component.a.limits.response_idle = \"0s\"",
            "must be at least 1ms",
            "\"1ms\" or more",
        ),
        (
            "component.a.reuse.requests = 0",
            "must be at least 1",
            "write 1 or more",
        ),
        (
            "component.a.reuse.requests = 4294967296",
            "is too large",
            "write a smaller number",
        ),
        (
            "component.a.reuse.concurrent = 0",
            "must be at least 1",
            "write 1 or more",
        ),
        (
            "component.a.reuse.idle = \"0s\"",
            "must be at least 1ms",
            "\"1ms\" or more",
        ),
        (
            "component.a.reuse = { requests = 2, concurrent = 3 }",
            "reuse.concurrent: an instance that serves 2 requests",
            "write 2 at most",
        ),
        (
            "route = [{ path = \"/\", component = \"b\" }]",
            "there is no component \"b\"",
            "mean a?",
        ),
        (
            "route = [{ component = \"a\" }]",
            "route[0].path: missing",
            "add path",
        ),
        (
            "route = [{ path = \"/\", component = \"a\", methods = [] }]",
            "route[0].methods: is empty",
            "or leave it out",
        ),
        (
            "route = [{ path = \"/\", component = \"a\", methods = [\"get\"] }]",
            "methods[0]: \"get\" is not an HTTP method",
            "write \"GET\"",
        ),
        (
            "route = [{ path = \"/\", component = \"a\", methods = [\"\"] }]",
            "\"\" is not an HTTP method",
            "write a method",
        ),
        (
            "route = [{ path = \"/\", component = \"a\", methods = [\"GET\", \"GET\"] }]",
            "methods[1]: \"GET\" is there twice",
            "keep one",
        ),
        (
            "route = [{ path = \"/\", component = \"a\", host = \"a.test:80\" }]",
            "\"a.test:80\" is not a host",
            "write \"a.test\"",
        ),
        (
            "route = [{ path = \"/\", component = \"a\", host = \"*.test\" }]",
            "\"*.test\" is not a host",
            "a host name alone",
        ),
        (
            "subscription = [{ subject = \"s\", component = \"a\", concurrency = 0 }]",
            "concurrency: must be at least 1",
            "write 1 or more",
        ),
        (
            "subscription = [{ subject = \"s\", component = \"a\", deliveries = 0 }]",
            "deliveries: must be at least 1",
            "write 1 or more",
        ),
        (
            "subscription = [{ subject = \"s\", component = \"a\", deadline = \"0s\" }]",
            "deadline: must be at least 1ms",
            "\"1ms\" or more",
        ),
        (
            "subscription = [{ subject = \"s\", component = \"a\", backoff = { first = \"2m\" } }]",
            "backoff: its longest pause, 1m, is shorter than its first, 2m",
            "write max = \"2m\"",
        ),
        (
            "subscription = [{ subject = \"s\", component = \"a\" }, { subject = \"s\", component = \"a\" }]",
            "subscription[1]: a subscribes to s in subscription[0] (line 3), too",
            "keep one",
        ),
        (
            "stream.\"a b\".length_max = 1",
            "\"a b\" is not a subject",
            "use letters",
        ),
        (
            "stream.s.length_max = 0",
            "length_max: must be at least 1",
            "write 1 or more",
        ),
        (
            "component.a.artifact = \"\"",
            "component.a.artifact: is empty",
            "write a path",
        ),
        (
            "component.a.artifact = { path = \"p\", sha256 = \"12\" }",
            "\"12\" is not a SHA-256",
            "64 hexadecimal digits",
        ),
    ] {
        let text = with(line);
        let problems = problems(&text);
        assert_eq!(problems.matches("    fix: ").count(), 1, "{problems}");
        assert!(
            problems.contains(what) && problems.contains(fix),
            "{line}: {problems}"
        );
    }
}

/// A manifest of one component, `a`, with `line` in place of what it says about the same key.
fn with(line: &str) -> String {
    let mut lines = vec![
        "application.name = \"x\"",
        "component.a.artifact = \"a.wasm\"",
    ];
    let merged = line.replace("component.a = {", "component.a = { artifact = \"a.wasm\",");
    if line.starts_with("component.a.artifact") || line.starts_with("component.a =") {
        lines.pop();
    }
    lines.push(&merged);
    lines.join("\n")
}
