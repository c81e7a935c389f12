//! Browsers: the cookie that says who is signed in, and the proof that a form was sent from a page of the Portal.

use ppsp_auth::token::TokenText;
use zeroize::Zeroizing;

use super::{Caller, Portal, Refusal, sessions::IDLE};

/// The cookie with the refresh token. RFC 6265bis §4.1.3.2: a name with this prefix is taken from this host over TLS only.
pub const COOKIE: &str = "__Host-ppsp";

/// The `Set-Cookie` header that keeps a session in a browser. No script reads it, and no other site makes the browser send it.
pub fn set(refresh_token: &TokenText) -> Zeroizing<String> {
    let token = refresh_token.as_str();
    Zeroizing::new(format!("{COOKIE}={token}; Path=/; Max-Age={IDLE}; Secure; HttpOnly; SameSite=Strict"))
}

/// The `Set-Cookie` header that takes it away.
pub fn unset() -> String {
    format!("{COOKIE}=; Path=/; Max-Age=0; Secure; HttpOnly; SameSite=Strict")
}

/// The token in a `Cookie` header. A cookie that stands twice is none.
pub fn token(header: &str) -> Option<TokenText> {
    let mut found = header.split(';').filter_map(|pair| pair.trim().strip_prefix(COOKIE)?.strip_prefix('='));
    match (found.next(), found.next()) {
        (Some(token), None) if !token.is_empty() => Some(TokenText::new(token)),
        _ => None,
    }
}

impl Portal {
    /// What a form of this session carries in a hidden field.
    pub fn form_token(&self, caller: &Caller) -> Zeroizing<String> {
        let tag = self.0.forms.derive(&format!("{:032x}", caller.session.id));
        Zeroizing::new(data_encoding::BASE64URL_NOPAD.encode(tag.as_bytes()))
    }

    /// Checks a form: it carries what [`form_token`](Self::form_token) gave, and comes from a page of the Portal as far as the
    /// browser says (`Sec-Fetch-Site`, or `Origin`).
    ///
    /// # Errors
    ///
    /// [`Refusal::Forbidden`].
    pub fn check_form(&self, caller: &Caller, token: &str, headers: &http::HeaderMap) -> Result<(), Refusal> {
        let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
        let near = match (text("sec-fetch-site"), text("origin"), text("host")) {
            (Some(site), ..) => site == "same-origin",
            (None, Some(origin), Some(host)) => origin.split_once("://").is_some_and(|(_, from)| from == host),
            // An old browser says nothing; the token has to do.
            (None, None, _) => true,
            (None, Some(_), None) => false,
        };
        let same: bool = subtle::ConstantTimeEq::ct_eq(self.form_token(caller).as_bytes(), token.as_bytes()).into();
        if near && same { Ok(()) } else { Err(Refusal::Forbidden("the form is not from this page; load it again")) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cookies() {
        let read = |header| token(header).map(|token| token.as_str().to_owned());
        assert_eq!(read("a=b; __Host-ppsp=xyz").as_deref(), Some("xyz"));
        assert_eq!(read("__Host-ppsp=xyz;a=b").as_deref(), Some("xyz"));
        for none in ["", "a=b", "__Host-ppsp=", "__Host-ppsp2=a", "x__Host-ppsp=a", "__Host-ppsp=a; __Host-ppsp=b"] {
            assert_eq!(read(none), None, "{none}");
        }
        let header = set(&TokenText::new("xyz"));
        assert!(header.starts_with("__Host-ppsp=xyz; Path=/;"));
        for part in ["Secure", "HttpOnly", "SameSite=Strict"] {
            assert!(header.contains(part) && unset().contains(part));
        }
    }
}
