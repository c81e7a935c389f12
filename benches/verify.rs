//! The verifier with all its bookkeeping: batches of chunks with just the hashes that an honest peer sends with them,
//! what is accepted entered into a set, and what nothing needs any more forgotten.
//!
//! Not a criterion benchmark: what matters here are ratios, and those only hold between figures that are taken by turns
//! in one run. Each round is cut into parts of about a millisecond; of each part the best round counts, so that on a busy
//! machine long rounds have the same chances as short ones. `orders` or `sizes` names one of
//! the two parts; `--test` runs a little of each.
#![allow(missing_docs, reason = "a benchmark")]

use std::{
    hint::black_box,
    ops::Range,
    time::{Duration, Instant},
};

use ppsp_benches::{noise, shuffled};
use ppsp_core::{
    Bin, ChunkRange, Claim, Hash, HashAlg, HashBackend, RangeSet, SwarmMetadata, Unverified, Verdict, Verifier,
    hash_chunks, hash_pairs,
};

const SIZE: usize = 1024;
const ALG: HashAlg = HashAlg::Sha256;

fn main() {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let test = args.iter().any(|arg| arg == "--test");
    let named = |name| args.iter().all(|arg| arg.starts_with("--") || arg == name);
    if named("orders") {
        orders(test);
    }
    if named("sizes") {
        sizes(test);
    }
}

/// In which order chunks come, and how many at a time.
fn orders(test: bool) {
    let height = if test { 10 } else { 16 };
    let content = Content::new(height, height, height, 0);
    let count = 1 << height;
    let in_groups = (0..count).map(|i: u64| i & !63 | u64::from((i as u8 & 63).reverse_bits() >> 2)).collect();
    let orders = [("in order", (0..count).collect()), ("groups of 64", in_groups), ("at random", shuffled(count, 2))];
    let sent = orders.map(|(name, order)| (name, content.datagrams(&order)));
    let batches = [1, 32, 128];
    let mut best = vec![Best::default(); BACKENDS.len() * sent.len() * batches.len()];
    for _ in 0..if test { 1 } else { 9 } {
        let mut best = best.iter_mut();
        for (_, sent) in &sent {
            for batch in batches {
                for (_, select) in BACKENDS {
                    assert!(select());
                    best.next().into_iter().for_each(|best| content.time(sent, batch, best));
                }
            }
        }
    }
    println!("verify {count} chunks of {SIZE} bytes, {}; one core; ns per chunk", ALG.name());
    print!("{:>28}:", "the hashes alone");
    for (backend, select) in BACKENDS {
        assert!(select());
        let mut best = Best::default();
        (0..if test { 1 } else { 9 }).for_each(|_| content.hash_all(&mut best));
        print!("  {backend} {:4.0}", best.per_chunk(count));
    }
    println!();
    let mut best = best.chunks(BACKENDS.len());
    for (name, _) in &sent {
        for batch in batches {
            print!("{name:>14}, batches of {batch:3}:");
            let ns: Vec<f64> = best.next().into_iter().flatten().map(|best| best.per_chunk(count)).collect();
            for (took, (backend, _)) in ns.iter().zip(BACKENDS) {
                let ratio = ns.first().unwrap_or(took) / took;
                print!("  {backend} {took:4.0} ({:.2} GB/s, x {ratio:.2})", SIZE as f64 / took);
            }
            println!();
        }
    }
}

/// What the size of the content costs. The same mebibyte over and over, so that the bytes themselves cost the same.
fn sizes(test: bool) {
    let sizes = [("1 MiB", 10, 10), ("1 GiB", 20, 20), ("1 TiB", 30, 20)];
    println!("\nverify by size of the content, batches of 64; ns per chunk");
    for (name, shuffle) in [("in order", false), ("at random", true)] {
        let mut first = None;
        print!("{name:>14}:");
        for (size, height, known) in sizes {
            let known = if test { known.min(12) } else { known };
            let count = 1u64 << known;
            // Of the largest only one part comes.
            let content = Content::new(10, known, height, 0x2_9a5c_3e71);
            let order = if shuffle { shuffled(count, 3) } else { (0..count).collect() };
            let sent = content.datagrams(&order);
            let mut best = Best::default();
            for _ in 0..if test { 1 } else { ((5 << 20) / count).min(200) } {
                content.time(&sent, 64, &mut best);
            }
            let ns = best.per_chunk(count);
            print!("  {size} {ns:4.0} (x {:.2})", ns / *first.get_or_insert(ns));
        }
        println!();
    }
}

