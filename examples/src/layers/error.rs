/// Why bytes are not the MP4 that is read here.
#[non_exhaustive]
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum Unreadable {
    /// A box that is longer than what it stands in, or shorter than it can be.
    #[error("a box ends where it cannot end")]
    Size,
    /// A box that is not there.
    #[error("there is no box '{0}'")]
    Missing(&'static str),
    /// A box with which the samples are more than their bytes and times.
    #[error("there is a box '{0}', which is not read here")]
    Unknown(String),
    /// A box whose fields make no sense.
    #[error("a box '{name}' cannot be read: {why}")]
    Fields {
        /// Its name.
        name: &'static str,
        /// What is wrong.
        why: String,
    },
    /// More samples than a segment has.
    #[error("a segment has more than {} samples", super::Segment::MAX_SAMPLES)]
    Samples,
    /// Samples whose bytes are not in the segment.
    #[error("there are samples whose bytes are not there")]
    Bytes,
    /// Times that no number holds.
    #[error("there are times that are too large, or run backwards")]
    Times,
    /// Samples that do not follow one another.
    #[error("there are gaps between its samples")]
    Gaps,
    /// Tracks that are not of one kind.
    #[error("the layers have different timescales or descriptions of what is in them")]
    Different,
    /// Not H.264 in the form that MP4 has.
    #[error("it is not H.264 as MP4 holds it (avc1)")]
    NotH264,
}

impl Unreadable {
    pub(crate) fn fields(name: &'static str, why: impl std::fmt::Display) -> Self {
        Self::Fields { name, why: why.to_string() }
    }
}
