use std::path::Path;
use std::time::Duration;

use super::*;

const SHARED: &str = include_str!("../../../runtime-config/redis.toml");
const LOCAL: &str = include_str!("../../../runtime-config/local.toml");

fn resolved(text: &str) -> HostConfig {
    resolve(text, Path::new("host.toml"), Overrides::default())
        .unwrap_or_else(|problems| panic!("{problems}"))
}

fn problems(text: &str) -> String {
    resolve(text, Path::new("host.toml"), Overrides::default())
        .unwrap_err()
        .to_string()
}

#[test]
fn the_local_configuration_says_what_the_defaults_are() {
    let defaults = load(None, Overrides::default()).unwrap();
    assert_eq!(resolved(LOCAL), defaults);
    assert_eq!(defaults.state_dir, Path::new(".wharf"));
    assert_eq!(defaults.http.listen.to_string(), "127.0.0.1:8080");
    assert_eq!(defaults.admin_listen.to_string(), "127.0.0.1:9090");
    assert_eq!(defaults.shutdown_grace, Duration::from_secs(30));
    assert!(defaults.engine.worker_threads >= 1);
    assert_eq!(defaults.rollout.revision_header, None);
    assert_eq!(defaults.rollout.revisions_kept, 10);
}

#[test]
fn every_key_is_resolved() {
    let config = resolved(
        r#"
        state_dir = "/var/lib/wharf"
        http = { listen = "[::]:80", connections = 10, header_timeout = "2s" }
        admin.listen = "127.0.0.1:81"
        shutdown.grace = "1m"
        engine = { instances = 5, memory = "100KiB", worker_threads = 3 }
        rollout = { revision_header = "Wharf-Revision", revisions_kept = 2 }
        name = "east-1"
        redis = { url = "redis://a,redis://b", cluster = true, username = "u", password_secret = "p", prefix = "x" }
        blobs.url_env = "BLOBS"
        "#,
    );
    let expected = HostConfig {
        name: Some("east-1".parse().unwrap()),
        state_dir: "/var/lib/wharf".into(),
        code_dir: "/var/lib/wharf/code".into(),
        http: HttpListener {
            listen: "[::]:80".parse().unwrap(),
            connections_max: 10,
            header_timeout: Duration::from_secs(2),
            one_component: None,
        },
        admin_listen: "127.0.0.1:81".parse().unwrap(),
        shutdown_grace: Duration::from_secs(60),
        engine: EngineConfig {
            instances_max: 5,
            memory_bytes_max: 128 << 10,
            worker_threads: 3,
        },
        rollout: RolloutConfig {
            revision_header: Some(http::HeaderName::from_static("wharf-revision")),
            revisions_kept: 2,
        },
        redis: Some(RedisConfig {
            url: Setting::Written("redis://a,redis://b".to_owned()),
            cluster: true,
            username: Some("u".to_owned()),
            password_secret: Some("p".parse().unwrap()),
            prefix: "x".to_owned(),
        }),
        blobs: Some(Setting::Variable("BLOBS".to_owned())),
    };
    assert_eq!(config, expected);
}

#[test]
fn the_command_line_takes_precedence() {
    let overrides = Overrides {
        http: Some("127.0.0.1:0".parse().unwrap()),
        admin: Some("127.0.0.1:0".parse().unwrap()),
        state_dir: Some("elsewhere".into()),
    };
    let config = resolve(LOCAL, Path::new("host.toml"), overrides).unwrap();
    assert_eq!(config.http.listen.port(), 0);
    assert_eq!(config.admin_listen.port(), 0);
    assert_eq!(config.state_dir, Path::new("elsewhere"));
    assert_eq!(config.http.connections_max, defaults::CONNECTIONS_MAX);
}

