//! Answers of other implementations and of the RFC (see `vectors/README.md`).

use std::{collections::BTreeMap, fs, path::Path};

use ppsp_core::{
    Bin, ChunkAddressing, ChunkRange, Claim, Hash, HashAlg, RangeSet, SwarmId, SwarmMetadata, Tree, TreeBuilder,
    Unverified, Verdict, Verifier, peak_of, peaks, root_bin, root_from_peaks, uncles,
};
use serde_json::Value;

fn file(name: &str) -> Vec<u8> {
    fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/vectors").join(name)).unwrap()
}

fn json(name: &str) -> Value {
    serde_json::from_slice(&file(name)).unwrap()
}

fn rows<'a>(value: &'a Value, group: &str, list: &str) -> &'a [Value] {
    let rows = value[group][list].as_array().unwrap();
    assert!(!rows.is_empty());
    rows
}

fn bin(value: &Value) -> Bin {
    Bin::new(value.as_u64().unwrap()).unwrap()
}

fn numbers(value: &Value) -> Vec<u64> {
    value.as_array().unwrap().iter().map(|v| v.as_u64().unwrap()).collect()
}

fn hex(hash: &Hash) -> String {
    format!("{hash:?}")
}

fn hash(value: &Value) -> Hash {
    let text = value.as_str().unwrap();
    let bytes: Vec<u8> = (0..text.len()).step_by(2).map(|i| u8::from_str_radix(&text[i..i + 2], 16).unwrap()).collect();
    Hash::from_bytes(&bytes).unwrap()
}

fn build(alg: HashAlg, chunk_size: u32, content: &[u8]) -> (Tree, BTreeMap<Bin, Hash>) {
    let mut nodes = BTreeMap::new();
    let mut sink = |node: Bin, hash: &Hash| assert!(nodes.insert(node, *hash).is_none());
    let mut builder = TreeBuilder::new(alg, chunk_size);
    builder.push(content, &mut sink);
    let tree = builder.finish(&mut sink);
    (tree, nodes)
}

#[test]
fn libswift_bins() {
    let answers = json("libswift/known_answers.json");
    for row in rows(&answers, "bins", "rows") {
        let b = bin(&row["bin"]);
        let (layer, offset) = (row["layer"].as_u64().unwrap(), row["offset"].as_u64().unwrap());
        assert_eq!(Bin::at(layer as u32, offset << layer), Some(b));
        assert_eq!(u64::from(b.height()), layer);
        assert_eq!(b.first_chunk(), row["base_offset"].as_u64().unwrap());
        assert_eq!(b.range().len(), row["base_length"].as_u64().unwrap());
        assert_eq!(Bin::leaf(b.first_chunk()), Some(bin(&row["base_left"])));
        assert_eq!(Bin::leaf(b.last_chunk()), Some(bin(&row["base_right"])));
        assert_eq!((b.parent(), b.sibling()), (Some(bin(&row["parent"])), Some(bin(&row["sibling"]))));
        let children = row["left"].as_u64().map(|_| (bin(&row["left"]), bin(&row["right"])));
        assert_eq!(b.children(), children);
        assert_eq!((b.is_left(), b.is_leaf()), (row["is_left"] == true, row["is_base"] == true));
    }
    for row in rows(&answers, "contains", "rows") {
        assert_eq!(bin(&row[0]).contains(bin(&row[1])), row[2] == true, "{row}");
    }
    let constants = &answers["constants"]["bin64test.cpp:14-80"];
    assert_eq!(Bin::at(2, 4).map(Bin::number), constants["(2,1)"].as_u64());
    assert_eq!(Bin::at(4, 18 << 4).unwrap().parent(), Bin::at(5, 9 << 5));
    assert_eq!(Bin::at(4, 18 << 4).unwrap().children(), Bin::at(3, 36 << 3).zip(Bin::at(3, 37 << 3)));
    assert_eq!(Bin::at(30, 1 << 30).unwrap().parent(), Bin::at(31, 0));
    // The special numbers of RFC 7574 §4.2.
    assert_eq!(Bin::at(31, 0).map(Bin::number), constants["ALL_uint32"].as_u64());
    assert_eq!(Bin::at(31, 0).map(Bin::number), answers["bin32_special"]["ALL"].as_u64());
}

