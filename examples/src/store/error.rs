use std::{io, path::PathBuf};

use ppsp_core::MetadataError;

/// Why content on disk cannot be used. Each says which file, and what to do where that is not plain.
#[non_exhaustive]
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    /// There is no such file.
    #[error("{}: no such file", .0.display())]
    NotFound(PathBuf),
    /// There is no such file, but a download of it that has not ended.
    #[error("{}: not complete yet; finish the download with 'ppsp get' first", .0.display())]
    Unfinished(PathBuf),
    /// It is a directory, or another thing that is not a file.
    #[error("{}: not a regular file", .0.display())]
    NotFile(PathBuf),
    /// Another process works on the same content.
    #[error("{}: another ppsp process is using this file", .0.display())]
    Locked(PathBuf),
    /// The content is no longer what was hashed.
    #[error("{}: the file has changed since it was hashed ({what}); to share it as new content, seed it with --rehash", path.display())]
    Changed {
        /// The content file.
        path: PathBuf,
        /// How that shows.
        what: String,
    },
    /// The file is there and is not what was to be fetched.
    #[error("{}: exists already and is not the content of this link ({what}); choose another name with --output", path.display())]
    Exists {
        /// The file in the way.
        path: PathBuf,
        /// How that shows.
        what: String,
    },
    /// Something is where a recording is to be.
    #[error("{}: exists already, and a recording is not written over; choose another name with --record", .0.display())]
    InTheWay(PathBuf),
    /// A part lies there, and neither state nor tree tells what it holds.
    #[error("{path}: exists already and nothing tells what it holds; delete {path} to begin anew, or choose another name with --output", path = .0.display())]
    Stray(PathBuf),
    /// Something else has the name of the state file.
    #[error("{}: is not a state file of ppsp and would be overwritten; move it away, or name another directory for state with --state-dir", .0.display())]
    NotState(PathBuf),
    /// The name of a directory that does not exist.
    #[error("{}: no such directory", .0.display())]
    NoDirectory(PathBuf),
    /// A symbolic link to nothing.
    #[error("{}: is a symbolic link to a file that does not exist; remove it, or choose another name with --output", .0.display())]
    Dangling(PathBuf),
    /// A file was compared with a link and differs.
    #[error("{}: is not the content of the link: {what}", path.display())]
    Different {
        /// The file.
        path: PathBuf,
        /// How that shows.
        what: String,
    },
    /// State of other content lies where this content's would.
    #[error("{}: belongs to other content than this link (swarm {swarm}); choose another name with --output", path.display())]
    OtherContent {
        /// The state file.
        path: PathBuf,
        /// The swarm it belongs to.
        swarm: String,
    },
    /// The metadata is impossible, or not supported.
    #[error("{0}")]
    Metadata(#[from] MetadataError),
    /// The operating system says no.
    #[error("{}: cannot {doing}: {source}", path.display())]
    Io {
        /// Which file.
        path: PathBuf,
        /// What was tried.
        doing: &'static str,
        /// What came of it.
        source: io::Error,
    },
}

impl FileError {
    /// Is it that content is not what it should be? All others are failures of the surroundings.
    pub fn is_integrity(&self) -> bool {
        matches!(self, Self::Changed { .. } | Self::Different { .. } | Self::OtherContent { .. })
    }
}
