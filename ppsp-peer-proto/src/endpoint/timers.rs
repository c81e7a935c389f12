//! Alarms: a hierarchical timer wheel.
//!
//! Digits to the base 64 of a moment in microseconds choose its place: the level is that of the first digit in which it
//! differs from the wheel's own time, the slot is that digit. So all 64 bits have a place, nothing wraps, and the
//! earliest alarm is always in the first occupied slot of the lowest occupied level, which two bitmaps name. When the
//! wheel's time enters a slot, what is in it moves to lower levels, ten times at most for the farthest alarm there is.
//!
//! The nodes of the lists stand in tables indexed by owner: setting and clearing costs a few links, and allocates
//! nothing once an owner's slot has been seen.

use alloc::vec::Vec;

use ppsp_core::Instant;

/// Whose time has come.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(super) enum Timer {
    /// Slot of a channel.
    Channel(usize),
    /// Slot of a swarm.
    Swarm(usize),
    /// The upload limit lets bytes pass again.
    Upload,
}

/// One alarm for each owner, the earliest at hand. Alarms of one moment go off in the order in which they were set.
#[derive(Debug)]
pub(super) struct Timers {
    /// The wheel's time. No alarm is before it, but for those that were late when they were set; they stand with those
    /// of this moment.
    elapsed: u64,
    /// A bit for each level that holds any alarm.
    busy: u16,
    /// As many as were ever needed.
    levels: Vec<Level>,
    /// Channels, then the others.
    nodes: [Vec<Node>; 2],
}

/// 64 slots, each a circular list.
#[derive(Clone, Debug)]
struct Level {
    /// A bit for each slot that holds any alarm.
    occupied: u64,
    heads: [Id; SLOTS],
    /// No alarm of the slot is before. It is the first one's moment, unless that was cleared.
    bounds: [u64; SLOTS],
}

#[derive(Clone, Copy, Debug)]
struct Node {
    at: u64,
    prev: Id,
    next: Id,
    /// Level and slot; `NOWHERE`: the alarm is not set.
    place: u16,
}

/// A node: the table in the lowest bit, the place in it above.
type Id = u32;

impl Timers {
    /// Without alarms.
    pub(super) fn new(now: Instant) -> Self {
        Self { elapsed: now.as_micros(), busy: 0, levels: Vec::new(), nodes: [Vec::new(), Vec::new()] }
    }

    /// Makes sure that the alarm goes off at `at` or before. An alarm that goes off early does no harm, its owner looks
    /// at the time and sets it again; so the common case, a deadline that moves away, costs one look-up.
    pub(super) fn set_by(&mut self, timer: Timer, at: Instant) {
        let (id, at) = (id_of(timer), at.as_micros());
        let (table, index) = split(id);
        if self.nodes[table].len() <= index {
            self.nodes[table].resize(index + 1, Node { at: 0, prev: id, next: id, place: NOWHERE });
        }
        let Some(node) = self.node(id) else { return };
        if node.place != NOWHERE {
            if node.at <= at {
                return;
            }
            self.unlink(id);
        }
        if let Some(node) = self.node(id) {
            node.at = at;
        }
        self.link(id);
    }

    pub(super) fn clear(&mut self, timer: Timer) {
        self.unlink(id_of(timer));
    }

    /// The earliest alarm. May be earlier than that, where an alarm was cleared: then the next
    /// [`take_due`](Self::take_due) at that moment finds nothing, and brings the wheel nearer to the truth.
    pub(super) fn next(&self) -> Option<Instant> {
        let (level, slot) = self.first()?;
        Some(Instant::from_micros(self.levels.get(level)?.bounds[slot]))
    }

