//! The liberal reader: everything that the RFC's own examples do against its schema is accepted.

use alloc::{borrow::Cow, vec::Vec};
use core::net::IpAddr;

use super::json::Reader;
use super::*;

/// A body that is no acceptable message, with what an answer needs.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{fault}")]
pub struct Unreadable<'a> {
    /// What is wrong.
    pub fault: Fault,
    /// The transaction, if it could be read.
    pub transaction_id: Option<Cow<'a, str>>,
}

impl Unreadable<'_> {
    /// RFC 7846 §4.3: 02 for another version, however strange the rest is; else 01.
    pub const fn code(&self) -> Code {
        match self.fault {
            Fault::Version(_) => Code::UNSUPPORTED_VERSION,
            _ => Code::BAD_REQUEST,
        }
    }
}

impl<'a> Request<'a> {
    /// Reads the body of a request of at most [`MAX_REQUEST`] bytes.
    pub fn read(body: &'a [u8]) -> Result<Self, Unreadable<'a>> {
        read(body, MAX_REQUEST, request)
    }
}

impl<'a> Response<'a> {
    /// Reads the body of a response of at most [`MAX_RESPONSE`] bytes.
    pub fn read(body: &'a [u8]) -> Result<Self, Unreadable<'a>> {
        read(body, MAX_RESPONSE, response)
    }
}

/// Reads the element in the root, and where that fails at least version and transaction.
fn read<'a, T>(
    body: &'a [u8],
    max: usize,
    element: impl FnOnce(&mut Reader<'a>) -> Result<T, Fault>,
) -> Result<T, Unreadable<'a>> {
    let unreadable = |fault| Unreadable { fault, transaction_id: None };
    if body.len() > max {
        return Err(unreadable(Fault::TooLong));
    }
    let text = core::str::from_utf8(body).map_err(|_| unreadable(Fault::Syntax))?;
    root(text, element).map_err(|fault| {
        let (mut version, mut transaction_id) = (None, None);
        // What came before a fault stays read.
        let _ = root(text, |reader| {
            reader.object(|reader, name| {
                let value = reader.skip()?;
                match &*name {
                    "version" => version = Reader::new(value).integer("version").ok(),
                    "transaction_id" => transaction_id = Reader::new(value).text("transaction_id", MAX_ID).ok(),
                    _ => {}
                }
                Ok(())
            })
        });
        let fault = version.filter(|&version| version != VERSION).map_or(fault, Fault::Version);
        Unreadable { fault, transaction_id }
    })
}

/// RFC 7846 §3.4.
fn root<'a, T>(text: &'a str, element: impl FnOnce(&mut Reader<'a>) -> Result<T, Fault>) -> Result<T, Fault> {
    let mut reader = Reader::new(text);
    let (mut element, mut found) = (Some(element), None);
    reader.object(|reader, name| {
        if name != "PPSPTrackerProtocol" {
            return reader.skip().map(|_| ());
        }
        found = Some(element.take().ok_or(Fault::Twice("PPSPTrackerProtocol"))?(reader)?);
        Ok(())
    })?;
    reader.end()?;
    found.ok_or(Fault::Missing("PPSPTrackerProtocol"))
}

fn request<'a>(reader: &mut Reader<'a>) -> Result<Request<'a>, Fault> {
    let (mut version, mut kind, mut transaction_id, mut peer_id) = (None, None, None, None);
    let (mut connect, mut find, mut stats) = (None, None, None);
    // The RFC's example of a FIND has these beside the others.
    let (mut swarm_id, mut peer_num) = (None, None);
    let mut unknown = Unknown::default();
    reader.object(|reader, name| match &*name {
        "version" => once("version", &mut version, reader.integer("version")?),
        "request_type" => once("request_type", &mut kind, reader.text("request_type", MAX_TEXT)?),
        "transaction_id" => once("transaction_id", &mut transaction_id, reader.text("transaction_id", MAX_ID)?),
        "peer_id" => once("peer_id", &mut peer_id, reader.text("peer_id", MAX_ID)?),
        "connect" => once("connect", &mut connect, read_connect(reader)?),
        "find" => once("find", &mut find, read_find(reader)?),
        "stat_report" => once("stat_report", &mut stats, read_stat_report(reader)?),
        "swarm_id" => once("swarm_id", &mut swarm_id, reader.text("swarm_id", MAX_SWARM_ID)?),
        "peer_num" => once("peer_num", &mut peer_num, read_peer_num(reader)?),
        _ => unknown.keep(reader, name),
    })?;
    check_version(version)?;
    // RFC 7846 §3.3.3, Table 5.
    let data = match &*kind.ok_or(Fault::Missing("request_type"))? {
        "CONNECT" => RequestData::Connect(connect.ok_or(Fault::Missing("connect"))?),
        "FIND" => RequestData::Find(match (find, swarm_id) {
            (Some(find), _) => find,
            (None, swarm_id) => Find { swarm_id: swarm_id.ok_or(Fault::Missing("find"))?, peer_num },
        }),
        // RFC 7846 §4.1.3: without a group it keeps the registration alive.
        "STAT_REPORT" => RequestData::StatReport(stats.unwrap_or_default()),
        _ => return Err(Fault::Value("request_type")),
    };
    let transaction_id = transaction_id.ok_or(Fault::Missing("transaction_id"))?;
    Ok(Request { transaction_id, peer_id: peer_id.ok_or(Fault::Missing("peer_id"))?, data, unknown })
}

