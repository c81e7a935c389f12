//! The schema, as it grew. A step that was ever released is never changed: what is new is a new step.

use super::{DbError, Tx, params};

/// Brings the schema up to date.
pub(super) fn run(tx: &mut Tx<'_>) -> Result<(), DbError> {
    tx.connection.define("CREATE TABLE IF NOT EXISTS schema_steps (step BIGINT PRIMARY KEY)")?;
    let done = tx.row::<(u64,)>("SELECT COUNT(*) FROM schema_steps", &[])?.map_or(0, |(count,)| count);
    let steps = STEPS.len() as u64;
    if done > steps {
        return Err(DbError::Newer);
    }
    for step in done..steps {
        tx.connection.define(STEPS[step as usize])?;
        tx.execute("INSERT INTO schema_steps (step) VALUES ($1)", params![step])?;
    }
    Ok(())
}

/// Times are Unix seconds; a truth value is 0 or 1.
const STEPS: &[&str] = &["
    CREATE TABLE settings (name {text} PRIMARY KEY, value {bytes} NOT NULL);

    CREATE TABLE users (
        name {text} PRIMARY KEY, role {text} NOT NULL, verifier {text} NOT NULL, banned BIGINT NOT NULL, created BIGINT NOT NULL
    );
    CREATE TABLE user_groups (
        user_name {text} NOT NULL REFERENCES users (name) ON DELETE CASCADE, user_group {text} NOT NULL,
        PRIMARY KEY (user_name, user_group)
    );

    CREATE TABLE sessions (
        id {text} PRIMARY KEY, user_name {text} NOT NULL REFERENCES users (name) ON DELETE CASCADE,
        client {text} NOT NULL UNIQUE, refresh_key {text} NOT NULL UNIQUE, refresh_current {bytes} NOT NULL,
        refresh_previous {bytes}, refresh_rotated BIGINT NOT NULL, refresh_repeated BIGINT NOT NULL,
        created BIGINT NOT NULL, seen BIGINT NOT NULL, revoked BIGINT
    );
    CREATE INDEX sessions_of_user ON sessions (user_name, created);
    CREATE INDEX sessions_by_seen ON sessions (seen);
    CREATE TABLE used_logins (id {bytes} PRIMARY KEY, expires BIGINT NOT NULL);
    CREATE INDEX used_logins_by_expiry ON used_logins (expires);

    CREATE TABLE content (
        id {text} PRIMARY KEY, title {text} NOT NULL, sought {text} NOT NULL,
        publisher {text} NOT NULL REFERENCES users (name), catalogue_group {text} NOT NULL,
        descriptor {bytes} NOT NULL, length BIGINT, created BIGINT NOT NULL
    );
    CREATE INDEX content_of_group ON content (catalogue_group, id);
    CREATE INDEX content_of_publisher ON content (publisher, id);
    CREATE TABLE swarms (
        swarm {text} NOT NULL, content {text} NOT NULL REFERENCES content (id) ON DELETE CASCADE,
        PRIMARY KEY (swarm, content)
    );
    CREATE INDEX swarms_of_content ON swarms (content);
    CREATE TABLE policies (
        who_kind {text} NOT NULL, who {text} NOT NULL, what_kind {text} NOT NULL, what {text} NOT NULL,
        effect {text} NOT NULL, opens BIGINT, closes BIGINT,
        PRIMARY KEY (who_kind, who, what_kind, what)
    );
    CREATE INDEX policies_about ON policies (what_kind, what);

    CREATE TABLE trackers (
        id {text} PRIMARY KEY, url {text} NOT NULL, name {text} NOT NULL, jwk {text} NOT NULL, state {text} NOT NULL,
        created BIGINT NOT NULL
    );
    CREATE TABLE signing_keys (id {text} PRIMARY KEY, seed {bytes} NOT NULL, signs_from BIGINT NOT NULL);

    CREATE TABLE audit (id {text} PRIMARY KEY, at BIGINT NOT NULL, who {text} NOT NULL, what {text} NOT NULL, about {text} NOT NULL);
    CREATE INDEX audit_by_time ON audit (at);
"];
