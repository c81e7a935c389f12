use std::{
    io::{self, IoSliceMut},
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket},
    time::Duration,
};

use ppsp_peer_proto::{Datagrams, Transmit};
use quinn_udp::{BATCH_SIZE, RecvMeta, UdpSocketState};
use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    net::sockopt::set_socket_reuseport,
};
use socket2::{Domain, Protocol, Type};
use tokio::io::Interest;

/// Kernel buffer asked for in each direction; the system may grant less.
const KERNEL_BUFFER: usize = 4 << 20;
/// Room for what one receive can return in a slot: a run that the kernel put together, or any single datagram.
const SLOT: usize = 64 << 10;
/// Slots in a receive batch.
const SLOTS: usize = if BATCH_SIZE < 16 { BATCH_SIZE } else { 16 };

/// What went through a socket, and what became of sends that are nobody's error.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Counters {
    /// Datagrams handed to the system.
    pub datagrams_out: u64,
    /// Runs they were handed over in.
    pub runs_out: u64,
    /// Datagrams received.
    pub datagrams_in: u64,
    /// Runs they came in.
    pub runs_in: u64,
    /// Datagrams or runs that the system refused to send: no route, a firewall, too big for the path.
    pub refused: u64,
    /// Of these, too big for the path without fragmentation.
    pub too_big: u64,
}

impl Counters {
    /// Adds those of another socket.
    pub fn add(&mut self, other: &Self) {
        self.datagrams_out += other.datagrams_out;
        self.runs_out += other.runs_out;
        self.datagrams_in += other.datagrams_in;
        self.runs_in += other.runs_in;
        self.refused += other.refused;
        self.too_big += other.too_big;
    }
}

/// A UDP socket that sends runs of datagrams with one call (GSO) and receives them so (GRO), where the system can.
///
/// Bound to `[::]` it speaks IPv4 too; callers never see IPv4 addresses inside IPv6 ones.
#[derive(Debug)]
pub struct Socket {
    io: tokio::net::UdpSocket,
    state: UdpSocketState,
    is_v6: bool,
    slots: Vec<Box<[u8]>>,
    metas: [RecvMeta; SLOTS],
    counters: Counters,
}

impl Socket {
    /// Binds a socket. Needs a tokio runtime.
    ///
    /// # Errors
    ///
    /// Those of the system, `AddrInUse` first.
    pub fn bind(addr: SocketAddr) -> io::Result<Self> {
        Self::new(bind_one(addr, false)?)
    }

    /// Binds several sockets to one address. The system spreads senders over them by their addresses and ports, so that what
    /// comes from one of them always comes to the same socket, as long as all of them stay open.
    ///
    /// # Errors
    ///
    /// Those of the system, `AddrInUse` first, also where the address is in use by such a group.
    pub fn bind_group(addr: SocketAddr, count: usize) -> io::Result<Vec<UdpSocket>> {
        // Groups of one user are open to each other, so that peers would come to either program: one that shares nothing
        // finds out whether the address is free.
        let free = bind_one(addr, false)?;
        if count <= 1 {
            return Ok(vec![free]);
        }
        let addr = free.local_addr()?;
        drop(free);
        (0..count).map(|_| bind_one(addr, true)).collect()
    }

    /// Over a bound socket that does not block. Needs a tokio runtime.
    ///
    /// # Errors
    ///
    /// Those of the system.
    pub fn new(socket: UdpSocket) -> io::Result<Self> {
        let is_v6 = socket.local_addr()?.is_ipv6();
        let io = tokio::net::UdpSocket::from_std(socket)?;
        let state = UdpSocketState::new((&io).into())?;
        let slots = (0..SLOTS).map(|_| vec![0; SLOT].into_boxed_slice()).collect();
        let metas = [RecvMeta::default(); SLOTS];
        Ok(Self { io, state, is_v6, slots, metas, counters: Counters::default() })
    }

