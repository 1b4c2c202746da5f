//! What a guest sees of a request, and what it never sees.

use super::table::{Case, get, post, sent, steps};
use super::wire::Step;

pub fn cases() -> Vec<Case> {
    [line(), headers(), bodies(), connections(), invalid()]
        .into_iter()
        .flatten()
        .collect()
}

fn facts(method: &str, authority: &str, path: &str, headers: &str) -> String {
    format!("method {method}\nscheme http\nauthority {authority}\npath {path}\n{headers}")
}

/// The same as a 0.3 guest sees it: the request line as it came, which mostly names no host.
fn facts3(method: &str, path: &str, headers: &str) -> String {
    format!("method {method}\nscheme none\nauthority none\npath {path}\n{headers}")
}

fn line() -> Vec<Case> {
    let query = "/facts?a=%20b&c=%2F&d=%zz&e=;,+~";
    let path = "/facts/%2e%2E//./../x%2Fy%C3%BC";
    vec![
        get("a path and query pass as they came", query)
            .only("compat2")
            .body(facts("GET", "a.example", query, "")),
        get("a path and query pass as they came", query)
            .only("compat3")
            .body(facts3("GET", query, "host: a.example\n")),
        get("nothing of a path is normalised", path)
            .only("compat2")
            .body(facts("GET", "a.example", path, "")),
        get("nothing of a path is normalised", path)
            .only("compat3")
            .body(facts3("GET", path, "host: a.example\n")),
        get("a query without a value", "/facts?")
            .only("compat2")
            .body(facts("GET", "a.example", "/facts?", "")),
        sent(
            "bytes beyond ASCII in a path",
            b"GET /facts/\xc3\xbc HTTP/1.1\r\nhost: a.example\r\n\r\n",
        ),
        sent(
            "an absolute target",
            "GET http://b.example:81/facts?x HTTP/1.1\r\nhost: a.example\r\n\r\n",
        )
        .only("compat2")
        .body(facts("GET", "b.example:81", "/facts?x", "")),
        sent(
            "an absolute target",
            "GET http://b.example:81/facts?x HTTP/1.1\r\nhost: a.example\r\n\r\n",
        )
        .only("compat3"),
        sent(
            "an absolute target with https",
            "GET https://b.example/facts HTTP/1.1\r\nhost: a.example\r\n\r\n",
        ),
        sent(
            "an absolute target without a path",
            "GET http://b.example HTTP/1.1\r\nhost: a.example\r\n\r\n",
        ),
        sent(
            "an asterisk",
            "OPTIONS * HTTP/1.1\r\nhost: a.example\r\n\r\n",
        ),
        sent(
            "CONNECT",
            "CONNECT b.example:443 HTTP/1.1\r\nhost: b.example\r\n\r\n",
        ),
        sent(
            "a method of one's own",
            "BREW /facts HTTP/1.1\r\nhost: a.example\r\n\r\n",
        )
        .only("compat2")
        .body(facts("BREW", "a.example", "/facts", "")),
        sent(
            "a method of one's own",
            "BREW /facts HTTP/1.1\r\nhost: a.example\r\n\r\n",
        )
        .only("compat3"),
        sent(
            "a method in lower case",
            "get /facts HTTP/1.1\r\nhost: a.example\r\n\r\n",
        ),
        sent(
            "OPTIONS",
            "OPTIONS /facts HTTP/1.1\r\nhost: a.example\r\n\r\n",
        ),
        sent("TRACE", "TRACE /facts HTTP/1.1\r\nhost: a.example\r\n\r\n"),
        sent(
            "PATCH with a body",
            "PATCH /facts HTTP/1.1\r\nhost: a.example\r\ncontent-length: 2\r\n\r\nhi",
        ),
        sent(
            "DELETE",
            "DELETE /facts HTTP/1.1\r\nhost: a.example\r\n\r\n",
        ),
        get("a long path", &format!("/facts/{}", "x".repeat(8000))),
        sent(
            "a path longer than a URI may be",
            format!(
                "GET /{} HTTP/1.1\r\nhost: a.example\r\n\r\n",
                "x".repeat(66_000)
            ),
        )
        .status(414)
        .closes(),
        sent(
            "line ends without carriage returns",
            "GET /facts HTTP/1.1\nhost: a.example\n\n",
        ),
        sent(
            "empty lines before the request",
            "\r\n\r\nGET /facts HTTP/1.1\r\nhost: a.example\r\n\r\n",
        ),
    ]
}

fn with(name: &'static str, headers: &str) -> Case {
    sent(
        name,
        format!("GET /facts HTTP/1.1\r\nhost: a.example\r\n{headers}\r\n"),
    )
}

