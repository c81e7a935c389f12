use super::*;
use crate::tree::tests::{build, naive, noise};
use crate::{SwarmId, Tree, uncles};
use proptest::prelude::*;
use std::{collections::BTreeMap, vec};

const SIZE: usize = 512;

struct Swarm {
    alg: HashAlg,
    content: Vec<u8>,
    tree: Tree,
    /// Every node under the root.
    nodes: BTreeMap<Bin, Hash>,
}

impl Swarm {
    fn new(alg: HashAlg, len: usize) -> Self {
        let content = noise(len, len as u64 + 1);
        let (tree, _) = build(alg, SIZE as u32, &content);
        let (root, nodes) = naive(alg, SIZE, &content);
        assert_eq!(root, tree.root);
        Self { alg, content, tree, nodes }
    }

    fn verifier(&self, length_given: bool) -> Verifier {
        let metadata = SwarmMetadata {
            hash: self.alg,
            chunk_size: SIZE as u32,
            content_length: length_given.then_some(self.content.len() as u64),
            ..SwarmMetadata::of_root(&self.tree.root)
        };
        Verifier::new(&metadata).unwrap()
    }

    fn data(&self, chunk: u64) -> &[u8] {
        let at = chunk as usize * SIZE;
        &self.content[at..self.content.len().min(at + SIZE)]
    }

    fn claim(&self, number: u64) -> Claim {
        let node = Bin::new(number).unwrap();
        Claim { node, hash: self.nodes[&node] }
    }

    /// All that an honest peer could send: the peaks, then the uncles, top first (RFC 7574 §5.4, §5.6.2).
    fn claims(&self, chunk: u64) -> Vec<Claim> {
        let mut below: Vec<Claim> = uncles(chunk, peak_of(chunk, self.tree.chunks).unwrap())
            .map(|node| Claim { node, hash: self.nodes[&node] })
            .collect();
        below.reverse();
        [&self.tree.peaks[..], &below].concat()
    }

    /// Gives a datagram to the verifier, as an endpoint does.
    fn receive(&self, verifier: &mut Verifier, chunk: u64, data: &[u8], claims: &[Claim]) -> Verdict {
        let mut proven = vec![];
        verifier.offer_peaks(claims, &mut proven);
        let mut verdicts = vec![];
        verifier.verify(&[Unverified { chunk, data, claims: [claims, &[]] }], &mut verdicts, &mut proven);
        for claim in proven {
            assert_eq!(self.nodes.get(&claim.node), Some(&claim.hash), "{:?}", claim.node);
        }
        verdicts[0]
    }

    fn honest(&self, verifier: &mut Verifier, chunk: u64) -> Verdict {
        self.receive(verifier, chunk, self.data(chunk), &self.claims(chunk))
    }
}

fn node(number: u64) -> Bin {
    Bin::new(number).unwrap()
}

// RFC 7574 §5.6.2: the peaks come first; the last chunk tells the exact length (Figure 4, with 512-byte chunks).
#[test]
fn finds_the_size() {
    let swarm = Swarm::new(HashAlg::Sha256, 7 * SIZE - 6);
    let mut v = swarm.verifier(false);
    assert_eq!((v.chunks(), v.peaks_proven(), v.content_length()), (None, false, None));
    assert_eq!(swarm.receive(&mut v, 0, swarm.data(0), &[]), Verdict::Unproven);
    assert_eq!(swarm.honest(&mut v, 0), Verdict::Accepted);
    assert_eq!((v.chunks(), v.peaks(), v.content_length()), (Some(7), &swarm.tree.peaks[..], None));
    assert!(!v.size_certain());
    // RFC 7574 §5.3: for C7 of the RFC's example only what is not known yet is needed.
    assert_eq!(swarm.receive(&mut v, 1, swarm.data(1), &[]), Verdict::Accepted);
    assert_eq!(swarm.receive(&mut v, 2, swarm.data(2), &[]), Verdict::Unproven);
    assert_eq!(swarm.receive(&mut v, 2, swarm.data(2), &[swarm.claim(6)]), Verdict::Accepted);
    assert_eq!(swarm.receive(&mut v, 6, swarm.data(6), &[]), Verdict::Accepted);
    assert_eq!((v.size_certain(), v.content_length()), (true, Some(swarm.content.len() as u64)));
}

