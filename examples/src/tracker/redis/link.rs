//! The way to Redis: one connection that all requests share. After a loss there is none, until somebody makes a new one.

use std::{
    io,
    net::IpAddr,
    sync::{
        Mutex,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use redis::{
    AsyncConnectionConfig, Client, ConnectionAddr, ErrorKind, FromRedisValue, Pipeline, RedisResult,
    aio::MultiplexedConnection,
};

use crate::tracker::lock;

/// The way to Redis. Nobody waits for it: what is asked while there is none fails at once.
pub(super) struct Link {
    client: Client,
    current: Mutex<Option<Connection>>,
    made: AtomicU64,
}

/// One connection; a clone is the same one.
#[derive(Clone)]
pub(super) struct Connection {
    number: u64,
    connection: MultiplexedConnection,
}

impl Link {
    pub(super) fn new(url: &str) -> RedisResult<Self> {
        let client = Client::open(url)?;
        // The key of identifiers and everybody's address go over this line, in clear.
        let near = match client.get_connection_info().addr() {
            ConnectionAddr::Tcp(host, _) => {
                host == "localhost" || host.parse().is_ok_and(|ip: IpAddr| ip.is_loopback())
            }
            ConnectionAddr::Unix(_) => true,
            _ => false,
        };
        if !near {
            return Err((ErrorKind::InvalidClientConfig, "a Redis is spoken to on this machine only").into());
        }
        Ok(Self { client, current: Mutex::default(), made: AtomicU64::new(0) })
    }

    /// A new connection. Requests use it from [`set`](Self::set) on.
    pub(super) async fn connect(&self) -> RedisResult<Connection> {
        let config =
            AsyncConnectionConfig::new().set_connection_timeout(Some(PATIENCE)).set_response_timeout(Some(PATIENCE));
        let connection = self.client.get_multiplexed_async_connection_with_config(&config).await?;
        Ok(Connection { number: self.made.fetch_add(1, Ordering::Relaxed), connection })
    }

    /// The connection that is in use.
    pub(super) fn current(&self) -> Option<Connection> {
        lock(&self.current).clone()
    }

    pub(super) fn set(&self, connection: Connection) {
        *lock(&self.current) = Some(connection);
    }

    pub(super) async fn run<T: FromRedisValue>(&self, pipe: &Pipeline) -> RedisResult<T> {
        let connection = self.current().ok_or_else(|| io::Error::from(io::ErrorKind::NotConnected))?;
        self.run_over(&connection, pipe).await
    }

    pub(super) async fn run_over<T: FromRedisValue>(&self, connection: &Connection, pipe: &Pipeline) -> RedisResult<T> {
        let answer = pipe.query_async(&mut connection.connection.clone()).await;
        if answer.as_ref().is_err_and(|error| error.is_io_error() || error.is_unrecoverable_error()) {
            // Also where only time ran out: a connection may be dead, and nobody says so.
            _ = lock(&self.current).take_if(|current| current.number == connection.number);
        }
        answer
    }
}

/// For one answer of Redis.
const PATIENCE: Duration = Duration::from_secs(2);
