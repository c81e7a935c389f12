use std::path::PathBuf;

use serde_json::json;

use super::{only_static, opening::watched, parse_link, signals::Signals};
use crate::{
    cli::{exit::Failure, output::Output, units},
    store::compare,
};

/// `ppsp verify`.
pub(super) async fn run(file: PathBuf, link: &str, out: &mut Output) -> Result<(), Failure> {
    let mut signals = Signals::new()?;
    let link = parse_link(link)?;
    only_static(&link)?;
    let metadata = link.metadata;
    let path = file.clone();
    let length = watched(out, &mut signals, move |observer| compare(&path, &metadata, observer)).await??;
    out.event("verified", &json!({ "path": file.to_string_lossy(), "bytes": length }));
    out.say(format_args!("{}: is the content of the link ({})", file.display(), units::bytes(length)));
    Ok(())
}
