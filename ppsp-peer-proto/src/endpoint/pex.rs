use core::{
    net::{IpAddr, SocketAddr},
    time::Duration,
};

use ppsp_core::Instant;

use super::{
    Endpoint, Event,
    bans::{is_private, is_unicast},
    channel::Channel,
};
use crate::{
    policy::below,
    wire::{Format, Message, MessageType, Writer},
};

/// RFC 7574 §3.10.1: a peer passed on MUST have exchanged messages with us in the last 60 seconds.
const FRESH: Duration = Duration::from_secs(60);
/// How often a peer is asked for addresses, and how often it gets an answer.
const INTERVAL: Duration = Duration::from_secs(15);
/// Addresses in an answer.
const ANSWER: usize = 16;

/// Exchange of peer addresses with one peer (RFC 7574 §3.10).
#[derive(Debug, Default)]
pub(super) struct Pex {
    /// When to ask next; `None`: never.
    ask_at: Option<Instant>,
    /// A PEX_REQ is due.
    ask: bool,
    /// Addresses that the peer may still send in answer.
    expected: usize,
    /// An answer is due.
    answer: bool,
    answered_at: Option<Instant>,
}

impl Pex {
    pub(super) fn deadline(&self) -> Option<Instant> {
        self.ask_at
    }

    pub(super) fn on_timer(&mut self, now: Instant) {
        if self.ask_at.is_some_and(|at| at <= now) {
            self.ask = true;
            self.ask_at = Some(now + INTERVAL);
        }
    }

    pub(super) fn is_due(&self) -> bool {
        self.ask || self.answer
    }

    /// A PEX_REQ came.
    pub(super) fn on_request(&mut self, now: Instant) {
        if self.answered_at.is_none_or(|at| now.saturating_since(at) >= INTERVAL / 2) {
            self.answer = true;
        }
    }

    /// An address came; may it be believed to be an answer?
    fn on_response(&mut self) -> bool {
        let expected = self.expected > 0;
        self.expected = self.expected.saturating_sub(1);
        expected
    }
}

/// Does an address mean the same to both? Those of this host are of no use to others, and not for others to name.
fn same_reach(a: IpAddr, b: IpAddr) -> bool {
    is_private(a) && a.to_canonical().is_loopback() == b.to_canonical().is_loopback()
}

impl Endpoint {
    /// Begins to ask a peer whose handshake is complete for others.
    ///
    /// RFC 7574 §3.10.1: PEX_RESv4 and PEX_RESv6 MUST only be used in a benign environment, such as a private network:
    /// only where the embedder says so, and only between private addresses.
    pub(super) fn begin_pex(&mut self, now: Instant, i: usize) {
        let Some(channel) = self.channels.get_mut(i) else { return };
        if self.shared.config.pex && is_private(channel.remote.ip()) && channel.understands(MessageType::PexReq) {
            channel.pex.ask_at = Some(now + INTERVAL);
            channel.pex.ask = true;
        }
    }

    /// A PEX_REQ came. Others than private addresses get no answer at all, and so no private address (RFC 7574 §8.13).
    pub(super) fn on_pex_request(&mut self, now: Instant, i: usize) {
        let Some(channel) = self.channels.get_mut(i).filter(|c| c.is_up()) else { return };
        if self.shared.config.pex && is_private(channel.remote.ip()) {
            channel.pex.on_request(now);
        }
    }

    /// An address came.
    pub(super) fn on_pex_response(&mut self, now: Instant, i: usize, address: SocketAddr) {
        let Some(channel) = self.channels.get_mut(i) else { return };
        // RFC 7574 §12.2: an answer that nobody asked for, or one of many, would have us call whom the peer likes.
        if !self.shared.config.pex || !channel.is_up() || !channel.pex.on_response() {
            self.shared.stats.ignored_unfounded += 1;
            return;
        }
        let address = SocketAddr::new(address.ip().to_canonical(), address.port());
        let near = same_reach(address.ip(), channel.remote.ip());
        let fit = is_unicast(address) && near && !self.shared.bans.contains(now, address);
        let slot = channel.swarm;
        let known = self.at.range((slot, address, 0)..=(slot, address, usize::MAX)).next().is_some();
        let Some(swarm) = self.swarms.get_mut(slot) else { return };
        if !fit || known || swarm.state.learned.contains(&address) {
            return;
        }
        if swarm.state.learned.len() >= self.shared.config.max_learned {
            self.shared.stats.dropped_over_limit += 1;
            return;
        }
        swarm.state.learned.push_back(address);
        if !core::mem::replace(&mut swarm.state.told_learned, true) {
            self.shared.tell(Event::PeersLearned { swarm: swarm.state.key });
        }
    }

    /// Writes what is due of peer exchange.
    pub(super) fn write_pex(&mut self, now: Instant, i: usize, writer: &mut Writer<'_>, format: &Format) {
        let Some(channel) = self.channels.get_mut(i) else { return };
        let pex = &mut channel.pex;
        if pex.ask && writer.put(&Message::PexReq, format).is_ok() {
            pex.ask = false;
            pex.expected = ANSWER;
        }
        if !core::mem::take(&mut pex.answer) {
            return;
        }
        pex.answered_at = Some(now);
        let (slot, remote) = (channel.swarm, channel.remote);
        let (v4, v6) = (channel.understands(MessageType::PexResV4), channel.understands(MessageType::PexResV6));
        let Some(swarm) = self.swarms.get(slot) else { return };
        let worth_telling = |c: &Channel| {
            c.is_up()
                && c.remote != remote
                && same_reach(c.remote.ip(), remote.ip())
                && now.saturating_since(c.heard) < FRESH
        };
        // A random stretch of the members, so that the answers differ.
        let members = &swarm.state.channels;
        let start = below(&mut self.shared.rng, members.len() as u64) as usize;
        let turned = members.iter().skip(start).chain(members.iter().take(start));
        let told = turned.filter_map(|&j| self.channels.get(j)).filter(|c| worth_telling(c)).take(ANSWER);
        for c in told {
            let message = match SocketAddr::new(c.remote.ip().to_canonical(), c.remote.port()) {
                SocketAddr::V4(address) if v4 => Message::PexResV4(address),
                SocketAddr::V6(address) if v6 => Message::PexResV6(address),
                _ => continue,
            };
            if writer.put(&message, format).is_err() {
                return;
            }
        }
    }
}