fn read_connect<'a>(reader: &mut Reader<'a>) -> Result<Connect<'a>, Fault> {
    let mut connect = Connect::default();
    reader.object(|reader, name| match &*name {
        "peer_num" => once("peer_num", &mut connect.peer_num, read_peer_num(reader)?),
        "peer_addr" => read_addrs(reader, &mut connect.addrs),
        "swarm_action" => reader.list("swarm_action", MAX_SWARMS, |reader| {
            let (mut swarm_id, mut action, mut mode) = (None, None, None);
            reader.object(|reader, name| match &*name {
                "swarm_id" => once("swarm_id", &mut swarm_id, reader.text("swarm_id", MAX_SWARM_ID)?),
                "action" => once("action", &mut action, word(reader, "action")?),
                "peer_mode" => once("peer_mode", &mut mode, word(reader, "peer_mode")?),
                _ => reader.skip().map(|_| ()),
            })?;
            push(
                "swarm_action",
                MAX_SWARMS,
                &mut connect.actions,
                SwarmAction {
                    swarm_id: swarm_id.ok_or(Fault::Missing("swarm_id"))?,
                    action: action.ok_or(Fault::Missing("action"))?,
                    peer_mode: mode.ok_or(Fault::Missing("peer_mode"))?,
                },
            )
        }),
        _ => reader.skip().map(|_| ()),
    })?;
    if connect.actions.is_empty() { Err(Fault::Missing("swarm_action")) } else { Ok(connect) }
}

fn read_find<'a>(reader: &mut Reader<'a>) -> Result<Find<'a>, Fault> {
    let (mut swarm_id, mut peer_num) = (None, None);
    reader.object(|reader, name| match &*name {
        "swarm_id" => once("swarm_id", &mut swarm_id, reader.text("swarm_id", MAX_SWARM_ID)?),
        "peer_num" => once("peer_num", &mut peer_num, read_peer_num(reader)?),
        _ => reader.skip().map(|_| ()),
    })?;
    Ok(Find { swarm_id: swarm_id.ok_or(Fault::Missing("swarm_id"))?, peer_num })
}

fn read_stat_report<'a>(reader: &mut Reader<'a>) -> Result<StatReport<'a>, Fault> {
    let mut stats = Vec::new();
    // Properties of other types are extensions (RFC 7846 §7.1): their elements need not have our members.
    let mut ours = true;
    let mut fault = None;
    reader.object(|reader, name| match &*name {
        "type" => reader.text("type", MAX_TEXT).map(|kind| ours = kind == "STREAM_STATS"),
        "stat" | "Stat" => reader.list("stat", MAX_SWARMS, |reader| {
            match read_stat(Reader::new(reader.skip()?)) {
                Ok(stat) => push("stat", MAX_SWARMS, &mut stats, stat)?,
                Err(found) => fault = Some(found),
            }
            Ok(())
        }),
        _ => reader.skip().map(|_| ()),
    })?;
    match fault {
        _ if !ours => Ok(StatReport::default()),
        Some(fault) => Err(fault),
        None => Ok(StatReport { stats }),
    }
}

