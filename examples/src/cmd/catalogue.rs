use serde::{Deserialize, Serialize};
use serde_json::json;

use super::{at_portal::account, table};
use crate::{
    account::{Account, AccountError, path_part},
    cli::{args::CatalogueArgs, exit::Failure, output::Output, units},
};

/// Content, as the catalogue shows it.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(super) struct Content {
    pub(super) id: String,
    pub(super) title: String,
    pub(super) group: String,
    pub(super) publisher: String,
    pub(super) length: Option<u64>,
    pub(super) created: u64,
}

/// `ppsp catalogue`.
pub(super) async fn run(args: CatalogueArgs, out: &Output) -> Result<(), Failure> {
    let account = account(&args.at)?;
    let found = search(&account, &args.words.join(" "), usize::from(args.most)).await?;
    show(out, &found);
    if found.len() >= usize::from(args.most) {
        out.say(format_args!("the newest {}; there may be more: give words to look for, or --most", args.most));
    }
    Ok(())
}

/// Content with these words in its title or group, the newest first.
pub(super) async fn search(account: &Account, words: &str, most: usize) -> Result<Vec<Content>, AccountError> {
    #[derive(Deserialize)]
    struct Page {
        content: Vec<Content>,
        after: Option<String>,
    }
    let (mut found, mut after) = (Vec::new(), String::new());
    while found.len() < most {
        let path = format!("/api/v1/catalogue?q={}&after={}", path_part(words), path_part(&after));
        let page: Page = account.get(&path).await?;
        found.extend(page.content);
        match page.after {
            Some(next) if next != after => after = next,
            _ => break,
        }
    }
    found.truncate(most);
    Ok(found)
}

/// Shows a list of content.
pub(super) fn show(out: &Output, found: &[Content]) {
    let row = |content: &Content| {
        let length = content.length.map_or_else(String::new, units::bytes);
        let cells = [
            content.id.clone(),
            content.title.clone(),
            length,
            content.group.clone(),
            content.publisher.clone(),
            table::time(content.created),
        ];
        (json!(content), cells)
    };
    let rows: Vec<_> = found.iter().map(row).collect();
    table::show(out, "content", ["ID", "TITLE", "SIZE", "GROUP", "PUBLISHER", "PUBLISHED"], &rows);
}
