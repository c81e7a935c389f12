use proptest::prelude::*;

use super::*;

/// A box of these bytes.
fn of(kind: &str, inside: &[&[u8]]) -> Vec<u8> {
    let body = inside.concat();
    [&(body.len() as u32 + 8).to_be_bytes(), kind.as_bytes(), &body].concat()
}

/// Numbers one after another.
fn words(words: &[u32]) -> Vec<u8> {
    words.iter().flat_map(|word| word.to_be_bytes()).collect()
}

/// An initialization segment of H.264 with this timescale, whose samples last 3 where nothing else is said.
fn init(timescale: u32) -> Vec<u8> {
    let config = of("avcC", &[&[1, 77, 64, 13, 0xff]]);
    let description = of("stsd", &[&words(&[0, 1]), &of("avc1", &[&[0; 78], &config])]);
    let media = of("mdhd", &[&words(&[0, 0, 0, timescale, 0, 0])]);
    let track = of("trak", &[&of("mdia", &[&media, &of("minf", &[&of("stbl", &[&description])])])]);
    let defaults = of("mvex", &[&of("trex", &[&words(&[0, 7, 1, 3, 0, 0])])]);
    [of("ftyp", &[b"iso6"]), of("moov", &[&track, &defaults])].concat()
}

fn track() -> Track {
    Track::read(&init(90)).unwrap()
}

/// A picture, of its length and one NAL unit.
fn picture(needed: bool, more: &[u8]) -> Vec<u8> {
    let unit = [&[if needed { 0x41 } else { 0x01 }], more].concat();
    [&(unit.len() as u32).to_be_bytes()[..], &unit].concat()
}

/// A segment of samples: duration, how much later they are shown, and their bytes.
fn segment<'a>(start: u64, samples: &'a [(u32, i64, Vec<u8>)]) -> Segment<'a> {
    let mut time = start;
    let samples = samples.iter().map(|(duration, later, data)| {
        let sample = Sample { time, duration: *duration, later: *later, flags: *duration, data };
        time += u64::from(*duration);
        sample
    });
    Segment { types: b"\0\0\0\x0cstypmsdh", number: 9, description: 1, start, samples: samples.collect() }
}

/// One fragment, with these boxes in its `traf`, and so much content.
fn fragment(traf: &[&[u8]], content: usize) -> Vec<u8> {
    let header = of("tfhd", &[&words(&[0x2_0000, 7])]);
    let time = of("tfdt", &[&words(&[0, 100])]);
    let traf = of("traf", &[&header, &time, &traf.concat()]);
    [of("moof", &[&of("mfhd", &[&words(&[0, 1])]), &traf]), of("mdat", &[&vec![5; content]])].concat()
}

/// A run: its flags, count, and what follows.
fn run(flags: u32, count: u32, rest: &[u32]) -> Vec<u8> {
    of("trun", &[&words(&[flags, count]), &words(rest)])
}

#[test]
fn an_initialization_segment_says_what_fragments_do_not() {
    let track = track();
    assert_eq!((track.id, track.timescale, track.defaults.default_sample_duration), (7, 90, 3));
    assert_eq!(track.nal_length(), Ok(4));
    assert!(track.is_like(&Track { id: 2, ..track.clone() }));
    assert!(!track.is_like(&Track::read(&init(91)).unwrap()));
    assert_eq!(Track::read(&of("moov", &[])), Err(Unreadable::Missing("trak")));
    assert!(matches!(Track::read(&init(0)), Err(Unreadable::Fields { name: "mdhd", .. })));
    let two = of("moov", &[&of("trak", &[]), &of("trak", &[])]);
    assert!(matches!(Track::read(&two), Err(Unreadable::Fields { name: "trak", .. })));
}

