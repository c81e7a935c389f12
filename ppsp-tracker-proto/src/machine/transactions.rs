//! Answers that may be asked for again. RFC 7846 §4.3: a peer that got no valid response repeats the same request with the same
//! `transaction_id`, and the tracker MUST be prepared for it.

use alloc::{boxed::Box, collections::VecDeque};
use core::{hash::BuildHasher, net::IpAddr, time::Duration};

use hashbrown::{DefaultHashBuilder, HashMap};
use ppsp_core::Instant;

use crate::{Principal, message::Code};

/// The last answers, each for some seconds: at most so many bytes of them.
pub(super) struct Transactions {
    most_bytes: usize,
    keep: Duration,
    bytes: usize,
    answers: HashMap<Key, Answer>,
    order: VecDeque<(Instant, Key)>,
    hasher: DefaultHashBuilder,
}

/// Whose, and a hash of from where and of the `transaction_id`: only who asks can mistake one for another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Key {
    principal: Principal,
    transaction: u64,
}

struct Answer {
    when: Instant,
    request: u64,
    code: Code,
    body: Box<[u8]>,
}

/// What is known of a transaction.
pub(super) enum Seen<'a> {
    /// Nothing: do it.
    New,
    /// The same request, answered already.
    Repeated(Code, &'a [u8]),
    /// Another request under the same name.
    Reused,
}

impl Transactions {
    pub(super) fn new(most_bytes: usize, keep: Duration) -> Self {
        let hasher = DefaultHashBuilder::default();
        Self { most_bytes, keep, bytes: 0, answers: HashMap::new(), order: VecDeque::new(), hasher }
    }

    pub(super) fn key(&self, principal: Principal, remote: IpAddr, transaction_id: &str) -> Key {
        Key { principal, transaction: self.hasher.hash_one((remote, transaction_id)) }
    }

    pub(super) fn look(&self, now: Instant, key: &Key, body: &[u8]) -> Seen<'_> {
        match self.answers.get(key) {
            Some(answer) if now.saturating_since(answer.when) < self.keep => {
                if answer.request == self.hasher.hash_one(body) {
                    Seen::Repeated(answer.code, &answer.body)
                } else {
                    Seen::Reused
                }
            }
            _ => Seen::New,
        }
    }

    pub(super) fn remember(&mut self, now: Instant, key: Key, request: &[u8], code: Code, body: &[u8]) {
        let answer = Answer { when: now, request: self.hasher.hash_one(request), code, body: body.into() };
        self.bytes += Self::COST + body.len();
        if let Some(before) = self.answers.insert(key, answer) {
            self.bytes -= Self::COST + before.body.len();
        }
        self.order.push_back((now, key));
        while let Some(&(when, key)) = self.order.front() {
            if self.bytes <= self.most_bytes && now.saturating_since(when) < self.keep && self.order.len() < MOST {
                break;
            }
            self.order.pop_front();
            // One that was replaced since then has a later entry of its own.
            if self.answers.get(&key).is_some_and(|answer| answer.when == when)
                && let Some(gone) = self.answers.remove(&key)
            {
                self.bytes -= Self::COST + gone.body.len();
            }
        }
    }

    /// What an answer takes beside its bytes.
    const COST: usize = 160;
}

/// Entries of the queue: some may stand for answers that were replaced.
const MOST: usize = 1 << 18;

impl core::fmt::Debug for Transactions {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Transactions").field("bytes", &self.bytes).finish_non_exhaustive()
    }
}
