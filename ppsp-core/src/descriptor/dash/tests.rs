use alloc::{format, string::ToString, vec, vec::Vec};

use proptest::prelude::*;

use super::*;
use crate::{Hash, SwarmMetadata, descriptor::Kind};

/// A manifest with this in its Period.
fn mpd(attributes: &str, period: &str) -> Descriptor {
    let xml = format!(
        "<MPD xmlns='urn:mpeg:dash:schema:mpd:2011' type='static' {attributes}><Period>{period}</Period></MPD>"
    );
    Descriptor::parse(xml.as_bytes()).unwrap()
}

/// A manifest with this in its only Representation, which has the id `v`.
fn one(attributes: &str, inside: &str) -> Descriptor {
    mpd(
        attributes,
        &format!("<AdaptationSet><Representation id='v' bandwidth='900'>{inside}</Representation></AdaptationSet>"),
    )
}

/// The references of the only Representation: names, and ranges behind `@`.
fn referred(descriptor: &Descriptor) -> Vec<String> {
    let [resources] = &descriptor.resources().unwrap()[..] else { panic!() };
    let shown = |one: &Reference| match &one.range {
        Some(range) => format!("{}@{}..{}", one.name, range.start, range.end),
        None => one.name.clone(),
    };
    resources.references.iter().map(shown).collect()
}

fn wrong(descriptor: &Descriptor) -> Wrong {
    match descriptor.resources() {
        Err(DashError::In { wrong, .. }) => wrong,
        other => panic!("{other:?}"),
    }
}

fn metadata(byte: u8, length: u64) -> SwarmMetadata {
    let root = Hash::from_bytes(&[byte; 32]).unwrap();
    SwarmMetadata { content_length: Some(length), ..SwarmMetadata::of_root(&root) }
}

const THREE_SECONDS: &str = "mediaPresentationDuration='PT3.0S'";

#[test]
fn how_long_it_is() {
    let millis = |attributes| mpd(attributes, "").duration().map(|duration| duration.as_millis());
    assert_eq!(millis(THREE_SECONDS), Some(3000));
    assert_eq!((millis(""), millis("mediaPresentationDuration='3'")), (None, None));
    assert_eq!(millis("mediaPresentationDuration='PT4294967295H'"), None, "more than there are nanoseconds");
}

#[test]
fn a_template_with_a_timeline() {
    let numbers = "<SegmentTemplate timescale='10' initialization='init-$RepresentationID$.m4s' \
                   media='$RepresentationID$/$Number%03d$-$Bandwidth$.m4s' startNumber='0'>\
                   <SegmentTimeline><S t='0' d='10' r='1'/><S d='7'/></SegmentTimeline></SegmentTemplate>";
    assert_eq!(referred(&one("", numbers)), ["init-v.m4s", "v/000-900.m4s", "v/001-900.m4s", "v/002-900.m4s"]);
    let times = "<SegmentTemplate timescale='10' media='$Time$.m4s'>\
                 <SegmentTimeline><S t='5' d='10'/><S d='7'/><S t='40' d='1'/></SegmentTimeline></SegmentTemplate>";
    assert_eq!(referred(&one("", times)), ["5.m4s", "15.m4s", "40.m4s"]);
}

#[test]
fn a_timeline_that_repeats_until_something_ends() {
    let template = |lines: &str, more: &str| {
        format!(
            "<SegmentTemplate timescale='10' media='$Time$' {more}><SegmentTimeline>{lines}</SegmentTimeline></SegmentTemplate>"
        )
    };
    // Until the Period ends after 30 ticks: the last is cut short.
    let end = one(THREE_SECONDS, &template("<S t='0' d='8' r='-1'/>", ""));
    assert_eq!(referred(&end), ["0", "8", "16", "24"]);
    // The Period begins at 100.
    let offset = one(THREE_SECONDS, &template("<S t='100' d='10' r='-1'/>", "presentationTimeOffset='100'"));
    assert_eq!(referred(&offset), ["100", "110", "120"]);
    // Until the next line.
    let next = one("", &template("<S t='0' d='10' r='-1'/><S t='20' d='5' n='7'/>", ""));
    assert_eq!(referred(&next), ["0", "10", "20"]);
    assert_eq!(wrong(&one("", &template("<S t='0' d='8' r='-1'/>", ""))), Wrong::NoDuration);
    assert_eq!(wrong(&one("", &template("<S t='0' r='2'/>", ""))), Wrong::Attribute("S@d"));
    assert_eq!(wrong(&one("", &template("<S t='0' d='0'/>", ""))), Wrong::Attribute("S@d"));
    assert_eq!(wrong(&one("", &template("<S d='1' r='-1'/><S d='1'/>", ""))), Wrong::Attribute("S@t"));
}

