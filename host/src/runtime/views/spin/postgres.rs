//! `fermyon:spin/postgres@2.0.0`, `spin:postgres@3.0.0` and `spin:postgres@4.x`: each has more kinds of
//! values than the one before.

mod values;

use std::sync::Arc;

use wasmtime::component::{FutureReader, Linker, Resource, ResourceType, StreamReader};

use super::{Caller, Spin, at};
use crate::capability::outbound::ConnectError;
use crate::capability::outbound::postgres::{PostgresConnection, PostgresConnections, Sql, Target};
use crate::name::ComponentName;
use crate::runtime::bindings::spin_2::fermyon::spin::{postgres as two, rdbms_types};
use crate::runtime::bindings::spin_3::spin::postgres::postgres as four;
use crate::runtime::bindings::spin_postgres_3::spin::postgres::postgres as three;
use crate::runtime::state::InstanceState;

/// A guest's open connection.
pub struct Connection(PostgresConnection);

/// What a guest says of a connection before it opens it.
pub struct Builder {
    address: String,
    /// Certificates in PEM.
    roots: Option<String>,
}

/// What a connection is opened with.
struct Opening {
    connections: Arc<PostgresConnections>,
    component: ComponentName,
    target: Target,
}

impl Opening {
    async fn open(self) -> Result<Connection, String> {
        let connected = self
            .connections
            .connect(&self.component, &self.target)
            .await;
        connected
            .map(Connection)
            .map_err(|error: ConnectError| error.to_string())
    }
}

impl InstanceState {
    /// What is needed to open a connection, where the component may; or why not, in words.
    fn opening_postgres(&self, address: &str, roots: Option<&str>) -> Result<Opening, String> {
        let target = Target::parse(address, roots)?;
        for (host, port) in &target.hosts {
            if !self.context.grants.allows("postgres", host, *port) {
                let address = format!("postgres://{host}:{port}");
                self.connection_denied(&address);
                return Err(format!("the component may not connect to {address}"));
            }
        }
        Ok(Opening {
            connections: self.context.backends.postgres.clone(),
            component: self.context.component.clone(),
            target,
        })
    }

    async fn open_postgres(
        &mut self,
        address: &str,
        roots: Option<&str>,
    ) -> wasmtime::Result<Result<Resource<Connection>, String>> {
        let opened = match self.opening_postgres(address, roots) {
            Ok(opening) => opening.open().await,
            Err(refusal) => Err(refusal),
        };
        Ok(match opened {
            Ok(connection) => Ok(self.table.push(connection)?),
            Err(refusal) => Err(refusal),
        })
    }

    fn postgres(&self, connection: &Resource<Connection>) -> wasmtime::Result<PostgresConnection> {
        Ok(self.table.get(connection)?.0.clone())
    }
}

/// The parameters of a statement in the host's form, or the one that has none.
fn parameters<P, E>(given: Vec<P>, refused: fn(String) -> E) -> Result<Vec<Sql>, E>
where
    Sql: TryFrom<P, Error = String>,
{
    let converted = given.into_iter().map(Sql::try_from).collect();
    let converted: Result<Vec<Sql>, String> = converted;
    converted.map_err(refused)
}

