//! What is wrong with a manifest, in sentences for those who made it.

use alloc::string::String;

use crate::descriptor::Descriptor;

/// Why a manifest and swarms do not come together.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum DashError {
    /// `type="dynamic"`.
    #[error(
        "the manifest is of a live stream (type=\"dynamic\"); only finished content can be shared as a set of files"
    )]
    Live,
    /// Parts of the manifest are elsewhere.
    #[error("the manifest takes elements from other documents (xlink:href); put them in their places first")]
    Remote,
    /// So many Periods.
    #[error("the manifest has {0} Periods; make it one Period, or share each by a manifest of its own")]
    Periods(usize),
    /// No Representation.
    #[error("the manifest has no Representation that could be played")]
    Empty,
    /// A Representation without `id`.
    #[error("a Representation has no id; give it one")]
    NoId,
    /// Two Representations with one `id`.
    #[error("two Representations have the id '{0}'; give each its own")]
    Twice(String),
    /// No Representation with this `id`.
    #[error("there is no Representation '{0}'")]
    Unknown(String),
    /// A Representation depends on itself.
    #[error("Representation '{0}' depends on itself (dependencyId)")]
    Cycle(String),
    /// Not the URL of a directory.
    #[error("'{0}' is no origin: that is a URL with http or https that ends in '/', without user, query and fragment")]
    Origin(String),
    /// It is about one Representation.
    #[error("Representation '{representation}': {wrong}")]
    In {
        /// Its `id`.
        representation: String,
        /// What is wrong.
        wrong: Wrong,
    },
}

/// What is wrong with a Representation.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum Wrong {
    /// A URL that is absolute or leaves the directory.
    #[error("'{0}' lies outside of the manifest's directory; name it by a path relative to the manifest")]
    Outside(String),
    /// No path of a file.
    #[error("'{0}' is no path of a file here: at most {max} bytes of UTF-8, no empty part, no '\\', no control character", max = Descriptor::MAX_NAME)]
    Name(String),
    /// A template that cannot be filled in.
    #[error("'{template}' cannot be filled in: {why}")]
    Template {
        /// The template.
        template: String,
        /// Why.
        why: &'static str,
    },
    /// An attribute that makes no sense, or is missing.
    #[error("{0} is missing or makes no sense")]
    Attribute(&'static str),
    /// No number of segments without a duration.
    #[error("how many segments there are cannot be told: neither the Period nor the manifest has a duration")]
    NoDuration,
    /// No file.
    #[error("no file is named: it has neither segments nor a BaseURL")]
    NoFile,
    /// More segments than are read.
    #[error("the manifest refers to more than {} segments; make them longer", Descriptor::MAX_REFERENCES)]
    TooMany,
    /// It has something that layers cannot have.
    #[error("it has {0}, and cannot become layers with it; make a manifest without")]
    NotSplit(&'static str),
    /// The lengths of the parts are not known.
    #[error("it consists of several files, and the descriptor does not say how long they are")]
    NoParts,
    /// The lengths of the parts are not a list of numbers that fits.
    #[error("the lengths of its parts make no sense: {0}")]
    Parts(&'static str),
    /// A file is too short.
    #[error("'{name}' has {len} bytes, and the manifest refers to {min_len}; make the manifest anew")]
    TooShort {
        /// The file.
        name: String,
        /// Its length.
        len: u64,
        /// What it should have, at least.
        min_len: u64,
    },
}

/// Text of a stranger in a sentence: not too long, and nothing that a terminal takes for more than text.
pub(super) fn shown(text: &str) -> String {
    text.chars().take(128).map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect()
}
