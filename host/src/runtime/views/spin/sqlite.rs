//! `fermyon:spin/sqlite@2.0.0` and `spin:sqlite@3.x`.

use wasmtime::component::{FutureReader, Linker, Resource, ResourceType, StreamReader};

use super::{Caller, Spin, at};
use crate::capability::sqlite::{Connection as Database, Rows, SqliteError, Value};
use crate::manifest::model::DatabaseSource;
use crate::runtime::bindings::spin_2::fermyon::spin::sqlite as two;
use crate::runtime::bindings::spin_3::spin::sqlite::sqlite as three;
use crate::runtime::state::InstanceState;

/// A guest's open connection.
pub struct Connection(Database);

/// Why a database is not opened.
enum Refusal {
    AccessDenied,
    Failed(SqliteError),
}

impl InstanceState {
    /// Which database the component means.
    fn database(&self, name: &str) -> Result<DatabaseSource, Refusal> {
        if let Some(source) = self.context.grants.sqlite.get(name) {
            return Ok(source.clone());
        }
        let component = &self.context.component;
        tracing::warn!(%component, request_id = self.work.id, trace_id = self.work.trace_id(), database = name, "SQLite database denied: its name is not among those that the manifest grants the component");
        Err(Refusal::AccessDenied)
    }

    async fn open_database(&mut self, name: &str) -> Result<Connection, Refusal> {
        let source = self.database(name)?;
        let connected = self.context.backends.sqlite.connect(&source).await;
        connected.map(Connection).map_err(Refusal::Failed)
    }

    fn connection(&self, connection: &Resource<Connection>) -> wasmtime::Result<Database> {
        Ok(self.table.get(connection)?.0.clone())
    }
}

macro_rules! conversions {
    ($version:ident) => {
        impl From<SqliteError> for $version::Error {
            fn from(error: SqliteError) -> Self {
                match error {
                    SqliteError::Full => Self::DatabaseFull,
                    SqliteError::Busy
                    | SqliteError::TooLarge
                    | SqliteError::Cancelled
                    | SqliteError::Sqlite(_) => Self::Io(error.to_string()),
                }
            }
        }

        impl From<Refusal> for $version::Error {
            fn from(refusal: Refusal) -> Self {
                match refusal {
                    Refusal::AccessDenied => Self::AccessDenied,
                    Refusal::Failed(error) => error.into(),
                }
            }
        }

        impl From<$version::Value> for Value {
            fn from(value: $version::Value) -> Self {
                match value {
                    $version::Value::Integer(value) => Self::Integer(value),
                    $version::Value::Real(value) => Self::Real(value),
                    $version::Value::Text(value) => Self::Text(value),
                    $version::Value::Blob(value) => Self::Blob(value),
                    $version::Value::Null => Self::Null,
                }
            }
        }

        impl From<Value> for $version::Value {
            fn from(value: Value) -> Self {
                match value {
                    Value::Integer(value) => Self::Integer(value),
                    Value::Real(value) => Self::Real(value),
                    Value::Text(value) => Self::Text(value),
                    Value::Blob(value) => Self::Blob(value),
                    Value::Null => Self::Null,
                }
            }
        }

        impl From<Vec<Value>> for $version::RowResult {
            fn from(values: Vec<Value>) -> Self {
                let values = values.into_iter().map(Into::into).collect();
                Self { values }
            }
        }

        impl From<Rows> for $version::QueryResult {
            fn from(Rows { columns, rows }: Rows) -> Self {
                let rows = rows.into_iter().map(Into::into).collect();
                Self { columns, rows }
            }
        }
    };
}

conversions!(two);
conversions!(three);

macro_rules! synchronous {
    ($version:ident) => {
        async fn open(
            &mut self,
            database: String,
        ) -> wasmtime::Result<Result<Resource<Connection>, $version::Error>> {
            Ok(match self.open_database(&database).await {
                Ok(connection) => Ok(self.table.push(connection)?),
                Err(refusal) => Err(refusal.into()),
            })
        }

        async fn execute(
            &mut self,
            connection: Resource<Connection>,
            statement: String,
            parameters: Vec<$version::Value>,
        ) -> wasmtime::Result<Result<$version::QueryResult, $version::Error>> {
            let parameters = parameters.into_iter().map(Into::into).collect();
            let connection = self.connection(&connection)?;
            let executed = connection.execute(statement, parameters).await;
            Ok(executed.map(Into::into).map_err(Into::into))
        }

        async fn drop(&mut self, connection: Resource<Connection>) -> wasmtime::Result<()> {
            self.table.delete(connection)?;
            Ok(())
        }
    };
}