#[test]
fn libswift_peaks_and_covers() {
    let answers = json("libswift/known_answers.json");
    for row in rows(&answers, "peaks", "rows") {
        let chunks = row["n"].as_u64().unwrap();
        let found: Vec<u64> = peaks(chunks).map(Bin::number).collect();
        assert_eq!(found, numbers(&row["peaks"]), "{chunks} chunks");
        assert_eq!(peak_of(chunks - 1, chunks), peaks(chunks).last());
        assert_eq!(peak_of(0, chunks), peaks(chunks).next());
    }
    for row in rows(&answers, "chunk32_to_bins", "rows") {
        let range = ChunkRange::new(row["start"].as_u64().unwrap(), row["end"].as_u64().unwrap()).unwrap();
        let found: Vec<u64> = Bin::cover(range).map(Bin::number).collect();
        assert_eq!(found, numbers(&row["bins"]), "{range:?}");
    }
}

#[test]
fn libswift_hash_trees() {
    for row in rows(&json("libswift/known_answers.json"), "hash_trees", "rows") {
        let size = row["size"].as_u64().unwrap();
        let chunk_size = row["chunk_size"].as_u64().unwrap() as u32;
        let content: Vec<u8> = (0..size).map(|i| (i * 131 + (i >> 10) * 17) as u8).collect();
        for (alg, root, key) in [(HashAlg::Sha1, "root", "peaks"), (HashAlg::Sha256, "root_sha256", "peaks_sha256")] {
            let (tree, nodes) = build(alg, chunk_size, &content);
            assert_eq!(Value::from(hex(&tree.root)), row[root], "{size} bytes");
            assert_eq!(tree.chunks, row["chunks"].as_u64().unwrap());
            let expected: Vec<Claim> =
                row[key].as_array().unwrap().iter().map(|p| Claim { node: bin(&p[0]), hash: hash(&p[1]) }).collect();
            assert_eq!(tree.peaks, expected);
            assert_eq!(root_from_peaks(alg, &expected), Some((tree.root, tree.chunks)));
            if alg != HashAlg::Sha1 {
                continue;
            }
            // What libswift sends with a chunk, top first, up to the peak.
            for uncle in row["uncles"].as_array().unwrap() {
                let chunk = uncle["chunk"].as_u64().unwrap();
                let mut path: Vec<(u64, Hash)> = uncles(chunk, peak_of(chunk, tree.chunks).unwrap())
                    .map(|node| (node.number(), nodes[&node]))
                    .collect();
                path.reverse();
                let theirs = uncle["path"].as_array().unwrap().iter();
                let theirs: Vec<(u64, Hash)> = theirs.map(|p| (p[0].as_u64().unwrap(), hash(&p[1]))).collect();
                assert_eq!(path, theirs, "chunk {chunk} of {size} bytes");
            }
        }
    }
}

