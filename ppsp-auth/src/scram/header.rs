//! SCRAM in HTTP headers (RFC 7804 §5): the messages travel in `data`, in base64, and the server's state in `sid`.

use alloc::{
    string::{String, ToString},
    vec::Vec,
};
use core::fmt;

use data_encoding::BASE64;

use super::{MAX_MESSAGE_LEN, ScramError};
use crate::http_auth::{Auth, HttpAuthError, Params};

/// An `Authorization` header. `Debug` does not show the messages: who has an account's stored key makes of a proof what
/// is needed to sign in as its user (RFC 5802 §9).
#[derive(Clone, Eq, PartialEq)]
pub enum Authorization {
    /// With the client-first message.
    First {
        /// Where the client wants to sign in, if it says so.
        realm: Option<String>,
        /// The message.
        message: String,
    },
    /// With the client-final message.
    Final {
        /// What the server sent with its challenge.
        sid: String,
        /// The message.
        message: String,
    },
}

impl Authorization {
    /// Reads a header.
    pub fn read(header: &str) -> Result<Self, ScramError> {
        let auth = Auth::read(header)?;
        if !auth.is(SCHEME) {
            return Err(ScramError::OtherScheme);
        }
        let message = message(auth.get("data"))?;
        Ok(match auth.get("sid") {
            Some(sid) => Self::Final { sid: sid.to_string(), message },
            None => Self::First { realm: auth.get("realm").map(str::to_string), message },
        })
    }
}

impl fmt::Display for Authorization {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let params = match self {
            Self::First { realm, message } => with_realm(realm.as_deref()).bare("data", data(message)),
            Self::Final { sid, message } => Params::default().bare("sid", sid).bare("data", data(message)),
        };
        Auth::new(SCHEME, params).fmt(f)
    }
}

impl fmt::Debug for Authorization {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::First { realm, .. } => f.debug_struct("First").field("realm", realm).finish_non_exhaustive(),
            Self::Final { .. } => f.debug_struct("Final").finish_non_exhaustive(),
        }
    }
}

/// A `WWW-Authenticate` header.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Challenge {
    /// The invitation: without a message.
    Start {
        /// Where one signs in.
        realm: Option<String>,
    },
    /// With the server-first message.
    First {
        /// What the client sends back with its answer.
        sid: String,
        /// The message.
        message: String,
    },
}

impl Challenge {
    /// Reads the first challenge for SCRAM-SHA-256 in a header. An answer to a message comes before an invitation.
    ///
    /// # Errors
    ///
    /// [`ScramError::OtherScheme`] where there is none.
    pub fn read(header: &str) -> Result<Self, ScramError> {
        let list: Vec<_> = Auth::read_list(header)?.into_iter().filter(|auth| auth.is(SCHEME)).collect();
        if let Some((auth, sid)) = list.iter().find_map(|auth| Some((auth, auth.get("sid")?))) {
            return Ok(Self::First { sid: sid.to_string(), message: message(auth.get("data"))? });
        }
        let auth = list.first().ok_or(ScramError::OtherScheme)?;
        Ok(Self::Start { realm: auth.get("realm").map(str::to_string) })
    }
}

impl fmt::Display for Challenge {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let params = match self {
            Self::Start { realm } => with_realm(realm.as_deref()),
            Self::First { sid, message } => Params::default().bare("sid", sid).bare("data", data(message)),
        };
        Auth::new(SCHEME, params).fmt(f)
    }
}

/// An `Authentication-Info` header, with the server-final message.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct AuthenticationInfo {
    /// As the client sent it.
    pub sid: String,
    /// The message.
    pub message: String,
}

impl AuthenticationInfo {
    /// Reads a header.
    pub fn read(header: &str) -> Result<Self, ScramError> {
        let params = Params::read(header)?;
        let sid = params.get("sid").ok_or(HttpAuthError::Malformed)?.to_string();
        Ok(Self { sid, message: message(params.get("data"))? })
    }
}

impl fmt::Display for AuthenticationInfo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Params::default().bare("sid", &self.sid).bare("data", data(&self.message)).fmt(f)
    }
}

const SCHEME: &str = "SCRAM-SHA-256";

fn with_realm(realm: Option<&str>) -> Params<'_> {
    realm.into_iter().fold(Params::default(), |params, realm| params.quoted("realm", realm))
}

fn data(message: &str) -> String {
    BASE64.encode(message.as_bytes())
}

