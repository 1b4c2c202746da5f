//! What components have: variables, environment, files, key-value stores.

use super::{component, get, launch, manifest, route, serving};
use crate::harness::client::full;
use crate::harness::eventually;

/// A secret that must be seen by its component and nowhere else.
const SECRET: &str = "s3cr3t-and-long-enough-to-find";

#[tokio::test(flavor = "multi_thread")]
async fn variables_come_from_wherever_spin_takes_them() {
    let manifest = serving(
        "worker",
        "variables = { a = \"{{ a }}\", b = \"<{{ b }}>\", c = \"{{c}}\", d = \"{{ d }}\", token = \"t={{ token }}\" }\n\
         environment = { A = \"{{ a }}\" }\n\
         [variables]\na = { required = true }\nb = { default = \"b\" }\nc = { default = \"c\" }\n\
         d = { default = \"default\" }\ntoken = { required = true, secret = true }",
    );
    let runtime = manifest.dir().join("runtime-config.toml");
    std::fs::write(
        &runtime,
        format!("[[variables_provider]]\ntype = \"static\"\nvalues = {{ a = \"static\", b = \"static\", token = \"{SECRET}\" }}\n"),
    )
    .unwrap();
    let host = launch(&manifest)
        .argument("--runtime-config-file")
        .argument(runtime.to_str().unwrap())
        .argument("--variable")
        .argument("a=named")
        .environment("SPIN_VARIABLE_B", "environment")
        .environment("SPIN_VARIABLE_C", "environment")
        .start()
        .await;
    let client = host.client();
    for (key, value) in [
        ("a", "named"),
        ("b", "<static>"),
        ("c", "environment"),
        ("d", "default"),
        ("token", &format!("t={SECRET}")),
    ] {
        let reply = get(&client, &format!("/config?key={key}"), &[]).await;
        assert_eq!(reply.expect(200).text(), value, "{key}");
    }
    get(&client, "/config?key=A", &[]).await.expect(404);
    // Neither the log nor anything that outlives the host has it.
    assert!(!host.log().contains(SECRET));
    let state = host.state().clone();
    host.stop().await;
    let kept = std::process::Command::new("grep")
        .args(["-rlF", SECRET])
        .arg(state.path())
        .output()
        .expect("there is grep");
    assert_eq!(String::from_utf8_lossy(&kept.stdout), "");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_environment_is_as_it_is_written() {
    let host = launch(&serving(
        "hello",
        "environment = { A = \"{{ a }}\", B = \"b\" }\n[variables]\na = { default = \"x\" }",
    ))
    .start()
    .await;
    let client = host.client();
    for (name, value) in [("A", "{{ a }}"), ("B", "b")] {
        let reply = get(&client, &format!("/env?name={name}"), &[]).await;
        assert_eq!(reply.expect(200).text(), value);
    }
    get(&client, "/env?name=PATH", &[]).await.expect(404);
}

#[tokio::test(flavor = "multi_thread")]
async fn files_are_seen_where_they_are_put_and_cannot_be_changed() {
    let manifest = serving(
        "wasmcloud_http",
        "files = [\"assets/**/*\", { source = \"data\", destination = \"/srv\" }]\n\
         exclude_files = [\"assets/*.tmp\"]",
    );
    for (path, text) in [
        ("assets/sub/a.txt", "a"),
        ("assets/b.tmp", "b"),
        ("data/c.txt", "c"),
        ("other.txt", "other"),
    ] {
        let path = manifest.dir().join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }
    let host = launch(&manifest).start().await;
    let client = host.client();
    for (path, text) in [("/assets/sub/a.txt", "a"), ("/srv/c.txt", "c")] {
        let reply = get(&client, &format!("/read?path={path}"), &[]).await;
        assert_eq!(reply.expect(200).text(), text);
    }
    for path in ["/assets/b.tmp", "/other.txt", "/data/c.txt", "/etc/passwd"] {
        let path = format!("/read?path={path}");
        get(&client, &path, &[]).await.expect(503);
    }
    client
        .post("/write?path=/srv/c.txt", "changed")
        .await
        .expect(503);
    let same = get(&client, "/read?path=/srv/c.txt", &[]).await;
    assert_eq!(same.expect(200).text(), "c");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_is_saved_is_seen_by_the_next_revision() {
    let manifest = serving("wasmcloud_http", "files = [\"page.txt\"]");
    let page = manifest.dir().join("page.txt");
    std::fs::write(&page, "first").unwrap();
    let host = launch(&manifest).argument("--watch").start().await;
    let client = host.client();
    let seen = get(&client, "/read?path=/page.txt", &[]).await.expect(200);
    assert_eq!(seen.text(), "first");
    std::fs::write(&page, "second").unwrap();
    let within = std::time::Duration::from_secs(60);
    eventually("the page that was saved is seen", within, async || {
        let seen = get(&client, "/read?path=/page.txt", &[]).await;
        (seen.text() == "second").then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn default_stores_are_the_applications_and_what_is_not_granted_is_denied_when_it_is_asked() {
    let text = [
        route("\"/kv/...\"", "one"),
        route("\"/config\"", "two"),
        route("\"/publish\"", "one"),
        // A host's name tells apart who is asked by the same paths.
        route("\"/blob/...\"", "one"),
        component(
            "one",
            "worker",
            "key_value_stores = [\"default\", \"my_cache\"]",
        ),
        component("two", "worker", "key_value_stores = [\"default\"]"),
        route("{ private = true }", "two"),
        route("\"/outbound\"", "three"),
        component(
            "three",
            "worker",
            "allowed_outbound_hosts = [\"http://two.spin.internal\"]",
        ),
    ]
    .concat();
    let host = launch(&manifest(&text)).start().await;
    let client = host.client();
    for store in ["default", "my_cache"] {
        let path = format!("/kv/set?store={store}&key=k");
        let request = client.request("POST", &path).body(full(store)).unwrap();
        client.send(request).await.expect(200);
    }
    // `two` reads what `one` wrote, as far as it has the store.
    let read = |store: &str| {
        format!("/outbound?authority=two.spin.internal&path=/kv/get%3Fstore={store}%26key=k")
    };
    let shared = get(&client, &read("default"), &[]).await;
    assert_eq!(shared.expect(200).text(), "200 default");
    let denied = get(&client, &read("my_cache"), &[]).await;
    assert_eq!(denied.expect(200).text(), "403 access denied");
    // Without a grant the interfaces are there, and refuse.
    client.post("/publish?subject=work", "x").await.expect(503);
    host.logged("the denial and its remedy", |entry| {
        let text = entry.to_string();
        text.contains("my_cache") && text.contains("key_value_stores in [component.two]")
    })
    .await;
}
