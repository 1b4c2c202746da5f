//! The interfaces of Spin, as guests that were built with its SDKs call them: what is granted works,
//! and what is not is denied with the interface's own error.

use crate::harness::client::full;
use crate::harness::{Client, Host, Launch, Manifest};

/// A guest of Spin 3 and one of Spin 4 with the same grants, and one of each without any.
const BOTH: &str = r#"
[application]
name = "interfaces"

[variables]
greeting = { default = "hello" }
token = { default = "hidden", secret = true }

[[trigger.http]]
route = "/three/..."
component = "three"

[[trigger.http]]
route = "/four/..."
component = "four"

[[trigger.http]]
route = "/poor3/..."
component = "poor3"

[[trigger.http]]
route = "/poor4/..."
component = "poor4"

[component.three]
source = "{spin_sdk_guest.wasm}"
key_value_stores = ["default"]
sqlite_databases = ["default"]
ai_models = ["llama2-chat"]

[component.three.variables]
greeting = "{{ greeting }}, world"
token = "{{ token }}"

[component.four]
source = "{spin4_sdk_guest.wasm}"
key_value_stores = ["default"]
sqlite_databases = ["default"]

[component.four.variables]
greeting = "{{ greeting }}, world"
token = "{{ token }}"

[component.poor3]
source = "{spin_sdk_guest.wasm}"

[component.poor4]
source = "{spin4_sdk_guest.wasm}"
"#;

async fn host() -> Host {
    Launch::of(&Manifest::spin(BOTH)).start().await
}

