//! SQLite: one file, written ahead to a log beside it.

use std::{fs, os::unix::fs::OpenOptionsExt, path::Path, time::Duration};

use rusqlite::{
    CachedStatement, Connection, ErrorCode,
    types::{ToSqlOutput, ValueRef},
};

use super::{
    DbError,
    pool::{Mode, Trouble},
    value::Value,
};

/// Makes the file, so that nobody but its owner can read it; SQLite gives its log the same rights.
pub(super) fn prepare(path: &Path) -> Result<(), DbError> {
    let made = fs::OpenOptions::new().create(true).truncate(false).write(true).mode(0o600).open(path);
    made.map(drop).map_err(|error| DbError::Away(format!("{}: {error}", path.display())))
}

pub(super) fn open(path: &Path, mode: Mode) -> Result<Connection, DbError> {
    let open = || {
        let connection = Connection::open(path)?;
        connection.busy_timeout(Duration::from_secs(10))?;
        connection.set_prepared_statement_cache_capacity(128);
        connection.pragma_update(None, "journal_mode", "wal")?;
        // What was acknowledged is on the disk, also where the power fails.
        connection.pragma_update(None, "synchronous", "full")?;
        connection.pragma_update(None, "foreign_keys", true)?;
        connection.pragma_update(None, "query_only", mode == Mode::Read)?;
        Ok(connection)
    };
    open().map_err(|error| match trouble(&error) {
        Trouble::Other(DbError::Refused(why)) => DbError::Away(format!("{}: {why}", path.display())),
        other => other.into(),
    })
}

pub(super) fn begin(connection: &Connection, mode: Mode) -> Result<(), Trouble> {
    match mode {
        Mode::Read => batch(connection, "BEGIN"),
        // A transaction that reads first and writes later would find another one in its way.
        Mode::Write | Mode::Migrate => batch(connection, "BEGIN IMMEDIATE"),
    }
}

pub(super) fn batch(connection: &Connection, sql: &str) -> Result<(), Trouble> {
    connection.execute_batch(sql).map_err(|error| trouble(&error))
}

pub(super) fn execute(connection: &Connection, sql: &'static str, params: &[Value]) -> Result<u64, Trouble> {
    let run = || bound(connection, sql, params)?.raw_execute();
    run().map(|changed| changed as u64).map_err(|error| trouble(&error))
}

pub(super) fn query(connection: &Connection, sql: &'static str, params: &[Value]) -> Result<Vec<Vec<Value>>, Trouble> {
    let run = || {
        let mut statement = bound(connection, sql, params)?;
        let columns = statement.column_count();
        let mut rows = statement.raw_query();
        let mut all = Vec::new();
        while let Some(row) = rows.next()? {
            all.push((0..columns).map(|i| row.get_ref(i).map(value)).collect::<Result<_, _>>()?);
        }
        Ok(all)
    };
    run().map_err(|error| trouble(&error))
}

/// The names of types.
pub(super) fn dialect(sql: &str) -> String {
    sql.replace("{text}", "TEXT").replace("{bytes}", "BLOB")
}

fn bound<'a>(connection: &'a Connection, sql: &str, params: &[Value]) -> rusqlite::Result<CachedStatement<'a>> {
    let mut statement = connection.prepare_cached(sql)?;
    for (i, param) in params.iter().enumerate() {
        // SQLite takes `$1` for a name and counts in the order in which names stand.
        let name = format!("${}", i + 1);
        let index = statement.parameter_index(&name)?.ok_or(rusqlite::Error::InvalidParameterName(name))?;
        let param = match param {
            Value::Null => ValueRef::Null,
            Value::Integer(value) => ValueRef::Integer(*value),
            Value::Text(text) => ValueRef::Text(text.as_bytes()),
            Value::Bytes(bytes) => ValueRef::Blob(bytes),
        };
        statement.raw_bind_parameter(index, ToSqlOutput::Borrowed(param))?;
    }
    Ok(statement)
}

fn value(value: ValueRef<'_>) -> Value {
    match value {
        ValueRef::Integer(value) => Value::Integer(value),
        ValueRef::Text(text) => String::from_utf8(text.into()).map_or(Value::Null, Value::Text),
        ValueRef::Blob(bytes) => Value::Bytes(bytes.into()),
        // The schema has no column for it.
        ValueRef::Null | ValueRef::Real(_) => Value::Null,
    }
}

fn trouble(error: &rusqlite::Error) -> Trouble {
    Trouble::Other(match error.sqlite_error_code() {
        Some(
            ErrorCode::DatabaseBusy
            | ErrorCode::DatabaseLocked
            | ErrorCode::DiskFull
            | ErrorCode::SystemIoFailure
            | ErrorCode::ReadOnly
            | ErrorCode::CannotOpen,
        ) => DbError::Away(error.to_string()),
        Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => DbError::Content,
        _ => DbError::Refused(error.to_string()),
    })
}