#[test]
fn a_template_with_a_duration() {
    let template =
        "<SegmentTemplate timescale='1000000' duration='1000000' initialization='i' media='$Number$' startNumber='5'/>";
    let [found] = &one(THREE_SECONDS, template).resources().unwrap()[..] else { panic!() };
    let names: Vec<_> = found.files().iter().map(|file| (file.name, file.certain)).collect();
    // Three by the duration, which may be rounded up or down.
    assert_eq!(names, [("i", true), ("5", true), ("6", true), ("7", false), ("8", false)]);
    let exact = template.replace("startNumber", "endNumber='6' startNumber");
    assert_eq!(referred(&one("", &exact)), ["i", "5", "6"]);
    assert_eq!(wrong(&one("", template)), Wrong::NoDuration);
    // A Period with its own, or that begins later.
    for period in ["<Period duration='PT2S'", "<Period start='PT8S'"] {
        let xml = one("mediaPresentationDuration='PT10S'", template).to_xml().replace("<Period", period);
        assert_eq!(referred(&Descriptor::parse(xml.as_bytes()).unwrap()), ["i", "5", "6", "7"], "{period}");
    }
    // Neither: one segment.
    assert_eq!(referred(&one("", "<SegmentTemplate media='a-$Number$-$Time$.vtt'/>")), ["a-1-0.vtt"]);
    // §5.3.9.4.4: a segment of its own for each index too.
    let index = "<SegmentTemplate media='$Number$.ts' index='$Number$.idx' bitstreamSwitching='b'/>";
    assert_eq!(referred(&one("", index)), ["b", "1.ts", "1.idx"]);
}

#[test]
fn a_list_of_files_and_of_ranges() {
    let files = "<SegmentList duration='1'><Initialization sourceURL='init.m4s'/><SegmentURL media='1.m4s'/>\
                 <SegmentURL media='2.m4s'/></SegmentList>";
    assert_eq!(referred(&one("", files)), ["init.m4s", "1.m4s", "2.m4s"]);
    let ranges = "<BaseURL>a.mp4</BaseURL><SegmentList duration='1'><Initialization range='0-832'/>\
                  <SegmentURL mediaRange='833-11896' indexRange='833-884'/><SegmentURL mediaRange='11897-21621'/></SegmentList>";
    let ranges = one("", ranges);
    assert_eq!(referred(&ranges), ["a.mp4@0..833", "a.mp4@833..11897", "a.mp4@11897..21622"]);
    assert_eq!(ranges.resources().unwrap()[0].files(), [File { name: "a.mp4", min_len: 21_622, certain: true }]);
    for bad in ["5-4", "5", "-5", "5-", "a-b", "0-18446744073709551615"] {
        let list = format!("<BaseURL>a</BaseURL><SegmentList><SegmentURL mediaRange='{bad}'/></SegmentList>");
        assert_eq!(wrong(&one("", &list)), Wrong::Attribute("a byte range"), "{bad}");
    }
    assert_eq!(wrong(&one("", "<SegmentList/>")), Wrong::NoFile);
    assert_eq!(wrong(&one("", "<SegmentTemplate media='a'><SegmentTimeline/></SegmentTemplate>")), Wrong::NoFile);
}

#[test]
fn single_files() {
    let indexed =
        "<BaseURL>v.webm</BaseURL><SegmentBase indexRange='500-599'><Initialization range='0-499'/></SegmentBase>";
    assert_eq!(referred(&one("", indexed)), ["v.webm@0..500", "v.webm"]);
    assert_eq!(one("", indexed).resources().unwrap()[0].files().len(), 1);
    assert_eq!(referred(&one("", "<BaseURL>sub.vtt</BaseURL>")), ["sub.vtt"]);
    let apart = "<BaseURL>v.mp4</BaseURL><SegmentBase><Initialization sourceURL='init.mp4'/></SegmentBase>";
    assert_eq!(referred(&one("", apart)), ["init.mp4", "v.mp4"]);
    assert_eq!(wrong(&one("", "")), Wrong::NoFile);
    assert_eq!(wrong(&one("", "<BaseURL>v/</BaseURL>")), Wrong::NoFile);
}

