//! Bodies of the fuzz targets: each takes any bytes, and panics where a promise is broken. No part of the public API.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a panic is how a fuzz target reports")]

use alloc::{collections::BTreeSet, string::ToString, vec, vec::Vec};

#[cfg(feature = "descriptor")]
use crate::descriptor::Descriptor;
use crate::{
    Bin, ChunkRange, Claim, Hash, HashAlg, Link, RangeSet, SwarmMetadata, TreeBuilder, Unverified, Verdict, Verifier,
    is_filled, peak_of, root_bin, uncles,
};
#[cfg(feature = "signature")]
use crate::{
    live::{LiveConfig, LiveSource, LiveVerifier, Munro, NtpTime, Signing},
    signature::{PrivateKey, PublicKey, SignatureAlgorithm, Signer},
};

/// What parses as a link prints as a link that says the same.
pub fn link(data: &[u8]) {
    let Some(link) = core::str::from_utf8(data).ok().and_then(|text| text.parse::<Link>().ok()) else { return };
    let text = link.to_string();
    // Encoding may triple the length.
    if text.len() <= Link::MAX_LEN {
        assert_eq!(text.parse().as_ref(), Ok(&link), "{text}");
    }
    assert!(link.file_name().is_none_or(|name| !name.contains(['/', '\\', '\0']) && name != ".."));
}

/// What is read as a descriptor is written as one that says the same, signed or not.
#[cfg(feature = "descriptor")]
pub fn descriptor(data: &[u8]) {
    let Ok(read) = Descriptor::parse(data) else { return };
    let xml = read.to_xml();
    if xml.len() > Descriptor::MAX_LEN {
        return;
    }
    let again = Descriptor::parse(xml.as_bytes()).unwrap();
    assert_eq!(again.to_xml(), xml);
    assert_eq!(again.representations(), read.representations());
    assert_eq!(again.trackers(), read.trackers());
    dash(&read, &again);
    let signed = read.to_signed_xml("key", |_| [7; 64]);
    let checked = Descriptor::parse_signed(signed.as_bytes(), |kid, bytes, signature| {
        assert_eq!((kid, signature), ("key", &[7; 64]));
        assert_eq!(bytes.len() + 88, signed.len());
        Ok(())
    });
    assert_eq!(checked.map(|checked| checked.trackers()), Ok(read.trackers()));
}

/// What is taken for a key is one, in one form; how a message is cut changes nothing; what a private key signs its
/// public key verifies.
#[cfg(feature = "signature")]
pub fn signature(data: &[u8]) {
    let (head, tail) = data.split_at(data.len() / 2);
    if let Ok(key) = PublicKey::parse(data) {
        assert_eq!(key.as_bytes(), data);
        let mut signature: Vec<u8> = data.iter().rev().copied().cycle().take(key.signature_len()).collect();
        assert!(signature.len() <= PublicKey::MAX_SIGNATURE_LEN);
        assert_eq!(key.verify(&[data], &signature), key.verify(&[head, &[], tail], &signature));
        signature.push(0);
        assert!(key.verify(&[data], &signature).is_err());
    }
    let pem = core::str::from_utf8(data).ok().and_then(|text| PrivateKey::from_pem(text).ok());
    let Some(mut key) = pem.or_else(|| PrivateKey::from_der(data).ok()) else { return };
    let public = key.public_key().clone();
    assert_eq!(PublicKey::parse(public.as_bytes()).as_ref(), Ok(&public));
    assert_eq!(PrivateKey::from_pem(&key.to_pem().unwrap()).unwrap().public_key(), &public);
    // An RSA key may be of numbers that are not prime: then it signs nothing.
    if let Ok(signature) = key.sign(&[head, tail]) {
        assert_eq!(signature.len(), public.signature_len());
        assert_eq!(public.verify(&[data], &signature), Ok(()));
        assert!(public.verify(&[data, b"."], &signature).is_err());
    }
}