#[test]
fn everything_wrong_is_reported_at_once() {
    let found = problems(
        r#"state_dir = ""
[http]
listen = "localhost"
conections = 1
header_timeout = 15
[shutdown]
grace = "0s"
[engine]
instances = 0
memory = "5GiB"
worker_threads = -1
[rollout]
revision_header = "Host"
revisions_kept = 0
[redis]
url = "redis://127.0.0.1"
url_env = "REDIS"
password_secret = "pass word"
prefix = "a{b}"
[blobs]
[radis]
"#,
    );
    let expected = r#"host.toml:1: state_dir: is empty
    fix: write a path, or leave it out
host.toml:3: http.listen: "localhost" is not an address and port
    fix: write an IP address and a port, such as "127.0.0.1:8080"
host.toml:4: http.conections: unknown key
    fix: did you mean connections? Known here: listen, connections, header_timeout
host.toml:5: http.header_timeout: must be a time with its unit, such as "30s", but is an integer
    fix: write a time with its unit, such as "30s"
host.toml:7: shutdown.grace: must be at least 1ms
    fix: write "1ms" or more, or leave it out
host.toml:9: engine.instances: must be at least 1
    fix: write 1 or more, or leave it out
host.toml:10: engine.memory: is more than a component can address
    fix: write "4GiB" at most
host.toml:11: engine.worker_threads: -1 is out of range
    fix: write a number from 0 up
host.toml:13: rollout.revision_header: "Host" has a meaning in HTTP
    fix: write a name of your own, such as "wharf-revision"
host.toml:14: rollout.revisions_kept: must be at least 1
    fix: write 1 or more, or leave it out
host.toml:17: redis.url_env: says the URL a second time
    fix: write url or url_env
host.toml:18: redis.password_secret: "pass word" is not a secret name
    fix: use 1 to 63 lower-case letters, digits and inner hyphens
host.toml:19: redis.prefix: is empty or has braces, which mark the slot of a key in a cluster
    fix: write a word, such as "wharf"
host.toml:20: blobs: says no URL
    fix: write url, or url_env with the name of a variable
host.toml:21: radis: unknown key
    fix: did you mean redis? Known here: name, state_dir, http, admin, shutdown, engine, rollout, redis, blobs"#;
    assert_eq!(found, expected);
}

#[test]
fn the_shared_configuration_differs_in_where_the_backends_are() {
    let shared = resolved(SHARED);
    let redis = RedisConfig {
        url: Setting::Variable("WHARF_REDIS_URL".to_owned()),
        cluster: false,
        username: None,
        password_secret: None,
        prefix: "wharf".to_owned(),
    };
    assert_eq!(shared.redis.as_ref(), Some(&redis));
    let blobs = Setting::Variable("WHARF_BLOB_URL".to_owned());
    assert_eq!(shared.blobs.as_ref(), Some(&blobs));
    let embedded = HostConfig {
        redis: None,
        blobs: None,
        ..shared
    };
    assert_eq!(embedded, resolved(LOCAL));
    assert!(
        resolved("[redis]\nurl = \"redis://127.0.0.1\"").redis
            == Some(RedisConfig {
                url: Setting::Written("redis://127.0.0.1".to_owned()),
                ..redis
            })
    );
}

#[test]
fn a_setting_is_shown_without_its_text() {
    let written = Setting::Written("redis://:password@host".to_owned());
    assert!(!format!("{written:?}").contains("password"));
    assert_eq!(written.value().unwrap(), "redis://:password@host");
    let absent = Setting::Variable("WHARF_TEST_ABSENT".to_owned());
    assert_eq!(absent.value(), Err("WHARF_TEST_ABSENT"));
}

#[test]
fn a_revision_header_must_be_a_header() {
    let found = problems("rollout.revision_header = \"a b\"");
    assert!(
        found.contains("rollout.revision_header: \"a b\" is not a header name"),
        "{found}"
    );
}

#[test]
fn the_two_listeners_cannot_be_one() {
    let text = "[http]\nlisten = \"127.0.0.1:9\"\n[admin]\nlisten = \"127.0.0.1:9\"";
    assert!(problems(text).starts_with("host.toml:4: admin.listen: 127.0.0.1:9 is where [http]"));
    let overrides = Overrides {
        http: Some(defaults::ADMIN_LISTEN),
        ..Overrides::default()
    };
    let problems = load(None, overrides).unwrap_err().to_string();
    assert!(
        problems.starts_with("host configuration: admin.listen: "),
        "{problems}"
    );
}

#[test]
fn a_file_that_cannot_be_read_is_named() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("absent.toml");
    let problems = load(Some(&path), Overrides::default())
        .unwrap_err()
        .to_string();
    assert!(
        problems.contains("absent.toml: cannot be read: "),
        "{problems}"
    );
    std::fs::write(&path, LOCAL).unwrap();
    assert_eq!(
        load(Some(&path), Overrides::default()).unwrap(),
        resolved(LOCAL)
    );
}

#[test]
fn the_committed_schema_is_the_generated_one() {
    crate::document::assert_schema_is_fresh("host-config.schema.json", &schema());
}
