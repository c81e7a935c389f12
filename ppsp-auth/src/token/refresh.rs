use alloc::{format, string::String};
use core::fmt;

use data_encoding::{BASE64URL_NOPAD, HEXLOWER};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;
use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

use super::TokenText;

/// How long after a rotation the token before it is accepted once more, in seconds.
pub const REFRESH_GRACE: u64 = 30;

/// A refresh token (RFC 6749 §1.5): 256 bits that only the client and, as hashes, the Portal know.
///
/// The first half is drawn at login and the same in all tokens of a session; the second is drawn anew for each. So the
/// Portal finds the session of *every* token it ever gave out without a list of them, and whoever shows a right first half
/// with a wrong second one has held a token of this session. Nobody else can provoke that.
#[derive(Clone, Zeroize, ZeroizeOnDrop)]
pub struct RefreshToken {
    family: [u8; 16],
    secret: [u8; 16],
}

impl RefreshToken {
    /// The first token of a session, from random bytes.
    pub fn first(random: &[u8; 32]) -> Self {
        let mut token = Self { family: [0; 16], secret: [0; 16] };
        token.family.copy_from_slice(&random[..16]);
        token.secret.copy_from_slice(&random[16..]);
        token
    }

    /// The next token of the same session, from random bytes.
    pub fn successor(&self, random: &[u8; 16]) -> Self {
        Self { family: self.family, secret: *random }
    }

    /// Reads a token as it travels. `None` where it has not the form of one.
    pub fn parse(text: &TokenText) -> Option<Self> {
        let mut bytes = Zeroizing::new([0; 32]);
        (text.as_str().len() == 43).then_some(())?;
        BASE64URL_NOPAD.decode_mut(text.as_str().as_bytes(), &mut *bytes).ok()?;
        Some(Self::first(&bytes))
    }

    /// The token as it travels: 43 characters.
    pub fn to_text(&self) -> TokenText {
        let mut bytes = Zeroizing::new([0; 32]);
        bytes[..16].copy_from_slice(&self.family);
        bytes[16..].copy_from_slice(&self.secret);
        TokenText::new(BASE64URL_NOPAD.encode(&*bytes))
    }

    /// Under which a Portal keeps the session: the hash of the first half, in hexadecimal.
    ///
    /// Hashing once is enough: there is nothing to guess in 128 random bits.
    pub fn session_key(&self) -> String {
        HEXLOWER.encode(&hash("session", &self.family))
    }

    fn digest(&self) -> [u8; 32] {
        hash("secret", &self.secret)
    }
}

impl fmt::Debug for RefreshToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("RefreshToken(…)")
    }
}

/// What a Portal keeps of the refresh tokens of a session. Who reads it can make no token of it.
///
/// A rotation must replace the state in one step and only where it still is the one that was read (compare and swap): of
/// two requests with the same token at the same moment one then decides again, with what the other one left.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct RefreshState {
    /// The hash of the token that counts.
    pub current: [u8; 32],
    /// The hash of the one before.
    pub previous: Option<[u8; 32]>,
    /// Unix second in which the previous token was replaced.
    pub rotated: u64,
    /// Whether the previous token was accepted once more since.
    pub repeated: bool,
}

/// A token was accepted; this is kept from now on.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Refreshed(pub RefreshState);

/// A token of this session that had been replaced was shown: two have it, and one of them stole it. The session must be
/// revoked.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("a refresh token was used twice; the session is over")]
pub struct Reused;

impl RefreshState {
    /// The state at login.
    pub fn new(first: &RefreshToken, unix_now: u64) -> Self {
        Self { current: first.digest(), previous: None, rotated: unix_now, repeated: false }
    }