    /// The address bound to.
    ///
    /// # Errors
    ///
    /// Those of the system.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.io.local_addr()
    }

    /// Datagrams that may go in one run.
    pub fn max_segments(&self) -> usize {
        self.state.max_gso_segments().max(1)
    }

    /// What was refused so far.
    pub fn counters(&self) -> Counters {
        self.counters
    }

    /// Waits until there is something to receive, or with `send`, room to send.
    ///
    /// # Errors
    ///
    /// Those of the runtime.
    pub async fn ready(&self, send: bool) -> io::Result<()> {
        // Sends and receives pass by the runtime, so what it believes to be ready is to be looked at first.
        let look = || if self.wait(send, Duration::ZERO) { Ok(()) } else { Err(io::ErrorKind::WouldBlock.into()) };
        self.io.async_io(if send { Interest::READABLE | Interest::WRITABLE } else { Interest::READABLE }, look).await
    }

    /// As [`ready`](Self::ready), for a short time and blocking the thread. `false`: nothing came of it.
    pub fn wait(&self, send: bool, limit: Duration) -> bool {
        let events = if send { PollFlags::IN | PollFlags::OUT } else { PollFlags::IN };
        let limit = Timespec { tv_sec: limit.as_secs().min(60) as i64, tv_nsec: limit.subsec_nanos().into() };
        // An error is better seen where it matters.
        poll(&mut [PollFd::new(&self.io, events)], Some(&limit)).map_or(true, |count| count > 0)
    }

    /// Sends a run. `false`: there is no room now, and the same run is to be offered again.
    ///
    /// What the system refuses is lost, as datagrams may be: a peer that is out of reach is for the protocol to find out.
    pub fn try_send(&mut self, transmit: &Transmit, bytes: &[u8]) -> bool {
        let segment = transmit.segment_size.map(|size| size.get());
        let whole = self.send(transmit.destination, bytes, segment);
        if !matches!(&whole, Err(e) if e.kind() == io::ErrorKind::WouldBlock) {
            self.counters.runs_out += 1;
            self.counters.datagrams_out += segment.map_or(1, |segment| bytes.len().div_ceil(segment)) as u64;
        }
        match (whole, segment) {
            (Err(e), _) if e.kind() == io::ErrorKind::WouldBlock => false,
            (Err(e), Some(segment)) if !quinn_udp::is_msg_size_err(&e) => {
                // The run as a whole was refused, maybe because runs are: the state lowers `max_segments` then.
                for one in bytes.chunks(segment) {
                    match self.send(transmit.destination, one, None) {
                        // The rest is lost; to send the run again would repeat its beginning.
                        Err(e) if e.kind() == io::ErrorKind::WouldBlock => break,
                        sent => self.count(sent),
                    }
                }
                true
            }
            (sent, _) => {
                self.count(sent);
                true
            }
        }
    }

    /// Receives what there is, at most a batch. `true`: that was all, for now. `None`: nothing now.
    pub fn try_recv(&mut self) -> Option<(impl Iterator<Item = Datagrams<'_>>, bool)> {
        let Self { io, state, slots, metas, counters, .. } = self;
        let mut buffers: [IoSliceMut<'_>; SLOTS] = std::array::from_fn(|_| IoSliceMut::new(&mut []));
        buffers.iter_mut().zip(slots.iter_mut()).for_each(|(buffer, slot)| *buffer = IoSliceMut::new(slot));
        // Errors that are kept for a socket belong to datagrams sent earlier; they say nothing about receiving.
        let count = state.recv((&*io).into(), &mut buffers, metas).ok()?;
        counters.runs_in += count as u64;
        counters.datagrams_in += metas.iter().take(count).map(|m| m.len.div_ceil(m.stride.max(1)) as u64).sum::<u64>();
        let received = metas.iter().zip(slots.iter()).take(count);
        let received = received.filter(|(meta, _)| meta.len > 0).map(|(meta, slot)| Datagrams {
            remote: SocketAddr::new(meta.addr.ip().to_canonical(), meta.addr.port()),
            data: &slot[..meta.len],
            stride: meta.stride.max(1),
        });
        Some((received, count < SLOTS))
    }

    fn send(&self, destination: SocketAddr, contents: &[u8], segment_size: Option<usize>) -> io::Result<()> {
        let destination = match destination {
            SocketAddr::V4(v4) if self.is_v6 => SocketAddr::new(v4.ip().to_ipv6_mapped().into(), v4.port()),
            other => other,
        };
        let transmit = quinn_udp::Transmit { destination, ecn: None, contents, segment_size, src_ip: None };
        self.state.try_send((&self.io).into(), &transmit)
    }

    fn count(&mut self, sent: io::Result<()>) {
        if let Err(e) = sent {
            self.counters.refused += 1;
            self.counters.too_big += u64::from(quinn_udp::is_msg_size_err(&e));
        }
    }
}

/// A bound socket that does not block; a `shared` address may be bound again.
fn bind_one(addr: SocketAddr, shared: bool) -> io::Result<UdpSocket> {
    let socket = socket2::Socket::new(Domain::for_address(addr), Type::DGRAM, Some(Protocol::UDP))?;
    if addr.is_ipv6() && addr.ip().is_unspecified() {
        socket.set_only_v6(false)?;
    }
    // What the system grants is enough to begin with.
    _ = socket.set_recv_buffer_size(KERNEL_BUFFER);
    _ = socket.set_send_buffer_size(KERNEL_BUFFER);
    socket.set_nonblocking(true)?;
    if shared {
        set_socket_reuseport(&socket, true)?;
    }
    socket.bind(&addr.into())?;
    Ok(socket.into())
}

