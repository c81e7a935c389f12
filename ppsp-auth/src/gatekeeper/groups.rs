use alloc::{
    collections::{BTreeMap, VecDeque},
    string::String,
    sync::Arc,
    vec::Vec,
};
use core::time::Duration;

use hashbrown::HashMap;
use ppsp_core::Instant;

/// In which catalogue groups swarms are, as far as the Portal said. What was learned first is forgotten first.
#[derive(Debug)]
pub(super) struct Groups {
    known: HashMap<Arc<str>, (Instant, Arc<[String]>)>,
    /// When each was learned, in order; what was learned again since stands there twice.
    order: VecDeque<(Instant, Arc<str>)>,
    max: usize,
}

impl Groups {
    pub(super) fn new(max: usize) -> Self {
        Self { known: HashMap::new(), order: VecDeque::new(), max }
    }

    /// Takes what was answered about these swarms. One of which nothing was said is in no group.
    pub(super) fn learn(&mut self, now: Instant, asked: &[String], answer: &BTreeMap<String, Vec<String>>) {
        for swarm in asked {
            let groups: Arc<[String]> = answer.get(swarm).map(|groups| groups[..].into()).unwrap_or_default();
            let swarm: Arc<str> = swarm.as_str().into();
            self.known.insert(swarm.clone(), (now, groups));
            self.order.push_back((now, swarm));
        }
        // Twice as many places as swarms: so most that stand there twice have gone before they crowd out others.
        while self.known.len() > self.max || self.order.len() > 2 * self.max {
            let Some((learned, swarm)) = self.order.pop_front() else { break };
            if self.known.get(&swarm).is_some_and(|(at, _)| *at == learned) {
                self.known.remove(&swarm);
            }
        }
    }

    pub(super) fn of(&self, swarm: &str) -> Option<Arc<[String]>> {
        self.known.get(swarm).map(|(_, groups)| groups.clone())
    }

    /// Whether it was learned so short a time ago.
    pub(super) fn is_fresh(&self, now: Instant, swarm: &str, within: Duration) -> bool {
        self.known.get(swarm).is_some_and(|(learned, _)| now.saturating_since(*learned) < within)
    }
}

#[cfg(test)]
mod tests {
    use alloc::string::ToString;

    use super::*;

    #[test]
    fn the_first_learned_goes_first() {
        let mut groups = Groups::new(2);
        let learn = |groups: &mut Groups, at, swarm: &str| {
            let answer = [(swarm.to_string(), vec![format!("{at}")])].into();
            groups.learn(Instant::from_micros(at), &[swarm.into()], &answer);
        };
        learn(&mut groups, 1, "a");
        learn(&mut groups, 2, "b");
        learn(&mut groups, 3, "a");
        learn(&mut groups, 4, "c");
        assert_eq!(groups.of("b"), None);
        assert_eq!(groups.of("a").unwrap()[..], ["3"]);
        assert!(groups.is_fresh(Instant::from_micros(7), "a", Duration::from_micros(5)));
        assert!(!groups.is_fresh(Instant::from_micros(8), "a", Duration::from_micros(5)));
        for at in 5..100 {
            learn(&mut groups, at, "c");
            assert!(groups.order.len() <= 4);
        }
        assert!(groups.of("c").is_some());
        assert_eq!(groups.known.len(), 1);
        groups.learn(Instant::from_micros(200), &["d".into()], &BTreeMap::new());
        assert_eq!(groups.of("d").unwrap().len(), 0);
    }
}
