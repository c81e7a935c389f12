//! PostgreSQL. The client is asynchronous and transactions are closures that are not: a thread that may wait drives it.

use std::{collections::HashMap, error::Error, net::IpAddr, time::Duration};

use bytes::BytesMut;
use tokio::runtime::Handle;
use tokio_postgres::{
    Client, Config, NoTls, Statement,
    config::{Host, SslMode},
    error::SqlState,
    types::{FromSql, IsNull, ToSql, Type, to_sql_checked},
};

use tokio_postgres_rustls::MakeRustlsConnect;

use super::{
    DbError,
    pool::{Mode, Trouble},
    value::Value,
};
use crate::http::{Pin, Trust};

/// A connection and the statements that are prepared on it.
pub(super) struct Connection {
    client: Client,
    statements: HashMap<&'static str, Statement>,
    runtime: Handle,
}

/// A PostgreSQL server, and how it is known.
#[derive(Clone, Debug)]
pub struct Server {
    config: Config,
    /// None where it is so near that nobody is in between.
    trust: Option<Trust>,
}

impl Server {
    /// Reads `postgres://…`.
    pub(super) fn read(url: &str, pin: Option<Pin>) -> Result<Self, DbError> {
        if !["postgres://", "postgresql://"].iter().any(|scheme| url.starts_with(scheme)) {
            return Err(DbError::Address("the address of a database begins with postgres://"));
        }
        let mut config: Config =
            url.parse().map_err(|_| DbError::Address("this is no address of a PostgreSQL server"))?;
        // Verifiers and keys go over this line.
        let near = |host: &Host| match host {
            Host::Unix(_) => true,
            Host::Tcp(name) => name == "localhost" || name.parse().is_ok_and(|ip: IpAddr| ip.is_loopback()),
        };
        let near = config.get_hosts().iter().all(near)
            && config.get_hostaddrs().iter().all(IpAddr::is_loopback)
            && config.get_hosts().len() + config.get_hostaddrs().len() > 0;
        if !near && config.get_ssl_mode() == SslMode::Disable {
            return Err(DbError::Address("a PostgreSQL server on another machine is spoken to with TLS"));
        }
        let clear = near && config.get_ssl_mode() != SslMode::Require && pin.is_none();
        let trust = (!clear).then(|| pin.map_or(Trust::System, Trust::Pin));
        config.ssl_mode(if clear { SslMode::Disable } else { SslMode::Require });
        if config.get_connect_timeout().is_none() {
            config.connect_timeout(Duration::from_secs(5));
        }
        // A server that is gone without a word is noticed: else requests would wait for it for hours.
        if config.get_tcp_user_timeout().is_none() {
            config.tcp_user_timeout(Duration::from_secs(15));
        }
        config
            .keepalives_idle(Duration::from_secs(10))
            .keepalives_interval(Duration::from_secs(5))
            .keepalives_retries(3);
        config.application_name("ppsp portal");
        Ok(Self { config, trust })
    }

    async fn connect(&self, runtime: &Handle) -> Result<Client, DbError> {
        let away = |error: tokio_postgres::Error| DbError::Away(words(&error));
        // A connection ends with its client, or says there why it ended.
        let Some(trust) = self.trust else {
            let (client, connection) = self.config.connect(NoTls).await.map_err(away)?;
            runtime.spawn(connection);
            return Ok(client);
        };
        let (tls, _) = trust.client(None).map_err(|error| DbError::Away(error.to_string()))?;
        let mut tls = (*tls).clone();
        tls.alpn_protocols.clear();
        let (client, connection) = self.config.connect(MakeRustlsConnect::new(tls)).await.map_err(away)?;
        runtime.spawn(connection);
        Ok(client)
    }
}

impl Connection {
    pub(super) fn open(server: &Server, runtime: &Handle) -> Result<Self, DbError> {
        let connect = async {
            let client = server.connect(runtime).await?;
            // Nobody waits for an answer longer than this.
            let limits = "SET statement_timeout = '15s'; SET idle_in_transaction_session_timeout = '60s'";
            client.batch_execute(limits).await.map_err(|error| DbError::Away(words(&error)))?;
            Ok::<_, DbError>(client)
        };
        let client = runtime.block_on(connect)?;
        Ok(Self { client, statements: HashMap::new(), runtime: runtime.clone() })
    }

    pub(super) fn is_closed(&self) -> bool {
        self.client.is_closed()
    }

    pub(super) fn begin(&self, mode: Mode) -> Result<(), Trouble> {
        self.batch(match mode {
            Mode::Read => "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY",
            Mode::Write => "BEGIN ISOLATION LEVEL SERIALIZABLE",
            // Who comes second must see what the first one made, after it has waited for it. The number is the lock's name.
            Mode::Migrate => "BEGIN ISOLATION LEVEL READ COMMITTED; SELECT pg_advisory_xact_lock(7846757400)",
        })
    }

    pub(super) fn batch(&self, sql: &str) -> Result<(), Trouble> {
        self.runtime.block_on(self.client.batch_execute(sql)).map_err(|error| trouble(&error))
    }

