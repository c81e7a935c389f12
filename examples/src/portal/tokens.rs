//! Tokens: giving them out, asking about them, taking them back.

use std::collections::{BTreeMap, BTreeSet};

use ppsp_auth::{
    assertion::Presented,
    grant::Grants,
    introspection::{Active, Introspection, IntrospectionRequest},
    oauth::{OauthError, OauthErrorCode, RefreshRequest, RevocationRequest, TokenResponse},
    token::{Claims, DEFAULT_LEEWAY, Expectation, RefreshToken, Role, TRACKERS, TokenText, VerifyingKey},
};
use ppsp_core::Identifier;

use super::{
    Portal, Refusal,
    access::Access,
    db::{
        self, DbError, Tx, audit,
        content::{self, Content},
        trackers::State,
    },
    id::random,
    lock,
    sessions::{caller, of},
    unix_now,
};

/// The life of an access token, in seconds.
pub(super) const LIFETIME: u64 = 600;

impl Portal {
    /// A new access token for a refresh token, which is replaced (RFC 6749 §6).
    ///
    /// # Errors
    ///
    /// See [`OauthErrorCode`]. A refresh token that was replaced before ends its session (RFC 9700 §4.14.2).
    pub async fn refresh(&self, request: RefreshRequest) -> Result<TokenResponse, OauthError> {
        let now = unix_now();
        let for_trackers = match request.audience.as_deref() {
            Some(TRACKERS) => true,
            Some(audience) if audience != self.issuer() => return Err(error(OauthErrorCode::InvalidTarget, AUDIENCE)),
            _ => false,
        };
        let shown = RefreshToken::parse(&request.refresh_token).ok_or_else(bad_grant)?;
        let next = shown.successor(&random());
        let refresh_token = next.to_text();
        let contents = request.content;
        let refreshed = self.db().write(move |tx| {
            let found = db::sessions::of_refresh_key(tx, &shown.session_key())?;
            let (session, state) = found.ok_or_else(bad_grant)?;
            let caller = caller(tx, Some(session), now).map_err(|_| bad_grant())?;
            let Ok(state) = state.decide(&shown, &next, now) else {
                db::sessions::revoke(tx, caller.session.id, now)?;
                audit::add(tx, now, caller.name().as_str(), "refresh token used twice", &of(&caller.session))?;
                return Ok(None);
            };
            db::sessions::refresh(tx, caller.session.id, &state.0, now)?;
            let grants = if for_trackers {
                let access = Access::of(tx, caller.user.clone())?;
                grants(tx, &access, &contents, now, now + LIFETIME)?
            } else {
                Grants::default()
            };
            Ok(Some((caller.session.client, caller.session.id, caller.user.role, grants)))
        });
        let refreshed: Result<_, Trouble> = refreshed.await;
        let (client, session, role, grants) = refreshed.map_err(OauthError::from)?.ok_or_else(bad_grant)?;
        let audience = if for_trackers { TRACKERS } else { self.issuer() };
        let access_token = self.token(client, session, role, audience, grants, now)?;
        self.0.metrics.token(if for_trackers { "tracker" } else { "portal" });
        Ok(TokenResponse { access_token, expires_in: LIFETIME, refresh_token: Some(refresh_token) })
    }

    /// A token for the Portal itself.
    pub(super) fn own_token(
        &self,
        client: Identifier,
        session: u128,
        role: Role,
        unix_now: u64,
    ) -> Result<TokenText, Refusal> {
        let token = self.token(client, session, role, self.issuer(), Grants::default(), unix_now);
        token.map_err(|error| Refusal::Fault(error.to_string()))
    }

    fn token(
        &self,
        client: Identifier,
        session: u128,
        role: Role,
        audience: &str,
        grants: Grants,
        unix_now: u64,
    ) -> Result<TokenText, OauthError> {
        let claims = Claims {
            issuer: self.issuer().into(),
            client,
            audience: vec![audience.into()],
            issued: unix_now,
            not_before: unix_now,
            expires: unix_now + LIFETIME,
            id: u128::from_be_bytes(random()),
            session,
            role,
            grants,
        };
        claims.sign(&self.0.ring.signer(unix_now)).map_err(|_| too_much())
    }

