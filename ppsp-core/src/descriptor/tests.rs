use alloc::{format, string::String, vec, vec::Vec};

use proptest::prelude::*;

use super::*;
use crate::{ChunkAddressing, Hash, HashAlg, IntegrityMethod};

fn metadata(byte: u8) -> SwarmMetadata {
    let root = Hash::from_bytes(&[byte; 32]).unwrap();
    SwarmMetadata { content_length: Some(1_000_000), ..SwarmMetadata::of_root(&root) }
}

/// As ffmpeg's dash muxer writes it, shortened.
const MPD: &str = r#"<?xml version="1.0" encoding="utf-8"?>
<MPD xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance"
	xmlns="urn:mpeg:dash:schema:mpd:2011"
	xmlns:xlink="http://www.w3.org/1999/xlink"
	xsi:schemaLocation="urn:mpeg:DASH:schema:MPD:2011 http://standards.iso.org/x.xsd"
	profiles="urn:mpeg:dash:profile:isoff-live:2011"
	type="static"
	mediaPresentationDuration="PT10.0S">
	<ProgramInformation>
		<Title>Crème &amp; &lt;brûlée&gt;</Title>
	</ProgramInformation>
	<Period id="0" start="PT0.0S">
		<AdaptationSet id="0" contentType="video" mimeType="video/mp4">
			<Representation id="0" codecs="avc1.64001e" bandwidth="800000" width="640" height="360">
				<SegmentTemplate timescale="12800" initialization="init-$RepresentationID$.m4s">
					<SegmentTimeline><S t="0" d="25600" r="4" /></SegmentTimeline>
				</SegmentTemplate>
			</Representation>
			<Representation id="1" mimeType="video/webm" bandwidth="1600000"><BaseURL>a/b%20c.webm?x</BaseURL></Representation>
		</AdaptationSet>
	</Period>
	<x:Other xmlns:x="urn:other" x:attribute="&#10;kept">text<![CDATA[ <raw> ]]></x:Other>
</MPD>
"#;

#[test]
fn a_plain_file_becomes_an_mpd() {
    let mut new = Descriptor::of_file("A <film>", "a film & more.mp4", "video/mp4", &metadata(7));
    new.set_trackers(&[vec!["https://a/", "https://b/"], vec!["https://c/"]]);
    let read = Descriptor::parse(new.to_xml().as_bytes()).unwrap();
    assert_eq!(read.title().as_deref(), Some("A <film>"));
    assert_eq!(read.trackers(), [vec!["https://a/", "https://b/"], vec!["https://c/"]]);
    let [one] = &read.representations()[..] else { panic!() };
    assert_eq!((one.id.as_str(), one.mime.as_deref()), ("file", Some("video/mp4")));
    assert_eq!(one.swarm.as_ref().unwrap().metadata, metadata(7));
    let link = read.link(one).unwrap();
    assert_eq!(link.file_name(), Some("a film & more.mp4"));
    assert_eq!(link.trackers, ["https://a/", "https://b/", "https://c/"]);
    assert_eq!(link.metadata, metadata(7));
    assert_eq!(read.swarms(), [metadata(7).id]);
    // RFC 3986: what stands in the BaseURL is a relative reference.
    assert!(new.to_xml().contains("<BaseURL>a%20film%20&amp;%20more.mp4</BaseURL>"), "{}", new.to_xml());
}

#[test]
fn a_live_stream_is_dynamic() {
    let live = SwarmMetadata {
        integrity: IntegrityMethod::UnifiedMerkleTree,
        addressing: ChunkAddressing::Range64,
        content_length: None,
        ..metadata(7)
    };
    let mut new = Descriptor::of_file("Channel 1", "one.ts", "video/mp2t", &live);
    assert!(new.set_swarm("file", &live, Some(65_536)));
    let xml = new.to_xml();
    assert!(xml.contains("type=\"dynamic\"") && xml.contains("availabilityStartTime="), "{xml}");
    assert!(!xml.contains("on-demand"), "{xml}");
    let read = Descriptor::parse(xml.as_bytes()).unwrap();
    let link = read.link(&read.representations()[0]).unwrap();
    assert_eq!((link.metadata, link.discard_window, link.name.as_deref()), (live, Some(65_536), Some("one.ts")));
    // It has no files.
    assert_eq!(read.parts("file").unwrap_err(), DashError::Live);
}

