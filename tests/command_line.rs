//! The commands beside `up`: they answer offline, say everything that is wrong at once, and where.

use std::process::{Output, Stdio};
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::time::timeout;

use crate::harness::{Client, Launch, Manifest, artifacts, eventually, guest, scratch};

fn wharf(arguments: &[&str]) -> Output {
    artifacts::command()
        .args(arguments)
        .stdin(Stdio::null())
        .output()
        .expect("the host was built")
}

fn all_text(output: &Output) -> String {
    let stdout = String::from_utf8_lossy(&output.stdout);
    let stderr = String::from_utf8_lossy(&output.stderr);
    format!("{stdout}{stderr}")
}

fn check(manifest: &Manifest) -> (bool, String) {
    let output = wharf(&["check", manifest.path().to_str().unwrap()]);
    (output.status.success(), all_text(&output))
}

#[test]
fn check_accepts_a_good_manifest() {
    let (accepted, text) = check(&Manifest::serving("hello", ""));
    assert!(accepted, "{text}");
}

#[test]
fn check_accepts_the_shipped_application() {
    artifacts::application();
    let output = wharf(&["check", "runtime-config/media.toml"]);
    assert!(output.status.success(), "{}", all_text(&output));
}

#[test]
fn check_reports_every_problem_at_once_with_file_line_key_and_fix() {
    let manifest = Manifest::new(
        r#"
[component.hello]
artifact = "{hello.wasm}"
colour = "blue"

[component.hello.limits]
memory = "a lot"
deadline = "-3s"

[[route]]
path = "no-slash"
component = "hello"

[[route]]
path = "/elsewhere"
component = "nobody"

[[subscription]]
subject = "two..dots"
component = "hello"
"#,
    );
    let (accepted, text) = check(&manifest);
    assert!(!accepted, "{text}");
    for (line, key) in [
        (manifest.line_of("colour"), "component.hello.colour"),
        (manifest.line_of("a lot"), "component.hello.limits.memory"),
        (manifest.line_of("-3s"), "component.hello.limits.deadline"),
        (manifest.line_of("no-slash"), "route[0].path"),
        (manifest.line_of("nobody"), "route[1].component"),
        (manifest.line_of("two..dots"), "subscription[0].subject"),
    ] {
        let place = format!("application.toml:{line}: {key}");
        assert!(text.contains(&place), "no {place} in:\n{text}");
    }
    assert!(text.matches("fix:").count() >= 6, "{text}");
}

#[test]
fn an_unknown_key_is_an_error_that_proposes_the_nearest() {
    let manifest = Manifest::serving("hello", "[component.hello.limits]\nmemmory = \"32MiB\"\n");
    let (accepted, text) = check(&manifest);
    assert!(!accepted, "{text}");
    assert!(text.contains("memmory"), "{text}");
    assert!(text.contains("did you mean memory"), "{text}");
}

#[test]
fn an_unknown_key_of_the_host_configuration_is_an_error_too() {
    let manifest = Manifest::serving("hello", "");
    let dir = scratch();
    let config = dir.path().join("host.toml");
    std::fs::write(
        &config,
        "state_dir = \"state\"\n[http]\nlisen = \"127.0.0.1:0\"\n",
    )
    .unwrap();
    let output = wharf(&[
        "up",
        manifest.path().to_str().unwrap(),
        "--host-config",
        config.to_str().unwrap(),
    ]);
    let text = all_text(&output);
    assert!(!output.status.success(), "{text}");
    assert!(text.contains("host.toml:3: http.lisen"), "{text}");
}