#[test]
fn known_length_needs_no_peaks() {
    let swarm = Swarm::new(HashAlg::Sha1, 7 * SIZE);
    let mut v = swarm.verifier(true);
    assert_eq!((v.chunks(), v.peaks_proven(), v.size_certain()), (Some(7), false, true));
    // Uncles up to the root, incomplete nodes among them.
    let claims = [2, 5, 11].map(|n| swarm.claim(n));
    assert_eq!(swarm.receive(&mut v, 0, swarm.data(0), &claims), Verdict::Accepted);
    let claims = [13, 10].map(|n| swarm.claim(n));
    assert_eq!(swarm.receive(&mut v, 4, swarm.data(4), &claims), Verdict::Accepted);
    assert!(!v.peaks_proven(), "12 is under 13, but not seen yet");
    assert_eq!(swarm.receive(&mut v, 6, swarm.data(6), &[]), Verdict::Accepted);
    assert_eq!(v.peaks(), swarm.tree.peaks);
    // One peak: nothing to find out.
    assert!(Swarm::new(HashAlg::Sha1, 4 * SIZE).verifier(true).peaks_proven());
}

#[test]
fn tiny_content() {
    for alg in HashAlg::ALL {
        for len in [0, 1, 2, 3, 5, 7, 8, 9, 2 * alg.len() - 1, 2 * alg.len(), 511, 512] {
            let swarm = Swarm::new(alg, len);
            let mut given = swarm.verifier(true);
            assert_eq!(swarm.receive(&mut given, 0, swarm.data(0), &[]), Verdict::Accepted);
            // RFC 7574 §8.16: no peaks and no uncles are needed for a single chunk.
            let mut found = swarm.verifier(false);
            let expected = if len == 2 * alg.len() { Verdict::Unproven } else { Verdict::Accepted };
            assert_eq!(swarm.receive(&mut found, 0, swarm.data(0), &[]), expected, "{len} bytes");
            assert_eq!(swarm.honest(&mut found, 0), expected, "{len} bytes");
            if expected == Verdict::Accepted {
                assert_eq!((found.chunks(), found.content_length()), (Some(1), Some(len as u64)));
                assert_eq!(found.peaks(), swarm.tree.peaks);
            }
        }
    }
}

#[test]
fn lengths_are_checked_first() {
    let swarm = Swarm::new(HashAlg::Sha256, 6 * SIZE + 100);
    for length_given in [false, true] {
        let mut v = swarm.verifier(length_given);
        assert_eq!(swarm.honest(&mut v, 0), Verdict::Accepted);
        let long = noise(SIZE + 1, 0);
        let wrong: [(u64, &[u8]); 7] = [
            (2, &long),
            (2, &long[..SIZE - 1]),
            (2, &[]),
            (6, &[]),
            (7, swarm.data(0)),
            (1 << 40, swarm.data(0)),
            (u64::MAX, swarm.data(0)),
        ];
        for (chunk, data) in wrong {
            assert_eq!(swarm.receive(&mut v, chunk, data, &swarm.claims(2)), Verdict::Corrupt, "chunk {chunk}");
        }
        // Not the content's length, where that is known.
        let expected = if length_given { Verdict::Corrupt } else { Verdict::Unproven };
        assert_eq!(
            swarm.receive(&mut v, 6, &swarm.data(6)[..99], &[]),
            if length_given { expected } else { Verdict::Corrupt }
        );
        assert_eq!(swarm.honest(&mut v, 6), Verdict::Accepted);
        assert_eq!(swarm.honest(&mut v, 2), Verdict::Accepted);
    }
}