/// Of each part of a round the best time.
#[derive(Clone, Default)]
struct Best(Vec<Duration>);

impl Best {
    fn per_chunk(&self, count: u64) -> f64 {
        self.0.iter().sum::<Duration>().as_nanos() as f64 / count as f64
    }
}

/// A chunk and the hashes that its receiver lacks.
struct Sent {
    chunk: u64,
    /// Where its bytes lie among those received.
    at: usize,
    claims: Range<usize>,
}

struct Received {
    bytes: Vec<u8>,
    claims: Vec<Claim>,
    sent: Vec<Sent>,
}

/// Content of 2^`height` chunks of which 2^`known` are there, from chunk `from` on; these repeat after 2^`period`.
struct Content {
    bytes: Vec<u8>,
    period: u32,
    known: u32,
    height: u32,
    from: u64,
    /// Of each level of one period the hashes.
    levels: Vec<Vec<Hash>>,
    /// Of each level above a period the hash of a node that is there.
    above: Vec<Hash>,
    /// The hash of what is not there.
    other: Hash,
}

impl Content {
    fn new(period: u32, known: u32, height: u32, seed: u64) -> Self {
        let bytes = noise(SIZE << period, 1);
        let other = Hash::from_bytes(&[7; 32]).expect("short enough");
        let chunks: Vec<&[u8]> = bytes.chunks(SIZE).collect();
        let mut leaves = vec![other; chunks.len()];
        hash_chunks(ALG, &chunks, &mut leaves);
        let mut levels = vec![leaves];
        for level in 0..period as usize {
            let pairs = levels[level].as_chunks::<2>().0.to_vec();
            let mut parents = vec![other; pairs.len()];
            hash_pairs(ALG, &pairs, &mut parents);
            levels.push(parents);
        }
        let from = (seed % (1 << height)) >> known << known;
        let mut above = vec![levels[period as usize][0]];
        for level in period..height {
            let here = above[above.len() - 1];
            let pair = match level {
                level if level < known => [here; 2],
                level if from >> level & 1 == 0 => [here, other],
                _ => [other, here],
            };
            let mut parent = [other];
            hash_pairs(ALG, &[pair], &mut parent);
            above.extend(parent);
        }
        Self { bytes, period, known, height, from, levels, above, other }
    }

    fn root(&self) -> Claim {
        let node = Bin::at(self.height, 0).expect("not that high");
        Claim { node, hash: *self.above.last().expect("one at least") }
    }

    fn hash(&self, node: Bin) -> Hash {
        let (level, first) = (node.height(), node.first_chunk());
        if first >> self.known.max(level) != self.from >> self.known.max(level) {
            return self.other;
        }
        match self.levels.get(level as usize) {
            Some(hashes) => hashes[(first >> level) as usize % hashes.len()],
            None => self.above[(level - self.period) as usize],
        }
    }