    /// Answers a tracker that asks about a token (RFC 7662). `asserted` is the tracker's proof of who it is.
    ///
    /// The grants in the answer are those that hold now of what the token was made for: policies may have changed since.
    ///
    /// # Errors
    ///
    /// [`OauthErrorCode::InvalidClient`] for who is no approved tracker.
    pub async fn introspect(
        &self,
        asserted: &Presented,
        request: IntrospectionRequest,
    ) -> Result<Introspection, OauthError> {
        let now = unix_now();
        self.must_be_tracker(asserted, now).await?;
        let expected = Expectation::new(self.issuer(), TRACKERS);
        let checked = expected.check(&self.0.ring.published(now), request.token.as_str(), now);
        let answer = match checked {
            Ok(token) => {
                let claims = token.into_claims();
                let swarms = request.swarms;
                let read = self.db().read(move |tx| {
                    let session = db::sessions::find(tx, claims.session)?;
                    let caller = match caller(tx, session, now) {
                        Ok(caller) => caller,
                        Err(Refusal::NotSignedIn(_)) => return Ok(Introspection::Inactive),
                        Err(refusal) => return Err(refusal),
                    };
                    if caller.session.client != claims.client {
                        return Ok(Introspection::Inactive);
                    }
                    let (role, access) = (caller.user.role, Access::of(tx, caller.user)?);
                    let (grants, swarm_groups) = grants_now(tx, &access, &claims, &swarms, now)?;
                    Ok(Introspection::Active(Active {
                        claims: Claims { grants, role, ..claims.clone() },
                        swarm_groups,
                    }))
                });
                read.await?
            }
            Err(_) => Introspection::Inactive,
        };
        self.0.metrics.introspection(matches!(answer, Introspection::Active(_)));
        Ok(answer)
    }

    /// Ends the session of an access or refresh token (RFC 7009). One that is not known is no error.
    ///
    /// # Errors
    ///
    /// Those of the database.
    pub async fn revoke(&self, request: RevocationRequest) -> Result<(), OauthError> {
        let now = unix_now();
        let refresh = RefreshToken::parse(&request.token);
        let keys = self.0.ring.published(now);
        let audiences = [self.issuer(), TRACKERS].map(|audience| Expectation::new(self.issuer(), audience));
        let token = audiences.iter().find_map(|expected| expected.check(&keys, request.token.as_str(), now).ok());
        let id = token.map(|token| token.claims().session);
        let revoked: Result<(), Refusal> = self
            .db()
            .write(move |tx| {
                let session = match (&refresh, id) {
                    (Some(shown), _) => db::sessions::of_refresh_key(tx, &shown.session_key())?.map(|(found, _)| found),
                    (None, Some(id)) => db::sessions::find(tx, id)?,
                    (None, None) => None,
                };
                if let Some(session) = session
                    && db::sessions::revoke(tx, session.id, now)?
                {
                    audit::add(tx, now, session.user.as_str(), "sign out", &of(&session))?;
                }
                Ok(())
            })
            .await;
        Ok(revoked?)
    }

    /// Lets only approved trackers pass.
    async fn must_be_tracker(&self, asserted: &Presented, unix_now: u64) -> Result<(), OauthError> {
        let id = asserted.service().to_owned();
        let read: Result<_, Refusal> = self.db().read(move |tx| Ok(db::trackers::find(tx, &id)?)).await;
        let tracker = read?.filter(|tracker| tracker.state == State::Approved);
        let key = tracker.and_then(|tracker| VerifyingKey::from_jwk(&tracker.jwk).ok());
        let key = key.ok_or_else(|| error(OauthErrorCode::InvalidClient, "this is no approved tracker"))?;
        let checked = asserted.check(&key, self.issuer(), DEFAULT_LEEWAY, unix_now, &mut lock(&self.0.replays));
        checked.map_err(|why| error(OauthErrorCode::InvalidClient, &why.to_string()))
    }

    /// Forgets assertions that have expired.
    pub(super) fn sweep_assertions(&self, unix_now: u64) {
        lock(&self.0.replays).sweep(unix_now);
    }
}

