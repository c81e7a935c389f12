//! Where a Portal keeps what must not be lost: SQLite in a file, or PostgreSQL, with one set of statements for both.
//!
//! Owns connections, transactions, the schema and a file of functions for each concept. Decides nothing: who may do what is
//! `ppsp-auth`'s to say, and what a request means is for the rest of the Portal.
//!
//! A transaction is a closure. All that happens in it happens, and is on the disk before the call returns, or nothing does.
//! Transactions look as if they ran one after another, also those of several Portals on one PostgreSQL: where that cannot be,
//! one of them is undone and runs again, so that a closure has no effect but that on the database.

pub mod audit;
pub mod content;
pub mod logins;
mod migrations;
pub mod policies;
mod pool;
mod postgres;
pub mod sessions;
pub mod settings;
pub mod signing_keys;
mod sqlite;
pub mod trackers;
pub mod users;
mod value;

use std::{path::PathBuf, sync::Arc};

use pool::{Connection, Mode, Pool};
pub use postgres::Server;
use value::{FromRow, Value, params};

use crate::http::Pin;

/// Where the data is.
#[derive(Clone, Debug)]
pub enum Place {
    /// In a file of SQLite. It is made where it is not there, and readable for its owner alone.
    File(PathBuf),
    /// On a PostgreSQL server.
    Server(Box<Server>),
}

impl Place {
    /// Reads the URL of a PostgreSQL server. One on another machine is spoken to with TLS; where `pin` is not its key's, or the
    /// system's authorities do not vouch for it, it is not believed.
    ///
    /// # Errors
    ///
    /// Why it is none. The URL may have a password in it: it is not repeated.
    pub fn server(url: &str, pin: Option<Pin>) -> Result<Self, DbError> {
        Server::read(url, pin).map(|server| Self::Server(Box::new(server)))
    }
}

/// The database. A clone is the same one.
#[derive(Clone, Debug)]
pub struct Db {
    readers: Arc<Pool>,
    writers: Arc<Pool>,
}

/// Why the database did not do what was asked of it.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum DbError {
    /// It cannot be reached, or does not answer in time. Whether a change took place is not known.
    #[error("the database does not answer: {0}")]
    Away(String),
    /// It refused what a statement asks for.
    #[error("the database refused a statement: {0}")]
    Refused(String),
    /// Something is in it that this version did not write.
    #[error("the database has something in it that cannot be understood")]
    Content,
    /// Its schema has a higher number than this version knows.
    #[error("the database was made by a newer version of ppsp")]
    Newer,
    /// What was given as its address is none.
    #[error("{0}")]
    Address(&'static str),
}

impl Db {
    /// Opens the database and brings its schema up to date. Several processes may do so at the same time.
    ///
    /// # Errors
    ///
    /// See [`DbError`].
    pub async fn open(place: Place) -> Result<Self, DbError> {
        let db = match place {
            Place::File(path) => {
                sqlite::prepare(&path)?;
                // SQLite has one writer at a time; who waits for it waits here rather than in a loop.
                let pool = |mode, most| Arc::new(Pool::new(pool::Opener::File(path.clone(), mode), most));
                Self { readers: pool(Mode::Read, 4), writers: pool(Mode::Write, 1) }
            }
            Place::Server(server) => {
                let opener = pool::Opener::Server(server, tokio::runtime::Handle::current());
                let pool = Arc::new(Pool::new(opener, 8));
                Self { readers: Arc::clone(&pool), writers: pool }
            }
        };
        db.writers.run(Mode::Migrate, migrations::run).await?;
        Ok(db)
    }

    /// Reads: all that the closure sees is of the same moment.
    ///
    /// # Errors
    ///
    /// Those of the closure, and of the database.
    pub async fn read<T, E>(&self, work: impl Fn(&mut Tx<'_>) -> Result<T, E> + Send + 'static) -> Result<T, E>
    where
        T: Send + 'static,
        E: From<DbError> + Send + 'static,
    {
        self.readers.run(Mode::Read, work).await
    }

    /// Reads and writes. Nothing is changed where the closure fails.
    ///
    /// # Errors
    ///
    /// Those of the closure, and of the database.
    pub async fn write<T, E>(&self, work: impl Fn(&mut Tx<'_>) -> Result<T, E> + Send + 'static) -> Result<T, E>
    where
        T: Send + 'static,
        E: From<DbError> + Send + 'static,
    {
        self.writers.run(Mode::Write, work).await
    }
}

/// A transaction under way. Statements are part of the program, never made up at run time: what comes from outside goes
/// into parameters.
#[derive(Debug)]
pub struct Tx<'a> {
    connection: &'a mut Connection,
    /// Another transaction was in the way of this one, which has to run again.
    conflict: bool,
}

impl Tx<'_> {
    /// Runs a statement; returns the number of rows that it changed.
    fn execute(&mut self, sql: &'static str, params: &[Value]) -> Result<u64, DbError> {
        let done = self.connection.execute(sql, params);
        self.noted(done)
    }

    /// All rows of a query.
    fn rows<R: FromRow>(&mut self, sql: &'static str, params: &[Value]) -> Result<Vec<R>, DbError> {
        let rows = self.connection.query(sql, params);
        self.noted(rows)?.into_iter().map(R::from_row).collect()
    }

    /// The only row of a query that has one at most.
    fn row<R: FromRow>(&mut self, sql: &'static str, params: &[Value]) -> Result<Option<R>, DbError> {
        Ok(self.rows(sql, params)?.pop())
    }

    fn noted<T>(&mut self, done: Result<T, pool::Trouble>) -> Result<T, DbError> {
        done.map_err(|trouble| match trouble {
            pool::Trouble::Conflict => {
                self.conflict = true;
                DbError::Refused("other transactions were in the way".into())
            }
            pool::Trouble::Other(error) => error,
        })
    }
}
