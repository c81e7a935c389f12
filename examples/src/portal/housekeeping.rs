//! What has to be done from time to time, whoever asks: forgetting, and keys.

use super::{
    Portal, Refusal,
    db::{DbError, audit, logins, sessions, trackers},
    sessions::IDLE,
    unix_now,
};

impl Portal {
    /// Forgets what is over, reads the keys again and makes a new one where that is due. To be called every few minutes by
    /// each process of the Portal.
    ///
    /// # Errors
    ///
    /// Those of the database.
    pub async fn keep_house(&self) -> Result<(), Refusal> {
        let now = unix_now();
        self.sweep_assertions(now);
        let swept = self.db().write(move |tx| {
            logins::forget(tx, now)?;
            // An access token may outlive its session's last refresh; the session is still needed to say that it is over.
            sessions::forget(tx, now.saturating_sub(2 * IDLE))?;
            trackers::forget_pending(tx, now.saturating_sub(7 * DAY))?;
            audit::forget(tx, now.saturating_sub(AUDIT_DAYS * DAY), MAX_AUDIT)?;
            Ok::<_, DbError>(())
        });
        swept.await?;
        self.0.ring.refresh(self.db(), now).await
    }

    /// Whether the database answers.
    ///
    /// # Errors
    ///
    /// Those of the database.
    pub async fn ready(&self) -> Result<(), Refusal> {
        self.db().read(|tx| super::db::settings::find(tx, super::Setting::Key)).await?;
        Ok(())
    }

    /// What was changed, by whom and when: the newest first, older than the entry of this identifier, at most
    /// [`audit::PAGE`]; of this user and of this kind alone, where they are not empty.
    ///
    /// # Errors
    ///
    /// [`Refusal::Forbidden`], and those of the database.
    pub async fn audit(
        &self,
        caller: &super::Caller,
        who: &str,
        what: &str,
        before: &str,
    ) -> Result<Vec<audit::Entry>, Refusal> {
        caller.must_be_admin()?;
        let [who, what, before] = [who, what, before].map(str::to_owned);
        Ok(self.db().read(move |tx| audit::list(tx, &who, &what, &before, audit::PAGE)).await?)
    }
}

const DAY: u64 = 24 * 3600;

/// How long the audit log goes back, in days, as far as it fits.
pub const AUDIT_DAYS: u64 = 365;

/// The most entries of the audit log.
pub const MAX_AUDIT: u64 = 1_000_000;
