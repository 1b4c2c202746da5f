//! Connections of components to PostgreSQL servers.
//!
//! A connection that its user is done with is made like new, in the background, before another one gets
//! it: an open transaction is undone, and settings, locks and temporary tables are gone.

mod calendar;
mod decimal;
mod tls;
mod value;

use std::error::Error as _;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use futures::TryStreamExt as _;
use tokio_postgres::config::Host;
use tokio_postgres::types::{ToSql, Type};
use tokio_postgres::{Client, Config};

pub use value::{Bound, Date, Range, Sql, Time};

use super::pool::{Placed, Pool};
use super::{CONNECT_TIMEOUT, ConnectError};
use crate::name::ComponentName;
use tls::Tls;

/// Largest result, in bytes of its values: it is whole in the host's and the guest's memory.
pub const RESULT_BYTES_MAX: usize = 16 * 1024 * 1024;

/// What undoes all that a user may have left on a connection, beside an open transaction. `DISCARD ALL`
/// would do the same and forget the statements that the client itself goes on using.
const LIKE_NEW: &str = "CLOSE ALL; SET SESSION AUTHORIZATION DEFAULT; RESET ALL; UNLISTEN *; \
                        SELECT pg_advisory_unlock_all(); DISCARD TEMP; DISCARD SEQUENCES";

/// A server, or several of which one is enough, as an address names them.
pub struct Target {
    config: Config,
    tls: Tls,
    key: String,
    /// Their hosts and ports.
    pub hosts: Vec<(String, u16)>,
}

impl Target {
    /// What `address` names: a URL, or `key=value` pairs as libpq has them. `roots` are certificates in
    /// PEM to trust instead of the system's.
    ///
    /// # Errors
    ///
    /// It is no address, or one of a socket of this machine; in words.
    pub fn parse(address: &str, roots: Option<&str>) -> Result<Self, String> {
        let mut config: Config = address
            .parse()
            .map_err(|error: tokio_postgres::Error| in_words(&error))?;
        if !config.get_hostaddrs().is_empty() {
            return Err("name hosts alone, without hostaddr".to_owned());
        }
        if config.get_connect_timeout().is_none() {
            config.connect_timeout(CONNECT_TIMEOUT);
        }
        let ports = config.get_ports();
        let port = |index: usize| ports.get(index).or(ports.first()).copied().unwrap_or(5432);
        let hosts = config.get_hosts().iter().enumerate();
        let hosts = hosts.map(|(index, host)| match host {
            Host::Tcp(host) => Ok((host.clone(), port(index))),
            #[cfg(unix)]
            Host::Unix(_) => Err("sockets of this machine are out of reach".to_owned()),
        });
        let hosts: Vec<_> = hosts.collect::<Result<_, _>>()?;
        if hosts.is_empty() {
            return Err("it names no host".to_owned());
        }
        Ok(Self {
            hosts,
            tls: Tls::new(roots)?,
            key: format!("{address}\n{}", roots.unwrap_or_default()),
            config,
        })
    }
}

/// Why a statement had no result.
#[derive(Debug, thiserror::Error)]
pub enum QueryError {
    /// A parameter does not fit.
    #[error("{0}")]
    Parameter(String),
    /// A value of the result cannot be given.
    #[error("{0}")]
    Value(String),
    /// The server refuses the statement.
    #[error("{0}")]
    Database(Box<Refusal>),
    /// The connection failed.
    #[error("{0}")]
    Failed(String),
}

/// What a server says of a statement that it refuses.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// All of it in words.
    pub as_text: String,
    /// `ERROR`, `FATAL`.
    pub severity: String,
    /// The five letters and digits of SQLSTATE.
    pub code: String,
    /// The primary message.
    pub message: String,
    /// The detail message.
    pub detail: Option<String>,
    /// Whatever else it says, by name.
    pub extras: Vec<(String, String)>,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.as_text)
    }
}

/// The columns of a result, with their types' names where those have no form of their own, and its rows.
#[derive(Debug, Clone, PartialEq)]
pub struct Table {
    /// Names and types.
    pub columns: Vec<(String, Type)>,
    /// Values, one for each column.
    pub rows: Vec<Vec<Sql>>,
}

/// The connections of all components to PostgreSQL servers.
#[derive(Default)]
pub struct PostgresConnections(Pool<Client>);

impl PostgresConnections {
    /// A connection of `component` to a server.
    ///
    /// # Errors
    ///
    /// See [`ConnectError`].
    pub async fn connect(
        &self,
        component: &ComponentName,
        target: &Target,
    ) -> Result<PostgresConnection, ConnectError> {
        let (place, idle) = self.0.enter(component, &target.key).await?;
        let client = match idle {
            Some((client, _)) if !client.is_closed() => client,
            Some(_) | None => connect(target).await?,
        };
        Ok(PostgresConnection(Arc::new(Lent {
            client: Some(place.with(client)),
            owed: AtomicUsize::new(0),
            tls: target.tls.clone(),
        })))
    }
}

async fn connect(target: &Target) -> Result<Client, ConnectError> {
    let connecting = target.config.connect(target.tls.clone());
    let connected = tokio::time::timeout(CONNECT_TIMEOUT, connecting).await;
    let connected = connected.map_err(|_| ConnectError::TimedOut)?;
    let (client, connection) =
        connected.map_err(|error| ConnectError::Refused(in_words(&error)))?;
    // It ends with the client, or when the server closes the connection, which the client is told.
    tokio::spawn(connection);
    Ok(client)
}

/// An open connection. Clones share it.
#[derive(Clone)]
pub struct PostgresConnection(Arc<Lent>);

/// A connection in use.
struct Lent {
    /// There until it is dropped.
    client: Option<Placed<Client>>,
    /// Statements without an answer.
    owed: AtomicUsize,
    tls: Tls,
}

