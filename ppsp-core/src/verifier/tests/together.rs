//! A batch against its chunks one by one, and what must not pass in a batch.

use super::*;

/// Chunks as they come: number, bytes, claims.
type Sent = (u64, Vec<u8>, Vec<Claim>);

fn unverified(sent: &[Sent]) -> Vec<Unverified<'_>> {
    sent.iter().map(|(chunk, data, claims)| Unverified { chunk: *chunk, data, claims: [claims, &[]] }).collect()
}

/// Gives a batch to one verifier and its chunks one by one to the other, and compares all that can be seen of them.
fn same(swarm: &Swarm, whole: &mut Verifier, single: &mut Verifier, batch: &[Unverified<'_>]) -> Vec<Verdict> {
    let (mut verdicts, mut proven) = (vec![], vec![]);
    whole.verify(batch, &mut verdicts, &mut proven);
    let (mut one, mut ones, mut proven_ones) = (vec![], vec![], vec![]);
    for chunk in batch {
        single.verify(slice::from_ref(chunk), &mut one, &mut proven_ones);
        ones.append(&mut one);
    }
    assert_eq!(verdicts, ones);
    for claim in &proven {
        assert_eq!(swarm.nodes.get(&claim.node), Some(&claim.hash), "{:?}", claim.node);
    }
    proven.sort_unstable_by_key(|claim| claim.node);
    proven_ones.sort_unstable_by_key(|claim| claim.node);
    assert_eq!(proven, proven_ones);
    assert!(proven.windows(2).all(|two| two[0].node != two[1].node), "each node once");
    same_state(swarm, whole, single);
    verdicts
}

fn same_state(swarm: &Swarm, a: &mut Verifier, b: &mut Verifier) {
    assert_eq!((a.chunks, a.content_length, a.trust), (b.chunks, b.content_length, b.trust));
    assert_eq!((&a.peaks, a.root_handed), (&b.peaks, b.root_handed));
    for number in 0..4 * swarm.tree.chunks.next_power_of_two() {
        assert_eq!(a.proven.hash(node(number)), b.proven.hash(node(number)), "bin {number}");
    }
}

/// Two verifiers that have the peaks and one chunk, so that the next batch climbs together.
fn settled(swarm: &Swarm, length_given: bool) -> [Verifier; 2] {
    let mut v = swarm.verifier(length_given);
    assert_eq!(swarm.honest(&mut v, 0), Verdict::Accepted);
    [v.clone(), v]
}

/// Claims with the hash of one node replaced.
fn with(mut claims: Vec<Claim>, number: u64, hash: Hash) -> Vec<Claim> {
    claims.retain(|claim| claim.node != node(number));
    claims.push(Claim { node: node(number), hash });
    claims
}

fn flipped(data: &[u8]) -> Vec<u8> {
    data.iter().map(|byte| !byte).collect()
}

fn leaf_hash(alg: HashAlg, data: &[u8]) -> Hash {
    let mut hash = [Hash::empty(alg)];
    hash_chunks(alg, &[data], &mut hash);
    hash[0]
}

#[test]
fn a_whole_batch_costs_one_inner_hash_per_chunk() {
    let swarm = Swarm::new(HashAlg::Sha256, 256 * SIZE);
    for length_given in [false, true] {
        let [mut whole, mut single] = settled(&swarm, length_given);
        // Bit-reversed, each with all its uncles.
        let order = (1..=255u8).map(|i| u64::from(i.reverse_bits()));
        let sent: Vec<Sent> = order.map(|chunk| (chunk, swarm.data(chunk).to_vec(), swarm.claims(chunk))).collect();
        let verdicts = same(&swarm, &mut whole, &mut single, &unverified(&sent));
        assert_eq!(verdicts, [Verdict::Accepted; 255]);
        assert!(whole.together.inner_hashes() < 256);
        // All of it again: every climb ends where it begins.
        same(&swarm, &mut whole, &mut single, &unverified(&sent));
        assert_eq!(whole.together.inner_hashes(), 0);
    }
}

// A forged leaf and a forged uncle, each of which the other chunk computes.
#[test]
fn forged_neighbours_do_not_vouch_for_each_other() {
    let swarm = Swarm::new(HashAlg::Sha256, 16 * SIZE);
    for length_given in [false, true] {
        for (one, two) in [(8u64, 9u64), (9, 8), (8, 11), (12, 10)] {
            let [mut whole, mut single] = settled(&swarm, length_given);
            let mut forged = swarm.content.clone();
            for chunk in [one, two] {
                forged[chunk as usize * SIZE..][..SIZE].copy_from_slice(&flipped(swarm.data(chunk)));
            }
            let (_, fake) = naive(HashAlg::Sha256, SIZE, &forged);
            let claims = |chunk| -> Vec<Claim> {
                uncles(chunk, root_bin(16)).map(|node| Claim { node, hash: fake[&node] }).collect()
            };
            let sent: Vec<Sent> =
                [one, two].map(|chunk| (chunk, flipped(swarm.data(chunk)), claims(chunk))).into_iter().collect();
            let verdicts = same(&swarm, &mut whole, &mut single, &unverified(&sent));
            assert_eq!(verdicts, [Verdict::Corrupt; 2]);
            // With the honest half of the tree in the same batch, and the forged ones first, last and in the middle.
            let honest: Vec<Sent> =
                (8..16).map(|chunk| (chunk, swarm.data(chunk).to_vec(), swarm.claims(chunk))).collect();
            for at in [0, 4, 8] {
                let [mut whole, mut single] = settled(&swarm, length_given);
                let mut all = honest.clone();
                all.splice(at..at, sent.iter().cloned());
                let verdicts = same(&swarm, &mut whole, &mut single, &unverified(&all));
                for ((chunk, data, _), verdict) in all.iter().zip(verdicts) {
                    let right = data == swarm.data(*chunk);
                    assert_eq!(verdict, if right { Verdict::Accepted } else { Verdict::Corrupt });
                }
            }
        }
    }
}

// Every chunk's claimed sibling is what the other really hashes to, and yet no proven hash is above them.
#[test]
fn a_consistent_forgery_needs_a_proven_end() {
    let swarm = Swarm::new(HashAlg::Sha256, 32 * SIZE);
    let forged = flipped(&swarm.content);
    let (_, fake) = naive(HashAlg::Sha256, SIZE, &forged);
    let [mut whole, mut single] = settled(&swarm, true);
    let sent: Vec<Sent> = (0..32)
        .map(|chunk| {
            let claims = uncles(chunk, root_bin(32)).map(|node| Claim { node, hash: fake[&node] }).collect();
            (chunk, forged[chunk as usize * SIZE..][..SIZE].to_vec(), claims)
        })
        .collect();
    assert_eq!(same(&swarm, &mut whole, &mut single, &unverified(&sent)), [Verdict::Corrupt; 32]);
    // The claims of it end below what is proven: nothing can be told, and nobody is blamed.
    let [mut whole, mut single] = settled(&swarm, true);
    let cut: Vec<Sent> = sent
        .into_iter()
        .skip(16)
        .map(|(chunk, data, mut claims)| {
            claims.truncate(3);
            (chunk, data, claims)
        })
        .collect();
    assert_eq!(same(&swarm, &mut whole, &mut single, &unverified(&cut)), [Verdict::Unproven; 16]);
}

// A claimed sibling is equal to another chunk's claimed leaf, and wrong.
#[test]
fn equal_claims_prove_nothing() {
    let swarm = Swarm::new(HashAlg::Sha256, 16 * SIZE);
    let bad = leaf_hash(HashAlg::Sha256, &flipped(swarm.data(9)));
    for order in [[8, 10], [10, 8]] {
        let [mut whole, mut single] = settled(&swarm, false);
        // Both claim the forged leaf of chunk 9; it comes with the second.
        let sent: Vec<Sent> =
            order.map(|chunk| (chunk, swarm.data(chunk).to_vec(), with(swarm.claims(chunk), 18, bad))).to_vec();
        let mut all = sent.clone();
        all.push((9, flipped(swarm.data(9)), swarm.claims(9)));
        let verdicts = same(&swarm, &mut whole, &mut single, &unverified(&all));
        for ((chunk, ..), verdict) in all.iter().zip(verdicts) {
            assert_eq!(verdict, if *chunk == 10 { Verdict::Accepted } else { Verdict::Corrupt }, "chunk {chunk}");
        }
    }
}

// The bytes are right and the claims are not: its sender is to blame, and its honest neighbour is not.
#[test]
fn wrong_claims_beside_an_honest_neighbour() {
    let swarm = Swarm::new(HashAlg::Sha256, 16 * SIZE);
    let junk = swarm.tree.root;
    for wrong in [18, 21, 27] {
        for liar_first in [true, false] {
            let [mut whole, mut single] = settled(&swarm, false);
            let mut sent: Vec<Sent> = vec![
                (8, swarm.data(8).to_vec(), with(swarm.claims(8), wrong, junk)),
                (9, swarm.data(9).to_vec(), swarm.claims(9)),
            ];
            if !liar_first {
                sent.reverse();
            }
            let verdicts = same(&swarm, &mut whole, &mut single, &unverified(&sent));
            let liar = if liar_first { Verdict::Corrupt } else { Verdict::Accepted };
            assert_eq!(verdicts.contains(&Verdict::Corrupt), liar == Verdict::Corrupt);
            assert_eq!(verdicts[usize::from(liar_first)], Verdict::Accepted, "the honest one");
        }
    }
}

// One chunk claims a node, wrongly, that the others of the batch compute.
#[test]
fn a_claim_against_what_a_climb_computes() {
    let swarm = Swarm::new(HashAlg::Sha256, 16 * SIZE);
    let junk = swarm.tree.root;
    for chunk in [8, 12] {
        let [mut whole, mut single] = settled(&swarm, false);
        let uncle = if chunk == 8 { 27 } else { 19 };
        let mut sent: Vec<Sent> = vec![(chunk, swarm.data(chunk).to_vec(), with(swarm.claims(chunk), uncle, junk))];
        let others = if chunk == 8 { 12..16 } else { 8..12 };
        sent.extend(others.map(|chunk| (chunk, swarm.data(chunk).to_vec(), swarm.claims(chunk))));
        let verdicts = same(&swarm, &mut whole, &mut single, &unverified(&sent));
        assert_eq!(verdicts[0], Verdict::Corrupt);
        assert_eq!(verdicts[1..], [Verdict::Accepted; 4]);
    }
}

// A chunk whose hashes come with a later one is not proven in its turn, in a batch or not.
#[test]
fn hashes_that_come_too_late() {
    let swarm = Swarm::new(HashAlg::Sha256, 16 * SIZE);
    let [mut whole, mut single] = settled(&swarm, false);
    let sent: Vec<Sent> = vec![
        (8, swarm.data(8).to_vec(), vec![]),
        (9, swarm.data(9).to_vec(), swarm.claims(9)),
        (8, swarm.data(8).to_vec(), vec![]),
    ];
    let verdicts = same(&swarm, &mut whole, &mut single, &unverified(&sent[..2]));
    assert_eq!(verdicts, [Verdict::Unproven, Verdict::Accepted]);
    let [mut whole, mut single] = settled(&swarm, false);
    let verdicts = same(&swarm, &mut whole, &mut single, &unverified(&sent));
    assert_eq!(verdicts, [Verdict::Unproven, Verdict::Accepted, Verdict::Accepted]);
}

#[test]
fn the_same_number_twice() {
    let swarm = Swarm::new(HashAlg::Sha256, 16 * SIZE);
    for length_given in [false, true] {
        let [mut whole, mut single] = settled(&swarm, length_given);
        let sent: Vec<Sent> = [(8, true), (8, false), (9, false), (9, true), (15, false), (15, true), (15, true)]
            .map(|(chunk, right)| {
                let data = if right { swarm.data(chunk).to_vec() } else { flipped(swarm.data(chunk)) };
                (chunk, data, swarm.claims(chunk))
            })
            .to_vec();
        let verdicts = same(&swarm, &mut whole, &mut single, &unverified(&sent));
        let [good, bad] = [Verdict::Accepted, Verdict::Corrupt];
        assert_eq!(verdicts, [good, bad, bad, good, bad, good, good]);
    }
}

// The size shrinks in the middle of a batch that was begun under a larger one.
#[test]
fn the_size_changes_within_a_batch() {
    for (chunks, tail) in [(5u64, 0), (5, 9), (13, 0), (21, 1)] {
        let swarm = Swarm::new(HashAlg::Sha256, chunks as usize * SIZE - tail);
        for more in chunks + 1..=root_bin(chunks).range().len() {
            let lie: Vec<Claim> = peaks(more).map(|node| Claim { node, hash: swarm.nodes[&node] }).collect();
            if root_from_peaks(swarm.alg, &lie).is_none() {
                continue;
            }
            let mut v = swarm.verifier(false);
            let all: Vec<Claim> =
                uncles(0, root_bin(chunks)).map(|n| Claim { node: n, hash: swarm.nodes[&n] }).collect();
            assert_eq!(swarm.receive(&mut v, 0, swarm.data(0), &[&lie[..], &all].concat()), Verdict::Accepted);
            for rotation in 0..chunks as usize {
                let mut sent: Vec<Sent> =
                    (0..chunks).map(|chunk| (chunk, swarm.data(chunk).to_vec(), swarm.claims(chunk))).collect();
                // And what lies beyond the end.
                sent.push((chunks, swarm.data(0).to_vec(), swarm.claims(0)));
                sent.push((1, swarm.data(1)[..SIZE / 2].to_vec(), swarm.claims(1)));
                sent.rotate_left(rotation);
                let (mut whole, mut single) = (v.clone(), v.clone());
                same(&swarm, &mut whole, &mut single, &unverified(&sent));
                assert_eq!(whole.chunks(), Some(chunks));
            }
        }
    }
}

/// What is wrong with a chunk that is sent.
#[derive(Clone, Copy, Debug)]
enum Data {
    Right,
    Flipped,
    OfChunk(u64),
    Cut(usize),
    Long,
    Pair(u64),
}

#[derive(Clone, Copy, Debug)]
enum Claims {
    /// As an honest peer sends that remembers what it has sent.
    Minimal,
    All,
    None,
    Late,
    /// Some of all, by bits.
    Some(u64),
    /// One is junk: the hash of another node.
    Junk(u64, u64),
    /// A consistent tree in which this and some other chunks are forged, by bits.
    Forged(u64),
    /// Claims of another chunk.
    OfChunk(u64),
    /// The empty hash, or one of another length.
    Useless(u64),
}

fn bad_data() -> impl Strategy<Value = Data> {
    prop_oneof![
        Just(Data::Flipped),
        Just(Data::Flipped),
        any::<u64>().prop_map(Data::OfChunk),
        (0..SIZE).prop_map(Data::Cut),
        Just(Data::Long),
        any::<u64>().prop_map(Data::Pair),
    ]
}

fn bad_claims() -> impl Strategy<Value = Claims> {
    prop_oneof![
        Just(Claims::None),
        Just(Claims::Late),
        any::<u64>().prop_map(Claims::Some),
        (any::<u64>(), any::<u64>()).prop_map(|(at, of)| Claims::Junk(at, of)),
        any::<u64>().prop_map(Claims::Forged),
        any::<u64>().prop_map(Claims::OfChunk),
        any::<u64>().prop_map(Claims::Useless),
    ]
}

fn one(badness: u32) -> impl Strategy<Value = (u64, Data, Claims)> {
    (
        any::<u64>(),
        prop_oneof![40 => Just(Data::Right), badness => bad_data()],
        prop_oneof![20 => Just(Claims::Minimal), 20 => Just(Claims::All), badness => bad_claims()],
    )
}

fn batches() -> impl Strategy<Value = Vec<Vec<(u64, Data, Claims)>>> {
    proptest::sample::select(vec![0u32, 1, 4, 20, 80]).prop_flat_map(|badness| {
        let batch = prop_oneof![
            4 => proptest::collection::vec(one(badness), 1..24),
            1 => proptest::collection::vec(one(badness), 60..140),
            1 => proptest::collection::vec(one(badness), 250..300),
        ];
        proptest::collection::vec(batch, 1..6)
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn a_batch_is_the_same_as_one_by_one(
        chunks in prop_oneof![1u64..9, 9u64..70, 100u64..300],
        tail in proptest::sample::select(vec![0usize, 0, 1, 300, 448]),
        alg in proptest::sample::select(&[HashAlg::Sha1, HashAlg::Sha256, HashAlg::Sha512][..]),
        length_given: bool,
        // How the verifier begins: with nothing, with the peaks, with one chunk too, or with too many peaks.
        begin in 0u8..4,
        order in 0u8..3,
        forgets: bool,
        lies in proptest::collection::vec(proptest::option::of(1u64..600), 6),
        batches in batches(),
    ) {
        let swarm = Swarm::new(alg, chunks as usize * SIZE - tail);
        let mut whole = swarm.verifier(length_given);
        let filled = |chunks| -> Option<Vec<Claim>> {
            peaks(chunks).map(|node| Some(Claim { node, hash: *swarm.nodes.get(&node)? })).collect()
        };
        let nothing = &mut vec![];
        let mut known: std::collections::HashSet<Bin> = peaks(chunks).collect();
        if begin == 3 {
            // False peaks with true chunks.
            let lie = filled(chunks + (root_bin(chunks).range().len() - chunks) / 2).unwrap();
            whole.offer_peaks(&lie, nothing);
            let all: Vec<Claim> = uncles(0, root_bin(chunks)).map(|n| Claim { node: n, hash: swarm.nodes[&n] }).collect();
            let input = Unverified { chunk: 0, data: swarm.data(0), claims: [&lie, &all] };
            whole.verify(&[input], &mut vec![], nothing);
        } else if begin > 0 {
            whole.offer_peaks(&swarm.tree.peaks, nothing);
        }
        if begin == 2 {
            swarm.honest(&mut whole, chunks / 2);
        }
        let mut single = whole.clone();
        let mut held = RangeSet::new();
        let mut at = 0u64;
        for (batch, lie) in batches.iter().zip(lies) {
            let mut sent: Vec<Sent> = vec![];
            for &(pick, data, claims) in batch {
                // Neighbours mostly; sometimes twice or beyond the end.
                let chunk = match order {
                    0 => at % chunks,
                    1 => (at & !31 | u64::from((at as u8 & 31).reverse_bits() >> 3)) % chunks,
                    _ => pick % (chunks + u64::from(pick % 97 == 0)),
                };
                at += u64::from(pick % 31 != 0);
                let other = |number: u64| swarm.data(number % chunks);
                let inside = chunk.min(chunks - 1);
                let right = swarm.data(inside);
                let data = match data {
                    Data::Right => right.to_vec(),
                    Data::Flipped => flipped(right),
                    Data::OfChunk(number) => other(number).to_vec(),
                    Data::Cut(len) => right[..len.min(right.len())].to_vec(),
                    Data::Long => [right, &[0; SIZE]].concat(),
                    Data::Pair(number) => match node(number % (2 * root_bin(chunks).range().len() - 1)).children() {
                        Some((l, r)) => [swarm.nodes[&l].as_bytes(), swarm.nodes[&r].as_bytes()].concat(),
                        None => vec![],
                    },
                };
                let all = swarm.claims(inside);
                let nodes: Vec<Hash> = swarm.nodes.values().copied().collect();
                let claims = match claims {
                    Claims::Minimal => {
                        let mut minimal = vec![];
                        let (peak, mut node) = (peak_of(inside, chunks).unwrap(), Bin::leaf(inside).unwrap());
                        while node != peak && known.insert(node) {
                            let uncle = node.sibling().unwrap();
                            if known.insert(uncle) {
                                minimal.push(Claim { node: uncle, hash: swarm.nodes[&uncle] });
                            }
                            node = node.parent().unwrap();
                        }
                        minimal
                    }
                    Claims::All => all,
                    Claims::None => vec![],
                    Claims::Late => all.into_iter().rev().take(1).collect(),
                    Claims::Some(bits) => {
                        all.into_iter().enumerate().filter(|(i, _)| bits >> (i % 64) & 1 != 0).map(|(_, c)| c).collect()
                    }
                    Claims::Junk(at, of) => {
                        let mut claims = all;
                        if !claims.is_empty() {
                            let at = at as usize % claims.len();
                            claims[at].hash = nodes[of as usize % nodes.len()];
                        }
                        claims
                    }
                    Claims::Forged(bits) => {
                        let mut content = swarm.content.clone();
                        for (i, data) in content.chunks_mut(SIZE).enumerate() {
                            if bits >> (i % 64) & 1 != 0 || i as u64 == inside {
                                data.iter_mut().for_each(|byte| *byte = !*byte);
                            }
                        }
                        let (_, fake) = naive(alg, SIZE, &content);
                        all.iter().map(|claim| Claim { node: claim.node, hash: fake[&claim.node] }).collect()
                    }
                    Claims::OfChunk(number) => swarm.claims(number % chunks),
                    Claims::Useless(at) => {
                        let mut claims = all;
                        if !claims.is_empty() {
                            let at = at as usize % claims.len();
                            claims[at].hash = Hash::from_bytes(&[0; 32][..at % 33]).unwrap();
                        }
                        claims
                    }
                };
                sent.push((chunk, data, claims));
            }
            let input = unverified(&sent);
            let verdicts = same(&swarm, &mut whole, &mut single, &input);
            for (input, verdict) in input.iter().zip(verdicts) {
                let right = input.chunk < chunks && input.data == swarm.data(input.chunk);
                prop_assert!(right || verdict != Verdict::Accepted);
                if verdict == Verdict::Accepted {
                    held.insert(ChunkRange::single(input.chunk));
                }
            }
            if forgets {
                for v in [&mut whole, &mut single] {
                    held.runs().for_each(|run| v.forget(&held, run));
                }
            }
            // Peaks of another size, true or not.
            if let Some(lie) = lie.and_then(filled) {
                let offers = [&mut whole, &mut single].map(|v| v.offer_peaks(&lie, &mut vec![]));
                prop_assert_eq!(offers[0], offers[1]);
            }
            same_state(&swarm, &mut whole, &mut single);
        }
    }
}
