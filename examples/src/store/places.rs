//! Which files belong to one content, and the small file operations on them.

use std::{
    ffi::OsString,
    fs::{self, File},
    io::{self, Write},
    path::{Path, PathBuf},
};

use super::state::Stamp;

/// The files of one content.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Places {
    /// The complete content, under its final name.
    pub content: PathBuf,
    /// The content while it is incomplete: `NAME.part`.
    pub part: PathBuf,
    /// The state: `NAME.ppsp`.
    pub state: PathBuf,
    /// The hash tree: `NAME.ppsp-tree`. Its lock says that a process works on this content.
    pub tree: PathBuf,
}

impl Places {
    /// Places for `content`; state and tree lie beside it, or in `state_dir`.
    pub fn new(content: &Path, state_dir: Option<&Path>) -> Self {
        let name = content.file_name().unwrap_or_default();
        let beside = |suffix: &str| {
            let mut name = OsString::from(name);
            name.push(suffix);
            content.with_file_name(name)
        };
        let state_at = |suffix: &str| {
            let path = beside(suffix);
            match (state_dir, path.file_name()) {
                (Some(dir), Some(name)) => dir.join(name),
                _ => path,
            }
        };
        Self {
            content: content.to_owned(),
            part: beside(".part"),
            state: state_at(".ppsp"),
            tree: state_at(".ppsp-tree"),
        }
    }
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
    let parent = path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
    File::open(parent)?.sync_all()
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
        let p = Places::new(Path::new("movie.mp4"), Some(Path::new("/s")));
        assert_eq!(p.part, Path::new("movie.mp4.part"));
        assert_eq!(p.state, Path::new("/s/movie.mp4.ppsp"));
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
