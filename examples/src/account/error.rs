use std::path::PathBuf;

use bytes::Bytes;
use http::{Response, StatusCode};
use ppsp_auth::scram::ScramError;
use ppsp_core::descriptor::SignatureError;
use serde::Deserialize;

use crate::{
    cli::exit::{Exit, Failure},
    http::{HttpError, TlsError},
};

/// Why something at a Portal does not work.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AccountError {
    /// No answer.
    #[error(transparent)]
    Http(#[from] HttpError),
    /// Nobody is signed in there.
    #[error("nobody is signed in{}; first: ppsp login {} --user NAME", at(.0), .0.as_deref().unwrap_or("https://PORTAL"))]
    NoLogin(Option<String>),
    /// The session is over: it was ended, its user banned or its tokens stolen.
    #[error("the session of {user} at {portal} has ended; again: ppsp login {portal} --user {user}")]
    Ended {
        /// The Portal.
        portal: String,
        /// Who was signed in.
        user: String,
    },
    /// The Portal says no.
    #[error("{message}")]
    Refused {
        /// The HTTP status.
        status: StatusCode,
        /// The Portal's sentence.
        message: String,
    },
    /// An answer that makes no sense.
    #[error("the Portal's answer cannot be used: {0}")]
    Strange(String),
    /// A descriptor that the Portal does not stand for.
    #[error("{0}; nothing in it was believed")]
    Unsigned(SignatureError),
    /// The server knows the password no better than we do: somebody may stand between.
    #[error("the server did not prove that it is the Portal: {0}; nothing was believed")]
    NotProven(ScramError),
    /// The login cannot be kept.
    #[error("{}: {}", .0.display(), .1)]
    File(PathBuf, String),
}

fn at(portal: &Option<String>) -> String {
    portal.as_ref().map(|portal| format!(" at {portal}")).unwrap_or_default()
}

impl AccountError {
    /// What an answer says that is no success.
    pub(super) fn of(answer: &Response<Bytes>) -> Self {
        #[derive(Default, Deserialize)]
        struct Said {
            #[serde(default, alias = "error_description")]
            message: Option<String>,
        }
        let said: Said = serde_json::from_slice(answer.body()).unwrap_or_default();
        let message = said.message.unwrap_or_else(|| format!("the Portal answers with status {}", answer.status()));
        Self::Refused { status: answer.status(), message }
    }

    pub(super) fn strange(why: impl ToString) -> Self {
        Self::Strange(why.to_string())
    }
}

impl From<AccountError> for Failure {
    fn from(error: AccountError) -> Self {
        let exit = match &error {
            AccountError::Http(HttpError::Url(..) | HttpError::Plain(_)) => Exit::Usage,
            AccountError::Http(HttpError::Setup(TlsError::File(..))) | AccountError::File(..) => Exit::Failure,
            AccountError::Http(_) | AccountError::Strange(_) => Exit::Network,
            AccountError::NoLogin(_) | AccountError::Ended { .. } | AccountError::NotProven(_) => Exit::Refused,
            AccountError::Unsigned(_) => Exit::Integrity,
            AccountError::Refused { status, .. } => match *status {
                StatusCode::BAD_REQUEST => Exit::Usage,
                StatusCode::CONFLICT => Exit::Failure,
                status if status.is_server_error() => Exit::Network,
                _ => Exit::Refused,
            },
        };
        Self::new(exit, error)
    }
}
