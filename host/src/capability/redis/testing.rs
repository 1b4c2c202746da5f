//! What the tests of everything on Redis begin with.

#[path = "../../../../tests/harness/redis_server.rs"]
#[allow(dead_code, reason = "the end-to-end tests use what unit tests do not")]
mod redis_server;

pub(crate) use redis_server::RedisServer;

use std::sync::OnceLock;

use wharf::toolchain::{Console, Tool, ensure};

use super::Redis;
use crate::config::model::{RedisConfig, Setting};

/// Does what `wharf setup --tests` would for it.
fn install_redis_server() {
    static INSTALLED: OnceLock<()> = OnceLock::new();
    INSTALLED.get_or_init(|| {
        ensure(&[Tool::RedisServer], &mut Console::stderr()).expect("there is a redis-server");
    });
}

/// What a configuration without options resolves to.
pub(crate) fn config() -> RedisConfig {
    RedisConfig {
        url: Setting::Written(String::new()),
        cluster: false,
        username: None,
        password_secret: None,
        prefix: "wharf".to_owned(),
    }
}

/// A connection to a server.
pub(crate) fn open(server: &RedisServer) -> Redis {
    Redis::open(&server.url(), &config(), None).expect("a connection")
}

/// A connection to a cluster, of which `server` is a node.
pub(crate) fn open_cluster(server: &RedisServer) -> Redis {
    let config = RedisConfig {
        cluster: true,
        ..config()
    };
    Redis::open(&server.url(), &config, None).expect("a connection")
}

/// A connection of a user who may do no more than the README says, to a server or to the cluster of
/// all `nodes`.
pub(crate) fn open_limited(nodes: &[RedisServer]) -> Redis {
    let cluster = nodes.len() > 1;
    let more = if cluster { ACL_CLUSTER } else { "" };
    for node in nodes {
        let user = format!("ACL SETUSER wharf on >secret {ACL_RULES} {more}");
        node.ask(user.trim_end(), |answer| answer.starts_with("+OK"));
    }
    let config = RedisConfig {
        cluster,
        username: Some("wharf".to_owned()),
        ..config()
    };
    Redis::open(&nodes[0].url(), &config, Some("secret")).expect("a connection")
}

/// What a user needs on a server, as the README says it.
const ACL_RULES: &str = "~wharf:* &wharf:bell -@all +@hash +@set +@sortedset +@stream \
     +get +set +del +evalsha +script|load +multi +exec +ping +time +subscribe +publish";

/// What a user needs in a cluster as well.
const ACL_CLUSTER: &str = "+cluster|slots";