/// What a descriptor says of files: the same when it is read again, parts side by side, and a playable form that can be
/// read.
#[cfg(feature = "descriptor")]
fn dash(read: &Descriptor, again: &Descriptor) {
    let resources = read.resources();
    assert_eq!(again.resources(), resources);
    for id in read.representations().iter().map(|one| &one.id) {
        assert_eq!(again.layers(id), read.layers(id));
        let parts = read.parts(id);
        assert_eq!(again.parts(id), parts);
        let Ok(parts) = parts else { continue };
        let mut end = 0;
        for part in parts.list() {
            assert_eq!((part.range.start, parts.part(&part.name)), (end, Some(part.range.clone())));
            assert!(!part.name.split('/').any(|name| matches!(name, "" | "." | "..")), "{}", part.name);
            end = part.range.end;
        }
        assert_eq!(end, parts.len());
    }
    let playable = read.to_playable(|one| Some(alloc::format!("http://[::1]/{}", one.bandwidth.unwrap_or(0))));
    match (&playable, &resources) {
        (Ok(xml), Ok(_)) if xml.len() <= Descriptor::MAX_LEN => assert!(Descriptor::parse(xml.as_bytes()).is_ok()),
        (playable, resources) => assert_eq!(playable.is_ok(), resources.is_ok()),
    }
    let mut made = read.clone();
    for one in resources.into_iter().flatten() {
        let lengths: Vec<u64> = one.files().iter().map(|file| file.min_len).collect();
        let length = lengths.iter().try_fold(0_u64, |sum, len| sum.checked_add(*len));
        let metadata =
            SwarmMetadata { content_length: length, ..SwarmMetadata::of_root(&Hash::empty(HashAlg::Sha256)) };
        if length.is_none() || metadata.check().is_err() || lengths.is_empty() {
            continue;
        }
        assert!(made.set_swarm(&one.representation, &metadata, None));
        let parts = made.set_parts(&one.representation, &lengths).and_then(|()| made.parts(&one.representation));
        assert_eq!(parts.map(|parts| parts.len()).ok(), length);
    }
}

