//! A new component builds and runs as it was written, in each language.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use serde_json::Value;

use crate::harness::manifest::Scratch;
use crate::harness::{Host, Launch, artifacts, eventually, root, scratch};

/// Where cargo puts what the templates compile: kept, and one for all, so that their dependencies are
/// compiled once. That is why the components in Rust have names of their own.
fn target() -> PathBuf {
    let path = root().join("target/templates");
    std::fs::create_dir_all(&path).unwrap();
    path
}

/// A component made from a template, built.
struct New {
    dir: Scratch,
    name: &'static str,
}

impl New {
    fn from(template: &str, name: &'static str) -> Self {
        let dir = scratch();
        let new = Self { dir, name };
        let mut command = new.command(&["new", name, "--template", template]);
        artifacts::run(&mut command).unwrap_or_else(|error| panic!("{error}"));
        if template.ends_with("-rust") {
            std::os::unix::fs::symlink(target(), new.path("target")).unwrap();
        }
        let mut command = new.command(&["build", &format!("{name}/wharf.toml")]);
        artifacts::run(&mut command).unwrap_or_else(|error| panic!("{error}"));
        new
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = artifacts::command();
        command.args(arguments).current_dir(self.dir.path());
        command
    }

    /// A file of its directory.
    fn path(&self, path: &str) -> PathBuf {
        self.dir.path().join(self.name).join(path)
    }

    fn launch(&self) -> Launch {
        Launch::at(&self.path("wharf.toml"))
    }

    async fn start(&self) -> Host {
        self.launch().start().await
    }

    /// Nothing is left to build. Cargo writes its lock file during the first build, and what was written
    /// a moment before a build may have changed in it, so that it takes another one or two.
    async fn is_fresh(&self) {
        let manifest = format!("{}/wharf.toml", self.name);
        let what = format!("{} is fresh", self.name);
        eventually(&what, Duration::from_secs(60), async || {
            let output = self.command(&["build", &manifest]).output().unwrap();
            assert!(output.status.success(), "{output:?}");
            let text = String::from_utf8_lossy(&output.stdout).into_owned();
            text.lines()
                .all(|line| line.starts_with("fresh "))
                .then_some(())
        })
        .await;
    }
}

/// How the artifacts came to be code, as the log has it.
fn origins(host: &Host) -> Vec<Value> {
    let entries = host.log_entries().into_iter();
    let compiled = entries.filter(|entry| entry["message"] == "component compiled");
    compiled.map(|entry| entry["origin"].clone()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn http_in_rust() {
    let new = New::from("http-rust", "answerer");
    new.is_fresh().await;
    let host = new.start().await;
    let answer = host.client().get("/a?b=c").await.expect(200);
    assert_eq!(answer.text(), "hello from answerer: /a?b=c\n");
    assert_eq!(
        answer.header("content-type"),
        Some("text/plain; charset=utf-8")
    );
    host.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn messages_in_rust() {
    let new = New::from("messages-rust", "worker-1");
    new.is_fresh().await;
    let host = new.start().await;
    let client = host.client();
    assert_eq!(
        client.get("/").await.expect(200).text(),
        "nothing handled yet\n"
    );
    client.post("/", "the first").await.expect(202);
    let handled = Duration::from_secs(20);
    eventually("the message is handled", handled, async || {
        (client.get("/").await.text() == "handled: the first\n").then_some(())
    })
    .await;
    assert_eq!(client.delete("/").await.status, 405);
    host.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn typed_calls_in_rust() {
    let new = New::from("typed-call-rust", "caller-1");
    new.is_fresh().await;
    let host = new.start().await;
    let answer = host.client().get("/people/Ada").await.expect(200);
    assert_eq!(answer.text(), "hello, Ada\n");
    host.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn http_in_javascript() {
    artifacts::tools();
    serves_and_starts_again_from_the_cache("http-js").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn http_in_python() {
    artifacts::tools();
    serves_and_starts_again_from_the_cache("http-python").await;
}

async fn serves_and_starts_again_from_the_cache(template: &str) {
    let new = New::from(template, "front");
    new.is_fresh().await;
    let host = new.start().await;
    // One instance or several, at once.
    let answers = futures::future::join_all((0..8).map(|number| {
        let client = host.client();
        async move {
            client
                .get(&format!("/é/{number}").replace('é', "%C3%A9"))
                .await
        }
    }));
    for (number, answer) in answers.await.into_iter().enumerate() {
        let expected = format!("hello from front: /%C3%A9/{number}\n");
        assert_eq!(answer.expect(200).text(), expected);
    }
    assert_eq!(origins(&host), ["Compiled"]);
    let state = host.state().clone();
    host.stop().await;
    let host = new.launch().state(&state).start().await;
    host.client().get("/again").await.expect(200);
    // The log goes on where the first start left it.
    let origins = origins(&host);
    assert_eq!(origins.len(), 2, "{origins:?}");
    assert_ne!(
        origins[1], "Compiled",
        "a big guest starts without compiling"
    );
    host.stop().await;
}

#[test]
fn a_component_is_added_to_the_manifest_that_is_there() {
    let dir = scratch();
    let wharf = |arguments: &[&str]| {
        let mut command = artifacts::command();
        command.args(arguments).current_dir(dir.path());
        command.output().unwrap()
    };
    let manifest = dir.path().join("wharf.toml");
    let text = "# Ours.\n[application]\nname = \"shop\"\n";
    let text = format!("{text}\n[component.shop]\nartifact = \"shop.wasm\"\n");
    std::fs::write(&manifest, &text).unwrap();
    for name in ["one", "two"] {
        let output = wharf(&["new", name, "--template", "http-js"]);
        assert!(output.status.success(), "{output:?}");
        assert!(String::from_utf8_lossy(&output.stdout).ends_with("wharf up wharf.toml\n"));
    }
    let written = std::fs::read_to_string(&manifest).unwrap();
    assert!(written.starts_with(&text), "{written}");
    assert!(!Path::new("one/wharf.toml").exists());
    let checked = wharf(&["check", "wharf.toml"]);
    let said = String::from_utf8_lossy(&checked.stdout).into_owned();
    assert!(
        said.contains("is valid: 3 components, 2 routes"),
        "{checked:?}"
    );
    // A name that is taken changes nothing.
    let refused = wharf(&["new", "shop", "--template", "http-rust"]);
    assert!(!refused.status.success());
    assert_eq!(std::fs::read_to_string(&manifest).unwrap(), written);
    assert!(!dir.path().join("shop").exists());
}
