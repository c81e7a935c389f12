//! The requester's side of a channel: what is asked of the peer, and what becomes of it.

use alloc::{collections::VecDeque, vec::Vec};
use core::time::Duration;

use ppsp_core::{ChunkId, ChunkRange, Claim, Instant, RangeSet};

use super::{
    Endpoint,
    channel::Channel,
    ledger::Ledger,
    meter::Meter,
    order,
    path_mtu::Carrier,
    swarm::{Swarm, SwarmState},
    windows::Pace,
};
use crate::{congestion::RttEstimator, policy::PickContext, wire::MessageType};

/// What is asked of one peer.
#[derive(Debug)]
pub(super) struct Download {
    /// It is of a live stream.
    live: bool,
    /// The peer does not serve us at present (RFC 7574 §3.9).
    pub(super) choked: bool,
    /// Asked for and not received.
    pub(super) asked: Ledger,
    /// Asked for, with the REQUEST still to be written.
    pub(super) to_request: VecDeque<ChunkRange>,
    /// CANCELs still to be written.
    pub(super) to_cancel: RangeSet,
    /// Chunks to acknowledge, with the one-way delay of their datagrams.
    pub(super) acks: Vec<(ChunkId, u64)>,
    /// Hashes that came ahead of the chunks they belong to.
    pub(super) claims: Vec<Claim>,
    /// Peak hashes that did not lead to the root.
    pub(super) false_peaks: u32,
    /// Chunks that the peer may still send: as many as were ever asked of it and did not come, and in a live swarm some that
    /// nobody asked for.
    pub(super) credit: u64,
    pub(super) meter: Meter,
    /// Bytes of content accepted.
    pub(super) bytes: u64,
    /// The shortest time between a question and its answer.
    pub(super) rtt: Option<Duration>,
    /// The time a request takes, with its wait in the peer's queue.
    sojourn: RttEstimator,
    /// Chunks to have under way because answers come soon: one more for each that does, fewer for each that does not, none after
    /// a stall.
    prompt: u32,
    /// When the peer last sent something asked for, or was first asked.
    progress_at: Instant,
    /// How often in a row requests ran out of time.
    stalls: u32,
    /// How many later chunks may overtake one before it is given up.
    reorder: u32,
    /// Given up because others overtook them.
    pub(super) given_up: RangeSet,
    /// When to look again for something to ask.
    retry_at: Option<Instant>,
    /// There was nothing to ask when it was last looked for, and nothing has changed since.
    sated: bool,
    /// When it was last looked for in vain.
    sated_at: Option<Instant>,
    /// Since when nothing but chunks has come whose hashes are missing.
    unproven_since: Option<Instant>,
    /// How many of these were asked for since, so that the peer had occasion to send the hashes.
    pub(super) in_vain: u32,
}

impl Download {
    const HORIZON: Duration = Duration::from_millis(200);
    /// Of a live stream, which all ask for at the moment when it is there: answers wait for each other longer.
    const LIVE_HORIZON: Duration = Duration::from_millis(300);
    const FIRST_WINDOW: u64 = 8;
    const LEAST_WINDOW: u64 = 2;
    /// Chunks that are asked of all peers together in any case.
    const FEW: u64 = 48;
    const REORDER: u32 = 16;
    const MAX_REORDER: u32 = 1024;
    const MAX_STALL: Duration = Duration::from_secs(20);
    /// How soon to look again after looking in vain, whatever has changed.
    const LOOK_PAUSE: Duration = Duration::from_millis(10);
    /// Hashes kept ahead of their chunks: peaks and uncles of the largest tree.
    const MAX_CLAIMS: usize = 128;

    pub(super) fn new(now: Instant, live: bool) -> Self {
        Self {
            live,
            choked: false,
            asked: Ledger::default(),
            to_request: VecDeque::new(),
            to_cancel: RangeSet::new(),
            acks: Vec::new(),
            claims: Vec::new(),
            false_peaks: 0,
            credit: 0,
            meter: Meter::new(now),
            bytes: 0,
            rtt: None,
            sojourn: RttEstimator::default(),
            prompt: 0,
            progress_at: now,
            stalls: 0,
            reorder: Self::REORDER,
            given_up: RangeSet::new(),
            retry_at: None,
            sated: false,
            sated_at: None,
            unproven_since: None,
            in_vain: 0,
        }
    }

