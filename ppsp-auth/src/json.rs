//! Reading JSON that decides about access: one object, nothing after it, and no member twice.
//!
//! What the members mean is the business of those who call.

use alloc::{borrow::Cow, collections::BTreeSet, string::String};
use core::fmt;

use serde::{
    Deserialize, Deserializer, Serialize,
    de::{Error, IgnoredAny, MapAccess, SeqAccess, Visitor},
};

/// Reads one object. `None` where the text is no JSON, is not such an object, or names a member twice anywhere.
pub(crate) fn read<'a, T: Deserialize<'a>>(text: &'a [u8]) -> Option<T> {
    // serde would take a list of the members' values for the object.
    (text.trim_ascii_start().first() == Some(&b'{')).then_some(())?;
    // RFC 7519 §4: two readers that each take another one of two equal names would disagree about what was signed.
    serde_json::from_slice::<Unique>(text).ok()?;
    serde_json::from_slice(text).ok()
}

/// Writes a value. Ours have text for names and no maps that could fail.
pub(crate) fn write<T: Serialize>(value: &T) -> String {
    serde_json::to_string(value).unwrap_or_default()
}

/// Any value in which no object has two members of the same name.
struct Unique;

impl<'de> Deserialize<'de> for Unique {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Unique)
    }
}

impl<'de> Visitor<'de> for Unique {
    type Value = Self;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value without repeated names")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self, A::Error> {
        let mut names = BTreeSet::new();
        while let Some(Name(name)) = map.next_key()? {
            if !names.insert(name) {
                return Err(A::Error::custom("a name stands twice"));
            }
            map.next_value::<Self>()?;
        }
        Ok(self)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self, A::Error> {
        while seq.next_element::<Self>()?.is_some() {}
        Ok(self)
    }

    fn visit_bool<E>(self, _: bool) -> Result<Self, E> {
        Ok(self)
    }

    fn visit_i64<E>(self, _: i64) -> Result<Self, E> {
        Ok(self)
    }

    fn visit_u64<E>(self, _: u64) -> Result<Self, E> {
        Ok(self)
    }

    fn visit_f64<E>(self, _: f64) -> Result<Self, E> {
        Ok(self)
    }

    fn visit_str<E>(self, _: &str) -> Result<Self, E> {
        Ok(self)
    }

    fn visit_unit<E>(self) -> Result<Self, E> {
        Ok(self)
    }
}

/// A name, without a copy where it has no escapes.
#[derive(Eq, Ord, PartialEq, PartialOrd)]
struct Name<'a>(Cow<'a, str>);

impl<'de> Deserialize<'de> for Name<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        struct Borrowed<'a>(#[serde(borrow)] Cow<'a, str>);
        Borrowed::deserialize(deserializer).map(|Borrowed(name)| Self(name))
    }
}

/// A member that was there, whatever its value.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(crate) struct Present(pub(crate) bool);

impl<'de> Deserialize<'de> for Present {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        IgnoredAny::deserialize(deserializer).map(|_| Self(true))
    }
}

/// One string or a list of them: the form of `aud` (RFC 7519 §4.1.3).
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct OneOrMany(pub(crate) alloc::vec::Vec<String>);

impl<'de> Deserialize<'de> for OneOrMany {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum Either {
            One(String),
            Many(alloc::vec::Vec<String>),
        }
        Ok(Self(match Either::deserialize(deserializer)? {
            Either::One(one) => alloc::vec![one],
            Either::Many(many) => many,
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_name_twice_at_any_depth() {
        assert!(read::<IgnoredAny>(br#"{"a":1,"b":[{"a":null,"c":-1.5e3}],"A":true}"#).is_some());
        for text in [r#"{"a":1,"a":1}"#, r#"{"a":1,"\u0061":1}"#, r#"{"":[[{"x":{"a":1,"b":2,"a":3}}]]}"#] {
            assert!(read::<IgnoredAny>(text.as_bytes()).is_none(), "{text}");
        }
    }

    #[test]
    fn one_object_and_not_too_deep() {
        assert!(read::<IgnoredAny>(b"[]").is_none());
        assert!(read::<IgnoredAny>(b"{} {}").is_none());
        assert!(read::<IgnoredAny>(b"").is_none());
        assert!(read::<IgnoredAny>(&br#"{"":"#.repeat(10_000)).is_none());
    }

    #[test]
    fn present_even_where_null() {
        #[derive(Deserialize)]
        struct Header {
            #[serde(default)]
            crit: Present,
        }
        assert!(read::<Header>(br#"{"crit":null}"#).is_some_and(|header| header.crit.0));
        assert!(read::<Header>(b"{}").is_some_and(|header| !header.crit.0));
    }
}
