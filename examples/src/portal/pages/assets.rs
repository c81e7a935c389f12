//! Style sheet and scripts, part of the program.

use std::sync::OnceLock;

use axum::{
    extract::Path,
    response::{IntoResponse, Response},
};
use http::{HeaderMap, StatusCode, header};
use sha2::{Digest, Sha256};

use super::player;

const OPAQUE: &str = include_str!("../../../assets/opaque.js");

const STYLE: &str = "text/css; charset=utf-8";
const SCRIPT: &str = "text/javascript; charset=utf-8";

/// Name, content, type.
const ALL: [(&str, &str, &str); 12] = [
    ("portal.css", include_str!("../../../assets/portal.css"), STYLE),
    ("scram.js", include_str!("../../../assets/scram.js"), SCRIPT),
    ("opaque.js", OPAQUE, SCRIPT),
    ("forms.js", include_str!("../../../assets/forms.js"), SCRIPT),
    ("watch.css", include_str!("../../../assets/watch.css"), STYLE),
    ("watch.js", include_str!("../../../assets/watch.js"), SCRIPT),
    ("gateway.js", include_str!("../../../assets/gateway.js"), SCRIPT),
    ("player.js", include_str!("../../../assets/player.js"), SCRIPT),
    ("meter.js", include_str!("../../../assets/meter.js"), SCRIPT),
    ("status.js", include_str!("../../../assets/status.js"), SCRIPT),
    ("picture.js", include_str!("../../../assets/picture.js"), SCRIPT),
    ("words.js", include_str!("../../../assets/words.js"), SCRIPT),
];

/// What others have written: sent as it is.
const PLAYER: &str = "dash.js";

/// Where a page finds it: the name changes with all of them, so that it may be kept for ever.
pub(super) fn url(name: &str) -> String {
    format!("/assets/{}-{name}", version())
}

/// `GET /assets/{name}`: for everybody. There is nothing in them that is not in the program's source.
pub(super) async fn asset(Path(name): Path<String>, asked: HeaderMap) -> Response {
    let plain = name.split_once('-').map_or("", |(_, plain)| plain);
    let headers = |kind| [(header::CONTENT_TYPE, kind), (header::CACHE_CONTROL, "public, max-age=31536000, immutable")];
    if let (PLAYER, Some(script)) = (plain, player::SCRIPT) {
        // RFC 9110 §12.5.5: whoever keeps the answer for others has to know by what it was chosen.
        let vary = [(header::VARY, "Accept-Encoding")];
        return if takes_gzip(&asked) {
            (headers(SCRIPT), vary, [(header::CONTENT_ENCODING, "gzip")], player::PACKED).into_response()
        } else {
            (headers(SCRIPT), vary, script).into_response()
        };
    }
    match ALL.iter().find(|(known, ..)| *known == plain) {
        // A script that imports another one names it without its version.
        Some((_, content, kind)) => {
            (headers(kind), content.replace("from \"./", &format!("from \"./{}-", version()))).into_response()
        }
        None => StatusCode::NOT_FOUND.into_response(),
    }
}

/// RFC 9110 §12.5.3: is gzip named, and not with a weight of none?
fn takes_gzip(asked: &HeaderMap) -> bool {
    let named = asked.get_all(header::ACCEPT_ENCODING).iter().filter_map(|value| value.to_str().ok());
    named.flat_map(|value| value.split(',')).any(|coding| {
        let (name, weight) = coding.split_once(';').unwrap_or((coding, ""));
        let weight = weight.trim().strip_prefix("q=").map_or(Ok(1.0), str::parse::<f32>);
        name.trim().eq_ignore_ascii_case("gzip") && weight.is_ok_and(|weight| weight > 0.0)
    })
}

fn version() -> &'static str {
    static VERSION: OnceLock<String> = OnceLock::new();
    VERSION.get_or_init(|| {
        let mut hash = Sha256::new();
        ALL.iter().for_each(|(_, content, _)| hash.update(content));
        hash.update(player::SCRIPT.unwrap_or_default());
        data_encoding::HEXLOWER.encode(&hash.finalize()[..6])
    })
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use http_body_util::BodyExt;
    use ppsp_auth::Password;

    use super::*;

    #[tokio::test]
    async fn the_player_is_sent_packed_to_who_takes_it_so() {
        let Some(script) = player::SCRIPT else { return };
        let get = async |codings: &str| {
            let asked = HeaderMap::from_iter([(header::ACCEPT_ENCODING, codings.parse().unwrap())]);
            let (head, body) = asset(Path(format!("0-{PLAYER}")), asked).await.into_parts();
            assert!(head.headers["vary"] == "Accept-Encoding" && head.headers["content-type"] == SCRIPT);
            (head.headers.get("content-encoding").cloned(), body.collect().await.unwrap().to_bytes())
        };
        assert_eq!(get("br").await, (None, script.into()));
        let (coding, packed) = get("gzip, br").await;
        assert_eq!(coding.unwrap(), "gzip");
        assert!(packed.len() < script.len() / 3, "{} of {} bytes", packed.len(), script.len());
        let mut read = String::new();
        flate2::read::GzDecoder::new(&packed[..]).read_to_string(&mut read).unwrap();
        assert!(read == script);
    }

    #[test]
    fn who_takes_gzip_says_so() {
        let takes =
            |codings: &str| takes_gzip(&HeaderMap::from_iter([(header::ACCEPT_ENCODING, codings.parse().unwrap())]));
        assert!(["gzip", "deflate, GZIP", "br;q=1.0, gzip;q=0.5", "gzip ; q=0.001"].into_iter().all(takes));
        assert!(!["", "br", "gzip;q=0", "gzip; q=0.000", "gzip;q=x", "identity", "x-gzip"].into_iter().any(takes));
        assert!(!takes_gzip(&HeaderMap::new()));
    }

    /// RFC 8265 §4.2: the script refuses in passwords what all other programs refuse.
    #[test]
    fn the_script_knows_the_same_characters_as_programs_do() {
        let mut runs = vec![0_u32];
        for point in 0..=u32::from(char::MAX) {
            let allowed = char::from_u32(point).is_some_and(|c| Password::new(c.encode_utf8(&mut [0; 4])).is_ok());
            // Refused and allowed in turn, from refused ones on.
            if allowed == runs.len().is_multiple_of(2) {
                *runs.last_mut().unwrap() += 1;
            } else {
                runs.push(1);
            }
        }
        let table = OPAQUE.split('`').nth(1).unwrap();
        let read: Vec<_> = table.split_whitespace().map(|run| u32::from_str_radix(run, 36).unwrap()).collect();
        assert_eq!(read, runs, "the table is to be: {}", wrapped(&runs));
    }

    fn wrapped(runs: &[u32]) -> String {
        let mut lines = vec![String::new()];
        for &run in runs {
            let mut digits: Vec<_> = Vec::new();
            let mut rest = run;
            while rest > 0 || digits.is_empty() {
                digits.push(char::from_digit(rest % 36, 36).unwrap());
                rest /= 36;
            }
            let word: String = digits.iter().rev().collect();
            if lines.last().unwrap().len() + word.len() > 128 {
                lines.push(String::new());
            }
            let line = lines.last_mut().unwrap();
            *line += if line.is_empty() { "" } else { " " };
            *line += &word;
        }
        lines.join("\n")
    }
}
