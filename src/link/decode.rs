//! From the bytes of a message to what it asks for. Every message gets a result: one that cannot be read is handed on as
//! a failure, so that its sender is told. The same bytes on the same slot are read once, however often they come.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;

use crate::manifest;
use crate::model::seen::{Content, Header};
use crate::model::{Failure, Push, PushId, Reason, SetKey, id};

use super::topic::Topics;

/// Reads the objects of one set; its header is the link's to read.
pub type Decoder = Arc<dyn Fn(&[u8]) -> Result<Content, Failure> + Send + Sync>;

/// The decoder of a node: objects without a namespace go to `default`.
pub fn manifests() -> Decoder {
    Arc::new(|text| {
        let mut content = Content { records: Vec::new(), warnings: Vec::new() };
        for object in manifest::decode_stream(text, "default")? {
            content.records.push(object.record);
            content.warnings.extend(object.warnings);
        }
        Ok(content)
    })
}

/// The version of the header that this release knows.
const HEADER_VERSION: u32 = 1;
/// A set of nothing deletes everything, so it must say that it means to.
const NO_OBJECTS: &str = "the set has no objects; to delete all that this slot has brought, say \"empty\":true in the \
                          header: # pinnace: {\"v\":1,\"empty\":true}";
/// So many slots are remembered; a fleet has fewer, and one too many costs a parse.
const REMEMBERED_MAX: usize = 256;

/// One message, read from the broker and not yet decoded.
#[derive(Debug, Clone)]
pub struct Message {
    pub id: PushId,
    pub set: SetKey,
    /// The topic's last level was no name.
    pub bad_slot: bool,
    pub payload: Bytes,
}

/// Rules of a link for what it reads.
#[derive(Clone)]
pub struct Reader {
    pub topics: Topics,
    pub fleet: String,
    pub set_bytes_max: usize,
    pub decode: Decoder,
}

/// What the last message of each slot was.
#[derive(Debug, Default)]
pub struct Memory {
    slots: BTreeMap<SetKey, Push>,
}

impl Reader {
    /// Slow for a large message: call it where waiting does not matter.
    pub fn read(&self, message: &Message) -> Push {
        // Read before all else: whoever sent something bad is answered by the word it gave.
        let header = manifest::read_header(&message.payload);
        let content = self.content(message, &header);
        Push {
            id: message.id,
            set: message.set.clone(),
            sha: sha(message),
            empty: message.payload.is_empty(),
            header: header.ok().flatten(),
            content,
        }
    }

    fn content(&self, message: &Message, header: &Result<Option<Header>, Failure>) -> Result<Content, Failure> {
        let is_tombstone =
            message.payload.is_empty() || header.as_ref().is_ok_and(|h| h.as_ref().is_some_and(|h| h.empty));
        // A tombstone brings nothing, and is what ends the refusal of a message that came by such a name.
        if message.bad_slot && !is_tombstone {
            let what = format!("slot {:?} is not 1 to 63 of the characters a-z 0-9 . -", message.set.slot);
            return Err(Failure::new(Reason::BadRequest, what));
        }
        let (bytes, most) = (message.payload.len(), self.set_bytes_max);
        if bytes > most {
            let what = format!("the set has {bytes} bytes, this node takes {most} (mqtt.set_bytes_max)");
            return Err(Failure::new(Reason::RequestEntityTooLarge, what));
        }
        if let Err(e) = std::str::from_utf8(&message.payload) {
            let what = format!("the set is not UTF-8 text: byte {} is wrong", e.valid_up_to());
            return Err(Failure::new(Reason::BadRequest, what));
        }
        let header = header.as_ref().map_err(Clone::clone)?.as_ref();
        if let Some(header) = header {
            self.check_target(header, &message.set)?;
        }
        let content = self.objects(message)?;
        let what = match (is_tombstone, content.records.len()) {
            (true, 0) | (false, 1..) => return Ok(content),
            (true, many) => format!("the header says that the set is empty, but {many} objects follow"),
            // Most likely a template that came out empty. What is in force stays.
            (false, 0) => NO_OBJECTS.to_string(),
        };
        Err(Failure::new(Reason::BadRequest, what))
    }

    fn objects(&self, message: &Message) -> Result<Content, Failure> {
        if message.payload.is_empty() {
            return Ok(Content { records: Vec::new(), warnings: Vec::new() });
        }
        (self.decode)(&message.payload)
    }

