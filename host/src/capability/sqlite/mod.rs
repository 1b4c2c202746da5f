//! SQLite databases: one file each, under the state directory unless the manifest says where.
//!
//! ```text
//! guest's connection -> Connection -> a thread for blocking work -> SQLite (WAL) -> file
//!                           ^ one of SQLite's own, so that transactions and pragmas are its own
//! ```
//!
//! What a guest sends is SQL, so everything that SQLite could do to the host is bounded here: it
//! reaches no other file, a result, a value and a database have a largest size, and a statement that
//! nobody waits for any more is interrupted ([`rules`]). Writers take turns; a commit is on disk when
//! it returns.

mod rules;

#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rusqlite::{ErrorCode, params_from_iter};
use tokio::sync::{OwnedMutexGuard, OwnedSemaphorePermit, Semaphore};

pub use rusqlite::types::Value;

use crate::manifest::model::DatabaseSource;

/// Largest result, in bytes of its values and names: it is whole in the host's and the guest's memory.
pub const RESULT_BYTES_MAX: usize = 16 * 1024 * 1024;

/// What a value counts as beside its own bytes: about what it takes in memory.
const VALUE_OVERHEAD_BYTES: usize = 32;

/// Connections that are open to one database at once. Each has a cache of up to 2 MiB.
const CONNECTIONS_MAX: usize = 64;

/// Statements that work at once, all databases together: each has a thread of its own, of which the
/// runtime has 512.
const STATEMENTS_MAX: usize = 64;

/// Longest wait for another writer, and for a connection while all are taken.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);

/// Prepared statements that a connection keeps.
const STATEMENTS_CACHED: usize = 32;

/// Steps of SQLite's machine between two looks at whether anybody still waits: some 10 µs.
const STEPS_BETWEEN_LOOKS: i32 = 1000;

/// Why a lock can be taken.
const UNPOISONED: &str = "no holder of this lock panics";

/// Why a statement gave no result. It changed nothing, unless it is `Cancelled`: then it was undone or
/// is done as a whole.
#[derive(Debug, thiserror::Error)]
pub enum SqliteError {
    /// The database has its largest size, or the disk is full.
    #[error("the database is full")]
    Full,
    /// As many connections are open as may be.
    #[error("the database has {CONNECTIONS_MAX} open connections, which is all that it may")]
    Busy,
    /// The result is larger than may be.
    #[error("the result is larger than {RESULT_BYTES_MAX} bytes: select less, or in parts")]
    TooLarge,
    /// Nobody waited for it any more.
    #[error("the statement was cancelled")]
    Cancelled,
    /// SQLite refuses the statement, or its file cannot be used.
    #[error(transparent)]
    Sqlite(#[from] rusqlite::Error),
}

/// The result of a statement.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Rows {
    /// The names of the columns.
    pub columns: Vec<String>,
    /// The rows, each with a value for every column.
    pub rows: Vec<Vec<Value>>,
}

/// All databases of a host. Each is made when it is first connected to.
#[derive(Debug)]
pub struct Sqlite {
    dir: PathBuf,
    databases: Mutex<HashMap<PathBuf, Arc<Database>>>,
    statements: Arc<Semaphore>,
}

/// One database, once it was connected to.
#[derive(Debug)]
struct Database {
    path: PathBuf,
    connections: Arc<Semaphore>,
    /// Keeps the write-ahead log, which SQLite would write back and remove with the last connection.
    keeper: tokio::sync::OnceCell<Mutex<rusqlite::Connection>>,
}

impl Sqlite {
    /// The databases below `state_dir`.
    pub fn new(state_dir: &Path) -> Self {
        Self {
            dir: state_dir.join("sqlite"),
            databases: Mutex::default(),
            statements: Arc::new(Semaphore::new(STATEMENTS_MAX)),
        }
    }

    /// A new connection to a database, which is made where there is none.
    ///
    /// # Errors
    ///
    /// [`SqliteError::Busy`], or the file cannot be used.
    pub async fn connect(&self, source: &DatabaseSource) -> Result<Connection, SqliteError> {
        let database = self.database(source);
        let place = database.connections.clone().acquire_owned();
        let Ok(place) = tokio::time::timeout(BUSY_TIMEOUT, place).await else {
            return Err(SqliteError::Busy);
        };
        let place = place.expect("the semaphore is never closed");
        let path = database.path.clone();
        let kept = database.keeper.get_or_try_init(|| async {
            let made = blocking(move || {
                rules::make_directory_of(&path)?;
                rules::open(&path)
            });
            made.await.map(Mutex::new)
        });
        kept.await?;
        let cancelled = Arc::new(AtomicBool::new(false));
        let (path, watched) = (database.path.clone(), cancelled.clone());
        let sqlite = blocking(move || {
            let mut sqlite = rules::open(&path)?;
            rules::bind(&mut sqlite)?;
            sqlite.set_prepared_statement_cache_capacity(STATEMENTS_CACHED);
            let look = move || watched.load(Ordering::Relaxed);
            sqlite.progress_handler(STEPS_BETWEEN_LOOKS, Some(look))?;
            Ok(sqlite)
        });
        Ok(Connection {
            sqlite: Arc::new(tokio::sync::Mutex::new(Closing(Some(sqlite.await?)))),
            cancelled,
            statements: self.statements.clone(),
            _place: Arc::new(place),
        })
    }

