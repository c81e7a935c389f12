//! Asking the issuer about a token (RFC 7662): request and answer, with the members that PPSP adds.
//!
//! Who answers checks all that RFC 7662 §4 asks for; who asks proves itself with an [`assertion`](crate::assertion).

use alloc::{collections::BTreeMap, string::String, vec::Vec};

use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use crate::{
    grant::Grants,
    json,
    oauth::{Form, FormWriter, OauthError, OauthErrorCode},
    token::{Claims, TokenText, access::Written},
};

/// The most swarms in one request.
pub const MAX_SWARMS: usize = 64;

/// The most catalogue groups of one swarm.
pub const MAX_GROUPS: usize = 64;

/// The longest answer that is read, in bytes.
pub const MAX_ANSWER: usize = 512 << 10;

/// Whether a token counts, and in which catalogue groups some swarms are (RFC 7662 §2.1).
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct IntrospectionRequest {
    /// The token.
    pub token: TokenText,
    /// Swarm IDs whose groups the asker needs; at most [`MAX_SWARMS`].
    pub swarms: Vec<String>,
}

impl IntrospectionRequest {
    /// Reads the parameters.
    ///
    /// # Errors
    /// An [`OauthError`] to be sent back.
    pub fn read(form: &Form) -> Result<Self, OauthError> {
        let swarms: Vec<String> = form.all("swarm_id").map(String::from).collect();
        if swarms.len() > MAX_SWARMS || swarms.iter().any(|swarm| swarm.len() > Grants::MAX_SWARM) {
            return Err(OauthError::new(OauthErrorCode::InvalidRequest, "there are too many swarms, or too long ones"));
        }
        Ok(Self { token: TokenText::new(form.required("token")?), swarms })
    }

    /// The parameters, to which who asks adds its proof.
    pub fn write(&self) -> FormWriter {
        let form = FormWriter::default().with("token", self.token.as_str()).with("token_type_hint", "access_token");
        self.swarms.iter().fold(form, |form, swarm| form.with("swarm_id", swarm))
    }
}

/// The answer (RFC 7662 §2.2).
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Introspection {
    /// The token does not count. RFC 7662 §2.2: why is not said.
    Inactive,
    /// The token counts.
    Active(Active),
}

/// What the issuer says about a token that counts.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Active {
    /// What the token says. The grants are those that hold now, be they more or less than those in the token.
    pub claims: Claims,
    /// The catalogue groups of the swarms that were asked for, as far as the issuer knows them.
    pub swarm_groups: BTreeMap<String, Vec<String>>,
}

/// An answer that is malformed, too long, or says more than its limits allow.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("the answer about the token is malformed")]
pub struct BadAnswer;

impl Introspection {
    /// Reads an answer.
    ///
    /// # Errors
    /// [`BadAnswer`].
    pub fn read(body: &[u8]) -> Result<Self, BadAnswer> {
        if body.len() > MAX_ANSWER {
            return Err(BadAnswer);
        }
        #[derive(Deserialize)]
        struct Read {
            active: bool,
            #[serde(default)]
            swarm_groups: BTreeMap<String, Vec<String>>,
        }
        let read: Read = json::read(body).ok_or(BadAnswer)?;
        if !read.active {
            return Ok(Self::Inactive);
        }
        let fits = read.swarm_groups.len() <= MAX_SWARMS
            && read.swarm_groups.iter().all(|(swarm, groups)| {
                swarm.len() <= Grants::MAX_SWARM
                    && groups.len() <= MAX_GROUPS
                    && groups.iter().all(|group| group.len() <= Grants::MAX_GROUP)
            });
        if !fits {
            return Err(BadAnswer);
        }
        let claims = Claims::read(body).map_err(|_| BadAnswer)?;
        Ok(Self::Active(Active { claims, swarm_groups: read.swarm_groups }))
    }

