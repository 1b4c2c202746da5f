//! What is built here is written down for other platforms; what is committed of it is what would be
//! written now, and what can be tried of it here runs.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::harness::client::{empty, full};
use crate::harness::manifest::Scratch;
use crate::harness::{Client, Host, Launch, Reply, artifacts, eventually, root, scratch};

const TARGETS: [&str; 4] = ["spin", "wasmcloud", "kubernetes", "docker"];

/// Where the committed ones are.
fn committed(target: &str) -> PathBuf {
    root().join("runtime-config").join(target)
}

/// `wharf export` of the media application, whose components are built.
fn export(target: &str, more: &[&str]) -> Output {
    artifacts::application();
    let output = artifacts::command()
        .args(["export", target, "runtime-config/media.toml"])
        .args(more)
        .stdin(Stdio::null())
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", text(&output.stderr));
    output
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[test]
fn what_is_committed_is_what_would_be_written_now() {
    for target in TARGETS {
        // Beside the committed one, from where files are seen alike.
        let dir = tempfile::Builder::new()
            .prefix(".export-")
            .tempdir_in(root().join("runtime-config"))
            .unwrap();
        export(target, &["--out", dir.path().to_str().unwrap()]);
        let (written, committed) = (files(dir.path()), files(&committed(target)));
        assert_eq!(
            written.keys().collect::<Vec<_>>(),
            committed.keys().collect::<Vec<_>>(),
            "{target}"
        );
        for (name, text) in &written {
            assert_eq!(
                text, &committed[name],
                "runtime-config/{target}/{name} is stale: run `wharf export {target} runtime-config/media.toml \
                 --out runtime-config/{target}`"
            );
        }
    }
}

fn files(dir: &Path) -> std::collections::BTreeMap<String, String> {
    let entries = std::fs::read_dir(dir).unwrap().flatten();
    entries
        .map(|entry| {
            let name = entry.file_name().to_string_lossy().into_owned();
            (name, std::fs::read_to_string(entry.path()).unwrap())
        })
        .collect()
}

#[test]
fn what_a_target_cannot_carry_is_said() {
    for (target, wanted) in [
        (
            "spin",
            "Component gateway is left out: Spin has no blob containers",
        ),
        ("spin", "AUTH_SIGNING_KEYS"),
        ("wasmcloud", "at most once over NATS"),
        ("wasmcloud", "kubectl create secret generic media-auth"),
        ("kubernetes", "kubectl create secret generic media-redis"),
        ("docker", "docker build"),
    ] {
        let output = export(target, &[]);
        let said = text(&output.stderr);
        assert!(said.contains(wanted), "{target}: {said}");
        // The file says it as well, in lines.
        let written = text(&output.stdout).replace("\n#  ", "");
        assert!(written.contains(wanted), "{target}: {written}");
    }
}

/// A manifest on disk.
struct Written {
    _dir: Scratch,
    path: PathBuf,
}

impl Written {
    /// Writes `text` to the file `name`.
    fn new(name: &str, text: &str) -> Self {
        let dir = scratch();
        let path = dir.path().join(name);
        std::fs::write(&path, text).unwrap();
        Self { _dir: dir, path }
    }
}

/// The component, built.
fn auth() -> PathBuf {
    artifacts::application();
    root().join("target/wasm32-wasip2/release/auth.wasm")
}

/// An HMAC key as the component takes it.
const KEYS: &str = "k1:MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY";

/// The component as a server has it.
struct Auth<'a> {
    client: Client,
    host: &'a str,
}

impl Auth<'_> {
    async fn ask(&self, path: &str, authorization: Option<&str>, body: &'static str) -> Reply {
        let request = self.client.request("POST", path).header("host", self.host);
        let request = match authorization {
            Some(authorization) => request.header("authorization", authorization),
            None => request,
        };
        self.client.send(request.body(full(body)).unwrap()).await
    }

    async fn login(&self, password: &str) -> Reply {
        let pair = STANDARD.encode(format!("ada@example.com:{password}"));
        self.ask("/login", Some(&format!("Basic {pair}")), "").await
    }

    /// Its answer to a token.
    async fn validate(&self, token: &str) -> Reply {
        let bearer = format!("Bearer {token}");
        self.ask("/validate", Some(&bearer), "").await
    }

    /// Registers, logs in and validates the token, as the gateway does; gives the token.
    async fn works(&self) -> String {
        self.ask("/register", None, ACCOUNT).await.expect(201);
        self.ask("/register", None, ACCOUNT).await.expect(409);
        let login = self.login("correct horse battery").await.expect(200);
        let token = login.json()["token"].as_str().unwrap().to_owned();
        let valid = self.validate(&token).await.expect(200);
        assert_eq!(valid.json()["email"], "ada@example.com");
        self.login("wrong").await.expect(401);
        token
    }
}

