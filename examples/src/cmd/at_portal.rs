//! Who is signed in, and how somebody signs in.

use std::io::{self, IsTerminal, Write};

use ppsp_auth::UserName;

use crate::{
    account::{Account, AccountError, Logins, open_http, sign_in},
    cli::{
        args::PortalAt,
        exit::Failure,
        output::{Output, on_terminal},
        secret,
    },
    http::{HttpClient, HttpError, Pin},
};

/// The login at the Portal that is named, else the newest one.
pub(super) fn account(at: &PortalAt) -> Result<Account, Failure> {
    let portal = at.portal.as_deref().map(origin).transpose()?;
    Ok(Account::open(Logins::of_user()?, portal.as_deref(), None)?)
}

/// Signs in; an earlier session of the same user ends. A Portal that no authority vouches for is shown to the user, who decides.
pub(super) async fn sign_in_at(
    out: &Output,
    portal: &str,
    user: UserName,
    pin: Option<Pin>,
    insecure: bool,
) -> Result<Account, Failure> {
    let logins = Logins::of_user()?;
    let portal = origin(portal)?;
    let kept = logins.at(&portal)?.and_then(|login| login.pin?.parse().ok());
    let (http, pin) = trusted(out, &portal, pin.or(kept), insecure).await?;
    let password = secret::ask(format!("password of {user} at {portal}")).await?;
    let signed_in = sign_in(&http, user, password).await?;
    // Two sessions of one user are one too many here.
    if let Ok(earlier) = Account::open(logins.clone(), Some(&portal), Some(&signed_in.name)) {
        _ = earlier.sign_out().await;
    }
    Ok(Account::keep(http, pin, signed_in, logins).await?)
}

/// `https://host:port` of a URL; `https://` may be left away.
pub(super) fn origin(url: &str) -> Result<String, Failure> {
    let whole = if url.contains("://") { url.to_owned() } else { format!("https://{url}") };
    // Without asking anybody: the pin does not matter, and neither does TLS.
    let client = HttpClient::new(&whole, crate::http::Trust::Pin(Pin::NONE), true).map_err(AccountError::Http)?;
    Ok(client.origin())
}

/// A client of a Portal that is trusted, and by which fingerprint.
async fn trusted(
    out: &Output,
    portal: &str,
    pin: Option<Pin>,
    insecure: bool,
) -> Result<(HttpClient, Option<Pin>), Failure> {
    let http = open_http(portal, pin, insecure)?;
    let request = http::Request::get("/.well-known/oauth-authorization-server").body(bytes::Bytes::new());
    match http.send(request.map_err(Failure::other)?).await {
        Ok(_) => Ok((http, pin)),
        Err(HttpError::Untrusted { host, pin, reason })
            if io::stdin().is_terminal() && on_terminal() && !out.is_json() =>
        {
            out.secret(format_args!(
                "This system does not trust the certificate of {host} ({reason}).\nIts fingerprint is {pin}\nCompare it \
                 with the one that the Portal shows where it was started."
            ));
            if !confirmed("Is it the same? [y/N] ").await? {
                return Err(Failure::refused(format!("{host} is not trusted; nothing was sent to it")));
            }
            Ok((open_http(portal, Some(pin), insecure)?, Some(pin)))
        }
        Err(error) => Err(AccountError::Http(error).into()),
    }
}

async fn confirmed(question: &'static str) -> Result<bool, Failure> {
    let asking = tokio::task::spawn_blocking(move || {
        let mut answer = String::new();
        io::stderr().write_all(question.as_bytes())?;
        io::stdin().read_line(&mut answer)?;
        Ok::<_, io::Error>(matches!(answer.trim().to_ascii_lowercase().as_str(), "y" | "yes"))
    });
    asking.await.map_err(Failure::other)?.map_err(Failure::other)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_portal_is_called_by_its_origin() {
        for text in ["https://portal.example:8443", "portal.example:8443", "https://portal.example:8443/content/7#x"] {
            assert_eq!(origin(text).unwrap(), "https://portal.example:8443");
        }
        assert!(origin("ftp://portal").is_err() && origin("https://user@portal").is_err() && origin("").is_err());
    }
}