/// A verifier of live content that is given munros, chunks and hashes in any mixture, true and false: nothing is
/// accepted that is not the stream's, and in the end the stream gets through, and its tree is the one of static
/// content.
#[cfg(feature = "signature")]
pub fn live(data: &[u8]) {
    let mut bytes = Bytes(data);
    let width = 2_u64 << (bytes.next() % 4);
    let length = 1 + usize::from(bytes.next()) * 80;
    let content: Vec<u8> = (0..length).map(|i| (i * 31 + i / SIZE * 7) as u8).collect();
    let key = PrivateKey::generate(SignatureAlgorithm::Ed25519, &[1; 32]).expect("of any seed");
    let metadata = SwarmMetadata { chunk_size: SIZE as u32, ..SwarmMetadata::of_key(key.public_key()) };
    let at = |seconds: u64| NtpTime::from_unix_micros((1_800_000_000 + seconds) * 1_000_000);
    let mut nodes: Vec<Claim> = vec![];
    let mut sink = |node: Bin, hash: &Hash| nodes.push(Claim { node, hash: *hash });
    let mut source = LiveSource::new(&metadata, Signing::Rfc, width as u32, alloc::boxed::Box::new(key)).unwrap();
    let mut munros: Vec<Munro> = vec![];
    for chunk in content.chunks(SIZE) {
        munros.extend(source.push(at(source.next_chunk() / width), chunk, &mut sink).unwrap());
    }
    let now = at(source.next_chunk() / width);
    let finished = source.finish(now, &mut sink).unwrap();
    munros.extend(finished.munro);
    let tree = finished.tree.unwrap();
    let chunk_data = |chunk: u64| content.chunks(SIZE).nth(chunk as usize).unwrap_or_default();
    // The hash of any node below a munro, as the definition has it (RFC 7574 §5.1).
    fn truth(node: Bin, end: u64, nodes: &[Claim]) -> Hash {
        match node.children().filter(|_| node.first_chunk() < end && node.last_chunk() >= end) {
            Some((left, right)) => {
                let mut hash = [Hash::empty(HashAlg::Sha256)];
                let pair = [truth(left, end, nodes), truth(right, end, nodes)];
                crate::hash_pairs(HashAlg::Sha256, &[pair], &mut hash);
                hash[0]
            }
            None => {
                let known = nodes.iter().find(|claim| claim.node == node);
                known.map_or(Hash::empty(HashAlg::Sha256), |claim| claim.hash)
            }
        }
    }
    let uncles = |chunk: u64| -> Vec<Claim> {
        let munro = Bin::at(width.ilog2(), chunk).unwrap();
        uncles(chunk, munro).map(|node| Claim { node, hash: truth(node, tree.chunks, &nodes) }).collect()
    };
    let mut verifier = LiveVerifier::new(&metadata, LiveConfig::default()).unwrap();
    let (mut verdicts, mut proven) = (vec![], vec![]);
    for _ in 0..48 {
        if bytes.is_empty() {
            break;
        }
        let mut munro = munros[usize::from(bytes.next()) % munros.len()].clone();
        let other = &munros[usize::from(bytes.next()) % munros.len()];
        let kind = bytes.next();
        match kind % 8 {
            0 => munro.hash = other.hash,
            1 => munro.node = other.node,
            2 => munro.signature = other.signature.clone(),
            3 => munro.time = NtpTime::from_bits(u64::from(bytes.next()) << 56),
            4 => munro.node = Bin::new(u64::from(bytes.next())).unwrap(),
            _ => {}
        }
        if verifier.offer(now, &munro, &mut proven).is_ok() {
            assert!(munros.iter().any(|one| one.node == munro.node && one.hash == munro.hash), "a false munro");
        }
        let chunk = u64::from(bytes.next()) % (tree.chunks + 2);
        let mut claims = uncles(chunk);
        if kind & 8 != 0 {
            let hash = match bytes.next() % 3 {
                0 => Hash::empty(HashAlg::Sha256),
                1 => munro.hash,
                _ => Hash::empty(HashAlg::Sha1),
            };
            let at = usize::from(bytes.next()) % claims.len();
            claims[at].hash = hash;
        }
        let mut spoiled = chunk_data(chunk).to_vec();
        match kind >> 4 {
            0 => spoiled = chunk_data(u64::from(bytes.next()) % tree.chunks).to_vec(),
            1 => spoiled.truncate(usize::from(bytes.next()) * 2),
            2 => spoiled.iter_mut().take(1).for_each(|byte| *byte ^= 1),
            3 => spoiled = claims.iter().flat_map(|claim| claim.hash.as_bytes().to_vec()).collect(),
            _ => {}
        }
        let input = Unverified { chunk, data: &spoiled, claims: [&claims, &[]] };
        verifier.verify(&[input, input], &mut verdicts, &mut proven);
        let right = chunk < tree.chunks && spoiled == chunk_data(chunk);
        assert!(right || !verdicts.contains(&Verdict::Accepted), "a false chunk was accepted");
        assert!(verifier.end() == 0 || verifier.end() >= tree.chunks.min(verifier.end().next_multiple_of(width)));
    }
    for munro in &munros {
        verifier.offer(now, munro, &mut proven).unwrap();
    }
    for chunk in 0..tree.chunks {
        let claims = uncles(chunk);
        let input = Unverified { chunk, data: chunk_data(chunk), claims: [&claims, &[]] };
        verifier.verify(&[input], &mut verdicts, &mut proven);
        assert_eq!(verdicts, [Verdict::Accepted]);
    }
    assert_eq!(verifier.tree(&mut proven), Some(tree.clone()));
    assert!(proven.iter().all(|claim| claim.hash == truth(claim.node, tree.chunks, &nodes)), "a false hash");
}

/// Operations on sets of chunks, compared with a set of integers.
pub fn range_set(data: &[u8]) {
    let mut bytes = Bytes(data);
    let (mut set, mut other) = (RangeSet::new(), RangeSet::new());
    let (mut model, mut other_model) = (BTreeSet::new(), BTreeSet::new());
    // Two windows, at both ends of the universe.
    let chunk = |bytes: &mut Bytes<'_>| {
        let at = u64::from(bytes.next()) | u64::from(bytes.next()) << 8;
        if at < 1 << 15 { at % 1600 } else { u64::MAX - at % 1600 }
    };
    for _ in 0..64 {
        if bytes.is_empty() {
            break;
        }
        let op = bytes.next() % 8;
        let (a, b) = (chunk(&mut bytes), chunk(&mut bytes));
        let range = ChunkRange::between(a, if a.abs_diff(b) < 4096 { b } else { a });
        let before = model.len();
        match op {
            0..=2 => {
                model.extend(range.chunks());
                assert_eq!(set.insert(range), model.len() != before);
            }
            3 | 4 => {
                model.retain(|&chunk| !range.contains(chunk));
                assert_eq!(set.remove(range), model.len() != before);
            }
            5 => {
                set.union_with(&other);
                model.extend(&other_model);
            }
            6 => {
                set.subtract(&other);
                model.retain(|chunk| !other_model.contains(chunk));
            }
            _ => {
                core::mem::swap(&mut set, &mut other);
                core::mem::swap(&mut model, &mut other_model);
            }
        }
        assert_eq!(set.len(), model.len() as u64);
        assert_eq!(set.contains(a), model.contains(&a));
        let inside = model.range(range.first()..=range.last());
        assert_eq!(set.count(range), inside.clone().count() as u64);
        assert_eq!(set.covers(range), inside.count() as u64 == range.len());
        assert_eq!(set.next_set(a).map(ChunkRange::first), model.range(a..).next().copied());
    }
    assert!(set.runs().flat_map(ChunkRange::chunks).eq(model.iter().copied()));
    assert_eq!(set.runs().collect::<RangeSet>(), set);
    let mut both = set.clone();
    both.intersect_with(&other);
    assert!(both.runs().flat_map(ChunkRange::chunks).eq(model.intersection(&other_model).copied()));
}

