//! `fermyon:spin/redis@2.0.0` and `spin:redis@3.0.0`.

use std::sync::Arc;

use wasmtime::component::Resource;

use super::{Caller, Spin, at};
use crate::capability::outbound::ConnectError;
use crate::capability::outbound::redis::{
    Argument, CommandError, RedisConnection, RedisConnections, Reply, Target,
};
use crate::name::ComponentName;
use crate::runtime::bindings::spin_2::fermyon::spin::redis as two;
use crate::runtime::bindings::spin_3::spin::redis::redis as three;
use crate::runtime::state::InstanceState;

/// A guest's open connection.
pub struct Connection(RedisConnection);

/// Why there is none.
enum Refusal {
    /// There is no such address for the component.
    Address,
    Failed(ConnectError),
}

/// What a connection is opened with.
struct Opening {
    connections: Arc<RedisConnections>,
    component: ComponentName,
    target: Target,
}

impl Opening {
    async fn open(self) -> Result<Connection, Refusal> {
        let connected = self
            .connections
            .connect(&self.component, &self.target)
            .await;
        connected.map(Connection).map_err(Refusal::Failed)
    }
}

impl InstanceState {
    fn opening_redis(&self, address: &str) -> Result<Opening, Refusal> {
        let target = Target::parse(address).ok_or(Refusal::Address)?;
        let (scheme, host, port) = (target.scheme, &target.host, target.port);
        if !self.context.grants.allows(scheme, host, port) {
            self.connection_denied(&format!("{scheme}://{host}:{port}"));
            return Err(Refusal::Address);
        }
        Ok(Opening {
            connections: self.context.backends.redis.clone(),
            component: self.context.component.clone(),
            target,
        })
    }

    fn redis(&self, connection: &Resource<Connection>) -> wasmtime::Result<RedisConnection> {
        Ok(self.table.get(connection)?.0.clone())
    }
}

macro_rules! conversions {
    ($version:ident) => {
        impl From<Refusal> for $version::Error {
            fn from(refusal: Refusal) -> Self {
                match refusal {
                    Refusal::Address => Self::InvalidAddress,
                    Refusal::Failed(ConnectError::TooMany) => Self::TooManyConnections,
                    Refusal::Failed(error) => Self::Other(error.to_string()),
                }
            }
        }

        impl From<CommandError> for $version::Error {
            fn from(error: CommandError) -> Self {
                match error {
                    CommandError::WrongType => Self::TypeError,
                    CommandError::Failed(text) => Self::Other(text),
                }
            }
        }

        impl From<$version::RedisParameter> for Argument {
            fn from(parameter: $version::RedisParameter) -> Self {
                match parameter {
                    $version::RedisParameter::Int64(number) => Self::Integer(number),
                    $version::RedisParameter::Binary(bytes) => Self::Binary(bytes),
                }
            }
        }

        impl From<Reply> for $version::RedisResult {
            fn from(reply: Reply) -> Self {
                match reply {
                    Reply::Nil => Self::Nil,
                    Reply::Status(text) => Self::Status(text),
                    Reply::Integer(number) => Self::Int64(number),
                    Reply::Binary(bytes) => Self::Binary(bytes),
                }
            }
        }
    };
}

conversions!(two);
conversions!(three);

