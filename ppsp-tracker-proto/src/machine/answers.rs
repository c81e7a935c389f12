//! The last answers, for requests that are repeated (RFC 7846 §4.3). At the limit the oldest are forgotten: such a
//! repetition is answered from what is kept of the peer then.

use alloc::{boxed::Box, collections::VecDeque};
use core::time::Duration;

use hashbrown::HashMap;
use ppsp_core::Instant;

use crate::{Transaction, message::Code};

pub(super) struct Answers {
    kept: HashMap<u64, Answer>,
    order: VecDeque<(Instant, u64)>,
    bytes: usize,
    limit: usize,
}

pub(super) struct Answer {
    pub(super) transaction: Transaction,
    pub(super) code: Code,
    pub(super) body: Box<[u8]>,
}

impl Answers {
    pub(super) fn new(limit: usize) -> Self {
        Self { kept: HashMap::new(), order: VecDeque::new(), bytes: 0, limit }
    }

    pub(super) fn remember(&mut self, now: Instant, transaction: Transaction, code: Code, body: &[u8]) {
        let cost = body.len() + OVERHEAD;
        if cost > self.limit || self.kept.contains_key(&transaction.id) {
            return;
        }
        let mut room = self.bytes + cost;
        while let Some(&(at, id)) = self.order.front()
            && (room > self.limit || now.saturating_since(at) >= MAX_AGE)
        {
            self.order.pop_front();
            room -= self.kept.remove(&id).map_or(0, |answer| answer.body.len() + OVERHEAD);
        }
        self.bytes = room;
        self.order.push_back((now, transaction.id));
        self.kept.insert(transaction.id, Answer { transaction, code, body: body.into() });
    }

    pub(super) fn get(&self, id: u64) -> Option<&Answer> {
        self.kept.get(&id)
    }
}

const MAX_AGE: Duration = Duration::from_secs(60);
/// What an answer needs beside its body, about.
const OVERHEAD: usize = 96;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_are_forgotten() {
        let mut answers = Answers::new(3 * (OVERHEAD + 10));
        let now = Instant::from_micros;
        let transaction = |id| Transaction { id, content: id };
        for id in 0..5 {
            answers.remember(now(id), transaction(id), Code::OK, &[id as u8; 10]);
        }
        assert!(answers.get(1).is_none());
        assert_eq!(*answers.get(2).unwrap().body, [2; 10]);
        assert_eq!((answers.kept.len(), answers.order.len(), answers.bytes), (3, 3, answers.limit));
        answers.remember(now(9), transaction(9), Code::OK, &[0; 1000]);
        assert!(answers.get(9).is_none() && answers.get(2).is_some());
        answers.remember(now(60_000_004), transaction(7), Code::OK, &[]);
        assert_eq!((answers.kept.len(), answers.bytes), (1, OVERHEAD));
    }
}
