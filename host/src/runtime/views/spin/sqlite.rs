//! `fermyon:spin/sqlite@2.0.0` and `spin:sqlite@3.x`.
//!
//! `default` is the component's own database, unless the grants say that it is shared; any other is
//! shared by the components that it is granted to.

use wasmtime::component::{FutureReader, Linker, Resource, StreamReader};

use super::{Caller, Spin, at};
use crate::capability::sqlite::{Connection as Database, DatabaseId, Rows, SqliteError, Value};
use crate::name::DatabaseName;
use crate::runtime::bindings::spin_2::fermyon::spin::sqlite as two;
use crate::runtime::bindings::spin_3::spin::sqlite::sqlite as three;
use crate::runtime::state::InstanceState;

/// The database that is a component's own.
const OWN: &str = "default";

/// A guest's open connection.
pub struct Connection(Database);

/// Why a database is not opened.
enum Refusal {
    NoSuchDatabase,
    AccessDenied,
    Failed(SqliteError),
}

impl InstanceState {
    /// Which database the component means.
    fn database(&self, name: &str) -> Result<DatabaseId, Refusal> {
        let name: DatabaseName = name.parse().map_err(|_| Refusal::NoSuchDatabase)?;
        let component = &self.context.component;
        if !self.context.grants.sqlite.contains(&name) {
            tracing::warn!(%component, request_id = self.work.id, trace_id = self.work.trace_id(), "SQLite database denied: to allow it, add \"{name}\" to sqlite in [component.{component}.grants]");
            return Err(Refusal::AccessDenied);
        }
        Ok(if name.as_str() == OWN && !self.context.grants.shared_default {
            DatabaseId::component(component)
        } else {
            DatabaseId::named(&name)
        })
    }

    async fn open_database(&mut self, name: &str) -> Result<Connection, Refusal> {
        let id = self.database(name)?;
        let connected = self.context.backends.sqlite.connect(&id).await;
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
                    SqliteError::Full { .. } => Self::DatabaseFull,
                    SqliteError::Busy { .. }
                    | SqliteError::TooLarge
                    | SqliteError::Cancelled
                    | SqliteError::Sqlite(_) => Self::Io(error.to_string()),
                }
            }
        }

        impl From<Refusal> for $version::Error {
            fn from(refusal: Refusal) -> Self {
                match refusal {
                    Refusal::NoSuchDatabase => Self::NoSuchDatabase,
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
            let executed = self.connection(&connection)?.execute(statement, parameters);
            Ok(executed.await.map(Into::into).map_err(Into::into))
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
            state.database(&database).map(|id| (sqlite, id))
        })?;
        let (sqlite, id) = match found {
            Ok(found) => found,
            Err(refusal) => return Ok(Err(refusal.into())),
        };
        match sqlite.connect(&id).await {
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