/// A verifier that is given true and false chunks, claims and peaks in any mixture: no chunk is accepted that is not
/// the content's, no hash is taken for proven that is not the tree's, and in the end the true content still gets
/// through.
pub fn verifier(data: &[u8]) {
    let mut bytes = Bytes(data);
    let alg = if bytes.next() % 2 == 0 { HashAlg::Sha1 } else { HashAlg::Sha256 };
    let length = usize::from(bytes.next()) * 40;
    let content: Vec<u8> = (0..length).map(|i| (i * 31 + i / SIZE * 7) as u8).collect();
    let mut nodes = vec![];
    let mut builder = TreeBuilder::new(alg, SIZE as u32);
    let mut sink = |node: Bin, hash: &Hash| nodes.push(Claim { node, hash: *hash });
    builder.push(&content, &mut sink);
    let tree = builder.finish(&mut sink);
    nodes.sort_by_key(|claim| claim.node);
    let truth = |node: Bin| nodes.binary_search_by_key(&node, |claim| claim.node).ok().map(|i| nodes[i]);
    let chunk_data = |chunk: u64| content.chunks(SIZE).nth(chunk as usize).unwrap_or_default();
    let length_given = bytes.next() % 3 == 0;
    let metadata = SwarmMetadata {
        chunk_size: SIZE as u32,
        hash: alg,
        content_length: length_given.then_some(length as u64),
        ..SwarmMetadata::of_root(&tree.root)
    };
    let mut verifier = Verifier::new(&metadata).expect("metadata is sound");
    let mut held = RangeSet::new();
    let (mut verdicts, mut proven) = (vec![], vec![]);

    for _ in 0..48 {
        if bytes.is_empty() {
            break;
        }
        // Claims: honest ones for a chunk, peaks, and lies about either.
        let mut claims: Vec<Claim> = vec![];
        let chunk = u64::from(bytes.next()) % (tree.chunks + 2);
        let kinds = bytes.next();
        if kinds & 1 != 0 {
            claims.extend(&tree.peaks);
        }
        if kinds & 2 != 0 {
            claims.push(Claim { node: Bin::at(u32::from(bytes.next() % 64), 0).unwrap_or(Bin::ALL), hash: tree.root });
        }
        if kinds & 4 != 0
            && let Some(peak) = peak_of(chunk, tree.chunks)
        {
            claims.extend(uncles(chunk, peak).filter_map(truth));
        }
        if kinds & 8 != 0 {
            for _ in 0..bytes.next() % 4 {
                let number = u64::from(bytes.next());
                let hash = match bytes.next() % 4 {
                    0 => Hash::empty(alg),
                    1 => tree.root,
                    n => nodes[usize::from(n) * 7 % nodes.len()].hash,
                };
                claims.insert(usize::from(kinds) % (claims.len() + 1), Claim { node: Bin::new(number).unwrap(), hash });
            }
        }
        // Data: the chunk, another one, a pair of hashes, spoiled, cut, or too long.
        let mut chunk_bytes = chunk_data(chunk).to_vec();
        match bytes.next() % 8 {
            0..=2 => {}
            3 => chunk_bytes = chunk_data(u64::from(bytes.next()) % tree.chunks).to_vec(),
            4 => {
                let node = Bin::new(u64::from(bytes.next()) | 1).unwrap();
                let pair = node.children().map(|(l, r)| [l, r].map(|child| truth(child).map(|claim| claim.hash)));
                let pair = pair.unwrap().into_iter().flatten();
                chunk_bytes = pair.flat_map(|hash| hash.as_bytes().to_vec()).collect();
            }
            5 => chunk_bytes.iter_mut().take(1).for_each(|byte| *byte ^= 1),
            6 => chunk_bytes.truncate(usize::from(bytes.next()) * 2),
            _ => chunk_bytes.extend([0; 3]),
        }
        let right = chunk < tree.chunks && chunk_bytes == chunk_data(chunk);
        verifier.offer_peaks(&claims, &mut proven);
        let split = claims.split_at(usize::from(kinds >> 4) % (claims.len() + 1));
        let input = Unverified { chunk, data: &chunk_bytes, claims: [split.0, split.1] };
        verifier.verify(&[input, input], &mut verdicts, &mut proven);
        for verdict in &verdicts {
            assert!(right || *verdict != Verdict::Accepted, "a false chunk was accepted");
            if *verdict == Verdict::Accepted {
                held.insert(ChunkRange::single(chunk));
            }
        }
        assert!(verifier.chunks().is_none_or(|chunks| !verifier.size_certain() || chunks == tree.chunks));
        assert!(verifier.content_length().is_none_or(|found| found == length as u64));
        if kinds & 128 != 0 {
            verifier.forget(&held, ChunkRange::single(chunk));
        }
    }
    for claim in proven.drain(..).filter(|claim| is_filled(claim.node, tree.chunks)) {
        assert_eq!(truth(claim.node), Some(claim), "a false hash was taken for proven");
    }

    // Honest peers that send all they have. The first datagrams may be needed to get over false sizes; a chunk as long
    // as two hashes has to wait until others were accepted.
    for chunk in (0..tree.chunks).chain(0..tree.chunks).filter(|_| length_given || length != 2 * alg.len()) {
        let mut claims = tree.peaks.clone();
        claims.extend(peak_of(chunk, tree.chunks).into_iter().flat_map(|peak| uncles(chunk, peak)).filter_map(truth));
        verifier.offer_peaks(&claims, &mut proven);
        let input = Unverified { chunk, data: chunk_data(chunk), claims: [&claims, &[]] };
        verifier.verify(&[input], &mut verdicts, &mut proven);
        assert_ne!(verdicts, [Verdict::Corrupt], "an honest peer was blamed");
        if verdicts == [Verdict::Accepted] {
            held.insert(ChunkRange::single(chunk));
        }
    }
    if length_given || length != 2 * alg.len() {
        assert_eq!(held.len(), tree.chunks);
        assert_eq!((verifier.chunks(), verifier.content_length()), (Some(tree.chunks), Some(length as u64)));
        assert_eq!(verifier.peaks(), tree.peaks);
        assert!(tree.peaks.iter().all(|peak| root_bin(tree.chunks).contains(peak.node)));
    }
}

