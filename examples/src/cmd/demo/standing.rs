//! How a gateway stands, by its `/status`.

use std::collections::BTreeMap;

use serde_json::Value;

/// All of its swarms together.
#[derive(Clone, Debug, Default)]
pub(super) struct Standing {
    /// Bytes held.
    pub(super) held: u64,
    /// Bytes that there are; `None` while that is not known of every swarm.
    length: Option<u64>,
    pub(super) swarms: usize,
    pub(super) downloaded: u64,
    pub(super) uploaded: u64,
    /// Somebody reads.
    pub(super) is_read: bool,
    /// Peers that are there.
    pub(super) links: usize,
    /// Bytes that came, by the address of who sent them.
    from: BTreeMap<String, u64>,
}

impl Standing {
    pub(super) fn read(status: &Value) -> Self {
        let mut all = Self { length: Some(0), ..Self::default() };
        let mut up = BTreeMap::new();
        for swarm in list(&status["swarms"]) {
            let number = |name: &str| swarm[name].as_u64().unwrap_or(0);
            all.swarms += 1;
            all.held += number("held_bytes");
            all.length = all.length.zip(swarm["length"].as_u64()).map(|(all, one)| all + one);
            all.downloaded += number("downloaded");
            all.uploaded += number("uploaded");
            all.is_read |= !list(&swarm["reading"]).is_empty();
            for peer in list(&swarm["peers"]) {
                let addr = peer["addr"].as_str().unwrap_or_default();
                *all.from.entry(addr.to_owned()).or_default() += peer["downloaded"].as_u64().unwrap_or(0);
                *up.entry(addr.to_owned()).or_default() |= peer["up"] == true;
            }
        }
        all.links = up.values().filter(|up| **up).count();
        all
    }

    /// Is all of so many swarms held?
    pub(super) fn has_all(&self, swarms: usize) -> bool {
        self.swarms == swarms && self.length.is_some_and(|length| self.held >= length)
    }

    /// Bytes that came from this address, and from all others.
    pub(super) fn origins(&self, addr: &str) -> (u64, u64) {
        let one = self.from.get(addr).copied().unwrap_or(0);
        (one, self.from.values().sum::<u64>().saturating_sub(one))
    }
}

fn list(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn swarms_are_added_up() {
        let peer = |addr: &str, up: bool, downloaded: u64| json!({ "addr": addr, "up": up, "downloaded": downloaded });
        let swarm = |peers: Value, reading: Value| json!({ "held_bytes": 5, "length": 10, "downloaded": 4, "uploaded": 1, "reading": reading, "peers": peers });
        let status = json!({ "swarms": [
            swarm(json!([peer("a", true, 3), peer("b", false, 1)]), json!([])),
            swarm(json!([peer("a", false, 4)]), json!([7])),
        ] });
        let all = Standing::read(&status);
        assert_eq!((all.swarms, all.held, all.length, all.downloaded, all.uploaded), (2, 10, Some(20), 8, 2));
        assert_eq!((all.is_read, all.links), (true, 1));
        assert_eq!((all.origins("a"), all.origins("c")), ((7, 1), (0, 8)));
        let held = |length: Value| Standing::read(&json!({ "swarms": [{ "held_bytes": 5, "length": length }] }));
        assert!(held(json!(5)).has_all(1) && !held(json!(5)).has_all(2) && !held(json!(6)).has_all(1));
        assert!(!held(Value::Null).has_all(1) && !Standing::read(&Value::Null).has_all(1));
    }
}
