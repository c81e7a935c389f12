//! Connections: a few of them, on threads where waiting is no harm, and what both kinds have in common.

use std::{
    fmt,
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use tokio::sync::Semaphore;

use super::{DbError, Tx, postgres, sqlite, value::Value};

/// What a transaction is for.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Mode {
    Read,
    Write,
    /// Writes, one process at a time, each of which sees what the one before it did.
    Migrate,
}

/// Why a statement was not carried out.
#[derive(Debug)]
pub(super) enum Trouble {
    /// Another transaction is in the way: all of this one has to be done again.
    Conflict,
    Other(DbError),
}

/// How to make a connection.
pub(super) enum Opener {
    /// The mode is what its transactions are for.
    File(PathBuf, Mode),
    Server(Box<postgres::Server>, tokio::runtime::Handle),
}

/// A connection, in one thread at a time.
#[derive(Debug)]
pub(super) enum Connection {
    File(rusqlite::Connection),
    Server(postgres::Connection),
}

/// Connections that are used in turn. Who comes when all are busy waits.
pub(super) struct Pool {
    opener: Opener,
    idle: Mutex<Vec<Connection>>,
    free: Arc<Semaphore>,
}

impl Pool {
    pub(super) fn new(opener: Opener, most: usize) -> Self {
        Self { opener, idle: Mutex::default(), free: Arc::new(Semaphore::new(most)) }
    }

    /// Runs a transaction.
    pub(super) async fn run<T, E>(
        self: &Arc<Self>,
        mode: Mode,
        work: impl Fn(&mut Tx<'_>) -> Result<T, E> + Send + 'static,
    ) -> Result<T, E>
    where
        T: Send + 'static,
        E: From<DbError> + Send + 'static,
    {
        let closed = || DbError::Away("it is being closed".into());
        let permit = Arc::clone(&self.free).acquire_owned().await.map_err(|_| closed())?;
        let pool = Arc::clone(self);
        let done = tokio::task::spawn_blocking(move || {
            let _permit = permit;
            pool.transact(mode, &work)
        });
        match done.await {
            Ok(done) => done,
            Err(end) if end.is_panic() => std::panic::resume_unwind(end.into_panic()),
            Err(_) => Err(closed().into()),
        }
    }

    fn transact<T, E: From<DbError>>(&self, mode: Mode, work: &impl Fn(&mut Tx<'_>) -> Result<T, E>) -> Result<T, E> {
        let mut connection = self.begun(mode)?;
        for attempt in 1.. {
            let mut tx = Tx { connection: &mut connection, conflict: false };
            let done = work(&mut tx);
            let mut conflict = tx.conflict;
            let done = match done {
                Ok(value) => match connection.commit() {
                    Ok(()) => Ok(value),
                    Err(Trouble::Conflict) => {
                        conflict = true;
                        Err(DbError::Away("too many changes at the same time".into()).into())
                    }
                    Err(Trouble::Other(error)) => Err(error.into()),
                },
                Err(error) => Err(error),
            };
            if done.is_err() {
                connection.roll_back();
            }
            if !conflict || attempt == ATTEMPTS {
                if connection.is_good() {
                    self.idle.lock().unwrap_or_else(PoisonError::into_inner).push(connection);
                }
                return done;
            }
            // The others were faster; this one gives them a little more room each time.
            std::thread::sleep(Duration::from_millis(attempt));
            connection.begin(mode).map_err(DbError::from)?;
        }
        unreachable!("the last attempt returns")
    }

    /// A connection in a transaction. A kept one that has died in the meantime is replaced: nothing was done on it.
    fn begun(&self, mode: Mode) -> Result<Connection, DbError> {
        loop {
            let kept = self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
            let fresh = kept.is_none();
            let mut connection = match kept {
                Some(connection) => connection,
                None => self.opener.open()?,
            };
            match connection.begin(mode) {
                Ok(()) => return Ok(connection),
                Err(trouble) if fresh => return Err(trouble.into()),
                Err(_) => {}
            }
        }
    }
}

impl Opener {
    fn open(&self) -> Result<Connection, DbError> {
        Ok(match self {
            Self::File(path, mode) => Connection::File(sqlite::open(path, *mode)?),
            Self::Server(server, runtime) => Connection::Server(postgres::Connection::open(server, runtime)?),
        })
    }
}

impl Connection {
    fn begin(&mut self, mode: Mode) -> Result<(), Trouble> {
        match self {
            Self::File(connection) => sqlite::begin(connection, mode),
            Self::Server(connection) => connection.begin(mode),
        }
    }

    fn commit(&mut self) -> Result<(), Trouble> {
        match self {
            Self::File(connection) => sqlite::batch(connection, "COMMIT"),
            Self::Server(connection) => connection.batch("COMMIT"),
        }
    }

    /// Where this fails the connection is not good any more, or there is nothing to undo.
    fn roll_back(&mut self) {
        _ = match self {
            Self::File(connection) => sqlite::batch(connection, "ROLLBACK"),
            Self::Server(connection) => connection.batch("ROLLBACK"),
        };
    }

    fn is_good(&self) -> bool {
        match self {
            Self::File(connection) => connection.is_autocommit(),
            Self::Server(connection) => !connection.is_closed(),
        }
    }

    pub(super) fn execute(&mut self, sql: &'static str, params: &[Value]) -> Result<u64, Trouble> {
        match self {
            Self::File(connection) => sqlite::execute(connection, sql, params),
            Self::Server(connection) => connection.execute(sql, params),
        }
    }

    pub(super) fn query(&mut self, sql: &'static str, params: &[Value]) -> Result<Vec<Vec<Value>>, Trouble> {
        match self {
            Self::File(connection) => sqlite::query(connection, sql, params),
            Self::Server(connection) => connection.query(sql, params),
        }
    }

    /// Statements of the schema, whose types have other names in each database.
    pub(super) fn define(&mut self, sql: &str) -> Result<(), Trouble> {
        match self {
            Self::File(connection) => sqlite::batch(connection, &sqlite::dialect(sql)),
            Self::Server(connection) => connection.batch(&postgres::dialect(sql)),
        }
    }
}

impl From<Trouble> for DbError {
    fn from(trouble: Trouble) -> Self {
        match trouble {
            Trouble::Conflict => Self::Away("too many changes at the same time".into()),
            Trouble::Other(error) => error,
        }
    }
}

impl fmt::Debug for Pool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pool").field("free", &self.free.available_permits()).finish_non_exhaustive()
    }
}

/// How often a transaction is tried. Each time one of those in its way has come to its end.
const ATTEMPTS: u64 = 20;