#[test]
fn what_is_said_above_holds_below() {
    let all = "<BaseURL>all/</BaseURL><SegmentTemplate timescale='10' initialization='i-$RepresentationID$'>\
               <SegmentTimeline><S d='10' r='1'/></SegmentTimeline></SegmentTemplate>\
               <AdaptationSet contentType='video' lang='de' mimeType='video/mp4' width='160' height='90'>\
               <BaseURL>set/</BaseURL><BaseURL>http://cdn/</BaseURL>\
               <SegmentTemplate media='$RepresentationID$-$Number$' startNumber='3'/>\
               <Representation id='a'><BaseURL>a/</BaseURL></Representation>\
               <Representation id='b' dependencyId='a' height='180'><SegmentTemplate startNumber='8'/></Representation>\
               <Representation id='c'><BaseURL>c.mp4</BaseURL><SegmentBase/></Representation></AdaptationSet>";
    let all = mpd("", all);
    let found = all.resources().unwrap();
    let names = |at: usize| found[at].references.iter().map(|one| one.name.as_str()).collect::<Vec<_>>();
    assert_eq!(names(0), ["all/set/a/i-a", "all/set/a/a-3", "all/set/a/a-4"]);
    assert_eq!(names(1), ["all/set/i-b", "all/set/b-8", "all/set/b-9"]);
    assert_eq!(names(2), ["all/set/c.mp4"]);
    let b = &all.representations()[1];
    assert_eq!((b.kind, b.language.as_deref(), b.width, b.height), (Kind::Video, Some("de"), Some(160), Some(180)));
    assert_eq!(b.dependencies, ["a"]);
}

#[test]
fn kinds() {
    for (set, kind) in [
        ("contentType='audio' mimeType='application/mp4'", Kind::Audio),
        ("mimeType='video/webm'", Kind::Video),
        ("mimeType='text/vtt'", Kind::Text),
        ("mimeType='application/mp4' codecs='stpp.ttml.im1t'", Kind::Text),
        ("mimeType='application/ttml+xml'", Kind::Text),
        ("mimeType='application/mp4'", Kind::Other),
        ("", Kind::Other),
    ] {
        let all = mpd("", &format!("<AdaptationSet {set}><Representation id='a'/></AdaptationSet>"));
        assert_eq!(all.representations()[0].kind, kind, "{set}");
    }
}

#[test]
fn what_cannot_be_a_set_of_files_is_refused() {
    let refused = |xml: &str| Descriptor::parse(xml.as_bytes()).unwrap().resources().unwrap_err();
    assert_eq!(refused("<MPD type='dynamic'/>"), DashError::Live);
    assert_eq!(refused("<MPD/>"), DashError::Empty);
    assert_eq!(refused("<MPD><Period/></MPD>"), DashError::Empty);
    assert_eq!(refused("<MPD><Period/><Period/></MPD>"), DashError::Periods(2));
    assert_eq!(
        refused("<MPD><Period xmlns:x='http://www.w3.org/1999/xlink' x:href='http://a'/></MPD>"),
        DashError::Remote
    );
    let set = |inside: &str| format!("<MPD><Period><AdaptationSet>{inside}</AdaptationSet></Period></MPD>");
    assert_eq!(refused(&set("<Representation/>")), DashError::NoId);
    let twice = set("<Representation id='a'><BaseURL>a</BaseURL></Representation>")
        .replace("</Period>", "<AdaptationSet><Representation id='a'/></AdaptationSet></Period>");
    assert_eq!(refused(&twice).to_string(), "two Representations have the id 'a'; give each its own");
    assert!(matches!(wrong(&one("", "<BaseURL>https://a/b.mp4</BaseURL>")), Wrong::Outside(_)));
    assert!(matches!(wrong(&one("", "<SegmentTemplate media='../$Number$'/>")), Wrong::Outside(_)));
    let error = one("", "<SegmentList><SegmentURL media='/etc/passwd'/></SegmentList>").resources().unwrap_err();
    assert_eq!(
        error.to_string(),
        "Representation 'v': '/etc/passwd' lies outside of the manifest's directory; name it by a path relative to the manifest"
    );
}

