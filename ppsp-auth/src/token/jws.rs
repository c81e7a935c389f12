//! Signed JSON in the compact form (RFC 7515 §7.1), with EdDSA and nothing else (RFC 8037 §3.1).

use alloc::{borrow::Cow, format, string::String, vec::Vec};

use data_encoding::BASE64URL_NOPAD;
use serde::Deserialize;

use super::{KeyId, SigningKey, VerifyingKey, access::TokenError};
use crate::json::{self, Present};

/// The longest token that is read, in bytes.
pub const MAX_TOKEN: usize = 8 << 10;

/// Header, payload and signature as one text. The type must need no escape in JSON.
pub(crate) fn sign(key: &SigningKey, typ: &str, payload: &str) -> String {
    let header = format!(r#"{{"alg":"EdDSA","typ":"{typ}","kid":"{}"}}"#, key.id());
    let mut text = BASE64URL_NOPAD.encode(header.as_bytes());
    text.push('.');
    BASE64URL_NOPAD.encode_append(payload.as_bytes(), &mut text);
    let signature = key.sign(text.as_bytes());
    text.push('.');
    BASE64URL_NOPAD.encode_append(&signature, &mut text);
    text
}

/// A token in its three parts, of which nothing is proven.
#[derive(Debug)]
pub(crate) struct Unverified<'a> {
    /// Header and payload as they were signed.
    signed: &'a str,
    signature: [u8; 64],
    payload: Vec<u8>,
    typ: Option<String>,
    kid: Option<KeyId>,
}

impl<'a> Unverified<'a> {
    /// Takes the text apart and looks at the header.
    pub(crate) fn parse(text: &'a str) -> Result<Self, TokenError> {
        if text.len() > MAX_TOKEN {
            return Err(TokenError::TooLong);
        }
        let (signed, signature) = text.rsplit_once('.').ok_or(TokenError::Malformed)?;
        // A dot too many stays in the payload, where the decoder refuses it.
        let (header, payload) = signed.split_once('.').ok_or(TokenError::Malformed)?;
        let decode = |part: &str| BASE64URL_NOPAD.decode(part.as_bytes()).map_err(|_| TokenError::Malformed);
        let header = decode(header)?;
        let header: Header<'_> = json::read(&header).ok_or(TokenError::Malformed)?;
        // RFC 8725 §3.1: the algorithm is ours to choose, not the sender's.
        if header.alg != "EdDSA" {
            return Err(TokenError::Algorithm);
        }
        // RFC 7515 §4.1.11: no extension is understood here, so none may be critical.
        if header.crit.0 {
            return Err(TokenError::Critical);
        }
        let signature = decode(signature)?.try_into().map_err(|_| TokenError::Malformed)?;
        let kid = header.kid.map(|kid| kid.parse().map_err(|_| TokenError::UnknownKey)).transpose()?;
        Ok(Self { signed, signature, payload: decode(payload)?, typ: header.typ.map(Cow::into_owned), kid })
    }

    /// Whether the type is one of these; RFC 7515 §4.1.9: in any case, and with "application/" before it or not.
    pub(crate) fn is(&self, typ: &str) -> bool {
        self.typ.as_ref().is_some_and(|found| {
            let short = match found.split_at_checked(12) {
                Some((prefix, rest)) if prefix.eq_ignore_ascii_case("application/") => rest,
                _ => found,
            };
            short.eq_ignore_ascii_case(typ)
        })
    }

    pub(crate) fn has_type(&self) -> bool {
        self.typ.is_some()
    }

    pub(crate) fn kid(&self) -> Option<KeyId> {
        self.kid
    }

    /// What is said, whoever says it.
    pub(crate) fn unproven(&self) -> &[u8] {
        &self.payload
    }

