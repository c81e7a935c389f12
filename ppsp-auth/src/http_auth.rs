//! The grammar that all HTTP authentication schemes share (RFC 9110 §11): challenges, credentials and their parameters.
//!
//! Owns reading and writing `WWW-Authenticate`, `Authorization` and `Authentication-Info`; what the parameters mean is
//! the schemes' ([`scram`](crate::scram), [`digest`](crate::digest), [`bearer`](crate::bearer)). Where a response has
//! several `WWW-Authenticate` lines, join them by commas (RFC 9110 §5.3).

use alloc::{borrow::Cow, string::String, vec::Vec};
use core::fmt::{self, Write};

use thiserror::Error;

/// A challenge or credentials, which have the same form: a scheme, and then a token68, parameters or nothing.
///
/// ```
/// use ppsp_auth::http_auth::Auth;
///
/// let list = Auth::read_list(r#"Basic realm="a, b", Newauth, Digest qop="auth", nonce=17"#)?;
/// assert_eq!(list.len(), 3);
/// assert_eq!(list[0].get("realm"), Some("a, b"));
/// assert_eq!(list[2].get("NONCE"), Some("17"));
/// # Ok::<(), ppsp_auth::http_auth::HttpAuthError>(())
/// ```
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Auth<'a> {
    scheme: &'a str,
    data: Data<'a>,
}

/// What follows the scheme. `Debug` shows the names of parameters only: values may be credentials.
#[derive(Clone, Eq, PartialEq)]
enum Data<'a> {
    Token68(&'a str),
    Params(Params<'a>),
}

impl<'a> Auth<'a> {
    /// The longest header that is read, in bytes.
    pub const MAX_LEN: usize = 16 * 1024;
    /// The most challenges of one header.
    pub const MAX_CHALLENGES: usize = 16;

    /// A scheme with parameters, to be written.
    pub const fn new(scheme: &'static str, params: Params<'a>) -> Self {
        Self { scheme, data: Data::Params(params) }
    }

    /// Reads the credentials of an `Authorization` header. More than one is an error.
    pub fn read(header: &'a str) -> Result<Self, HttpAuthError> {
        let mut list = Self::read_list(header)?;
        match (list.pop(), list.is_empty()) {
            (Some(auth), true) => Ok(auth),
            _ => Err(HttpAuthError::Malformed),
        }
    }

    /// Reads the challenges of a `WWW-Authenticate` header; none where it is empty.
    pub fn read_list(header: &'a str) -> Result<Vec<Self>, HttpAuthError> {
        let mut reader = Reader::new(header)?;
        let mut list: Vec<Self> = Vec::new();
        while reader.next_element() {
            let start = reader;
            let scheme = reader.token()?;
            let spaced = reader.skip_spaces();
            if reader.0.starts_with('=') {
                // `name=value` goes on with the challenge before it.
                reader = start;
                match list.last_mut().map(|auth| &mut auth.data) {
                    Some(Data::Params(params)) => reader.param(params)?,
                    _ => return Err(HttpAuthError::Malformed),
                }
            } else if list.len() == Self::MAX_CHALLENGES {
                return Err(HttpAuthError::TooMany);
            } else {
                let mut params = Params::default();
                let token68 = if spaced { reader.token68() } else { None };
                if spaced && token68.is_none() && !reader.at_end_of_element() {
                    reader.param(&mut params)?;
                }
                list.push(Self { scheme, data: token68.map_or(Data::Params(params), Data::Token68) });
            }
            reader.end_element()?;
        }
        Ok(list)
    }

    /// Is this the scheme? Schemes are compared without regard to case (RFC 9110 §11.1).
    pub fn is(&self, scheme: &str) -> bool {
        self.scheme.eq_ignore_ascii_case(scheme)
    }

    /// The value of a parameter.
    pub fn get(&self, name: &str) -> Option<&str> {
        match &self.data {
            Data::Params(params) => params.get(name),
            Data::Token68(_) => None,
        }
    }

    /// The token that stands in place of parameters.
    pub const fn token68(&self) -> Option<&'a str> {
        match self.data {
            Data::Token68(token) => Some(token),
            Data::Params(_) => None,
        }
    }
}

impl fmt::Display for Auth<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.scheme)?;
        match &self.data {
            Data::Token68(token) => write!(f, " {token}"),
            Data::Params(params) if params.0.is_empty() => Ok(()),
            Data::Params(params) => write!(f, " {params}"),
        }
    }
}

impl fmt::Debug for Data<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Token68(_) => f.write_str("Token68(…)"),
            Self::Params(params) => params.fmt_names(f),
        }
    }
}

