use super::*;
use proptest::prelude::*;
use std::{collections::BTreeSet, format, vec, vec::Vec};

fn r(first: u64, last: u64) -> ChunkRange {
    ChunkRange::new(first, last).unwrap()
}

fn check(set: &RangeSet) {
    let mut last_end = None;
    for (&first, &last) in &set.full {
        assert!(first <= last && last_end.is_none_or(|end| end + 1 < first), "runs touch: {:?}", set.full);
        last_end = Some(last);
    }
    for (&block, bits) in &set.mixed {
        assert!(**bits != ZEROS && **bits != ONES);
        assert!(set.full.range(..=block).next_back().is_none_or(|(_, &last)| last < block), "two states");
    }
    assert_eq!(set.runs().map(|run| run.last() as u128 - run.first() as u128 + 1).sum::<u128>() as u64, set.count);
}

#[test]
fn everything_is_one_part() {
    let mut set = RangeSet::from(r(0, u64::MAX));
    check(&set);
    assert_eq!((set.parts(), set.len(), set.count(r(0, u64::MAX))), (1, u64::MAX, u64::MAX));
    assert_eq!((set.first(), set.last()), (Some(0), Some(u64::MAX)));
    assert_eq!(set.next_gap(0), None);
    assert_eq!(set.run_at(77), Some(r(0, u64::MAX)));
    assert!(!set.insert(r(5, u64::MAX)));
    assert!(set.remove(ChunkRange::single(u64::MAX)));
    check(&set);
    assert_eq!(set.next_gap(0), Some(ChunkRange::single(u64::MAX)));
    assert!(set.insert(ChunkRange::single(u64::MAX)) && set.parts() == 1);
    assert!(set.remove(r(0, u64::MAX)) && set.is_empty() && set == RangeSet::new());
    assert_eq!(set.next_gap(9), Some(r(9, u64::MAX)));
    assert_eq!((set.first(), set.last(), set.next_set(0)), (None, None, None));
}

#[test]
fn every_other_chunk_is_a_bit_per_chunk() {
    const N: u64 = 1 << 20;
    let mut set: RangeSet = (0..N).step_by(2).map(ChunkRange::single).collect();
    check(&set);
    assert_eq!(set.len(), N / 2);
    assert!(set.parts() as u64 <= N / 512 + 1, "{} parts", set.parts());
    assert!(set.runs().eq((0..N).step_by(2).map(ChunkRange::single)));
    // One giant range swallows them all.
    assert!(set.insert(r(0, 1 << 60)));
    assert!(set.parts() <= 2);
    assert_eq!(format!("{set:?}"), "{0..=1152921504606846976}");
}

/// Places where representations change: word, block and universe ends.
fn chunk() -> impl Strategy<Value = u64> {
    let near = vec![0u64, 64, 511, 512, 1024, 2048, 2600, u64::MAX - 2048, u64::MAX - 511, u64::MAX];
    (proptest::sample::select(near), 0u64..140, any::<bool>())
        .prop_map(|(at, d, up)| if up { at.saturating_add(d) } else { at.saturating_sub(d) })
}

fn range() -> impl Strategy<Value = ChunkRange> {
    // Within one of the two ends of the universe, so that a model can list it.
    (chunk(), chunk())
        .prop_filter_map("across the universe", |(a, b)| (a.abs_diff(b) < 4096).then(|| ChunkRange::between(a, b)))
}

fn model_run(model: &BTreeSet<u64>, chunk: u64) -> Option<ChunkRange> {
    model.contains(&chunk).then(|| {
        let (mut a, mut b) = (chunk, chunk);
        while a > 0 && model.contains(&(a - 1)) {
            a -= 1;
        }
        while b < u64::MAX && model.contains(&(b + 1)) {
            b += 1;
        }
        r(a, b)
    })
}

fn model_runs(model: &BTreeSet<u64>) -> Vec<ChunkRange> {
    let mut runs: Vec<ChunkRange> = vec![];
    for &chunk in model {
        match runs.last_mut() {
            Some(run) if run.last() + 1 == chunk => *run = r(run.first(), chunk),
            _ => runs.push(ChunkRange::single(chunk)),
        }
    }
    runs
}

fn build(ops: &[(bool, ChunkRange)]) -> (RangeSet, BTreeSet<u64>) {
    let (mut set, mut model) = (RangeSet::new(), BTreeSet::new());
    for &(add, range) in ops {
        let before = model.len();
        if add {
            model.extend(range.chunks());
            assert_eq!(set.insert(range), model.len() != before);
        } else {
            range.chunks().for_each(|chunk| {
                model.remove(&chunk);
            });
            assert_eq!(set.remove(range), model.len() != before);
        }
        check(&set);
    }
    (set, model)
}

fn ops() -> impl Strategy<Value = Vec<(bool, ChunkRange)>> {
    let range = prop_oneof![range(), chunk().prop_map(ChunkRange::single)];
    proptest::collection::vec((proptest::bool::weighted(0.65), range), 0..24)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn behaves_like_a_set_of_integers(ops in ops(), probes in proptest::collection::vec((chunk(), range()), 12)) {
        let (set, model) = build(&ops);
        prop_assert_eq!(set.len(), model.len() as u64);
        prop_assert_eq!(set.runs().collect::<Vec<_>>(), model_runs(&model));
        prop_assert_eq!((set.first(), set.last()), (model.first().copied(), model.last().copied()));
        for (chunk, range) in probes {
            prop_assert_eq!(set.contains(chunk), model.contains(&chunk));
            prop_assert_eq!(set.run_at(chunk), model_run(&model, chunk));
            let inside: BTreeSet<u64> = model.range(range.first()..=range.last()).copied().collect();
            prop_assert_eq!(set.count(range), inside.len() as u64);
            prop_assert_eq!(set.covers(range), inside.len() as u64 == range.len());
            prop_assert_eq!(set.intersects(range), !inside.is_empty());
            prop_assert_eq!(set.runs_in(range).collect::<Vec<_>>(), model_runs(&inside));
            let next = model.range(chunk..).next().map(|&first| r(first, model_run(&model, first).unwrap().last()));
            prop_assert_eq!(set.next_set(chunk), next);
            let gap = (chunk..=u64::MAX).find(|c| !model.contains(c));
            let gap = gap.map(|first| r(first, model.range(first..).next().map_or(u64::MAX, |&c| c - 1)));
            prop_assert_eq!(set.next_gap(chunk), gap);
        }
        let again: RangeSet = set.runs().collect();
        prop_assert_eq!(again, set);
    }

    #[test]
    fn set_operations(a in ops(), b in ops()) {
        let ((a, model_a), (b, model_b)) = (build(&a), build(&b));
        let of = |model: BTreeSet<u64>| model.into_iter().map(ChunkRange::single).collect::<RangeSet>();
        let (mut union, mut difference, mut both) = (a.clone(), a.clone(), a);
        union.union_with(&b);
        difference.subtract(&b);
        both.intersect_with(&b);
        [&union, &difference, &both].into_iter().for_each(check);
        prop_assert_eq!(union, of(&model_a | &model_b));
        prop_assert_eq!(difference, of(&model_a - &model_b));
        prop_assert_eq!(both, of(&model_a & &model_b));
    }
}
