//! Once warm, the verifier allocates nothing, however much content goes through it.
#![allow(missing_docs, reason = "a test")]

use std::{
    alloc::{GlobalAlloc, Layout, System},
    cell::Cell,
};

use ppsp_core::{
    Bin, ChunkRange, Claim, Hash, HashAlg, RangeSet, SwarmMetadata, TreeBuilder, Unverified, Verdict, Verifier,
    hash_pairs, peak_of, uncles,
};

/// The system's allocator, with a count of what each thread asks it for.
struct Counting;

thread_local! {
    static ALLOCATIONS: Cell<u64> = const { Cell::new(0) };
}

fn count() {
    // A thread that ends has none to count.
    let _ = ALLOCATIONS.try_with(|count| count.set(count.get() + 1));
}

// SAFETY: every call goes to the system's allocator as it came; counting neither allocates nor unwinds.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count();
        // SAFETY: the caller's promise is passed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        count();
        // SAFETY: as above.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn realloc(&self, memory: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count();
        // SAFETY: as above.
        unsafe { System.realloc(memory, layout, size) }
    }

    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        // SAFETY: as above.
        unsafe { System.dealloc(memory, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

fn allocations_of(act: impl FnOnce()) -> u64 {
    let before = ALLOCATIONS.with(Cell::get);
    act();
    ALLOCATIONS.with(Cell::get) - before
}

const ALG: HashAlg = HashAlg::Sha256;
const SIZE: usize = 512;
const CHUNKS: usize = 20_000;

#[test]
fn the_count_counts() {
    assert!(allocations_of(|| drop(std::hint::black_box(Vec::<u8>::with_capacity(100)))) > 0);
    assert_eq!(allocations_of(|| ()), 0);
}

#[test]
fn none_in_steady_state() {
    let content: Vec<u8> = (0..CHUNKS * SIZE - 100).map(|i| (i / 7 + i / SIZE) as u8).collect();
    let mut hashes = vec![Hash::empty(ALG); 2 * CHUNKS];
    let mut builder = TreeBuilder::new(ALG, SIZE as u32);
    let mut sink = |node: Bin, hash: &Hash| hashes[node.number() as usize] = *hash;
    builder.push(&content, &mut sink);
    let tree = builder.finish(&mut sink);
    let claims: Vec<Vec<Claim>> = (0..tree.chunks)
        .map(|chunk| {
            let uncles = uncles(chunk, peak_of(chunk, tree.chunks).unwrap());
            let below = uncles.map(|node| Claim { node, hash: hashes[node.number() as usize] });
            tree.peaks.iter().copied().chain(below).collect()
        })
        .collect();
    let data: Vec<&[u8]> = content.chunks(SIZE).collect();
    // Peaks that are none, and cost hashing.
    let mut parent = [Hash::empty(ALG)];
    hash_pairs(ALG, &[[tree.root, tree.root]], &mut parent);
    let lie = [Claim { node: Bin::at(10, 0).unwrap(), hash: parent[0] }];

    let in_order: Vec<u64> = (0..tree.chunks).collect();
    let in_groups: Vec<u64> = (0..tree.chunks.next_multiple_of(64))
        .map(|i| i & !63 | u64::from((i as u8 & 63).reverse_bits() >> 2))
        .filter(|&chunk| chunk < tree.chunks)
        .collect();
    for order in [in_order, in_groups] {
        for (batch, length_given) in [(1, false), (32, true), (64, false), (100, true), (256, false)] {
            let length = length_given.then_some(tree.content_length);
            let metadata =
                SwarmMetadata { chunk_size: SIZE as u32, content_length: length, ..SwarmMetadata::of_root(&tree.root) };
            let mut verifier = Verifier::new(&metadata).unwrap();
            let (mut verdicts, mut held) = (Vec::new(), RangeSet::new());
            // The caller's, whose need differs from batch to batch.
            let mut proven = Vec::with_capacity(4096);
            let mut input = Vec::new();
            let (mut done, mut count) = (0, 0);
            for numbers in order.chunks(batch) {
                input.clear();
                for &chunk in numbers {
                    let (data, claims) = (data[chunk as usize], &claims[chunk as usize]);
                    input.push(Unverified { chunk, data, claims: [&[], claims] });
                }
                let offered = allocations_of(|| {
                    assert!(!verifier.offer_peaks(&lie, &mut proven));
                    assert!(verifier.offer_peaks(&tree.peaks, &mut proven) || length_given);
                });
                let verified = allocations_of(|| verifier.verify(&input, &mut verdicts, &mut proven));
                assert!(verdicts.iter().all(|&verdict| verdict == Verdict::Accepted));
                proven.clear();
                let mut sorted = numbers.to_vec();
                sorted.sort_unstable();
                let mut forgotten = 0;
                for run in sorted.chunk_by(|a, b| a + 1 == *b) {
                    let run = ChunkRange::new(run[0], run[run.len() - 1]).unwrap();
                    held.insert(run);
                    forgotten += allocations_of(|| verifier.forget(&held, run));
                }
                done += numbers.len();
                // The first 4096 chunks need a page on each level of pages, those after them need the same again.
                if done > 5000 {
                    count += offered + verified + forgotten;
                }
            }
            assert_eq!(verifier.content_length(), Some(tree.content_length));
            assert_eq!(count, 0, "allocations in batches of {batch}");
        }
    }
}
