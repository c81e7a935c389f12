//! The catalogue: content, its descriptor and its swarms.

use ppsp_auth::UserName;

use super::{DbError, Tx, params};

/// A piece of content, as the catalogue shows it. Identifiers grow with time, so that their order is that of publication.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Content {
    /// Its identifier.
    pub id: String,
    /// What people call it.
    pub title: String,
    /// Its catalogue group.
    pub group: String,
    /// Who published it.
    pub publisher: String,
    /// Its length in bytes, where it is known.
    pub length: Option<u64>,
    /// Unix second in which it was published.
    pub created: u64,
}

/// What a search starts from.
#[derive(Clone, Debug)]
pub struct Search {
    /// Words that stand in the title or the group, in small letters; all content where it is empty.
    pub words: String,
    /// Its catalogue group; all groups where it is empty.
    pub group: String,
    /// Whose allowance is looked for; everybody's content where there is none.
    pub user: Option<UserName>,
    /// The groups of that user.
    pub groups: Vec<String>,
}

/// Adds content with its descriptor and swarms.
pub fn add(tx: &mut Tx<'_>, content: &Content, descriptor: &[u8], swarms: &[String]) -> Result<(), DbError> {
    let sought = format!("{} {}", content.title, content.group).to_lowercase();
    tx.execute(
        "INSERT INTO content (id, title, sought, publisher, catalogue_group, descriptor, length, created)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8)",
        params![
            content.id.as_str(),
            content.title.as_str(),
            sought,
            content.publisher.as_str(),
            content.group.as_str(),
            descriptor,
            content.length,
            content.created
        ],
    )?;
    for swarm in swarms {
        tx.execute(
            "INSERT INTO swarms (swarm, content) VALUES ($1, $2) ON CONFLICT DO NOTHING",
            params![swarm.as_str(), content.id.as_str()],
        )?;
    }
    Ok(())
}

/// Removes content and the policies about it; `false` where there is none.
pub fn remove(tx: &mut Tx<'_>, id: &str) -> Result<bool, DbError> {
    tx.execute("DELETE FROM policies WHERE what_kind = 'content' AND what = $1", params![id])?;
    Ok(tx.execute("DELETE FROM content WHERE id = $1", params![id])? == 1)
}

/// The content of this identifier.
pub fn find(tx: &mut Tx<'_>, id: &str) -> Result<Option<Content>, DbError> {
    let sql = "SELECT id, title, catalogue_group, publisher, length, created FROM content WHERE id = $1";
    Ok(tx.row(sql, params![id])?.map(content))
}

/// Its descriptor.
pub fn descriptor(tx: &mut Tx<'_>, id: &str) -> Result<Option<Vec<u8>>, DbError> {
    Ok(tx.row::<(Vec<u8>,)>("SELECT descriptor FROM content WHERE id = $1", params![id])?.map(|(bytes,)| bytes))
}

/// Its swarms.
pub fn swarms(tx: &mut Tx<'_>, id: &str) -> Result<Vec<String>, DbError> {
    let rows = tx.rows::<(String,)>("SELECT swarm FROM swarms WHERE content = $1 ORDER BY swarm", params![id])?;
    Ok(rows.into_iter().map(|(swarm,)| swarm).collect())
}

/// All content that has this swarm.
pub fn with_swarm(tx: &mut Tx<'_>, swarm: &str) -> Result<Vec<Content>, DbError> {
    let rows = tx.rows(
        "SELECT c.id, c.title, c.catalogue_group, c.publisher, c.length, c.created
         FROM swarms s JOIN content c ON c.id = s.content WHERE s.swarm = $1 ORDER BY c.id",
        params![swarm],
    )?;
    Ok(rows.into_iter().map(content).collect())
}