    /// There may be something to ask for again.
    pub(super) fn look_again(&mut self) {
        self.sated = false;
    }

    pub(super) fn deadline(&self) -> Option<Instant> {
        let stall = (!self.asked.is_empty()).then(|| self.stalled_at());
        [stall, self.retry_at].into_iter().flatten().min()
    }

    /// There may be something to ask for then, whatever happens until then.
    pub(super) fn look_at(&mut self, at: Instant) {
        self.retry_at = Some(self.retry_at.map_or(at, |before| before.min(at)));
    }

    /// A round trip was measured.
    pub(super) fn on_rtt(&mut self, rtt: Duration) {
        self.rtt = Some(self.rtt.map_or(rtt, |old| old.min(rtt)));
    }

    /// Will some hashes that are kept have to go, if so many more come?
    pub(super) fn is_full_of_claims(&self, more: usize) -> bool {
        self.claims.len() + more > Self::MAX_CLAIMS
    }

    /// Hashes came with no chunk: they are for one that follows.
    pub(super) fn keep_claims(&mut self, claims: &[Claim]) {
        let excess = (self.claims.len() + claims.len()).saturating_sub(Self::MAX_CLAIMS);
        self.claims.drain(..excess.min(self.claims.len()));
        self.claims.extend(claims.iter().take(Self::MAX_CLAIMS - self.claims.len()));
    }

    /// Readers wait for what nobody waited for before, and nothing else is asked of the peer any more: what requests waited
    /// behind, and how much was asked for before, is no measure.
    pub(super) fn begin_anew(&mut self, now: Instant) {
        self.prompt = Self::FIRST_WINDOW as u32;
        self.sojourn = RttEstimator::default();
        if let Some(rtt) = self.rtt {
            self.sojourn.on_sample(now, rtt);
        }
    }

    /// Chunks to have under way: as much as the peer sends in a round trip and a while. The while bounds how long a
    /// slow peer can hold on to what others could send sooner, and how long a reader waits for what is asked for last;
    /// measured rates make each peer's window its own. Who was asked for little, and is quick, shows in each round trip that
    /// it could send half as much again or more.
    pub(super) fn window(&self, now: Instant, chunk_size: u32, max: u64) -> u64 {
        let horizon = self.rtt.unwrap_or(self.horizon()) * 2 + self.horizon();
        let by_rate = self.pace(now, chunk_size).chunks(horizon);
        let floor = if self.bytes < Self::FIRST_WINDOW * u64::from(chunk_size) {
            Self::FIRST_WINDOW
        } else {
            Self::LEAST_WINDOW
        };
        let by_rate = by_rate.max(self.prompt.into());
        // Who does not deliver, or delivers what cannot be proven, has to show that it can with a few.
        let by_rate = if self.is_doubtful() { 0 } else { by_rate };
        let floor = if self.unproven_since.is_some() { floor.min(Self::LEAST_WINDOW) } else { floor };
        by_rate.max(floor >> (2 * self.stalls).min(8)).max(1).min(max.max(1))
    }

    /// Chunks to ask for beside what is under way while readers wait: `all` of it, which comes at this `pace` from all peers.
    ///
    /// Little is asked of each of many peers, and yet it is more than comes for a while: what is needed next waits in
    /// their queues then, behind what is not. So no more is asked of all together than comes in a while, or [`FEW`](Self::FEW).
    /// What is asked of those who do not answer keeps nobody else from it: of each a few are asked to begin with, and then half
    /// as much again as it brings in a round trip. Where all is asked of one peer there is nobody to wait for.
    fn share(&self, now: Instant, all: u64, pace: Pace, chunk_size: u32) -> u64 {
        let under_way = self.asked.len() as u64;
        if under_way == all {
            return u64::MAX;
        }
        let round_trip = self.rtt.unwrap_or(self.horizon());
        let left = pace.chunks(round_trip * 2 + self.horizon()).max(Self::FEW).saturating_sub(all);
        let own = self.pace(now, chunk_size).chunks(round_trip * 3 / 2).saturating_sub(under_way);
        let first = if under_way == 0 { Self::LEAST_WINDOW } else { 0 };
        left.max(own).max(first)
    }

