//! What a tracker keeps between its runs: its own key, by which the Portal knows it, and the key of peer identifiers.

use std::{fs, io, path::Path};

use ppsp_auth::{Secret, token::SigningKey};
use zeroize::Zeroizing;

use crate::{cli::exit::Failure, http::write_private};

/// The tracker's own key: `tracker-key.jwk`, made once.
///
/// # Errors
///
/// A file that cannot be read or written, or holds something else.
pub fn own_key(dir: &Path) -> Result<SigningKey, Failure> {
    let path = dir.join("tracker-key.jwk");
    let text = keep(&path, |seed| Zeroizing::new(SigningKey::from_seed(seed).to_jwk().as_bytes().to_vec()))?;
    let text = std::str::from_utf8(&text).unwrap_or_default();
    SigningKey::from_jwk(text).map_err(|error| Failure::other(format!("{}: {error}", path.display())))
}

/// The key of peer identifiers: `peer-key`, made once. Nodes of one tracker share it.
///
/// # Errors
///
/// A file that cannot be read or written, or holds something else.
pub fn peer_key(dir: &Path) -> Result<Secret, Failure> {
    let path = dir.join("peer-key");
    let bytes = keep(&path, |seed| Zeroizing::new(seed.to_vec()))?;
    let bytes: Result<[u8; 32], _> = bytes.as_slice().try_into();
    bytes.map(Secret::new).map_err(|_| Failure::other(format!("{}: not a key of 32 bytes", path.display())))
}

fn keep(path: &Path, make: impl Fn(&[u8; 32]) -> Zeroizing<Vec<u8>>) -> Result<Zeroizing<Vec<u8>>, Failure> {
    let failed = |error: io::Error| Failure::other(format!("{}: {error}", path.display()));
    match fs::read(path) {
        Ok(kept) => Ok(Zeroizing::new(kept)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let mut seed = Zeroizing::new([0; 32]);
            getrandom::fill(&mut *seed)
                .map_err(|e| Failure::other(format!("the system gives no random numbers: {e}")))?;
            let made = make(&seed);
            write_private(path, &made).map_err(failed)?;
            Ok(made)
        }
        Err(error) => Err(failed(error)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_made_once() {
        let dir = tempfile::tempdir().unwrap();
        let (own, peers) = (own_key(dir.path()).unwrap(), peer_key(dir.path()).unwrap());
        assert_eq!(own_key(dir.path()).unwrap().id(), own.id());
        assert!(peer_key(dir.path()).unwrap() == peers);
        fs::write(dir.path().join("peer-key"), "short").unwrap();
        assert!(peer_key(dir.path()).unwrap_err().message.contains("peer-key"));
    }
}
