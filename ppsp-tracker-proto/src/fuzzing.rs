//! Bodies of the fuzz targets: each takes any bytes, and panics where a promise is broken. No part of the public API.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a panic is how a fuzz target reports")]

use alloc::vec::Vec;

use crate::message::{Request, Response};

/// A request that is read is written canonically: reading and writing that again changes nothing.
pub fn tracker_request(data: &[u8]) {
    let Ok(request) = Request::read(data) else { return };
    let (mut once, mut again) = (Vec::new(), Vec::new());
    request.write(&mut once);
    // Escapes of control characters may make it longer than a body may be.
    if let Ok(request) = Request::read(&once) {
        request.write(&mut again);
        assert_eq!(once, again);
    } else {
        assert!(once.len() > data.len());
    }
}

/// The same for responses.
pub fn tracker_response(data: &[u8]) {
    let Ok(response) = Response::read(data) else { return };
    let (mut once, mut again) = (Vec::new(), Vec::new());
    response.write(&mut once);
    if let Ok(response) = Response::read(&once) {
        response.write(&mut again);
        assert_eq!(once, again);
    } else {
        assert!(once.len() > data.len());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::{fs, path::Path};

    /// Runs a body over the seeds of its corpus, whole and with one byte changed.
    fn corpus(target: &str, body: fn(&[u8])) {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/corpus").join(target);
        let mut seeds = 0;
        for entry in fs::read_dir(folder).unwrap() {
            let mut seed = fs::read(entry.unwrap().path()).unwrap();
            body(&seed);
            for at in 0..seed.len() {
                for other in [b'"', b'{', b'0', b' ', 0xC3] {
                    let byte = core::mem::replace(&mut seed[at], other);
                    body(&seed);
                    seed[at] = byte;
                }
            }
            seeds += 1;
        }
        assert!(seeds > 0);
    }

    #[test]
    fn seeds() {
        corpus("tracker_request", tracker_request);
        corpus("tracker_response", tracker_response);
    }

    proptest! {
        #[test]
        fn any_bytes(data in proptest::collection::vec(any::<u8>(), 0..300)) {
            tracker_request(&data);
            tracker_response(&data);
        }
    }
}
