//! The canonical writer: the schema of RFC 7846 §3 to the letter, without white space.

use core::fmt::{self, Write as _};

use super::json::write_string;
use super::*;

impl Request<'_> {
    /// Appends the body of the request.
    pub fn write(&self, out: &mut Vec<u8>) {
        out.extend(ROOT);
        let kind = match self.data {
            RequestData::Connect(_) => "CONNECT",
            RequestData::Find(_) => "FIND",
            RequestData::StatReport(_) => "STAT_REPORT",
        };
        text(out, ",\"request_type\":", kind);
        text(out, ",\"transaction_id\":", &self.transaction_id);
        text(out, ",\"peer_id\":", &self.peer_id);
        match &self.data {
            RequestData::Connect(connect) => {
                out.extend(b",\"connect\":{");
                if let Some(scope) = &connect.peer_num {
                    peer_num(out, scope);
                    out.push(b',');
                }
                if !connect.addrs.is_empty() {
                    out.extend(b"\"peer_addr\":");
                    list(out, &connect.addrs, addr);
                    out.push(b',');
                }
                out.extend(b"\"swarm_action\":");
                list(out, &connect.actions, |out, action| {
                    text(out, "{\"swarm_id\":", &action.swarm_id);
                    text(out, ",\"action\":", word(&action.action));
                    text(out, ",\"peer_mode\":", word(&action.peer_mode));
                    out.push(b'}');
                });
                out.push(b'}');
            }
            RequestData::Find(find) => {
                text(out, ",\"find\":{\"swarm_id\":", &find.swarm_id);
                if let Some(scope) = &find.peer_num {
                    out.push(b',');
                    peer_num(out, scope);
                }
                out.push(b'}');
            }
            // stat<1..*>: without any, the group is left out.
            RequestData::StatReport(report) if report.stats.is_empty() => {}
            RequestData::StatReport(report) => {
                out.extend(b",\"stat_report\":{\"type\":\"STREAM_STATS\",\"stat\":");
                list(out, &report.stats, |out, stat| {
                    text(out, "{\"swarm_id\":", &stat.swarm_id);
                    number(out, ",\"uploaded_bytes\":", stat.uploaded_bytes);
                    number(out, ",\"downloaded_bytes\":", stat.downloaded_bytes);
                    number(out, ",\"available_bandwidth\":", stat.available_bandwidth);
                    number(out, ",\"concurrent_links\":", stat.concurrent_links);
                    unknown(out, &stat.unknown);
                    out.push(b'}');
                });
                out.push(b'}');
            }
        }
        unknown(out, &self.unknown);
        out.extend(b"}}");
    }
}

impl Response<'_> {
    /// Appends the body of the response.
    pub fn write(&self, out: &mut Vec<u8>) {
        out.extend(ROOT);
        number(out, ",\"response_type\":", u64::from(self.code != Code::OK));
        number(out, ",\"error_code\":", u64::from(self.code.0));
        text(out, ",\"transaction_id\":", &self.transaction_id);
        if let Some(id) = &self.peer_id {
            text(out, ",\"peer_id\":", id);
        }
        if let Some(seen) = &self.peer_addr {
            out.extend(b",\"peer_addr\":");
            addr(out, seen);
        }
        if !self.results.is_empty() {
            out.extend(b",\"swarm_result\":");
            list(out, &self.results, |out, result| {
                text(out, "{\"swarm_id\":", &result.swarm_id);
                number(out, ",\"result\":", u64::from(result.failed));
                if let Some(peers) = &result.peers {
                    out.extend(b",\"peer_group\":{\"peer_info\":");
                    let infos = peers.iter().flat_map(|peer| peer.addrs.iter().map(move |addr| (&peer.peer_id, addr)));
                    list(out, infos, |out, (id, one)| {
                        text(out, "{\"peer_id\":", id);
                        out.extend(b",\"peer_addr\":");
                        addr(out, one);
                        out.push(b'}');
                    });
                    out.push(b'}');
                }
                out.push(b'}');
            });
        }
        unknown(out, &self.unknown);
        out.extend(b"}}");
    }
}