/// Parameters in their order, each name once. `Debug` shows only the names.
#[derive(Clone, Default, Eq, PartialEq)]
pub struct Params<'a>(Vec<Param<'a>>);

#[derive(Clone, Eq, PartialEq)]
struct Param<'a> {
    name: &'a str,
    value: Cow<'a, str>,
    quoted: bool,
}

impl<'a> Params<'a> {
    /// The most parameters of one challenge.
    pub const MAX: usize = 32;

    /// Reads parameters that stand alone, as in `Authentication-Info` (RFC 9110 §11.6.3).
    pub fn read(header: &'a str) -> Result<Self, HttpAuthError> {
        let mut reader = Reader::new(header)?;
        let mut params = Self::default();
        while reader.next_element() {
            reader.param(&mut params)?;
            reader.end_element()?;
        }
        Ok(params)
    }

    /// Adds a parameter that is written as it is; in quotes only where it is neither a token nor base64.
    #[must_use]
    pub fn bare(self, name: &'static str, value: impl Into<Cow<'a, str>>) -> Self {
        self.with(name, value.into(), false)
    }

    /// Adds a parameter that is written in quotes. Control characters other than the tab, which no
    /// header can carry, become spaces.
    #[must_use]
    pub fn quoted(self, name: &'static str, value: impl Into<Cow<'a, str>>) -> Self {
        self.with(name, value.into(), true)
    }

    /// The value of a parameter. Names are compared without regard to case (RFC 9110 §11.2).
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|param| param.name.eq_ignore_ascii_case(name)).map(|param| &*param.value)
    }

    fn with(mut self, name: &'static str, value: Cow<'a, str>, quoted: bool) -> Self {
        self.0.push(Param { name, value, quoted });
        self
    }

    /// Takes in what was read.
    fn push(&mut self, name: &'a str, value: Cow<'a, str>, quoted: bool) -> Result<(), HttpAuthError> {
        // RFC 9110 §11.2: each parameter name occurs only once per challenge.
        if self.get(name).is_some() {
            return Err(HttpAuthError::Repeated);
        }
        if self.0.len() == Self::MAX {
            return Err(HttpAuthError::TooMany);
        }
        self.0.push(Param { name, value, quoted });
        Ok(())
    }

    fn fmt_names(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.0.iter().map(|param| param.name)).finish()
    }
}

impl fmt::Display for Params<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, Param { name, value, quoted }) in self.0.iter().enumerate() {
            if i > 0 {
                f.write_str(", ")?;
            }
            write!(f, "{name}=")?;
            if !quoted && !value.is_empty() && !value.starts_with('=') && value.bytes().all(is_bare) {
                f.write_str(value)?;
                continue;
            }
            f.write_char('"')?;
            for c in value.chars() {
                match c {
                    '"' | '\\' => write!(f, "\\{c}")?,
                    c if c.is_control() && c != '\t' => f.write_char(' ')?,
                    c => f.write_char(c)?,
                }
            }
            f.write_char('"')?;
        }
        Ok(())
    }
}

impl fmt::Debug for Params<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.fmt_names(f)
    }
}

/// Why an authentication header cannot be read.
#[derive(Clone, Copy, Debug, Eq, Error, PartialEq)]
#[non_exhaustive]
pub enum HttpAuthError {
    /// Not the grammar of RFC 9110 §11.
    #[error("the authentication header is malformed")]
    Malformed,
    /// Longer than [`Auth::MAX_LEN`].
    #[error("the authentication header is too long")]
    TooLong,
    /// More than [`Auth::MAX_CHALLENGES`] challenges or [`Params::MAX`] parameters.
    #[error("the authentication header has too many parts")]
    TooMany,
    /// A parameter stands twice in one challenge.
    #[error("a parameter of the authentication header is repeated")]
    Repeated,
}

/// What is left of a header.
#[derive(Clone, Copy)]
struct Reader<'a>(&'a str);

impl<'a> Reader<'a> {
    fn new(header: &'a str) -> Result<Self, HttpAuthError> {
        if header.len() > Auth::MAX_LEN { Err(HttpAuthError::TooLong) } else { Ok(Self(header)) }
    }

    /// Goes over spaces and commas to the next element of the list, if there is one. Empty elements are nothing
    /// (RFC 9110 §5.6.1.2).
    fn next_element(&mut self) -> bool {
        self.0 = self.0.trim_start_matches([' ', '\t', ',']);
        !self.0.is_empty()
    }

    /// Nothing but spaces may stand between an element and the next comma.
    fn end_element(&self) -> Result<(), HttpAuthError> {
        if self.at_end_of_element() { Ok(()) } else { Err(HttpAuthError::Malformed) }
    }