#[test]
fn libswift_roots() {
    let answers = json("libswift/known_answers.json");
    for (name, content) in [("hello.bin", file("libswift/hello.bin")), ("f7162.bin", file("libswift/f7162.bin"))] {
        let row = &answers["vod_roots"][name];
        assert_eq!(content.len() as u64, row["size"].as_u64().unwrap());
        assert_eq!(Value::from(hex(&build(HashAlg::Sha1, 1024, &content).0.root)), row["sha1_root_1024"]);
        assert_eq!(Value::from(hex(&build(HashAlg::Sha256, 1024, &content).0.root)), row["sha256_root_1024"]);
    }
    let constants = &answers["constants"];
    let small = &constants["(SHA-1 tree, chunk 1024)"];
    assert_eq!(Value::from(hex(&build(HashAlg::Sha1, 1024, b"123\n").0.root)), small[0]["root"]);
    let (tree, nodes) = build(HashAlg::Sha1, 1024, &[0x24; 1028]);
    assert_eq!(Value::from(hex(&tree.root)), small[1]["root"]);
    assert_eq!(Value::from(hex(&nodes[&Bin::leaf(0).unwrap()])), small[1]["leaf0"]);
    assert_eq!(Value::from(hex(&nodes[&Bin::leaf(1).unwrap()])), small[1]["leaf1"]);
    let abcde: Vec<u8> = b"ABCDE".iter().flat_map(|&c| [c; 1024]).take(4100).collect();
    let row = &constants["(4100 bytes: 1024 x A, B, C, D then 4 x E; chunk 1024)"];
    let (tree, _) = build(HashAlg::Sha1, 1024, &abcde);
    assert_eq!(Value::from(hex(&tree.root)), row["root"]);
    assert_eq!(tree.peaks.iter().map(|p| p.node.number()).collect::<Vec<_>>(), numbers(&row["peak_bins"]));
}

// libswift's binmap against RangeSet.
#[test]
fn libswift_binmaps() {
    let answers = json("libswift/known_answers.json");
    for scenario in rows(&answers, "binmap", "scenarios") {
        let set = |ops: &Value| {
            let mut set = RangeSet::new();
            for op in ops.as_array().unwrap() {
                let range = bin(&op[1]).range();
                if op[0] == "set" {
                    set.insert(range)
                } else {
                    set.remove(range)
                };
            }
            set
        };
        let (a, b) = (set(&scenario["A"]), set(&scenario["B"]));
        for query in scenario["q"].as_array().unwrap() {
            let uniform = |node: Bin| a.covers(node.range()) || !a.intersects(node.range());
            if query["bin"].is_u64() {
                let range = bin(&query["bin"]).range();
                assert_eq!(a.covers(range), query["A_filled"] == true);
                assert_eq!(!a.intersects(range), query["A_empty"] == true);
                assert_eq!(a.covers(range), a.count(range) == range.len());
            } else {
                // The largest node around one in which nothing changes.
                let (inner, cover) = (bin(&query["cover_of"]), bin(&query["A_cover"]));
                assert!(cover.contains(inner) && uniform(cover), "{query}");
                assert!(cover.parent().is_none_or(|parent| !uniform(parent)), "{query}");
            }
        }
        assert_eq!(a.next_gap(0).map(ChunkRange::first), scenario["A_first_empty_chunk"].as_u64());
        let mut missing = b.clone();
        missing.subtract(&a);
        for query in scenario["complement"].as_array().unwrap() {
            let range = bin(&query["range"]).range();
            let first = missing.runs_in(range).next().map(ChunkRange::first);
            assert_eq!(first, query["first_chunk"].as_u64());
            assert!(query["bin"].is_null() || missing.covers(bin(&query["bin"]).range()));
        }
    }
    let cancel = &answers["constants"]["(CANCEL splits a REQUEST)"];
    let mut requested = RangeSet::from(Bin::at(7, 0).unwrap().range());
    for range in cancel["cancels"].as_array().unwrap() {
        requested.remove(ChunkRange::new(range[0].as_u64().unwrap(), range[1].as_u64().unwrap()).unwrap());
    }
    let chunks: Vec<u64> = requested.runs().flat_map(ChunkRange::chunks).collect();
    assert_eq!(chunks, numbers(&cancel["remaining_chunks"]));
}