/// The word as it is written.
fn word<'a, T: Words + PartialEq>(word: &'a Word<'_, T>) -> &'a str {
    match word {
        Word::Known(value) => T::ALL.iter().find(|(known, _)| known == value).map_or("", |(_, text)| text),
        Word::Other(text) => text,
    }
}

fn peer_num(out: &mut Vec<u8>, scope: &PeerNum<'_>) {
    // peer_count is no option in the schema; who does not care wants as many as there may be.
    number(out, "\"peer_num\":{\"peer_count\":", scope.peer_count.unwrap_or(29));
    if let Some(ability) = &scope.ability_nat {
        text(out, ",\"ability_nat\":", word(ability));
    }
    for (name, value) in [
        (",\"concurrent_links\":", scope.concurrent_links),
        (",\"online_time\":", scope.online_time),
        (",\"upload_bandwidth\":", scope.upload_bandwidth),
    ] {
        if let Some(value) = value {
            number(out, name, value);
        }
    }
    out.push(b'}');
}

fn addr(out: &mut Vec<u8>, addr: &PeerAddr<'_>) {
    let family = if addr.ip.is_ipv4() { "ipv4" } else { "ipv6" };
    text(out, "{\"ip_address\":{\"address_type\":", family);
    out.extend(b",\"address\":\"");
    match addr.ip {
        IpAddr::V4(ip) => {
            for (at, octet) in ip.octets().into_iter().enumerate() {
                number(out, if at == 0 { "" } else { "." }, octet.into());
            }
        }
        // The text form of the standard library is that of RFC 5952.
        IpAddr::V6(ip) => display(out, ip),
    }
    number(out, "\"},\"port\":", u64::from(addr.port));
    number(out, ",\"priority\":", u64::from(addr.priority));
    // A host knows its own interfaces best: an address that names no type is taken for one of them.
    text(out, ",\"type\":", addr.kind.as_ref().map_or("HOST", word));
    if let Some(connection) = &addr.connection {
        text(out, ",\"connection\":", word(connection));
    }
    if let Some(asn) = &addr.asn {
        text(out, ",\"asn\":", asn);
    }
    if let Some(protocol) = &addr.peer_protocol {
        text(out, ",\"peer_protocol\":", protocol);
    }
    out.push(b'}');
}

fn unknown(out: &mut Vec<u8>, members: &Unknown<'_>) {
    for (name, value) in members.iter() {
        text(out, ",", name);
        out.push(b':');
        out.extend(value.as_bytes());
    }
}

fn list<T>(out: &mut Vec<u8>, elements: impl IntoIterator<Item = T>, mut write: impl FnMut(&mut Vec<u8>, T)) {
    out.push(b'[');
    for (at, element) in elements.into_iter().enumerate() {
        if at > 0 {
            out.push(b',');
        }
        write(out, element);
    }
    out.push(b']');
}

fn text(out: &mut Vec<u8>, before: &str, value: &str) {
    out.extend(before.as_bytes());
    write_string(value, out);
}

fn number(out: &mut Vec<u8>, before: &str, mut value: u64) {
    out.extend_from_slice(before.as_bytes());
    let mut digits = [0; 20];
    let mut first = digits.len();
    for place in digits.iter_mut().rev() {
        *place = b'0' + (value % 10) as u8;
        (value, first) = (value / 10, first - 1);
        if value == 0 {
            break;
        }
    }
    out.extend_from_slice(&digits[first..]);
}

fn display(out: &mut Vec<u8>, value: impl fmt::Display) {
    struct Sink<'a>(&'a mut Vec<u8>);
    impl fmt::Write for Sink<'_> {
        fn write_str(&mut self, text: &str) -> fmt::Result {
            self.0.extend(text.as_bytes());
            Ok(())
        }
    }
    // A vector takes everything.
    let _ = write!(Sink(out), "{value}");
}

const ROOT: &[u8] = b"{\"PPSPTrackerProtocol\":{\"version\":1";