const ACCOUNT: &str = r#"{"email":"ada@example.com","password":"correct horse battery"}"#;

/// The exported workload, with the artifacts where they are.
async fn workload() -> Host {
    let artifact = auth();
    let mut manifest = std::fs::read_to_string(committed("wasmcloud").join("auth.yaml")).unwrap();
    // The components that call each other are in one workload.
    for name in ["auth", "gateway", "notifier"] {
        let image = format!("registry.example.com/media/{name}:latest");
        assert!(manifest.contains(&image), "{name}");
        let path = artifact.with_file_name(format!("{name}.wasm"));
        manifest = manifest.replace(&image, &format!("file://{}", path.display()));
    }
    let secret = format!(
        "\n---\napiVersion: v1\nkind: Secret\nmetadata: {{ name: media-auth }}\nstringData:\n  AUTH_SIGNING_KEYS: \"{KEYS}\"\n"
    );
    let written = Written::new("auth.yaml", &(manifest + &secret));
    Launch::at(&written.path).start().await
}

#[tokio::test(flavor = "multi_thread")]
async fn accounts_and_the_gateway_run_as_a_workload_of_wasmclouds() {
    let host = workload().await;
    let auth = Auth {
        client: host.client(),
        host: "auth.internal",
    };
    auth.works().await;
    // The gateway asks auth by its interface, and passes on what is auth's.
    let page = host.client().request("GET", "/");
    let page = page.header("host", "media.localhost").body(empty());
    let page = host.client().send(page.unwrap()).await;
    assert_eq!(page.status, 200, "{}", page.text());
    let gateway = Auth {
        host: "media.localhost",
        ..auth
    };
    gateway.login("correct horse battery").await.expect(200);
}

