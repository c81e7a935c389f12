//! A login at work: requests to the Portal, with tokens that are renewed when they expire.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use http::{Method, Request, Response, StatusCode, header};
use ppsp_auth::{
    bearer,
    oauth::{FORM, OauthError, OauthErrorCode, RefreshRequest, RevocationRequest, TokenResponse},
    token::{KeySet, TRACKERS, TokenText},
};
use ppsp_core::descriptor::{Descriptor, SignatureError};
use serde::de::DeserializeOwned;
use serde_json::Value;
use tokio::sync::Mutex;

use super::{
    AccountError, Login, Logins, SignedIn,
    logins::{Lock, unix_now},
};
use crate::http::{HttpClient, Pin, Trust};

/// Who is signed in at a Portal. A clone is the same one.
#[derive(Clone, Debug)]
pub struct Account(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    http: HttpClient,
    logins: Logins,
    login: Mutex<Login>,
    /// The login in memory could not be written: it is newer than the file.
    unsaved: AtomicBool,
}

/// Held by every renewal: a process that ends waits for it, see [`settle`].
static RENEWAL: Mutex<()> = Mutex::const_new(());

/// Waits until no token is being renewed, for two seconds at most: a refresh token that came and was not kept would be lost.
pub async fn settle() {
    _ = tokio::time::timeout(Duration::from_secs(2), RENEWAL.lock()).await;
}

/// A client of the Portal at this URL, known by its fingerprint where there is one.
///
/// # Errors
///
/// [`AccountError::Http`].
pub fn open_http(portal: &str, pin: Option<Pin>, insecure: bool) -> Result<HttpClient, AccountError> {
    Ok(HttpClient::new(portal, pin.map_or(Trust::System, Trust::Pin), insecure)?)
}

impl Account {
    /// The login of this user at this Portal, or the newest one of those that are not named.
    ///
    /// # Errors
    ///
    /// [`AccountError::NoLogin`], and those of the file it is kept in.
    pub fn open(logins: Logins, portal: Option<&str>, user: Option<&str>) -> Result<Self, AccountError> {
        let is = |wanted: Option<&str>, found: &str| wanted.is_none_or(|wanted| wanted == found);
        let found = logins.all()?.into_iter().find(|login| is(portal, &login.portal) && is(user, &login.user));
        let login = found.ok_or_else(|| AccountError::NoLogin(portal.map(str::to_owned)))?;
        let pin = login.pin.as_deref().map(str::parse).transpose().map_err(AccountError::strange)?;
        // Who signed in without TLS said that this is wished; the client keeps it to loopback.
        let http = open_http(&login.portal, pin, login.portal.starts_with("http://"))?;
        Ok(Self(Arc::new(Inner { http, logins, login: Mutex::new(login), unsaved: AtomicBool::new(false) })))
    }

    /// Keeps what signing in gave.
    ///
    /// # Errors
    ///
    /// [`AccountError::File`].
    pub async fn keep(
        http: HttpClient,
        pin: Option<Pin>,
        signed_in: SignedIn,
        logins: Logins,
    ) -> Result<Self, AccountError> {
        let mut login = Login {
            portal: http.origin(),
            pin: pin.map(|pin| pin.to_string()),
            user: signed_in.name,
            role: signed_in.role,
            client_id: signed_in.client_id,
            session: signed_in.session,
            since: 0,
            refresh_token: signed_in.refresh_token,
            access_token: signed_in.access_token,
            expires: unix_now() + signed_in.expires_in,
        };
        let of = logins.clone();
        let keeping = tokio::task::spawn_blocking(move || {
            let _lock = of.lock(&login.portal, &login.user)?;
            login.since = of.now();
            of.keep(&login)?;
            Ok::<_, AccountError>(login)
        });
        let login = keeping.await.map_err(AccountError::strange)??;
        Ok(Self(Arc::new(Inner { http, logins, login: Mutex::new(login), unsaved: AtomicBool::new(false) })))
    }

    /// The login as it is now.
    pub async fn login(&self) -> Login {
        self.0.login.lock().await.clone()
    }

