//! How a guest's response reaches the client, and what does where there is none.

use super::table::{Case, get, held, post, request};

pub fn cases() -> Vec<Case> {
    [heads(), bodies(), failures()]
        .into_iter()
        .flatten()
        .collect()
}

fn heads() -> Vec<Case> {
    let head = |name, path: &str| request(name, &format!("HEAD {path}"), "");
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
        get("a status that nobody knows", "/status?code=799")
            .only("compat2")
            .status(799),
        get("a status that nobody knows", "/status?code=799")
            .only("compat3")
            .status(400),
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
            .status(101)
            .closes(),
        get("a status that is none", "/status?code=99")
            .status(400)
            .body("refused"),
    ];
    for (name, value) in [
        ("server", "me"),
        ("alt-svc", "h3"),
        ("www-authenticate", "Basic"),
    ] {
        let path = format!("/header?name={name}&value={value}");
        cases.push(
            get("a header that the guest may set", &path)
                .body("allowed")
                .header(name, value),
        );
    }
    for (name, value) in [
        ("connection", "close"),
        ("keep-alive", "1"),
        ("host", "x"),
        ("transfer-encoding", "chunked"),
        ("upgrade", "h2c"),
        ("proxy-authenticate", "Basic"),
        ("x%20y", "1"),
    ] {
        let path = format!("/header?name={name}&value={value}");
        cases.push(get("a header that the guest may not set", &path));
    }
    cases
}

fn bodies() -> Vec<Case> {
    let pad = "x".repeat(100_000);
    let large: String = (0..40)
        .map(|index| format!("chunk {index}{pad}\n"))
        .collect();
    vec![
        get("a body of unknown length", "/chunks?n=3")
            .body("chunk 0\nchunk 1\nchunk 2\n")
            .header("transfer-encoding", "chunked"),
        get("a large body", "/chunks?n=40&pad=100000").body(large),
        get("a body of a declared length", "/declared?length=5&sent=5")
            .body("xxxxx")
            .header("content-length", "5"),
        get("a declared length of nothing", "/declared?length=0&sent=0")
            .body("")
            .header("content-length", "0"),
        get("no body", "/untouched").body(""),
        get("an empty body", "/status?code=200").body(""),
        request("trailers", "GET /trailers", "te: trailers\r\n")
            .body("body")
            .trailer("x-checksum", "abc"),
        get("trailers that the client does not want", "/trailers").body("body"),
        get("work after the response", "/after?name=response").body("before"),
        post(
            "a response before the request's body is read",
            "/early",
            "x",
        )
        .body("early"),
    ]
}

/// Where both programs have begun a response that fails at once, the other drops what it has not sent.
const SENT_FIRST: &str = "what came before a failure reaches the client first, so that it sees a \
                          response that breaks off, not a request that nobody answered";

fn failures() -> Vec<Case> {
    vec![
        get("a guest that answers an error", "/error").fails(),
        get("a guest that traps", "/trap").fails(),
        post("a guest that traps with a body under way", "/trap", "hello").fails(),
        get("a guest that sets no response", "/no-response")
            .only("compat2")
            .fails(),
        held("a trap after the response began", "/trap-after", "begun")
            .body("begun")
            .breaks()
            .differs("half a response must not look whole"),
        get("a trap after the response was whole", "/trap-at-the-end")
            .only("compat2")
            .body("whole"),
        held("a body that is left unfinished", "/unfinished", "begun")
            .body("begun")
            .breaks(),
        held(
            "less than the declared length",
            "/declared?length=10&sent=5",
            "xxxxx",
        )
        .body("xxxxx")
        .breaks(),
        get("a failure at once", "/trap-after")
            .breaks()
            .may_differ(SENT_FIRST),
        get("an unfinished body at once", "/unfinished")
            .breaks()
            .may_differ(SENT_FIRST),
        get(
            "more than the declared length",
            "/declared?length=5&sent=10",
        )
        .only("compat2"),
        get(
            "more than the declared length",
            "/declared?length=5&sent=10",
        )
        .only("compat3")
        .breaks()
        .may_differ(SENT_FIRST),
        get(
            "a declared length that is none",
            "/declared?length=x&sent=5",
        )
        .fails(),
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
