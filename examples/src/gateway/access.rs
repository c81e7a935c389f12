//! Who may ask the gateway for something.
//!
//! On loopback it is everybody on this machine, but no web page of somebody else: neither one whose name was pointed at this
//! address (its `Host` tells), nor one that sends its visitors here (`Origin`, and Fetch Metadata, tell). Elsewhere it is who
//! has the token.

use http::{HeaderMap, HeaderValue, Uri, header};
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

/// The rules of one gateway.
#[derive(Default)]
pub struct Access {
    /// Without it only loopback is served.
    pub token: Option<Zeroizing<String>>,
    /// Web sites whose pages may play what is here, such as `https://portal.example:8443`.
    pub origins: Vec<String>,
}

/// Why somebody is not served.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Refused {
    /// The token is missing or wrong.
    Token,
    /// A name was pointed here.
    Host,
    /// A page of another site.
    Page,
}

impl Access {
    /// Is it HTTPS that is spoken here?
    pub(super) fn is_https(&self) -> bool {
        self.token.is_some()
    }

    /// The origin that may read the answer, where a page asks.
    pub(super) fn check(&self, headers: &HeaderMap, uri: &Uri) -> Result<Option<HeaderValue>, Refused> {
        match &self.token {
            Some(token) if !shows(headers, token) => return Err(Refused::Token),
            Some(_) => {}
            None => {
                let host = headers.get(header::HOST).and_then(|host| host.to_str().ok()).or_else(|| uri.host());
                if !host.is_some_and(is_here) {
                    return Err(Refused::Host);
                }
            }
        }
        let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
        match headers.get(header::ORIGIN) {
            Some(origin) if self.allows(origin) => Ok(Some(origin.clone())),
            Some(_) => Err(Refused::Page),
            // Who follows a link sees what is here, the page that had the link does not.
            None if text("sec-fetch-site") == Some("cross-site") && text("sec-fetch-mode") != Some("navigate") => {
                Err(Refused::Page)
            }
            None => Ok(None),
        }
    }

    fn allows(&self, origin: &HeaderValue) -> bool {
        let Ok(origin) = origin.to_str() else { return false };
        let authority = origin.strip_prefix("http://").or_else(|| origin.strip_prefix("https://"));
        self.origins.iter().any(|allowed| allowed == origin) || authority.is_some_and(is_here)
    }
}

impl std::fmt::Debug for Access {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Access").field("origins", &self.origins).finish_non_exhaustive()
    }
}

/// A bearer token, or the same as the password of whatever user: players know no other way.
fn shows(headers: &HeaderMap, token: &str) -> bool {
    let Some(shown) = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok()) else { return false };
    let Some((scheme, rest)) = shown.split_once(' ') else { return false };
    let same = |shown: &[u8]| bool::from(shown.ct_eq(token.as_bytes()));
    if scheme.eq_ignore_ascii_case("bearer") {
        return same(rest.trim().as_bytes());
    }
    let Ok(pair) = data_encoding::BASE64.decode(rest.trim().as_bytes()).map(Zeroizing::new) else { return false };
    let password = pair.iter().position(|&byte| byte == b':').and_then(|colon| pair.get(colon + 1..));
    scheme.eq_ignore_ascii_case("basic") && password.is_some_and(same)
}

/// Does this `host[:port]` say loopback by itself?
fn is_here(host: &str) -> bool {
    let name = match host.rsplit_once(':') {
        Some((name, port)) if !port.contains(']') => name,
        _ => host,
    };
    let bare = name.trim_start_matches('[').trim_end_matches(']');
    name.eq_ignore_ascii_case("localhost") || bare.parse::<std::net::IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(all: &[(&'static str, &str)]) -> HeaderMap {
        all.iter().map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap())).collect()
    }

    #[test]
    fn loopback_is_for_this_machine_and_its_own_pages() {
        let access = Access { token: None, origins: vec!["https://portal.example:8443".to_owned()] };
        let check = |all: &[(&'static str, &str)]| access.check(&headers(all), &Uri::from_static("/"));
        for host in ["127.0.0.1:8080", "localhost", "localhost:1", "[::1]:8080", "127.9.9.9"] {
            assert_eq!(check(&[("host", host)]), Ok(None), "{host}");
        }
        for host in ["evil.example:8080", "127.0.0.1.evil.example", "localhost.evil.example", "192.0.2.1:8080", ""] {
            assert_eq!(check(&[("host", host)]), Err(Refused::Host), "{host}");
        }
        assert_eq!(check(&[]), Err(Refused::Host));
        let from = |origin| check(&[("host", "127.0.0.1:8080"), ("origin", origin)]);
        for origin in ["https://portal.example:8443", "http://127.0.0.1:9000", "https://localhost:8443"] {
            assert_eq!(from(origin), Ok(Some(origin.parse().unwrap())));
        }
        for origin in ["https://portal.example", "https://evil.example", "null", "https://127.0.0.1.evil.example"] {
            assert_eq!(from(origin), Err(Refused::Page), "{origin}");
        }
        let fetched = |site, mode| check(&[("host", "localhost"), ("sec-fetch-site", site), ("sec-fetch-mode", mode)]);
        assert_eq!(fetched("cross-site", "no-cors"), Err(Refused::Page));
        assert_eq!(fetched("cross-site", "navigate"), Ok(None));
        assert_eq!(fetched("none", "navigate"), Ok(None));
        assert_eq!(fetched("same-origin", "cors"), Ok(None));
    }

    #[test]
    fn elsewhere_who_has_the_token() {
        let access = Access { token: Some("s3cret:x".to_owned().into()), origins: vec![] };
        let check = |shown: &str| {
            access.check(&headers(&[("host", "tv.example"), ("authorization", shown)]), &Uri::from_static("/"))
        };
        let basic = |pair: &str| format!("Basic {}", data_encoding::BASE64.encode(pair.as_bytes()));
        for shown in ["Bearer s3cret:x", "bearer s3cret:x", &basic("me:s3cret:x"), &basic(":s3cret:x")] {
            assert_eq!(check(shown), Ok(None), "{shown}");
        }
        for shown in
            ["Bearer s3cret", "Bearer", "s3cret:x", "Digest s3cret:x", "Basic s3cret:x", &basic("s3cret:x"), ""]
        {
            assert_eq!(check(shown), Err(Refused::Token), "{shown}");
        }
        assert_eq!(access.check(&headers(&[("host", "localhost")]), &Uri::from_static("/")), Err(Refused::Token));
    }
}