/// So much content that is older than this identifier (the newest where it is empty), newest first.
///
/// Where a user is given, only what it published and what some policy allows it, in force or not: whether it may have that now
/// is still to be decided.
pub fn search(tx: &mut Tx<'_>, search: &Search, before: &str, most: u64) -> Result<Vec<Content>, DbError> {
    let pattern = format!("%{}%", search.words.replace('!', "!!").replace('%', "!%").replace('_', "!_"));
    // Behind every identifier, none of which has a letter after f.
    let before = if before.is_empty() { "g" } else { before };
    let Some(user) = &search.user else {
        let rows = tx.rows(
            "SELECT id, title, catalogue_group, publisher, length, created FROM content
             WHERE id < $1 AND sought LIKE $2 ESCAPE '!' AND ($4 = '' OR catalogue_group = $4) ORDER BY id DESC LIMIT $3",
            params![before, pattern, most, search.group.as_str()],
        )?;
        return Ok(rows.into_iter().map(content).collect());
    };
    let groups = joined(&search.groups);
    let rows = tx.rows(
        "SELECT c.id, c.title, c.catalogue_group, c.publisher, c.length, c.created FROM content c
         WHERE c.id < $1 AND c.sought LIKE $2 ESCAPE '!' AND ($6 = '' OR c.catalogue_group = $6) AND (c.publisher = $3 OR EXISTS (
             SELECT 1 FROM policies p WHERE p.effect = 'allow'
             AND ((p.what_kind = 'content' AND p.what = c.id) OR (p.what_kind = 'group' AND p.what = c.catalogue_group))
             AND ((p.who_kind = 'user' AND p.who = $3)
                 OR (p.who_kind = 'group' AND REPLACE($4, '/' || p.who || '/', '') <> $4))
         )) ORDER BY c.id DESC LIMIT $5",
        params![before, pattern, user.as_str(), groups, most, search.group.as_str()],
    )?;
    Ok(rows.into_iter().map(content).collect())
}

/// The names of all catalogue groups, up to so many.
pub fn groups(tx: &mut Tx<'_>, most: u64) -> Result<Vec<String>, DbError> {
    let sql = "SELECT DISTINCT catalogue_group FROM content ORDER BY catalogue_group LIMIT $1";
    Ok(tx.rows::<(String,)>(sql, params![most])?.into_iter().map(|(group,)| group).collect())
}

/// The names of catalogue groups with content that some policy allows this user, in force or not, or that is its own, up to so
/// many.
pub fn groups_for(tx: &mut Tx<'_>, user: &UserName, user_groups: &[String], most: u64) -> Result<Vec<String>, DbError> {
    let rows = tx.rows::<(String,)>(
        "SELECT DISTINCT c.catalogue_group FROM content c WHERE c.publisher = $1 OR EXISTS (
             SELECT 1 FROM policies p WHERE p.effect = 'allow'
             AND ((p.what_kind = 'content' AND p.what = c.id) OR (p.what_kind = 'group' AND p.what = c.catalogue_group))
             AND ((p.who_kind = 'user' AND p.who = $1)
                 OR (p.who_kind = 'group' AND REPLACE($2, '/' || p.who || '/', '') <> $2))
         ) ORDER BY c.catalogue_group LIMIT $3",
        params![user.as_str(), joined(user_groups), most],
    )?;
    Ok(rows.into_iter().map(|(group,)| group).collect())
}

/// Each catalogue group, up to so many, and how much content it has.
pub fn group_sizes(tx: &mut Tx<'_>, most: u64) -> Result<Vec<(String, u64)>, DbError> {
    let sql =
        "SELECT catalogue_group, COUNT(*) FROM content GROUP BY catalogue_group ORDER BY catalogue_group LIMIT $1";
    tx.rows(sql, params![most])
}

/// User groups as one text, so that a statement is the same for any number of them. No group has a slash in its name.
fn joined(groups: &[String]) -> String {
    format!("/{}/", groups.join("/"))
}

/// How much content a user has published.
pub fn published_by(tx: &mut Tx<'_>, publisher: &UserName) -> Result<u64, DbError> {
    let row = tx.row::<(u64,)>("SELECT COUNT(*) FROM content WHERE publisher = $1", params![publisher.as_str()])?;
    Ok(row.map_or(0, |(count,)| count))
}

type Columns = (String, String, String, String, Option<u64>, u64);

fn content((id, title, group, publisher, length, created): Columns) -> Content {
    Content { id, title, group, publisher, length, created }
}