macro_rules! synchronous {
    ($version:ident, $types:ident) => {
        async fn open(
            &mut self,
            address: String,
        ) -> wasmtime::Result<Result<Resource<Connection>, $types::Error>> {
            let opened = self.open_postgres(&address, None).await?;
            Ok(opened.map_err($types::Error::ConnectionFailed))
        }

        async fn query(
            &mut self,
            connection: Resource<Connection>,
            statement: String,
            given: Vec<$types::ParameterValue>,
        ) -> wasmtime::Result<Result<$types::RowSet, $types::Error>> {
            let postgres = self.postgres(&connection)?;
            Ok(match parameters(given, $types::Error::BadParameter) {
                Ok(values) => {
                    let table = postgres.query(&statement, &values).await;
                    table.map(Into::into).map_err(Into::into)
                }
                Err(refused) => Err(refused),
            })
        }

        async fn execute(
            &mut self,
            connection: Resource<Connection>,
            statement: String,
            given: Vec<$types::ParameterValue>,
        ) -> wasmtime::Result<Result<u64, $types::Error>> {
            let postgres = self.postgres(&connection)?;
            Ok(match parameters(given, $types::Error::BadParameter) {
                Ok(values) => postgres
                    .execute(&statement, &values)
                    .await
                    .map_err(Into::into),
                Err(refused) => Err(refused),
            })
        }

        async fn drop(&mut self, connection: Resource<Connection>) -> wasmtime::Result<()> {
            self.table.delete(connection)?;
            Ok(())
        }
    };
}

impl rdbms_types::Host for InstanceState {}

impl two::Host for InstanceState {}

impl two::HostConnection for InstanceState {
    synchronous!(two, rdbms_types);
}

impl three::Host for InstanceState {}

impl three::HostConnection for InstanceState {
    synchronous!(three, three);
}

impl four::Host for InstanceState {}

impl four::HostConnection for InstanceState {
    synchronous!(four, four);
}

impl four::HostConnectionBuilder for InstanceState {
    async fn new(&mut self, address: String) -> wasmtime::Result<Resource<Builder>> {
        Ok(self.table.push(Builder {
            address,
            roots: None,
        })?)
    }

    async fn set_ca_root(
        &mut self,
        builder: Resource<Builder>,
        certificate: String,
    ) -> wasmtime::Result<Result<(), four::Error>> {
        self.table.get_mut(&builder)?.roots = Some(certificate);
        Ok(Ok(()))
    }

    async fn build(
        &mut self,
        builder: Resource<Builder>,
    ) -> wasmtime::Result<Result<Resource<Connection>, four::Error>> {
        let Builder { address, roots } = self.table.get(&builder)?;
        let (address, roots) = (address.clone(), roots.clone());
        let opened = self.open_postgres(&address, roots.as_deref()).await?;
        Ok(opened.map_err(four::Error::ConnectionFailed))
    }

    async fn drop(&mut self, builder: Resource<Builder>) -> wasmtime::Result<()> {
        self.table.delete(builder)?;
        Ok(())
    }
}

/// Opens what was looked up, for a guest that goes on meanwhile.
async fn open(
    caller: &Caller,
    opening: Result<Opening, String>,
) -> wasmtime::Result<Result<Resource<Connection>, four::Error>> {
    let opened = match opening {
        Ok(opening) => opening.open().await,
        Err(refusal) => Err(refusal),
    };
    Ok(match opened {
        Ok(connection) => Ok(at(caller, |state| state.table.push(connection))??),
        Err(refusal) => Err(four::Error::ConnectionFailed(refusal)),
    })
}

impl four::HostConnectionBuilderWithStore<InstanceState> for Spin {
    async fn build_async(
        caller: &Caller,
        builder: Resource<Builder>,
    ) -> wasmtime::Result<Result<Resource<Connection>, four::Error>> {
        let opening = at(caller, |state| {
            let Builder { address, roots } = state.table.get(&builder)?;
            wasmtime::error::Ok(state.opening_postgres(address, roots.as_deref()))
        })??;
        open(caller, opening).await
    }
}

impl four::HostConnectionWithStore<InstanceState> for Spin {
    async fn open_async(
        caller: &Caller,
        address: String,
    ) -> wasmtime::Result<Result<Resource<Connection>, four::Error>> {
        let opening = at(caller, |state| state.opening_postgres(&address, None))?;
        open(caller, opening).await
    }