fn headers() -> Vec<Case> {
    let many = |count: usize| {
        (0..count)
            .map(|n| format!("x-{n}: {n}\r\n"))
            .collect::<String>()
    };
    vec![
        with("headers pass", "X-One: 1\r\nx-twice: a\r\nx-twice: b\r\nx-empty:\r\n")
            .only("compat2")
            .body(facts("GET", "a.example", "/facts", "x-empty: \nx-one: 1\nx-twice: a\nx-twice: b\n")),
        with("headers pass", "X-One: 1\r\nx-twice: a\r\nx-twice: b\r\nx-empty:\r\n").only("compat3"),
        with("a value that is no text", "x-bytes: caf\u{e9}\r\n"),
        with("spaces around a value", "x-spaced: \t a b \t\r\n"),
        with("forbidden headers are not seen", "te: trailers\r\nupgrade: h2c\r\nkeep-alive: 1\r\nproxy-connection: x\r\nhttp2-settings: x\r\n")
            .only("compat2")
            .body(facts("GET", "a.example", "/facts", "")),
        with("forbidden headers are not seen", "te: trailers\r\nupgrade: h2c\r\nkeep-alive: 1\r\nproxy-connection: x\r\nhttp2-settings: x\r\n")
            .only("compat3"),
        with("what others say of the client passes", "x-forwarded-for: 1.2.3.4\r\nforwarded: for=1.2.3.4\r\nvia: 1.1 x\r\n"),
        with("a place in a trace passes untouched", "traceparent: 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01\r\ntracestate: a=b\r\n"),
        with("a header of 60 kB", &format!("x-large: {}\r\n", "x".repeat(60_000))),
        with("a header of 300 kB", &format!("x-large: {}\r\n", "x".repeat(300_000))),
        with("headers past 400 kB", &format!("x-large: {}\r\n", "x".repeat(500_000)))
            .status(431)
            .closes(),
        with("ninety headers", &many(90)),
        with("more than a hundred headers", &many(150)).status(431).closes(),
        sent("a host with a port", "GET /facts HTTP/1.1\r\nhost: a.example:8080\r\n\r\n")
            .only("compat2")
            .body(facts("GET", "a.example:8080", "/facts", "")),
        sent("an address as host", "GET /facts HTTP/1.1\r\nhost: [::1]:80\r\n\r\n"),
        sent("two hosts", "GET /facts HTTP/1.1\r\nhost: a.example\r\nhost: b.example\r\n\r\n"),
        sent("an empty host", "GET /facts HTTP/1.1\r\nhost:\r\n\r\n"),
        sent("no host", "GET /facts HTTP/1.1\r\n\r\n").only("compat2").fails(),
        sent("no host", "GET /facts HTTP/1.1\r\n\r\n").only("compat3").body(facts3("GET", "/facts", "")),
    ]
}

fn chunked(name: &'static str, path: &str, more: &str, body: &str) -> Case {
    sent(
        name,
        format!(
            "POST {path} HTTP/1.1\r\nhost: a.example\r\ntransfer-encoding: chunked\r\n{more}\r\n{body}"
        ),
    )
}

fn bodies() -> Vec<Case> {
    let large = "0123456789".repeat(30_000);
    let begun = |more: &str| {
        let head = format!(
            "POST /echo HTTP/1.1\r\nhost: a.example\r\ntransfer-encoding: chunked\r\n{more}\r\n"
        );
        Step::Send(head.into_bytes())
    };
    let expecting = "POST /count HTTP/1.1\r\nhost: a.example\r\nexpect: 100-continue\r\ncontent-length: 5\r\n\r\n";
    vec![
        post("a body with its length", "/echo", "hello").body("hello"),
        post("an empty body", "/count", "").body("0 whole"),
        post("a large body goes there and back", "/echo", &large).body(large.clone()),
        chunked(
            "a chunked body",
            "/count",
            "",
            "5\r\nhello\r\n3;ext=1\r\n...\r\n0\r\n\r\n",
        )
        .body("8 whole"),
        chunked(
            "a chunked body without an end",
            "/count",
            "",
            "5\r\nhello\r\n0\r\n\r\n",
        )
        .body("5 whole"),
        chunked(
            "trailers go there and back",
            "/echo",
            "te: trailers\r\ntrailer: x-checksum\r\n",
            "4\r\nbody\r\n0\r\nx-checksum: abc\r\n\r\n",
        )
        .body("body")
        .trailer("x-checksum", "abc"),
        chunked(
            "trailers that the client does not want",
            "/echo",
            "trailer: x-checksum\r\n",
            "4\r\nbody\r\n0\r\nx-checksum: abc\r\n\r\n",
        )
        .body("body"),
        steps(
            "a body streams in both directions at once",
            vec![
                begun(""),
                Step::Send(b"5\r\nfirst\r\n".to_vec()),
                Step::Hear("first"),
                Step::Send(b"6\r\nsecond\r\n0\r\n\r\n".to_vec()),
            ],
        )
        .body("firstsecond"),
        steps(
            "a client that waits to be asked for its body",
            vec![
                Step::Send(expecting.into()),
                Step::Continue,
                Step::Send(b"hello".to_vec()),
            ],
        )
        .body("5 whole"),
        sent(
            "a client that does not wait to be asked",
            format!("{expecting}hello"),
        )
        .body("5 whole"),
        steps(
            "a body that stops early",
            vec![
                Step::Send(
                    b"POST /count HTTP/1.1\r\nhost: a.example\r\ncontent-length: 10\r\n\r\nhello"
                        .to_vec(),
                ),
                Step::End,
            ],
        )
        .status(0)
        .closes(),
        chunked("a chunk that is none", "/count", "", "zz\r\nhello\r\n")
            .body("0 broken")
            .closes(),
        sent(
            "a length and chunks",
            "POST /count HTTP/1.1\r\nhost: a.example\r\ncontent-length: 3\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
        ),
        sent(
            "the same length twice",
            "POST /count HTTP/1.1\r\nhost: a.example\r\ncontent-length: 5\r\ncontent-length: 5\r\n\r\nhello",
        ),
        post("a body that nobody reads", "/status?code=202", "ignored")
            .status(202)
            .body(""),
        post("a body that is read after the response", "/early", "late").body("early"),
        sent(
            "a body with GET",
            "GET /count HTTP/1.1\r\nhost: a.example\r\ncontent-length: 5\r\n\r\nhello",
        )
        .body("5 whole"),
    ]
}

