//! The hash tree of content that streams by, as `ppsp seed` builds it the first time.
//!
//! Not a criterion benchmark: what matters here are ratios, and those only hold between figures that are taken by turns
//! in one run. Each slice counts with its best round. `--test` builds a small tree once.
#![allow(missing_docs, reason = "a benchmark")]

use std::{
    hint::black_box,
    time::{Duration, Instant},
};

use ppsp_benches::noise;
use ppsp_core::{Bin, Hash, HashAlg, HashBackend, TreeBuilder, hash_chunks, hash_pairs};

/// What is read from a file at a time.
const SLICE: usize = 1 << 20;

/// A way to make the nodes of a slice.
type Build = fn(&mut TreeBuilder, HashAlg, u32, &[u8], &mut dyn FnMut(Bin, &Hash));
/// Its name, what selects its backend, and itself.
type Way = (&'static str, fn() -> bool, Build);

fn main() {
    let test = std::env::args().any(|arg| arg == "--test");
    let (length, rounds) = if test { (SLICE, 1) } else { (64 << 20, 9) };
    let content = noise(length, 1);
    let ways: [Way; 3] = [("naive", portable, naive), ("portable", portable, stream), ("best", best, stream)];
    println!("tree of {} MiB, one core; GB/s", length >> 20);
    for (alg, chunk_size) in [(HashAlg::Sha256, 1024), (HashAlg::Sha256, 8192), (HashAlg::Sha1, 1024)] {
        let mut times = vec![vec![Duration::MAX; length / SLICE]; ways.len()];
        for _ in 0..rounds {
            for ((_, select, build), times) in ways.iter().zip(&mut times) {
                assert!(select());
                let mut nodes = 0u64;
                let mut builder = TreeBuilder::new(alg, chunk_size);
                for (slice, time) in content.chunks(SLICE).zip(times) {
                    let begun = Instant::now();
                    build(&mut builder, alg, chunk_size, slice, &mut |_, hash| nodes += u64::from(hash.as_bytes()[0]));
                    *time = begun.elapsed().min(*time);
                }
                black_box((builder.finish(&mut |_, _| {}), nodes));
            }
        }
        print!("{:>7} of {chunk_size:4} bytes:", alg.name());
        let times: Vec<f64> = times.iter().map(|times| times.iter().sum::<Duration>().as_nanos() as f64).collect();
        for ((name, ..), time) in ways.iter().zip(&times) {
            print!("  {name} {:.2} (x {:.2})", length as f64 / time, times[0] / time);
        }
        println!();
    }
}

/// Node by node, as one would write it first.
fn naive(_: &mut TreeBuilder, alg: HashAlg, chunk_size: u32, slice: &[u8], sink: &mut dyn FnMut(Bin, &Hash)) {
    let mut stack: Vec<(Bin, Hash)> = Vec::new();
    for (i, chunk) in (0..).zip(slice.chunks(chunk_size as usize)) {
        let mut hash = [Hash::empty(alg)];
        hash_chunks(alg, &[chunk], &mut hash);
        let mut node = Bin::leaf(i).expect("not that many");
        sink(node, &hash[0]);
        while let Some((_, left)) = stack.pop_if(|(left, _)| Some(*left) == node.sibling() && !node.is_left()) {
            let pair = [left, hash[0]];
            hash_pairs(alg, &[pair], &mut hash);
            node = node.parent().expect("not that high");
            sink(node, &hash[0]);
        }
        stack.push((node, hash[0]));
    }
}

fn stream(builder: &mut TreeBuilder, _: HashAlg, _: u32, slice: &[u8], sink: &mut dyn FnMut(Bin, &Hash)) {
    builder.push(black_box(slice), sink);
}

fn portable() -> bool {
    HashBackend::Portable.select()
}

fn best() -> bool {
    HashBackend::best().select()
}
