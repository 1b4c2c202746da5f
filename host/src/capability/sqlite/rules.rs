//! What SQL may do: everything to its own database, and nothing beside.
//!
//! | statement | |
//! | --- | --- |
//! | `ATTACH`, `DETACH`, `VACUUM` (which attaches), `load_extension()` | denied: they reach other files |
//! | pragmas that ask, and those of the schema, of keys and of checks | allowed |
//! | pragmas that tune (`journal_mode`, `cache_size`, ...) | no effect: the host has decided |
//! | other pragmas | denied |

use std::path::Path;

use rusqlite::config::DbConfig;
use rusqlite::hooks::{AuthAction, AuthContext, Authorization};
use rusqlite::limits::Limit;

use super::{BUSY_TIMEOUT, SqliteError};

/// Largest database, in pages of 4 KiB: 4 GiB.
const PAGES_MAX: u32 = 1024 * 1024;

/// Largest value and row, in bytes.
const VALUE_BYTES_MAX: i32 = 16 * 1024 * 1024;

/// Longest statement, in bytes.
const STATEMENT_BYTES_MAX: i32 = 1024 * 1024;

/// Pragmas that only ask where they have no argument.
const ASKED: &[&str] = &[
    "auto_vacuum",
    "cache_size",
    "collation_list",
    "compile_options",
    "data_version",
    "encoding",
    "freelist_count",
    "function_list",
    "journal_mode",
    "max_page_count",
    "page_count",
    "page_size",
    "schema_version",
    "synchronous",
];

/// Pragmas of the schema, of keys and of checks: they concern this database or this connection alone.
const ALLOWED: &[&str] = &[
    "analysis_limit",
    "application_id",
    "case_sensitive_like",
    "defer_foreign_keys",
    "foreign_key_check",
    "foreign_key_list",
    "foreign_keys",
    "incremental_vacuum",
    "index_info",
    "index_list",
    "index_xinfo",
    "integrity_check",
    "legacy_alter_table",
    "optimize",
    "query_only",
    "quick_check",
    "recursive_triggers",
    "reverse_unordered_selects",
    "table_info",
    "table_list",
    "table_xinfo",
    "user_version",
];

/// Pragmas that tune what the host has decided, so that statements which set them do no harm.
const DECIDED: &[&str] = &[
    "automatic_index",
    "auto_vacuum",
    "busy_timeout",
    "cache_size",
    "cache_spill",
    "cell_size_check",
    "checkpoint_fullfsync",
    "encoding",
    "fullfsync",
    "journal_mode",
    "journal_size_limit",
    "locking_mode",
    "mmap_size",
    "page_size",
    "secure_delete",
    "synchronous",
    "temp_store",
    "threads",
    "wal_autocheckpoint",
    "wal_checkpoint",
];

/// Makes the directory that the database lies in.
pub(super) fn make_directory_of(path: &Path) -> Result<(), SqliteError> {
    let dir = path.parent().unwrap_or(path);
    std::fs::create_dir_all(dir).map_err(|error| {
        let text = format!("cannot create {}: {error}", dir.display());
        rusqlite::Error::SqliteFailure(
            rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_CANTOPEN),
            Some(text),
        )
        .into()
    })
}

/// Opens the database at `path`, which is made where there is none.
pub(super) fn open(path: &Path) -> Result<rusqlite::Connection, SqliteError> {
    let sqlite = rusqlite::Connection::open(path)?;
    sqlite.busy_timeout(BUSY_TIMEOUT)?;
    sqlite.pragma_update(None, "journal_mode", "wal")?;
    // A commit is on disk when it returns, after a power failure, too.
    sqlite.pragma_update(None, "synchronous", "full")?;
    sqlite.pragma_update(None, "max_page_count", PAGES_MAX)?;
    Ok(sqlite)
}

/// Has the rules hold on a connection for a guest.
pub(super) fn bind(sqlite: &mut rusqlite::Connection) -> Result<(), SqliteError> {
    // Neither the schema nor shadow tables are written to but by SQLite itself.
    sqlite.set_db_config(DbConfig::SQLITE_DBCONFIG_DEFENSIVE, true)?;
    sqlite.set_db_config(DbConfig::SQLITE_DBCONFIG_TRUSTED_SCHEMA, false)?;
    sqlite.set_limit(Limit::SQLITE_LIMIT_ATTACHED, 0)?;
    sqlite.set_limit(Limit::SQLITE_LIMIT_LENGTH, VALUE_BYTES_MAX)?;
    sqlite.set_limit(Limit::SQLITE_LIMIT_SQL_LENGTH, STATEMENT_BYTES_MAX)?;
    sqlite.set_limit(Limit::SQLITE_LIMIT_WORKER_THREADS, 0)?;
    sqlite.authorizer(Some(|context: AuthContext<'_>| authorize(context.action)))?;
    Ok(())
}

fn authorize(action: AuthAction<'_>) -> Authorization {
    match action {
        AuthAction::Attach { .. } | AuthAction::Detach { .. } | AuthAction::Unknown { .. } => {
            Authorization::Deny
        }
        AuthAction::Function {
            function_name: "load_extension",
        } => Authorization::Deny,
        AuthAction::Pragma {
            pragma_name,
            pragma_value,
        } => {
            let is_in = |names: &[&str]| {
                names
                    .iter()
                    .any(|name| pragma_name.eq_ignore_ascii_case(name))
            };
            if is_in(ALLOWED) || (pragma_value.is_none() && is_in(ASKED)) {
                Authorization::Allow
            } else if is_in(DECIDED) {
                Authorization::Ignore
            } else {
                Authorization::Deny
            }
        }
        _ => Authorization::Allow,
    }
}
