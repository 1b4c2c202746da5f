//! What a guest sees of a request, and what it never sees.

use super::table::{Case, get, post, request, sent, steps};
use super::wire::Step;

pub fn cases() -> Vec<Case> {
    [
        lines(),
        headers(),
        hosts(),
        bodies(),
        connections(),
        invalid(),
    ]
    .into_iter()
    .flatten()
    .collect()
}

/// What a 0.2 guest sees.
fn seen(method: &str, authority: &str, path: &str, headers: &str) -> String {
    format!("method {method}\nscheme http\nauthority {authority}\npath {path}\n{headers}")
}

/// What a 0.3 guest sees: of scheme and host what the request line says, and mostly it says neither.
fn seen3(method: &str, path: &str, headers: &str) -> String {
    format!("method {method}\nscheme none\nauthority none\npath {path}\n{headers}")
}

/// The same request to both guests.
fn both(case: impl Fn() -> Case, method: &str, path: &str, headers: &str) -> [Case; 2] {
    [
        case()
            .only("compat2")
            .body(seen(method, "a.example", path, headers)),
        case().only("compat3").body(seen3(method, path, headers)),
    ]
}

fn lines() -> Vec<Case> {
    let mut cases = Vec::new();
    for (name, path) in [
        (
            "a path and query pass as they came",
            "/facts?a=%20b&c=%2F&d=%zz&e=;,+~",
        ),
        (
            "nothing of a path is normalised",
            "/facts/%2e%2E//./../x%2Fy%C3%BC",
        ),
        ("a query that is empty", "/facts?"),
        ("only a query", "/?a"),
        ("a long path", &format!("/facts/{}", "x".repeat(8000))),
    ] {
        cases.extend(both(|| get(name, path), "GET", path, ""));
    }
    for method in ["BREW", "get", "OPTIONS", "TRACE", "DELETE", "PUT"] {
        let line = format!("{method} /facts");
        cases.extend(both(
            || request("a method", &line, ""),
            method,
            "/facts",
            "",
        ));
    }
    let absolute = |line: &str| request("an absolute target", line, "");
    cases.extend([
        absolute("GET http://b.example:81/facts?x")
            .only("compat2")
            .body(seen("GET", "b.example:81", "/facts?x", "")),
        absolute("GET http://b.example:81/facts?x")
            .only("compat3")
            .body("method GET\nscheme http\nauthority b.example:81\npath /facts?x\n"),
        absolute("GET https://b.example/facts"),
        absolute("GET http://b.example"),
        request("an asterisk", "OPTIONS *", ""),
        request("a host alone", "GET facts", ""),
        request("CONNECT", "CONNECT b.example:443", "").closes(),
        sent(
            "bytes beyond ASCII in a path",
            b"GET /facts/\xc3\xbc HTTP/1.1\r\nhost: a.example\r\n\r\n",
        ),
        request(
            "longer than a URI may be",
            &format!("GET /{}", "x".repeat(66_000)),
            "",
        )
        .status(414)
        .closes(),
        sent(
            "lines that end in line feeds alone",
            "GET /facts HTTP/1.1\nhost: a.example\n\n",
        ),
        sent(
            "empty lines before a request",
            "\r\n\r\nGET /facts HTTP/1.1\r\nhost: a.example\r\n\r\n",
        ),
    ]);
    cases
}

fn headers() -> Vec<Case> {
    let mut cases = Vec::new();
    let trace = "traceparent: 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01\n\
                 tracestate: a=b\n";
    let large = format!("x-large: {}\n", "x".repeat(60_000));
    let ninety: String = (10..100).map(|n| format!("x-{n}: {n}\n")).collect();
    for (name, headers, seen) in [
        (
            "headers pass",
            "X-One: 1\nx-twice: a\nx-twice: b\n",
            "x-one: 1\nx-twice: a\nx-twice: b\n",
        ),
        ("an empty header", "x-empty:\n", "x-empty: \n"),
        (
            "bytes that are no text",
            "x-bytes: caf\u{e9}\n",
            "x-bytes: caf\\xc3\\xa9\n",
        ),
        (
            "spaces around a value",
            "x-spaced: \t a b \t\n",
            "x-spaced: a b\n",
        ),
        (
            "what is between two hops",
            "upgrade: h2c\nkeep-alive: 1\nproxy-connection: x\nhttp2-settings: x\n",
            "",
        ),
        (
            "what a client accepts",
            "accept: */*\nte: trailers\n",
            "accept: */*\nte: trailers\n",
        ),
        (
            "what others say of a client",
            "via: 1.1 x\nx-forwarded-for: 1.2.3.4\n",
            "via: 1.1 x\nx-forwarded-for: 1.2.3.4\n",
        ),
        ("a place in a trace", trace, trace),
        ("a large header", &large, &large),
        ("ninety headers", &ninety, &ninety),
    ] {
        let sent = headers.replace('\n', "\r\n");
        cases.extend(both(
            || request(name, "GET /facts", &sent),
            "GET",
            "/facts",
            seen,
        ));
    }
    let many: String = (0..150).map(|n| format!("x-{n}: {n}\r\n")).collect();
    let huge = format!("x-large: {}\r\n", "x".repeat(300_000));
    cases.extend([
        request("more than a hundred headers", "GET /facts", &many)
            .status(431)
            .closes(),
        request("a huge header", "GET /facts", &huge),
    ]);
    cases
}

