//! The admin API: it answers whoever has the token, as its own description says, and nobody else.

use std::collections::BTreeSet;
use std::os::unix::fs::PermissionsExt;
use std::time::Duration;

use http::Request;
use serde_json::{Value, json};

use crate::harness::client::{Body, channel, empty, full, send_data};
use crate::harness::{Host, Launch, Manifest, Reply, eventually, guest};

/// An operator: a client that shows the host's token.
struct Operator<'a> {
    host: &'a Host,
    token: String,
}

impl<'a> Operator<'a> {
    fn of(host: &'a Host) -> Self {
        let path = host.state().path().join("admin-token");
        let token = std::fs::read_to_string(path).expect("the host has made a token");
        Self {
            host,
            token: token.trim_end().to_owned(),
        }
    }

    fn request(&self, method: &str, path: &str, body: Body) -> Request<Body> {
        let request = self.host.operator().request(method, path);
        let token = format!("Bearer {}", self.token);
        request.header("authorization", token).body(body).unwrap()
    }

    async fn call(&self, method: &str, path: &str, body: Body) -> Reply {
        let request = self.request(method, path, body);
        self.host.operator().send(request).await
    }

    async fn get(&self, path: &str) -> Reply {
        self.call("GET", path, empty()).await
    }

    async fn post(&self, path: &str, value: Value) -> Reply {
        self.call("POST", path, full(value.to_string())).await
    }

    async fn document(&self) -> Value {
        self.get("/v1/openapi.json").await.expect(200).json()
    }

    /// Stores the artifact of `guest`; gives its digest.
    async fn store(&self, name: &str) -> String {
        let bytes = std::fs::read(guest(name)).unwrap();
        let reply = self.call("POST", "/v1/artifacts", full(bytes)).await;
        let stored = reply.expect(201).json();
        stored["digest"].as_str().unwrap().to_owned()
    }

    /// Waits until a rollout has ended.
    async fn ended(&self, id: u64) -> Value {
        let what = format!("rollout {id} ends");
        eventually(&what, Duration::from_secs(60), async || {
            let path = format!("/v1/rollouts/{id}");
            let rollout = self.get(&path).await.expect(200).json();
            rollout["ended_at_ms"].is_u64().then_some(rollout)
        })
        .await
    }
}

async fn hello() -> Host {
    Launch::of(&Manifest::serving("hello", "")).start().await
}

/// Everything that the document says there is: method, path, and what it says of it.
pub fn operations(document: &Value) -> Vec<(String, String, Value)> {
    let mut found = Vec::new();
    for (path, item) in document["paths"].as_object().expect("paths") {
        for (method, operation) in item.as_object().expect("operations") {
            found.push((method.to_ascii_uppercase(), path.clone(), operation.clone()));
        }
    }
    found
}

/// Asserts that `reply` is one that the document has for this method and path; gives its status.
#[track_caller]
pub fn assert_documented(document: &Value, method: &str, path: &str, reply: &Reply) -> u16 {
    let what = format!("{method} {path} -> {}", reply.status);
    let operation = &document["paths"][path][method.to_ascii_lowercase()];
    assert!(operation.is_object(), "{what}: no such operation");
    let response = &operation["responses"][reply.status.to_string()];
    assert!(
        response.is_object(),
        "{what} is not documented: {}",
        reply.text()
    );
    let kind = reply.header("content-type").unwrap_or_default();
    let media = &response["content"][kind];
    assert!(media.is_object(), "{what}: {kind} is not documented");
    let headers = response["headers"].as_object();
    for name in headers.into_iter().flat_map(|headers| headers.keys()) {
        assert!(reply.header(name).is_some(), "{what}: no {name}");
    }
    if kind == "application/json" {
        let schema = json!({
            "allOf": [media["schema"]],
            "components": document["components"],
        });
        let validator = jsonschema::draft202012::new(&schema).expect("a schema");
        let body = reply.json();
        let errors: Vec<String> = validator
            .iter_errors(&body)
            .map(|error| format!("{}: {error}", error.instance_path()))
            .collect();
        assert!(errors.is_empty(), "{what}: {errors:?} in {body}");
    }
    reply.status
}

