//! What peers report of their streams, and what is wrong with it (RFC 7846 §4.1.3, §6.4). Nobody is punished here: reports
//! that contradict each other are counted, for the operator to look at.

use crate::message::{PeerMode, Stat};

/// What a peer reported of a swarm since it joined it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Bytes sent.
    pub uploaded: u64,
    /// Bytes received.
    pub downloaded: u64,
    /// Reports that contradict an earlier one or the mode.
    pub doubtful: u16,
}

/// What all peers of a swarm reported, those included that left it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// Bytes sent.
    pub uploaded: u64,
    /// Bytes received.
    pub downloaded: u64,
    /// Reports that contradict an earlier one or the mode.
    pub doubtful: u64,
}

/// Why a report is doubtful.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Doubt {
    /// A counter went backwards.
    Backwards,
    /// A SEEDER, which has everything, received something.
    SeederReceives,
}

/// Takes in a report.
pub fn take_report(stat: &Stat<'_>, mode: PeerMode, counters: &mut Counters, totals: &mut Totals) -> Option<Doubt> {
    let doubt = if stat.uploaded_bytes < counters.uploaded || stat.downloaded_bytes < counters.downloaded {
        Some(Doubt::Backwards)
    } else if mode == PeerMode::Seeder && stat.downloaded_bytes > counters.downloaded {
        Some(Doubt::SeederReceives)
    } else {
        None
    };
    let grown = |now: u64, before: u64| now.saturating_sub(before);
    totals.uploaded = totals.uploaded.saturating_add(grown(stat.uploaded_bytes, counters.uploaded));
    totals.downloaded = totals.downloaded.saturating_add(grown(stat.downloaded_bytes, counters.downloaded));
    totals.doubtful += u64::from(doubt.is_some());
    counters.doubtful = counters.doubtful.saturating_add(u16::from(doubt.is_some()));
    // A counter that went backwards does not count the same bytes again.
    counters.uploaded = counters.uploaded.max(stat.uploaded_bytes);
    counters.downloaded = counters.downloaded.max(stat.downloaded_bytes);
    doubt
}

impl Totals {
    /// Received bytes that nobody says to have sent. Reports of the two ends come at different times: a small difference
    /// says nothing.
    pub const fn unexplained(&self) -> u64 {
        self.downloaded.saturating_sub(self.uploaded)
    }

    /// Whether more than an eighth of what was received, and more than 64 MiB, is unexplained.
    pub const fn is_inconsistent(&self) -> bool {
        let unexplained = self.unexplained();
        unexplained > 64 << 20 && unexplained > self.downloaded / 8
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reports_that_contradict() {
        let (mut counters, mut totals) = (Counters::default(), Totals::default());
        let mut report = |uploaded_bytes, downloaded_bytes, mode| {
            let stat = Stat { uploaded_bytes, downloaded_bytes, ..Stat::default() };
            take_report(&stat, mode, &mut counters, &mut totals)
        };
        assert_eq!(report(10, 20, PeerMode::Leech), None);
        assert_eq!(report(5, 30, PeerMode::Leech), Some(Doubt::Backwards));
        assert_eq!(report(10, 30, PeerMode::Leech), None);
        assert_eq!(report(11, 30, PeerMode::Seeder), None);
        assert_eq!(report(11, 31, PeerMode::Seeder), Some(Doubt::SeederReceives));
        assert_eq!(counters, Counters { uploaded: 11, downloaded: 31, doubtful: 2 });
        assert_eq!(totals, Totals { uploaded: 11, downloaded: 31, doubtful: 2 });
    }

    #[test]
    fn downloads_that_no_upload_explains() {
        let totals = |uploaded: u64, downloaded: u64| Totals {
            uploaded: uploaded << 20,
            downloaded: downloaded << 20,
            doubtful: 0,
        };
        assert!(!totals(0, 64).is_inconsistent());
        assert!(totals(0, 65).is_inconsistent());
        assert!(!totals(900, 1000).is_inconsistent());
        assert!(totals(800, 1000).is_inconsistent());
        assert!(!totals(u64::MAX >> 20, 1).is_inconsistent());
    }

    #[test]
    fn no_overflow() {
        let (mut counters, mut totals) = (Counters::default(), Totals::default());
        for uploaded_bytes in [u64::MAX, 0, u64::MAX] {
            let stat = Stat { uploaded_bytes, ..Stat::default() };
            take_report(&stat, PeerMode::Leech, &mut counters, &mut totals);
            counters.uploaded = 0;
        }
        assert_eq!(totals.uploaded, u64::MAX);
    }
}
