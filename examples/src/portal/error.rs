//! Why the Portal does not do what it is asked.

use std::{borrow::Cow, time::Duration};

use ppsp_auth::oauth::{OauthError, OauthErrorCode};

use super::db::DbError;

/// A refusal, as who asked is told.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum Refusal {
    /// What was sent makes no sense.
    #[error("{0}")]
    Invalid(Cow<'static, str>),
    /// Nobody is signed in, or not as far as needed.
    #[error("{0}")]
    NotSignedIn(&'static str),
    /// Whoever it is may not do this.
    #[error("{0}")]
    Forbidden(&'static str),
    /// It is not there, or not for who asks.
    #[error("{0}")]
    NotFound(&'static str),
    /// It contradicts what is there.
    #[error("{0}")]
    Conflict(&'static str),
    /// Too fast; later again.
    #[error("too many attempts: wait {} s", seconds(*.0))]
    Wait(Duration),
    /// The database is away; later again.
    #[error("the Portal cannot reach its database; try again later")]
    Away(String),
    /// Our fault. The text is for the log, not for who asked.
    #[error("the Portal has made a mistake; its log says more")]
    Fault(String),
}

impl Refusal {
    /// With a sentence.
    pub fn invalid(why: impl Into<Cow<'static, str>>) -> Self {
        Self::Invalid(why.into())
    }

    /// The code, for programs.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Invalid(_) => "invalid_request",
            Self::NotSignedIn(_) => "not_signed_in",
            Self::Forbidden(_) => "forbidden",
            Self::NotFound(_) => "not_found",
            Self::Conflict(_) => "conflict",
            Self::Wait(_) => "slow_down",
            Self::Away(_) => "temporarily_unavailable",
            Self::Fault(_) => "server_error",
        }
    }

    /// The HTTP status.
    pub const fn status(&self) -> u16 {
        match self {
            Self::Invalid(_) => 400,
            Self::NotSignedIn(_) => 401,
            Self::Forbidden(_) => 403,
            Self::NotFound(_) => 404,
            Self::Conflict(_) => 409,
            Self::Wait(_) => 429,
            Self::Away(_) => 503,
            Self::Fault(_) => 500,
        }
    }

    /// After how many seconds another attempt makes sense, where it does.
    pub fn retry_after(&self) -> Option<u64> {
        match self {
            Self::Wait(wait) => Some(seconds(*wait)),
            Self::Away(_) => Some(5),
            _ => None,
        }
    }

    /// What goes to the log and nowhere else.
    pub fn inner(&self) -> Option<&str> {
        if let Self::Away(why) | Self::Fault(why) = self { Some(why) } else { None }
    }
}

impl From<DbError> for Refusal {
    fn from(error: DbError) -> Self {
        match error {
            DbError::Away(why) => Self::Away(why),
            error => Self::Fault(error.to_string()),
        }
    }
}

/// The same where an OAuth endpoint was asked (RFC 6749 §5.2).
impl From<Refusal> for OauthError {
    fn from(refusal: Refusal) -> Self {
        let code = match &refusal {
            Refusal::Invalid(_) => OauthErrorCode::InvalidRequest,
            Refusal::Wait(_) | Refusal::Away(_) => OauthErrorCode::TemporarilyUnavailable,
            refusal => OauthErrorCode::Other(refusal.code().into()),
        };
        Self::new(code, &refusal.to_string())
    }
}

/// Whole seconds, rounded up.
fn seconds(wait: Duration) -> u64 {
    wait.as_secs() + u64::from(wait.subsec_nanos() > 0)
}
