//! Scalable content: Representations that are of use only together with others (`dependencyId`, ISO/IEC 23009-1 §5.3.5).

use alloc::{collections::BTreeMap, string::String, vec::Vec};

use super::{DashError, error::shown};
use crate::descriptor::{Descriptor, Representation};

impl Descriptor {
    /// The Representations that are needed to show this one, itself the last: what others depend on comes before them.
    ///
    /// # Errors
    ///
    /// [`DashError::Unknown`] and [`DashError::Cycle`].
    pub fn layers(&self, id: &str) -> Result<Vec<Representation>, DashError> {
        let all = self.representations();
        let by_id: BTreeMap<&str, &Representation> = all.iter().rev().map(|one| (one.id.as_str(), one)).collect();
        let find = |id: &str| by_id.get(id).copied().ok_or_else(|| DashError::Unknown(shown(id)));
        let mut states: BTreeMap<&str, State> = BTreeMap::new();
        let mut layers = Vec::new();
        // Each is entered before what it depends on, and left behind it.
        let mut open = Vec::from([(find(id)?, 0)]);
        while let Some((one, at)) = open.pop() {
            let Some(next) = one.dependencies.get(at).map(String::as_str) else {
                states.insert(&one.id, State::Done);
                layers.push(one.clone());
                continue;
            };
            states.insert(&one.id, State::Open);
            open.push((one, at + 1));
            let next = find(next)?;
            match states.get(next.id.as_str()) {
                None => open.push((next, 0)),
                Some(State::Done) => {}
                Some(State::Open) => return Err(DashError::Cycle(shown(&next.id))),
            }
        }
        Ok(layers)
    }
}

#[derive(Clone, Copy)]
enum State {
    Open,
    Done,
}