#[test]
fn swirl_merkle_root() {
    let answers = json("swirl/known_answers.json");
    let expected = &answers["merkle_root"];
    let content = file("swirl/m74.jpg");
    let (tree, nodes) = build(HashAlg::Sha1, 1024, &content);
    assert_eq!(Value::from(hex(&tree.root)), expected["root_sha1"]);
    assert_eq!(tree.chunks, expected["chunks"].as_u64().unwrap());
    let (tree256, _) = build(HashAlg::Sha256, 1024, &content);
    assert_eq!(Value::from(hex(&tree256.root)), expected["root_sha256_computed_here"]);
    // RFC 7574 §5.1: two empty children have an empty parent. Hashing them is the mistake to be caught.
    let wrong = &expected["NEGATIVE_root_sha1_if_empty_pairs_are_hashed"];
    assert_ne!(&Value::from(hex(&tree.root)), wrong);
    assert_eq!(&Value::from(hex(&root_with_hashed_empty_pairs(&nodes, root_bin(tree.chunks)))), wrong);
    let peaks = answers["peaks"]["m74.jpg"].as_object().unwrap();
    assert_eq!(peaks.len(), tree.peaks.len());
    for peak in &tree.peaks {
        assert_eq!(Value::from(hex(&peak.hash)), peaks[&peak.node.number().to_string()]);
    }
}

/// The mistake itself, so that the test is known to tell the two apart.
fn root_with_hashed_empty_pairs(nodes: &BTreeMap<Bin, Hash>, node: Bin) -> Hash {
    match (nodes.get(&node), node.children()) {
        (Some(hash), _) => *hash,
        (None, None) => Hash::empty(HashAlg::Sha1),
        (None, Some((left, right))) => {
            let pair = [left, right].map(|child| root_with_hashed_empty_pairs(nodes, child));
            let mut hash = [Hash::empty(HashAlg::Sha1)];
            ppsp_core::hash_chunks(HashAlg::Sha1, &[&[pair[0].as_bytes(), pair[1].as_bytes()].concat()], &mut hash);
            hash[0]
        }
    }
}

#[test]
fn swirl_bins_and_uncles() {
    let answers = json("swirl/known_answers.json");
    for row in rows(&answers, "bins", "cases") {
        let b = bin(&row["bin"]);
        assert_eq!(u64::from(b.height()) + 1, row["layer"].as_u64().unwrap());
        assert_eq!(b.parent(), Some(bin(&row["parent"])));
        assert_eq!(b.sibling(), Some(bin(&row["sibling"])));
        assert_eq!(Bin::leaf(b.first_chunk()), Some(bin(&row["first_leaf"])));
        assert_eq!(Bin::leaf(b.last_chunk()), Some(bin(&row["last_leaf"])));
    }
    for (name, chunks) in [("m74", 26), ("f7162", 7), ("pow2_8", 8)] {
        for row in rows(&answers, "uncles", name) {
            let chunk = bin(&row["chunk_bin"]).first_chunk();
            let found: Vec<u64> = uncles(chunk, root_bin(chunks)).map(Bin::number).collect();
            assert_eq!(found, numbers(&row["all_uncles"]), "chunk {chunk} of {chunks}");
        }
    }
}

// RFC 7574 §8.16. The ID printed there has 20 bytes: it is a SHA-1 hash, although the text speaks of SHA-256.
#[test]
fn rfc_hello_world() {
    let content = b"Hello world!\n";
    let sha1 = build(HashAlg::Sha1, 1024, content).0;
    assert_eq!(hex(&sha1.root), "47a013e660d408619d894b20806b1d5086aab03b");
    let sha256 = build(HashAlg::Sha256, 1024, content).0;
    assert_eq!(hex(&sha256.root), "0ba904eae8773b70c75333db4de2f3ac45a8ad4ddba1b242f0b3cfc199391dd8");
    // One chunk needs no hashes: "the file fits within a 1024-byte chunk".
    let metadata = SwarmMetadata {
        id: SwarmId::from_root(&sha1.root),
        hash: HashAlg::Sha1,
        addressing: ChunkAddressing::Range32,
        ..SwarmMetadata::of_root(&sha1.root)
    };
    let mut verifier = Verifier::new(&metadata).unwrap();
    let (mut verdicts, mut proven) = (vec![], vec![]);
    let input = |data| Unverified { chunk: 0, data, claims: [&[], &[]] };
    verifier.verify(&[input(b"Hello world?\n"), input(content)], &mut verdicts, &mut proven);
    assert_eq!(verdicts, [Verdict::Unproven, Verdict::Accepted]);
    assert_eq!((verifier.chunks(), verifier.content_length()), (Some(1), Some(13)));
}