    pub(super) fn execute(&mut self, sql: &'static str, params: &[Value]) -> Result<u64, Trouble> {
        let statement = self.prepared(sql)?;
        let params: Vec<_> = params.iter().map(|param| param as &(dyn ToSql + Sync)).collect();
        self.runtime.block_on(self.client.execute(&statement, &params)).map_err(|error| trouble(&error))
    }

    pub(super) fn query(&mut self, sql: &'static str, params: &[Value]) -> Result<Vec<Vec<Value>>, Trouble> {
        let statement = self.prepared(sql)?;
        let params: Vec<_> = params.iter().map(|param| param as &(dyn ToSql + Sync)).collect();
        let rows = self.runtime.block_on(self.client.query(&statement, &params)).map_err(|error| trouble(&error))?;
        let values = |row: tokio_postgres::Row| (0..row.len()).map(|i| row.try_get(i)).collect::<Result<_, _>>();
        rows.into_iter().map(values).collect::<Result<_, _>>().map_err(|error| trouble(&error))
    }

    fn prepared(&mut self, sql: &'static str) -> Result<Statement, Trouble> {
        if let Some(statement) = self.statements.get(sql) {
            return Ok(statement.clone());
        }
        let statement = self.runtime.block_on(self.client.prepare(sql)).map_err(|error| trouble(&error))?;
        self.statements.insert(sql, statement.clone());
        Ok(statement)
    }
}

impl std::fmt::Debug for Connection {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Connection").finish_non_exhaustive()
    }
}

/// The names of types. The order of texts is that of their bytes, as in SQLite, whatever language the server is set to.
pub(super) fn dialect(sql: &str) -> String {
    sql.replace("{text}", r#"TEXT COLLATE "C""#).replace("{bytes}", "BYTEA")
}

fn trouble(error: &tokio_postgres::Error) -> Trouble {
    match error.code() {
        Some(&SqlState::T_R_SERIALIZATION_FAILURE | &SqlState::T_R_DEADLOCK_DETECTED) => Trouble::Conflict,
        // Of two that insert the same key one may be told so before it is told that it has to run again.
        Some(&SqlState::UNIQUE_VIOLATION) => Trouble::Conflict,
        Some(code)
            if code.code().starts_with("57") || code.code().starts_with("08") || code.code().starts_with("53") =>
        {
            Trouble::Other(DbError::Away(words(error)))
        }
        Some(_) => Trouble::Other(DbError::Refused(words(error))),
        None => Trouble::Other(DbError::Away(words(error))),
    }
}

/// The server's sentence, without the details: values may stand in those.
fn words(error: &tokio_postgres::Error) -> String {
    error.as_db_error().map_or_else(
        || match error.source() {
            Some(source) => format!("{error}: {source}"),
            None => error.to_string(),
        },
        |error| error.message().to_owned(),
    )
}

impl ToSql for Value {
    fn to_sql(&self, ty: &Type, out: &mut BytesMut) -> Result<IsNull, Box<dyn Error + Sync + Send>> {
        match self {
            Self::Null => Ok(IsNull::Yes),
            Self::Integer(value) => value.to_sql_checked(ty, out),
            Self::Text(text) => text.to_sql_checked(ty, out),
            Self::Bytes(bytes) => bytes.to_sql_checked(ty, out),
        }
    }

    fn accepts(_: &Type) -> bool {
        true
    }

    to_sql_checked!();
}

impl<'a> FromSql<'a> for Value {
    fn from_sql(ty: &Type, raw: &'a [u8]) -> Result<Self, Box<dyn Error + Sync + Send>> {
        match *ty {
            Type::INT8 => i64::from_sql(ty, raw).map(Self::Integer),
            Type::INT4 => i32::from_sql(ty, raw).map(|value| Self::Integer(value.into())),
            Type::TEXT => String::from_sql(ty, raw).map(Self::Text),
            Type::BYTEA => Vec::from_sql(ty, raw).map(Self::Bytes),
            _ => Err(format!("a column of type {ty}").into()),
        }
    }

    fn from_sql_null(_: &Type) -> Result<Self, Box<dyn Error + Sync + Send>> {
        Ok(Self::Null)
    }

    fn accepts(_: &Type) -> bool {
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses() {
        let tls = |url: &str, pin| Server::read(url, pin).unwrap().trust;
        for near in ["postgres://u:p@localhost/ppsp", "postgresql://127.0.0.1:5433/a", "postgres://u@%2Frun%2Fpg/db"] {
            assert_eq!(tls(near, None), None, "{near}");
        }
        assert_eq!(tls("postgres://db.example.org/a", None), Some(Trust::System));
        assert_eq!(tls("postgres://db.example.org/a", Some(Pin::NONE)), Some(Trust::Pin(Pin::NONE)));
        assert_eq!(tls("postgres://localhost/a?sslmode=require", None), Some(Trust::System));
        for bad in [
            "mysql://localhost/a",
            "postgres://db.example.org/a?sslmode=disable",
            "postgres://[",
            "host=localhost",
            "postgres://localhost/a?hostaddr=192.0.2.1&sslmode=disable",
        ] {
            let error = Server::read(bad, None).unwrap_err().to_string();
            assert!(!error.contains("example"), "{error}");
        }
    }
}
