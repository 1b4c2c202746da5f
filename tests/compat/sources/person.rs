//! Whoever runs commands and hosts: with a cache and a Docker configuration of their own.

use std::io::{BufRead as _, BufReader};
use std::net::SocketAddr;
use std::process::{Child, Output, Stdio};

use base64::Engine as _;
use serde_json::json;

use crate::harness::manifest::Scratch;
use crate::harness::registry::USER;
use crate::harness::{Launch, Registry, artifacts, scratch};

/// Somebody at a machine: a cache and a Docker configuration of their own.
pub struct Person {
    pub home: Scratch,
}

impl Person {
    pub fn new() -> Self {
        let home = scratch();
        std::fs::create_dir(home.path().join("docker")).unwrap();
        Self { home }
    }

    /// Who has logged in to `registry`, with this password.
    pub fn logged_in(registry: &Registry, password: &str) -> Self {
        let person = Self::new();
        let auth = format!("{USER}:{password}");
        let auth = base64::engine::general_purpose::STANDARD.encode(auth);
        let config =
            json!({ "auths": { registry.reference("").trim_end_matches('/'): { "auth": auth } } });
        let path = person.home.path().join("docker/config.json");
        std::fs::write(path, config.to_string()).unwrap();
        person
    }

    pub fn environment(&self) -> [(&'static str, String); 2] {
        let path = |name| self.home.path().join(name).display().to_string();
        [
            ("XDG_CACHE_HOME", path("cache")),
            ("DOCKER_CONFIG", path("docker")),
        ]
    }

    /// Runs a `wharf` command in their home.
    pub fn wharf(&self, arguments: &[&str]) -> Output {
        let mut command = artifacts::command();
        command.args(arguments).envs(self.environment());
        command.current_dir(self.home.path());
        command.output().expect("the host was built")
    }

    /// The same, which must succeed; its standard output.
    #[track_caller]
    pub fn succeeds(&self, arguments: &[&str]) -> String {
        let output = self.wharf(arguments);
        let error = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "wharf {arguments:?}: {error}");
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    /// The same, which must fail; its standard error.
    #[track_caller]
    pub fn fails(&self, arguments: &[&str]) -> String {
        let output = self.wharf(arguments);
        let error = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(!output.status.success(), "wharf {arguments:?}: {error}");
        error
    }

    pub fn launch(&self, launch: Launch) -> Launch {
        let environment = self.environment();
        environment.iter().fold(launch, |launch, (name, value)| {
            launch.environment(name, value)
        })
    }

    pub fn file(&self, name: &str) -> Vec<u8> {
        std::fs::read(self.home.path().join(name)).unwrap()
    }
}

/// A host of one component, without a manifest. Dropping it kills it.
pub struct Serving {
    child: Child,
    pub http: SocketAddr,
}

impl Serving {
    pub fn start(person: &Person, component: &str) -> Self {
        let mut command = artifacts::command();
        command
            .args([
                "serve",
                component,
                "--addr",
                "127.0.0.1:0",
                "--print-addresses",
            ])
            .envs(person.environment())
            .stdout(Stdio::piped());
        let mut child = command.spawn().expect("the host was built");
        let mut out = BufReader::new(child.stdout.take().unwrap());
        let mut line = String::new();
        out.read_line(&mut line).unwrap();
        let addresses: serde_json::Value = serde_json::from_str(&line).unwrap();
        let http = addresses["http"].as_str().unwrap().parse().unwrap();
        Self { child, http }
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