// RFC 7574 §5.5, Table 1 on the tree of Figures 3 and 4: 7162 bytes, 7 chunks, downloaded in order.
#[test]
fn rfc_table_1() {
    let content = file("libswift/f7162.bin");
    let (tree, nodes) = build(HashAlg::Sha256, 1024, &content);
    let claim = |number| Claim { node: Bin::new(number).unwrap(), hash: nodes[&Bin::new(number).unwrap()] };
    // §5.6.2: the peaks are nodes 3, 9 and 12.
    assert_eq!(tree.peaks, [claim(3), claim(9), claim(12)]);
    assert!(uncles(4, root_bin(7)).map(Bin::number).eq([10, 13, 3]), "Figure 3: the uncles of C4");

    // Without peaks, the length being known, as the table counts: nodes 11 and 13 are not filled, but may be sent.
    let with_incomplete = |number: u64| match number {
        11 => {
            let mut hash = [nodes[&Bin::new(12).unwrap()]];
            ppsp_core::hash_pairs(HashAlg::Sha256, &[[hash[0], Hash::empty(HashAlg::Sha256)]], &mut hash);
            let pair = [nodes[&Bin::new(9).unwrap()], hash[0]];
            ppsp_core::hash_pairs(HashAlg::Sha256, &[pair], &mut hash);
            Claim { node: Bin::new(11).unwrap(), hash: hash[0] }
        }
        13 => {
            let mut hash = [Hash::empty(HashAlg::Sha256)];
            let pair = [nodes[&Bin::new(12).unwrap()], hash[0]];
            ppsp_core::hash_pairs(HashAlg::Sha256, &[pair], &mut hash);
            Claim { node: Bin::new(13).unwrap(), hash: hash[0] }
        }
        number => claim(number),
    };
    let mut metadata = SwarmMetadata::of_root(&tree.root);
    metadata.content_length = Some(7162);
    let mut verifier = Verifier::new(&metadata).unwrap();
    // Chunk bin, hashes sent. The table's 14, the sibling of the last chunk, is empty and need not be sent.
    let table: [(u64, &[u64]); 7] =
        [(0, &[2, 5, 11]), (2, &[]), (4, &[6]), (6, &[]), (8, &[10, 13]), (10, &[]), (12, &[])];
    let (mut verdicts, mut proven) = (vec![], vec![]);
    for (leaf, sent) in table {
        let chunk = leaf / 2;
        let data = content.chunks(1024).nth(chunk as usize).unwrap();
        for left_out in 0..sent.len() {
            let mut claims: Vec<Claim> = sent.iter().map(|&n| with_incomplete(n)).collect();
            claims.remove(left_out);
            verifier.verify(&[Unverified { chunk, data, claims: [&claims, &[]] }], &mut verdicts, &mut proven);
            assert_eq!(verdicts, [Verdict::Unproven], "each hash of the table is needed");
        }
        let claims: Vec<Claim> = sent.iter().map(|&n| with_incomplete(n)).collect();
        verifier.verify(&[Unverified { chunk, data, claims: [&claims, &[]] }], &mut verdicts, &mut proven);
        assert_eq!(verdicts, [Verdict::Accepted], "chunk {chunk}");
    }
    assert_eq!(verifier.peaks(), tree.peaks);
    assert_eq!(proven.into_iter().map(|c| (c.node, c.hash)).collect::<BTreeMap<_, _>>(), nodes);
}