    fn database(&self, source: &DatabaseSource) -> Arc<Database> {
        let path = match source {
            DatabaseSource::Own(name) => self.dir.join(format!("{name}.db")),
            DatabaseSource::File(path) => path.clone(),
        };
        let mut databases = self.databases.lock().expect(UNPOISONED);
        let make = || {
            Arc::new(Database {
                path: path.clone(),
                connections: Arc::new(Semaphore::new(CONNECTIONS_MAX)),
                keeper: tokio::sync::OnceCell::new(),
            })
        };
        databases.entry(path.clone()).or_insert_with(make).clone()
    }
}

/// An open connection. Clones share it; what it has not committed is undone with the last of them.
#[derive(Debug, Clone)]
pub struct Connection {
    sqlite: Arc<tokio::sync::Mutex<Closing>>,
    cancelled: Arc<AtomicBool>,
    statements: Arc<Semaphore>,
    _place: Arc<OwnedSemaphorePermit>,
}

impl Connection {
    /// Executes one statement with values for its parameters, in their order. Cancelling interrupts it.
    ///
    /// # Errors
    ///
    /// See [`SqliteError`].
    pub async fn execute(
        &self,
        statement: String,
        parameters: Vec<Value>,
    ) -> Result<Rows, SqliteError> {
        let executed = self.with(move |sqlite| execute(sqlite, &statement, parameters));
        executed.await.map_err(told)
    }

    /// The row that an INSERT last added on this connection, or 0.
    ///
    /// # Errors
    ///
    /// None beside the runtime's end.
    pub async fn last_insert_rowid(&self) -> Result<i64, SqliteError> {
        self.with(|sqlite| Ok(sqlite.last_insert_rowid())).await
    }

    /// The rows that the last INSERT, UPDATE or DELETE on this connection changed.
    ///
    /// # Errors
    ///
    /// None beside the runtime's end.
    pub async fn changes(&self) -> Result<u64, SqliteError> {
        self.with(|sqlite| Ok(sqlite.changes())).await
    }

    /// Works on the connection, on a thread for it.
    async fn with<T: Send + 'static>(
        &self,
        work: impl FnOnce(&rusqlite::Connection) -> Result<T, SqliteError> + Send + 'static,
    ) -> Result<T, SqliteError> {
        let held: OwnedMutexGuard<Closing> = self.sqlite.clone().lock_owned().await;
        let place = self.statements.clone().acquire_owned().await;
        self.cancelled.store(false, Ordering::Relaxed);
        let waiting = Waiting(Some(&self.cancelled));
        let done = blocking(move || {
            let _place = place;
            work(held.0.as_ref().expect("it is open until it is dropped"))
        });
        let done = done.await;
        waiting.over();
        done
    }
}

fn told(error: SqliteError) -> SqliteError {
    match error {
        SqliteError::Sqlite(sqlite) => match sqlite.sqlite_error_code() {
            Some(ErrorCode::DiskFull) => SqliteError::Full,
            Some(ErrorCode::OperationInterrupted) => SqliteError::Cancelled,
            Some(_) | None => SqliteError::Sqlite(sqlite),
        },
        error => error,
    }
}

/// Has the statement interrupted when nobody waits for it any more.
struct Waiting<'a>(Option<&'a AtomicBool>);

impl Waiting<'_> {
    fn over(mut self) {
        self.0 = None;
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        if let Some(cancelled) = self.0 {
            cancelled.store(true, Ordering::Relaxed);
        }
    }
}

/// Closes a connection where it may block: what was not committed is undone then.
#[derive(Debug)]
struct Closing(Option<rusqlite::Connection>);

impl Drop for Closing {
    fn drop(&mut self) {
        let sqlite = self.0.take();
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            runtime.spawn_blocking(move || drop(sqlite));
        }
    }
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, SqliteError> + Send + 'static,
) -> Result<T, SqliteError> {
    // It fails only where it panics, which is a mistake of ours, or the runtime ends.
    let done = tokio::task::spawn_blocking(work).await;
    done.unwrap_or(Err(SqliteError::Cancelled))
}

fn execute(
    sqlite: &rusqlite::Connection,
    statement: &str,
    parameters: Vec<Value>,
) -> Result<Rows, SqliteError> {
    let mut statement = sqlite.prepare_cached(statement)?;
    let columns: Vec<String> = statement.column_names().map(str::to_owned).collect();
    let width = columns.len();
    let mut bytes: usize = columns.iter().map(String::len).sum();
    let mut result = Vec::new();
    let mut rows = statement.query(params_from_iter(parameters))?;
    while let Some(row) = rows.next()? {
        let mut values = Vec::with_capacity(width);
        for index in 0..width {
            let value: Value = row.get(index)?;
            bytes += VALUE_OVERHEAD_BYTES + own_bytes(&value);
            values.push(value);
        }
        bytes += VALUE_OVERHEAD_BYTES;
        if bytes > RESULT_BYTES_MAX {
            return Err(SqliteError::TooLarge);
        }
        result.push(values);
    }
    Ok(Rows {
        columns,
        rows: result,
    })
}

fn own_bytes(value: &Value) -> usize {
    match value {
        Value::Null | Value::Integer(_) | Value::Real(_) => 0,
        Value::Text(text) => text.len(),
        Value::Blob(blob) => blob.len(),
    }
}