    /// The payload, where this key signed it.
    pub(crate) fn verify(self, key: &VerifyingKey) -> Result<Vec<u8>, TokenError> {
        key.verify(self.signed.as_bytes(), &self.signature).map_err(|_| TokenError::Signature)?;
        Ok(self.payload)
    }
}

#[derive(Deserialize)]
struct Header<'a> {
    #[serde(borrow)]
    alg: Cow<'a, str>,
    typ: Option<Cow<'a, str>>,
    kid: Option<Cow<'a, str>>,
    #[serde(default)]
    crit: Present,
}

#[cfg(test)]
mod tests {
    use super::{super::key::tests::PUBLIC, *};

    // RFC 8037 appendix A.4.
    const EXAMPLE: &str = "eyJhbGciOiJFZERTQSJ9.RXhhbXBsZSBvZiBFZDI1NTE5IHNpZ25pbmc.hgyY0il_MGCjP0JzlnLWG1PPOt7-09PGcvMg\
                           3AIbQR6dWbhijcNR4ki4iylGjg5BhVsPt9g7sVvpAr_MuM0KAg";

    #[test]
    fn signing_of_rfc_8037() {
        let key = SigningKey::from_jwk(super::super::key::tests::PRIVATE).unwrap();
        let (signed, signature) = EXAMPLE.rsplit_once('.').unwrap();
        assert_eq!(BASE64URL_NOPAD.encode(&key.sign(signed.as_bytes())), signature);
    }

    #[test]
    fn validation_of_rfc_8037() {
        let key = VerifyingKey::from_jwk(PUBLIC).unwrap();
        let jws = Unverified::parse(EXAMPLE).unwrap();
        assert!(!jws.has_type());
        assert_eq!(jws.verify(&key).unwrap(), b"Example of Ed25519 signing");
        let spoiled = EXAMPLE.replace("RXhh", "RXhi");
        assert_eq!(Unverified::parse(&spoiled).unwrap().verify(&key), Err(TokenError::Signature));
    }

    #[test]
    fn the_form_is_exact() {
        let parse = |text: &str| Unverified::parse(text).map(drop).unwrap_err();
        for text in ["", ".", "..", "...", "a.b.c", &EXAMPLE.replace('.', ".."), &format!("{EXAMPLE}="), &EXAMPLE[1..]]
        {
            assert_eq!(parse(text), TokenError::Malformed, "{text}");
        }
        assert_eq!(parse(&format!("{EXAMPLE}.")), TokenError::Malformed);
        assert_eq!(parse(&"a".repeat(MAX_TOKEN + 1)), TokenError::TooLong);
        let header = |json: &str| parse(&format!("{}.e30.{}", BASE64URL_NOPAD.encode(json.as_bytes()), "A".repeat(86)));
        assert_eq!(header(r#"{"alg":"none"}"#), TokenError::Algorithm);
        assert_eq!(header(r#"{"alg":"HS256"}"#), TokenError::Algorithm);
        assert_eq!(header(r#"{"alg":"eddsa"}"#), TokenError::Algorithm);
        assert_eq!(header(r#"{"alg":"EdDSA","crit":["b64"],"b64":false}"#), TokenError::Critical);
        assert_eq!(header(r#"{"alg":"EdDSA","alg":"EdDSA"}"#), TokenError::Malformed);
        assert_eq!(header(r#"{"alg":"EdDSA","kid":"1"}"#), TokenError::UnknownKey);
        assert_eq!(header(r#"{}"#), TokenError::Malformed);
        assert_eq!(header(r#"["alg"]"#), TokenError::Malformed);
    }

    #[test]
    fn types_in_any_case() {
        for (typ, is) in
            [("at+jwt", true), ("AT+JWT", true), ("application/at+jwt", true), ("jwt", false), ("é", false)]
        {
            let text = sign(&SigningKey::from_seed(&[1; 32]), typ, "{}");
            assert_eq!(Unverified::parse(&text).unwrap().is("at+jwt"), is, "{typ}");
        }
    }
}