    fn at_end_of_element(&self) -> bool {
        let rest = self.0.trim_start_matches([' ', '\t']);
        rest.is_empty() || rest.starts_with(',')
    }

    /// Were there spaces?
    fn skip_spaces(&mut self) -> bool {
        let rest = self.0.trim_start_matches([' ', '\t']);
        let any = rest.len() < self.0.len();
        self.0 = rest;
        any
    }

    fn eat(&mut self, c: char) -> bool {
        let rest = self.0.strip_prefix(c);
        self.0 = rest.unwrap_or(self.0);
        rest.is_some()
    }

    /// One or more of these bytes, which are ASCII.
    fn run(&mut self, of: fn(u8) -> bool) -> Result<&'a str, HttpAuthError> {
        let len = self.0.bytes().position(|byte| !of(byte)).unwrap_or(self.0.len());
        let (run, rest) = self.0.split_at(len);
        self.0 = rest;
        if run.is_empty() { Err(HttpAuthError::Malformed) } else { Ok(run) }
    }

    fn token(&mut self) -> Result<&'a str, HttpAuthError> {
        self.run(is_token)
    }

    /// A token68, where the element has nothing else.
    fn token68(&mut self) -> Option<&'a str> {
        let mut ahead = *self;
        ahead.run(is_token68).ok()?;
        ahead.0 = ahead.0.trim_start_matches('=');
        if !ahead.at_end_of_element() {
            return None;
        }
        let token68 = &self.0[..self.0.len() - ahead.0.len()];
        *self = ahead;
        Some(token68)
    }

    fn param(&mut self, params: &mut Params<'a>) -> Result<(), HttpAuthError> {
        let name = self.token()?;
        // RFC 9110 §11.2: spaces around the sign are bad, and are read.
        self.skip_spaces();
        if !self.eat('=') {
            return Err(HttpAuthError::Malformed);
        }
        self.skip_spaces();
        let (value, quoted) = self.value()?;
        params.push(name, value, quoted)
    }

    /// A value, and whether it stood in quotes.
    fn value(&mut self) -> Result<(Cow<'a, str>, bool), HttpAuthError> {
        if !self.eat('"') {
            // Behind a scheme, `a==` is a token68; elsewhere it is nothing.
            if self.0.starts_with('=') {
                return Err(HttpAuthError::Malformed);
            }
            return Ok((Cow::Borrowed(self.run(is_bare)?), false));
        }
        let text = self.0;
        let mut unescaped = None::<String>;
        let mut chars = text.char_indices();
        while let Some((at, c)) = chars.next() {
            let literal = match c {
                '"' => {
                    self.0 = &text[at + 1..];
                    return Ok((unescaped.map_or(Cow::Borrowed(&text[..at]), Cow::Owned), true));
                }
                '\\' => {
                    unescaped.get_or_insert_with(|| text[..at].into());
                    chars.next().ok_or(HttpAuthError::Malformed)?.1
                }
                c => c,
            };
            if literal.is_control() && literal != '\t' {
                return Err(HttpAuthError::Malformed);
            }
            if let Some(unescaped) = &mut unescaped {
                unescaped.push(literal);
            }
        }
        Err(HttpAuthError::Malformed)
    }
}

/// RFC 9110 §5.6.2: characters of a token.
fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

/// RFC 9110 §11.2: characters of a token68 before its padding.
fn is_token68(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-._~+/".contains(&byte)
}