    /// A header must say the topic that the message came by: whoever holds the broker cannot move a set to others.
    fn check_target(&self, header: &Header, set: &SetKey) -> Result<(), Failure> {
        if header.v > HEADER_VERSION {
            let what = format!("the header has version {}, this node knows {HEADER_VERSION}: update pinnace", header.v);
            return Err(Failure::new(Reason::BadRequest, what));
        }
        let address = self.topics.address(&set.scope);
        let said =
            [("fleet", &header.fleet, &self.fleet), ("to", &header.to, &address), ("slot", &header.slot, &set.slot)];
        for (field, said, is) in said {
            if said.as_ref().is_some_and(|said| said != is) {
                let said = said.as_deref().unwrap_or_default();
                let what = format!("TargetMismatch: the header says {field} {said:?}, the topic says {is:?}");
                return Err(Failure::new(Reason::Forbidden, what));
            }
        }
        Ok(())
    }
}

fn sha(message: &Message) -> String {
    id::sha256_hex(&message.payload)
}

impl Memory {
    /// The push of a message that is the same as the last one on its slot.
    pub fn recall(&self, message: &Message) -> Option<Push> {
        let known = self.slots.get(&message.set).filter(|_| !message.bad_slot)?;
        (known.sha == sha(message)).then(|| Push { id: message.id, ..known.clone() })
    }