/// A request's schema takes what the request says.
#[track_caller]
fn assert_takes(document: &Value, method: &str, path: &str, body: &Value) {
    let operation = &document["paths"][path][method.to_ascii_lowercase()];
    let media = &operation["requestBody"]["content"]["application/json"];
    let schema = json!({
        "allOf": [media["schema"]],
        "components": document["components"],
    });
    let validator = jsonschema::draft202012::new(&schema).expect("a schema");
    assert!(validator.is_valid(body), "{method} {path} takes {body}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_token_is_the_owners_alone_and_stays_over_a_restart() {
    let manifest = Manifest::serving("hello", "");
    let host = Launch::of(&manifest).start().await;
    let state = host.state().clone();
    let path = state.path().join("admin-token");
    let mode = std::fs::metadata(&path).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let token = Operator::of(&host).token;
    assert!(token.len() >= 43, "32 random bytes");
    let address = std::fs::read_to_string(state.path().join("admin-address")).unwrap();
    assert_eq!(address.trim_end(), host.admin.to_string());
    host.stop().await;
    let host = Launch::of(&manifest).state(&state).start().await;
    assert_eq!(Operator::of(&host).token, token);
    assert!(!host.log().contains(&token), "it is not logged");
    host.stop().await;
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o644)).unwrap();
    let refused = Launch::of(&manifest).state(&state).try_start().await;
    let failure = refused.err().expect("it must not start");
    assert!(failure.contains("chmod 600"), "{failure}");
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_below_v1_answers_without_the_token() {
    let host = hello().await;
    let operator = Operator::of(&host);
    let document = operator.document().await;
    let mut paths: BTreeSet<(String, String)> = operations(&document)
        .into_iter()
        .map(|(method, path, _)| (method, path))
        .collect();
    paths.insert(("GET".to_owned(), "/v1".to_owned()));
    paths.insert(("GET".to_owned(), "/v1/nothing".to_owned()));
    let wrong = "A".repeat(operator.token.len());
    for (method, template) in paths {
        let path = template
            .replace("{component}", "hello")
            .replace("{id}", "1")
            .replace("{subject}", "work")
            .replace("{group}", "hello");
        for authorization in [
            None,
            Some(format!("Bearer {wrong}")),
            Some("Bearer".to_owned()),
            Some(format!("Basic {}", operator.token)),
        ] {
            let mut request = host.operator().request(&method, &path);
            if let Some(authorization) = &authorization {
                request = request.header("authorization", authorization);
            }
            let reply = host.operator().send(request.body(empty()).unwrap()).await;
            assert_eq!(reply.status, 401, "{method} {path} {authorization:?}");
            assert_eq!(reply.header("www-authenticate"), Some("Bearer"));
        }
        let reply = host.client().get(&path).await.expect(404);
        assert_eq!(reply.text(), "no such path in hello", "{path}");
    }
    for open in ["/healthz", "/readyz", "/metrics"] {
        host.operator().get(open).await.expect(200);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_for_another_hosts_name_are_refused() {
    let host = hello().await;
    let operator = Operator::of(&host);
    let port = host.admin.port();
    for (name, status) in [
        ("evil.example".to_owned(), 421),
        (format!("evil.example:{port}"), 421),
        (format!("localhost:{port}"), 200),
        (format!("127.0.0.1:{port}"), 200),
    ] {
        let mut request = operator.request("GET", "/v1/openapi.json", empty());
        request.headers_mut().insert("host", name.parse().unwrap());
        let reply = host.operator().send(request).await;
        assert_eq!(reply.status, status, "{name}: {}", reply.text());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_documented_does_not_answer() {
    let host = hello().await;
    let operator = Operator::of(&host);
    let document = operator.document().await;
    for path in [
        "/v1",
        "/v1/",
        "/v1/component",
        "/v1/components/",
        "/v1/components/hello",
        "/v1/components/hello/revisions/1",
        "/v1/rollouts/1/events/1",
        "/v1/openapi",
    ] {
        let reply = operator.get(path).await.expect(404);
        assert!(reply.json()["error"].is_string());
    }
    let known = operations(&document);
    for (_, template, _) in &known {
        let path = template
            .replace("{component}", "hello")
            .replace("{id}", "1")
            .replace("{subject}", "work")
            .replace("{group}", "hello");
        for method in ["GET", "POST", "PUT", "PATCH", "DELETE"] {
            if known.iter().any(|(m, p, _)| m == method && p == template) {
                continue;
            }
            let reply = operator.call(method, &path, empty()).await.expect(405);
            let allow = reply.header("allow").expect("what is allowed").to_owned();
            for (other, _, _) in known.iter().filter(|(_, p, _)| p == template) {
                assert!(allow.contains(other.as_str()), "{path}: {allow}");
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_call_answers_as_its_description_says() {
    let host = hello().await;
    let operator = Operator::of(&host);
    let document = operator.document().await;
    assert_eq!(document["openapi"], "3.1.0");
    let mut called: BTreeSet<(String, String)> = BTreeSet::new();
    let mut check = |method: &str, path: &str, reply: &Reply, status: u16| {
        let found = assert_documented(&document, method, path, reply);
        assert_eq!(found, status, "{method} {path}: {}", reply.text());
        called.insert((method.to_owned(), path.to_owned()));
    };

    let reply = operator.get("/v1/openapi.json").await;
    check("GET", "/v1/openapi.json", &reply, 200);
    let reply = operator.get("/v1/components").await;
    check("GET", "/v1/components", &reply, 200);
    assert_eq!(reply.json()[0]["component"], "hello");

    let path = "/v1/components/{component}/revisions";
    let reply = operator.get("/v1/components/hello/revisions").await;
    check("GET", path, &reply, 200);
    assert_eq!(reply.json()[0]["current"], true);
    let reply = operator.get("/v1/components/nobody/revisions").await;
    check("GET", path, &reply, 404);
    let reply = operator.get("/v1/components/No_Name/revisions").await;
    check("GET", path, &reply, 400);

    let path = "/v1/artifacts";
    let digest = operator.store("hello3").await;
    let bytes = std::fs::read(guest("hello3")).unwrap();
    let with = format!("/v1/artifacts?sha256={digest}");
    let reply = operator.call("POST", &with, full(bytes.clone())).await;
    check("POST", path, &reply, 201);
    let other = format!("/v1/artifacts?sha256={}", "0".repeat(64));
    let reply = operator.call("POST", &other, full(bytes)).await;
    check("POST", path, &reply, 422);
    let reply = operator
        .call("POST", "/v1/artifacts?colour=blue", empty())
        .await;
    check("POST", path, &reply, 400);

    let path = "/v1/components/{component}/rollouts";
    let at = "/v1/components/hello/rollouts";
    let planned = json!({ "artifact": digest, "by": "test", "dry_run": true });
    assert_takes(&document, "POST", path, &planned);
    let reply = operator.post(at, planned).await;
    check("POST", path, &reply, 200);
    assert_eq!(reply.json()["digest"], digest.as_str());
    let unknown = json!({ "artifact": "0".repeat(64), "by": "test" });
    check("POST", path, &operator.post(at, unknown).await, 422);
    for malformed in [
        json!({ "artifact": digest }),
        json!({ "artifact": digest, "by": "test", "colour": "blue" }),
        json!({ "artifact": "short", "by": "test" }),
        json!({ "artifact": digest, "by": "test", "canary": { "steps": [101], "bake_ms": 1 } }),
        json!([]),
    ] {
        check("POST", path, &operator.post(at, malformed).await, 400);
    }
    let nobody = "/v1/components/nobody/rollouts";
    let swap = json!({ "artifact": digest, "by": "test" });
    assert_takes(&document, "POST", path, &swap);
    let reply = operator.post(nobody, swap.clone()).await;
    check("POST", path, &reply, 404);
    let reply = operator.post(at, swap).await;
    check("POST", path, &reply, 202);
    let swapped = reply.json()["id"].as_u64().expect("its number");
    let location = format!("/v1/rollouts/{swapped}");
    assert_eq!(reply.header("location"), Some(location.as_str()));

    let path = "/v1/rollouts/{id}/events";
    let reply = operator.get(&format!("{location}/events")).await;
    check("GET", path, &reply, 200);
    assert_events(&document, &reply);
    check(
        "GET",
        path,
        &operator.get("/v1/rollouts/9999/events").await,
        404,
    );

    let path = "/v1/rollouts/{id}";
    let rollout = operator.ended(swapped).await;
    assert_eq!(rollout["state"], "completed", "{rollout}");
    check("GET", path, &operator.get(&location).await, 200);
    check("GET", path, &operator.get("/v1/rollouts/9999").await, 404);
    check("GET", path, &operator.get("/v1/rollouts/one").await, 400);
    let reply = operator.call("DELETE", &location, empty()).await;
    check("DELETE", path, &reply, 409);
    let reply = operator.call("DELETE", "/v1/rollouts/9999", empty()).await;
    check("DELETE", path, &reply, 404);

    let path = "/v1/components/{component}/rollback";
    let at = "/v1/components/hello/rollback";
    let request = json!({ "by": "test" });
    assert_takes(&document, "POST", path, &request);
    let reply = operator.post(at, request).await;
    check("POST", path, &reply, 202);
    operator.ended(reply.json()["id"].as_u64().unwrap()).await;
    let reply = operator.post(at, json!({ "by": "test", "to": 9999 })).await;
    check("POST", path, &reply, 404);
    let reply = operator.post(at, json!({ "to": 1 })).await;
    check("POST", path, &reply, 400);

    let path = "/v1/rollouts";
    let reply = operator.get("/v1/rollouts?component=hello&limit=1").await;
    check("GET", path, &reply, 200);
    assert_eq!(reply.json().as_array().map(Vec::len), Some(1));
    check("GET", path, &operator.get("/v1/rollouts").await, 200);
    for bad in ["limit=0", "limit=1001", "component=No_Name", "colour=blue"] {
        let reply = operator.get(&format!("/v1/rollouts?{bad}")).await;
        check("GET", path, &reply, 400);
    }

    let path = "/v1/application";
    let manifest = Manifest::serving("hello", "[component.hello.environment]\nA = \"b\"\n");
    let apply = |dry_run: bool, artifact: &str| {
        json!({
            "manifest": std::fs::read_to_string(manifest.path()).unwrap(),
            "path": manifest.path(),
            "artifacts": { "hello": artifact },
            "by": "test",
            "dry_run": dry_run,
        })
    };
    assert_takes(&document, "POST", path, &apply(true, &digest));
    let reply = operator.post(path, apply(true, &digest)).await;
    check("POST", path, &reply, 200);
    let reply = operator.post(path, apply(false, &digest)).await;
    check("POST", path, &reply, 202);
    for rollout in reply.json()["rollouts"].as_array().unwrap() {
        let rollout = operator.ended(rollout.as_u64().unwrap()).await;
        assert_eq!(rollout["state"], "completed", "{rollout}");
    }
    let reply = host.client().get("/env?name=A").await.expect(200);
    assert_eq!(reply.text(), "b");

    // Those on streams are tried where there are some.
    let documented: BTreeSet<(String, String)> = operations(&document)
        .into_iter()
        .map(|(method, path, _)| (method, path))
        .filter(|(_, path)| !path.starts_with("/v1/streams"))
        .collect();
    assert_eq!(called, documented);
}

/// The events of a rollout that went well: each as its schema says, the last one with the final state.
fn assert_events(document: &Value, reply: &Reply) {
    let schema = json!({
        "$ref": "#/components/schemas/RolloutEvent",
        "components": document["components"],
    });
    let validator = jsonschema::draft202012::new(&schema).expect("a schema");
    let text = reply.text();
    let mut last = Value::Null;
    for block in text.split("\n\n").filter(|block| !block.is_empty()) {
        if block.starts_with(':') {
            continue;
        }
        let (name, data) = block.split_once('\n').expect("a name and data");
        let data = data.strip_prefix("data: ").expect("data");
        last = serde_json::from_str(data).expect("JSON");
        assert!(validator.is_valid(&last), "{last}");
        assert_eq!(
            name.strip_prefix("event: "),
            last["event"].as_str(),
            "{block}"
        );
    }
    assert_eq!(last["event"], "state", "{text}");
    assert_eq!(last["state"], "completed", "{text}");
    assert!(reply.broken.is_none(), "{reply:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_past_its_limit_is_refused_before_it_is_taken() {
    let host = hello().await;
    let operator = Operator::of(&host);
    // What says its length is refused with not one byte of it sent.
    for (path, bytes) in [
        ("/v1/application", (1u64 << 20) + 1),
        ("/v1/streams/work/messages", (6 << 20) + (64 << 10) + 1),
        ("/v1/artifacts", (256 << 20) + 1),
    ] {
        let (_sender, body) = channel();
        let mut request = operator.request("POST", path, body);
        let length = bytes.to_string().parse().unwrap();
        request.headers_mut().insert("content-length", length);
        let response = host.operator().open(request).await;
        assert_eq!(response.status(), 413, "{path}");
    }
    // What does not is refused once it is too long.
    let (sender, body) = channel();
    let request = operator.request("POST", "/v1/components/hello/rollouts", body);
    send_data(&sender, vec![b' '; (1 << 20) + 1]);
    let response = host.operator().open(request).await;
    assert_eq!(response.status(), 413);
}

#[tokio::test(flavor = "multi_thread")]
async fn clients_that_say_nothing_do_not_keep_others_waiting() {
    let host = hello().await;
    let operator = Operator::of(&host);
    let mut silent = Vec::new();
    for _ in 0..50 {
        silent.push(tokio::net::TcpStream::connect(host.admin).await.unwrap());
    }
    let (_sender, body) = channel();
    let slow = operator.request("POST", "/v1/components/hello/rollouts", body);
    let client = host.operator();
    let slow = tokio::spawn(async move { client.try_send(slow).await });
    let answered = tokio::time::timeout(Duration::from_secs(5), operator.get("/v1/openapi.json"));
    answered.await.expect("it is answered").expect(200);
    host.operator().get("/healthz").await.expect(200);
    slow.abort();
}