    /// How fast chunks come from the peer.
    fn pace(&self, now: Instant, chunk_size: u32) -> Pace {
        Pace { rate: self.meter.rate(now), chunk: chunk_size.into() }
    }

    fn horizon(&self) -> Duration {
        if self.live { Self::LIVE_HORIZON } else { Self::HORIZON }
    }

    /// How long the peer will need for what is asked of it, at its present rate; `None` while nothing comes.
    fn time_left(&self, now: Instant) -> Option<Duration> {
        let micros = (self.asked.bytes() as u64).saturating_mul(1_000_000).checked_div(self.meter.rate(now))?;
        Some(Duration::from_micros(micros))
    }

    /// Did the last requests come to nothing?
    pub(super) fn is_doubtful(&self) -> bool {
        self.stalls > 0 || self.unproven_since.is_some()
    }

    /// Has anything come that was asked for, since then?
    pub(super) fn has_sent_since(&self, since: Instant) -> bool {
        self.progress_at > since
    }

    /// What was asked for at `since` did not come in time. Who has sent nothing since then is in doubt; who is busy with
    /// more is only slow.
    pub(super) fn doubt(&mut self, since: Instant) {
        if self.progress_at <= since {
            self.stalls = self.stalls.max(1);
        }
    }

    /// How long until what is asked of the peer now comes.
    pub(super) fn time_to_answer(&self, now: Instant) -> Duration {
        let queue = match self.time_left(now) {
            Some(left) => left,
            None if self.asked.is_empty() => Duration::ZERO,
            None => self.horizon(),
        };
        let answer = self.rtt.unwrap_or(Duration::from_millis(100)) + queue;
        self.sojourn.srtt().map_or(answer, |usual| usual.max(answer))
    }

    /// How long until a chunk comes that was asked for at `since`; `None`: it should have come.
    pub(super) fn time_to_come(&self, now: Instant, chunk: ChunkId, since: Instant) -> Option<Duration> {
        let usual = match self.sojourn.srtt() {
            Some(sojourn) => sojourn + self.sojourn.var().unwrap_or_default() * 4,
            None => self.rtt.unwrap_or_default() * 2 + Duration::from_millis(600),
        };
        let latest = since + usual + Duration::from_millis(50);
        let size = self.asked.get(chunk)?.bytes as u64;
        let queue = (self.asked.ahead_of(chunk)? * size).saturating_mul(1_000_000).checked_div(self.meter.rate(now));
        let left = latest.saturating_since(now);
        (now < latest).then(|| queue.map_or(left, Duration::from_micros))
    }

    /// When what is under way is given up, if nothing comes until then: after a while in which the peer would have sent all of
    /// it twice, at the pace at which it last sent, or twice the time that requests usually take.
    ///
    /// Requests usually wait behind a window of others. What is asked for alone, as the last chunk that got lost, does not.
    fn stalled_at(&self) -> Instant {
        let first = Duration::from_secs(1) + self.rtt.unwrap_or_default() * 3;
        let queued = self.time_left(self.progress_at).map(|left| (first * 2).saturating_add(left.saturating_mul(2)));
        let usual = self
            .sojourn
            .srtt()
            .map(|sojourn| sojourn * 2 + self.sojourn.var().unwrap_or_default() * 4 + Duration::from_millis(100));
        let patience = match usual {
            // Whoever stalled is asked for little.
            Some(usual) if self.stalls > 0 => usual.min(first),
            Some(usual) => queued.map_or(usual, |queued| queued.min(usual)),
            None => first,
        };
        let patience = patience.max(Duration::from_millis(200)).min(Self::MAX_STALL) * (1 << self.stalls.min(8));
        self.progress_at + patience.min(Self::MAX_STALL)
    }

