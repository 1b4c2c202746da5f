//! An operator of a running host: the admin API as a program uses it.

use std::time::Duration;

use bytes::Bytes;
use hyper::body::Incoming;
use serde_json::{Map, Value, json};
use tokio::time::Instant;

use super::client::{empty, full, try_next_data};
use super::{Client, Host, Reply, eventually};

/// Longer than any rollout of a test takes; compiling shares two cores with everything else.
const ENDS_WITHIN: Duration = Duration::from_secs(120);

/// The admin API, with the token of the host's state directory.
#[derive(Clone)]
pub struct Operator {
    client: Client,
    token: String,
}

/// A swap to be asked for, as the API takes it.
#[derive(Clone)]
pub struct Swap(Map<String, Value>);

impl Swap {
    /// The current artifact with the current configuration, until more is said.
    pub fn new() -> Self {
        let mut body = Map::new();
        body.insert("by".to_owned(), "a test".into());
        Self(body)
    }

    /// Another value of `REVISION`, which the fixtures answer.
    pub fn to_revision(value: &str) -> Self {
        Self::new().config("REVISION", value)
    }

    pub fn config(mut self, name: &str, value: &str) -> Self {
        let config = self.0.entry("config").or_insert_with(|| json!({}));
        config[name] = value.into();
        self
    }

    /// An artifact that was uploaded.
    pub fn artifact(mut self, digest: &str) -> Self {
        self.0.insert("artifact".to_owned(), digest.into());
        self
    }

    /// With these percentages of the work first, each watched for `bake`.
    pub fn canary(mut self, steps: &[f64], bake: Duration, samples_min: u64) -> Self {
        let canary = json!({
            "steps": steps,
            "bake_ms": bake.as_millis() as u64,
            "samples_min": samples_min,
        });
        self.0.insert("canary".to_owned(), canary);
        self
    }

    pub fn dry_run(mut self) -> Self {
        self.0.insert("dry_run".to_owned(), true.into());
        self
    }
}

impl Operator {
    pub fn of(host: &Host) -> Self {
        let path = host.state().path().join("admin-token");
        let token = std::fs::read_to_string(&path)
            .unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        Self {
            client: host.operator(),
            token: token.trim().to_owned(),
        }
    }

    fn request(&self, method: &str, path: &str) -> http::request::Builder {
        self.client
            .request(method, path)
            .header("authorization", format!("Bearer {}", self.token))
    }

    pub async fn get(&self, path: &str) -> Reply {
        let request = self.request("GET", path).body(empty()).unwrap();
        self.client.send(request).await
    }

    pub async fn delete(&self, path: &str) -> Reply {
        let request = self.request("DELETE", path).body(empty()).unwrap();
        self.client.send(request).await
    }

    pub async fn post(&self, path: &str, body: &Value) -> Reply {
        let request = self
            .request("POST", path)
            .header("content-type", "application/json")
            .body(full(body.to_string()))
            .unwrap();
        self.client.send(request).await
    }

    /// Uploads an artifact; its digest.
    pub async fn upload(&self, bytes: impl Into<Bytes>) -> String {
        let reply = self.try_upload(bytes, "").await.expect(201).json();
        reply["digest"].as_str().expect("a digest").to_owned()
    }

    /// Uploads an artifact; the answer. `query` is what follows the path.
    pub async fn try_upload(&self, bytes: impl Into<Bytes>, query: &str) -> Reply {
        let request = self
            .request("POST", &format!("/v1/artifacts{query}"))
            .header("content-type", "application/wasm")
            .body(full(bytes))
            .unwrap();
        self.client.send(request).await
    }

    /// Asks for a swap; the answer.
    pub async fn try_swap(&self, component: &str, swap: Swap) -> Reply {
        let path = format!("/v1/components/{component}/rollouts");
        self.post(&path, &Value::Object(swap.0)).await
    }

    /// Begins a swap; the rollout's number.
    pub async fn begin(&self, component: &str, swap: Swap) -> u64 {
        id_of(&self.try_swap(component, swap).await.expect(202).json())
    }

    /// Swaps, up to the switch or until it is clear that there will be none.
    pub async fn swap(&self, component: &str, swap: Swap) -> Value {
        let id = self.begin(component, swap).await;
        self.decided(id).await
    }

    /// Swaps, which must succeed.
    pub async fn swapped(&self, component: &str, swap: Swap) -> Value {
        let rollout = self.swap(component, swap).await;
        assert_success(&rollout);
        rollout
    }

    /// Asks to go back to a revision, or to the one before; the answer.
    pub async fn roll_back(&self, component: &str, to: Option<u64>) -> Reply {
        let path = format!("/v1/components/{component}/rollback");
        self.post(&path, &json!({ "to": to, "by": "a test" })).await
    }

    pub async fn rollout(&self, id: u64) -> Value {
        let reply = self.get(&format!("/v1/rollouts/{id}")).await;
        reply.expect(200).json()
    }

    /// The rollout, once it has switched or ended.
    pub async fn decided(&self, id: u64) -> Value {
        self.becomes(id, |state| state != "running").await
    }

    /// The rollout, once nothing more will happen in it.
    pub async fn ended(&self, id: u64) -> Value {
        self.becomes(id, |state| !matches!(state, "running" | "switched"))
            .await
    }

