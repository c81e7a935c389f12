use std::{
    io,
    path::{Path, PathBuf},
};

use ppsp_core::descriptor::{DashError, DescriptorError};

use crate::{cli::exit::Failure, layers::Unreadable, store::FileError};

/// Why a DASH set cannot be shared, or split into layers.
#[non_exhaustive]
#[derive(Debug, thiserror::Error)]
pub enum PackageError {
    /// The manifest is not one.
    #[error("{}: {error}", path.display())]
    Manifest {
        /// The manifest.
        path: PathBuf,
        /// What is wrong.
        error: DescriptorError,
    },
    /// The manifest cannot become swarms.
    #[error(transparent)]
    Dash(#[from] DashError),
    /// A file of the manifest is not there.
    #[error(
        "{}: no such file, and Representation '{representation}' of the manifest needs it; make manifest and files anew{}",
        path.display(),
        if *counted { ", with ffmpeg's -use_timeline 1 where the number of segments does not follow from their duration" } else { "" }
    )]
    Missing {
        /// Whose it is.
        representation: String,
        /// The file.
        path: PathBuf,
        /// Does the number of files follow from durations?
        counted: bool,
    },
    /// A name that is more than one to this system.
    #[error("'{0}' cannot be the name of a file on this system")]
    Name(String),
    /// It is a directory, or another thing that is not a file.
    #[error("{}: not a regular file", .0.display())]
    NotFile(PathBuf),
    /// A file changed while it was read.
    #[error("{}: has changed while it was read; wait until all is written, then try again", .0.display())]
    Changed(PathBuf),
    /// Other content has the name of a joined file.
    #[error("{}: exists already and is other content; remove it, or name another directory for joined files", .0.display())]
    Exists(PathBuf),
    /// No Representation can be split, and why.
    #[error("nothing here can be split into layers: {0}")]
    NotSplit(String),
    /// A segment, or an index, is longer than what is read.
    #[error("{}: {length} bytes of it belong together, which is more than can be split; make shorter segments", path.display())]
    Long {
        /// The file.
        path: PathBuf,
        /// How many.
        length: u64,
    },
    /// Not the MP4 that is read.
    #[error("{}: {error}", path.display())]
    Media {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        error: Unreadable,
    },
    /// What is to be made is there already.
    #[error("{}: exists already; remove it to make it anew", .0.display())]
    Made(PathBuf),
    /// It was told to.
    #[error("it was stopped")]
    Stopped,
    /// The content cannot be used.
    #[error(transparent)]
    File(#[from] FileError),
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

impl PackageError {
    pub(super) fn io(path: &Path, doing: &'static str, source: io::Error) -> Self {
        Self::Io { path: path.to_owned(), doing, source }
    }
}

impl From<PackageError> for Failure {
    fn from(error: PackageError) -> Self {
        match error {
            PackageError::File(error) => error.into(),
            PackageError::Stopped => Self::interrupted(),
            error @ (PackageError::Manifest { .. }
            | PackageError::Dash(_)
            | PackageError::Name(_)
            | PackageError::NotSplit(_)) => Self::usage(error),
            error => Self::other(error),
        }
    }
}