    /// A chunk came that cannot be proven.
    pub(super) fn on_unproven(&mut self, now: Instant, chunk: ChunkId) {
        self.credit = self.credit.saturating_sub(1);
        let since = *self.unproven_since.get_or_insert(now);
        if self.asked.forget(chunk).is_some_and(|entry| entry.since > since) {
            self.in_vain += 1;
        }
    }

    /// Was a chunk asked for that has not come, even if it is not waited for any more?
    pub(super) fn is_awaited(&self, chunk: ChunkId) -> bool {
        self.asked.contains(chunk) || self.given_up.contains(chunk)
    }

    /// A chunk that was asked for, now or before, came.
    pub(super) fn on_arrival(&mut self, now: Instant, chunk: ChunkId) {
        self.progress_at = now;
        self.stalls = 0;
        self.unproven_since = None;
        self.in_vain = 0;
        let under_way = u32::try_from(self.asked.len()).unwrap_or(u32::MAX);
        if let Some(entry) = self.asked.arrive(chunk) {
            let took = now.saturating_since(entry.since);
            // Sooner than any answer ever came: what was given up and asked for again has come after all. Else it is the
            // answer to the second question, and says nothing about the first.
            if !self.given_up.is_empty() && self.given_up.contains(chunk) {
                if self.rtt.is_none_or(|rtt| took >= rtt) {
                    self.given_up.remove(ChunkRange::single(chunk));
                    self.on_answer(now, took, under_way);
                }
            } else {
                self.on_answer(now, took, under_way);
                self.on_rtt(took);
            }
        }
        self.on_late(chunk);
    }

    /// A request was answered after so long, one of so many.
    fn on_answer(&mut self, now: Instant, took: Duration, under_way: u32) {
        self.sojourn.on_sample(now, took);
        if took > self.rtt.unwrap_or(took) + self.horizon() / 2 {
            self.prompt -= self.prompt.div_ceil(8);
        } else if under_way >= self.prompt / 2 {
            self.prompt = under_way.max(self.prompt.saturating_add(1));
        }
    }

    /// Nothing of what is under way came in time.
    fn on_stall(&mut self, now: Instant) {
        self.stalls += 1;
        self.prompt = 0;
        self.progress_at = now;
    }

    /// A chunk is not expected of the peer any more. Returns since when it was.
    ///
    /// RFC 7574 §3.8: CANCEL is for requests that are no longer wanted; it goes out with the next datagram. What was not
    /// even sent is not requested then, and needs none.
    pub(super) fn cancel(&mut self, chunk: ChunkId) -> Option<Instant> {
        if !self.to_request.iter().any(|range| range.contains(chunk)) {
            self.to_cancel.insert(ChunkRange::single(chunk));
        }
        self.asked.forget(chunk).map(|entry| entry.since)
    }

    /// A chunk came once more. That is no progress, but if it had been given up because later ones overtook it, that
    /// was too soon.
    pub(super) fn on_late(&mut self, chunk: ChunkId) {
        if !self.given_up.is_empty() && self.given_up.remove(ChunkRange::single(chunk)) {
            self.reorder = (self.reorder * 2).min(Self::MAX_REORDER);
        }
    }
}

