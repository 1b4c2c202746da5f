//! How a guest's response reaches the client, and what does where there is none.

use super::table::{Case, get, post, sent};

pub fn cases() -> Vec<Case> {
    [heads(), bodies(), failures()]
        .into_iter()
        .flatten()
        .collect()
}

fn heads() -> Vec<Case> {
    let head = |name, path: &str| {
        sent(
            name,
            format!("HEAD {path} HTTP/1.1\r\nhost: a.example\r\n\r\n"),
        )
    };
    let mut cases = vec![
        get("headers come as they were set", "/headers")
            .body("headers")
            .header("x-bytes", "caf\\xe9")
            .header("x-empty", "")
            .header("server", "a guest"),
        head("HEAD", "/status?code=200&body=5").body(""),
        head("HEAD of a declared length", "/declared?length=5&sent=5")
            .header("content-length", "5"),
        head("HEAD of nothing", "/untouched"),
        get("a status without a name", "/status?code=299").status(299),
        get("a status beyond the known ones", "/status?code=799").status(799),
        get("no content", "/status?code=204").status(204).body(""),
        get("no content with a body", "/status?code=204&body=5")
            .status(204)
            .body(""),
        get("not modified", "/status?code=304").status(304).body(""),
        get("reset content", "/status?code=205").status(205),
        get("an informational status", "/status?code=103")
            .status(500)
            .closes(),
        get("switching protocols", "/status?code=101")
            .status(500)
            .closes(),
        get("a status that is none", "/status?code=99")
            .status(400)
            .body("refused"),
        get("a guest's own date", "/header?name=x-date&value=1")
            .body("allowed")
            .header("x-date", "1"),
        get("a guest's own server", "/header?name=server&value=me").header("server", "me"),
        get(
            "a guest's own alternatives",
            "/header?name=alt-svc&value=h3",
        )
        .header("alt-svc", "h3"),
    ];
    for (name, path) in [
        (
            "the guest may not set connection",
            "/header?name=connection&value=close",
        ),
        (
            "the guest may not set keep-alive",
            "/header?name=keep-alive&value=1",
        ),
        ("the guest may not set host", "/header?name=host&value=x"),
        (
            "the guest may not set transfer-encoding",
            "/header?name=transfer-encoding&value=chunked",
        ),
        (
            "the guest may not set upgrade",
            "/header?name=upgrade&value=h2c",
        ),
        (
            "the guest may not set a name that is none",
            "/header?name=x%20y&value=1",
        ),
    ] {
        cases.push(get(name, path));
    }
    cases
}

fn bodies() -> Vec<Case> {
    let chunk = |index: usize, pad: usize| format!("chunk {index}{}\n", "x".repeat(pad));
    vec![
        get("a body of unknown length", "/chunks?n=3")
            .body("chunk 0\nchunk 1\nchunk 2\n")
            .header("transfer-encoding", "chunked"),
        get("a large body", "/chunks?n=40&pad=100000").body(
            (0..40)
                .map(|index| chunk(index, 100_000))
                .collect::<String>(),
        ),
        get("a body of a declared length", "/declared?length=5&sent=5")
            .body("xxxxx")
            .header("content-length", "5"),
        get("a declared length of nothing", "/declared?length=0&sent=0")
            .body("")
            .header("content-length", "0"),
        get("no body", "/untouched")
            .body("")
            .header("content-length", "0"),
        get("an empty body", "/status?code=200").body(""),
        sent(
            "trailers",
            "GET /trailers HTTP/1.1\r\nhost: a.example\r\nte: trailers\r\n\r\n",
        )
        .body("body")
        .trailer("x-checksum", "abc"),
        get("trailers that the client does not want", "/trailers").body("body"),
        sent(
            "a body of unknown length to HTTP/1.0",
            "GET /chunks?n=2 HTTP/1.0\r\nhost: a.example\r\n\r\n",
        )
        .body("chunk 0\nchunk 1\n")
        .closes(),
        get("work after the response", "/after?name=response").body("before"),
        post(
            "a response before the request's body is read",
            "/early",
            "x",
        )
        .body("early"),
    ]
}

fn failures() -> Vec<Case> {
    vec![
        get("a guest that answers an error", "/error").fails(),
        get("a guest that traps", "/trap").fails(),
        post("a guest that traps with a body under way", "/trap", "hello").fails(),
        get("a guest that sets no response", "/no-response")
            .only("compat2")
            .fails(),
        get("a trap after the response began", "/trap-after")
            .only("compat2")
            .body("begun")
            .breaks(),
        get("a trap after the response began", "/trap-after")
            .only("compat3")
            .body("begun")
            .breaks(),
        get("a trap after the response was whole", "/trap-at-the-end")
            .only("compat2")
            .body("whole"),
        get("a body that is left unfinished", "/unfinished")
            .only("compat2")
            .body("begun"),
        get("a body that ends in an error", "/unfinished")
            .only("compat3")
            .body("begun")
            .breaks(),
        get(
            "less than the declared length",
            "/declared?length=10&sent=5",
        )
        .breaks(),
        get(
            "more than the declared length",
            "/declared?length=5&sent=10",
        ),
        get(
            "a declared length that is none",
            "/declared?length=x&sent=5",
        ),
    ]
}

/// What is answered where a request may take a quarter of a second.
pub fn late() -> Vec<Case> {
    vec![
        get("a guest that never answers", "/never").fails(),
        get("a guest that computes for ever", "/spin").fails(),
        get("a guest that answers in time", "/status?code=201").status(201),
    ]
}
