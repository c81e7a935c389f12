//! `ppsp:Signature`: who stands for a descriptor.

use alloc::{string::String, vec::Vec};

use data_encoding::BASE64;

use super::{
    Descriptor, DescriptorError,
    xml::{self, Element, Node},
};

impl Descriptor {
    /// The document with a signature. `sign` gets the bytes to sign and makes the Ed25519 signature (RFC 8032) of the key `kid`.
    pub fn to_signed_xml(&self, kid: &str, sign: impl FnOnce(&[u8]) -> [u8; 64]) -> String {
        let mut own = self.clone();
        own.root.remove(|element| element.is(Self::NAMESPACE, "Signature"));
        let name = own.prefix() + "Signature";
        // A text that is escaped as itself, so that start and end tag are written apart.
        let element = Element::new(&name, Self::NAMESPACE).with("kid", kid).text(" ");
        own.root.children.push(Node::Element(element));
        let mut document = own.root.document();
        let end = alloc::format!("</{name}></{}>\n", own.root.name);
        let at = document.len().saturating_sub(end.len() + 1);
        document.remove(at);
        let signature = BASE64.encode(&sign(document.as_bytes()));
        document.insert_str(at, &signature);
        document
    }

    /// Reads a descriptor and checks who stands for it. `check` gets the name of a key, the bytes that are signed and the
    /// signature; it answers [`SignatureError::UnknownKey`] or [`SignatureError::Wrong`] where it does not believe.
    ///
    /// # Errors
    ///
    /// [`SignatureError`].
    pub fn parse_signed(
        xml: &[u8],
        check: impl FnOnce(&str, &[u8], &[u8; 64]) -> Result<(), SignatureError>,
    ) -> Result<Self, SignatureError> {
        let parsed = xml::parse(xml)?;
        let is_signature = |element: &&Element| element.is(Self::NAMESPACE, "Signature");
        let last = parsed.root.elements().next_back().filter(is_signature);
        let (Some(element), 1) = (last, parsed.root.elements().filter(is_signature).count()) else {
            return Err(SignatureError::Missing);
        };
        let (begins, ends) = parsed.last.ok_or(SignatureError::Missing)?;
        let (Some(before), Some(after)) = (xml.get(..begins), xml.get(ends..)) else {
            return Err(SignatureError::Missing);
        };
        let text = xml.get(begins..ends).and_then(|text| core::str::from_utf8(text).ok());
        let signature = text.and_then(|text| BASE64.decode(text.as_bytes()).ok()?.try_into().ok());
        let signature = signature.ok_or(SignatureError::Malformed)?;
        let signed: Vec<u8> = [before, after].concat();
        check(element.attribute("kid").unwrap_or_default(), &signed, &signature)?;
        Ok(Self::from_root(parsed.root)?)
    }
}

/// Why nobody stands for a descriptor.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum SignatureError {
    /// There is no signature, or several, or it is not the last element.
    #[error("the descriptor is not signed")]
    Missing,
    /// It is not 64 bytes in base64.
    #[error("the descriptor's signature is not one")]
    Malformed,
    /// By a key that the reader does not know.
    #[error("the descriptor is signed with a key that is not known")]
    UnknownKey,
    /// Not of these bytes.
    #[error("the descriptor's signature does not fit: it was changed")]
    Wrong,
    /// Not a descriptor.
    #[error(transparent)]
    Descriptor(#[from] DescriptorError),
}