// Two chunks of one batch, with claimed uncles, must not vouch for each other.
#[test]
fn chunks_do_not_vouch_for_each_other() {
    let swarm = Swarm::new(HashAlg::Sha256, 8 * SIZE);
    let forged = Swarm { tree: swarm.tree.clone(), ..Swarm::new(HashAlg::Sha256, 8 * SIZE + 1) };
    let bad: Vec<u8> = swarm.content.iter().map(|b| !b).collect();
    let (_, fake) = naive(HashAlg::Sha256, SIZE, &bad);
    for length_given in [false, true] {
        let mut v = swarm.verifier(length_given);
        let mut proven = vec![];
        v.offer_peaks(&swarm.tree.peaks, &mut proven);
        // All nodes of the forged tree but the root.
        let mut claims: Vec<Claim> = fake.iter().map(|(&node, &hash)| Claim { node, hash }).collect();
        claims.retain(|claim| claim.node != node(7));
        claims.insert(0, swarm.claim(7));
        let batch: Vec<Unverified<'_>> = (0..8)
            .map(|i| Unverified { chunk: i, data: &bad[i as usize * SIZE..][..SIZE], claims: [&claims, &[]] })
            .collect();
        let mut verdicts = vec![];
        proven.clear();
        v.verify(&batch, &mut verdicts, &mut proven);
        assert_eq!(verdicts, [Verdict::Corrupt; 8]);
        assert_eq!(proven, []);
        // Nothing of it stuck.
        assert_eq!(swarm.honest(&mut v, 3), Verdict::Accepted);
        assert_eq!(forged.tree.root, swarm.tree.root);
    }
}

#[test]
fn claims_against_what_is_proven_are_ignored() {
    let swarm = Swarm::new(HashAlg::Sha256, 7 * SIZE);
    let mut v = swarm.verifier(false);
    assert_eq!(swarm.honest(&mut v, 0), Verdict::Accepted);
    // All that chunk 1 needs is proven; what the peer claims about it makes no difference.
    let junk = swarm.tree.root;
    let lies: Vec<Claim> = (0..15).map(|n| Claim { node: node(n), hash: junk }).collect();
    assert_eq!(swarm.receive(&mut v, 1, swarm.data(1), &lies), Verdict::Accepted);
    // Chunk 2 needs a sibling, and a false one makes it false.
    assert_eq!(swarm.receive(&mut v, 2, swarm.data(2), &lies), Verdict::Corrupt);
    // The first of several claims counts.
    let both = [swarm.claim(6), Claim { node: node(6), hash: junk }];
    assert_eq!(swarm.receive(&mut v, 2, swarm.data(2), &[both[1], both[0]]), Verdict::Corrupt);
    assert_eq!(swarm.receive(&mut v, 2, swarm.data(2), &both), Verdict::Accepted);
    // Claims past the end are not looked at: those nodes are known to be empty.
    let past = [Claim { node: node(14), hash: junk }, Claim { node: node(13), hash: junk }, swarm.claim(10)];
    assert_eq!(swarm.receive(&mut v, 6, swarm.data(6), &past), Verdict::Accepted);
    assert_eq!(swarm.receive(&mut v, 4, swarm.data(4), &past), Verdict::Accepted);
}

#[test]
fn swapped_siblings() {
    let swarm = Swarm::new(HashAlg::Sha256, 8 * SIZE);
    let mut v = swarm.verifier(false);
    assert_eq!(swarm.honest(&mut v, 7), Verdict::Accepted);
    // Chunk 1 as chunk 0, with the hash of chunk 0 for its sibling.
    let mut claims = swarm.claims(0);
    claims.retain(|claim| claim.node != node(2));
    claims.push(Claim { node: node(2), hash: swarm.claim(0).hash });
    assert_eq!(swarm.receive(&mut v, 0, swarm.data(1), &claims), Verdict::Corrupt);
    // Hashes of other lengths, cut so that the concatenation is the right one, are no hashes.
    let (l, r) = (swarm.claim(0).hash, swarm.claim(2).hash);
    let joined = [l.as_bytes(), r.as_bytes()].concat();
    let cut = Claim { node: node(2), hash: Hash::from_bytes(&joined[1..]).unwrap() };
    assert_eq!(swarm.receive(&mut v, 0, swarm.data(0), &[swarm.claim(5), cut]), Verdict::Unproven);
}