#[test]
fn numbers_without_end_are_refused_at_once() {
    let most = u64::MAX;
    for inside in [
        format!(
            "<SegmentTemplate media='$Time$'><SegmentTimeline><S d='1' r='{}'/></SegmentTimeline></SegmentTemplate>",
            i64::MAX
        ),
        "<SegmentTemplate media='$Number$'><SegmentTimeline><S d='1' r='-1'/></SegmentTimeline></SegmentTemplate>"
            .to_string(),
        "<SegmentTemplate media='$Number$' duration='1'/>".to_string(),
        format!("<SegmentTemplate media='$Number$' duration='1' timescale='{most}'/>"),
        format!("<SegmentTemplate media='$Number$' duration='1' startNumber='0' endNumber='{most}'/>"),
        format!(
            "<SegmentList>{}</SegmentList>",
            "<SegmentURL media='a'/>".repeat(65_520) + &"<SegmentURL media='a' index='b'/>".repeat(9)
        ),
    ] {
        assert_eq!(wrong(&one("mediaPresentationDuration='PT4294967295H'", &inside)), Wrong::TooMany, "{inside:.200}");
    }
    for inside in [
        format!(
            "<SegmentTemplate media='$Time$'><SegmentTimeline><S t='{most}' d='{most}'/></SegmentTimeline></SegmentTemplate>"
        ),
        format!("<SegmentTemplate media='$Number$' duration='{most}' startNumber='{most}'/>"),
        "<SegmentTemplate media='$Number$' duration='0'/>".to_string(),
        "<SegmentTemplate media='$Number$' duration='1' timescale='0'/>".to_string(),
        "<SegmentTemplate media='$Number$' duration='x'/>".to_string(),
        "<SegmentTemplate initialization='a'/>".to_string(),
    ] {
        assert!(matches!(wrong(&one(THREE_SECONDS, &inside)), Wrong::Attribute(_)), "{inside}");
    }
    // Many in all, though not in one.
    let each: String = (0..70).map(|n| format!("<Representation id='{n}'/>")).collect();
    let template =
        "<SegmentTemplate media='$Number$'><SegmentTimeline><S d='1' r='999'/></SegmentTimeline></SegmentTemplate>";
    let all = mpd("", &format!("<AdaptationSet>{template}{each}</AdaptationSet>"));
    assert!(matches!(all.resources(), Err(DashError::In { wrong: Wrong::TooMany, .. })));
}

/// A film with two qualities, a sound track and subtitles.
fn film() -> Descriptor {
    let video = "<SegmentTemplate timescale='10' initialization='$RepresentationID$/i.mp4' media='$RepresentationID$/$Number$.mp4'>\
                 <SegmentTimeline><S d='10' r='1'/></SegmentTimeline></SegmentTemplate>";
    mpd(
        "xmlns:xlink='http://www.w3.org/1999/xlink'",
        &format!(
            "<AdaptationSet mimeType='video/mp4'>{video}<Representation id='hi' bandwidth='800'/>\
             <Representation id='lo' bandwidth='400'><Label>x</Label></Representation></AdaptationSet>\
             <AdaptationSet mimeType='audio/mp4' lang='en'><Representation id='en'><BaseURL>a/en.mp4</BaseURL>\
             <SegmentBase indexRange='100-149'/></Representation></AdaptationSet>\
             <AdaptationSet mimeType='text/vtt'><Representation id='sub'><BaseURL>s%20u.vtt</BaseURL></Representation></AdaptationSet>"
        ),
    )
}

fn packaged() -> Descriptor {
    let mut film = film();
    for (at, (id, lengths)) in
        [("hi", vec![100, 2000, 3000]), ("lo", vec![90, 0, 1500]), ("en", vec![4000]), ("sub", vec![77])]
            .iter()
            .enumerate()
    {
        assert!(film.set_swarm(id, &metadata(at as u8, lengths.iter().sum()), None));
        film.set_parts(id, lengths).unwrap();
    }
    film
}

#[test]
fn parts_are_found_by_name_and_by_place() {
    let read = Descriptor::parse(packaged().to_xml().as_bytes()).unwrap();
    assert_eq!(read, packaged());
    let parts = read.parts("lo").unwrap();
    let ranges: Vec<_> = parts.list().iter().map(|part| (part.name.as_str(), part.range.clone())).collect();
    assert_eq!(ranges, [("lo/i.mp4", 0..90), ("lo/1.mp4", 90..90), ("lo/2.mp4", 90..1590)]);
    assert_eq!((parts.part("lo/2.mp4"), parts.part("lo/3.mp4"), parts.part("")), (Some(90..1590), None, None));
    assert_eq!(parts.at(0).map(|part| &*part.name), Some("lo/i.mp4"));
    assert_eq!(parts.at(90).map(|part| &*part.name), Some("lo/2.mp4"));
    assert_eq!((parts.at(1590), parts.len()), (None, 1590));
    assert_eq!(read.parts("sub").unwrap().part("s u.vtt"), Some(0..77));
    assert_eq!(read.parts("x"), Err(DashError::Unknown("x".to_string())));
    // ISO/IEC 23009-1: elements of others stand before those of a Representation's own.
    let xml = read.to_xml();
    assert!(xml.contains("length=\"5100\"/><ppsp:Parts>100 2000 3000</ppsp:Parts></Representation>"), "{xml}");
    assert!(xml.contains("<ppsp:Parts>4000</ppsp:Parts><BaseURL>"), "{xml}");
}