    /// Asks the Portal, and reads the JSON of its answer.
    ///
    /// # Errors
    ///
    /// [`AccountError`].
    pub async fn ask<T: DeserializeOwned>(
        &self,
        method: Method,
        path: &str,
        body: Option<Value>,
    ) -> Result<T, AccountError> {
        let answer = self.send(method, path, body).await?;
        // Nothing to say is `null`.
        let body: &[u8] = if answer.body().is_empty() { b"null" } else { answer.body() };
        serde_json::from_slice(body).map_err(AccountError::strange)
    }

    /// [`ask`](Self::ask)s with GET.
    ///
    /// # Errors
    ///
    /// [`AccountError`].
    pub async fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, AccountError> {
        self.ask(Method::GET, path, None).await
    }

    /// The descriptor of content, checked with the keys of the Portal.
    ///
    /// # Errors
    ///
    /// [`AccountError::Unsigned`] for one that the Portal has not signed.
    pub async fn descriptor(&self, content: &str) -> Result<Descriptor, AccountError> {
        let answer =
            self.send(Method::GET, &format!("/api/v1/content/{}/descriptor", path_part(content)), None).await?;
        let keys = self.send(Method::GET, "/.well-known/jwks.json", None).await?;
        let keys = KeySet::from_jwks(keys.body()).map_err(AccountError::strange)?;
        let read = Descriptor::parse_signed(answer.body(), |kid, bytes, signature| {
            let key = kid.parse().ok().and_then(|kid| keys.key(kid)).ok_or(SignatureError::UnknownKey)?;
            key.verify(bytes, signature).map_err(|_| SignatureError::Wrong)
        });
        read.map_err(AccountError::Unsigned)
    }

    /// An access token for trackers that opens this content, and its life in seconds.
    ///
    /// # Errors
    ///
    /// [`AccountError::Ended`], or [`AccountError::Refused`] for content that is not allowed.
    pub async fn tracker_token(&self, content: &str) -> Result<(TokenText, u64), AccountError> {
        let (own, content) = (self.clone(), content.to_owned());
        // A task of its own: who stops waiting must not lose the refresh token that comes with it.
        let renewing = tokio::spawn(async move {
            let _renewal = RENEWAL.lock().await;
            let (mut login, _lock) = own.locked().await?;
            let tokens = own.refresh(&mut login, Some(TRACKERS), &[content]).await?;
            own.save(login).await;
            Ok((tokens.access_token, tokens.expires_in))
        });
        renewing.await.map_err(AccountError::strange)?
    }

    /// Ends the session at the Portal and forgets the login here, in any case.
    ///
    /// # Errors
    ///
    /// [`AccountError`]: the Portal may not have heard of it.
    pub async fn sign_out(&self) -> Result<(), AccountError> {
        let (login, _lock) = self.locked().await?;
        self.0.logins.forget(&login.portal, &login.user)?;
        let form = RevocationRequest { token: login.refresh_token.clone() }.write();
        let answer = self.post_form("/oauth/revoke", form.as_bytes()).await?;
        if answer.status() == StatusCode::OK { Ok(()) } else { Err(AccountError::of(&answer)) }
    }

    /// Asks the Portal; an answer that is no success is an error. An access token that is refused is renewed once.
    async fn send(&self, method: Method, path: &str, body: Option<Value>) -> Result<Response<Bytes>, AccountError> {
        let body = body.map(|body| Bytes::from(body.to_string()));
        let mut token = self.access_token(None).await?;
        let mut renewed = false;
        loop {
            let shown = bearer::authorization(token.as_str()).map_err(AccountError::strange)?;
            let mut request =
                Request::builder().method(&method).uri(path).header(header::AUTHORIZATION, shown.as_str());
            if body.is_some() {
                request = request.header(header::CONTENT_TYPE, "application/json");
            }
            let request = request.body(body.clone().unwrap_or_default()).map_err(AccountError::strange)?;
            let answer = self.0.http.send(request).await?;
            if answer.status() == StatusCode::UNAUTHORIZED && !renewed {
                token = self.access_token(Some(&token)).await?;
                renewed = true;
            } else if answer.status().is_success() {
                return Ok(answer);
            } else {
                return Err(AccountError::of(&answer));
            }
        }
    }

