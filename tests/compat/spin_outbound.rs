//! Connections to Redis and PostgreSQL, as guests that were built with Spin's SDKs make them: where the
//! manifest allows it, and nowhere else.

use super::spin_interfaces::call;
use crate::harness::{Client, Host, Launch, Manifest, PostgresServer, RedisServer};

/// A guest of Spin 3 and one of Spin 4 that may connect to `hosts`, and one that may not.
async fn host(hosts: &[String]) -> Host {
    let hosts: Vec<_> = hosts.iter().map(|host| format!("{host:?}")).collect();
    let mut text = "[application]\nname = \"outbound\"\n".to_owned();
    for (name, guest, more) in [
        ("three", "{spin_sdk_guest.wasm}", hosts.join(", ")),
        ("four", "{spin4_sdk_guest.wasm}", hosts.join(", ")),
        ("poor3", "{spin_sdk_guest.wasm}", String::new()),
        ("poor4", "{spin4_sdk_guest.wasm}", String::new()),
    ] {
        text += &format!(
            "[[trigger.http]]\nroute = \"/{name}/...\"\ncomponent = \"{name}\"\n\
             [component.{name}]\nsource = \"{guest}\"\nallowed_outbound_hosts = [{more}]\n"
        );
    }
    Launch::of(&Manifest::spin(&text)).start().await
}

/// Calls functions of one guest's interface at one address.
struct At<'a> {
    client: &'a Client,
    path: String,
    address: String,
}