#[test]
fn parts_that_do_not_fit_are_refused() {
    let mut film = film();
    let parts = |film: &Descriptor, id| match film.parts(id) {
        Err(DashError::In { wrong, .. }) => wrong,
        other => panic!("{other:?}"),
    };
    assert_eq!(parts(&film, "hi"), Wrong::NoParts);
    // A single file needs none, with or without its length.
    assert_eq!(film.parts("sub").unwrap().part("s u.vtt"), Some(0..u64::MAX));
    film.set_swarm("sub", &metadata(1, 55), None);
    assert_eq!(film.parts("sub").unwrap().part("s u.vtt"), Some(0..55));

    film.set_swarm("hi", &metadata(1, 10), None);
    let before = film.clone();
    for lengths in [&[1, 9][..], &[1, 2, 3, 4], &[1, 2, 3], &[u64::MAX, 1, 1], &[]] {
        assert!(
            matches!(film.set_parts("hi", lengths), Err(DashError::In { wrong: Wrong::Parts(_), .. })),
            "{lengths:?}"
        );
    }
    assert_eq!(film, before);
    let ranges = "<BaseURL>a.mp4</BaseURL><SegmentList><SegmentURL mediaRange='0-99'/></SegmentList>";
    let error = one("", ranges).set_parts("v", &[99]).unwrap_err();
    assert_eq!(
        error.to_string(),
        "Representation 'v': 'a.mp4' has 99 bytes, and the manifest refers to 100; make the manifest anew"
    );
    film.set_parts("hi", &[1, 2, 7]).unwrap();
    for bad in ["1 2 x", "1 2 -7", "1 2 99999999999999999999"] {
        let xml = film.to_xml().replace("1 2 7", bad);
        assert!(matches!(parts(&Descriptor::parse(xml.as_bytes()).unwrap(), "hi"), Wrong::Parts(_)), "{bad}");
    }
    // Where durations tell the number, the last may be missing, and one more may be there.
    let counted = "<SegmentTemplate duration='1' media='$Number$'/>";
    for (lengths, fits) in [(1, false), (2, true), (3, true), (4, true), (5, false)] {
        assert_eq!(one(THREE_SECONDS, counted).set_parts("v", &vec![1; lengths]).is_ok(), fits, "{lengths}");
    }
}

#[test]
fn a_film_of_three_hours_in_eight_forms_fits() {
    let each: String = (0..8).map(|n| format!("<Representation id='{n}' bandwidth='4000000'/>")).collect();
    let timeline = format!("<SegmentTimeline>{}</SegmentTimeline>", "<S d='88064'/>".repeat(5400));
    let template = format!(
        "<SegmentTemplate initialization='i-$RepresentationID$' media='$RepresentationID$-$Number$'>{timeline}</SegmentTemplate>"
    );
    let mut film = mpd("", &format!("<AdaptationSet>{template}{each}</AdaptationSet>"));
    for n in 0..8 {
        film.set_parts(&n.to_string(), &vec![1_048_576; 5401]).unwrap();
    }
    let xml = film.to_xml();
    assert!(xml.len() < 512 << 10, "{} bytes", xml.len());
    let read = Descriptor::parse(xml.as_bytes()).unwrap();
    assert_eq!(read.parts("7").unwrap().part("7-5400"), Some(5400 << 20..5401 << 20));
    assert_eq!(read.resources().unwrap().len(), 8);
}