#[test]
fn an_mpd_is_enriched_and_keeps_what_it_had() {
    let mut new = Descriptor::parse(MPD.as_bytes()).unwrap();
    assert_eq!(new.title().as_deref(), Some("Crème & <brûlée>"));
    assert!(new.swarms().is_empty() && new.trackers().is_empty());
    assert!(new.set_swarm("0", &metadata(1), None));
    assert!(new.set_swarm("1", &metadata(2), Some(77)));
    assert!(new.set_swarm("1", &metadata(3), Some(78)), "in the place of the one before");
    assert!(!new.set_swarm("2", &metadata(3), None));
    new.set_trackers(&[vec!["https://t/?a&b"]]);
    let xml = new.to_xml();
    let read = Descriptor::parse(xml.as_bytes()).unwrap();
    assert_eq!(read, new);
    let found = read.representations();
    assert_eq!(found.len(), 2);
    assert_eq!((found[0].mime.as_deref(), found[0].bandwidth), (Some("video/mp4"), Some(800_000)));
    assert_eq!(found[0].codecs.as_deref(), Some("avc1.64001e"));
    assert_eq!((found[1].mime.as_deref(), found[1].name.as_deref()), (Some("video/webm"), Some("b c.webm")));
    assert_eq!(found[1].swarm.as_ref().unwrap().discard_window, Some(78));
    assert_eq!(read.trackers(), [["https://t/?a&b"]]);
    for kept in
        ["xsi:schemaLocation=", "<S t=\"0\" d=\"25600\" r=\"4\"/>", "x:attribute=\"&#10;kept\"", "text &lt;raw&gt; "]
    {
        assert!(xml.contains(kept), "{kept} is not in {xml}");
    }
    // ISO/IEC 23009-1: elements of others stand before SegmentTemplate.
    assert!(xml.find("ppsp:Swarm").unwrap() < xml.find("SegmentTemplate").unwrap());
}

#[test]
fn prefixes_mean_what_they_are_declared_for() {
    let ours = "<MPD xmlns:p='urn:ppsp:descriptor:1'><p:Trackers><p:Tracker>u</p:Tracker></p:Trackers></MPD>";
    assert_eq!(Descriptor::parse(ours.as_bytes()).unwrap().trackers(), [["u"]]);
    let inner = "<MPD><Trackers xmlns='urn:ppsp:descriptor:1'><Tracker tier='3'>u</Tracker></Trackers></MPD>";
    assert_eq!(Descriptor::parse(inner.as_bytes()).unwrap().trackers(), [["u"]]);
    // The prefix that we would choose stands for something else.
    let taken = "<MPD xmlns:ppsp='urn:x'><Representation id='a'/></MPD>";
    let mut new = Descriptor::parse(taken.as_bytes()).unwrap();
    assert!(new.set_swarm("a", &metadata(1), None));
    assert_eq!(Descriptor::parse(new.to_xml().as_bytes()).unwrap().swarms().len(), 1);
}

#[test]
fn every_kind_of_swarm_comes_back() {
    for integrity in [IntegrityMethod::MerkleTree, IntegrityMethod::SignAll, IntegrityMethod::UnifiedMerkleTree] {
        for hash in HashAlg::ALL {
            for addressing in ChunkAddressing::ALL {
                let id = SwarmId::new(vec![9; hash.len()]).unwrap();
                let all = SwarmMetadata { id, chunk_size: 8192, addressing, integrity, hash, content_length: None };
                let xml = Descriptor::of_file("", "f", "video/mp4", &all).to_xml();
                let read = Descriptor::parse(xml.as_bytes()).unwrap();
                assert_eq!(read.representations()[0].swarm.as_ref().unwrap().metadata, all);
            }
        }
    }
    for bad in ["id='xyz'", "", "id='00'", "id='00' integrity='none'", "id='00' hash='md5'", "id='00' chunkSize='-1'"] {
        let xml = format!(
            "<MPD xmlns:p='urn:ppsp:descriptor:1'><Representation id='a'><p:Swarm {bad}/></Representation></MPD>"
        );
        assert!(matches!(Descriptor::parse(xml.as_bytes()), Err(DescriptorError::Swarm { .. })), "{bad}");
    }
}