fn connections() -> Vec<Case> {
    let one = "GET /status?code=201 HTTP/1.1\r\nhost: a.example\r\n";
    vec![
        sent(
            "a client that closes",
            format!("{one}connection: close\r\n\r\n"),
        )
        .status(201)
        .header("connection", "close")
        .closes(),
        sent(
            "a client that keeps",
            format!("{one}connection: keep-alive\r\n\r\n"),
        )
        .status(201),
        sent("HTTP/1.0", "GET /facts HTTP/1.0\r\nhost: a.example\r\n\r\n").closes(),
        sent(
            "HTTP/1.0 that keeps",
            "GET /facts HTTP/1.0\r\nhost: a.example\r\nconnection: keep-alive\r\n\r\n",
        )
        .closes(),
        sent("HTTP/1.0 without a host", "GET /facts HTTP/1.0\r\n\r\n")
            .only("compat2")
            .fails()
            .closes(),
        sent("HTTP/1.0 without a host", "GET /facts HTTP/1.0\r\n\r\n")
            .only("compat3")
            .closes(),
        sent(
            "requests one behind the other",
            format!("{one}\r\nGET /facts HTTP/1.1\r\nhost: b.example\r\n\r\n"),
        )
        .answers(2),
        steps(
            "a client that sends nothing more",
            vec![Step::Send(format!("{one}\r\n").into_bytes()), Step::End],
        )
        .status(201)
        .closes(),
        steps("nothing at all", vec![Step::End]).status(0).closes(),
    ]
}

fn invalid() -> Vec<Case> {
    vec![
        sent("no HTTP", "hello\r\n\r\n").status(400).closes(),
        sent("a version that is none", "GET / HTTP/3.7\r\nhost: a.example\r\n\r\n").status(400).closes(),
        sent("HTTP/2 without being asked", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")
            .status(0)
            .closes()
            .differs("wharf serve speaks HTTP/2 as well"),
        sent("a target that is none", "GET facts HTTP/1.1\r\nhost: a.example\r\n\r\n").status(400).closes(),
        sent("a header that is none", "GET / HTTP/1.1\r\nhost: a.example\r\nno colon\r\n\r\n").status(400).closes(),
        sent("a header's name that is none", "GET / HTTP/1.1\r\nhost: a.example\r\nx y: z\r\n\r\n").status(400).closes(),
        sent("a space before the colon", "GET / HTTP/1.1\r\nhost : a.example\r\n\r\n").status(400).closes(),
        sent("a folded header", "GET / HTTP/1.1\r\nhost: a.example\r\nx-a: b\r\n c\r\n\r\n").status(400).closes(),
        sent("a length that is none", "POST /count HTTP/1.1\r\nhost: a.example\r\ncontent-length: -1\r\n\r\n").status(400).closes(),
        sent("two lengths", "POST /count HTTP/1.1\r\nhost: a.example\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\nhi").status(400).closes(),
        sent("an encoding that is not known", "POST /count HTTP/1.1\r\nhost: a.example\r\ntransfer-encoding: gzip\r\n\r\n").status(400).closes(),
        sent("a control character in a value", b"GET / HTTP/1.1\r\nhost: a.example\r\nx: a\x01b\r\n\r\n").status(400).closes(),
    ]
}
