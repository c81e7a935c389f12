use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

use crate::cli::exit::Failure;

/// The first `count` cores that this process may use; none where it does not matter which.
pub(super) fn choose(count: Option<u16>) -> Result<Vec<usize>, Failure> {
    let Some(count) = count.map(usize::from) else { return Ok(Vec::new()) };
    let allowed = sched_getaffinity(None).map_err(|e| Failure::other(format!("--cores: {e}")))?;
    let found: Vec<usize> = (0..CpuSet::MAX_CPU).filter(|&core| allowed.is_set(core)).take(count).collect();
    if found.len() < count {
        return Err(Failure::usage(format!("--cores {count}: there are {} here", found.len())));
    }
    Ok(found)
}

/// Keeps this thread, and the threads and processes that it starts, to these cores, until the value goes.
pub(super) struct Pinned(Option<CpuSet>);

impl Pinned {
    pub(super) fn to(cores: &[usize]) -> Self {
        let mut set = CpuSet::new();
        cores.iter().for_each(|&core| set.set(core));
        // They were there a moment ago; a measurement without pins is one too.
        let before = sched_getaffinity(None).ok().filter(|_| !cores.is_empty());
        Self(before.filter(|_| sched_setaffinity(None, &set).is_ok()))
    }
}

impl Drop for Pinned {
    fn drop(&mut self) {
        if let Some(before) = &self.0 {
            _ = sched_setaffinity(None, before);
        }
    }
}

/// The core of one of several parties.
pub(super) fn of(cores: &[usize], party: usize) -> &[usize] {
    cores.chunks(1).cycle().nth(party).unwrap_or_default()
}