impl At<'_> {
    async fn on(&self, function: &str, arguments: &[&str]) -> String {
        let path = format!("{}/{function}", self.path);
        call(
            self.client,
            &path,
            &[&[self.address.as_str()], arguments].concat(),
        )
        .await
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn redis_carries_out_each_command() {
    let redis = RedisServer::start();
    let host = host(&[redis.url()]).await;
    let client = host.client();
    for who in ["three", "four"] {
        let at = At {
            client: &client,
            path: format!("/{who}/redis"),
            address: redis.url(),
        };
        redis.ask("FLUSHALL", |answer| answer.starts_with("+OK"));
        assert_eq!(at.on("get", &["k"]).await, "Ok(None)", "{who}");
        assert_eq!(at.on("set", &["k", "v"]).await, "Ok(())", "{who}");
        assert_eq!(at.on("get", &["k"]).await, "Ok(Some(\"v\"))", "{who}");
        assert_eq!(at.on("incr", &["n"]).await, "Ok(1)", "{who}");
        assert_eq!(at.on("incr", &["n"]).await, "Ok(2)", "{who}");
        assert_eq!(at.on("sadd", &["s", "a", "b"]).await, "Ok(2)", "{who}");
        assert_eq!(at.on("srem", &["s", "a", "c"]).await, "Ok(1)", "{who}");
        assert_eq!(at.on("smembers", &["s"]).await, "Ok([\"b\"])", "{who}");
        assert_eq!(at.on("del", &["k", "n", "x"]).await, "Ok(2)", "{who}");
        assert_eq!(at.on("publish", &["channel", "x"]).await, "Ok(())", "{who}");
        let pushed = at.on("execute", &["RPUSH", "b:l", "b:x", "i:5"]).await;
        assert_eq!(pushed, "Ok([RedisResult::Int64(2)])", "{who}");
        let range = at.on("execute", &["LRANGE", "b:l", "i:0", "i:-1"]).await;
        assert_eq!(
            range, "Ok([RedisResult::Binary([120]), RedisResult::Binary([53])])",
            "{who}"
        );
        assert_eq!(
            at.on("execute", &["GET", "b:none"]).await,
            "Ok([RedisResult::Nil])",
            "{who}"
        );
        let set = at.on("execute", &["SET", "b:k", "b:v"]).await;
        assert_eq!(set, "Ok([RedisResult::Status(\"OK\")])", "{who}");
        assert_eq!(
            at.on("incr", &["k"]).await,
            "Err(Error::TypeError)",
            "no number: {who}"
        );
        assert_eq!(
            at.on("incr", &["l"]).await,
            "Err(Error::TypeError)",
            "a list: {who}"
        );
        assert_eq!(
            at.on("smembers", &["k"]).await,
            "Err(Error::TypeError)",
            "{who}"
        );
        let unknown = at.on("execute", &["NOSUCH"]).await;
        assert!(unknown.starts_with("Err(Error::Other("), "{who}: {unknown}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn redis_is_reached_where_the_manifest_allows_it_and_nowhere_else() {
    let redis = RedisServer::start();
    let gone = format!("redis://127.0.0.1:{}", RedisServer::free_port());
    let host = host(&[redis.url(), gone.clone()]).await;
    let client = host.client();
    let elsewhere = "redis://127.0.0.2:6379".to_owned();
    for (who, address) in [
        ("poor3", redis.url()),
        ("poor4", redis.url()),
        ("three", elsewhere.clone()),
        ("four", elsewhere),
        ("three", redis.url().replace("redis:", "rediss:")),
        ("three", "redis+unix:///run/redis.sock".to_owned()),
        ("three", "no address".to_owned()),
        ("four", String::new()),
    ] {
        let at = At {
            client: &client,
            path: format!("/{who}/redis"),
            address: address.clone(),
        };
        assert_eq!(
            at.on("get", &["k"]).await,
            "Error::InvalidAddress",
            "{who} {address}"
        );
    }
    host.logged("what would allow it", |entry| {
        let message = entry["message"].as_str().unwrap_or_default();
        message.contains("outbound connection denied") && message.contains(&redis.url())
    })
    .await;
    for who in ["three", "four"] {
        let at = At {
            client: &client,
            path: format!("/{who}/redis"),
            address: gone.clone(),
        };
        let refused = at.on("get", &["k"]).await;
        assert!(refused.starts_with("Error::Other("), "{who}: {refused}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_to_redis_shows_nothing_of_who_had_it_before() {
    let mut redis = RedisServer::start();
    let host = host(&[redis.url()]).await;
    let client = host.client();
    let at = At {
        client: &client,
        path: "/three/redis".to_owned(),
        address: redis.url(),
    };
    at.on("set", &["k", "v"]).await;
    at.on("execute", &["SELECT", "i:3"]).await;
    assert_eq!(
        at.on("get", &["k"]).await,
        "Ok(Some(\"v\"))",
        "not in the third database"
    );
    at.on("execute", &["MULTI"]).await;
    assert_eq!(at.on("get", &["k"]).await, "Ok(Some(\"v\"))", "not queued");
    redis.kill();
    redis.start_again();
    // The connection that idles is lost, and is found to be within a second or by its first command.
    let healed = crate::harness::eventually(
        "a new connection",
        std::time::Duration::from_secs(10),
        async || (at.on("get", &["k"]).await == "Ok(None)").then_some(()),
    );
    healed.await;
}

#[tokio::test(flavor = "multi_thread")]
async fn postgres_takes_and_gives_values_of_each_version() {
    let postgres = PostgresServer::start();
    let host = host(&[format!("postgres://127.0.0.1:{}", postgres.port())]).await;
    let client = host.client();
    let at = |path: &str| At {
        client: &client,
        path: path.to_owned(),
        address: postgres.url(),
    };
    let (two, three, four) = (at("/three/pg2"), at("/three/pg3"), at("/three/pg4"));

    let types =
        "bool, $2::int2, $3::int4, $4::int8, $5::float4, $6::float8, $7::text, $8::bytea, $9::text";
    let values = [
        "bool:true",
        "i16:-2",
        "i32:3",
        "i64:9223372036854775807",
        "f32:1.5",
        "f64:-2.25",
        "str:h\u{e9}",
        "bin:\0x",
        "null:",
    ];
    let query = format!("SELECT $1::{types}");
    for at in [&two, &three, &four] {
        let got = at
            .on("query", &[&[query.as_str()], &values[..]].concat())
            .await;
        for value in [
            "DbValue::Boolean(true)",
            "DbValue::Int16(-2)",
            "DbValue::Int32(3)",
            "DbValue::Int64(9223372036854775807)",
            "DbValue::Floating32(1.5)",
            "DbValue::Floating64(-2.25)",
            "DbValue::Str(\"h\u{e9}\")",
            "DbValue::Binary([0, 120])",
            "DbValue::DbNull",
            "DbDataType::Floating32",
            "DbDataType::Str",
        ] {
            assert!(got.contains(value), "{} {value}: {got}", at.path);
        }
    }
    let dates = "SELECT $1::date, $2::time, $3::timestamp, $4::timestamptz, '1999-12-31 23:59:59.5+00'::timestamptz";
    let values = ["date:", "time:", "datetime:", "timestamp:951782400"];
    let got = three.on("query", &[&[dates], &values[..]].concat()).await;
    for value in [
        "DbValue::Date((2024, 2, 29))",
        "DbValue::Time((23, 59, 58, 123456000))",
        "DbValue::Datetime((1969, 12, 31, 23, 59, 59, 0))",
        "DbValue::Datetime((2000, 2, 29, 0, 0, 0, 0))",
        "DbValue::Datetime((1999, 12, 31, 23, 59, 59, 500000000))",
        "DbDataType::Date",
        "DbDataType::Datetime",
    ] {
        assert!(got.contains(value), "{value}: {got}");
    }
    let more = "SELECT $1::uuid, $2::jsonb, $3::numeric, $4::text[], $5::interval, \
                int4range(1, 5), numrange(1.5, NULL, '[]'), ARRAY[1, NULL]::int8[], point(1, 2)";
    let uuid = "0e37df36-f698-11e6-8dd4-cb9ced3df976";
    let values = [
        &format!("uuid:{uuid}"),
        "jsonb:{\"a\": [1]}",
        "decimal:-12345.0678",
        "array:x",
        "interval:",
    ];
    let got = four.on("query", &[&[more], &values[..]].concat()).await;
    for value in [
        &format!("DbValue::Uuid({uuid:?})"),
        "DbValue::Decimal(\"-12345.0678\")",
        "DbValue::ArrayStr([Some(\"x\"), None])",
        "DbValue::Interval(Interval { micros: 1, days: 2, months: 3 })",
        "DbValue::RangeInt32((Some((1, RangeBoundKind::Inclusive)), Some((5, RangeBoundKind::Exclusive))))",
        "DbValue::RangeDecimal((Some((\"1.5\", RangeBoundKind::Inclusive)), None))",
        "DbValue::ArrayInt64([Some(1), None])",
        "DbValue::Unsupported([",
        "DbDataType::Other(\"point\")",
    ] {
        assert!(got.contains(value), "{value}: {got}");
    }
    let unsupported = three.on("query", &["SELECT point(1, 2)"]).await;
    assert!(
        unsupported.contains("DbValue::Unsupported") && unsupported.contains("DbDataType::Other"),
        "{unsupported}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn postgres_says_what_is_wrong() {
    let postgres = PostgresServer::start();
    let host = host(&[format!("postgres://127.0.0.1:{}", postgres.port())]).await;
    let client = host.client();
    for path in ["/three/pg2", "/three/pg3", "/three/pg4", "/four/pg"] {
        let at = At {
            client: &client,
            path: path.to_owned(),
            address: postgres.url(),
        };
        let table = path.replace('/', "_");
        assert_eq!(
            at.on(
                "execute",
                &[&format!("CREATE TABLE {table} (v int8 UNIQUE)")]
            )
            .await,
            "Ok(0)",
            "{path}"
        );
        let insert = format!("INSERT INTO {table} VALUES ($1)");
        assert_eq!(
            at.on("execute", &[&insert, "i64:1"]).await,
            "Ok(1)",
            "{path}"
        );
        let again = at.on("execute", &[&insert, "i64:1"]).await;
        assert!(
            again.contains("QueryFailed(") && again.contains("duplicate key"),
            "{path}: {again}"
        );
        let syntax = at.on("query", &["SELEC 1"]).await;
        assert!(
            syntax.contains("QueryFailed(") && syntax.contains("syntax error"),
            "{path}: {syntax}"
        );
        let wrong = at.on("execute", &[&insert, "str:one"]).await;
        assert!(wrong.contains("BadParameter("), "{path}: {wrong}");
        let many = at.on("execute", &[&insert, "i64:2", "i64:3"]).await;
        assert!(many.contains("BadParameter("), "{path}: {many}");
    }
    let structured = At {
        client: &client,
        path: "/three/pg4".to_owned(),
        address: postgres.url(),
    };
    let structured = structured.on("query", &["SELECT 1/0"]).await;
    assert!(
        structured.contains("DbError(DbError") && structured.contains("code: \"22012\""),
        "{structured}"
    );
    let unsigned = At {
        client: &client,
        path: "/three/pg2".to_owned(),
        address: postgres.url(),
    };
    let unsigned = unsigned.on("query", &["SELECT $1::int4", "u32:1"]).await;
    assert!(unsigned.contains("BadParameter("), "{unsigned}");
}

#[tokio::test(flavor = "multi_thread")]
async fn postgres_streams_rows_to_a_guest_of_spin_4() {
    let postgres = PostgresServer::start();
    let host = host(&[format!("postgres://127.0.0.1:{}", postgres.port())]).await;
    let client = host.client();
    let four = At {
        client: &client,
        path: "/four/pg".to_owned(),
        address: postgres.url(),
    };
    let rows = four
        .on(
            "query",
            &["SELECT i AS n FROM generate_series($1, 3::int8) i", "i64:1"],
        )
        .await;
    let values: Vec<_> = (1..=3).map(|n| format!("[DbValue::Int64({n})]")).collect();
    assert_eq!(
        rows,
        format!("[\"n DbDataType::Int64\"] [{}] Ok(())", values.join(", "))
    );
    let range = four
        .on("query", &["SELECT upper_inf($1::int4range) AS u", "range:"])
        .await;
    assert!(range.contains("DbValue::Boolean(true)"), "{range}");
    let large = four.on("query", &["SELECT repeat('x', 20000000)"]).await;
    assert!(
        large.contains("ValueConversionFailed(\"the result is larger"),
        "{large}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn postgres_is_reached_where_the_manifest_allows_it_and_nowhere_else() {
    let postgres = PostgresServer::start();
    let gone = RedisServer::free_port();
    let hosts = [
        format!("postgres://127.0.0.1:{}", postgres.port()),
        format!("postgres://127.0.0.1:{gone}"),
    ];
    let host = host(&hosts).await;
    let client = host.client();
    let allowed = format!("127.0.0.1:{}", postgres.port());
    for (path, address) in [
        ("/poor3/pg2", postgres.url()),
        ("/poor3/pg3", postgres.url()),
        ("/poor3/pg4", postgres.url()),
        ("/poor4/pg", postgres.url()),
        ("/three/pg3", "postgres://127.0.0.2:5432/x".to_owned()),
        (
            "/three/pg3",
            format!("postgres://{allowed},127.0.0.2:5432/x"),
        ),
        (
            "/three/pg3",
            format!("host=127.0.0.1 hostaddr=127.0.0.2 port={}", postgres.port()),
        ),
        ("/three/pg3", "host=/run/postgresql".to_owned()),
        ("/three/pg3", "user=wharf".to_owned()),
        ("/four/pg", "no address".to_owned()),
        ("/three/pg3", format!("postgres://127.0.0.1:{gone}/x")),
        ("/three/pg3", postgres.url().replace("secret", "wrong")),
    ] {
        let at = At {
            client: &client,
            path: path.to_owned(),
            address: address.clone(),
        };
        let refused = at.on("query", &["SELECT 1"]).await;
        assert!(
            refused.contains("ConnectionFailed("),
            "{path} {address}: {refused}"
        );
        assert!(!refused.contains("secret"), "{refused}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_to_postgres_shows_nothing_of_who_had_it_before() {
    let postgres = PostgresServer::start();
    let host = host(&[format!("postgres://127.0.0.1:{}", postgres.port())]).await;
    let client = host.client();
    let at = At {
        client: &client,
        path: "/three/pg3".to_owned(),
        address: postgres.url(),
    };
    let pid = async || at.on("query", &["SELECT pg_backend_pid()"]).await;
    // A connection is made like new while the next one may be needed already, so there may be several.
    let mut seen = std::collections::BTreeSet::from([pid().await]);
    at.on("execute", &["CREATE TABLE t (v int4)"]).await;
    for leaves in [
        "SET application_name = 'left'",
        "CREATE TEMP TABLE left_behind (v int4)",
        "SELECT pg_advisory_lock(1)",
        "BEGIN",
    ] {
        at.on("execute", &[leaves]).await;
    }
    let within = std::time::Duration::from_secs(10);
    let again = async || (!seen.insert(pid().await)).then_some(());
    crate::harness::eventually("a connection is used again", within, again).await;
    let name = at.on("query", &["SHOW application_name"]).await;
    assert!(!name.contains("left"), "{name}");
    let gone = at.on("query", &["SELECT * FROM left_behind"]).await;
    assert!(gone.contains("does not exist"), "{gone}");
    let locks = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'";
    let free = async || {
        let free = at.on("query", &[locks]).await;
        free.contains("DbValue::Int64(0)").then_some(())
    };
    crate::harness::eventually("nobody holds the lock", within, free).await;
    at.on("execute", &["INSERT INTO t VALUES (1)"]).await;
    let kept = at.on("query", &["SELECT count(*) FROM t"]).await;
    assert!(
        kept.contains("DbValue::Int64(1)"),
        "no transaction was left open: {kept}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn postgres_speaks_tls_to_those_who_trust_it() {
    let postgres = PostgresServer::start();
    let host = host(&[format!("postgres://localhost:{}", postgres.port())]).await;
    let client = host.client();
    let at = At {
        client: &client,
        path: "/four/pg".to_owned(),
        address: postgres.tls_url(),
    };
    let untrusted = at.on("query", &["SELECT 1"]).await;
    assert!(
        untrusted.contains("ConnectionFailed(") && untrusted.contains("certificate"),
        "{untrusted}"
    );
    let asks = "SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()";
    let trusted = at.on("trusting", &[asks, &postgres.certificate()]).await;
    assert!(trusted.contains("DbValue::Boolean(true)"), "{trusted}");
    let nonsense = at.on("trusting", &[asks, "no certificate"]).await;
    assert!(nonsense.contains("ConnectionFailed("), "{nonsense}");
}