impl Endpoint {
    /// Decides what to ask of a peer now.
    pub(super) fn ask(&mut self, now: Instant, i: usize) {
        let Self { channels, swarms, shared, .. } = self;
        let Some(channel) = channels.get_mut(i) else { return };
        let Some(swarm) = swarms.get_mut(channel.swarm) else { return };
        let state = &mut swarm.state;
        if channel.down.sated || !channel.is_up() || channel.down.choked || !channel.understands(MessageType::Request) {
            return;
        }
        if state.complete || state.failed || state.stuffed || channel.have.is_empty() {
            return;
        }
        if let Some(again) = channel.down.sated_at.map(|at| at + Download::LOOK_PAUSE).filter(|&again| now < again) {
            channel.down.retry_at = Some(channel.down.retry_at.map_or(again, |at| at.min(again)));
            return;
        }
        let size = state.metadata.chunk_size;
        let max = (shared.config.max_requested_per_peer / size as usize) as u64;
        let window = channel.down.window(now, size, max);
        let under_way = channel.down.asked.len() as u64;
        // In portions: long requests are what makes serving cheap.
        if under_way * 4 > window * 3 {
            return;
        }
        let mut budget = window - under_way;
        // A live stream comes as fast as it comes, and is asked for as soon as it is there.
        if !state.windows.is_empty() && !channel.down.live {
            let pace = Pace { rate: state.meter.rate(now), chunk: size.into() };
            let share = channel.down.share(now, state.asked_of.len() as u64, pace, size);
            budget = budget.min(share);
        }
        let room = shared.config.max_requested.saturating_sub(shared.requested) / size as usize;
        budget = budget.min(room as u64);
        if budget == 0 {
            channel.down.retry_at = Some(now + Duration::from_millis(50));
            return;
        }
        if let Some(limit) = &mut shared.download {
            // In portions that the bucket can hold; it holds the largest chunk.
            let portion = budget.min(8).min((limit.depth() / u64::from(size)).max(1));
            let allowed = limit.ready(now) / u64::from(size);
            if allowed < portion {
                let at = limit.ready_at(now, portion * u64::from(size));
                channel.down.retry_at = Some(at.max(now + Duration::from_millis(1)));
                return;
            }
            budget = budget.min(allowed);
        }
        if let Some(group) = order::group(0, budget - 1) {
            budget -= budget % group;
        }
        channel.down.retry_at = None;
        let before = budget;
        // RFC 7574 §5.6.2: to obtain the definite content size, the last chunk is needed. The sooner the better: until
        // then peak hashes may still turn out to be false.
        if let Some(last) = state.all().filter(|_| !state.integrity.size_certain()).map(ChunkRange::last)
            && channel.have.contains(last)
            && !state.held.contains(last)
            && !state.busy.intersects(ChunkRange::single(last))
        {
            request(now, i, channel, state, ChunkRange::single(last), &mut shared.requested);
            budget -= 1;
        }
        if let Some(edge) = state.edge(now, channel) {
            request(now, i, channel, state, edge, &mut shared.requested);
            budget = budget.saturating_sub(1);
        }
        let mut picked = core::mem::take(&mut shared.picked);
        while budget > 0 {
            picked.clear();
            let Some(channel) = channels.get(i) else { break };
            let others = |range| state.others(channels, i, range);
            let mut cx = context(now, &mut shared.rng, channel, state, &others);
            swarm.picker.pick(&mut cx, budget, &mut picked);
            let Some(channel) = channels.get_mut(i) else { break };
            for &range in &picked {
                // A picker is the embedder's: what it must not pick, it does not get.
                let fit = channel.have.covers(range) && !state.held.intersects(range) && !state.busy.intersects(range);
                if fit && range.len() <= budget {
                    budget -= range.len();
                    request(now, i, channel, state, range, &mut shared.requested);
                }
            }
            if picked.is_empty() {
                break;
            }
        }
        shared.picked = picked;
        if let Some(limit) = &mut shared.download {
            limit.take((before - budget) * u64::from(size));
        }
        let Some(channel) = channels.get_mut(i) else { return };
        if budget == before {
            channel.down.sated = true;
            channel.down.sated_at = Some(now);
            self.take_over(now, i, budget);
        } else {
            let slot = channel.swarm;
            self.watch(now, slot);
        }
    }

