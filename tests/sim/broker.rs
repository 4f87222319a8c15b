//! The broker: retained messages by scope and slot, delivered again at each connection until they are settled, and
//! repeated at will. It may be wiped; then it has nothing to say.

use std::collections::BTreeMap;

use pinnace::manifest;
use pinnace::model::id::sha256_hex;
use pinnace::model::seen::Content;
use pinnace::model::{Push, PushId, Seen, SetKey};

#[derive(Default)]
pub struct Broker {
    retained: BTreeMap<SetKey, String>,
    deliveries: u64,
    /// Delivered and not settled yet, with the digest of the message.
    pub unsettled: BTreeMap<PushId, (SetKey, String)>,
}

impl Broker {
    /// An empty text takes the message away.
    pub fn publish(&mut self, set: &SetKey, text: &str) -> Seen {
        if text.is_empty() {
            self.retained.remove(set);
        } else {
            self.retained.insert(set.clone(), text.to_string());
        }
        self.delivery(set, text)
    }

    /// What a new session gets: every retained message.
    pub fn connect(&mut self) -> Vec<Seen> {
        self.unsettled.clear();
        let all: Vec<(SetKey, String)> = self.retained.iter().map(|(set, text)| (set.clone(), text.clone())).collect();
        all.into_iter().map(|(set, text)| self.delivery(&set, &text)).collect()
    }

    pub fn wipe(&mut self) {
        self.retained.clear();
    }

    /// What the fleet wants in a slot; none: it never spoke of it or took it back.
    pub fn wants(&self, set: &SetKey) -> Option<&String> {
        self.retained.get(set)
    }

    pub fn retained(&self) -> impl Iterator<Item = (&SetKey, &String)> {
        self.retained.iter()
    }

    fn delivery(&mut self, set: &SetKey, text: &str) -> Seen {
        self.deliveries += 1;
        let id = PushId(self.deliveries);
        let content = manifest::decode_stream(text.as_bytes(), "default").map(|decoded| Content {
            warnings: decoded.iter().flat_map(|d| d.warnings.clone()).collect(),
            records: decoded.into_iter().map(|d| d.record).collect(),
        });
        let header = manifest::read_header(text.as_bytes()).expect("the script writes good headers");
        let sha = sha256_hex(text.as_bytes());
        self.unsettled.insert(id, (set.clone(), sha.clone()));
        Seen::Pushed(Box::new(Push { id, set: set.clone(), sha, empty: text.is_empty(), header, content }))
    }
}
