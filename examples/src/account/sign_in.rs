use bytes::Bytes;
use http::{HeaderMap, Request, Response, StatusCode, header};
use ppsp_auth::{
    Password, UserName,
    scram::{AuthenticationInfo, Authorization, Challenge, Client, Nonce, ScramError},
    token::TokenText,
};
use serde::Deserialize;

use super::AccountError;
use crate::http::HttpClient;

/// What the Portal gives to who signed in.
#[derive(Debug, Deserialize)]
pub struct SignedIn {
    /// The client identifier.
    pub client_id: String,
    /// The session, as the Portal lists it.
    pub session: String,
    /// The user, as the Portal writes the name.
    pub name: String,
    /// viewer, publisher or admin.
    pub role: String,
    /// For requests to the Portal.
    pub access_token: TokenText,
    /// Its life in seconds.
    pub expires_in: u64,
    /// For the next tokens.
    pub refresh_token: TokenText,
}

/// Signs in at a Portal: SCRAM-SHA-256 in HTTP (RFC 7804). The password does not leave this process, and the Portal proves itself
/// too before anything that it says is believed.
///
/// # Errors
///
/// [`AccountError`].
pub async fn sign_in(http: &HttpClient, user: UserName, password: Password) -> Result<SignedIn, AccountError> {
    let mut nonce: Nonce = [0; 18];
    getrandom::fill(&mut nonce).map_err(AccountError::strange)?;
    let (client, first) = Client::new(user, password, &nonce);
    let answer = ask(http, &Authorization::First { realm: None, message: first }).await?;
    let Some(Challenge::First { sid, message }) = challenge(answer.headers()) else {
        return Err(AccountError::of(&answer));
    };
    // Some tenths of a second of work.
    let proving = tokio::task::spawn_blocking(move || client.prove(&message));
    let (sent, last) = proving.await.map_err(AccountError::strange)?.map_err(not_proven)?;
    let answer = ask(http, &Authorization::Final { sid: sid.clone(), message: last }).await?;
    if answer.status() != StatusCode::OK {
        return Err(AccountError::of(&answer));
    }
    // RFC 7804 §5: the server's proof comes in Authentication-Info.
    let info = answer.headers().get("authentication-info").and_then(|info| info.to_str().ok());
    let info = info.and_then(|info| AuthenticationInfo::read(info).ok()).filter(|info| info.sid == sid);
    let info = info.ok_or(AccountError::NotProven(ScramError::ServerNotProven))?;
    sent.finish(&info.message).map_err(AccountError::NotProven)?;
    serde_json::from_slice(answer.body()).map_err(AccountError::strange)
}

async fn ask(http: &HttpClient, authorization: &Authorization) -> Result<Response<Bytes>, AccountError> {
    let request = Request::get("/api/v1/login").header(header::AUTHORIZATION, authorization.to_string());
    Ok(http.send(request.body(Bytes::new()).map_err(AccountError::strange)?).await?)
}

fn challenge(headers: &HeaderMap) -> Option<Challenge> {
    Challenge::read(headers.get(header::WWW_AUTHENTICATE)?.to_str().ok()?).ok()
}

fn not_proven(error: ScramError) -> AccountError {
    match error {
        ScramError::Nonce | ScramError::Iterations(_) => AccountError::NotProven(error),
        error => AccountError::strange(error),
    }
}