    /// Nothing is left to ask of a peer, while others are slow with what it has: ask it for some of that.
    ///
    /// RFC 7574 §3.8: when urgent data is asked of another peer, the former SHOULD be sent a CANCEL.
    fn take_over(&mut self, now: Instant, i: usize, budget: u64) {
        const LOOK_AT: usize = 64;
        let Some(channel) = self.channels.get(i) else { return };
        let slot = channel.swarm;
        let Some(swarm) = self.swarms.get_mut(slot) else { return };
        let state = &mut swarm.state;
        // Who does not deliver takes nothing over, or two that do not would pass it to each other for ever.
        if state.asked_of.is_empty() || channel.down.is_doubtful() || !state.windows.is_empty() {
            if !state.starving.contains(&i) && state.starving.len() < state.channels.len() {
                state.starving.push(i);
            }
            return;
        }
        let ours = channel.down.rtt.unwrap_or(Duration::from_millis(100));
        let ours_left = ours + channel.down.time_left(now).unwrap_or_default();
        let from = crate::policy::below(&mut self.shared.rng, state.chunks().unwrap_or(0));
        let mut taken: Vec<(ChunkId, usize)> = Vec::new();
        // After what wait a chunk is overdue with a peer; `None`: never. Neighbours were mostly asked of the same one.
        let overdue_after = |other: &Channel| {
            let theirs = other.down.rtt.unwrap_or_default();
            let patience = ours.max(theirs) * 2 + Duration::from_millis(50);
            match other.down.time_left(now) {
                // A window is about what comes in the horizon; who needs half as much again has become slow.
                Some(left) => (left > ours_left * 2 + theirs * 2 + channel.down.horizon() * 3 / 2).then_some(patience),
                None => Some(other.down.sojourn.srtt().map_or(patience, |usual| patience.max(usual * 2))),
            }
        };
        let mut last = None;
        let rest = ChunkRange::new(from, ChunkId::MAX).into_iter().flat_map(|range| state.asked_of.iter(range));
        let before = ChunkRange::with_len(0, from).into_iter().flat_map(|range| state.asked_of.iter(range));
        for (chunk, owner) in rest.chain(before).take(LOOK_AT) {
            let owner = owner as usize;
            let Some(other) = self.channels.get(owner).filter(|_| owner != i) else { continue };
            let after = match last {
                Some((known, after)) if known == owner => after,
                _ => last.insert((owner, overdue_after(other))).1,
            };
            let Some(after) = after else { continue };
            let Some(entry) = other.down.asked.get(chunk) else { continue };
            if now.saturating_since(entry.since) > after && channel.have.contains(chunk) {
                taken.push((chunk, owner));
                if taken.len() as u64 >= budget.min(32) {
                    break;
                }
            }
        }
        for &(chunk, owner) in &taken {
            self.shared.stats.requests_lapsed += 1;
            if let Some(other) = self.channels.get_mut(owner) {
                if let Some(since) = take_back(other, state, chunk, &mut self.shared.requested) {
                    other.down.doubt(since);
                }
                self.shared.wake(owner, other);
            }
            if let Some(channel) = self.channels.get_mut(i) {
                request(now, i, channel, state, ChunkRange::single(chunk), &mut self.shared.requested);
            }
        }
        let Some(channel) = self.channels.get_mut(i) else { return };
        channel.down.sated = taken.is_empty();
        if taken.is_empty() {
            channel.down.retry_at = Some(now + ours.max(Duration::from_millis(50)));
            if !state.starving.contains(&i) && state.starving.len() < state.channels.len() {
                state.starving.push(i);
            }
        }
    }

    /// The timer of a channel went off: gives up what did not come in time.
    pub(super) fn check_download(&mut self, now: Instant, i: usize) {
        let Some(channel) = self.channels.get_mut(i) else { return };
        let down = &mut channel.down;
        if down.retry_at.is_some_and(|at| at <= now) {
            down.retry_at = None;
            down.sated = false;
            self.shared.wake(i, channel);
        }
        if channel.down.asked.is_empty() || now < channel.down.stalled_at() {
            return;
        }
        channel.down.on_stall(now);
        channel.doubt_oldest();
        // Others first: it is their turn.
        self.release_all(i, true);
        if let Some(channel) = self.channels.get_mut(i) {
            channel.down.look_again();
            self.shared.wake(i, channel);
        }
    }