impl two::Host for InstanceState {}

impl two::HostConnection for InstanceState {
    synchronous!(two);
}

impl three::Host for InstanceState {}

impl three::HostConnection for InstanceState {
    synchronous!(three);

    async fn last_insert_rowid(
        &mut self,
        connection: Resource<Connection>,
    ) -> wasmtime::Result<i64> {
        Ok(self.connection(&connection)?.last_insert_rowid().await?)
    }

    async fn changes(&mut self, connection: Resource<Connection>) -> wasmtime::Result<u64> {
        Ok(self.connection(&connection)?.changes().await?)
    }
}

impl three::HostConnectionWithStore<InstanceState> for Spin {
    async fn open_async(
        caller: &Caller,
        database: String,
    ) -> wasmtime::Result<Result<Resource<Connection>, three::Error>> {
        let found = at(caller, |state| {
            let sqlite = state.context.backends.sqlite.clone();
            state.database(&database).map(|source| (sqlite, source))
        })?;
        let (sqlite, source) = match found {
            Ok(found) => found,
            Err(refusal) => return Ok(Err(refusal.into())),
        };
        match sqlite.connect(&source).await {
            Ok(connection) => Ok(Ok(at(caller, |state| {
                state.table.push(Connection(connection))
            })??)),
            Err(error) => Ok(Err(error.into())),
        }
    }

    async fn execute_async(
        caller: &Caller,
        connection: Resource<Connection>,
        statement: String,
        parameters: Vec<three::Value>,
    ) -> wasmtime::Result<
        Result<
            (
                Vec<String>,
                StreamReader<three::RowResult>,
                FutureReader<Result<(), three::Error>>,
            ),
            three::Error,
        >,
    > {
        let connection = at(caller, |state| state.connection(&connection))??;
        let parameters = parameters.into_iter().map(Into::into).collect();
        let Rows { columns, rows } = match connection.execute(statement, parameters).await {
            Ok(rows) => rows,
            Err(error) => return Ok(Err(error.into())),
        };
        let rows: Vec<three::RowResult> = rows.into_iter().map(Into::into).collect();
        caller.with(|mut access| {
            let rows = StreamReader::new(&mut access, rows)?;
            let outcome = FutureReader::new(&mut access, async { wasmtime::error::Ok(Ok(())) })?;
            Ok(Ok((columns, rows, outcome)))
        })
    }

    async fn last_insert_rowid_async(
        caller: &Caller,
        connection: Resource<Connection>,
    ) -> wasmtime::Result<i64> {
        let connection = at(caller, |state| state.connection(&connection))??;
        Ok(connection.last_insert_rowid().await?)
    }

    async fn changes_async(
        caller: &Caller,
        connection: Resource<Connection>,
    ) -> wasmtime::Result<u64> {
        let connection = at(caller, |state| state.connection(&connection))??;
        Ok(connection.changes().await?)
    }
}

/// Links what `spin:sqlite@3.x` has of synchronous functions.
pub(super) fn add_synchronous(linker: &mut Linker<InstanceState>) -> wasmtime::Result<()> {
    use three::HostConnection as Host;
    type Handle = Resource<Connection>;
    let mut linker = linker.instance("spin:sqlite/sqlite@3.1.0")?;
    let resource = ResourceType::host::<Connection>();
    linker.resource_async("connection", resource, |mut store, rep| {
        Box::new(async move { Host::drop(store.data_mut(), Resource::new_own(rep)).await })
    })?;
    linker.func_wrap_async(
        "[static]connection.open",
        |mut store, (name,): (String,)| {
            Box::new(async move { Ok((Host::open(store.data_mut(), name).await?,)) })
        },
    )?;
    linker.func_wrap_async(
        "[method]connection.execute",
        |mut store, (handle, statement, values): (Handle, String, Vec<three::Value>)| {
            Box::new(async move {
                let executed = Host::execute(store.data_mut(), handle, statement, values);
                Ok((executed.await?,))
            })
        },
    )?;
    linker.func_wrap_async(
        "[method]connection.last-insert-rowid",
        |mut store, (handle,): (Handle,)| {
            Box::new(async move { Ok((Host::last_insert_rowid(store.data_mut(), handle).await?,)) })
        },
    )?;
    linker.func_wrap_async(
        "[method]connection.changes",
        |mut store, (handle,): (Handle,)| {
            Box::new(async move { Ok((Host::changes(store.data_mut(), handle).await?,)) })
        },
    )
}