    async fn query_async(
        caller: &Caller,
        connection: Resource<Connection>,
        statement: String,
        given: Vec<four::ParameterValue>,
    ) -> wasmtime::Result<
        Result<
            (
                Vec<four::Column>,
                StreamReader<Vec<four::DbValue>>,
                FutureReader<Result<(), four::Error>>,
            ),
            four::Error,
        >,
    > {
        let postgres = at(caller, |state| state.postgres(&connection))??;
        let values = match parameters(given, four::Error::BadParameter) {
            Ok(values) => values,
            Err(refused) => return Ok(Err(refused)),
        };
        let set: four::RowSet = match postgres.query(&statement, &values).await {
            Ok(table) => table.into(),
            Err(error) => return Ok(Err(error.into())),
        };
        caller.with(|mut access| {
            let rows = StreamReader::new(&mut access, set.rows)?;
            let outcome = FutureReader::new(&mut access, async { wasmtime::error::Ok(Ok(())) })?;
            Ok(Ok((set.columns, rows, outcome)))
        })
    }

    async fn execute_async(
        caller: &Caller,
        connection: Resource<Connection>,
        statement: String,
        given: Vec<four::ParameterValue>,
    ) -> wasmtime::Result<Result<u64, four::Error>> {
        let postgres = at(caller, |state| state.postgres(&connection))??;
        Ok(match parameters(given, four::Error::BadParameter) {
            Ok(values) => postgres
                .execute(&statement, &values)
                .await
                .map_err(Into::into),
            Err(refused) => Err(refused),
        })
    }
}

/// Links what `spin:postgres@4.x` has of synchronous functions.
pub(super) fn add_synchronous(linker: &mut Linker<InstanceState>) -> wasmtime::Result<()> {
    use four::{HostConnection as Host, HostConnectionBuilder as HostBuilder};
    type Handle = Resource<Connection>;
    type Statement = (Handle, String, Vec<four::ParameterValue>);
    let mut linker = linker.instance("spin:postgres/postgres@4.2.0")?;
    let resource = ResourceType::host::<Connection>();
    linker.resource_async("connection", resource, |mut store, rep| {
        Box::new(async move { Host::drop(store.data_mut(), Resource::new_own(rep)).await })
    })?;
    let resource = ResourceType::host::<Builder>();
    linker.resource_async("connection-builder", resource, |mut store, rep| {
        Box::new(async move { HostBuilder::drop(store.data_mut(), Resource::new_own(rep)).await })
    })?;
    linker.func_wrap_async(
        "[constructor]connection-builder",
        |mut store, (address,): (String,)| {
            Box::new(async move { Ok((HostBuilder::new(store.data_mut(), address).await?,)) })
        },
    )?;
    linker.func_wrap_async(
        "[method]connection-builder.set-ca-root",
        |mut store, (builder, certificate): (Resource<Builder>, String)| {
            Box::new(async move {
                let set = HostBuilder::set_ca_root(store.data_mut(), builder, certificate);
                Ok((set.await?,))
            })
        },
    )?;
    linker.func_wrap_async(
        "[method]connection-builder.build",
        |mut store, (builder,): (Resource<Builder>,)| {
            Box::new(async move { Ok((HostBuilder::build(store.data_mut(), builder).await?,)) })
        },
    )?;
    linker.func_wrap_async(
        "[static]connection.open",
        |mut store, (address,): (String,)| {
            Box::new(async move { Ok((Host::open(store.data_mut(), address).await?,)) })
        },
    )?;
    linker.func_wrap_async(
        "[method]connection.query",
        |mut store, (handle, statement, values): Statement| {
            Box::new(async move {
                let queried = Host::query(store.data_mut(), handle, statement, values);
                Ok((queried.await?,))
            })
        },
    )?;
    linker.func_wrap_async(
        "[method]connection.execute",
        |mut store, (handle, statement, values): Statement| {
            Box::new(async move {
                let executed = Host::execute(store.data_mut(), handle, statement, values);
                Ok((executed.await?,))
            })
        },
    )
}
