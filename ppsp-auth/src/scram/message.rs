//! The four messages (RFC 5802 §7): text to parts and back, without any state.
//!
//! The strict form is written. The reader ignores extensions it need not know, and refuses what could be read in two
//! ways: attributes out of order, base64 that is not canonical, control characters in a nonce.

use alloc::{format, string::String, vec::Vec};

use data_encoding::BASE64;

use super::{
    MAX_MESSAGE_LEN, Nonce, ScramError,
    verifier::{base64, number},
};
use crate::UserName;

/// `n,,n=user,r=…`
pub(super) struct ClientFirst<'a> {
    /// The gs2-header, with its last comma.
    pub(super) header: &'a str,
    /// The client-first-message-bare.
    pub(super) bare: &'a str,
    pub(super) name: UserName,
    pub(super) nonce: &'a str,
}

impl<'a> ClientFirst<'a> {
    pub(super) fn write_bare(name: &UserName, nonce: &str) -> String {
        // A name of ours has no character that saslname would have to escape.
        format!("n={name},r={nonce}")
    }

    pub(super) fn read(message: &'a str) -> Result<Self, ScramError> {
        bounded(message)?;
        let mut parts = message.splitn(3, ',');
        let flag = parts.next().unwrap_or_default();
        let (Some(identity), Some(bare)) = (parts.next(), parts.next()) else { return Err(ScramError::Malformed) };
        match flag {
            "n" | "y" => {}
            _ if flag.starts_with("p=") => return Err(ScramError::ChannelBinding),
            _ => return Err(ScramError::Malformed),
        }
        let mut attributes = Attributes::new(bare)?;
        let name: UserName = sasl_name(attributes.due('n')?)?.parse()?;
        let nonce = nonce(attributes.due('r')?)?;
        attributes.ignore_rest()?;
        if !identity.is_empty() {
            let identity = sasl_name(identity.strip_prefix("a=").ok_or(ScramError::Malformed)?)?;
            if identity.parse() != Ok(name.clone()) {
                return Err(ScramError::OtherIdentity);
            }
        }
        Ok(Self { header: &message[..message.len() - bare.len()], bare, name, nonce })
    }
}

/// `r=…,s=…,i=…`
pub(super) struct ServerFirst<'a> {
    /// The client's nonce and the server's behind it.
    pub(super) nonce: &'a str,
    pub(super) salt: Vec<u8>,
    pub(super) iterations: u32,
}

impl<'a> ServerFirst<'a> {
    pub(super) fn write(client_nonce: &str, server_nonce: &str, salt: &[u8; 16], iterations: u32) -> String {
        format!("r={client_nonce}{server_nonce},s={},i={iterations}", BASE64.encode(salt))
    }

    pub(super) fn read(message: &'a str) -> Result<Self, ScramError> {
        bounded(message)?;
        let mut attributes = Attributes::new(message)?;
        let nonce = nonce(attributes.due('r')?)?;
        let salt = BASE64.decode(attributes.due('s')?.as_bytes()).map_err(|_| ScramError::Malformed)?;
        let iterations = number(attributes.due('i')?).ok_or(ScramError::Malformed)?;
        attributes.ignore_rest()?;
        if salt.is_empty() {
            return Err(ScramError::Malformed);
        }
        Ok(Self { nonce, salt, iterations })
    }
}

/// `c=…,r=…,p=…`
pub(super) struct ClientFinal<'a> {
    pub(super) without_proof: &'a str,
    /// What `c=` holds, decoded.
    pub(super) binding: Vec<u8>,
    pub(super) nonce: &'a str,
    pub(super) proof: [u8; 32],
}

impl<'a> ClientFinal<'a> {
    pub(super) fn write_without_proof(nonce: &str) -> String {
        format!("c={},r={nonce}", BASE64.encode(GS2_HEADER.as_bytes()))
    }

    pub(super) fn write(without_proof: &str, proof: &[u8; 32]) -> String {
        format!("{without_proof},p={}", BASE64.encode(proof))
    }

    pub(super) fn read(message: &'a str) -> Result<Self, ScramError> {
        bounded(message)?;
        // RFC 5802 §7: the proof is last, whatever extensions stand before it.
        let (without_proof, proof) = message.rsplit_once(",p=").ok_or(ScramError::Malformed)?;
        let mut attributes = Attributes::new(without_proof)?;
        let binding = BASE64.decode(attributes.due('c')?.as_bytes()).map_err(|_| ScramError::Malformed)?;
        let nonce = nonce(attributes.due('r')?)?;
        attributes.ignore_rest()?;
        Ok(Self { without_proof, binding, nonce, proof: base64(proof).ok_or(ScramError::Malformed)? })
    }
}