fn read_stat(mut reader: Reader<'_>) -> Result<Stat<'_>, Fault> {
    let mut stat = Stat::default();
    reader.object(|reader, name| {
        match &*name {
            "swarm_id" => stat.swarm_id = reader.text("swarm_id", MAX_SWARM_ID)?,
            "uploaded_bytes" => stat.uploaded_bytes = reader.integer("uploaded_bytes")?,
            "downloaded_bytes" => stat.downloaded_bytes = reader.integer("downloaded_bytes")?,
            "available_bandwidth" => stat.available_bandwidth = reader.integer("available_bandwidth")?,
            "concurrent_links" => stat.concurrent_links = reader.integer("concurrent_links")?,
            _ => stat.unknown.keep(reader, name)?,
        }
        Ok(())
    })?;
    if stat.swarm_id.is_empty() { Err(Fault::Missing("swarm_id")) } else { Ok(stat) }
}

fn read_peer_num<'a>(reader: &mut Reader<'a>) -> Result<PeerNum<'a>, Fault> {
    let mut scope = PeerNum::default();
    reader.object(|reader, name| {
        match &*name {
            "peer_count" => scope.peer_count = Some(reader.integer("peer_count")?),
            "ability_nat" => scope.ability_nat = Some(word(reader, "ability_nat")?),
            "concurrent_links" => scope.concurrent_links = Some(reader.integer("concurrent_links")?),
            "online_time" => scope.online_time = Some(reader.integer("online_time")?),
            "upload_bandwidth" => scope.upload_bandwidth = Some(reader.integer("upload_bandwidth")?),
            _ => reader.skip().map(|_| ())?,
        }
        Ok(())
    })?;
    Ok(scope)
}

fn read_addrs<'a>(reader: &mut Reader<'a>, addrs: &mut Vec<PeerAddr<'a>>) -> Result<(), Fault> {
    reader.list("peer_addr", MAX_ADDRS, |reader| match read_addr(reader)? {
        Some(addr) => push("peer_addr", MAX_ADDRS, addrs, addr),
        None => Ok(()),
    })
}

/// Reads an address; none if it is of a family that is neither IPv4 nor IPv6.
fn read_addr<'a>(reader: &mut Reader<'a>) -> Result<Option<PeerAddr<'a>>, Fault> {
    let (mut ip, mut foreign, mut port, mut priority) = (None, false, None, 0);
    let (mut kind, mut connection, mut asn, mut peer_protocol) = (None, None, None, None);
    reader.object(|reader, name| {
        match &*name {
            "ip_address" => reader.object(|reader, name| {
                match &*name {
                    "address_type" => {
                        let family = reader.text("address_type", MAX_TEXT)?;
                        foreign = !["ipv4", "ipv6"].iter().any(|ours| family.eq_ignore_ascii_case(ours));
                    }
                    "address" => ip = Some(reader.text("address", MAX_TEXT)?),
                    _ => reader.skip().map(|_| ())?,
                }
                Ok(())
            })?,
            "port" => port = Some(u16::try_from(reader.integer("port")?).map_err(|_| Fault::Value("port"))?),
            "priority" => priority = u32::try_from(reader.integer("priority")?).unwrap_or(u32::MAX),
            "type" => kind = Some(word(reader, "type")?),
            "connection" => connection = Some(word(reader, "connection")?),
            "asn" => asn = Some(reader.text("asn", MAX_TEXT)?),
            "peer_protocol" => peer_protocol = Some(reader.text("peer_protocol", MAX_TEXT)?),
            _ => reader.skip().map(|_| ())?,
        }
        Ok(())
    })?;
    if foreign {
        return Ok(None);
    }
    let ip: IpAddr = ip.ok_or(Fault::Missing("ip_address"))?.parse().map_err(|_| Fault::Value("address"))?;
    let port = port.ok_or(Fault::Missing("port"))?;
    Ok(Some(PeerAddr { ip, port, priority, kind, connection, asn, peer_protocol }))
}