/// The commands: in each, how the connection is found of a handle, and the command itself.
macro_rules! commands {
    ($version:ident, $self_:ident: $self_type:ty, $found:expr) => {
        async fn publish(
            $self_: $self_type,
            connection: Resource<Connection>,
            channel: String,
            payload: Vec<u8>,
        ) -> wasmtime::Result<Result<(), $version::Error>> {
            let redis = $found($self_, connection)?;
            Ok(redis.publish(&channel, &payload).await.map_err(Into::into))
        }

        async fn get(
            $self_: $self_type,
            connection: Resource<Connection>,
            key: String,
        ) -> wasmtime::Result<Result<Option<Vec<u8>>, $version::Error>> {
            let redis = $found($self_, connection)?;
            Ok(redis.get(&key).await.map_err(Into::into))
        }

        async fn set(
            $self_: $self_type,
            connection: Resource<Connection>,
            key: String,
            value: Vec<u8>,
        ) -> wasmtime::Result<Result<(), $version::Error>> {
            let redis = $found($self_, connection)?;
            Ok(redis.set(&key, &value).await.map_err(Into::into))
        }

        async fn incr(
            $self_: $self_type,
            connection: Resource<Connection>,
            key: String,
        ) -> wasmtime::Result<Result<i64, $version::Error>> {
            let redis = $found($self_, connection)?;
            Ok(redis.increment(&key).await.map_err(Into::into))
        }

        async fn del(
            $self_: $self_type,
            connection: Resource<Connection>,
            keys: Vec<String>,
        ) -> wasmtime::Result<Result<u32, $version::Error>> {
            let redis = $found($self_, connection)?;
            Ok(redis.delete(&keys).await.map_err(Into::into))
        }

        async fn sadd(
            $self_: $self_type,
            connection: Resource<Connection>,
            key: String,
            values: Vec<String>,
        ) -> wasmtime::Result<Result<u32, $version::Error>> {
            let redis = $found($self_, connection)?;
            Ok(redis.add(&key, &values).await.map_err(Into::into))
        }

        async fn smembers(
            $self_: $self_type,
            connection: Resource<Connection>,
            key: String,
        ) -> wasmtime::Result<Result<Vec<String>, $version::Error>> {
            let redis = $found($self_, connection)?;
            Ok(redis.members(&key).await.map_err(Into::into))
        }

        async fn srem(
            $self_: $self_type,
            connection: Resource<Connection>,
            key: String,
            values: Vec<String>,
        ) -> wasmtime::Result<Result<u32, $version::Error>> {
            let redis = $found($self_, connection)?;
            Ok(redis.remove(&key, &values).await.map_err(Into::into))
        }

        async fn execute(
            $self_: $self_type,
            connection: Resource<Connection>,
            command: String,
            arguments: Vec<$version::RedisParameter>,
        ) -> wasmtime::Result<Result<Vec<$version::RedisResult>, $version::Error>> {
            let redis = $found($self_, connection)?;
            let arguments = arguments.into_iter().map(Into::into).collect();
            let replies = redis.execute(&command, arguments).await;
            Ok(replies
                .map(|replies| replies.into_iter().map(Into::into).collect())
                .map_err(Into::into))
        }
    };
}

impl two::Host for InstanceState {}

impl two::HostConnection for InstanceState {
    async fn open(
        &mut self,
        address: String,
    ) -> wasmtime::Result<Result<Resource<Connection>, two::Error>> {
        let opened = match self.opening_redis(&address) {
            Ok(opening) => opening.open().await,
            Err(refusal) => Err(refusal),
        };
        Ok(match opened {
            Ok(connection) => Ok(self.table.push(connection)?),
            Err(refusal) => Err(refusal.into()),
        })
    }

    commands!(two, self: &mut Self, |state: &mut Self, connection| state.redis(&connection));

    async fn drop(&mut self, connection: Resource<Connection>) -> wasmtime::Result<()> {
        self.table.delete(connection)?;
        Ok(())
    }
}

impl three::Host for InstanceState {}

impl three::HostConnection for InstanceState {
    async fn drop(&mut self, connection: Resource<Connection>) -> wasmtime::Result<()> {
        self.table.delete(connection)?;
        Ok(())
    }
}

impl three::HostConnectionWithStore<InstanceState> for Spin {
    async fn open(
        caller: &Caller,
        address: String,
    ) -> wasmtime::Result<Result<Resource<Connection>, three::Error>> {
        let opened = match at(caller, |state| state.opening_redis(&address))? {
            Ok(opening) => opening.open().await,
            Err(refusal) => Err(refusal),
        };
        Ok(match opened {
            Ok(connection) => Ok(at(caller, |state| state.table.push(connection))??),
            Err(refusal) => Err(refusal.into()),
        })
    }

    commands!(three, caller: &Caller, |caller, connection| at(caller, |state| {
        state.redis(&connection)
    })?);
}