fn message(data: Option<&str>) -> Result<String, ScramError> {
    let data = data.ok_or(HttpAuthError::Malformed)?;
    if data.len() > MAX_MESSAGE_LEN.div_ceil(3) * 4 {
        return Err(ScramError::TooLong);
    }
    let bytes = BASE64.decode(data.as_bytes()).map_err(|_| ScramError::Malformed)?;
    let text = core::str::from_utf8(&bytes).map_err(|_| ScramError::Malformed)?;
    // The examples of RFC 7804 have a line end in their base64 that is not in their messages.
    Ok(text.trim_end_matches('\n').to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    // RFC 7804 §5, its example from the first to the last header.
    #[test]
    fn example() {
        let challenges = r#"Digest realm="realm1@example.com", Digest realm="realm2@example.com",
            Digest realm="realm3@example.com", SCRAM-SHA-256 realm="realm3@example.com",
            SCRAM-SHA-256 realm="testrealm@example.com""#
            .replace('\n', " ");
        let start = Challenge::Start { realm: Some("realm3@example.com".into()) };
        assert_eq!(Challenge::read(&challenges), Ok(start));

        let first = r#"SCRAM-SHA-256 realm="testrealm@example.com", data=biwsbj11c2VyLHI9ck9wck5HZndFYmVSV2diTkVrcU8K"#;
        let realm = Some("testrealm@example.com".into());
        let message = "n,,n=user,r=rOprNGfwEbeRWgbNEkqO".into();
        assert_eq!(Authorization::read(first), Ok(Authorization::First { realm, message }));

        let sid = String::from("AAAABBBBCCCCDDDD");
        let challenge = "SCRAM-SHA-256 sid=AAAABBBBCCCCDDDD, data=cj1yT3ByTkdmd0ViZVJXZ2JORWtxTyVodllEcFdVYTJSYVRDQWZ1\
            eEZJ\
            bGopaE5sRixzPVcyMlphSjBTTlk3c29Fc1VFamI2Z1E9PSxpPTQwOTYK";
        let message = "r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096".into();
        assert_eq!(Challenge::read(challenge), Ok(Challenge::First { sid: sid.clone(), message }));

        let last = "SCRAM-SHA-256 sid=AAAABBBBCCCCDDDD, data=Yz1iaXdzLHI9ck9wck5HZndFYmVSV2diTkVrcU8laHZZRHBXVWEyUmFUQ\
            0FmdXhGSWxqKWhObEYscD1kSHpiWmFwV0lrNGpVaE4rVXRlOXl0YWc5empmTUhnc3FtbWl6N0FuZFZRPQo=";
        let message = "c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF,\
            p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ="
            .into();
        let last = Authorization::read(last).unwrap();
        assert_eq!(last, Authorization::Final { sid: sid.clone(), message });
        assert_eq!(alloc::format!("{last:?}"), "Final { .. }");

        let info = "sid=AAAABBBBCCCCDDDD, data=dj02cnJpVFJCaTIzV3BSUi93dHVwK21NaFVaVW4vZEI1bkxUSlJzamw5NUc0PQo=";
        let message = "v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=".into();
        assert_eq!(AuthenticationInfo::read(info), Ok(AuthenticationInfo { sid, message }));
    }

    #[test]
    fn refuses() {
        assert_eq!(Authorization::read("Bearer abc"), Err(ScramError::OtherScheme));
        assert_eq!(Challenge::read("Digest realm=a"), Err(ScramError::OtherScheme));
        assert_eq!(Authorization::read("SCRAM-SHA-256 realm=a"), Err(HttpAuthError::Malformed.into()));
        assert_eq!(Authorization::read("SCRAM-SHA-256 data=AAA"), Err(ScramError::Malformed));
        assert_eq!(Authorization::read("SCRAM-SHA-256 data=/w=="), Err(ScramError::Malformed));
        let long = alloc::format!("SCRAM-SHA-256 data={}", "A".repeat(1372));
        assert_eq!(Authorization::read(&long), Err(ScramError::TooLong));
        assert_eq!(AuthenticationInfo::read("data=biws"), Err(HttpAuthError::Malformed.into()));
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(realm in "\\PC{0,30}", sid in "[A-Za-z0-9_-]{1,40}", message in "\\PC{0,60}") {
            for realm in [None, Some(realm)] {
                let first = Authorization::First { realm: realm.clone(), message: message.clone() };
                prop_assert_eq!(Authorization::read(&first.to_string()), Ok(first));
                let start = Challenge::Start { realm };
                prop_assert_eq!(Challenge::read(&alloc::format!("Bearer, {start}")), Ok(start));
            }
            let last = Authorization::Final { sid: sid.clone(), message: message.clone() };
            prop_assert_eq!(Authorization::read(&last.to_string()), Ok(last));
            let challenge = Challenge::First { sid: sid.clone(), message: message.clone() };
            prop_assert_eq!(Challenge::read(&challenge.to_string()), Ok(challenge));
            let info = AuthenticationInfo { sid, message };
            prop_assert_eq!(AuthenticationInfo::read(&info.to_string()), Ok(info));
        }
    }
}