    async fn becomes(&self, id: u64, wanted: impl Fn(&str) -> bool) -> Value {
        eventually(&format!("rollout {id} goes on"), ENDS_WITHIN, async || {
            let rollout = self.rollout(id).await;
            wanted(rollout["state"].as_str().expect("a state")).then_some(rollout)
        })
        .await
    }

    /// What happens in a rollout, from its beginning.
    pub async fn events(&self, id: u64) -> Events {
        let path = format!("/v1/rollouts/{id}/events");
        let request = self.request("GET", &path).body(empty()).unwrap();
        let response = self.client.open(request).await;
        assert_eq!(response.status(), 200);
        Events {
            incoming: response.into_body(),
            text: Vec::new(),
        }
    }

    /// The newest rollouts first.
    pub async fn history(&self, component: &str) -> Vec<Value> {
        let reply = self
            .get(&format!("/v1/rollouts?component={component}"))
            .await;
        list(reply)
    }

    pub async fn revisions(&self, component: &str) -> Vec<Value> {
        let reply = self
            .get(&format!("/v1/components/{component}/revisions"))
            .await;
        list(reply)
    }

    /// What lives of a component, the current revision first.
    pub async fn living(&self, component: &str) -> Vec<Value> {
        let components = list(self.get("/v1/components").await);
        let named = components
            .into_iter()
            .find(|each| each["component"] == component);
        let status = named.unwrap_or_else(|| panic!("there is no component {component}"));
        status["revisions"].as_array().expect("a list").clone()
    }

    /// The number of a component's active revision.
    pub async fn active(&self, component: &str) -> u64 {
        let living = self.living(component).await;
        let active = living.iter().find(|each| each["role"] == "active");
        active.expect("one is active")["revision"]
            .as_u64()
            .expect("a number")
    }

    /// Waits until a component has a living revision in this role; its number.
    pub async fn in_role(&self, component: &str, role: &str) -> u64 {
        let what = format!("a revision of {component} is {role}");
        eventually(&what, ENDS_WITHIN, async || {
            let living = self.living(component).await;
            let found = living.iter().find(|each| each["role"] == role)?;
            found["revision"].as_u64()
        })
        .await
    }

    /// Waits until only the active revision lives.
    pub async fn alone(&self, component: &str) {
        let what = format!("only one revision of {component} lives");
        eventually(&what, ENDS_WITHIN, async || {
            (self.living(component).await.len() == 1).then_some(())
        })
        .await;
    }
}

fn list(reply: Reply) -> Vec<Value> {
    let value = reply.expect(200).json();
    value.as_array().expect("a list").clone()
}

/// The events of one rollout, as they arrive.
pub struct Events {
    incoming: Incoming,
    text: Vec<u8>,
}

impl Events {
    /// The next one; `None` after the last, or where the host went away.
    pub async fn next(&mut self) -> Option<Value> {
        loop {
            if let Some(end) = self.text.windows(2).position(|two| two == b"\n\n") {
                let event: Vec<u8> = self.text.drain(..end + 2).collect();
                // A comment keeps the connection alive and has no data.
                if let Some(value) = data_of(&String::from_utf8_lossy(&event)) {
                    return Some(value);
                }
                continue;
            }
            let piece = try_next_data(&mut self.incoming).await?;
            self.text.extend_from_slice(&piece);
        }
    }

    /// Reads on until `wanted`, which must come.
    pub async fn until(&mut self, wanted: impl Fn(&Value) -> bool) -> Value {
        let mut seen = Vec::new();
        let deadline = Instant::now() + ENDS_WITHIN;
        while let Some(event) = self.next().await {
            if wanted(&event) {
                return event;
            }
            seen.push(event);
            assert!(Instant::now() < deadline, "not among {seen:?}");
        }
        panic!("not among {seen:?}");
    }

    /// Reads on until a step begins.
    pub async fn until_begun(&mut self, step: &str) {
        self.until(|event| event["event"] == "began" && event["step"] == step)
            .await;
    }

    /// Reads on until the rollout has switched or ended; its state.
    pub async fn decision(&mut self) -> Value {
        self.until(|event| event["event"] == "state" && event["state"] != "running")
            .await
    }
}

fn data_of(event: &str) -> Option<Value> {
    let lines = event.lines().filter_map(|line| line.strip_prefix("data:"));
    let data: Vec<&str> = lines.map(str::trim_start).collect();
    (!data.is_empty()).then(|| serde_json::from_str(&data.join("\n")).expect("data is JSON"))
}

pub fn id_of(rollout: &Value) -> u64 {
    rollout["id"].as_u64().expect("a rollout has a number")
}

#[track_caller]
pub fn assert_success(rollout: &Value) {
    let state = rollout["state"].as_str().expect("a state");
    assert!(matches!(state, "switched" | "completed"), "{rollout:#}");
}

/// Asserts how it ended, and that the reason has all of `words` in it.
#[track_caller]
pub fn assert_ended(rollout: &Value, state: &str, words: &[&str]) {
    assert_eq!(rollout["state"], state, "{rollout:#}");
    let reason = rollout["reason"].as_str().unwrap_or_default();
    for word in words {
        assert!(reason.contains(word), "no {word:?} in {reason:?}");
    }
}
