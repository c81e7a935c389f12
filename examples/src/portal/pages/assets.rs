//! Style sheet and scripts, part of the program.

use std::sync::OnceLock;

use axum::{
    extract::Path,
    response::{IntoResponse, Response},
};
use http::{StatusCode, header};
use sha2::{Digest, Sha256};

/// Name, content, type.
const ALL: [(&str, &str, &str); 3] = [
    ("portal.css", include_str!("../../../assets/portal.css"), "text/css; charset=utf-8"),
    ("scram.js", include_str!("../../../assets/scram.js"), "text/javascript; charset=utf-8"),
    ("forms.js", include_str!("../../../assets/forms.js"), "text/javascript; charset=utf-8"),
];

/// Where a page finds it: the name changes with all of them, so that it may be kept for ever.
pub(super) fn url(name: &str) -> String {
    format!("/assets/{}-{name}", version())
}

/// `GET /assets/{name}`.
pub(super) async fn asset(Path(name): Path<String>) -> Response {
    let plain = name.split_once('-').map_or("", |(_, plain)| plain);
    match ALL.iter().find(|(known, ..)| *known == plain) {
        Some((_, content, kind)) => {
            let keep = "public, max-age=31536000, immutable";
            // A script that imports another one names it without its version.
            let content = content.replace("\"./scram.js\"", &format!("\"./{}-scram.js\"", version()));
            ([(header::CONTENT_TYPE, *kind), (header::CACHE_CONTROL, keep)], content).into_response()
        }
        None => StatusCode::NOT_FOUND.into_response(),
    }
}

fn version() -> &'static str {
    static VERSION: OnceLock<String> = OnceLock::new();
    VERSION.get_or_init(|| {
        let mut hash = Sha256::new();
        ALL.iter().for_each(|(_, content, _)| hash.update(content));
        data_encoding::HEXLOWER.encode(&hash.finalize()[..6])
    })
}