    /// A token for the Portal that lasts for a while yet, and is another one than `refused`.
    async fn access_token(&self, refused: Option<&TokenText>) -> Result<TokenText, AccountError> {
        let refused = refused.cloned();
        let good =
            move |login: &Login| login.expires > unix_now() + SOON && refused.as_ref() != Some(&login.access_token);
        {
            let login = self.0.login.lock().await;
            if good(&login) {
                return Ok(login.access_token.clone());
            }
        }
        let own = self.clone();
        let renewing = tokio::spawn(async move {
            let _renewal = RENEWAL.lock().await;
            let (mut login, _lock) = own.locked().await?;
            // Another process may have been quicker.
            if !good(&login) {
                let tokens = own.refresh(&mut login, None, &[]).await?;
                (login.access_token, login.expires) = (tokens.access_token, unix_now() + tokens.expires_in);
            }
            let token = login.access_token.clone();
            own.save(login).await;
            Ok(token)
        });
        renewing.await.map_err(AccountError::strange)?
    }

    /// In memory first: where the disk is full the login is good for as long as this process lives.
    async fn save(&self, login: Login) {
        let kept = self.0.logins.keep(&login);
        if let Err(error) = &kept {
            tracing::warn!("the login cannot be kept: {error}");
        }
        self.0.unsaved.store(kept.is_err(), Ordering::Relaxed);
        *self.0.login.lock().await = login;
    }

    /// The login as it is kept, for this process alone.
    async fn locked(&self) -> Result<(Login, Lock), AccountError> {
        let known = self.login().await;
        let (logins, portal, user) = (self.0.logins.clone(), known.portal.clone(), known.user.clone());
        let wait = move || Ok::<_, AccountError>((logins.lock(&portal, &user)?, logins.of(&portal, &user)?));
        let locked = tokio::task::spawn_blocking(wait).await;
        let (lock, kept) = locked.map_err(AccountError::strange)??;
        if self.0.unsaved.load(Ordering::Relaxed) {
            return Ok((self.login().await, lock));
        }
        // Somebody signed out, or in again: that session is not ours.
        match kept.filter(|kept| kept.session == known.session) {
            Some(login) => Ok((login, lock)),
            None => Err(AccountError::Ended { portal: known.portal, user: known.user }),
        }
    }

    /// RFC 6749 §6. The refresh token is good once: the login has to be kept afterwards.
    async fn refresh(
        &self,
        login: &mut Login,
        audience: Option<&str>,
        content: &[String],
    ) -> Result<TokenResponse, AccountError> {
        let request = RefreshRequest {
            refresh_token: login.refresh_token.clone(),
            audience: audience.map(str::to_owned),
            content: content.to_vec(),
        };
        let answer = self.post_form("/oauth/token", request.write().as_bytes()).await?;
        if answer.status() != StatusCode::OK {
            let error = OauthError::read(answer.body());
            return Err(match error.map(|error| error.code) {
                Some(OauthErrorCode::InvalidGrant) => {
                    AccountError::Ended { portal: login.portal.clone(), user: login.user.clone() }
                }
                Some(OauthErrorCode::InvalidScope) => match AccountError::of(&answer) {
                    AccountError::Refused { message, .. } => {
                        AccountError::Refused { status: StatusCode::FORBIDDEN, message }
                    }
                    other => other,
                },
                _ => AccountError::of(&answer),
            });
        }
        let tokens = TokenResponse::read(answer.body()).ok_or_else(|| AccountError::strange("it holds no token"))?;
        if let Some(next) = &tokens.refresh_token {
            login.refresh_token = next.clone();
        }
        Ok(tokens)
    }

    async fn post_form(&self, path: &str, form: &[u8]) -> Result<Response<Bytes>, AccountError> {
        let request = Request::post(path).header(header::CONTENT_TYPE, FORM).body(Bytes::copy_from_slice(form));
        Ok(self.0.http.send(request.map_err(AccountError::strange)?).await?)
    }
}

/// A name as a part of a path.
pub(crate) fn path_part(name: &str) -> String {
    /// All but what RFC 3986 §2.3 calls unreserved.
    const RESERVED: &percent_encoding::AsciiSet =
        &percent_encoding::NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');
    percent_encoding::utf8_percent_encode(name, RESERVED).to_string()
}

/// Tokens that expire in so many seconds are renewed before they are used.
const SOON: u64 = 30;