/// `v=…`, or `e=…` in its place.
pub(super) struct ServerFinal {
    pub(super) signature: [u8; 32],
}

impl ServerFinal {
    pub(super) fn write(signature: &[u8; 32]) -> String {
        format!("v={}", BASE64.encode(signature))
    }

    pub(super) fn read(message: &str) -> Result<Self, ScramError> {
        bounded(message)?;
        if message.starts_with("e=") {
            return Err(ScramError::Refused);
        }
        let mut attributes = Attributes::new(message)?;
        let signature = base64(attributes.due('v')?).ok_or(ScramError::Malformed)?;
        attributes.ignore_rest()?;
        Ok(Self { signature })
    }
}

/// RFC 5802 §3: what both proofs are made over.
pub(super) fn auth_message(client_first_bare: &str, server_first: &str, client_final_without_proof: &str) -> String {
    format!("{client_first_bare},{server_first},{client_final_without_proof}")
}

/// A nonce as it is sent.
pub(super) fn nonce_text(nonce: &Nonce) -> String {
    BASE64.encode(nonce)
}

/// What a client sends before the bare message: no channel binding, no other identity.
pub(super) const GS2_HEADER: &str = "n,,";

/// The longest nonce that is read, in characters: the client's or both together.
const MAX_NONCE_LEN: usize = 256;

fn bounded(message: &str) -> Result<(), ScramError> {
    if message.len() > MAX_MESSAGE_LEN { Err(ScramError::TooLong) } else { Ok(()) }
}

/// RFC 5802 §7, `printable`: visible ASCII without the comma, at which the message was already split.
fn nonce(text: &str) -> Result<&str, ScramError> {
    let good = (1..=MAX_NONCE_LEN).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_graphic());
    if good { Ok(text) } else { Err(ScramError::Malformed) }
}

/// RFC 5802 §5.1: in a name, `=2C` is a comma and `=3D` an equals sign, and nothing else follows `=`. No name of ours
/// has either, so the escapes are turned back only for the right error.
fn sasl_name(text: &str) -> Result<String, ScramError> {
    let name = text.replace("=2C", ",");
    if name.replace("=3D", "").contains('=') {
        return Err(ScramError::Malformed);
    }
    Ok(name.replace("=3D", "="))
}

/// Attributes in their order: a letter, `=`, a value without comma.
struct Attributes<'a>(core::str::Split<'a, char>);

impl<'a> Attributes<'a> {
    fn new(text: &'a str) -> Result<Self, ScramError> {
        // RFC 5802 §5.1: a mandatory extension that is not known makes authentication fail.
        if text.starts_with("m=") { Err(ScramError::Extension) } else { Ok(Self(text.split(','))) }
    }

    fn next(&mut self) -> Result<Option<(char, &'a str)>, ScramError> {
        let Some(attribute) = self.0.next() else { return Ok(None) };
        let mut chars = attribute.chars();
        match (chars.next(), chars.next(), chars.as_str()) {
            // RFC 5802 §7: a value has at least one character, and none of them is NUL.
            (Some(name @ ('a'..='z' | 'A'..='Z')), Some('='), value) if !value.is_empty() && !value.contains('\0') => {
                Ok(Some((name, value)))
            }
            _ => Err(ScramError::Malformed),
        }
    }

