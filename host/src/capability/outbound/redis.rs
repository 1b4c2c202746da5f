//! Connections of components to Redis servers.
//!
//! A guest's connection is a connection of its own, since it may send any command: `MULTI`, `SELECT`
//! or `BLPOP` of one would hit the others on a shared one. It goes back to the pool where nothing that
//! it sent has an effect on who uses it next.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use redis::aio::{ConnectionLike, MultiplexedConnection};
use redis::{
    AsyncConnectionConfig, Client, Cmd, ConnectionAddr, ConnectionInfo, FromRedisValue,
    IntoConnectionInfo as _, RedisError, ToRedisArgs, Value,
};

use super::pool::{Placed, Pool};
use super::{CONNECT_TIMEOUT, ConnectError};
use crate::capability::tls::install_crypto;
use crate::name::ComponentName;

/// A connection that idled for longer is asked whether it still is one.
const TRUSTED_IDLE: Duration = Duration::from_secs(1);

/// Commands whose effects outlive them on the connection, or that it waits in.
const STATEFUL: &[&str] = &[
    "AUTH",
    "BLMOVE",
    "BLMPOP",
    "BLPOP",
    "BRPOP",
    "BRPOPLPUSH",
    "BZMPOP",
    "BZPOPMAX",
    "BZPOPMIN",
    "CLIENT",
    "DISCARD",
    "EXEC",
    "HELLO",
    "MONITOR",
    "MULTI",
    "PSUBSCRIBE",
    "QUIT",
    "READONLY",
    "READWRITE",
    "RESET",
    "SELECT",
    "SSUBSCRIBE",
    "SUBSCRIBE",
    "SYNC",
    "PSYNC",
    "UNWATCH",
    "WAIT",
    "WATCH",
    "XREAD",
    "XREADGROUP",
];

/// A server as an address names it.
pub struct Target {
    info: ConnectionInfo,
    address: String,
    /// `redis` or `rediss`.
    pub scheme: &'static str,
    /// The host.
    pub host: String,
    /// The port.
    pub port: u16,
}

impl Target {
    /// The server at `address`, a URL. `None` where it is none, or a socket of this machine.
    pub fn parse(address: &str) -> Option<Self> {
        let info = address.into_connection_info().ok()?;
        let (scheme, host, port) = match info.addr() {
            ConnectionAddr::Tcp(host, port) => ("redis", host.clone(), *port),
            ConnectionAddr::TcpTls {
                host,
                port,
                insecure: false,
                ..
            } => ("rediss", host.clone(), *port),
            _ => return None,
        };
        Some(Self {
            info,
            address: address.to_owned(),
            scheme,
            host,
            port,
        })
    }
}

/// A parameter of a command.
#[derive(Debug, Clone)]
pub enum Argument {
    /// A number, as its decimal text.
    Integer(i64),
    /// Bytes.
    Binary(Vec<u8>),
}

/// One value of an answer.
#[derive(Debug, Clone, PartialEq)]
pub enum Reply {
    /// No value.
    Nil,
    /// A status, such as `OK`.
    Status(String),
    /// A number.
    Integer(i64),
    /// Bytes.
    Binary(Vec<u8>),
}

/// Why a command had no result.
#[derive(Debug, thiserror::Error)]
pub enum CommandError {
    /// What is there has another type.
    #[error("the value has another type")]
    WrongType,
    /// The server refused it, or was not to be had. It may or may not have been carried out.
    #[error("{0}")]
    Failed(String),
}

impl From<RedisError> for CommandError {
    fn from(error: RedisError) -> Self {
        let wrong = error.code() == Some("WRONGTYPE")
            || error
                .detail()
                .is_some_and(|detail| detail.contains("not an integer"));
        if wrong {
            return Self::WrongType;
        }
        Self::Failed(error.to_string())
    }
}

/// The connections of all components to Redis servers.
#[derive(Default)]
pub struct RedisConnections(Pool<MultiplexedConnection>);

impl RedisConnections {
    /// A connection of `component` to a server.
    ///
    /// # Errors
    ///
    /// See [`ConnectError`].
    pub async fn connect(
        &self,
        component: &ComponentName,
        target: &Target,
    ) -> Result<RedisConnection, ConnectError> {
        let (place, idle) = self.0.enter(component, &target.address).await?;
        let connection = match idle {
            Some((connection, idled)) if is_alive(&connection, idled).await => connection,
            Some(_) | None => connect(target).await?,
        };
        Ok(RedisConnection(Arc::new(Lent {
            connection: Some(place.with(connection)),
            owed: AtomicUsize::new(0),
        })))
    }
}

async fn is_alive(connection: &MultiplexedConnection, idled: Duration) -> bool {
    if idled < TRUSTED_IDLE {
        return true;
    }
    let mut connection = connection.clone();
    let ping = redis::cmd("PING");
    let asked = tokio::time::timeout(TRUSTED_IDLE, connection.req_packed_command(&ping));
    matches!(asked.await, Ok(Ok(_)))
}