#[test]
fn samples_are_what_fragments_say() {
    // ISO/IEC 14496-12 §8.8.8: what a run does not say is said before it. Content begins at byte 100, and at byte 124.
    let one = fragment(&[&run(0x201, 2, &[100, 4, 6])], 10);
    let mut two = fragment(&[&run(0xb01, 1, &[124, 5, 2, 8]), &run(0x200, 1, &[3])], 5);
    let at = two.windows(4).position(|name| name == b"tfdt").unwrap() + 8;
    two[at..at + 4].copy_from_slice(&106_u32.to_be_bytes());
    let both = [of("sidx", &[&[0; 24]]), one, two].concat();
    let track = track();
    let read = Segment::read(&both, &track).unwrap();
    let told: Vec<_> = read.samples().iter().map(|s| (s.time, s.duration, s.later, s.data.len())).collect();
    assert_eq!(told, [(100, 3, 0, 4), (103, 3, 0, 6), (106, 5, 8, 2), (111, 3, 0, 3)]);
    assert!(read.samples().iter().all(|sample| sample.data.iter().all(|byte| *byte == 5)));
    assert_eq!((read.start, read.end()), (100, 114));
    assert_eq!(read.duration(&track).as_millis(), 155);
}

#[test]
fn numbers_that_lie_are_refused() {
    let track = track();
    let read = |bytes: &[u8]| Segment::read(bytes, &track).map(drop);
    // Four thousand million samples, with and without a place for each; those of all runs count.
    assert_eq!(read(&fragment(&[&run(1, u32::MAX, &[88])], 9)), Err(Unreadable::Samples));
    assert_eq!(read(&fragment(&[&run(0x201, u32::MAX, &[88, 1])], 9)), Err(Unreadable::Samples));
    let most = Segment::MAX_SAMPLES;
    let ones = run(0x200, most as u32, &vec![1; most]);
    let first = run(0x201, 1, &[8, 1]);
    assert_eq!(read(&fragment(&[&first, &ones], most + 1)), Err(Unreadable::Samples));
    let fewer = run(0x200, most as u32 - 1, &vec![1; most - 1]);
    assert_eq!(read(&fragment(&[&first, &fewer], most)), Ok(()));
    assert!(matches!(read(&fragment(&[&run(0x201, 2, &[88, 1])], 9)), Err(Unreadable::Fields { .. })));
    assert!(matches!(read(&fragment(&[&of("trun", &[&[0; 6]])], 9)), Err(Unreadable::Fields { .. })));
    // Samples of no bytes, each by itself, and all at once.
    for empty in [run(0x201, 2, &[88, 1, 0]), run(0x001, 9, &[88])] {
        let error = read(&fragment(&[&empty], 9)).unwrap_err();
        assert!(error.to_string().contains("a sample of no bytes"), "{error}");
    }
    // Bytes behind the end, before the beginning, from nowhere, and for two samples.
    for (flags, words) in [
        (0x201, &[96, 10][..]),
        (0x201, &[u32::MAX, 1]),
        (0x201, &[u32::MAX - 500, 1]),
        (0x200, &[1]),
        (0x201, &[80, u32::MAX]),
    ] {
        assert_eq!(read(&fragment(&[&run(flags, 1, words)], 9)), Err(Unreadable::Bytes), "{words:?}");
    }
    let again = run(0x201, 1, &[120, 300]);
    assert_eq!(read(&fragment(&[&again, &again], 300)), Err(Unreadable::Bytes));
    // Other boxes, other tracks, and boxes that are longer than they can be.
    assert_eq!(read(&fragment(&[&of("senc", &[])], 0)), Err(Unreadable::Unknown("senc".to_owned())));
    assert_eq!(read(&of("emsg", &[])), Err(Unreadable::Unknown("emsg".to_owned())));
    assert_eq!(read(&[]), Err(Unreadable::Missing("moof")));
    assert_eq!(read(&words(&[7, 0])), Err(Unreadable::Size));
    assert_eq!(read(&words(&[9, 0])), Err(Unreadable::Size));
    assert_eq!(read(&words(&[1, 0, u32::MAX, u32::MAX])), Err(Unreadable::Size));
    let other = Track { id: 8, ..track.clone() };
    let fine = fragment(&[&run(0x201, 1, &[96, 1])], 1);
    assert!(read(&fine).is_ok());
    assert!(matches!(Segment::read(&fine, &other), Err(Unreadable::Fields { name: "tfhd", .. })));
    // Boxes in boxes, as deep as they go.
    let deep: Vec<u8> =
        (0..100_000_u32).rev().flat_map(|n| [&(n * 8 + 8).to_be_bytes()[..], b"moof"].concat()).collect();
    assert_eq!(read(&deep), Err(Unreadable::Missing("mfhd")));
}