    fn due(&mut self, name: char) -> Result<&'a str, ScramError> {
        match self.next()? {
            Some((found, value)) if found == name => Ok(value),
            _ => Err(ScramError::Malformed),
        }
    }

    /// RFC 5802 §7: extensions that are not known are ignored; but they are attributes.
    fn ignore_rest(mut self) -> Result<(), ScramError> {
        while let Some((name, _)) = self.next()? {
            if name == 'm' {
                return Err(ScramError::Extension);
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ScramError::{ChannelBinding, Extension, Malformed, OtherIdentity, TooLong};
    use alloc::string::ToString;

    #[test]
    fn client_first() {
        let read = |message: &str| {
            ClientFirst::read(message).map(|first| [first.header, first.name.as_str(), first.nonce].map(str::to_string))
        };
        let good = |parts: [&str; 3]| Ok(parts.map(str::to_string));
        assert_eq!(read("n,,n=user,r=x"), good(["n,,", "user", "x"]));
        assert_eq!(read("y,,n=User,r=x,z=1,y==,"), Err(Malformed));
        assert_eq!(read("y,,n=User,r=x,z=1,y=="), good(["y,,", "user", "x"]));
        assert_eq!(read("n,a=user,n=user,r=x"), good(["n,a=user,", "user", "x"]));
        assert_eq!(read("n,a=admin,n=user,r=x"), Err(OtherIdentity));
        // RFC 5802 §5.1: m= is refused wherever it stands.
        assert_eq!(read("n,,m=1,n=user,r=x"), Err(Extension));
        assert_eq!(read("n,,n=user,r=x,m=1"), Err(Extension));
        assert_eq!(read("p=tls-exporter,,n=user,r=x"), Err(ChannelBinding));
        for name in ["=2C", "a=3Db", "ü", "a b"] {
            assert_eq!(read(&format!("n,,n={name},r=x")).err(), Some(crate::UserNameError::Character.into()), "{name}");
        }
        for bad in [
            "",
            "n",
            "n,",
            "n,,",
            "n,,n=user",
            "n,,n=user,",
            "n,,n=user,r=",
            "n,,r=x,n=user",
            "n,,n=,r=x",
            "x,,n=a,r=x",
            "n,b=a,n=a,r=x",
            "n,,n=a=,r=x",
            "n,,n=a=2c,r=x",
            "n,,n=a=2,r=x",
            "n,,n=a,r=x y",
            "n,,n=a,r=é",
            "n,,n=a,r=x\n",
            "n,,n=a,r=x,1=2",
            "n,,n=a,r=x,b",
            "nn,,n=a,r=x",
            "n,,n=a,r=x,b=\0",
            "F,n,,n=a,r=x",
        ] {
            assert_eq!(read(bad), Err(Malformed), "{bad:?}");
        }
        assert_eq!(read(&format!("n,,n=a,r={}", "x".repeat(257))), Err(Malformed));
        assert_eq!(read(&format!("n,,n=a,r=x,b={}", "x".repeat(1024))), Err(TooLong));
    }

    #[test]
    fn server_first() {
        let read = |message| ServerFirst::read(message).map(|first| (first.nonce, first.salt, first.iterations));
        assert_eq!(read("r=ab,s=AA==,i=4096,x=y"), Ok(("ab", alloc::vec![0], 4096)));
        assert_eq!(read("m=1,r=ab,s=AA==,i=4096"), Err(Extension));
        for bad in [
            "r=ab,s=,i=1",
            "r=ab,s=AB==,i=1",
            "r=ab,s=AA,i=1",
            "r=ab,s=AA==,i=0",
            "r=ab,s=AA==,i=01",
            "r=ab,s=AA==,i=-1",
            "r=ab,s=AA==,i=4294967296",
            "r=ab,i=1,s=AA==",
            "s=AA==,i=1",
            "r=ab,s=AA==",
            "r=ab,s=AA==,i=1,",
            "r=ab,s=A A=,i=1",
        ] {
            assert_eq!(read(bad), Err(Malformed), "{bad}");
        }
    }

    #[test]
    fn client_final() {
        let proof = BASE64.encode(&[7; 32]);
        let read = |message: &str| {
            ClientFinal::read(message)
                .map(|last| (last.without_proof.to_string(), last.binding, last.nonce.to_string()))
        };
        let good = ("c=biws,r=ab,x=p=y".to_string(), b"n,,".to_vec(), "ab".to_string());
        assert_eq!(read(&format!("c=biws,r=ab,x=p=y,p={proof}")), Ok(good));
        for bad in ["c=biws,r=ab", "c=biws,p=", "c=biws,r=ab,p=AAAA", "c=biw,r=ab,p=", "p=AA"] {
            assert_eq!(read(bad), Err(Malformed), "{bad}");
        }
        assert_eq!(read(&format!("c=biws,r=ab,p={proof},x=1")), Err(Malformed));
        assert_eq!(read(&format!("c=biws,r=ab,m=1,p={proof}")), Err(Extension));
    }

    #[test]
    fn server_final() {
        let text = ServerFinal::write(&[1; 32]);
        assert_eq!(ServerFinal::read(&text).unwrap().signature, [1; 32]);
        assert!(ServerFinal::read(&format!("{text},x=1")).is_ok());
        assert_eq!(ServerFinal::read("e=invalid-proof").err(), Some(ScramError::Refused));
        assert_eq!(ServerFinal::read("v=AAAA").err(), Some(Malformed));
        assert_eq!(ServerFinal::read("").err(), Some(Malformed));
    }
}