// The root passes as the single peak of 1, 2, 4… chunks, and peaks move up and down together.
#[test]
fn false_sizes_are_got_over() {
    for chunks in [4u64, 5, 7, 8, 13] {
        let swarm = Swarm::new(HashAlg::Sha256, chunks as usize * SIZE - 9);
        let mut lies: Vec<Vec<Claim>> =
            (0..32).map(|h| vec![Claim { node: Bin::at(h, 0).unwrap(), hash: swarm.tree.root }]).collect();
        let moved = |claim: &Claim| {
            let range = claim.node.range();
            let node = Bin::exactly(ChunkRange::with_len(range.first() * 2, range.len() * 2).unwrap()).unwrap();
            Claim { node, ..*claim }
        };
        lies.push(swarm.tree.peaks.iter().map(moved).collect());
        for more in chunks..=root_bin(chunks).range().len() {
            lies.push(peaks(more).map(|node| Claim { node, hash: swarm.nodes[&node] }).collect());
        }
        for lie in &lies {
            let mut v = swarm.verifier(false);
            let accepted = v.offer_peaks(lie, &mut vec![]);
            let leads = |len| root_from_peaks(swarm.alg, &lie[..len]).is_some_and(|(root, _)| root == swarm.tree.root);
            assert_eq!(accepted, (1..=lie.len()).any(leads));
            // The honest are not blamed for what others said.
            for chunk in 0..chunks {
                let claims = &swarm.claims(chunk)[swarm.tree.peaks.len()..];
                let verdict = swarm.receive(&mut v.clone(), chunk, swarm.data(chunk), claims);
                assert_ne!(verdict, Verdict::Corrupt, "{chunk} of {chunks} after {lie:?}");
            }
            // And their peaks set it right.
            assert_eq!(swarm.honest(&mut v, 0), Verdict::Accepted);
            assert_eq!(v.peaks(), swarm.tree.peaks);
            for other in &lies {
                v.offer_peaks(other, &mut vec![]);
                assert_eq!(v.chunks(), Some(chunks), "once settled, larger sizes are refused");
            }
        }
        // False peaks together with true chunks: settled too wide, and still found out.
        for more in chunks + 1..=root_bin(chunks).range().len() {
            let lie: Vec<Claim> = peaks(more).map(|node| Claim { node, hash: swarm.nodes[&node] }).collect();
            if root_from_peaks(swarm.alg, &lie).is_none() {
                continue;
            }
            let mut v = swarm.verifier(false);
            let all: Vec<Claim> =
                uncles(0, root_bin(chunks)).map(|n| Claim { node: n, hash: swarm.nodes[&n] }).collect();
            assert_eq!(swarm.receive(&mut v, 0, swarm.data(0), &[&lie[..], &all].concat()), Verdict::Accepted);
            assert_eq!(v.chunks(), Some(more));
            let mut by_peaks = v.clone();
            assert!(by_peaks.offer_peaks(&swarm.tree.peaks, &mut vec![]));
            assert_eq!(by_peaks.chunks(), Some(chunks));
            // The last chunk itself tells, where its peer's peaks are long past.
            let (last, claims) = (chunks - 1, swarm.claims(chunks - 1));
            let input = Unverified { chunk: last, data: swarm.data(last), claims: [&[], &claims] };
            let mut verdicts = vec![];
            v.verify(&[input], &mut verdicts, &mut vec![]);
            assert_eq!(verdicts, [Verdict::Accepted]);
            assert_eq!((v.chunks(), v.peaks()), (Some(chunks), &swarm.tree.peaks[..]));
            assert_eq!(v.content_length(), Some(swarm.content.len() as u64));
        }
    }
}

// As above with a last chunk of full length, which does not show that it is the last.
#[test]
fn full_last_chunk_under_a_false_size() {
    let swarm = Swarm::new(HashAlg::Sha256, 5 * SIZE);
    let mut v = swarm.verifier(false);
    let lie = [swarm.claim(7), swarm.claim(11), swarm.claim(5), swarm.claim(2)];
    assert_eq!(swarm.receive(&mut v, 0, swarm.data(0), &lie), Verdict::Accepted);
    assert_eq!(v.chunks(), Some(8));
    assert_eq!(swarm.receive(&mut v, 4, swarm.data(4), &[]), Verdict::Accepted);
    assert_eq!((v.chunks(), v.size_certain(), v.content_length()), (Some(5), true, Some(5 * SIZE as u64)));
}

