//! A wasmCloud workload runs as it is, and has what every application has here. One file past 500 lines:
//! most of it is the workloads themselves, beside what is tried on each.

use std::path::{Path, PathBuf};
use std::process::{Output, Stdio};
use std::time::Duration;

use crate::harness::client::empty;
use crate::harness::manifest::Scratch;
use crate::harness::upstream::Upstream;
use crate::harness::{Client, Host, Launch, artifacts, eventually, guest, scratch};

const WITHIN: Duration = Duration::from_secs(30);

/// A workload on disk, alone in its directory.
struct Workload {
    dir: Scratch,
    path: PathBuf,
}

impl Workload {
    /// Writes `text`; `{NAME}` in it stands for the artifact of the guest `NAME`.
    fn new(text: &str) -> Self {
        let dir = scratch();
        let path = dir.path().join("workload.yaml");
        let mut text = text.to_owned();
        for name in ["wasmcloud-http", "wasmcloud-messages", "caller", "callee"] {
            let marker = format!("{{{name}}}");
            if text.contains(&marker) {
                text = text.replace(
                    &marker,
                    &guest(&name.replace('-', "_")).display().to_string(),
                );
            }
        }
        std::fs::write(&path, text).unwrap();
        Self { dir, path }
    }

    /// Writes another file beside it.
    fn beside(self, name: &str, text: &str) -> Self {
        std::fs::write(self.dir.path().join(name), text).unwrap();
        self
    }

    async fn start(&self) -> Host {
        Launch::at(&self.path).start().await
    }

    fn check(&self) -> (bool, String) {
        let output = wharf(&["check", self.path.to_str().unwrap()]);
        (output.status.success(), all_text(&output))
    }
}

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

/// Both guests, with every interface that they import.
const BOTH: &str = r#"
apiVersion: runtime.wasmcloud.dev/v1alpha1
kind: WorkloadDeployment
metadata:
  name: shop
spec:
  replicas: 1
  template:
    spec:
      components:
        - name: web
          image: file://{wasmcloud-http}
          localResources:
            environment:
              config:
                GREETING: hello
            config:
              colour: blue
        - name: worker
          image: "{wasmcloud-messages}"
      hostInterfaces:
        - namespace: wasi
          package: http
          interfaces: [incoming-handler, outgoing-handler]
          config:
            host: shop.example.com
        - { namespace: wasi, package: keyvalue, interfaces: [store, atomics] }
        - { namespace: wasi, package: blobstore, interfaces: [blobstore] }
        - { namespace: wasi, package: logging, interfaces: [logging] }
        - namespace: wasi
          package: config
          version: 0.2.0-rc.1
          interfaces: [store]
          config:
            colour: red
            size: large
        - namespace: wasmcloud
          package: messaging
          version: 0.2.0
          interfaces: [handler, consumer]
          config:
            subscriptions: "orders.created, orders.eu.>,audit.*"
"#;

async fn ask(client: &Client, method: &str, path: &str, body: &'static str) -> (u16, String) {
    let request = client
        .request(method, path)
        .header("host", "shop.example.com");
    let body = crate::harness::client::full(body);
    let reply = client.send(request.body(body).unwrap()).await;
    (reply.status, reply.text())
}

async fn get(client: &Client, path: &str) -> (u16, String) {
    ask(client, "GET", path, "").await
}

async fn publish(client: &Client, subject: &str, body: &'static str) {
    let (status, text) = ask(client, "POST", &format!("/publish?subject={subject}"), body).await;
    assert_eq!(status, 200, "{subject}: {text}");
}