/// The input, byte by byte; zeros after its end.
struct Bytes<'a>(&'a [u8]);

impl Bytes<'_> {
    fn next(&mut self) -> u8 {
        match self.0.split_first() {
            Some((&first, rest)) => {
                self.0 = rest;
                first
            }
            None => 0,
        }
    }

    fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

const SIZE: usize = 512;

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::{fs, path::Path};

    /// Runs a body over the seeds of its corpus.
    fn corpus(target: &str, body: fn(&[u8])) {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/corpus").join(target);
        let mut seeds = 0;
        for entry in fs::read_dir(folder).unwrap() {
            body(&fs::read(entry.unwrap().path()).unwrap());
            seeds += 1;
        }
        assert!(seeds > 0);
    }

    #[test]
    fn seeds() {
        corpus("link", link);
        #[cfg(feature = "descriptor")]
        corpus("descriptor", descriptor);
        corpus("range_set", range_set);
        #[cfg(feature = "signature")]
        corpus("signature", signature);
        #[cfg(feature = "signature")]
        corpus("live", live);
        corpus("verifier", verifier);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(256))]

        #[test]
        fn any_link(data in proptest::collection::vec(any::<u8>(), 0..300)) {
            link(&data);
        }

        #[cfg(feature = "signature")]
        #[test]
        fn any_signature(code in proptest::sample::select(&[5_u8, 8, 13, 14, 15]), key in proptest::collection::vec(any::<u8>(), 0..300)) {
            signature(&[&[code][..], &key].concat());
        }

        #[test]
        fn any_range_set(data in proptest::collection::vec(any::<u8>(), 0..320)) {
            range_set(&data);
        }

        #[test]
        fn any_verifier(data in proptest::collection::vec(any::<u8>(), 0..300)) {
            verifier(&data);
        }
    }
}
