//! The running application, and its users.

use std::path::Path;
use std::sync::{Arc, LazyLock, Weak};
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use serde_json::{Value, json};
use tokio::sync::{Mutex, OnceCell};

use crate::harness::client::{Body, empty, full};
use crate::harness::manifest::Scratch;
use crate::harness::{Client, Host, Launch, Manifest, Reply, artifacts, eventually, scratch};

/// Conversions of every test share two cores.
const CONVERTED_WITHIN: Duration = Duration::from_secs(180);

/// The host that tests share.
pub struct App {
    pub host: Host,
}

impl App {
    /// The shared host, started where nobody uses it at the moment.
    pub async fn shared() -> Arc<Self> {
        static SHARED: LazyLock<Mutex<Weak<App>>> = LazyLock::new(Mutex::default);
        static STATE: LazyLock<Scratch> = LazyLock::new(scratch);
        let mut shared = SHARED.lock().await;
        if let Some(app) = shared.upgrade() {
            return app;
        }
        let host = Launch::at(&artifacts::application())
            .state(&STATE)
            .start()
            .await;
        let app = Arc::new(Self { host });
        *shared = Arc::downgrade(&app);
        app
    }

    /// A host of the caller's own, with code compiled for the shared one.
    pub async fn own(manifest: &Manifest) -> Host {
        let state = Self::compiled().await;
        Launch::of(manifest).state(&state).start().await
    }

    /// A state directory of the caller's own, with code compiled for the shared host.
    pub async fn compiled() -> Scratch {
        static CODE: OnceCell<Scratch> = OnceCell::const_new();
        let taken = CODE.get_or_init(async || {
            let app = App::shared().await;
            let code = scratch();
            copy(&app.host.state().path().join("code"), code.path());
            code
        });
        let state = scratch();
        copy(taken.await.path(), &state.path().join("code"));
        state
    }
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).expect("a scratch directory can be written");
    for entry in std::fs::read_dir(from).into_iter().flatten().flatten() {
        let target = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy(&entry.path(), &target);
        } else {
            std::fs::copy(entry.path(), target).expect("compiled code can be copied");
        }
    }
}

/// The shipped manifest, changed by `change`, for a host of the test's own.
pub fn manifest(change: impl FnOnce(&mut toml::Table)) -> Manifest {
    let path = artifacts::application();
    let text = std::fs::read_to_string(&path).expect("it is in the workspace");
    let root = artifacts::root().display();
    let text = text
        .replace("\"../", &format!("\"{root}/"))
        .replace("workdir = \"..\"", &format!("workdir = \"{root}\""));
    let mut table: toml::Table = text.parse().expect("it is TOML");
    change(&mut table);
    Manifest::raw(&table.to_string())
}

/// A person with an account, and the token of a login.
pub struct User {
    pub client: Client,
    pub email: String,
    pub password: String,
    pub token: String,
}

impl User {
    /// Registers and logs in somebody new.
    pub async fn new(host: &Host) -> Self {
        let unique = scratch();
        let name = unique
            .path()
            .file_name()
            .unwrap()
            .to_string_lossy()
            .to_lowercase();
        let email = format!("{name}@example.com");
        let password = format!("a long passphrase of {name}");
        let client = host.client();
        let body = json!({ "email": email, "password": password }).to_string();
        client.post("/register", body).await.expect(201);
        let token = log_in(&client, &email, &password).await.expect(200);
        let token = token.json()["token"].as_str().expect("a token").to_owned();
        Self {
            client,
            email,
            password,
            token,
        }
    }

    pub async fn request(&self, method: &str, path: &str, body: Body) -> Reply {
        let request = self
            .client
            .request(method, path)
            .header("authorization", format!("Bearer {}", self.token));
        self.client.send(request.body(body).unwrap()).await
    }

    pub async fn get(&self, path: &str) -> Reply {
        self.request("GET", path, empty()).await
    }

    /// Uploads a file; the answer.
    pub async fn try_upload(&self, name: &str, bytes: &[u8]) -> Reply {
        let request = upload_request(&self.client, &self.token, name, form(name, bytes));
        self.client.send(request).await
    }

    /// Uploads a file; the job's id.
    pub async fn upload(&self, name: &str, bytes: &[u8]) -> String {
        let reply = self.try_upload(name, bytes).await.expect(202);
        reply.json()["id"].as_str().expect("an id").to_owned()
    }

    pub async fn job(&self, id: &str) -> Value {
        self.get(&format!("/jobs/{id}")).await.expect(200).json()
    }

    pub async fn jobs(&self) -> Vec<Value> {
        let reply = self.get("/jobs").await.expect(200).json();
        reply.as_array().expect("a list").clone()
    }

    /// Waits until the job is done or has failed.
    pub async fn settled(&self, id: &str) -> Value {
        eventually("the job is done or failed", CONVERTED_WITHIN, async || {
            let job = self.job(id).await;
            matches!(job["state"].as_str(), Some("done" | "failed")).then_some(job)
        })
        .await
    }

    /// Uploads, waits until it is done, downloads.
    pub async fn convert(&self, name: &str, bytes: &[u8]) -> (Value, Bytes) {
        let id = self.upload(name, bytes).await;
        let job = self.settled(&id).await;
        assert_eq!(job["state"], "done", "{name}: {job}");
        (job, self.download(&id).await)
    }

    /// Uploads and waits until it has failed; why.
    pub async fn failure(&self, name: &str, bytes: &[u8]) -> String {
        let id = self.upload(name, bytes).await;
        let job = self.settled(&id).await;
        assert_eq!(job["state"], "failed", "{name}: {job}");
        job["error"].as_str().expect("a reason").to_owned()
    }

    pub async fn download(&self, id: &str) -> Bytes {
        self.get(&format!("/download?fid={id}"))
            .await
            .expect(200)
            .body
    }

    /// What the notifier told about a job.
    pub async fn notices_of(&self, job: &str) -> Vec<Value> {
        let reply = self.get("/notices?limit=100").await.expect(200).json();
        let notices = reply.as_array().expect("a list").clone();
        notices
            .into_iter()
            .filter(|notice| notice["job"] == job)
            .collect()
    }
}

pub async fn log_in(client: &Client, email: &str, password: &str) -> Reply {
    let credentials = STANDARD.encode(format!("{email}:{password}"));
    let request = client
        .request("POST", "/login")
        .header("authorization", format!("Basic {credentials}"));
    client.send(request.body(empty()).unwrap()).await
}

const BOUNDARY: &str = "the-boundary-of-a-test";

/// The body of a multipart form with the field `file`.
pub fn form(name: &str, bytes: &[u8]) -> Body {
    let mut body = form_head(name).into_bytes();
    body.extend_from_slice(bytes);
    body.extend_from_slice(format!("\r\n--{BOUNDARY}--\r\n").as_bytes());
    full(body)
}

/// What stands before the file's bytes.
pub fn form_head(name: &str) -> String {
    format!(
        "--{BOUNDARY}\r\ncontent-disposition: form-data; name=\"file\"; filename=\"{name}\"\r\n\
         content-type: application/octet-stream\r\n\r\n"
    )
}

pub fn upload_request(client: &Client, token: &str, name: &str, body: Body) -> http::Request<Body> {
    let content_type = format!("multipart/form-data; boundary={BOUNDARY}");
    client
        .request("POST", "/upload")
        .header("authorization", format!("Bearer {token}"))
        .header("content-type", content_type)
        .body(body)
        .unwrap_or_else(|error| panic!("{name}: {error}"))
}
