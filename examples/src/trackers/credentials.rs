//! How a peer proves to trackers who it is.

use std::time::{Duration, Instant};

use ppsp_auth::{
    bearer,
    digest::{DigestClient, DigestError},
    http_auth::Auth,
    token::TokenText,
};
use tokio::sync::Mutex;

use crate::{
    account::{Account, AccountError},
    cli::exit::{Exit, Failure},
    http::Identity,
};

/// What is shown to trackers.
#[derive(Debug)]
pub enum Credentials {
    /// Nothing: for trackers that ask for nothing.
    None,
    /// A TLS client certificate.
    Certificate(Box<Identity>),
    /// Access tokens of a Portal, for one piece of content (RFC 6750).
    Tokens {
        /// Who gets them.
        account: Account,
        /// What they open.
        content: String,
        /// The one of now, and when it is to be renewed.
        current: Mutex<Option<(TokenText, Instant)>>,
    },
    /// A name and a password (RFC 7616).
    Digest(Box<Mutex<DigestClient>>),
}

/// Why there are none.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum CredentialsError {
    /// Not now.
    Away(String),
    /// Not any more.
    Refused(String),
}

impl Credentials {
    /// The certificate to show, where there is one.
    pub(super) fn certificate(&self) -> Option<&Identity> {
        if let Self::Certificate(identity) = self { Some(identity) } else { None }
    }

    /// Tokens that open this content.
    pub fn tokens(account: Account, content: String) -> Self {
        Self::Tokens { account, content, current: Mutex::default() }
    }

    /// The `Authorization` header of the next request.
    pub(super) async fn authorization(&self, target: &str) -> Result<Option<String>, CredentialsError> {
        match self {
            Self::None | Self::Certificate(_) => Ok(None),
            Self::Tokens { account, content, current } => {
                let mut current = current.lock().await;
                let token = match &*current {
                    Some((token, until)) if Instant::now() < *until => token.clone(),
                    _ => {
                        let (token, life) = account.tracker_token(content).await.map_err(why)?;
                        // The tracker checks it by its own clock, some time after it was made.
                        let life = Duration::from_secs(life.saturating_sub(SPARE));
                        *current = Some((token.clone(), Instant::now() + life));
                        token
                    }
                };
                let header = bearer::authorization(token.as_str());
                header.map(|header| Some(header.to_string())).map_err(|e| CredentialsError::Refused(e.to_string()))
            }
            Self::Digest(client) => {
                let mut cnonce = [0; 16];
                getrandom::fill(&mut cnonce).map_err(|e| CredentialsError::Away(e.to_string()))?;
                Ok(client.lock().await.authorization("POST", target, &cnonce))
            }
        }
    }

    /// What was shown is not good enough. `challenge` are the tracker's `WWW-Authenticate` headers.
    pub(super) async fn renew(&self, challenge: &str) -> Result<(), CredentialsError> {
        match self {
            Self::None => Err(CredentialsError::Refused(wanted(challenge).into())),
            Self::Certificate(_) => {
                Err(CredentialsError::Refused("the tracker does not take the certificate that was shown".into()))
            }
            Self::Tokens { current, .. } => {
                *current.lock().await = None;
                self.authorization("/").await.map(|_| ())
            }
            Self::Digest(client) => client.lock().await.challenged(challenge).map_err(|error| match error {
                DigestError::WrongCredentials => {
                    CredentialsError::Refused("the tracker refuses the name or the password".into())
                }
                error => CredentialsError::Away(error.to_string()),
            }),
        }
    }
}

/// What a tracker asks for that was not given.
fn wanted(challenge: &str) -> &'static str {
    let list = Auth::read_list(challenge).unwrap_or_default();
    if list.iter().any(|auth| auth.is("Digest")) {
        "the tracker asks for a name and a password: give --tracker-user"
    } else if list.iter().any(|auth| auth.is("Bearer")) {
        "the tracker serves the users of a Portal: sign in there, and name the content by its identifier in the catalogue"
    } else {
        "the tracker asks for proof of who we are: give --tracker-cert and --tracker-key"
    }
}

/// Whoever refuses does so for good; everything else may pass.
fn why(error: AccountError) -> CredentialsError {
    let failure = Failure::from(error);
    match failure.exit {
        Exit::Refused => CredentialsError::Refused(failure.message),
        _ => CredentialsError::Away(failure.message),
    }
}

/// So many seconds before a token expires the next one is asked for.
const SPARE: u64 = 60;