    /// Takes an alarm that is due. `now` never goes back.
    pub(super) fn take_due(&mut self, now: Instant) -> Option<Timer> {
        let now = now.as_micros().max(self.elapsed);
        while let Some((level, slot)) = self.first() {
            let entry = self.levels.get(level)?;
            let (bound, head) = (entry.bounds[slot], entry.heads[slot]);
            if level == 0 && bound <= now {
                self.unlink(head);
                return Some(timer_of(head));
            }
            let begins = slot_start(self.elapsed, level, slot);
            if level == 0 || now < begins {
                break;
            }
            // Time enters the slot: what is in it has its place in lower levels now.
            self.elapsed = self.elapsed.max(bound.min(now));
            self.cascade(level, slot);
        }
        self.elapsed = now;
        None
    }

    /// The lowest level and slot that hold any alarm.
    fn first(&self) -> Option<(usize, usize)> {
        if self.busy == 0 {
            return None;
        }
        let level = self.busy.trailing_zeros() as usize;
        let slot = self.levels.get(level)?.occupied.trailing_zeros() as usize;
        (slot < SLOTS).then_some((level, slot))
    }

    fn cascade(&mut self, level: usize, slot: usize) {
        let Some(entry) = self.levels.get_mut(level) else { return };
        let head = entry.heads[slot];
        entry.occupied &= !(1 << slot);
        if entry.occupied == 0 {
            self.busy &= !(1 << level);
        }
        let mut id = head;
        while let Some(&mut Node { next, .. }) = self.node(id) {
            self.link(id);
            id = next;
            if id == head {
                break;
            }
        }
    }

    /// Puts a node at the end of the list where its moment belongs.
    fn link(&mut self, id: Id) {
        let elapsed = self.elapsed;
        let Some(&mut Node { at, .. }) = self.node(id) else { return };
        let (level, slot) = place_of(elapsed, at.max(elapsed));
        while self.levels.len() <= level {
            self.levels.push(Level { occupied: 0, heads: [0; SLOTS], bounds: [0; SLOTS] });
        }
        let Some(entry) = self.levels.get_mut(level) else { return };
        let (mut prev, mut next) = (id, id);
        if entry.occupied & (1 << slot) == 0 {
            entry.occupied |= 1 << slot;
            entry.heads[slot] = id;
            entry.bounds[slot] = at;
            self.busy |= 1 << level;
        } else {
            entry.bounds[slot] = entry.bounds[slot].min(at);
            next = entry.heads[slot];
            if let Some(head) = self.node(next) {
                prev = core::mem::replace(&mut head.prev, id);
            }
            if let Some(tail) = self.node(prev) {
                tail.next = id;
            }
        }
        if let Some(node) = self.node(id) {
            *node = Node { at, prev, next, place: (level * SLOTS + slot) as u16 };
        }
    }

    /// Takes a node out of its list, if it is in one.
    fn unlink(&mut self, id: Id) {
        let Some(node) = self.node(id).filter(|node| node.place != NOWHERE) else { return };
        let Node { prev, next, place, .. } = *node;
        node.place = NOWHERE;
        let (level, slot) = (usize::from(place) / SLOTS, usize::from(place) % SLOTS);
        if next != id {
            if let Some(node) = self.node(prev) {
                node.next = next;
            }
            if let Some(node) = self.node(next) {
                node.prev = prev;
            }
        }
        let Some(entry) = self.levels.get_mut(level) else { return };
        if next != id {
            if entry.heads[slot] == id {
                entry.heads[slot] = next;
            }
            return;
        }
        entry.occupied &= !(1 << slot);
        if entry.occupied == 0 {
            self.busy &= !(1 << level);
        }
    }

    fn node(&mut self, id: Id) -> Option<&mut Node> {
        let (table, index) = split(id);
        self.nodes[table].get_mut(index)
    }
}

fn id_of(timer: Timer) -> Id {
    match timer {
        Timer::Channel(i) => (i as Id) << 1,
        Timer::Upload => 1,
        Timer::Swarm(slot) => (slot as Id + 1) << 1 | 1,
    }
}

fn timer_of(id: Id) -> Timer {
    match split(id) {
        (0, i) => Timer::Channel(i),
        (_, 0) => Timer::Upload,
        (_, i) => Timer::Swarm(i - 1),
    }
}