fn response<'a>(reader: &mut Reader<'a>) -> Result<Response<'a>, Fault> {
    let (mut version, mut kind, mut code, mut transaction_id) = (None, None, None, None);
    let mut found = Response::empty(Code::OK, Cow::Borrowed(""));
    let mut addrs = Vec::new();
    reader.object(|reader, name| match &*name {
        "version" => once("version", &mut version, reader.integer("version")?),
        "response_type" => once("response_type", &mut kind, reader.integer("response_type")?),
        "error_code" => once("error_code", &mut code, reader.integer("error_code")?),
        // Empty where the tracker could not read ours.
        "transaction_id" => {
            let raw = reader.skip()?;
            let text = if raw == "\"\"" { "".into() } else { Reader::new(raw).text("transaction_id", MAX_ID)? };
            once("transaction_id", &mut transaction_id, text)
        }
        "peer_id" => once("peer_id", &mut found.peer_id, reader.text("peer_id", MAX_ID)?),
        "peer_addr" => read_addrs(reader, &mut addrs),
        "swarm_result" => reader.list("swarm_result", MAX_SWARMS, |reader| {
            let result = read_result(reader)?;
            push("swarm_result", MAX_SWARMS, &mut found.results, result)
        }),
        _ => found.unknown.keep(reader, name),
    })?;
    check_version(version)?;
    found.transaction_id = transaction_id.ok_or(Fault::Missing("transaction_id"))?;
    found.peer_addr = addrs.into_iter().next();
    let code = u8::try_from(code.unwrap_or(0)).map_err(|_| Fault::Value("error_code"))?;
    found.code = match (kind.ok_or(Fault::Missing("response_type"))?, code) {
        (0, code) => Code(code),
        // FAILED without a reason.
        (_, 0) => Code::INTERNAL,
        (_, code) => Code(code),
    };
    Ok(found)
}

fn read_result<'a>(reader: &mut Reader<'a>) -> Result<SwarmResult<'a>, Fault> {
    let mut result = SwarmResult::default();
    reader.object(|reader, name| {
        match &*name {
            "swarm_id" => result.swarm_id = reader.text("swarm_id", MAX_SWARM_ID)?,
            "result" => result.failed = reader.integer("result")? != 0,
            "peer_group" => {
                let peers = result.peers.get_or_insert_default();
                reader.object(|reader, name| match &*name {
                    "peer_info" => reader.list("peer_info", MAX_PEERS * MAX_ADDRS, |reader| read_peer(reader, peers)),
                    _ => reader.skip().map(|_| ()),
                })?;
            }
            _ => reader.skip().map(|_| ())?,
        }
        Ok(())
    })?;
    if result.swarm_id.is_empty() { Err(Fault::Missing("swarm_id")) } else { Ok(result) }
}

fn read_peer<'a>(reader: &mut Reader<'a>, peers: &mut Vec<PeerInfo<'a>>) -> Result<(), Fault> {
    let (mut peer_id, mut addrs) = (None, Vec::new());
    reader.object(|reader, name| match &*name {
        "peer_id" => once("peer_id", &mut peer_id, reader.text("peer_id", MAX_ID)?),
        "peer_addr" => read_addrs(reader, &mut addrs),
        _ => reader.skip().map(|_| ()),
    })?;
    let peer_id = peer_id.ok_or(Fault::Missing("peer_id"))?;
    match peers.last_mut().filter(|last| last.peer_id == peer_id) {
        Some(last) => {
            last.addrs.append(&mut addrs);
            if last.addrs.len() > MAX_ADDRS { Err(Fault::TooMany("peer_addr")) } else { Ok(()) }
        }
        None => push("peer_info", MAX_PEERS, peers, PeerInfo { peer_id, addrs }),
    }
}

impl<'a> Unknown<'a> {
    /// RFC 7846 §4.4: ignored, and kept for whoever writes the message again.
    fn keep(&mut self, reader: &mut Reader<'a>, name: Cow<'a, str>) -> Result<(), Fault> {
        let value = reader.skip()?;
        if self.0.len() < MAX_UNKNOWN && name.len().max(value.len()) <= MAX_UNKNOWN_LEN {
            self.0.push((name, value));
        }
        Ok(())
    }
}

fn word<'a, T: Words>(reader: &mut Reader<'a>, name: &'static str) -> Result<Word<'a, T>, Fault> {
    let text = reader.text(name, MAX_TEXT)?;
    let known = T::ALL.iter().find(|(_, word)| *word == text);
    Ok(known.map_or(Word::Other(text), |(value, _)| Word::Known(*value)))
}

fn check_version(version: Option<u64>) -> Result<(), Fault> {
    match version.ok_or(Fault::Missing("version"))? {
        VERSION => Ok(()),
        other => Err(Fault::Version(other)),
    }
}

fn once<T>(name: &'static str, place: &mut Option<T>, value: T) -> Result<(), Fault> {
    if place.replace(value).is_some() { Err(Fault::Twice(name)) } else { Ok(()) }
}

fn push<T>(name: &'static str, max: usize, list: &mut Vec<T>, element: T) -> Result<(), Fault> {
    if list.len() == max {
        return Err(Fault::TooMany(name));
    }
    list.push(element);
    Ok(())
}