    /// Gives up chunks that later ones overtook.
    pub(super) fn check_overtaken(&mut self, i: usize) {
        let Self { channels, swarms, shared, .. } = self;
        let Some(channel) = channels.get_mut(i) else { return };
        let Some(swarm) = swarms.get_mut(channel.swarm) else { return };
        let slot = channel.swarm;
        let mut given_back = None;
        while let Some(entry) = channel.down.asked.take_overtaken(channel.down.reorder.into()) {
            channel.down.given_up.insert(ChunkRange::single(entry.chunk));
            if channel.down.given_up.parts() > 64 {
                channel.down.given_up.clear();
            }
            shared.stats.requests_lapsed += 1;
            if swarm.state.release(entry.chunk).is_some() {
                shared.requested = shared.requested.saturating_sub(swarm.state.metadata.chunk_size as usize);
            }
            swarm.picker.on_lapsed(ChunkRange::single(entry.chunk));
            given_back = Some(slot);
        }
        // Not for every batch: there may be many who wait.
        self.feed_starving(given_back);
    }

    /// Gives up everything asked of a peer, so that it can be asked of others.
    pub(super) fn release_all(&mut self, i: usize, cancel: bool) {
        let Self { channels, swarms, shared, .. } = self;
        let Some(channel) = channels.get_mut(i) else { return };
        let slot = channel.swarm;
        let Some(swarm) = swarms.get_mut(slot) else { return };
        let size = swarm.state.metadata.chunk_size as usize;
        while let Some(entry) = channel.down.asked.take_oldest() {
            let chunk = ChunkRange::single(entry.chunk);
            shared.stats.requests_lapsed += 1;
            if swarm.state.release(entry.chunk).is_some() {
                shared.requested = shared.requested.saturating_sub(size);
            }
            swarm.picker.on_lapsed(chunk);
            if cancel {
                channel.down.to_cancel.insert(chunk);
            }
        }
        channel.down.to_request.clear();
        self.feed_starving(Some(slot));
    }

    /// Something may be asked for again: wakes the channels that found nothing.
    pub(super) fn feed_starving(&mut self, slot: Option<usize>) {
        let Some(swarm) = slot.and_then(|slot| self.swarms.get_mut(slot)) else { return };
        for i in swarm.state.starving.drain(..) {
            if let Some(channel) = self.channels.get_mut(i) {
                channel.down.sated = false;
                self.shared.wake(i, channel);
            }
        }
    }
}

/// What the picker is told of a peer.
pub(super) fn context<'a>(
    now: Instant,
    rng: &'a mut dyn rand_core::Rng,
    channel: &'a Channel,
    state: &'a SwarmState,
    others: &'a dyn Fn(ChunkRange) -> usize,
) -> PickContext<'a> {
    PickContext {
        now,
        rng,
        peer: channel.key,
        pace: state.meter.rate(now) / u64::from(state.metadata.chunk_size.max(1)),
        held: &state.held,
        busy: &state.busy,
        wanted: state.windows.wanted(),
        peer_has: &channel.have,
        others,
    }
}

/// A chunk that was asked of a peer can be asked of others. Returns since when it was.
pub(super) fn take_back(
    channel: &mut Channel,
    state: &mut SwarmState,
    chunk: ChunkId,
    requested: &mut usize,
) -> Option<Instant> {
    if state.release(chunk).is_some() {
        *requested = requested.saturating_sub(state.metadata.chunk_size as usize);
    }
    channel.down.cancel(chunk)
}

/// Notes that a range is asked of a peer; the REQUEST goes out with the next datagram.
pub(super) fn request(
    now: Instant,
    i: usize,
    channel: &mut Channel,
    state: &mut SwarmState,
    range: ChunkRange,
    requested: &mut usize,
) {
    let size = state.metadata.chunk_size as usize;
    let down = &mut channel.down;
    if down.asked.is_empty() {
        down.progress_at = now;
    }
    state.busy.insert(range);
    for piece in state.metadata.addressing.pieces(range) {
        for chunk in order::service_order(piece, channel.draft) {
            state.asked_of.insert(chunk, i as u32);
            down.asked.push(chunk, now, size, Carrier::default());
            down.credit += 1;
            *requested += size;
        }
        down.to_cancel.remove(piece);
        down.to_request.push_back(piece);
    }
    channel.idle_since = now;
}