// The two hashes below a node must not pass as a chunk where the tree is thought too low.
#[test]
fn inner_nodes_are_no_chunks() {
    for alg in HashAlg::ALL {
        let swarm = Swarm::new(alg, 4 * SIZE);
        let pair = |l, r| [swarm.claim(l).hash.as_bytes(), swarm.claim(r).hash.as_bytes()].concat();
        let mut v = swarm.verifier(false);
        // The root as a single chunk, with and without peaks.
        assert_eq!(swarm.receive(&mut v, 0, &pair(1, 5), &[]), Verdict::Unproven);
        let peak = [Claim { node: node(0), hash: swarm.tree.root }];
        assert!(v.offer_peaks(&peak, &mut vec![]));
        assert_eq!(swarm.receive(&mut v, 0, &pair(1, 5), &peak), Verdict::Unproven);
        // The right inner node as the last of two chunks.
        let claims =
            [Claim { node: node(1), hash: swarm.tree.root }, Claim { node: node(0), hash: swarm.claim(1).hash }];
        assert_eq!(swarm.receive(&mut v, 1, &pair(4, 6), &claims), Verdict::Unproven);
        assert_eq!(v.content_length(), None);
        assert_eq!(swarm.honest(&mut v, 1), Verdict::Accepted);
        assert_eq!(v.chunks(), Some(4));
    }
    // A true last chunk of that length is only put off until the height is settled.
    let swarm = Swarm::new(HashAlg::Sha256, SIZE + 64);
    let mut v = swarm.verifier(false);
    assert_eq!(swarm.honest(&mut v, 1), Verdict::Unproven);
    assert_eq!(swarm.honest(&mut v, 0), Verdict::Accepted);
    assert_eq!(swarm.honest(&mut v, 1), Verdict::Accepted);
}

// Corrupt from the very first datagram: the sender is to blame if it vouches for the peaks.
#[test]
fn first_datagram_corrupt() {
    let swarm = Swarm::new(HashAlg::Sha256, 3 * SIZE);
    let mut v = swarm.verifier(false);
    assert_eq!(swarm.receive(&mut v, 0, swarm.data(1), &swarm.claims(0)), Verdict::Corrupt);
    assert_eq!(swarm.receive(&mut v, 0, swarm.data(1), &[swarm.claim(2)]), Verdict::Unproven);
    let wrong = Claim { hash: swarm.claim(0).hash, ..swarm.tree.peaks[0] };
    assert!(!swarm.verifier(false).offer_peaks(&[wrong, swarm.tree.peaks[1]], &mut vec![]));
    assert_eq!(swarm.receive(&mut v, 0, swarm.data(0), &swarm.claims(0)), Verdict::Accepted);
}

// Whoever makes the link makes the root hash: a tree of any height, with one true chunk at its far end.
#[test]
fn endless_content() {
    let data = noise(511, 3);
    let mut hash = Hash::empty(HashAlg::Sha256);
    hash_chunks(HashAlg::Sha256, &[&data], slice::from_mut(&mut hash));
    let sibling = hash;
    for height in 1..64u32 {
        hash_pairs(HashAlg::Sha256, &[[sibling, hash]], slice::from_mut(&mut hash));
        let chunk = (1u64 << height) - 1;
        let peak = Claim { node: Bin::at(height, 0).unwrap(), hash };
        let metadata = SwarmMetadata {
            chunk_size: SIZE as u32,
            addressing: crate::ChunkAddressing::Range64,
            ..SwarmMetadata::of_root(&hash)
        };
        let mut v = Verifier::new(&metadata).unwrap();
        assert_eq!(v.offer_peaks(&[peak], &mut vec![]), height < 55, "the length fits 64 bits");
        let claims: Vec<Claim> = uncles(chunk, peak.node).map(|node| Claim { node, hash: sibling }).collect();
        let (mut verdicts, mut proven) = (vec![], vec![]);
        v.verify(&[Unverified { chunk, data: &data, claims: [&claims, &[]] }], &mut verdicts, &mut proven);
        assert_eq!(verdicts, [if height < 55 { Verdict::Accepted } else { Verdict::Unproven }]);
        v.forget(&RangeSet::from(ChunkRange::single(chunk)), ChunkRange::single(chunk));
        let mut held = RangeSet::from(ChunkRange::between(0, u64::MAX));
        held.remove(ChunkRange::between(0, chunk - 1));
        let kept = v.restore(chunk + 1, None, &held, &mut |node| {
            proven.iter().find(|claim| claim.node == node).map(|claim| claim.hash)
        });
        assert_eq!(kept.len(), u64::from(height < 55));
    }
}