#[test]
fn players_get_everything_from_one_place() {
    let mut film = packaged();
    film.set_trackers(&[vec!["https://tracker/"]]);
    film.set_origin("hi", Some("https://cdn.example/film/")).unwrap();
    let elsewhere = "<BaseURL>film/</BaseURL><Location>http://l/</Location><UTCTiming schemeIdUri='u' value='http://u/'/>\
                     <ContentSteering>http://c/</ContentSteering><Metrics><Reporting/></Metrics></MPD>";
    let callback = "<EventStream schemeIdUri='urn:mpeg:dash:event:callback:2015'/><EventStream schemeIdUri='urn:scte'/>\
                    <ContentProtection schemeIdUri='urn:c'/></Period>";
    let signed = film.to_signed_xml("k", |_| [1; 64]);
    let signed = signed.replace("</Period>", callback).replace("</MPD>", elsewhere);
    let film = Descriptor::parse(signed.as_bytes()).unwrap();
    let playable = film
        .to_playable(|one| {
            let swarm = one.swarm.as_ref()?;
            (one.id != "sub").then(|| format!("http://127.0.0.1:1/{}/", swarm.metadata.id))
        })
        .unwrap();
    for gone in ["<ppsp:", "Location", "UTCTiming", "Steering", "Metrics", "callback", "text/vtt", ">film/<"] {
        assert!(!playable.contains(gone), "{gone} is in {playable}");
    }
    for kept in [
        "<Representation id=\"hi\" bandwidth=\"800\"><BaseURL>http://127.0.0.1:1/0000",
        "<Label>x</Label><BaseURL>http://127.0.0.1:1/0101",
        "/film/</BaseURL></Representation></AdaptationSet>",
        "/film/a/en.mp4</BaseURL><SegmentBase indexRange=\"100-149\"/>",
        "media=\"$RepresentationID$/$Number$.mp4\"",
        "urn:scte",
        "ContentProtection",
    ] {
        assert!(playable.contains(kept), "{kept} is not in {playable}");
    }
    // What stands there now is another's, which is not shared again by mistake.
    let again = Descriptor::parse(playable.as_bytes()).unwrap();
    assert!(matches!(again.resources(), Err(DashError::In { wrong: Wrong::Outside(_), .. })));
    assert_eq!(film.to_playable(|_| None), Err(DashError::Empty));
    let absolute = one("", "<BaseURL>http://a/b.mp4</BaseURL>");
    assert!(absolute.to_playable(|_| Some("http://g/".to_string())).is_err());
}

#[test]
fn origins_come_back_and_others_are_none() {
    let mut film = film();
    film.set_origin("hi", Some("https://cdn.example:8443/a%20b/")).unwrap();
    let read = Descriptor::parse(film.to_xml().as_bytes()).unwrap();
    assert_eq!(read.representations()[0].origin.as_deref(), Some("https://cdn.example:8443/a%20b/"));
    assert_eq!(read.representations()[1].origin, None);
    for bad in [
        "ftp://a/",
        "https:///",
        "https://u:p@a/",
        "https://a",
        "https://a/b",
        "https://a/?x/",
        "/a/",
        "https://a/ /",
        "",
    ] {
        assert!(matches!(film.set_origin("hi", Some(bad)), Err(DashError::Origin(_))), "{bad}");
    }
    let xml = film.to_xml().replace("https://cdn", "file://cdn");
    assert_eq!(Descriptor::parse(xml.as_bytes()).unwrap().representations()[0].origin, None);
    film.set_origin("hi", None).unwrap();
    assert!(!film.to_xml().contains("Origin"));
    assert!(matches!(film.set_origin("x", None), Err(DashError::Unknown(_))));
}

#[test]
fn layers_come_after_what_they_depend_on() {
    let layers = |of: &str, id: &str| {
        let each: String = of
            .split_whitespace()
            .map(|one| {
                let (id, on) = one.split_once(':').unwrap();
                format!("<Representation id='{id}' dependencyId='{}'/>", on.replace(',', " "))
            })
            .collect();
        let ids =
            |layers: Vec<crate::descriptor::Representation>| layers.into_iter().map(|one| one.id).collect::<Vec<_>>();
        mpd("", &format!("<AdaptationSet>{each}</AdaptationSet>")).layers(id).map(ids)
    };
    let film = "top:mid,base mid:base base: other:";
    assert_eq!(layers(film, "top").unwrap(), ["base", "mid", "top"]);
    assert_eq!(layers(film, "base").unwrap(), ["base"]);
    // Twice by different ways, and by one.
    assert_eq!(layers("d:b,c,b c:a b:a a:", "d").unwrap(), ["a", "b", "c", "d"]);
    assert_eq!(layers("a:b b:c c:a", "a"), Err(DashError::Cycle("a".to_string())));
    assert_eq!(layers("a:a", "a"), Err(DashError::Cycle("a".to_string())));
    assert_eq!(layers("a:x", "a"), Err(DashError::Unknown("x".to_string())));
    let chain: String = (0..1023).map(|n| format!("{n}:{} ", n + 1)).collect::<String>() + "1023:";
    assert_eq!(layers(&chain, "0").unwrap().len(), 1024);
}

/// Layers of `v`, the base with a third of the bytes and half of the pictures.
fn two_layers() -> [Layer; 2] {
    [("base", 100, 12), ("more", 300, 24)].map(|(name, bytes, pictures)| Layer {
        id: format!("v-{name}"),
        bytes,
        pictures,
        initialization: format!("layers/{name}.mp4"),
        media: format!("layers/{name}-$Number$.m4s"),
    })
}