#[test]
fn the_older_forms_are_read() {
    let id = "ab".repeat(20);
    let first = format!(
        "<StreamInfo><Title>News</Title><Trackers><Tracker tier='2'>https://b/</Tracker>\
         <Tracker tier='1' url='https://a/'/></Trackers><SwarmID>{id}</SwarmID></StreamInfo>"
    );
    let read = Descriptor::parse(first.as_bytes()).unwrap();
    assert_eq!(read.trackers(), [["https://a/"], ["https://b/"]]);
    assert_eq!(read.title().as_deref(), Some("News"));
    assert_eq!(read.representations()[0].swarm.as_ref().unwrap().metadata.hash, HashAlg::Sha1);
    assert_eq!(Descriptor::parse(read.to_xml().as_bytes()).unwrap(), read);

    let root = "cd".repeat(32);
    let second = format!(
        "<MPD xmlns='urn:mpeg:dash:schema:mpd:2011'><Trackers><Tracker>https://t/</Tracker></Trackers>\
         <Period><AdaptationSet><Representation id='v'><SwarmID>1234</SwarmID><RootFP>{root}</RootFP></Representation>\
         </AdaptationSet></Period></MPD>"
    );
    let read = Descriptor::parse(second.as_bytes()).unwrap();
    assert_eq!(read.trackers(), [["https://t/"]]);
    let swarm = read.representations().remove(0).swarm.unwrap();
    assert_eq!((swarm.metadata.id.as_bytes(), swarm.metadata.hash), (&[0xcd; 32][..], HashAlg::Sha256));
    let xml = read.to_xml();
    assert!(!xml.contains("RootFP") && !xml.contains("<Trackers>"), "{xml}");
    assert!(Descriptor::parse(b"<StreamInfo><SwarmID>1111</SwarmID></StreamInfo>").is_err(), "no root hash");
    assert!(Descriptor::parse(b"<StreamInfo/>").is_err());
}

#[test]
fn bombs_and_nonsense_are_refused() {
    let refused = |xml: &str| Descriptor::parse(xml.as_bytes()).unwrap_err();
    let laughs = "<!DOCTYPE MPD [<!ENTITY a \"ha\"><!ENTITY b \"&a;&a;\">]><MPD>&b;</MPD>";
    assert_eq!(refused(laughs), DescriptorError::DocType { at: 0 });
    assert!(matches!(refused("<MPD>&b;</MPD>"), DescriptorError::Entity { at: 5 }));
    assert!(matches!(refused("<MPD a='&b;'/>"), DescriptorError::Entity { .. }));
    let deep = |depth| format!("<MPD>{}{}</MPD>", "<a>".repeat(depth), "</a>".repeat(depth));
    assert!(Descriptor::parse(deep(31).as_bytes()).is_ok());
    assert!(matches!(refused(&deep(32)), DescriptorError::TooMuch { .. }));
    assert!(matches!(refused(&deep(300_000)), DescriptorError::TooMuch { .. }));
    assert!(matches!(refused(&format!("<MPD>{}</MPD>", "<a/>".repeat(65_536))), DescriptorError::TooMuch { .. }));
    let attributes: String = (0..65).map(|n| format!(" a{n}=''")).collect();
    assert!(matches!(refused(&format!("<MPD{attributes}/>")), DescriptorError::TooMuch { .. }));
    assert_eq!(refused(&" ".repeat(Descriptor::MAX_LEN + 1)), DescriptorError::TooLong);
    let trackers = "<p:Tracker>u</p:Tracker>".repeat(33);
    let many = format!("<MPD xmlns:p='urn:ppsp:descriptor:1'><p:Trackers>{trackers}</p:Trackers></MPD>");
    assert!(matches!(refused(&many), DescriptorError::TooMuch { .. }));
    assert_eq!(Descriptor::parse(b"<MPD>\xff</MPD>").unwrap_err(), DescriptorError::Utf8 { at: 5 });
    assert_eq!(refused("<html/>"), DescriptorError::Root("html".to_owned()));
    for xml in [
        "",
        "<MPD>",
        "<MPD></mpd>",
        "<MPD/><MPD/>",
        "x<MPD/>",
        "<MPD/>x",
        "<p:MPD/>",
        "<MPD p:a=''/>",
        "<MPD a='' a=''/>",
        "<MPD",
    ] {
        assert!(matches!(refused(xml), DescriptorError::Xml { .. }), "{xml}: {}", refused(xml));
    }
}