/// A value without quotes should be a token, but SCRAM writes base64 so (RFC 7804 §7).
fn is_bare(byte: u8) -> bool {
    is_token(byte) || b"/=".contains(&byte)
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::{format, string::ToString, vec::Vec};
    use proptest::{collection::vec, prelude::*};

    fn schemes(header: &str) -> Result<Vec<&str>, HttpAuthError> {
        Auth::read_list(header).map(|list| list.iter().map(|auth| auth.scheme).collect())
    }

    #[test]
    fn reads_lists() {
        // RFC 9110 §11.6.1
        let header = r#"Basic realm="simple", Newauth realm="apps", type=1, title="Login to \"apps\"""#;
        let list = Auth::read_list(header).unwrap();
        assert_eq!(schemes(header).unwrap(), ["Basic", "Newauth"]);
        assert_eq!(list[1].get("title"), Some("Login to \"apps\""));
        assert_eq!(list[1].get("Type"), Some("1"));
        assert_eq!(list[0].get("type"), None);

        assert_eq!(schemes("Negotiate, Basic realm=x,, ,NTLM , X a=b").unwrap(), ["Negotiate", "Basic", "NTLM", "X"]);
        assert_eq!(schemes("").unwrap(), [""; 0]);
        assert_eq!(schemes(" , ").unwrap(), [""; 0]);
        let list = Auth::read_list("Bearer abc.def-_~+/== , Digest\tnc = \"1\" ,qop=auth").unwrap();
        assert_eq!(list[0].token68(), Some("abc.def-_~+/=="));
        assert_eq!((list[1].get("nc"), list[1].get("qop")), (Some("1"), Some("auth")));
        // A base64 value without quotes, as SCRAM has it.
        assert_eq!(Auth::read("SCRAM-SHA-256 data=biws==, sid=A").unwrap().get("data"), Some("biws=="));
        assert_eq!(Params::read("sid=A, data=\"dg\"").unwrap().get("data"), Some("dg"));
        assert_eq!(Auth::read("X r=\"é\t\"").unwrap().get("r"), Some("é\t"));
    }

    #[test]
    fn refuses() {
        use HttpAuthError::{Malformed, Repeated, TooLong, TooMany};
        for bad in [
            "realm=x",
            "X a b",
            "X a=, b=c",
            "X a=\"",
            "X a=\"\\",
            "X a=\"\\\"",
            "X a=\"b\"c",
            "X a=b c=d",
            "X;a=b",
            "é",
            "=",
            "X abc=, a=b",
            "X a=\"\n\"",
            "X a=\"\\\r\"",
            "X a=\"\0\"",
            "X =",
            "X a=é",
            "\"x\"",
            "X/ a=b",
        ] {
            assert_eq!(Auth::read(bad), Err(Malformed), "{bad:?}");
        }
        assert_eq!(Auth::read("X, Y"), Err(Malformed));
        assert_eq!(Auth::read(""), Err(Malformed));
        assert_eq!(Auth::read("X a=1, A=2"), Err(Repeated));
        assert_eq!(Params::read("a=1, a=1"), Err(Repeated));
        let many = |count: usize| (0..count).map(|i| format!(", p{i}=1")).collect::<String>();
        assert!(Auth::read(&format!("X a=b{}", many(Params::MAX - 1))).is_ok());
        assert_eq!(Auth::read(&format!("X a=b{}", many(Params::MAX))), Err(TooMany));
        assert!(schemes(&"X,".repeat(Auth::MAX_CHALLENGES)).is_ok());
        assert_eq!(schemes(&"X,".repeat(Auth::MAX_CHALLENGES + 1)), Err(TooMany));
        assert!(Auth::read_list(&" ".repeat(Auth::MAX_LEN)).is_ok());
        assert_eq!(Auth::read_list(&" ".repeat(Auth::MAX_LEN + 1)), Err(TooLong));
    }

    #[test]
    fn writes() {
        let params = Params::default().quoted("realm", "a \"b\" \\").bare("data", "dj02Uc0PQo=").bare("qop", "a b");
        let auth = Auth::new("X", params);
        assert_eq!(auth.to_string(), r#"X realm="a \"b\" \\", data=dj02Uc0PQo=, qop="a b""#);
        assert_eq!(Auth::new("Bearer", Params::default()).to_string(), "Bearer");
        // Nobody gets a line of their own into a response.
        assert_eq!(Params::default().quoted("r", "a\r\nSet-Cookie: x").to_string(), "r=\"a  Set-Cookie: x\"");
        assert_eq!(Params::default().bare("r", "").bare("s", "=").to_string(), "r=\"\", s=\"=\"");
    }

    #[test]
    fn shows_no_values() {
        assert!(!format!("{:?}", Auth::read("Bearer secret").unwrap()).contains("secret"));
        assert!(!format!("{:?}", Auth::read("Digest response=secret").unwrap()).contains("secret"));
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(values in vec("\\PC{0,20}", 0..8), bare in any::<u8>()) {
            const NAMES: [&str; 8] = ["a", "b", "realm", "x-y", "sid", "data", "nc", "qop"];
            let mut params = Params::default();
            for (i, (name, value)) in NAMES.into_iter().zip(&values).enumerate() {
                params = if bare >> i & 1 == 0 { params.quoted(name, value) } else { params.bare(name, value) };
            }
            let text = params.to_string();
            let again = Params::read(&text).unwrap();
            for (name, value) in NAMES.into_iter().zip(&values) {
                prop_assert_eq!(again.get(name), Some(&**value));
            }
            let two = format!("{}, Other, {}", Auth::new("First", params.clone()), Auth::new("Last", params));
            let list = Auth::read_list(&two).unwrap();
            prop_assert_eq!(list.len(), 3);
            prop_assert_eq!(list[2].get("a"), values.first().map(|value| &**value));
        }

        #[test]
        fn nothing_panics(header in "[a-c=\", \\\\\\t/-]{0,60}") {
            let _ = Auth::read_list(&header);
            let _ = Params::read(&header);
        }
    }
}
