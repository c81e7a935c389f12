//! Chance from the system, and names made of it.

use std::time::SystemTime;

use ppsp_auth::Secret;

/// Bytes that nobody can guess.
///
/// # Panics
///
/// Where the system has none: a Portal that went on would give out keys that can be guessed.
pub(super) fn random<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    if let Err(error) = getrandom::fill(&mut bytes) {
        panic!("the system gives no random numbers: {error}");
    }
    bytes
}

/// A secret that nobody can guess.
pub(super) fn random_secret() -> Secret {
    Secret::new(random())
}

/// A name that no other thing has: the time, then chance. Later names are greater: to the second, and where `unix_now` is the
/// present, to the microsecond.
pub(super) fn fresh_id(unix_now: u64) -> String {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    let micros = if now.as_secs() == unix_now { now.subsec_micros() } else { 999_999 };
    format!("{unix_now:010x}{micros:05x}{:09x}", u64::from_be_bytes(random()) >> 28)
}

/// A text of digits and small letters that is easily told apart and typed, 5 bits to a character.
pub(super) fn random_code<const N: usize>() -> String {
    let letters = b"23456789abcdefghjkmnpqrstuvwxyz-";
    // 31 letters and no bias: what does not fit is drawn again.
    let mut code = String::with_capacity(N);
    while code.len() < N {
        let [byte] = random();
        if let Some(letter) = letters[..31].get(usize::from(byte >> 3)) {
            code.push((*letter).into());
        }
    }
    code
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn identifiers_are_ordered_by_time_and_differ() {
        let (a, b, c) = (fresh_id(1_800_000_000), fresh_id(1_800_000_000), fresh_id(1_800_000_001));
        assert!(a != b && a < c && b < c);
        assert_eq!(a.len(), 24);
        // Microseconds, where the second is that of the clock.
        assert_eq!(&a[10..15], "f423f");
        assert!(&fresh_id(crate::portal::unix_now())[10..15] <= "f423f");
        assert!(a.bytes().all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte)));
    }

    #[test]
    fn codes_can_be_typed() {
        let code = random_code::<24>();
        assert!(code.len() == 24 && code.bytes().all(|byte| byte.is_ascii_alphanumeric() && !b"01ilo".contains(&byte)));
    }
}