async fn connect(target: &Target) -> Result<MultiplexedConnection, ConnectError> {
    install_crypto();
    let refused = |error: RedisError| ConnectError::Refused(error.to_string());
    let client = Client::open(target.info.clone()).map_err(refused)?;
    // Who waits for an answer has a limit of its own.
    let config = AsyncConnectionConfig::new()
        .set_connection_timeout(Some(CONNECT_TIMEOUT))
        .set_response_timeout(None);
    let connecting = client.get_multiplexed_async_connection_with_config(&config);
    let connected = tokio::time::timeout(CONNECT_TIMEOUT, connecting).await;
    connected
        .map_err(|_| ConnectError::TimedOut)?
        .map_err(refused)
}

/// An open connection. Clones share it.
#[derive(Clone)]
pub struct RedisConnection(Arc<Lent>);

/// A connection in use.
struct Lent {
    /// There until it is dropped.
    connection: Option<Placed<MultiplexedConnection>>,
    /// What keeps it from being used again: commands without an answer, and those with lasting effects.
    owed: AtomicUsize,
}

impl Drop for Lent {
    fn drop(&mut self) {
        if let (Some(connection), 0) = (self.connection.take(), *self.owed.get_mut()) {
            connection.keep();
        }
    }
}

impl RedisConnection {
    /// Publishes to a channel.
    ///
    /// # Errors
    ///
    /// See [`CommandError`], as of all others.
    pub async fn publish(&self, channel: &str, payload: &[u8]) -> Result<(), CommandError> {
        self.ask("PUBLISH", (channel, payload)).await
    }

    /// The value of a key.
    pub async fn get(&self, key: &str) -> Result<Option<Vec<u8>>, CommandError> {
        self.ask("GET", key).await
    }

    /// Sets a key.
    pub async fn set(&self, key: &str, value: &[u8]) -> Result<(), CommandError> {
        self.ask("SET", (key, value)).await
    }

    /// Adds one to the number under a key.
    pub async fn increment(&self, key: &str) -> Result<i64, CommandError> {
        self.ask("INCR", key).await
    }

    /// Removes keys, and says how many there were.
    pub async fn delete(&self, keys: &[String]) -> Result<u32, CommandError> {
        self.ask("DEL", keys).await
    }

    /// Adds to a set, and says how many are new.
    pub async fn add(&self, key: &str, values: &[String]) -> Result<u32, CommandError> {
        self.ask("SADD", (key, values)).await
    }

    /// What is in a set.
    pub async fn members(&self, key: &str) -> Result<Vec<String>, CommandError> {
        self.ask("SMEMBERS", key).await
    }

    /// Removes from a set, and says how many were there.
    pub async fn remove(&self, key: &str, values: &[String]) -> Result<u32, CommandError> {
        self.ask("SREM", (key, values)).await
    }

    /// Sends any command. Answers within answers are spelled out, one after the other.
    pub async fn execute(
        &self,
        command: &str,
        arguments: Vec<Argument>,
    ) -> Result<Vec<Reply>, CommandError> {
        if STATEFUL
            .iter()
            .any(|name| command.eq_ignore_ascii_case(name))
        {
            self.0.owed.fetch_add(1, Ordering::Relaxed);
        }
        let mut sent = Cmd::new();
        sent.arg(command);
        for argument in arguments {
            match argument {
                Argument::Integer(number) => sent.arg(number),
                Argument::Binary(bytes) => sent.arg(bytes),
            };
        }
        let mut replies = Vec::new();
        spell_out(self.send(&sent).await?, &mut replies)?;
        Ok(replies)
    }

    async fn ask<T: FromRedisValue>(
        &self,
        command: &str,
        arguments: impl ToRedisArgs,
    ) -> Result<T, CommandError> {
        let answer = self.send(redis::cmd(command).arg(arguments)).await?;
        Ok(T::from_redis_value(answer).map_err(RedisError::from)?)
    }

    async fn send(&self, command: &Cmd) -> Result<Value, RedisError> {
        let connection = self.0.connection.as_ref();
        let mut connection =
            MultiplexedConnection::clone(connection.expect("it is there until it is dropped"));
        self.0.owed.fetch_add(1, Ordering::Relaxed);
        let answer = connection.req_packed_command(command).await;
        let lost = matches!(&answer, Err(error) if error.is_io_error());
        if !lost {
            self.0.owed.fetch_sub(1, Ordering::Relaxed);
        }
        answer?.extract_error()
    }
}

fn spell_out(value: Value, replies: &mut Vec<Reply>) -> Result<(), RedisError> {
    match value {
        Value::Nil => replies.push(Reply::Nil),
        Value::Okay => replies.push(Reply::Status("OK".to_owned())),
        Value::SimpleString(text) => replies.push(Reply::Status(text)),
        Value::Int(number) => replies.push(Reply::Integer(number)),
        Value::BulkString(bytes) => replies.push(Reply::Binary(bytes)),
        Value::Array(values) | Value::Set(values) => {
            for value in values {
                spell_out(value, replies)?;
            }
        }
        other => {
            let text = format!("the answer has a form that has no place in a list: {other:?}");
            return Err(io::Error::other(text).into());
        }
    }
    Ok(())
}
