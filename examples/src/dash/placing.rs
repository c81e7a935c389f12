//! Files that get their names together: all of them, or none.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use tempfile::TempPath;

use super::PackageError;

/// Files and directories that are there for now. Unless they are kept, they go again.
#[derive(Debug, Default)]
pub(super) struct Placing {
    files: Vec<PathBuf>,
    directories: Vec<PathBuf>,
}

impl Placing {
    /// Gives a file of the same file system its name, where nothing may be yet, and makes the directories that it needs.
    pub(super) fn place(&mut self, staged: PathBuf, path: &Path) -> Result<(), PackageError> {
        let directories = path.ancestors().skip(1).take_while(|one| !one.as_os_str().is_empty() && !one.exists());
        for directory in directories.collect::<Vec<_>>().into_iter().rev() {
            fs::create_dir(directory).map_err(|e| PackageError::io(directory, "write", e))?;
            self.directories.push(directory.to_owned());
        }
        let staged = TempPath::try_from_path(staged).map_err(|e| PackageError::io(path, "write", e))?;
        staged.persist_noclobber(path).map_err(|e| match e.error.kind() {
            io::ErrorKind::AlreadyExists => PackageError::Made(path.to_owned()),
            _ => PackageError::io(path, "write", e.error),
        })?;
        self.files.push(path.to_owned());
        Ok(())
    }

    /// All that belongs together is there.
    pub(super) fn keep(mut self) {
        self.files.clear();
        self.directories.clear();
    }
}

impl Drop for Placing {
    fn drop(&mut self) {
        for file in self.files.iter().rev() {
            _ = fs::remove_file(file);
        }
        for directory in self.directories.iter().rev() {
            // Where somebody else has put something into it meanwhile, it stays.
            _ = fs::remove_dir(directory);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_are_there_or_none() {
        let directory = tempfile::tempdir().unwrap();
        let at = |name: &str| directory.path().join(name);
        let place = |placing: &mut Placing, to: &str| {
            fs::write(at("staged"), to).unwrap();
            placing.place(at("staged"), &at(to))
        };
        fs::write(at("other"), "other").unwrap();
        for (bad, why) in [("other/three", "other/three: cannot write"), ("other", "exists already")] {
            let mut placing = Placing::default();
            place(&mut placing, "a/b/one").unwrap();
            place(&mut placing, "a/two").unwrap();
            assert!(at("a/b/one").exists() && at("a/two").exists());
            let error = place(&mut placing, bad).unwrap_err();
            assert!(error.to_string().contains(why), "{error}");
            drop(placing);
            assert!(!at("a").exists());
            assert_eq!(fs::read(at("other")).unwrap(), b"other");
        }
        let mut placing = Placing::default();
        place(&mut placing, "a/b/one").unwrap();
        placing.keep();
        assert_eq!(fs::read(at("a/b/one")).unwrap(), b"a/b/one");
    }
}