#[test]
fn refuses_metadata() {
    let mut metadata = SwarmMetadata::of_root(&Hash::empty(HashAlg::Sha256));
    metadata.integrity = IntegrityMethod::SignAll;
    assert_eq!(Verifier::new(&metadata).err(), Some(MetadataError::Integrity));
    metadata.integrity = IntegrityMethod::MerkleTree;
    metadata.id = SwarmId::new([0; 20]).unwrap();
    assert_eq!(Verifier::new(&metadata).err(), Some(MetadataError::IdLength));
}

#[test]
fn memory_stays_small_in_order() {
    let swarm = Swarm::new(HashAlg::Sha256, 3000 * SIZE);
    let mut v = swarm.verifier(false);
    let mut held = RangeSet::new();
    let mut most = 0;
    for chunk in 0..3000 {
        assert_eq!(swarm.honest(&mut v, chunk), Verdict::Accepted);
        held.insert(ChunkRange::single(chunk));
        v.forget(&held, ChunkRange::single(chunk));
        most = most.max(v.proven.pages());
    }
    assert!(most <= 10, "{most} pages");
    // Everything is forgotten but the top.
    assert!(v.proven.pages() <= 2);
    // From the store: no more than that either.
    let mut v = swarm.verifier(false);
    let all = held.clone();
    assert_eq!(v.restore(3000, None, &held, &mut |node| swarm.nodes.get(&node).copied()), all);
    assert!(v.proven.pages() <= 4, "{} pages", v.proven.pages());
    assert_eq!(v.peaks(), swarm.tree.peaks);
}