/// Calls a function of an interface with these arguments.
pub async fn call(client: &Client, path: &str, arguments: &[&str]) -> String {
    let body = serde_json::to_string(arguments).unwrap();
    let request = client.request("POST", path).body(full(body)).unwrap();
    let reply = client.send(request).await;
    assert_eq!(reply.status, 200, "{path} {arguments:?}: {}", reply.text());
    reply.text()
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_and_values_are_shared_by_those_whom_a_store_is_granted_to() {
    let host = host().await;
    let client = host.client();
    let on = async |path: &str, arguments: &[&str]| call(&client, path, arguments).await;
    assert_eq!(
        on("/three/key-value/set", &["default", "a", "1"]).await,
        "Ok(())"
    );
    assert_eq!(
        on("/four/key-value/get", &["default", "a"]).await,
        "Ok(Some(\"1\"))"
    );
    assert_eq!(
        on("/four/key-value/set", &["default", "b", "2"]).await,
        "Ok(())"
    );
    assert_eq!(
        on("/three/key-value/get", &["default", "b"]).await,
        "Ok(Some(\"2\"))"
    );
    for who in ["three", "four"] {
        let path = |function: &str| format!("/{who}/key-value/{function}");
        assert_eq!(
            on(&path("keys"), &["default"]).await,
            "Ok([\"a\", \"b\"])",
            "{who}"
        );
        assert_eq!(
            on(&path("exists"), &["default", "a"]).await,
            "Ok(true)",
            "{who}"
        );
        assert_eq!(
            on(&path("exists"), &["default", "c"]).await,
            "Ok(false)",
            "{who}"
        );
        assert_eq!(
            on(&path("get"), &["default", "c"]).await,
            "Ok(None)",
            "{who}"
        );
        assert_eq!(
            on(&path("delete"), &["default", "c"]).await,
            "Ok(())",
            "{who}"
        );
        assert_eq!(
            on(&path("get"), &["other", "a"]).await,
            "Error::AccessDenied",
            "{who}"
        );
        let long = "k".repeat(5000);
        let refused = on(&path("set"), &["default", &long, ""]).await;
        assert!(
            refused.starts_with("Err(Error::Other(\"key of 5000 bytes"),
            "{who}: {refused}"
        );
    }
    assert_eq!(
        on("/three/key-value/delete", &["default", "a"]).await,
        "Ok(())"
    );
    assert_eq!(
        on("/four/key-value/keys", &["default"]).await,
        "Ok([\"b\"])"
    );
    for who in ["poor3", "poor4"] {
        let path = format!("/{who}/key-value/get");
        assert_eq!(
            on(&path, &["default", "b"]).await,
            "Error::AccessDenied",
            "{who}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn variables_are_those_of_the_component() {
    let host = host().await;
    let client = host.client();
    for who in ["three", "four"] {
        let get = async |name: &str| call(&client, &format!("/{who}/variables/get"), &[name]).await;
        assert_eq!(get("greeting").await, "Ok(\"hello, world\")", "{who}");
        assert_eq!(get("token").await, "Ok(\"hidden\")", "{who}");
        let undefined = get("nothing").await;
        assert!(
            undefined.starts_with("Err(Error::Undefined("),
            "{who}: {undefined}"
        );
        for invalid in ["", "Greeting", "1st", "a-b", "wharf.message.id"] {
            let answer = get(invalid).await;
            assert!(
                answer.starts_with("Err(Error::InvalidName("),
                "{who} {invalid:?}: {answer}"
            );
        }
    }
    let undefined = call(&client, "/poor3/variables/get", &["greeting"]).await;
    assert!(
        undefined.starts_with("Err(Error::Undefined("),
        "{undefined}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_is_one_whichever_version_of_the_interface_asks() {
    let host = host().await;
    let client = host.client();
    let on = async |path: &str, arguments: &[&str]| call(&client, path, arguments).await;
    let create = "CREATE TABLE t (id INTEGER PRIMARY KEY, v)";
    on("/three/sqlite3", &["default", create]).await;
    let insert = "INSERT INTO t (v) VALUES (?), (?), (?), (?), (?)";
    let values = ["i:-7", "r:1.5", "t:h\u{e9}", "b:\0\u{1}", "n:"];
    let inserted = on(
        "/three/sqlite2",
        &[&["default", insert], &values[..]].concat(),
    )
    .await;
    assert!(
        inserted.starts_with("Ok(QueryResult { columns: [], rows: []"),
        "{inserted}"
    );
    let two = on(
        "/three/sqlite2",
        &["default", "SELECT v FROM t ORDER BY id"],
    )
    .await;
    let rows = "[RowResult { values: [Value::Integer(-7)] }, RowResult { values: [Value::Real(1.5)] }, \
                RowResult { values: [Value::Text(\"h\u{e9}\")] }, RowResult { values: [Value::Blob([0, 1])] }, \
                RowResult { values: [Value::Null] }]";
    assert_eq!(
        two,
        format!("Ok(QueryResult {{ columns: [\"v\"], rows: {rows} }})")
    );
    let four = on("/four/sqlite", &["default", "SELECT v FROM t ORDER BY id"]).await;
    assert_eq!(four, format!("[\"v\"] Ok({rows}) rowid 0 changes 0"));
    let four = on(
        "/four/sqlite",
        &["default", "INSERT INTO t (v) VALUES (?)", "i:1"],
    )
    .await;
    assert_eq!(four, "[] Ok([]) rowid 6 changes 1");
    let three = on("/three/sqlite3", &["default", "DELETE FROM t WHERE id > 4"]).await;
    assert_eq!(three, "Some([]) rowid 0 changes 2");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_transaction_is_its_connections_own_and_undone_with_it() {
    let host = host().await;
    let client = host.client();
    let on = async |statements: &[&str]| {
        call(
            &client,
            "/three/sqlite3",
            &[&["default"], statements].concat(),
        )
        .await
    };
    on(&["CREATE TABLE t (v)"]).await;
    on(&["BEGIN", "INSERT INTO t VALUES (1)", "COMMIT"]).await;
    on(&["BEGIN", "INSERT INTO t VALUES (2)"]).await;
    let count = on(&["SELECT count(*) FROM t"]).await;
    assert!(count.contains("Value::Integer(1)"), "{count}");
    on(&["INSERT INTO t VALUES (3)"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_database_of_the_component_or_no_sql_is_refused() {
    let host = host().await;
    let client = host.client();
    let on = async |path: &str, arguments: &[&str]| call(&client, path, arguments).await;
    for (path, database) in [
        ("/three/sqlite2", "other"),
        ("/three/sqlite3", "other"),
        ("/four/sqlite", "../wharf"),
        ("/poor3/sqlite2", "default"),
        ("/poor3/sqlite3", "default"),
        ("/poor4/sqlite", "default"),
    ] {
        let denied = on(path, &[database, "SELECT 1"]).await;
        assert_eq!(denied, "Error::AccessDenied", "{path} {database}");
    }
    for path in ["/three/sqlite2", "/three/sqlite3", "/four/sqlite"] {
        let wrong = on(path, &["default", "SELECT * FROM absent"]).await;
        assert!(
            wrong.contains("Error::Io(\"no such table: absent"),
            "{path}: {wrong}"
        );
        let attach = on(path, &["default", "ATTACH '/tmp/x.db' AS x"]).await;
        assert!(
            attach.contains("Error::Io(\"not authorized"),
            "{path}: {attach}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_survives_a_power_failure() {
    let launch = Launch::of(&Manifest::spin(BOTH));
    let host = launch.clone().start().await;
    let statements = ["default", "CREATE TABLE t (v)", "INSERT INTO t VALUES (42)"];
    call(&host.client(), "/three/sqlite3", &statements).await;
    host.kill().await;
    let host = launch.start().await;
    let kept = call(
        &host.client(),
        "/four/sqlite",
        &["default", "SELECT v FROM t"],
    )
    .await;
    assert!(kept.contains("Value::Integer(42)"), "{kept}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_nobody_serves_answers_its_interfaces_own_error() {
    let host = host().await;
    let client = host.client();
    let on = async |path: &str, arguments: &[&str]| call(&client, path, arguments).await;
    let granted = on("/three/llm/infer", &["llama2-chat"]).await;
    assert!(
        granted.starts_with("Err(Error::RuntimeError(\"this host runs no language models"),
        "{granted}"
    );
    assert_eq!(
        on("/three/llm/infer", &["gpt"]).await,
        "Err(Error::ModelNotSupported)"
    );
    for who in ["three", "four"] {
        let mysql = on(&format!("/{who}/mysql/open"), &["mysql://127.0.0.1/x"]).await;
        assert!(
            mysql.contains("ConnectionFailed(\"this host does not connect to MySQL"),
            "{mysql}"
        );
        let mqtt = on(&format!("/{who}/mqtt/open"), &["mqtt://127.0.0.1"]).await;
        assert!(
            mqtt.contains("ConnectionFailed(\"this host does not connect to MQTT"),
            "{mqtt}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn our_own_manifest_grants_databases_and_refuses_what_it_does_not_grant() {
    let component = |name: &str, grants: &str| {
        format!(
            "[component.{name}]\nartifact = \"{{spin_sdk_guest.wasm}}\"\n[component.{name}.grants]\n{grants}\n\
             [[route]]\npath = \"/{name}/...\"\ncomponent = \"{name}\"\n"
        )
    };
    let granted = "keyvalue = [\"default\"]\nsqlite = [\"default\", \"both\"]";
    let manifest = Manifest::new(&(component("one", granted) + &component("two", granted)));
    let host = Launch::of(&manifest).start().await;
    let client = host.client();
    for database in ["default", "both"] {
        let create = [
            "CREATE TABLE IF NOT EXISTS t (v)",
            "INSERT INTO t VALUES (1)",
        ];
        let statements = [&[database], &create[..]].concat();
        call(&client, "/one/sqlite3", &statements).await;
        call(&client, "/two/sqlite3", &statements).await;
    }
    let count = async |database| {
        call(
            &client,
            "/one/sqlite3",
            &[database, "SELECT count(*) FROM t"],
        )
        .await
    };
    assert!(
        count("default").await.contains("Value::Integer(1)"),
        "its own"
    );
    assert!(count("both").await.contains("Value::Integer(2)"), "shared");

    let poor = Manifest::new(&component("one", "keyvalue = [\"default\"]"));
    let refused = Launch::of(&poor)
        .try_start()
        .await
        .err()
        .expect("a grant is missing");
    assert!(refused.contains("fermyon:spin/sqlite@2.0.0"), "{refused}");
    assert!(
        refused.contains("add `sqlite = [\\\"default\\\"]`")
            || refused.contains("add `sqlite = [\"default\"]`"),
        "{refused}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn the_handler_of_spin_1_serves_whole_requests() {
    let manifest = Manifest::new(
        "[component.whole]\nartifact = \"{spin_http.wasm}\"\nlimits.request_body = \"64MiB\"\n\
         [[route]]\npath = \"/...\"\ncomponent = \"whole\"\n",
    );
    let host = Launch::of(&manifest).start().await;
    let client = host.client();
    let request = client.request("PUT", "/a/b?x=1&y").header("x-given", "1");
    let reply = client.send(request.body(full("body")).unwrap()).await;
    assert_eq!((reply.status, reply.text().as_str()), (201, "body"));
    assert_eq!(reply.header("x-given"), Some("1"));
    assert_eq!(reply.header("x-method"), Some("Method::Put"));
    assert_eq!(reply.header("x-uri"), Some("/a/b?x=1&y"));
    assert_eq!(reply.header("x-params"), Some(r#"[("x", "1"), ("y", "")]"#));
    assert_eq!(client.post("/", "trap").await.status, 502);
    let request = client.request("TRACE", "/").body(full("")).unwrap();
    assert_eq!(
        client.send(request).await.status,
        400,
        "the interface has no such method"
    );
    assert_eq!(
        client.post("/", vec![0; 17 * 1024 * 1024]).await.status,
        413
    );
    assert_eq!(client.get("/").await.status, 201, "it goes on");
}