/// What a new token for trackers grants: this content, or all that the user may have where none is named.
fn grants(tx: &mut Tx<'_>, access: &Access, ids: &[String], unix_now: u64, expires: u64) -> Result<Grants, Trouble> {
    let mut contents = Vec::new();
    if !ids.is_empty() {
        for id in ids {
            let content = content::find(tx, id)?;
            contents.push(content.ok_or_else(no_content)?);
        }
        let grants = access.grants_of(tx, &contents, unix_now, expires)?.ok_or_else(too_much)?;
        // Each of them opens something, or the user asks for what it may not have.
        for content in &contents {
            let one = access.grants_of(tx, std::slice::from_ref(content), unix_now, expires)?.ok_or_else(too_much)?;
            if one.as_slice().is_empty() {
                return Err(no_content().into());
            }
        }
        return Ok(grants);
    }
    let groups =
        if access.is_admin() { content::groups(tx, Grants::MAX_NAMES as u64)? } else { access.allowed_groups() };
    let by_group = access.grants_of_groups(tx, &groups, unix_now, expires)?.ok_or_else(too_much)?;
    let granted: BTreeSet<&String> = by_group.as_slice().iter().flat_map(|grant| &grant.groups).collect();
    // What is not in a group that is granted as a whole: own content, single content, the rest of a group.
    let found = content::search(tx, &access.search("", ""), "", MAX_SINGLE)?;
    contents.extend(found.into_iter().filter(|content| !granted.contains(&content.group)));
    let single = access.grants_of(tx, &contents, unix_now, expires)?.ok_or_else(too_much)?;
    Ok(Grants::new([single.as_slice(), by_group.as_slice()].concat()).map_err(|_| too_much())?)
}

/// What a token that was made before grants now, and the catalogue groups of the swarms that are asked for.
fn grants_now(
    tx: &mut Tx<'_>,
    access: &Access,
    claims: &Claims,
    asked: &[String],
    unix_now: u64,
) -> Result<(Grants, BTreeMap<String, Vec<String>>), DbError> {
    let granted = claims.grants.as_slice();
    let groups: BTreeSet<&String> = granted.iter().flat_map(|grant| &grant.groups).collect();
    let swarms: BTreeSet<&String> = granted.iter().flat_map(|grant| &grant.swarms).collect();
    let mut contents: BTreeMap<String, Content> = BTreeMap::new();
    let mut swarm_groups: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for swarm in asked.iter().chain(swarms.iter().copied()).collect::<BTreeSet<_>>() {
        for content in content::with_swarm(tx, swarm)? {
            if asked.contains(swarm) {
                let of_swarm = swarm_groups.entry(swarm.clone()).or_default();
                if !of_swarm.contains(&content.group) && of_swarm.len() < ppsp_auth::introspection::MAX_GROUPS {
                    of_swarm.push(content.group.clone());
                }
            }
            // Nothing is granted for which the token was not made.
            if swarms.contains(swarm) || groups.contains(&content.group) {
                contents.insert(content.id.clone(), content);
            }
        }
    }
    let contents: Vec<_> = contents.into_values().collect();
    let groups: Vec<_> = groups.into_iter().cloned().collect();
    let expires = claims.expires;
    let single = access.grants_of(tx, &contents, unix_now, expires)?.unwrap_or_default();
    let by_group = access.grants_of_groups(tx, &groups, unix_now, expires)?.unwrap_or_default();
    let grants = Grants::new([single.as_slice(), by_group.as_slice()].concat()).unwrap_or(single);
    Ok((grants, swarm_groups))
}

/// What a closure that talks OAuth fails with.
enum Trouble {
    Oauth(OauthError),
    Db(DbError),
}

impl From<DbError> for Trouble {
    fn from(error: DbError) -> Self {
        Self::Db(error)
    }
}

impl From<OauthError> for Trouble {
    fn from(error: OauthError) -> Self {
        Self::Oauth(error)
    }
}

impl From<Trouble> for OauthError {
    fn from(trouble: Trouble) -> Self {
        match trouble {
            Trouble::Oauth(error) => error,
            Trouble::Db(error) => Refusal::from(error).into(),
        }
    }
}

fn error(code: OauthErrorCode, why: &str) -> OauthError {
    OauthError::new(code, why)
}

fn bad_grant() -> OauthError {
    error(OauthErrorCode::InvalidGrant, "the session has ended; sign in again")
}

fn no_content() -> OauthError {
    error(OauthErrorCode::InvalidScope, "there is no such content, or it is not allowed to you now")
}

fn too_much() -> OauthError {
    error(OauthErrorCode::InvalidScope, "this is more than one token can open: ask for less content")
}

const AUDIENCE: &str = "there are tokens for the Portal itself and for ppsp-tracker";

/// The most content that is looked at, the newest first, for a token that names none.
const MAX_SINGLE: u64 = 512;