/// The names that each Representation refers to.
fn names(descriptor: &Descriptor) -> Vec<(String, String)> {
    let joined = |one: Resources| {
        let names: Vec<_> = one.references.iter().map(|reference| reference.name.as_str()).collect();
        (one.representation.clone(), names.join(" "))
    };
    descriptor.resources().unwrap().into_iter().map(joined).collect()
}

#[test]
fn a_representation_becomes_layers() {
    let timeline = "<SegmentTimeline><S t='5' d='10' r='1'/></SegmentTimeline>";
    let template = format!(
        "<SegmentTemplate timescale='10' initialization='i' media='$Time$' startNumber='4'>{timeline}</SegmentTemplate>"
    );
    let numbers = [
        ("v-base", "layers/base.mp4 layers/base-4.m4s layers/base-5.m4s"),
        ("v-more", "layers/more.mp4 layers/more-4.m4s layers/more-5.m4s"),
    ];
    let list = "<SegmentList duration='1' timescale='1'><Initialization sourceURL='f' range='0-9'/>\
                <SegmentURL media='f' mediaRange='10-19'/><SegmentURL media='f' mediaRange='20-29'/></SegmentList>";
    let of_list = numbers.map(|(id, names)| (id, names.replace("-5", "-2").replace("-4", "-1")));
    // By itself, from the AdaptationSet, and as ranges of a file; with a BaseURL of its own, which is that of other files.
    for (inside, upper, expected) in [
        (&*template, "", numbers.map(|(id, names)| (id, names.to_string()))),
        ("", &*template, numbers.map(|(id, names)| (id, names.to_string()))),
        (list, "", of_list.clone()),
        ("", list, of_list),
    ] {
        let set = format!(
            "<AdaptationSet frameRate='30000/1001'>{upper}<Representation id='v' bandwidth='900'><BaseURL>x/</BaseURL>{inside}\
             </Representation><Representation id='w'><SegmentTemplate media='$Number$' initialization='w'/></Representation>\
             </AdaptationSet>"
        );
        let mut new = mpd(THREE_SECONDS, &set);
        let before = names(&new).pop().unwrap();
        new.set_layers("v", &two_layers(), None).unwrap();
        let expected = expected.map(|(id, names)| (id.to_string(), names));
        assert_eq!(names(&new), [&expected[..], &[before]].concat(), "{inside} {upper}");
        let [base, more, other] = &new.representations()[..] else { panic!() };
        assert_eq!((base.bandwidth, more.bandwidth, other.bandwidth), (Some(300), Some(900), None));
        assert_eq!((base.dependencies.len(), &more.dependencies[..]), (0, &["v-base".to_string()][..]));
        let xml = new.to_xml();
        assert!(xml.contains("frameRate=\"15000/1001\"") && xml.matches("\"30000/1001\"").count() == 2, "{xml}");
        assert_eq!(Descriptor::parse(xml.as_bytes()).unwrap(), new);
        // Who puts them together shows one that needs no other.
        new.set_independent("v-more");
        assert!(new.representations()[1].dependencies.is_empty() && !new.to_xml().contains("dependencyId"));
    }
}

#[test]
fn an_indexed_file_becomes_layers_in_time() {
    let mut new = one(
        THREE_SECONDS,
        "<BaseURL>v.mp4</BaseURL><SegmentBase indexRange='9-20' timescale='10' presentationTimeOffset='5'>\
         <Initialization range='0-8'/></SegmentBase>",
    );
    let before = new.clone();
    assert!(matches!(new.set_layers("v", &two_layers(), None), Err(DashError::In { wrong: Wrong::NoFile, .. })));
    assert_eq!(new, before);
    let index = Timeline { timescale: 90, start: 45, durations: vec![90, 90, 89] };
    new.set_layers("v", &two_layers(), Some(&index)).unwrap();
    assert_eq!(names(&new)[0].1, "layers/base.mp4 layers/base-1.m4s layers/base-2.m4s layers/base-3.m4s");
    let xml = new.to_xml();
    for said in ["presentationTimeOffset=\"45\"", "<S t=\"45\" d=\"90\" r=\"1\"/><S d=\"89\"/>"] {
        assert!(xml.contains(said), "{said}: {xml}");
    }
    assert!(!xml.contains("SegmentBase") && !xml.contains("BaseURL"), "{xml}");
}