impl Swarm {
    /// Tells the picker the size, with what the peers have announced until now, once there is something to pick.
    pub(super) fn index<'a>(&mut self, rng: &mut dyn rand_core::Rng, peers: impl Iterator<Item = &'a Channel>) {
        if self.state.indexed || self.state.complete {
            return;
        }
        let Some(chunks) = self.state.chunks() else { return };
        self.state.indexed = true;
        self.picker.on_size(chunks, rng);
        for peer in peers.filter(|peer| peer.is_up()) {
            peer.have.runs().for_each(|run| self.picker.on_have(run));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Asks for so many chunks at a time, up to the window, and has each answered after so long; for so many rounds.
    fn rounds(down: &mut Download, now: &mut Instant, took: Duration, count: usize) {
        for _ in 0..count {
            let first = now.as_micros();
            let chunks = first..first + down.window(*now, 1024, 1 << 15);
            chunks.clone().for_each(|chunk| down.asked.push(chunk, *now, 1024, Carrier::default()));
            *now = *now + took;
            for chunk in chunks {
                down.meter.add(*now, 1024);
                down.bytes += 1024;
                down.on_arrival(*now, chunk);
            }
        }
    }

    #[test]
    fn who_answers_at_once_is_asked_for_more_and_who_stalls_begins_anew() {
        let mut now = Instant::from_micros(1_700_000_000_000_000);
        let mut down = Download::new(now, false);
        let window = |down: &Download, now| down.window(now, 1024, 1 << 15);
        assert_eq!(window(&down, now), Download::FIRST_WINDOW);
        rounds(&mut down, &mut now, Duration::from_millis(50), 4);
        // Whatever it has sent of late.
        now = now + Duration::from_secs(1);
        assert!(window(&down, now) >= 4 * Download::FIRST_WINDOW, "{}", window(&down, now));
        let quick = down.prompt;
        rounds(&mut down, &mut now, Duration::from_millis(500), 4);
        assert!(down.prompt < quick / 8, "{} of {quick}", down.prompt);
        rounds(&mut down, &mut now, Duration::from_millis(50), 4);
        down.asked.push(0, now, 1024, Carrier::default());
        now = now + Duration::from_secs(1);
        down.on_stall(now);
        assert_eq!(window(&down, now), Download::LEAST_WINDOW >> 2 | 1);
        down.on_arrival(now, 0);
        assert!(window(&down, now) <= Download::LEAST_WINDOW, "one answer is not enough: {}", window(&down, now));
    }

    #[test]
    fn of_all_together_is_asked_what_comes_soon() {
        let now = Instant::from_micros(1_700_000_000_000_000);
        let mut down = Download::new(now, false);
        down.on_rtt(Duration::from_millis(50));
        // 100 chunks a second: 30 in 300 ms, which is less than what is asked of them in any case.
        let share =
            |down: &Download, all, rate: u64| down.share(now, all, Pace { rate: rate * 1024, chunk: 1024 }, 1024);
        assert_eq!(share(&down, 40, 100), Download::FEW - 40);
        assert_eq!(share(&down, 40, 1000), 300 - 40);
        assert_eq!(share(&down, 400, 1000), Download::LEAST_WINDOW, "of whom nothing is asked");
        assert_eq!(share(&down, 0, 100), u64::MAX, "nothing is asked of anybody");
        down.asked.push(0, now, 1024, Carrier::default());
        assert_eq!(share(&down, 400, 1000), 0);
        assert_eq!(share(&down, 1, 100), u64::MAX, "of whom all is asked");
        // 200 chunks a second.
        down.meter.add(now, 40 << 10);
        assert_eq!(share(&down, 400, 200), 15 - 1, "who answers is not held up by those who do not");
    }
}