#[test]
fn what_has_gaps_is_not_divided() {
    let pictures = [(3, 0, picture(true, &[])), (3, 0, picture(false, &[]))];
    let mut gap = segment(0, &pictures);
    assert!(divide(&gap, &track()).is_ok());
    gap.samples[1].time += 1;
    assert_eq!(divide(&gap, &track()), Err(Unreadable::Gaps));
    let other = segment(0, &[]);
    assert_eq!(merge(&[gap, Segment { description: 2, ..other }]), Err(Unreadable::Different));
    assert_eq!(merge(&[]), Err(Unreadable::Missing("moof")));
}

fn pictures() -> impl Strategy<Value = Vec<(u32, i64, bool, Vec<u8>)>> {
    proptest::collection::vec(
        (1_u32..1000, -50_i64..50, any::<bool>(), proptest::collection::vec(any::<u8>(), 0..40)),
        0..40,
    )
}

proptest! {
    /// Written, read and merged, layers are what was divided; and each of them lasts as long.
    #[test]
    fn layers_are_together_what_they_were(start in 0_u64..1 << 40, pictures in pictures()) {
        let samples: Vec<_> = pictures.iter().map(|(d, later, needed, more)| (*d, *later, picture(*needed, more))).collect();
        let (track, whole) = (track(), segment(start, &samples));
        let layers = divide(&whole, &track).unwrap();
        let written = layers.each_ref().map(|layer| layer.write(&track).unwrap());
        let read = written.each_ref().map(|bytes| Segment::read(bytes, &track).unwrap());
        prop_assert_eq!(&read, &layers);
        for (layer, needed) in read.iter().zip([true, false]) {
            prop_assert_eq!(layer.samples().len(), pictures.iter().filter(|picture| picture.2 == needed).count());
            prop_assert!(layer.samples().is_empty() || layer.end() == whole.end());
            prop_assert!(layer.samples().windows(2).all(|two| two[0].time + u64::from(two[0].duration) == two[1].time));
        }
        let merged = merge(&read).unwrap();
        prop_assert_eq!(&merged.samples, &whole.samples);
        let merged = merged.write(&track).unwrap();
        prop_assert_eq!(merged, whole.write(&track).unwrap());
    }

    /// Whatever is changed: an error, or samples whose bytes are there.
    #[test]
    fn damage_is_refused_or_harmless(
        pictures in pictures(), damage in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
        cut in any::<prop::sample::Index>(), is_cut in any::<bool>(),
    ) {
        let samples: Vec<_> = pictures.iter().map(|(d, later, needed, more)| (*d, *later, picture(*needed, more))).collect();
        let (track, whole) = (track(), segment(5, &samples));
        for mut bytes in [whole.write(&track).unwrap(), init(90)] {
            for (at, byte) in &damage {
                let at = at.index(bytes.len());
                bytes[at] = *byte;
            }
            if is_cut {
                bytes.truncate(cut.index(bytes.len()));
            }
            if let Ok(read) = Segment::read(&bytes, &track) {
                let length: usize = read.samples().iter().map(|sample| sample.data.len()).sum();
                prop_assert!(length <= bytes.len() && read.samples().len() <= length.min(Segment::MAX_SAMPLES));
                _ = divide(&read, &track);
                if let Ok(merged) = merge(&[read, whole.clone()]) {
                    _ = merged.write(&track);
                }
            }
            if let Ok(track) = Track::read(&bytes) {
                _ = track.nal_length();
                _ = Segment::read(&bytes, &track);
            }
        }
    }
}