/// Addresses under which others may reach a socket bound to `bound`: itself, or, where it is bound to all addresses, those
/// that the system would send from. Nothing is sent to find out.
pub fn local_addresses(bound: SocketAddr) -> Vec<SocketAddr> {
    if !bound.ip().is_unspecified() {
        return vec![bound];
    }
    // To connect a UDP socket only chooses a route. The targets are in the ranges kept for documentation.
    let source = |target: IpAddr| {
        let any: IpAddr = if target.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
        let probe = UdpSocket::bind((any, 0)).ok()?;
        probe.connect((target, 9)).ok()?;
        Some(probe.local_addr().ok()?.ip()).filter(|ip| !ip.is_unspecified() && !ip.is_loopback())
    };
    let v4 = source(Ipv4Addr::new(192, 0, 2, 1).into());
    let v6 = source(Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1).into()).filter(|_| bound.is_ipv6());
    let mut found: Vec<IpAddr> = v4.into_iter().chain(v6).collect();
    if found.is_empty() {
        found.push(Ipv4Addr::LOCALHOST.into());
    }
    found.into_iter().map(|ip| SocketAddr::new(ip, bound.port())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::num::NonZeroUsize;

    async fn receive(socket: &mut Socket, want: usize) -> Vec<(SocketAddr, Vec<u8>)> {
        let mut got = Vec::new();
        while got.len() < want {
            socket.ready(false).await.unwrap();
            for run in socket.try_recv().into_iter().flat_map(|(runs, _)| runs) {
                got.extend(run.data.chunks(run.stride).map(|one| (run.remote, one.to_vec())));
            }
        }
        got
    }

    fn runtime() -> tokio::runtime::Runtime {
        tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap()
    }

    #[test]
    fn a_run_arrives_as_its_datagrams() {
        runtime().block_on(async {
            let mut a = Socket::bind("127.0.0.1:0".parse().unwrap()).unwrap();
            let mut b = Socket::bind("127.0.0.1:0".parse().unwrap()).unwrap();
            let destination = b.local_addr().unwrap();
            let bytes: Vec<u8> = (0..2500).map(|i| (i / 1000) as u8).collect();
            a.ready(true).await.unwrap();
            let run = Transmit { destination, len: bytes.len(), segment_size: NonZeroUsize::new(1000) };
            assert!(a.try_send(&run, &bytes));
            let got = receive(&mut b, 3).await;
            assert!(got.iter().all(|(from, _)| *from == a.local_addr().unwrap()));
            assert_eq!(got.iter().map(|(_, one)| one.len()).collect::<Vec<_>>(), [1000, 1000, 500]);
            assert!(b.try_recv().is_none());
        });
    }

    #[test]
    fn a_dual_stack_socket_speaks_ipv4() {
        runtime().block_on(async {
            let Ok(mut a) = Socket::bind("[::]:0".parse().unwrap()) else { return println!("skipped: no IPv6 here") };
            let mut b = Socket::bind("127.0.0.1:0".parse().unwrap()).unwrap();
            a.ready(true).await.unwrap();
            b.ready(true).await.unwrap();
            let to = |destination| Transmit { destination, len: 2, segment_size: None };
            assert!(a.try_send(&to(b.local_addr().unwrap()), b"hi"));
            let (from, _) = receive(&mut b, 1).await.remove(0);
            assert!(from.is_ipv4());
            assert!(b.try_send(&to(from), b"ho"));
            let got = receive(&mut a, 1).await;
            assert_eq!(got, [(b.local_addr().unwrap(), b"ho".to_vec())]);
        });
    }

    #[test]
    fn a_refused_send_is_counted_and_survived() {
        runtime().block_on(async {
            let mut a = Socket::bind("127.0.0.1:0".parse().unwrap()).unwrap();
            a.ready(true).await.unwrap();
            let nowhere = Transmit { destination: "[::1]:9".parse().unwrap(), len: 2, segment_size: None };
            assert!(a.try_send(&nowhere, b"hi"));
            let far = Transmit { destination: "192.0.2.1:9".parse().unwrap(), len: 2, segment_size: None };
            assert!(a.try_send(&far, b"hi"), "from a loopback address there is no way out");
            let huge = vec![0; 65_507 + 1];
            let b = Transmit { destination: a.local_addr().unwrap(), len: huge.len(), segment_size: None };
            assert!(a.try_send(&b, &huge));
            assert_eq!(a.counters().too_big, 1);
            assert!(a.counters().refused >= 2);
        });
    }

    #[test]
    fn wildcards_become_addresses_others_can_use() {
        let one = "127.0.0.1:7".parse().unwrap();
        assert_eq!(local_addresses(one), [one]);
        let found = local_addresses("0.0.0.0:7".parse().unwrap());
        assert!(
            found.iter().all(|addr| addr.is_ipv4() && !addr.ip().is_unspecified() && addr.port() == 7),
            "{found:?}"
        );
        assert!(!local_addresses("[::]:7".parse().unwrap()).is_empty());
    }
}
