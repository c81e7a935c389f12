//! Where logins are kept: a file for each user of each Portal, which only its owner can read.

use std::{
    fs::{self, DirBuilder, File, OpenOptions},
    io::{self, ErrorKind},
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::{Path, PathBuf},
    thread::sleep,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use ppsp_auth::token::TokenText;
use rustix::fs::{FlockOperation, flock};
use serde::{Deserialize, Serialize};

use super::AccountError;
use crate::http::write_private;

/// What a login gave.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct Login {
    /// The Portal: `https://host:port`.
    pub portal: String,
    /// Its fingerprint, where the user vouched for it and not an authority.
    pub pin: Option<String>,
    /// Who signed in.
    pub user: String,
    /// viewer, publisher or admin.
    pub role: String,
    /// The client identifier.
    pub client_id: String,
    /// The session, as the Portal lists it.
    pub session: String,
    /// When that was, in milliseconds of Unix time, but later than any login before it, whatever the clock did; the newest one
    /// is meant where no Portal is named.
    pub since: u64,
    /// Good once, for the next tokens.
    #[serde(with = "as_text")]
    pub refresh_token: TokenText,
    /// For requests to the Portal.
    #[serde(with = "as_text")]
    pub access_token: TokenText,
    /// The Unix second in which the access token expires, by our clock.
    pub expires: u64,
}

/// Tokens are shown to nobody but this file.
mod as_text {
    use super::TokenText;
    use serde::{Deserialize, Deserializer, Serializer};

    pub(super) fn serialize<S: Serializer>(token: &TokenText, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(token.as_str())
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<TokenText, D::Error> {
        String::deserialize(deserializer).map(TokenText::new)
    }
}

/// The directory of logins.
#[derive(Clone, Debug)]
pub struct Logins {
    dir: PathBuf,
}

/// Held while a login is read, used up and written again: of two commands at a time, the second one waits.
#[derive(Debug)]
pub struct Lock {
    _file: File,
}

impl Logins {
    /// In the user's data directory: `$XDG_DATA_HOME/ppsp/logins`, else `~/.local/share/ppsp/logins`.
    ///
    /// # Errors
    ///
    /// [`AccountError::File`] where there is no home directory.
    pub fn of_user() -> Result<Self, AccountError> {
        let set = |name| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
        let data = set("XDG_DATA_HOME").or_else(|| Some(set("HOME")?.join(".local/share")));
        let data = data.ok_or_else(|| {
            let why = "there is no home directory to keep logins in: set HOME or XDG_DATA_HOME";
            AccountError::File("~".into(), why.to_owned())
        })?;
        Ok(Self { dir: data.join("ppsp/logins") })
    }

    /// The login of this user at this Portal.
    ///
    /// # Errors
    ///
    /// [`AccountError::File`].
    pub fn of(&self, portal: &str, user: &str) -> Result<Option<Login>, AccountError> {
        self.read(&self.file(portal, user))
    }

    /// The newest login at this Portal.
    ///
    /// # Errors
    ///
    /// [`AccountError::File`].
    pub fn at(&self, portal: &str) -> Result<Option<Login>, AccountError> {
        Ok(self.all()?.into_iter().find(|login| login.portal == portal))
    }

    /// All of them, the newest first.
    ///
    /// # Errors
    ///
    /// [`AccountError::File`].
    pub fn all(&self) -> Result<Vec<Login>, AccountError> {
        let entries = match fs::read_dir(&self.dir) {
            Ok(entries) => entries,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(failed(&self.dir, &error)),
        };
        let mut all = Vec::new();
        for entry in entries {
            let path = entry.map_err(|error| failed(&self.dir, &error))?.path();
            if path.extension().is_some_and(|extension| extension == "json") {
                all.extend(self.read(&path)?);
            }
        }
        all.sort_by(|a, b| b.since.cmp(&a.since).then_with(|| a.portal.cmp(&b.portal)));
        Ok(all)
    }

    /// The time of a login that happens now: later than all that can be read.
    #[must_use]
    pub fn now(&self) -> u64 {
        let newest = self.all().unwrap_or_default().first().map_or(0, |login| login.since);
        unix_millis().max(newest.saturating_add(1))
    }

    /// Keeps a login, in place of an earlier one of the same user at the same Portal.
    ///
    /// # Errors
    ///
    /// [`AccountError::File`].
    pub fn keep(&self, login: &Login) -> Result<(), AccountError> {
        self.make_dir()?;
        let file = self.file(&login.portal, &login.user);
        let text = zeroize::Zeroizing::new(serde_json::to_string_pretty(login).map_err(AccountError::strange)?);
        write_private(&file, text.as_bytes()).map_err(|error| failed(&file, &error))
    }

    /// Forgets the login of this user at this Portal.
    ///
    /// # Errors
    ///
    /// [`AccountError::File`].
    pub fn forget(&self, portal: &str, user: &str) -> Result<(), AccountError> {
        let file = self.file(portal, user);
        match fs::remove_file(&file) {
            Err(error) if error.kind() != ErrorKind::NotFound => Err(failed(&file, &error)),
            _ => Ok(()),
        }
    }