    /// The answer as JSON.
    pub fn write(&self) -> Zeroizing<String> {
        #[derive(Serialize)]
        struct Answer<'a> {
            active: bool,
            token_type: &'static str,
            #[serde(flatten)]
            claims: Written<'a>,
            swarm_groups: &'a BTreeMap<String, Vec<String>>,
        }
        Zeroizing::new(match self {
            Self::Inactive => r#"{"active":false}"#.into(),
            Self::Active(Active { claims, swarm_groups }) => {
                json::write(&Answer { active: true, token_type: "Bearer", claims: claims.written(), swarm_groups })
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::token::access::tests::claims;
    use proptest::{collection::btree_map, collection::vec, prelude::*};

    proptest! {
        #[test]
        fn what_is_written_is_read(
            session: u128, swarm_groups in btree_map("[0-9a-f]{1,9}", vec("\\PC{1,9}", 0..4), 0..9),
        ) {
            let answer = Introspection::Active(Active { claims: claims(session), swarm_groups });
            prop_assert_eq!(Introspection::read(answer.write().as_bytes()), Ok(answer));
        }

        #[test]
        fn requests(token in "\\PC{1,50}", swarms in vec("[0-9a-f]{1,9}", 0..9)) {
            let request = IntrospectionRequest { token: TokenText::new(token), swarms };
            let form = Form::parse(request.write().finish().as_bytes()).unwrap();
            prop_assert_eq!(IntrospectionRequest::read(&form), Ok(request));
        }
    }

    #[test]
    fn inactive_says_nothing_else() {
        assert_eq!(Introspection::Inactive.write().as_str(), r#"{"active":false}"#);
        // RFC 7662 §2.2: the example of an inactive token.
        assert_eq!(Introspection::read(br#"{ "active": false }"#), Ok(Introspection::Inactive));
        assert_eq!(Introspection::read(br#"{"active":false,"sub":7}"#), Ok(Introspection::Inactive));
    }

    #[test]
    fn what_is_no_answer() {
        for body in ["", "{}", r#"{"active":"true"}"#, r#"{"active":true}"#, r#"{"active":false,"active":true}"#] {
            assert_eq!(Introspection::read(body.as_bytes()), Err(BadAnswer), "{body}");
        }
        let with = |swarm_groups: &str| {
            let text = Introspection::Active(Active { claims: claims(1), swarm_groups: BTreeMap::new() }).write();
            Introspection::read(text.replace(r#""swarm_groups":{}"#, swarm_groups).as_bytes()).map(drop)
        };
        assert_eq!(with(r#""swarm_groups":{"a":["b"]}"#), Ok(()));
        assert_eq!(with(r#""other":1"#), Ok(()));
        let swarms = |n| {
            format!(r#""swarm_groups":{{{}}}"#, (0..n).map(|i| format!(r#""{i}":[]"#)).collect::<Vec<_>>().join(","))
        };
        assert_eq!(with(&swarms(MAX_SWARMS)), Ok(()));
        assert_eq!(with(&swarms(MAX_SWARMS + 1)), Err(BadAnswer));
        let groups = |n| format!(r#""swarm_groups":{{"a":[{}]}}"#, vec![r#""g""#; n].join(","));
        assert_eq!(with(&groups(MAX_GROUPS)), Ok(()));
        assert_eq!(with(&groups(MAX_GROUPS + 1)), Err(BadAnswer));
        assert_eq!(with(&format!(r#""x":"{}""#, "a".repeat(MAX_ANSWER))), Err(BadAnswer));
    }

    #[test]
    fn requests_at_the_limits() {
        let form = |swarms: Vec<String>| {
            let text = IntrospectionRequest { token: TokenText::new("t"), swarms }.write().finish();
            IntrospectionRequest::read(&Form::parse(text.as_bytes()).unwrap()).is_ok()
        };
        assert!(form(vec!["a".repeat(Grants::MAX_SWARM); MAX_SWARMS]));
        assert!(!form(vec!["a".into(); MAX_SWARMS + 1]));
        assert!(!form(vec!["a".repeat(Grants::MAX_SWARM + 1)]));
        assert!(IntrospectionRequest::read(&Form::parse(b"swarm_id=a").unwrap()).is_err());
    }
}