    /// What a peer sends that remembers what it has sent: the uncles that the receiver can neither have nor compute.
    fn datagrams(&self, order: &[u64]) -> Received {
        let top = self.root().node;
        let mut seen = vec![false; 2 << self.known];
        let mut seen_above = [false; 64];
        let (mut sent, mut bytes) = (Vec::with_capacity(order.len()), Vec::new());
        let mut claims = Vec::with_capacity(2 * order.len());
        for &chunk in order {
            let chunk = self.from + chunk;
            let begin = claims.len();
            let mut node = Bin::leaf(chunk).expect("not that far");
            let mut first = |node: Bin| {
                let within = node.number().wrapping_sub(2 * self.from) as usize;
                let above = node.contains(Bin::leaf(self.from).expect("not that far"));
                let known =
                    seen.get_mut(within).or_else(|| seen_above.get_mut(node.height() as usize).filter(|_| above));
                known.is_none_or(|known| !std::mem::replace(known, true))
            };
            while node != top && first(node) {
                let (Some(uncle), Some(parent)) = (node.sibling(), node.parent()) else { break };
                if first(uncle) {
                    claims.push(Claim { node: uncle, hash: self.hash(uncle) });
                }
                node = parent;
            }
            claims[begin..].reverse();
            let of_chunk = begin..claims.len();
            // Received bytes lie in the order in which they came. What repeats is not laid out at length.
            let at = (chunk as usize & ((1 << self.period) - 1)) * SIZE;
            if self.known == self.period {
                bytes.extend_from_slice(&self.bytes[at..at + SIZE]);
                sent.push(Sent { chunk, at: bytes.len() - SIZE, claims: of_chunk });
            } else {
                sent.push(Sent { chunk, at, claims: of_chunk });
            }
        }
        if bytes.is_empty() {
            bytes.clone_from(&self.bytes);
        }
        Received { bytes, claims, sent }
    }

    /// One hash per chunk and one per pair, and nothing else.
    fn hash_all(&self, best: &mut Best) {
        best.0.resize(self.bytes.len().div_ceil(PART * SIZE), Duration::MAX);
        let mut hashes = [self.other; 128];
        for (part, best) in self.bytes.chunks(PART * SIZE).zip(&mut best.0) {
            let begun = Instant::now();
            for group in part.chunks(128 * SIZE) {
                let mut chunks: [&[u8]; 128] = [&[]; 128];
                chunks.iter_mut().zip(group.chunks(SIZE)).for_each(|(slot, chunk)| *slot = chunk);
                hash_chunks(ALG, &chunks, &mut hashes);
                let mut parents = [self.other; 64];
                for _ in 0..2 {
                    hash_pairs(ALG, hashes.as_chunks::<2>().0, &mut parents);
                }
                black_box(&parents);
            }
            *best = begun.elapsed().min(*best);
        }
    }

    /// What the endpoint does with chunks that arrive, without the endpoint.
    fn time(&self, received: &Received, batch: usize, best: &mut Best) {
        let Received { bytes, claims, sent } = received;
        let mut verifier = Verifier::new(&SwarmMetadata::of_root(&self.root().hash)).expect("metadata is sound");
        assert!(verifier.offer_peaks(&[self.root()], &mut Vec::new()));
        let (mut verdicts, mut proven, mut held) = (Vec::new(), Vec::new(), RangeSet::new());
        let (mut unverified, mut taken) = (Vec::with_capacity(batch), Vec::with_capacity(batch));
        best.0.resize(sent.len().div_ceil(PART), Duration::MAX);
        for (sent, best) in sent.chunks(PART).zip(&mut best.0) {
            let begun = Instant::now();
            for sent in sent.chunks(batch) {
                unverified.clear();
                unverified.extend(sent.iter().map(|sent| {
                    let data = bytes.get(sent.at..sent.at + SIZE).unwrap_or_default();
                    let claims = claims.get(sent.claims.clone()).unwrap_or_default();
                    Unverified { chunk: sent.chunk, data, claims: [claims, &[]] }
                }));
                verifier.verify(&unverified, &mut verdicts, &mut proven);
                assert!(verdicts.iter().all(|&verdict| verdict == Verdict::Accepted));
                black_box(&proven);
                proven.clear();
                taken.clear();
                taken.extend(sent.iter().map(|sent| sent.chunk));
                taken.sort_unstable();
                for run in taken.chunk_by(|a, b| a + 1 == *b) {
                    let (Some(&first), Some(&last)) = (run.first(), run.last()) else { continue };
                    let run = ChunkRange::new(first, last).expect("in order");
                    held.insert(run);
                    verifier.forget(&held, run);
                }
            }
            *best = begun.elapsed().min(*best);
        }
        assert_eq!(held.len(), sent.len() as u64);
    }
}

/// Chunks that are timed together.
const PART: usize = 1024;
/// What hashes, the slowest first.
const BACKENDS: [(&str, fn() -> bool); 2] =
    [("portable", || HashBackend::Portable.select()), ("best", || HashBackend::best().select())];