    /// Waits until no other process works with this login, but not for ever. Blocks the thread.
    ///
    /// # Errors
    ///
    /// [`AccountError::File`].
    pub fn lock(&self, portal: &str, user: &str) -> Result<Lock, AccountError> {
        self.make_dir()?;
        let path = self.file(portal, user).with_extension("lock");
        let file = OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(&path);
        let file = file.map_err(|error| failed(&path, &error))?;
        let end = Instant::now() + PATIENCE;
        loop {
            match flock(&file, FlockOperation::NonBlockingLockExclusive) {
                Ok(()) => return Ok(Lock { _file: file }),
                Err(rustix::io::Errno::WOULDBLOCK) if Instant::now() < end => sleep(PAUSE),
                Err(rustix::io::Errno::WOULDBLOCK) => {
                    let why = "another ppsp works with this login, and does not come to an end".to_owned();
                    return Err(AccountError::File(path, why));
                }
                Err(error) => return Err(failed(&path, &error.into())),
            }
        }
    }

    fn make_dir(&self) -> Result<(), AccountError> {
        let made = DirBuilder::new().recursive(true).mode(0o700).create(&self.dir);
        made.map_err(|error| failed(&self.dir, &error))
    }

    fn read(&self, path: &Path) -> Result<Option<Login>, AccountError> {
        let text = match fs::read_to_string(path) {
            Ok(text) => zeroize::Zeroizing::new(text),
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(failed(path, &error)),
        };
        let bad =
            |error| AccountError::File(path.to_owned(), format!("not a login ({error}): remove it, and sign in again"));
        serde_json::from_str(&text).map(Some).map_err(bad)
    }

    /// A name that says which Portal it is about and that every file system takes.
    fn file(&self, portal: &str, user: &str) -> PathBuf {
        let plain = |c: char| if c.is_ascii_alphanumeric() || matches!(c, '.' | '-') { c } else { '_' };
        let host = portal.strip_prefix("https://").unwrap_or(portal);
        let host: String = host.chars().map(plain).collect();
        // Names of users have no other characters; a `+` stands in neither part.
        self.dir.join(format!("{host}+{user}.json"))
    }
}

fn failed(path: &Path, error: &io::Error) -> AccountError {
    AccountError::File(path.to_owned(), error.to_string())
}

/// A renewal takes a request to the Portal.
const PATIENCE: Duration = Duration::from_secs(25);
const PAUSE: Duration = Duration::from_millis(20);

/// The Unix second.
pub(super) fn unix_now() -> u64 {
    unix_millis() / 1000
}

fn unix_millis() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    fn login(portal: &str, since: u64) -> Login {
        Login {
            portal: portal.into(),
            pin: None,
            user: "alice".into(),
            role: "viewer".into(),
            client_id: "c".into(),
            session: "s".into(),
            since,
            refresh_token: TokenText::new("refresh"),
            access_token: TokenText::new("access"),
            expires: 5,
        }
    }

    #[test]
    fn a_login_is_kept_for_its_owner_alone() {
        let home = tempfile::tempdir().unwrap();
        let logins = Logins { dir: home.path().join("ppsp/logins") };
        assert!(logins.all().unwrap().is_empty() && logins.at("https://a:1").unwrap().is_none());
        for (portal, since) in [("https://a:1", 7), ("https://[::1]:2", 9), ("https://a:1", 8)] {
            let _lock = logins.lock(portal, "alice").unwrap();
            logins.keep(&login(portal, since)).unwrap();
        }
        let all: Vec<_> = logins.all().unwrap().into_iter().map(|login| (login.portal, login.since)).collect();
        assert_eq!(all, [("https://[::1]:2".to_owned(), 9), ("https://a:1".to_owned(), 8)]);
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!((mode(&logins.file("https://a:1", "alice")), mode(&logins.dir)), (0o600, 0o700));
        assert!(!format!("{:?}", logins.at("https://a:1").unwrap()).contains("refresh\""));
        // Of two logins within the same tick of the clock, and where it was set back, the second one is newer.
        assert!(logins.now() > 9);
        let ahead = unix_millis() + 3_600_000;
        logins.keep(&login("https://c:1", ahead)).unwrap();
        assert_eq!(logins.now(), ahead + 1);
        logins.forget("https://c:1", "alice").unwrap();
        // Another user at the same Portal is another login.
        logins.keep(&Login { user: "bob".into(), ..login("https://a:1", 6) }).unwrap();
        assert_eq!(logins.at("https://a:1").unwrap().unwrap().user, "alice");
        assert_eq!(logins.of("https://a:1", "bob").unwrap().unwrap().since, 6);
        logins.forget("https://a:1", "alice").unwrap();
        logins.forget("https://a:1", "alice").unwrap();
        assert_eq!(logins.at("https://a:1").unwrap().unwrap().user, "bob");
        fs::write(logins.file("https://b", "alice"), "{").unwrap();
        let said = logins.of("https://b", "alice").unwrap_err().to_string();
        assert!(said.contains("sign in again") && said.contains("b+alice.json"), "{said}");
    }
}