#[test]
fn an_import_that_nothing_grants_names_component_import_and_manifest_line() {
    let manifest = Manifest::serving("worker", "");
    let (accepted, text) = check(&manifest);
    assert!(!accepted, "{text}");
    assert!(text.contains("worker"), "{text}");
    for (import, grant) in [
        (
            "wasi:keyvalue/store@0.2.0-draft2",
            "add `keyvalue = [\"default\"]` to [component.worker.grants]",
        ),
        ("wasi:blobstore/", "blobstore ="),
        ("wasmcloud:messaging/consumer@0.2.0", "publish ="),
    ] {
        assert!(text.contains(import), "no {import} in:\n{text}");
        assert!(text.contains(grant), "no {grant} in:\n{text}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_does_not_start_with_an_import_that_nothing_grants() {
    let manifest = Manifest::serving("worker", "");
    let failure = Launch::of(&manifest)
        .try_start()
        .await
        .err()
        .expect("it must not start");
    assert!(failure.contains("wasi:keyvalue/store"), "{failure}");
    assert!(failure.contains("exited"), "{failure}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_typed_import_that_no_component_exports_is_refused() {
    let manifest = Manifest::serving("caller", "");
    let failure = Launch::of(&manifest)
        .try_start()
        .await
        .err()
        .expect("it must not start");
    assert!(failure.contains("wharf:fixtures/arithmetic"), "{failure}");
    assert!(failure.contains("caller"), "{failure}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_artifact_with_another_digest_than_the_pinned_one_is_refused() {
    let manifest = Manifest::new(&format!(
        "[component.hello]\nartifact = {{ path = \"{{hello.wasm}}\", sha256 = \"{}\" }}\n\
         [[route]]\npath = \"/...\"\ncomponent = \"hello\"\n",
        "0".repeat(64)
    ));
    let failure = Launch::of(&manifest)
        .try_start()
        .await
        .err()
        .expect("it must not start");
    assert!(
        failure.contains("sha256") || failure.contains("digest"),
        "{failure}"
    );
    assert!(failure.contains(&"0".repeat(12)), "{failure}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_artifact_that_is_not_a_component_is_refused() {
    let manifest = Manifest::raw(
        "[application]\nname = \"tested\"\n[component.text]\nartifact = \"text.wasm\"\n\
         [[route]]\npath = \"/...\"\ncomponent = \"text\"\n",
    );
    std::fs::write(manifest.dir().join("text.wasm"), "this is a text").unwrap();
    let failure = Launch::of(&manifest)
        .try_start()
        .await
        .err()
        .expect("it must not start");
    assert!(failure.contains("text"), "{failure}");
    assert!(failure.contains("not a"), "{failure}");
}

#[test]
fn inspect_prints_exports_imports_and_the_grants_needed() {
    let output = wharf(&["inspect", guest("worker").to_str().unwrap()]);
    let text = all_text(&output);
    assert!(output.status.success(), "{text}");
    for expected in [
        "wasi:http/incoming-handler@0.2.2",
        "wasmcloud:messaging/handler@0.2.0",
        "wasi:keyvalue/atomics@0.2.0-draft2",
        "wasi:blobstore/blobstore@0.2.0-draft",
        "wasmcloud:messaging/consumer@0.2.0",
        "keyvalue",
        "blobstore",
        "publish",
        "outbound_http",
    ] {
        assert!(text.contains(expected), "no {expected} in:\n{text}");
    }
    let of_hello = all_text(&wharf(&["inspect", guest("hello").to_str().unwrap()]));
    assert!(!of_hello.contains("blobstore"), "{of_hello}");
}

#[tokio::test(flavor = "multi_thread")]
async fn serve_runs_one_component_without_a_manifest() {
    for (name, signal) in [("hello", "TERM"), ("hello3", "INT")] {
        let state = scratch();
        let mut command = artifacts::command();
        command
            .args(["serve", guest(name).to_str().unwrap()])
            .args(["--addr", "127.0.0.1:0"])
            .current_dir(state.path())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let mut child = tokio::process::Command::from(command)
            .kill_on_drop(true)
            .spawn()
            .expect("the host was built");
        let mut stdout = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut stderr = BufReader::new(child.stderr.take().unwrap()).lines();
        let address = timeout(Duration::from_secs(60), async {
            loop {
                let line = tokio::select! {
                    Ok(Some(line)) = stdout.next_line() => line,
                    Ok(Some(line)) = stderr.next_line() => line,
                    else => panic!("serve ended"),
                };
                if let Some(address) = address_in(&line) {
                    break address;
                }
            }
        })
        .await
        .expect("it says where it listens");
        let client = Client::http1(address);
        let text = eventually("it answers", Duration::from_secs(20), async || {
            let request = client
                .request("GET", "/")
                .body(crate::harness::client::empty());
            client.try_send(request.unwrap()).await.ok()
        })
        .await
        .text();
        assert_eq!(text, "hello");
        let pid = child.id().expect("it runs");
        let kill = format!("kill -{signal} {pid}");
        std::process::Command::new("sh")
            .args(["-c", &kill])
            .status()
            .unwrap();
        let status = timeout(Duration::from_secs(20), child.wait())
            .await
            .expect("it ends");
        assert!(status.unwrap().success());
    }
}

/// The first `127.0.0.1:PORT` with a port of its own.
fn address_in(line: &str) -> Option<std::net::SocketAddr> {
    let rest = &line[line.find("127.0.0.1:")?..];
    let end = rest
        .find(|c: char| !c.is_ascii_digit() && c != '.' && c != ':')
        .unwrap_or(rest.len());
    let address: std::net::SocketAddr = rest[..end].trim_end_matches(['.', ':']).parse().ok()?;
    (address.port() != 0).then_some(address)
}

#[test]
fn doctor_says_what_is_present() {
    // Everything is there once the guests are built.
    guest("hello");
    artifacts::application();
    let output = wharf(&["doctor"]);
    let text = all_text(&output);
    assert!(output.status.success(), "{text}");
    assert!(text.contains("wasm32-wasip2"), "{text}");
    assert!(text.contains("clang"), "{text}");
}

#[test]
fn the_manifests_schema_is_printed_and_knows_every_table() {
    let output = wharf(&["schema"]);
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let schema: serde_json::Value =
        serde_json::from_str(&text).unwrap_or_else(|_| panic!("{}", all_text(&output)));
    let properties = schema["properties"]
        .as_object()
        .expect("a schema of a table");
    for table in [
        "application",
        "component",
        "route",
        "subscription",
        "stream",
    ] {
        assert!(properties.contains_key(table), "no {table} in:\n{text}");
    }
}