fn hosts() -> Vec<Case> {
    let host = |name, host: &str| sent(name, format!("GET /facts HTTP/1.1\r\n{host}\r\n"));
    vec![
        host("a host with a port", "host: a.example:8080\r\n")
            .only("compat2")
            .body(seen("GET", "a.example:8080", "/facts", "")),
        host("a host with a port", "host: a.example:8080\r\n")
            .only("compat3")
            .body(seen3("GET", "/facts", "")),
        host("an address", "host: [::1]:80\r\n"),
        host("two hosts", "host: a.example\r\nhost: b.example\r\n"),
        host("an empty host", "host:\r\n"),
        host("no host", "").only("compat2").fails(),
        host("no host", "")
            .only("compat3")
            .body(seen3("GET", "/facts", "")),
    ]
}

fn chunked(name: &'static str, path: &str, headers: &str, body: &str) -> Case {
    let headers = format!("transfer-encoding: chunked\r\n{headers}");
    let mut case = request(name, &format!("POST {path}"), &headers);
    case.steps.push(Step::Send(body.into()));
    case
}

fn bodies() -> Vec<Case> {
    let large = "0123456789".repeat(30_000);
    let body = |name, path, headers: &str, body: &str| {
        let mut case = request(name, &format!("POST {path}"), headers);
        case.steps.push(Step::Send(body.into()));
        case
    };
    let asks = "expect: 100-continue\r\ncontent-length: 5\r\n";
    let mut asking = body("a client that waits to be asked", "/count", asks, "hello");
    asking.steps.insert(1, Step::Continue);
    let mut short = body(
        "a body that stops early",
        "/count",
        "content-length: 10\r\n",
        "hello",
    );
    short.steps.push(Step::End);
    let mut streaming = chunked("both directions at once", "/echo", "", "5\r\nfirst\r\n");
    streaming.steps.push(Step::Hear("first"));
    streaming
        .steps
        .push(Step::Send(b"6\r\nsecond\r\n0\r\n\r\n".to_vec()));
    let trailed = "4\r\nbody\r\n0\r\nx-checksum: abc\r\n\r\n";
    vec![
        post("a body with its length", "/echo", "hello").body("hello"),
        post("an empty body", "/count", "").body("0 whole"),
        post("a large body goes there and back", "/echo", &large).body(large.clone()),
        chunked(
            "chunks",
            "/count",
            "",
            "5\r\nhello\r\n3;ext=1\r\n...\r\n0\r\n\r\n",
        )
        .body("8 whole"),
        chunked(
            "trailers go there and back",
            "/echo",
            "te: trailers\r\n",
            trailed,
        )
        .body("body")
        .trailer("x-checksum", "abc"),
        chunked(
            "trailers that the client does not want",
            "/echo",
            "",
            trailed,
        )
        .body("body"),
        streaming.body("firstsecond"),
        asking.body("5 whole"),
        body(
            "a client that does not wait to be asked",
            "/count",
            asks,
            "hello",
        )
        .body("5 whole"),
        short.body("5 broken").closes(),
        chunked("a chunk that is none", "/count", "", "zz\r\nhello\r\n")
            .body("0 broken")
            .closes(),
        chunked(
            "a length and chunks",
            "/count",
            "content-length: 3\r\n",
            "5\r\nhello\r\n0\r\n\r\n",
        )
        .body("5 whole")
        .closes()
        .may_differ("a newer hyper closes then, as RFC 9112 section 6.3 has it"),
        body(
            "a length twice",
            "/count",
            "content-length: 5\r\ncontent-length: 5\r\n",
            "hello",
        )
        .body("5 whole"),
        post("a body that nobody reads", "/status?code=202", "ignored")
            .status(202)
            .body(""),
        post("a body that is read after the response", "/early", "late").body("early"),
        request("a body with GET", "GET /count", "content-length: 0\r\n").body("0 whole"),
    ]
}

fn connections() -> Vec<Case> {
    let line = "GET /status?code=201";
    let old = |name, headers: &str| sent(name, format!("GET /facts HTTP/1.0\r\n{headers}\r\n"));
    vec![
        request("a client that closes", line, "connection: close\r\n")
            .status(201)
            .header("connection", "close")
            .closes(),
        request("a client that keeps", line, "connection: keep-alive\r\n").status(201),
        old("HTTP/1.0", "host: a.example\r\n").closes(),
        old("HTTP/1.0 that keeps", "host: a.example\r\nconnection: keep-alive\r\n").closes(),
        old("HTTP/1.0 without a host", "").only("compat2").fails().closes(),
        old("HTTP/1.0 without a host", "").only("compat3").closes(),
        sent(
            "requests one behind the other",
            format!("{line} HTTP/1.1\r\nhost: a.example\r\n\r\nGET /facts HTTP/1.1\r\nhost: b.example\r\n\r\n"),
        )
        .answers(2),
        steps("nothing at all", vec![Step::End]).status(0).closes(),
    ]
}

fn invalid() -> Vec<Case> {
    let wrong = |name, headers: &str| request(name, "POST /count", headers);
    let cases = [
        sent("no HTTP", "hello\r\n\r\n"),
        sent(
            "a version that is none",
            "GET / HTTP/3.7\r\nhost: a.example\r\n\r\n",
        ),
        wrong("a header that is none", "no colon\r\n"),
        wrong("a name that is none", "x y: z\r\n"),
        wrong("a space before the colon", "x-a : b\r\n"),
        wrong("a folded header", "x-a: b\r\n c\r\n"),
        wrong("a control character", "x-a: a\x01b\r\n"),
        wrong("a length that is none", "content-length: -1\r\n"),
        wrong("two lengths", "content-length: 1\r\ncontent-length: 2\r\n"),
        wrong(
            "an encoding that is not known",
            "transfer-encoding: gzip\r\n",
        ),
    ];
    cases
        .into_iter()
        .map(|case| case.status(400).closes())
        .collect()
}