fn lengths() -> impl Strategy<Value = usize> {
    prop_oneof![
        proptest::sample::select(vec![0usize, 1, 2, 3, 5, 7, 8, 9, 1023, 1025]),
        (0usize..70, proptest::sample::select(vec![0usize, 1, 300, 511])).prop_map(|(n, tail)| n * SIZE + tail),
        (1000usize..1030).prop_map(|n| n * SIZE - 1),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn any_order_and_batches(
        len in lengths(),
        alg in proptest::sample::select(&HashAlg::ALL[..]),
        length_given: bool,
        order: u64,
        sizes in proptest::collection::vec(1usize..80, 1..8),
        lie in proptest::option::of(0u64..4),
    ) {
        let swarm = Swarm::new(alg, len);
        let chunks = swarm.tree.chunks;
        let mut v = swarm.verifier(length_given);
        let mut held = RangeSet::new();
        let (mut proven, mut verdicts) = (vec![], vec![]);
        let mut todo: Vec<u64> = (0..chunks).collect();
        let random = noise(todo.len(), order);
        todo.sort_by_key(|&chunk| (random[chunk as usize], chunk));
        // All peaks first, as an endpoint does; the peaks of a lie before them.
        if let Some(height) = lie {
            v.offer_peaks(&[Claim { node: Bin::at(height as u32, 0).unwrap(), hash: swarm.tree.root }], &mut vec![]);
        }
        prop_assert!(v.offer_peaks(&swarm.tree.peaks, &mut proven));
        for size in sizes.iter().copied().cycle().take(4 * chunks as usize) {
            let batch: Vec<u64> = todo.iter().copied().take(size).collect();
            if batch.is_empty() {
                break;
            }
            let claims: Vec<Vec<Claim>> = batch.iter().map(|&chunk| swarm.claims(chunk)).collect();
            // Every third chunk comes spoiled first.
            let spoiled: Vec<Vec<u8>> = batch.iter().map(|&c| swarm.data(c).iter().map(|b| b ^ 1).collect()).collect();
            let mut input = vec![];
            for (i, &chunk) in batch.iter().enumerate() {
                if chunk % 3 == 0 && len > 0 {
                    input.push(Unverified { chunk, data: &spoiled[i], claims: [&claims[i], &[]] });
                }
                input.push(Unverified { chunk, data: swarm.data(chunk), claims: [&[], &claims[i]] });
            }
            v.verify(&input, &mut verdicts, &mut proven);
            prop_assert_eq!(verdicts.len(), input.len());
            for (u, verdict) in input.iter().zip(&verdicts) {
                let right = u.data == swarm.data(u.chunk);
                prop_assert!(right || *verdict != Verdict::Accepted);
                prop_assert!(!right || *verdict != Verdict::Corrupt);
                if *verdict == Verdict::Accepted {
                    held.insert(ChunkRange::single(u.chunk));
                    v.forget(&held, ChunkRange::single(u.chunk));
                }
            }
            todo.retain(|&chunk| !held.contains(chunk));
            let left = todo.len();
            todo.rotate_left(size.min(left));
        }
        if len != 2 * alg.len() || length_given {
            prop_assert_eq!(&todo, &Vec::<u64>::new());
            prop_assert_eq!(v.content_length(), Some(len as u64));
            prop_assert_eq!(v.peaks(), &swarm.tree.peaks[..]);
            // Each filled node once, none other.
            let mut expected = swarm.nodes.clone();
            expected.retain(|&node, _| is_filled(node, chunks));
            prop_assert_eq!(proven.len(), expected.len());
            prop_assert_eq!(proven.into_iter().map(|c| (c.node, c.hash)).collect::<BTreeMap<_, _>>(), expected);
        }
    }

    #[test]
    fn restores_what_proves_itself(
        len in lengths(),
        alg in proptest::sample::select(&[HashAlg::Sha1, HashAlg::Sha256][..]),
        length_given: bool,
        holes in proptest::collection::vec((0u64..1030, 1u64..200), 0..6),
        torn in proptest::collection::vec((0u64..2060, 0u8..3), 0..6),
    ) {
        let swarm = Swarm::new(alg, len);
        let chunks = swarm.tree.chunks;
        let mut held = RangeSet::from(ChunkRange::with_len(0, chunks).unwrap());
        for (first, count) in holes {
            held.remove(ChunkRange::with_len(first, count).unwrap());
        }
        let mut stored = swarm.nodes.clone();
        stored.retain(|&node, _| is_filled(node, chunks));
        for (number, how) in torn {
            let number = number % (2 * chunks);
            match how {
                0 => drop(stored.remove(&node(number))),
                1 => drop(stored.insert(node(number), Hash::empty(alg))),
                _ => drop(stored.insert(node(number), swarm.nodes[&node(0)])),
            }
        }
        // The definition: a leaf is proven if the root, the peaks, and all pairs on the way down to it are right.
        let right = |node: Bin| stored.get(&node) == swarm.nodes.get(&node);
        let root = root_bin(chunks);
        let peaks_right = peaks(chunks).all(|peak| (peak == root && (chunks > 1 || length_given)) || right(peak));
        let expected: RangeSet = held
            .runs()
            .flat_map(ChunkRange::chunks)
            .filter(|&chunk| {
                let peak = peak_of(chunk, chunks).unwrap();
                peaks_right && uncles(chunk, peak).all(|uncle| right(uncle) && (right(uncle.sibling().unwrap())))
            })
            .map(ChunkRange::single)
            .collect();
        let mut v = swarm.verifier(length_given);
        let mut reads = BTreeMap::new();
        let kept = v.restore(chunks, Some(len as u64), &held, &mut |node| {
            *reads.entry(node).or_insert(0) += 1;
            stored.get(&node).copied()
        });
        prop_assert_eq!(&kept, &expected);
        prop_assert!(reads.values().all(|&count| count == 1), "each hash is read once");
        if !kept.is_empty() {
            prop_assert_eq!(v.chunks(), Some(chunks));
            prop_assert_eq!(v.peaks(), &swarm.tree.peaks[..]);
            prop_assert_eq!(v.content_length().is_some(), length_given || kept.contains(chunks - 1));
        }
        // RFC 7574 §5.3: what a sender may think known, from what was acknowledged, is known.
        for chunk in (0..chunks).filter(|&chunk| !kept.contains(chunk) && !kept.is_empty()) {
            let known = |uncle: &Bin| !kept.intersects(uncle.parent().unwrap().range());
            let claims: Vec<Claim> = uncles(chunk, peak_of(chunk, chunks).unwrap())
                .filter(known)
                .map(|node| Claim { node, hash: swarm.nodes[&node] })
                .collect();
            let verdict = swarm.receive(&mut v.clone(), chunk, swarm.data(chunk), &claims);
            prop_assert_eq!(verdict, Verdict::Accepted, "chunk {}", chunk);
        }
    }
}

mod together;