#[test]
fn what_cannot_become_layers_stays() {
    let template = |more: &str| format!("<SegmentTemplate media='$Number$' initialization='i' {more}/>");
    for (more, wrong) in [("index='x'", "index"), ("bitstreamSwitching='b'", "bitstreamSwitching")] {
        let mut new = one(THREE_SECONDS, &template(more));
        let (before, refused) = (new.clone(), new.set_layers("v", &two_layers(), None));
        assert_eq!(refused, Err(DashError::In { representation: "v".to_string(), wrong: Wrong::NotSplit(wrong) }));
        assert_eq!(new, before);
    }
    let pair = |on_v: &str, id: &str, on: &str| {
        let v = format!("<Representation id='v' {on_v}>{}</Representation>", template(""));
        mpd(
            THREE_SECONDS,
            &format!(
                "<AdaptationSet>{v}<Representation id='{id}' {on}>{}</Representation></AdaptationSet>",
                template("")
            ),
        )
    };
    let refused = |mut set: Descriptor| set.set_layers("v", &two_layers(), None);
    assert!(matches!(refused(pair("dependencyId='w'", "w", "")), Err(DashError::In { wrong: Wrong::NotSplit(_), .. })));
    assert_eq!(refused(pair("", "w", "dependencyId='v'")), Err(DashError::Unknown("v".to_string())));
    assert_eq!(refused(pair("", "v-base", "")), Err(DashError::Twice("v-base".to_string())));
    assert_eq!(
        refused(mpd("", "<AdaptationSet><Representation id='w'/></AdaptationSet>")),
        Err(DashError::Unknown("v".to_string()))
    );
}

#[test]
fn titles_are_put_in() {
    for xml in ["<MPD/>", "<MPD><ProgramInformation>\n</ProgramInformation></MPD>", "<m:MPD xmlns:m='urn:m'/>"] {
        let mut new = Descriptor::parse(xml.as_bytes()).unwrap();
        new.set_title("A");
        new.set_title("B & C");
        assert_eq!(Descriptor::parse(new.to_xml().as_bytes()).unwrap().title().as_deref(), Some("B & C"));
        assert_eq!(new.to_xml().matches("Title").count(), 2);
    }
}

proptest! {
    /// What players ask for by the playable manifest is what the parts are named.
    #[test]
    fn urls_below_the_base_are_names_of_parts(
        bases in proptest::collection::vec("[a-c.%/]{0,6}|[a-c]{1,3}/", 4), media in "[a-c./]{0,8}\\$Number\\$",
    ) {
        let base = |at: usize| format!("<BaseURL>{}</BaseURL>", bases[at]);
        let xml = format!(
            "<MPD>{}<Period>{}<AdaptationSet>{}<Representation id='v'>{}<SegmentTemplate media='{media}'/></Representation>\
             </AdaptationSet></Period></MPD>",
            base(0), base(1), base(2), base(3),
        );
        let read = Descriptor::parse(xml.as_bytes()).unwrap();
        let Ok(resources) = read.resources() else { return Ok(()) };
        let playable = Descriptor::parse(read.to_playable(|_| Some("http://g/s".to_string())).unwrap().as_bytes()).unwrap();
        let mut url = None;
        playable.root.walk(&mut |element| if element.local() == "BaseURL" { url = Some(element.content()) });
        let url = url.unwrap();
        let asked = naive(&url["http://g/s/".len()..], &media.replace("$Number$", "1"));
        let decoded = percent_encoding::percent_decode_str(&asked).decode_utf8().unwrap().into_owned();
        prop_assert_eq!(&decoded, &resources[0].references[0].name);
        prop_assert!(!decoded.split('/').any(|part| matches!(part, "" | "." | "..")));
    }

    #[test]
    fn any_lengths_are_ranges_side_by_side(lengths in proptest::collection::vec(0_u64..1000, 1..40)) {
        let template = format!(
            "<SegmentTemplate media='$Number$'><SegmentTimeline><S d='1' r='{}'/></SegmentTimeline></SegmentTemplate>", lengths.len() - 1
        );
        let mut new = one("", &template);
        new.set_parts("v", &lengths).unwrap();
        let parts = new.parts("v").unwrap();
        let mut start = 0;
        for (at, len) in lengths.iter().enumerate() {
            prop_assert_eq!(parts.part(&(at + 1).to_string()), Some(start..start + len));
            for byte in start..start + len {
                prop_assert_eq!(&parts.at(byte).unwrap().name, &(at + 1).to_string());
            }
            start += len;
        }
        prop_assert_eq!(parts.len(), start);
    }
}

/// RFC 3986 §5.2.4 in the plain way: what a client does with a reference below a directory.
fn naive(base: &str, reference: &str) -> String {
    let mut path: Vec<&str> = base.split('/').collect();
    path.pop();
    path.extend(reference.split('/'));
    while let Some(at) = path.iter().position(|part| *part == "." || *part == "..") {
        let up = path.remove(at) == "..";
        if up {
            path.remove(at - 1);
        }
    }
    path.join("/")
}