/// Table, and index in it.
fn split(id: Id) -> (usize, usize) {
    ((id & 1) as usize, (id >> 1) as usize)
}

/// Level and slot of a moment that is not before `elapsed`.
fn place_of(elapsed: u64, at: u64) -> (usize, usize) {
    let differ = (elapsed ^ at) | (SLOTS as u64 - 1);
    let level = (63 - differ.leading_zeros()) / BITS;
    (level as usize, (at >> (level * BITS)) as usize % SLOTS)
}

/// The first moment of a slot.
fn slot_start(elapsed: u64, level: usize, slot: usize) -> u64 {
    let shift = level as u32 * BITS;
    let above = elapsed.checked_shr(shift + BITS).and_then(|digits| digits.checked_shl(shift + BITS)).unwrap_or(0);
    above | (slot as u64) << shift
}

const BITS: u32 = 6;
const SLOTS: usize = 1 << BITS;
const NOWHERE: u16 = u16::MAX;

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::{
        collections::{BTreeMap, BTreeSet},
        vec::Vec,
    };

    /// The same without a wheel.
    #[derive(Default)]
    struct Model {
        queue: BTreeSet<(Instant, Timer)>,
        set: BTreeMap<Timer, Instant>,
    }

    impl Model {
        fn set_by(&mut self, timer: Timer, at: Instant) {
            match self.set.get(&timer) {
                Some(&old) if old <= at => return,
                Some(&old) => self.queue.remove(&(old, timer)),
                None => false,
            };
            self.set.insert(timer, at);
            self.queue.insert((at, timer));
        }

        fn clear(&mut self, timer: Timer) {
            if let Some(at) = self.set.remove(&timer) {
                self.queue.remove(&(at, timer));
            }
        }

        fn next(&self) -> Option<Instant> {
            self.queue.first().map(|&(at, _)| at)
        }

        fn take_due(&mut self, now: Instant) -> Option<(Instant, Timer)> {
            let (at, timer) = self.queue.first().copied().filter(|&(at, _)| at <= now)?;
            self.clear(timer);
            Some((at, timer))
        }
    }

    fn at(micros: u64) -> Instant {
        Instant::from_micros(micros)
    }

    #[test]
    fn the_earlier_time_wins() {
        let mut t = Timers::new(at(0));
        t.set_by(Timer::Channel(1), at(10));
        t.set_by(Timer::Channel(1), at(20));
        t.set_by(Timer::Upload, at(15));
        t.set_by(Timer::Swarm(1), at(5));
        t.clear(Timer::Swarm(1));
        assert_eq!(t.next(), Some(at(10)));
        t.set_by(Timer::Channel(1), at(7));
        assert_eq!(t.take_due(at(6)), None);
        assert_eq!(t.take_due(at(100)), Some(Timer::Channel(1)));
        assert_eq!(t.take_due(at(100)), Some(Timer::Upload));
        assert_eq!(t.take_due(at(100)), None);
    }

    #[test]
    fn every_moment_has_a_place() {
        for start in [0, 1, 63, 64, 4095, 1_700_000_000_000_000, u64::MAX - 1, u64::MAX] {
            let mut t = Timers::new(at(start));
            let moments = [u64::MAX, u64::MAX - 1, u64::MAX / 2, start, start.saturating_add(1), 0];
            let mut model = Model::default();
            for (i, &moment) in moments.iter().enumerate() {
                t.set_by(Timer::Channel(i), at(moment));
                model.set_by(Timer::Channel(i), at(moment));
            }
            while let Some(next) = t.next() {
                assert_eq!(Some(next), model.next(), "from {start}");
                let now = next.max(at(start));
                let due: BTreeSet<_> = core::iter::from_fn(|| t.take_due(now)).collect();
                assert_eq!(due, core::iter::from_fn(|| model.take_due(now)).map(|due| due.1).collect());
            }
            assert_eq!(model.next(), None);
        }
    }

    #[test]
    fn alarms_of_one_moment_keep_their_order() {
        let order = [Timer::Channel(7), Timer::Swarm(0), Timer::Channel(2), Timer::Upload, Timer::Channel(9)];
        let mut t = Timers::new(at(1));
        for timer in order {
            t.set_by(timer, at(5_000_000));
        }
        assert_eq!(t.take_due(at(4_999_990)), None, "it has moved to lower levels in the meantime");
        let due: Vec<_> = core::iter::from_fn(|| t.take_due(at(6_000_000))).collect();
        assert_eq!(due, order);
    }

    #[derive(Clone, Debug)]
    enum Op {
        Set(Timer, u64),
        Clear(Timer),
        Pass(u64),
        /// To the next alarm.
        Jump,
    }

    fn timer() -> impl Strategy<Value = Timer> {
        prop_oneof![
            6 => (0..20_usize).prop_map(Timer::Channel),
            2 => (0..5_usize).prop_map(Timer::Swarm),
            1 => Just(Timer::Upload),
        ]
    }

    /// Times of all magnitudes.
    fn span() -> impl Strategy<Value = u64> {
        (0..64_u32, any::<u64>()).prop_map(|(shift, any)| any >> shift)
    }

    fn op() -> impl Strategy<Value = Op> {
        prop_oneof![
            6 => (timer(), span()).prop_map(|(timer, after)| Op::Set(timer, after)),
            6 => (timer(), 0..200_000_000_u64).prop_map(|(timer, after)| Op::Set(timer, after)),
            1 => timer().prop_map(Op::Clear),
            2 => (0..50_000_000_u64).prop_map(Op::Pass),
            4 => Just(Op::Jump),
        ]
    }

    proptest! {
        #[test]
        fn does_as_the_model_does(start in span(), late in prop_oneof![Just(0), 0..100_u64], ops in prop::collection::vec(op(), 0..200)) {
            let mut now = start;
            let mut wheel = Timers::new(at(start));
            let mut model = Model::default();
            for op in ops {
                match op {
                    Op::Set(timer, after) => {
                        // Some are late already.
                        let moment = at(now.saturating_add(after).saturating_sub(late));
                        wheel.set_by(timer, moment);
                        model.set_by(timer, moment);
                    }
                    Op::Clear(timer) => {
                        wheel.clear(timer);
                        model.clear(timer);
                    }
                    Op::Pass(time) => now = now.saturating_add(time),
                    Op::Jump => {
                        // Early by one wake at most, and late never.
                        let mut wakes = 0;
                        while let (Some(next), Some(truth)) = (wheel.next(), model.next()) && next < truth {
                            now = now.max(next.as_micros());
                            if at(now) >= truth {
                                break;
                            }
                            prop_assert_eq!(wheel.take_due(at(now)), None);
                            wakes += 1;
                            prop_assert!(wakes <= 1);
                        }
                        now = now.max(model.next().map_or(0, Instant::as_micros));
                    }
                }
                prop_assert_eq!(wheel.next().is_some(), model.next().is_some());
                prop_assert!(wheel.next() <= model.next());
                if matches!(op, Op::Pass(_) | Op::Jump) {
                    let mut due: Vec<_> = core::iter::from_fn(|| model.take_due(at(now))).collect();
                    let taken: Vec<_> = core::iter::from_fn(|| wheel.take_due(at(now))).collect();
                    let when: BTreeMap<_, _> = due.iter().map(|&(at, timer)| (timer, at)).collect();
                    let times: Vec<_> = taken.iter().filter_map(|timer| when.get(timer)).collect();
                    prop_assert_eq!(times.len(), taken.len());
                    if late == 0 {
                        prop_assert!(times.is_sorted());
                    }
                    due.sort_by_key(|due| due.1);
                    let mut sorted = taken;
                    sorted.sort();
                    prop_assert!(due.into_iter().map(|due| due.1).eq(sorted));
                    prop_assert!(wheel.next().is_none_or(|next| next > at(now)));
                }
            }
            let owners: usize = wheel.nodes.iter().map(Vec::len).sum();
            prop_assert!(owners <= 26 && wheel.levels.len() <= 11);
        }
    }
}