#[test]
fn every_workload_is_one() {
    artifacts::application();
    for (name, text) in files(&committed("wasmcloud")) {
        let secret = "\n---\napiVersion: v1\nkind: Secret\nmetadata: { name: media-auth }\nstringData: { AUTH_SIGNING_KEYS: x }\n";
        let written = Written::new(&name, &(text + secret));
        let output = artifacts::command()
            .arg("check")
            .arg(&written.path)
            .output()
            .unwrap();
        // Images are in a registry that is not there; all else is read and resolved.
        let said = self::text(&output.stderr) + &self::text(&output.stdout);
        assert!(output.status.success(), "{name}: {said}");
        assert!(!said.contains("unknown key"), "{name}: {said}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn accounts_run_behind_the_adapter_on_what_spin_has() {
    artifacts::application();
    let mut build = Command::new(env!("CARGO"));
    build.current_dir(root()).env_remove("CARGO_TARGET_DIR");
    build.args([
        "build",
        "--release",
        "--locked",
        "--target",
        "wasm32-wasip2",
    ]);
    build.args(["--package", "spin-adapter"]);
    artifacts::run(&mut build).unwrap();
    let written = std::fs::read_to_string(committed("spin").join("spin.toml")).unwrap();
    // Started from elsewhere, and with the key that `spin up --env` would give.
    let written = written.replace("\"../../", &format!("\"{}/", root().display()));
    let environment = "[component.auth.environment]\n";
    assert!(written.contains(environment));
    let key = format!("{environment}AUTH_SIGNING_KEYS = \"{KEYS}\"\n");
    let accounts = Written::new("spin.toml", &written.replace(environment, &key));
    let host = Launch::at(&accounts.path).start().await;
    let auth = Auth {
        client: host.client(),
        host: "example.com",
    };
    auth.works().await;
}

/// What it keeps there is gone with each instance, and so with each request.
#[tokio::test(flavor = "multi_thread")]
async fn accounts_run_under_wasmtime_serve_as_they_are() {
    let Ok(version) = Command::new("wasmtime").arg("--version").output() else {
        eprintln!("wasmtime is not installed, so nothing was tried");
        return;
    };
    assert!(version.status.success());
    let address = {
        let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        free.local_addr().unwrap()
    };
    let serve = Command::new("wasmtime")
        .args(["serve", "-S", "cli,keyvalue"])
        .args(["--addr", &address.to_string()])
        .args(["--env", &format!("AUTH_SIGNING_KEYS={KEYS}")])
        .args(["--env", "AUTH_ISSUER=wharf-media-auth"])
        .args(["--env", "AUTH_AUDIENCE=wharf-media"])
        .args(["--env", "AUTH_TOKEN_TTL_SECONDS=86400"])
        .arg(auth())
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn();
    let _serving = Serving(serve.unwrap());
    let listening = async || tokio::net::TcpStream::connect(address).await.ok();
    eventually("it listens", Duration::from_secs(60), listening).await;
    let there = Auth {
        client: Client::http1(address),
        host: "example.com",
    };
    there.ask("/register", None, ACCOUNT).await.expect(201);
    there.login("correct horse battery").await.expect(401);
    // A token that was issued elsewhere with the same key is one here.
    let host = workload().await;
    let here = Auth {
        client: host.client(),
        host: "auth.internal",
    };
    let token = here.works().await;
    let valid = there.validate(&token).await.expect(200);
    assert_eq!(valid.json()["email"], "ada@example.com");
    there.validate(&format!("{token}x")).await.expect(401);
}

/// A server that ends with the test.
struct Serving(Child);

impl Drop for Serving {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The validator, installed once as its requirements say.
fn validator() -> PathBuf {
    let requirements = root().join("tests/kubernetes/requirements.txt");
    let dir = artifacts::output("kubernetes-validate");
    let (program, done) = (
        dir.join("bin/kubernetes-validate"),
        dir.join("installed.txt"),
    );
    let wanted = std::fs::read_to_string(&requirements).unwrap();
    if std::fs::read_to_string(&done).is_ok_and(|installed| installed == wanted) {
        return program;
    }
    let mut venv = Command::new("python3");
    venv.args(["-m", "venv", "--clear"]).arg(&dir);
    artifacts::run(&mut venv).unwrap();
    let mut install = Command::new(dir.join("bin/pip"));
    install
        .args(["install", "--quiet", "--no-deps", "--requirement"])
        .arg(&requirements);
    artifacts::run(&mut install).unwrap();
    std::fs::write(&done, wanted).unwrap();
    program
}

#[test]
fn kubernetes_takes_what_is_written() {
    let validator = validator();
    let dir = committed("kubernetes");
    let mut objects = 0;
    for name in files(&dir).keys() {
        for version in ["1.31.0", "1.37.0"] {
            let output = Command::new(&validator)
                .args(["--strict", "-k", version])
                .arg(dir.join(name))
                .output()
                .unwrap();
            let said = text(&output.stdout) + &text(&output.stderr);
            assert!(output.status.success(), "{name} {version}: {said}");
            objects += said.matches("passed").count();
        }
    }
    assert!(objects >= 14, "{objects} objects were validated");
    // What it would say of a mistake, so that its silence means something.
    let broken = scratch();
    let path = broken.path().join("wharf.yaml");
    let written = std::fs::read_to_string(dir.join("wharf.yaml")).unwrap();
    std::fs::write(&path, written.replace("periodSeconds", "periodSecond")).unwrap();
    let output = Command::new(&validator)
        .args(["--strict", "-k", "1.37.0"])
        .arg(&path)
        .output()
        .unwrap();
    assert!(!output.status.success());
}

#[test]
fn a_drain_fits_the_pods_end() {
    let config = scratch();
    let path = config.path().join("host.toml");
    std::fs::write(&path, "[shutdown]\ngrace = \"7m\"\n").unwrap();
    let more = ["--host-config", path.to_str().unwrap()];
    let written = text(&export("kubernetes", &more).stdout);
    assert!(written.contains("grace = \"7m\""), "{written}");
    let line = written
        .lines()
        .find_map(|line| line.trim().strip_prefix("terminationGracePeriodSeconds: "));
    let seconds: u64 = line.unwrap().parse().unwrap();
    assert!(seconds >= 7 * 60 + 5, "{seconds}");
}

#[test]
fn the_image_has_what_it_starts() {
    let written = std::fs::read_to_string(committed("docker").join("Dockerfile")).unwrap();
    let entry = written
        .lines()
        .find_map(|line| line.strip_prefix("ENTRYPOINT "));
    let entry: Vec<String> = serde_json::from_str(entry.unwrap()).unwrap();
    let arguments: Vec<&str> = entry.iter().map(String::as_str).collect();
    let help = artifacts::command()
        .args(["up", "--help"])
        .output()
        .unwrap();
    let help = text(&help.stdout);
    for option in arguments
        .iter()
        .filter(|argument| argument.starts_with("--"))
    {
        assert!(help.contains(option), "`wharf up` knows no {option}");
    }
    let manifest = arguments[2].strip_prefix("/app/").unwrap();
    assert!(root().join(manifest).exists());
    assert!(written.contains(&format!(
        "COPY --from=build /app/{manifest} /app/{manifest}"
    )));
    for name in ["auth", "gateway", "converter", "notifier"] {
        let path = format!("/app/target/wasm32-wasip2/release/{name}.wasm");
        assert!(
            written.contains(&format!("COPY --from=build {path} {path}")),
            "{name}"
        );
    }
}
