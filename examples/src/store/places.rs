//! Which files belong to one content, and the small file operations on them.

use std::{
    ffi::OsString,
    fs::{self, File},
    io::{self, Write},
    os::unix::ffi::OsStrExt,
    path::{Path, PathBuf},
};

use ppsp_core::{Hash, HashAlg, hash_chunks};

use super::state::Stamp;

/// The files of one content.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Places {
    /// The complete content, under its final name.
    pub content: PathBuf,
    /// The content while it is incomplete: `NAME.part`.
    pub part: PathBuf,
    /// The state: `NAME.ppsp`, or `NAME-<tag>.ppsp` in a directory that other content uses as well.
    pub state: PathBuf,
    /// The hash tree: `NAME.ppsp-tree` or `NAME-<tag>.ppsp-tree`. Its lock says that a process works on this content.
    pub tree: PathBuf,
}

impl Places {
    /// Places for `content`; state and tree lie beside it, or in `state_dir`, where a tag of its path tells it from content
    /// of the same name elsewhere.
    pub fn new(content: &Path, state_dir: Option<&Path>) -> Self {
        let beside = |suffix: &str| content.with_file_name(named(content, suffix));
        let (state, tree) = match state_dir {
            Some(dir) => {
                let tag = path_tag(content);
                let inside = |suffix: &str| dir.join(named(content, &format!("-{tag}{suffix}")));
                (inside(".ppsp"), inside(".ppsp-tree"))
            }
            None => (beside(".ppsp"), beside(".ppsp-tree")),
        };
        Self { content: content.to_owned(), part: beside(".part"), state, tree }
    }
}

fn named(content: &Path, suffix: &str) -> OsString {
    let mut name = content.file_name().unwrap_or_default().to_owned();
    name.push(suffix);
    name
}

/// The first four bytes, in hex, of the SHA-256 of the absolute path: the same by whatever way the directory is reached.
fn path_tag(content: &Path) -> String {
    let absolute = fs::canonicalize(parent_of(content))
        .map(|parent| parent.join(content.file_name().unwrap_or_default()))
        .or_else(|_| std::path::absolute(content))
        .unwrap_or_else(|_| content.to_owned());
    let mut hash = [Hash::empty(HashAlg::Sha256)];
    hash_chunks(HashAlg::Sha256, &[absolute.as_os_str().as_bytes()], &mut hash);
    hash[0].as_bytes()[..4].iter().map(|byte| format!("{byte:02x}")).collect()
}

fn parent_of(path: &Path) -> &Path {
    path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// The stamp of an open file.
pub(crate) fn stamp_of(file: &File) -> io::Result<Stamp> {
    use std::os::unix::fs::MetadataExt;
    let meta = file.metadata()?;
    Ok(Stamp { size: meta.len(), seconds: meta.mtime(), nanos: meta.mtime_nsec() as u32 })
}

/// Replaces a file as a whole: after a crash either the old bytes or the new ones are there.
pub(crate) fn replace_file(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(".tmp");
    let temporary = path.with_file_name(name);
    let written = File::create(&temporary).and_then(|mut file| {
        file.write_all(bytes)?;
        file.sync_all()?;
        fs::rename(&temporary, path)
    });
    if written.is_err() {
        _ = fs::remove_file(&temporary);
        return written;
    }
    sync_parent(path)
}

/// Makes a rename or a new name in the directory of `path` last.
pub(crate) fn sync_parent(path: &Path) -> io::Result<()> {
    File::open(parent_of(path))?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names() {
        let p = Places::new(Path::new("/a/movie.mp4"), None);
        assert_eq!(p.part, Path::new("/a/movie.mp4.part"));
        assert_eq!(p.state, Path::new("/a/movie.mp4.ppsp"));
        assert_eq!(p.tree, Path::new("/a/movie.mp4.ppsp-tree"));
        // printf /no/such/movie.mp4 | sha256sum
        let p = Places::new(Path::new("/no/such/movie.mp4"), Some(Path::new("/s")));
        assert_eq!(p.part, Path::new("/no/such/movie.mp4.part"));
        assert_eq!(p.state, Path::new("/s/movie.mp4-c39944ab.ppsp"));
        assert_eq!(p.tree, Path::new("/s/movie.mp4-c39944ab.ppsp-tree"));
    }

    #[test]
    fn a_state_dir_tells_content_of_one_name_apart() {
        let dir = tempfile::tempdir().unwrap();
        let state = dir.path().join("state");
        for name in ["a", "b"] {
            fs::create_dir(dir.path().join(name)).unwrap();
        }
        std::os::unix::fs::symlink(dir.path().join("a"), dir.path().join("link")).unwrap();
        let at = |path: &str| Places::new(&dir.path().join(path), Some(&state));
        let (a, b) = (at("a/m"), at("b/m"));
        assert!(a.state != b.state && a.tree != b.tree, "{a:?} {b:?}");
        for other in ["a/./m", "b/../a/m", "link/m"] {
            let other = at(other);
            assert_eq!((&other.state, &other.tree), (&a.state, &a.tree), "{other:?}");
        }
        let relative = Places::new(Path::new("m"), Some(&state));
        let absolute = Places::new(&std::env::current_dir().unwrap().join("m"), Some(&state));
        assert_eq!(relative.state, absolute.state);
    }

    #[test]
    fn replacing_leaves_no_temporary_file() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x.ppsp");
        replace_file(&path, b"one").unwrap();
        replace_file(&path, b"two").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"two");
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
        assert!(replace_file(&dir.path().join("missing/x"), b"").is_err());
    }
}
