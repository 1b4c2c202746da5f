//! Scripts and how they are called. Each one is a transition of the stream: it happens as a whole or
//! not at all, whatever dies.

use std::sync::LazyLock;

use redis::{Cmd, ErrorKind, RedisError, Script, ServerErrorKind, Value};

use crate::capability::redis::Redis;
use crate::name::{HostId, Subject};

/// What a script answers with that does not know the group.
const NO_GROUP: &str = "NOGROUP";

macro_rules! scripts {
    ($($name:ident = $file:literal)*) => {
        $(pub(super) static $name: LazyLock<Script> = LazyLock::new(|| {
            Script::new(concat!(include_str!("prelude.lua"), include_str!($file)))
        });)*
    };
}

scripts! {
    PUBLISH = "publish.lua"
    DECLARE = "declare.lua"
    FORGET = "forget.lua"
    CLAIM = "claim.lua"
    SETTLE = "settle.lua"
    REDRIVE = "redrive.lua"
    STATUS = "status.lua"
    DEAD = "dead.lua"
    PEEK = "peek.lua"
}

/// The server or cluster, and who we are to it.
#[derive(Debug)]
pub(super) struct Server {
    pub(super) redis: Redis,
    /// The name of this host as a consumer.
    pub(super) host: HostId,
    channel: String,
}

impl Server {
    pub(super) fn new(redis: Redis, host: HostId) -> Self {
        let channel = redis.bell_channel();
        Self {
            redis,
            host,
            channel,
        }
    }

    /// Runs a script on the keys of one subject. `arguments` adds what the script itself takes.
    ///
    /// An error says that the script may or may not have run. A cancelled call runs all the same.
    pub(super) async fn call(
        &self,
        script: &Script,
        keys: &[String],
        subject: &Subject,
        arguments: impl FnOnce(&mut Cmd),
    ) -> Result<Value, RedisError> {
        let mut command = redis::cmd("EVALSHA");
        command.arg(script.get_hash()).arg(keys.len()).arg(keys);
        command.arg(&self.channel).arg(subject.as_str());
        arguments(&mut command);
        let mut link = self.redis.clone();
        match command.query_async(&mut link).await {
            Err(error) if error.kind() == ErrorKind::Server(ServerErrorKind::NoScript) => {
                script.load_async(&mut link).await?;
                command.query_async(&mut link).await
            }
            answer => answer,
        }
    }
}

/// Whether the server does not know the group: it was forgotten, or the server lost what it had.
pub(super) fn is_unknown_group(error: &RedisError) -> bool {
    error.code() == Some(NO_GROUP)
}

/// Whether it may be otherwise in a while, without anybody's doing.
pub(super) fn is_passing(error: &RedisError) -> bool {
    let server = matches!(
        error.kind(),
        ErrorKind::ClusterConnectionNotFound
            | ErrorKind::Server(
                ServerErrorKind::BusyLoading
                    | ServerErrorKind::TryAgain
                    | ServerErrorKind::ClusterDown
                    | ServerErrorKind::MasterDown
                    | ServerErrorKind::ReadOnly
                    | ServerErrorKind::Moved
                    | ServerErrorKind::Ask
            )
    );
    server || error.is_io_error() || error.is_timeout() || error.is_unrecoverable_error()
}