    pub fn remember(&mut self, push: &Push) {
        if self.slots.len() >= REMEMBERED_MAX && !self.slots.contains_key(&push.set) {
            self.slots.pop_first();
        }
        self.slots.insert(push.set.clone(), push.clone());
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;
    use crate::model::{Meta, Namespace, Scope};

    /// Decodes like a node's, but `object` in the text is an object.
    fn reader() -> Reader {
        let decode = |text: &[u8]| {
            let text = std::str::from_utf8(text).expect("the reader checks it");
            if text.contains("broken") {
                return Err(Failure::new(Reason::BadRequest, "broken"));
            }
            let object = || Namespace { meta: Meta::named("", "n") }.into();
            let records = text.contains("object").then(object).into_iter().collect();
            Ok(Content { records, warnings: Vec::new() })
        };
        let topics = Topics::new("pn", "demo", "gw");
        Reader { topics, fleet: "demo".into(), set_bytes_max: 100, decode: Arc::new(decode) }
    }

    fn message(payload: impl Into<Vec<u8>>) -> Message {
        let set = SetKey { scope: Scope::Node, slot: "shop".into() };
        Message { id: PushId(7), set, bad_slot: false, payload: Bytes::from(payload.into()) }
    }

    #[track_caller]
    fn refused(push: Push, reason: Reason, expected: &str) {
        let failure = push.content.unwrap_err();
        assert_eq!(failure.reason, reason, "{failure:?}");
        assert!(failure.message.contains(expected), "{failure:?}");
    }

    #[test]
    fn every_message_gets_a_result() {
        let reader = reader();
        let good = reader.read(&message("object"));
        assert_eq!((good.id, good.empty, good.sha.len()), (PushId(7), false, 64));
        assert_eq!(good.content.unwrap().records.len(), 1);
        let empty = reader.read(&message(""));
        assert!(empty.empty && empty.content.unwrap().records.is_empty());
        refused(reader.read(&message("broken")), Reason::BadRequest, "broken");
        refused(reader.read(&message(b"ab\xffcd".as_slice())), Reason::BadRequest, "byte 2");
        refused(reader.read(&message("x".repeat(101))), Reason::RequestEntityTooLarge, "101 bytes");
        let at_bad_slot = |text: &str| reader.read(&Message { bad_slot: true, ..message(text) });
        refused(at_bad_slot("object"), Reason::BadRequest, "slot \"shop\"");
        refused(at_bad_slot("# pinnace: {\"empty\":true}\nobject"), Reason::BadRequest, "1 objects follow");
        assert!(at_bad_slot("").content.is_ok() && at_bad_slot("# pinnace: {\"empty\":true}\n").content.is_ok());
        assert!(reader.read(&message("object".repeat(16))).content.is_ok());
    }

    #[test]
    fn a_header_must_name_the_topic_it_came_by() {
        let reader = Reader { set_bytes_max: 1000, ..reader() };
        let read = |header: &str, rest: &str| reader.read(&message(format!("# pinnace: {{{header}}}\n{rest}")));
        let good = r#""v":1,"fleet":"demo","to":"node/gw","slot":"shop","rev":5"#;
        let push = read(good, "object");
        assert_eq!((push.header.unwrap().rev, push.content.unwrap().records.len()), (Some(5), 1));
        assert!(read("", "object").content.is_ok());
        let mismatch = |header: &str, expected| refused(read(header, "object"), Reason::Forbidden, expected);
        mismatch(r#""fleet":"prod""#, "TargetMismatch: the header says fleet \"prod\"");
        mismatch(r#""to":"all""#, "the topic says \"node/gw\"");
        mismatch(r#""slot":"x""#, "slot \"x\"");
        refused(read(r#""v":2"#, "object"), Reason::BadRequest, "version 2");
        refused(read(r#""v":"#, "object"), Reason::BadRequest, "header line");
        refused(read(r#""empty":true"#, "object"), Reason::BadRequest, "1 objects follow");
        let tombstone = read(r#""empty":true"#, "");
        assert!(tombstone.header.unwrap().empty && tombstone.content.is_ok());
    }

    #[test]
    fn a_set_without_objects_is_no_tombstone() {
        let reader = Reader { decode: manifests(), set_bytes_max: 1 << 20, ..reader() };
        let header = "# pinnace: {\"v\":1,\"rev\":5}\n";
        for text in ["# nothing\n", "---\n", " \n", "--- # a\n---\n", header, "{kind: List, apiVersion: v1, items: []}"]
        {
            refused(reader.read(&message(text)), Reason::BadRequest, "say \"empty\":true in the header");
        }
        assert!(reader.read(&message("")).content.is_ok());
    }

    #[test]
    fn a_message_that_is_refused_keeps_the_word_of_its_sender() {
        let head = "# pinnace: {\"ack\":\"cli-1\",\"to\":\"all\"}\n";
        for rest in [b"object".to_vec(), b"broken".to_vec(), vec![0xff; 10], vec![b'x'; 200]] {
            let push = reader().read(&message([head.as_bytes(), &rest].concat()));
            assert_eq!(push.header.unwrap().ack.as_deref(), Some("cli-1"));
            assert!(push.content.is_err());
        }
    }

    #[test]
    fn the_same_bytes_are_read_once() {
        let reads = Arc::new(AtomicUsize::new(0));
        let counter = reads.clone();
        let mut reader = reader();
        let inner = reader.decode.clone();
        reader.decode = Arc::new(move |text| {
            counter.fetch_add(1, Ordering::Relaxed);
            inner(text)
        });
        let mut memory = Memory::default();
        let mut take = |text: &str, id| {
            let message = Message { id: PushId(id), ..message(text) };
            let push = memory.recall(&message).unwrap_or_else(|| reader.read(&message));
            memory.remember(&push);
            push
        };
        let first = take("object", 1);
        for id in 2..50 {
            assert_eq!(take("object", id), Push { id: PushId(id), ..first.clone() });
        }
        assert_eq!(reads.load(Ordering::Relaxed), 1);
        take("broken", 60);
        assert!(take("broken", 61).content.is_err());
        take("object", 62);
        assert_eq!(reads.load(Ordering::Relaxed), 3);
    }

    #[test]
    fn a_manifest_is_read_with_its_header_and_a_tombstone_without_objects() {
        let reader = Reader { decode: manifests(), set_bytes_max: 1 << 20, ..reader() };
        let header = |rest: &str| format!("# pinnace: {{\"v\":1,\"to\":\"node/gw\",\"rev\":5{rest}}}\n");
        let object = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\n";
        let text = format!("{}{object}---\n{}", header(""), object.replace("a}", "b}"));
        let push = reader.read(&message(text));
        let records = push.content.unwrap().records;
        assert_eq!((push.header.unwrap().rev, records.len()), (Some(5), 2));
        assert_eq!(records[0].meta().namespace, "default");
        let push = reader.read(&message(header(",\"empty\":true")));
        assert!(push.header.unwrap().empty && push.content.unwrap().records.is_empty());
        refused(reader.read(&message(header(",\"empty\":true") + object)), Reason::BadRequest, "1 objects");
        assert!(reader.read(&message("[".repeat(10_000))).content.is_err());
        assert!(reader.read(&message("kind: Nothing")).content.is_err());
    }

    #[test]
    fn memory_is_bounded() {
        let (reader, mut memory) = (reader(), Memory::default());
        for n in 0..2 * REMEMBERED_MAX {
            let set = SetKey { scope: Scope::All, slot: format!("s{n}") };
            memory.remember(&reader.read(&Message { set, ..message("object") }));
        }
        assert_eq!(memory.slots.len(), REMEMBERED_MAX);
    }
}