/// A signature that anybody can check: the length and the sum.
fn sign(bytes: &[u8]) -> [u8; 64] {
    let mut signature = [0_u8; 64];
    bytes.iter().enumerate().for_each(|(at, byte)| signature[at % 64] = signature[at % 64].rotate_left(3) ^ byte);
    signature
}

fn read_signed(xml: &[u8]) -> Result<Descriptor, SignatureError> {
    Descriptor::parse_signed(xml, |kid, bytes, signature| match kid {
        "k1" if sign(bytes) == *signature => Ok(()),
        "k1" => Err(SignatureError::Wrong),
        _ => Err(SignatureError::UnknownKey),
    })
}

#[test]
fn whatever_is_changed_in_a_signed_descriptor_is_noticed() {
    let mut new = Descriptor::of_file("Film", "film.mp4", "video/mp4", &metadata(7));
    new.set_trackers(&[vec!["https://a/"]]);
    let xml = new.to_signed_xml("k1", sign);
    assert_eq!(read_signed(xml.as_bytes()).unwrap().to_xml(), new.to_xml());
    assert_eq!(Descriptor::parse(xml.as_bytes()).unwrap().to_signed_xml("k1", sign), xml, "signed again, the same");
    assert_eq!(read_signed(new.to_signed_xml("k2", sign).as_bytes()), Err(SignatureError::UnknownKey));
    assert_eq!(read_signed(new.to_xml().as_bytes()), Err(SignatureError::Missing));
    for at in 0..xml.len() {
        let mut changed = xml.clone().into_bytes();
        changed[at] ^= 1;
        assert!(read_signed(&changed).is_err(), "{at}: {}", String::from_utf8_lossy(&changed));
        let mut longer = xml.clone().into_bytes();
        longer.insert(at, b' ');
        assert!(read_signed(&longer).is_err(), "{at}");
    }
    // What follows the signature, and a second one.
    let signature = &xml[xml.find("<ppsp:Signature").unwrap()..xml.find("</MPD>").unwrap()];
    let twice = xml.replace("</MPD>", &format!("{signature}</MPD>"));
    assert_eq!(read_signed(twice.as_bytes()), Err(SignatureError::Missing));
    let more = xml.replace("</MPD>", "<more/></MPD>");
    assert_eq!(read_signed(more.as_bytes()), Err(SignatureError::Missing));
}

proptest! {
    #[test]
    fn text_of_any_kind_comes_back(title in "[^\u{0}-\u{8}\u{b}\u{c}\u{e}-\u{1f}\u{fffe}\u{ffff}]{0,40}", url in "[!-~]{1,40}") {
        let mut new = Descriptor::of_file(&title, &title, &title, &metadata(1));
        new.set_trackers(&[vec![url.clone()]]);
        let read = Descriptor::parse(new.to_xml().as_bytes()).unwrap();
        prop_assert_eq!(read.title().unwrap_or_default(), title.trim());
        let found = &read.representations()[0];
        prop_assert_eq!(found.mime.as_ref(), Some(&title));
        prop_assert_eq!(read.trackers(), vec![vec![url]]);
        prop_assert_eq!(found.name.clone().unwrap_or_default(), title);
    }

    #[test]
    fn nonsense_is_read_without_harm(xml in proptest::collection::vec(any::<u8>(), 0..200)) {
        crate::fuzzing::descriptor(&xml);
    }

    #[test]
    fn what_is_read_is_written_as_it_was(cut in 0..MPD.len(), with in "[<>&'\"/a: =]{0,3}") {
        let mut text: Vec<char> = MPD.chars().collect();
        let at = cut.min(text.len());
        text.splice(at..at, with.chars());
        let text: String = text.into_iter().collect();
        crate::fuzzing::descriptor(text.as_bytes());
    }
}