/// Waits until the other component has seen so many messages of `subject`.
async fn seen(client: &Client, subject: &str, times: &str) {
    let path = format!("/keys/get?bucket=seen&key=count.{subject}");
    eventually(&format!("{subject} was seen"), WITHIN, async || {
        let (status, text) = get(client, &path).await;
        (status == 200 && text == times).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_workload_has_what_its_interfaces_give() {
    let host = Workload::new(BOTH).start().await;
    let client = host.client();
    assert_eq!(get(&client, "/").await, (200, "wasmcloud".to_owned()));
    // Requests to other hosts are not the workload's.
    let other = client.request("GET", "/").header("host", "example.org");
    let reply = client.send(other.body(empty()).unwrap()).await;
    assert_eq!(reply.status, 404);

    let (status, _) = ask(&client, "POST", "/keys/set?bucket=any_Name&key=k", "v").await;
    assert_eq!(status, 200);
    let value = get(&client, "/keys/get?bucket=any_Name&key=k").await;
    assert_eq!(value, (200, "v".to_owned()));
    assert_eq!(
        get(&client, "/keys/get?bucket=default&key=k").await.0,
        404,
        "buckets are apart"
    );
    for sum in ["1", "2"] {
        let added = ask(&client, "POST", "/keys/add?bucket=default&key=n", "").await;
        assert_eq!(added, (200, sum.to_owned()));
    }
    let size = ask(&client, "POST", "/blob?container=pictures&name=a", "12345").await;
    assert_eq!(size, (200, "5".to_owned()));

    assert_eq!(
        get(&client, "/environment?key=GREETING").await,
        (200, "hello".to_owned())
    );
    // A component's own configuration goes before the interface's, and the environment is there, too.
    for (key, value) in [("colour", "blue"), ("size", "large"), ("GREETING", "hello")] {
        let answer = get(&client, &format!("/config?key={key}")).await;
        assert_eq!(answer, (200, value.to_owned()), "{key}");
    }
    assert_eq!(get(&client, "/config?key=none").await.0, 404);
    host.logged("what the guest logs", |entry| {
        entry.to_string().contains("wasmcloud-http") && entry["component"] == "web"
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn messages_arrive_by_subject_and_by_pattern_and_none_is_lost() {
    let workload = Workload::new(BOTH);
    let launch = Launch::at(&workload.path);
    let host = launch.clone().start().await;
    let client = host.client();
    // Each of these subjects but the first appears with its first message.
    for subject in [
        "orders.created",
        "orders.eu.paid",
        "orders.eu.paid.late",
        "audit.login",
    ] {
        publish(&client, subject, "first").await;
        publish(&client, subject, "second").await;
    }
    for subject in [
        "orders.created",
        "orders.eu.paid",
        "orders.eu.paid.late",
        "audit.login",
    ] {
        seen(&client, subject, "2").await;
    }
    // What no pattern matches is kept, and nobody gets it.
    publish(&client, "audit.login.failed", "x").await;
    let listed = wharf_of(&host, &["streams"]);
    assert!(listed.contains("audit.login.failed"), "{listed}");
    assert!(listed.contains("orders.eu.paid.late"), "{listed}");

    // Subjects that appeared are subscribed to again after a power failure.
    host.kill().await;
    let host = launch.start().await;
    let client = host.client();
    publish(&client, "orders.eu.paid", "third").await;
    seen(&client, "orders.eu.paid", "3").await;
    assert_eq!(
        get(
            &client,
            "/keys/get?bucket=seen&key=count.audit.login.failed"
        )
        .await
        .0,
        404
    );
    let lag = [("component", "worker")];
    assert_eq!(host.metrics().await.sum("wharf_lag", &lag), 0.0);
}

/// The output of a command for operators.
fn wharf_of(host: &Host, arguments: &[&str]) -> String {
    let state = host.state().path().to_str().unwrap().to_owned();
    let mut all: Vec<&str> = arguments.to_vec();
    all.extend(["--state-dir", &state]);
    let output = wharf(&all);
    assert!(output.status.success(), "{}", all_text(&output));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_workload_is_swapped_counted_and_applied_like_any_application() {
    let workload = Workload::new(BOTH);
    let host = workload.start().await;
    let client = host.client();
    let listed = wharf_of(&host, &["ps"]);
    assert!(
        listed.contains("web") && listed.contains("worker"),
        "{listed}"
    );

    std::fs::write(
        &workload.path,
        std::fs::read_to_string(&workload.path)
            .unwrap()
            .replace("GREETING: hello", "GREETING: good day")
            .replace("audit.*", "audit.*,bills.>"),
    )
    .unwrap();
    let applied = wharf_of(&host, &["apply", workload.path.to_str().unwrap()]);
    assert!(applied.contains("web"), "{applied}");
    let greeting = get(&client, "/environment?key=GREETING").await;
    assert_eq!(greeting, (200, "good day".to_owned()));
    publish(&client, "bills.new.one", "x").await;
    seen(&client, "bills.new.one", "1").await;

    let artifact = guest("wasmcloud_http");
    wharf_of(&host, &["swap", "web", artifact.to_str().unwrap()]);
    assert_eq!(get(&client, "/").await.0, 200);
    let labels = [("component", "web"), ("status", "2xx")];
    assert!(host.metrics().await.sum("wharf_requests_total", &labels) > 0.0);
}

const CONFIGURED: &str = r#"
apiVersion: runtime.wasmcloud.dev/v1alpha1
kind: Workload
metadata: { name: configured }
spec:
  components:
    - name: web
      image: "{wasmcloud-http}"
      localResources:
        environment:
          config: { A: inline, B: inline, C: inline }
          configFrom: [{ name: first }, { name: second }]
          secretFrom: [{ name: login }]
  hostInterfaces:
    - { namespace: wasi, package: http, interfaces: [incoming-handler] }
    - { namespace: wasi, package: keyvalue, interfaces: [store] }
    - { namespace: wasi, package: blobstore, interfaces: [blobstore] }
    - { namespace: wasmcloud, package: messaging, interfaces: [consumer] }
    - namespace: wasi
      package: config
      interfaces: [store]
      configFrom: [{ name: second }]
    - namespace: wasmcloud
      package: secrets
      interfaces: [store, reveal]
      secretFrom: [{ name: tokens }]
---
apiVersion: v1
kind: ConfigMap
metadata: { name: first }
data: { B: first, D: first }
"#;

const NEIGHBOUR: &str = r#"
apiVersion: v1
kind: ConfigMap
metadata: { name: second }
data: { C: second, D: second }
---
apiVersion: v1
kind: Secret
metadata: { name: login }
type: Opaque
data:
  PASSWORD: aHVudGVyMi1vbGQ=
  USER: YWxpY2U=
stringData: { PASSWORD: hunter2-new }
---
apiVersion: v1
kind: Secret
metadata: { name: tokens }
stringData: { api-token: hunter2-token }
"#;

#[tokio::test(flavor = "multi_thread")]
async fn values_come_from_maps_and_secrets_in_their_order_and_secrets_stay_secret() {
    let workload = Workload::new(CONFIGURED)
        .beside("values.yml", NEIGHBOUR)
        .beside(
            "other.yaml",
            "apiVersion: v1\nkind: Service\nmetadata: {name: x}\n",
        )
        .beside("broken.yaml", "a: [");
    let (accepted, text) = workload.check();
    assert!(accepted, "{text}");
    assert!(!text.contains("hunter2"), "{text}");
    let host = workload.start().await;
    let client = host.client();
    let wanted = [
        ("A", "inline"),
        ("B", "first"),
        ("C", "second"),
        ("D", "second"),
        ("USER", "alice"),
        ("PASSWORD", "hunter2-new"),
    ];
    for (key, value) in wanted {
        let answer = get(&client, &format!("/environment?key={key}")).await;
        assert_eq!(answer, (200, value.to_owned()), "{key}");
    }
    assert_eq!(get(&client, "/config?key=C").await.1, "second");
    for (key, value) in [("api-token", "hunter2-token"), ("USER", "alice")] {
        let answer = get(&client, &format!("/secret?key={key}")).await;
        assert_eq!(answer, (200, value.to_owned()), "{key}");
    }
    assert_eq!(get(&client, "/secret?key=none").await.0, 404);
    assert_eq!(
        get(&client, "/environment?key=api-token").await.0,
        404,
        "only who asks for it gets it"
    );
    let revisions = wharf_of(&host, &["revisions", "web"]);
    assert!(!revisions.contains("hunter2"), "{revisions}");
    assert!(!host.log().contains("hunter2"));
    // Nor does the state have them.
    for entry in files_below(host.state().path()) {
        let bytes = std::fs::read(&entry).unwrap_or_default();
        let found = bytes.windows(7).any(|window| window == b"hunter2");
        assert!(!found, "{}", entry.display());
    }
}

fn files_below(directory: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(directory).unwrap().flatten() {
        match entry.file_type().unwrap().is_dir() {
            true => files.extend(files_below(&entry.path())),
            false => files.push(entry.path()),
        }
    }
    files
}

/// One component with these resources, that imports all that the guest needs.
fn one(more: &str, interfaces: &str) -> String {
    format!(
        r#"
apiVersion: runtime.wasmcloud.dev/v1alpha1
kind: Workload
metadata: {{ name: one }}
spec:
  components:
    - name: web
      image: "{{wasmcloud-http}}"
{more}
  hostInterfaces:
    - {{ namespace: wasi, package: keyvalue, interfaces: [store] }}
    - {{ namespace: wasi, package: blobstore, interfaces: [blobstore] }}
    - {{ namespace: wasmcloud, package: messaging, interfaces: [consumer] }}
{interfaces}
"#
    )
}

const ANY_HOST: &str = "    - { namespace: wasi, package: http, interfaces: [incoming-handler] }";

#[tokio::test(flavor = "multi_thread")]
async fn volumes_are_directories_of_the_host_or_of_the_workload() {
    let data = scratch();
    std::fs::write(data.path().join("a.txt"), "from the host").unwrap();
    let more = format!(
        r#"      localResources:
        volumeMounts:
          - {{ name: data, mountPath: /data, readOnly: true }}
          - {{ name: scratch, mountPath: /tmp }}
  volumes:
    - {{ name: scratch, ephemeral: {{}} }}
    - name: data
      hostPath: {{ path: "{}" }}"#,
        data.path().display()
    );
    let workload = Workload::new(&one(&more, ANY_HOST));
    let launch = Launch::at(&workload.path);
    let host = launch.clone().start().await;
    let client = host.client();
    let read = get(&client, "/read?path=/data/a.txt").await;
    assert_eq!(read, (200, "from the host".to_owned()));
    let (status, text) = ask(&client, "POST", "/write?path=/data/b.txt", "x").await;
    assert_eq!(status, 503, "{text}");
    assert!(!data.path().join("b.txt").exists());
    let written = ask(&client, "POST", "/write?path=/tmp/c.txt", "kept for now").await;
    assert_eq!(written.0, 200, "{}", written.1);
    let read = get(&client, "/read?path=/tmp/c.txt").await;
    assert_eq!(read, (200, "kept for now".to_owned()));
    assert_eq!(get(&client, "/read?path=/etc/hostname").await.0, 503);
    host.stop().await;
    let host = launch.start().await;
    let read = get(&host.client(), "/read?path=/tmp/c.txt").await;
    assert_eq!(read.0, 503, "it is empty after a start");
}

#[tokio::test(flavor = "multi_thread")]
async fn outbound_requests_go_where_allowed_hosts_say() {
    let upstream = Upstream::start().await;
    let (address, port) = (upstream.address.to_string(), upstream.address.port());
    let allowed = |list: &str| format!("      localResources:\n        allowedHosts: {list}");
    for (more, reaches) in [
        (String::new(), false),
        (allowed("[]"), false),
        (allowed("[example.com]"), false),
        (allowed("[\"https://127.0.0.1\"]"), false),
        (allowed("[\"127.0.0.1:1\"]"), false),
        (allowed("[\"*\"]"), true),
        (allowed("[127.0.0.1]"), true),
        (allowed(&format!("[\"127.0.0.1:{port}\"]")), true),
        (allowed("[\"http://127.0.0.1/\"]"), true),
    ] {
        let host = Workload::new(&one(&more, ANY_HOST)).start().await;
        let path = format!("/fetch?authority={address}");
        let (status, text) = get(&host.client(), &path).await;
        match reaches {
            true => assert_eq!((status, text.as_str()), (200, "200"), "{more}"),
            false => assert!(status == 503 && text.contains("Denied"), "{more}: {text}"),
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_host_header_says_which_component_answers() {
    let host = Workload::new(
        r#"
apiVersion: runtime.wasmcloud.dev/v1alpha1
kind: Workload
metadata: { name: hosts }
spec:
  components:
    - { name: web, image: "{wasmcloud-http}" }
    - { name: sums, image: "{caller}" }
    - { name: arithmetic, image: "{callee}" }
  hostInterfaces:
    - { namespace: wasi, package: http, interfaces: [incoming-handler], config: { host: "a.test:8000" } }
    - { namespace: wasi, package: http, interfaces: [incoming-handler], config: { host: b.test }, name: sums }
    - { namespace: wasi, package: keyvalue, interfaces: [store] }
    - { namespace: wasi, package: blobstore, interfaces: [blobstore] }
    - { namespace: wasmcloud, package: messaging, interfaces: [consumer] }
"#,
    )
    .start()
    .await;
    let client = host.client();
    let ask = async |host: &str, path: &str| {
        let request = client.request("GET", path).header("host", host);
        let reply = client.send(request.body(empty()).unwrap()).await;
        (reply.status, reply.text())
    };
    assert_eq!(ask("A.test:80", "/").await, (200, "wasmcloud".to_owned()));
    // Its import is linked to what another component of the workload exports.
    assert_eq!(ask("b.test", "/add?a=2&b=3").await, (200, "5".to_owned()));
    assert_eq!(ask("c.test", "/").await.0, 404);
}

#[test]
fn what_cannot_be_honoured_is_refused_with_its_line() {
    let workload = |spec: &str| {
        format!(
            "apiVersion: runtime.wasmcloud.dev/v1alpha1\nkind: Workload\nmetadata:\n  name: x\nspec:\n{spec}"
        )
    };
    let component = "  components:\n    - name: web\n      image: ./a.wasm\n";
    for (text, line, wanted) in [
        (
            "apiVersion: core.oam.dev/v1beta1\nkind: Application\n".to_owned(),
            1,
            "WorkloadDeployment",
        ),
        ("a: [".to_owned(), 1, "not valid YAML"),
        ("hello\n".to_owned(), 1, "is not a Kubernetes object"),
        (workload("  components: []\n"), 0, "has no component"),
        (
            workload(&format!("{component}      colour: blue\n")),
            9,
            "unknown key",
        ),
        (
            workload("  components:\n    - name: A_b\n      image: x\n"),
            7,
            "lower-case",
        ),
        (
            workload("  components:\n    - name: a\n"),
            0,
            "image: missing",
        ),
        (
            workload(&format!(
                "{component}    - name: web\n      image: b.wasm\n"
            )),
            9,
            "another component",
        ),
        (
            workload(&format!("{component}      poolSize: many\n")),
            9,
            "whole number",
        ),
        (
            workload(&format!("{component}  service:\n    image: s.wasm\n")),
            9,
            "is not run here",
        ),
        (
            workload(&format!(
                "{component}      localResources:\n        volumeMounts:\n          - name: v\n            mountPath: /v\n"
            )),
            11,
            "no volume",
        ),
        (
            workload(&format!("{component}  volumes:\n    - name: v\n")),
            10,
            "either ephemeral or a hostPath",
        ),
        (
            workload(&format!(
                "{component}      localResources:\n        environment:\n          configFrom:\n            - name: none\n"
            )),
            12,
            "no ConfigMap",
        ),
        (
            workload(&format!(
                "{component}      localResources:\n        allowedHosts: [\"*foo\"]\n"
            )),
            10,
            "does not name a host",
        ),
        (
            workload(&format!(
                "{component}  hostInterfaces:\n    - namespace: wasi\n      package: nn\n      interfaces: [graph]\n"
            )),
            10,
            "wasi:nn is not provided",
        ),
        (
            workload(&format!(
                "{component}  hostInterfaces:\n    - namespace: wasmcloud\n      package: messaging\n      interfaces: [handler]\n      config: {{ subscriptions: 'a..b' }}\n"
            )),
            10,
            "subject pattern",
        ),
        (
            workload(&format!(
                "{component}      localResources:\n        environment:\n          config: {{ A: 1 }}\n"
            )),
            11,
            "put it in quotes",
        ),
    ] {
        let (accepted, said) = Workload::new(&text).check();
        assert!(!accepted, "{text}\n{said}");
        assert!(said.contains(wanted), "{wanted}: {said}");
        if line > 0 {
            assert!(
                said.contains(&format!("workload.yaml:{line}")),
                "{line}: {said}"
            );
        }
    }
}

#[test]
fn what_has_no_effect_is_named() {
    let workload = Workload::new(
        r#"apiVersion: runtime.wasmcloud.dev/v1alpha1
kind: WorkloadDeployment
metadata:
  name: x
  labels: { a: b }
spec:
  replicas: 3
  deployPolicy: Recreate
  kubernetes: { service: { name: x } }
  template:
    spec:
      hostSelector: { hostgroup: default }
      components:
        - name: web
          image: ./not-built.wasm
          imagePullPolicy: Always
          imagePullSecret: { name: s }
      hostInterfaces:
        - namespace: wasi
          package: keyvalue
          interfaces: [store]
          config: { backend: redis }
        - namespace: wasmcloud
          package: messaging
          interfaces: [handler]
---
apiVersion: v1
kind: Service
metadata: { name: x }
"#,
    );
    let (accepted, text) = workload.check();
    assert!(accepted, "{text}");
    for (line, key) in [
        (7, "spec.replicas"),
        (8, "spec.deployPolicy"),
        (9, "spec.kubernetes"),
        (12, "hostSelector"),
        (16, "imagePullPolicy"),
        (17, "imagePullSecret"),
        (22, "config.backend"),
        (23, "no subscription"),
        (27, "Service of v1"),
    ] {
        let warned = text.lines().any(|said| {
            said.starts_with("warning: ")
                && said.contains(&format!(":{line}"))
                && said.contains(key)
        });
        assert!(warned, "{line} {key}:\n{text}");
    }
}

#[test]
fn handlers_that_nobody_exports_are_missed() {
    let (accepted, text) = Workload::new(
        r#"
apiVersion: runtime.wasmcloud.dev/v1alpha1
kind: Workload
metadata: { name: x }
spec:
  components:
    - { name: a, image: "{callee}" }
    - { name: b, image: "{callee}" }
  hostInterfaces:
    - { namespace: wasi, package: http, interfaces: [incoming-handler] }
    - { namespace: wasmcloud, package: messaging, interfaces: [handler], config: { subscriptions: a } }
"#,
    )
    .check();
    assert!(!accepted, "{text}");
    assert!(text.contains("wasi:http/incoming-handler"), "{text}");
    assert!(text.contains("wasmcloud:messaging/handler"), "{text}");
}