    /// Decides about a token of this session; `next` is the [successor](RefreshToken::successor) to be given out.
    ///
    /// * The current token is accepted and replaced.
    /// * The one before it is accepted once more within [`REFRESH_GRACE`]: the answer with the new one may have been lost.
    ///   The lost token is dead then. If it was not lost but stolen, or the old one was, one of the two parties shows a
    ///   dead token at its next refresh, and the session ends: a thief gains the life of one access token at most.
    /// * Every other one is [`Reused`].
    ///
    /// # Errors
    /// [`Reused`]: the session must be revoked (RFC 9700 §4.14.2).
    pub fn decide(&self, shown: &RefreshToken, next: &RefreshToken, unix_now: u64) -> Result<Refreshed, Reused> {
        let shown = shown.digest();
        let is = |kept: &[u8; 32]| bool::from(shown.ct_eq(kept));
        let state = if is(&self.current) {
            Self { current: next.digest(), previous: Some(shown), rotated: unix_now, repeated: false }
        } else if self.previous.as_ref().is_some_and(is)
            && !self.repeated
            && unix_now <= self.rotated.saturating_add(REFRESH_GRACE)
        {
            Self { current: next.digest(), repeated: true, ..*self }
        } else {
            return Err(Reused);
        };
        Ok(Refreshed(state))
    }
}

fn hash(of: &str, bytes: &[u8; 16]) -> [u8; 32] {
    Sha256::new().chain_update(format!("ppsp refresh {of}\0")).chain_update(bytes).finalize().into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::{collection::vec, prelude::*};

    fn token(n: u8) -> RefreshToken {
        RefreshToken::first(&[9; 32]).successor(&[n; 16])
    }

    fn start() -> RefreshState {
        RefreshState::new(&token(0), 1000)
    }

    fn step(state: RefreshState, shown: u8, next: u8, now: u64) -> Result<RefreshState, Reused> {
        state.decide(&token(shown), &token(next), now).map(|Refreshed(state)| state)
    }

    #[test]
    fn the_text_form() {
        let token = RefreshToken::first(&core::array::from_fn(|i| i as u8));
        let text = token.to_text();
        assert_eq!(text.as_str(), "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8");
        assert_eq!(RefreshToken::parse(&text).unwrap().to_text(), text);
        assert!(RefreshToken::parse(&TokenText::new(&text.as_str()[1..])).is_none());
        assert!(RefreshToken::parse(&TokenText::new(text.as_str().replace("Hh8", "Hh9"))).is_none());
        assert_eq!(token.session_key(), token.successor(&[5; 16]).session_key());
        assert_ne!(token.session_key(), RefreshToken::first(&[5; 32]).session_key());
        assert_eq!(format!("{token:?} {text:?}"), "RefreshToken(…) TokenText(…)");
    }

    #[test]
    fn a_lost_answer_is_asked_for_again_once() {
        let state = step(start(), 0, 1, 2000).unwrap();
        let state = step(state, 0, 2, 2000 + REFRESH_GRACE).unwrap();
        assert_eq!(step(state, 0, 3, 2001), Err(Reused));
        // The token of the lost answer is dead.
        assert_eq!(step(state, 1, 3, 2001), Err(Reused));
        assert!(step(state, 2, 3, 9000).is_ok());
    }

    #[test]
    fn an_old_token_ends_the_session() {
        let state = step(start(), 0, 1, 2000).unwrap();
        assert_eq!(step(state, 0, 2, 2001 + REFRESH_GRACE), Err(Reused));
        let state = step(state, 1, 2, 2001).unwrap();
        assert_eq!(step(state, 0, 3, 2001), Err(Reused));
        assert_eq!(step(state, 77, 3, 2001), Err(Reused));
    }

    proptest! {
        /// Two parties hold the same token and refresh as they like: as soon as each has done so twice, it is noticed.
        #[test]
        fn a_theft_is_noticed(turns in vec((any::<bool>(), 0..40u64), 4..40)) {
            let (mut state, mut held, mut refreshes, mut now) = (start(), [0, 0], [0, 0], 1000);
            for (next, (thief, pause)) in (1..).zip(turns) {
                now += pause;
                let who = usize::from(thief);
                match step(state, held[who], next, now) {
                    Ok(new) => {
                        state = new;
                        held[who] = next;
                        refreshes[who] += 1;
                    }
                    Err(Reused) => return Ok(()),
                }
                prop_assert!(refreshes[0] < 2 || refreshes[1] < 2, "both go on");
            }
        }
    }
}