impl Drop for Lent {
    fn drop(&mut self) {
        let (Some(client), Ok(runtime)) =
            (self.client.take(), tokio::runtime::Handle::try_current())
        else {
            return;
        };
        if *self.owed.get_mut() > 0 {
            // Its user waits no more, so the server need not go on.
            let cancel = client.cancel_token();
            let tls = self.tls.clone();
            runtime.spawn(async move {
                tokio::time::timeout(CONNECT_TIMEOUT, cancel.cancel_query(tls)).await
            });
            return;
        }
        if client.is_closed() {
            return;
        }
        runtime.spawn(async move {
            let cleaning = async {
                client.batch_execute("ROLLBACK").await?;
                client.batch_execute(LIKE_NEW).await
            };
            if let Ok(Ok(())) = tokio::time::timeout(CONNECT_TIMEOUT, cleaning).await {
                client.keep();
            }
        });
    }
}

impl PostgresConnection {
    /// Executes a statement and gives its rows.
    ///
    /// # Errors
    ///
    /// See [`QueryError`].
    pub async fn query(&self, statement: &str, parameters: &[Sql]) -> Result<Table, QueryError> {
        self.owing(self.query_now(statement, parameters)).await
    }

    /// Executes a statement and says how many rows it changed.
    ///
    /// # Errors
    ///
    /// See [`QueryError`].
    pub async fn execute(&self, statement: &str, parameters: &[Sql]) -> Result<u64, QueryError> {
        self.owing(self.execute_now(statement, parameters)).await
    }

    /// Works on a statement, whose answer is owed until it is there: for ever, where nobody waits for it.
    async fn owing<T>(&self, work: impl Future<Output = T>) -> T {
        self.0.owed.fetch_add(1, Ordering::Relaxed);
        let done = work.await;
        self.0.owed.fetch_sub(1, Ordering::Relaxed);
        done
    }

    async fn query_now(&self, statement: &str, parameters: &[Sql]) -> Result<Table, QueryError> {
        let client = self.client();
        let prepared = client.prepare(statement).await.map_err(query_error)?;
        let columns = prepared.columns().iter();
        let columns = columns.map(|column| (column.name().to_owned(), column.type_().clone()));
        let columns: Vec<_> = columns.collect();
        check(prepared.params(), parameters)?;
        let values = parameters.iter().map(|value| value as &(dyn ToSql + Sync));
        let rows = client
            .query_raw(&prepared, values)
            .await
            .map_err(query_error)?;
        let mut rows = std::pin::pin!(rows);
        let (mut table, mut bytes) = (Vec::new(), 0);
        while let Some(row) = rows.try_next().await.map_err(query_error)? {
            let mut values = Vec::with_capacity(columns.len());
            for (index, (name, _)) in columns.iter().enumerate() {
                let value: Sql = row.try_get(index).map_err(|error| {
                    QueryError::Value(format!("column {name:?}: {}", in_words(&error)))
                })?;
                bytes += value.bytes();
                values.push(value);
            }
            if bytes > RESULT_BYTES_MAX {
                return Err(QueryError::Value(format!(
                    "the result is larger than {RESULT_BYTES_MAX} bytes: select less, or in parts"
                )));
            }
            table.push(values);
        }
        Ok(Table {
            columns,
            rows: table,
        })
    }

    async fn execute_now(&self, statement: &str, parameters: &[Sql]) -> Result<u64, QueryError> {
        let client = self.client();
        let prepared = client.prepare(statement).await.map_err(query_error)?;
        check(prepared.params(), parameters)?;
        let values = parameters.iter().map(|value| value as &(dyn ToSql + Sync));
        client
            .execute_raw(&prepared, values)
            .await
            .map_err(query_error)
    }

    fn client(&self) -> &Client {
        self.0
            .client
            .as_ref()
            .expect("it is there until it is dropped")
    }
}

/// Refuses parameters that do not fit the statement, as the client would panic for their number.
fn check(wanted: &[Type], given: &[Sql]) -> Result<(), QueryError> {
    if wanted.len() == given.len() {
        return Ok(());
    }
    Err(QueryError::Parameter(format!(
        "the statement has {} parameters, and {} values were given",
        wanted.len(),
        given.len()
    )))
}

fn query_error(error: tokio_postgres::Error) -> QueryError {
    let Some(said) = error.as_db_error() else {
        // The client has no kind of error for parameters that can be asked for; its source is ours.
        let text = in_words(&error);
        return if text.starts_with("error serializing parameter") {
            QueryError::Parameter(text)
        } else {
            QueryError::Failed(text)
        };
    };
    let extras = [
        ("hint", said.hint().map(str::to_owned)),
        ("where", said.where_().map(str::to_owned)),
        ("schema", said.schema().map(str::to_owned)),
        ("table", said.table().map(str::to_owned)),
        ("column", said.column().map(str::to_owned)),
        ("datatype", said.datatype().map(str::to_owned)),
        ("constraint", said.constraint().map(str::to_owned)),
        ("file", said.file().map(str::to_owned)),
        ("line", said.line().map(|line| line.to_string())),
        ("routine", said.routine().map(str::to_owned)),
    ];
    let extras = extras
        .into_iter()
        .filter_map(|(name, value)| Some((name.to_owned(), value?)));
    QueryError::Database(Box::new(Refusal {
        as_text: said.to_string(),
        severity: said.severity().to_owned(),
        code: said.code().code().to_owned(),
        message: said.message().to_owned(),
        detail: said.detail().map(str::to_owned),
        extras: extras.collect(),
    }))
}

fn in_words(error: &tokio_postgres::Error) -> String {
    match error.source() {
        Some(source) => format!("{error}: {source}"),
        None => error.to_string(),
    }
}
