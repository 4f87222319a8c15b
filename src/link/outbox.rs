//! What waits to be published, and in which order. One publication is under way at a time, so an acknowledgement of the
//! broker is for it without a doubt. Pure: the time is given.

use std::collections::VecDeque;
use std::time::Duration;

use bytes::Bytes;
use serde_json::Value;
use tokio::time::Instant;

use crate::model::{Key, LinkSeen};

/// A broker that is silent for so long about a publication has lost it, or us.
const ANSWER_WAIT: Duration = Duration::from_secs(60);
/// Answers that wait for the broker's acknowledgement of the one before them.
const ANSWERS_MAX: usize = 1024;

#[derive(Debug)]
pub struct Outbox {
    live: Option<Bytes>,
    /// The latest answer of each row, in the order in which the rows came.
    acks: VecDeque<(Key, u64, Bytes)>,
    node: Document,
    state: Document,
    under_way: Option<(What, Instant)>,
    interval: Duration,
    /// The broker takes no larger ones.
    bytes_max: Option<usize>,
}

/// One message to the broker.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Publication {
    /// The last level of the topic.
    pub leaf: &'static str,
    pub retain: bool,
    pub body: Bytes,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum What {
    Live,
    Ack { key: Key, revision: u64 },
    Node,
    State,
}

/// A retained document. The first goes out at once, then at most one in each interval; one that is the same never.
#[derive(Debug, Default)]
struct Document {
    latest: Option<Bytes>,
    published: Option<Bytes>,
    not_before: Option<Instant>,
}

impl Document {
    fn set(&mut self, value: &Value) {
        self.latest = Some(bytes(value));
    }

    fn waits(&self) -> bool {
        self.latest.is_some() && self.latest != self.published
    }

    fn take(&mut self, now: Instant, interval: Duration) -> Option<Bytes> {
        if !self.waits() || self.not_before.is_some_and(|at| now < at) {
            return None;
        }
        self.published.clone_from(&self.latest);
        self.not_before = Some(now + interval);
        self.latest.clone()
    }

    fn due(&self) -> Option<Instant> {
        self.not_before.filter(|_| self.waits())
    }

    /// The broker may have nothing.
    fn forget(&mut self) {
        self.published = None;
        self.not_before = None;
    }
}

fn bytes(value: &Value) -> Bytes {
    Bytes::from(value.to_string())
}

impl Outbox {
    pub fn new(interval: Duration) -> Outbox {
        Outbox {
            live: None,
            acks: VecDeque::new(),
            node: Document::default(),
            state: Document::default(),
            under_way: None,
            interval,
            bytes_max: None,
        }
    }

    pub fn ack(&mut self, key: Key, revision: u64, body: &Value) {
        let body = bytes(body);
        if let Some(waiting) = self.acks.iter_mut().find(|(of, ..)| *of == key) {
            *waiting = (key, revision, body);
            return;
        }
        if self.acks.len() >= ANSWERS_MAX {
            tracing::warn!(
                "more than {ANSWERS_MAX} answers wait for the broker: the oldest is said in a later session"
            );
            self.acks.pop_front();
        }
        self.acks.push_back((key, revision, body));
    }

    pub fn node(&mut self, document: &Value) {
        self.node.set(document);
    }

    pub fn state(&mut self, document: &Value) {
        self.state.set(document);
    }

    /// A new session: everything is said again. Answers come again from the loop, which is told of the connection.
    pub fn connected(&mut self, live: &Value) {
        self.under_way = None;
        self.bytes_max = None;
        self.acks.clear();
        self.live = Some(bytes(live));
        self.node.forget();
        self.state.forget();
    }

    pub fn lost(&mut self) {
        self.under_way = None;
    }

    /// The last word; nothing else is said any more.
    pub fn farewell(&mut self, live: &Value) {
        self.acks.clear();
        (self.node, self.state) = (Document::default(), Document::default());
        self.live = Some(bytes(live));
    }

    pub fn is_idle(&self) -> bool {
        self.under_way.is_none() && self.live.is_none() && self.acks.is_empty()
    }

    /// Documents as well: nothing waits, not even for its interval.
    pub fn has_said_all(&self) -> bool {
        self.is_idle() && !self.node.waits() && !self.state.waits()
    }

    /// The broker said how much it takes in one packet.
    pub fn limit(&mut self, packet_bytes_max: usize) {
        // Room for the topic and the packet's head.
        self.bytes_max = Some(packet_bytes_max.saturating_sub(1024));
    }

    /// The next publication, when none is under way and one is due.
    pub fn take(&mut self, now: Instant) -> Option<Publication> {
        while self.under_way.is_none() {
            let (what, publication) = self.choose(now)?;
            let bytes = publication.body.len();
            if self.bytes_max.is_none_or(|most| bytes <= most) {
                self.under_way = Some((what, now));
                return Some(publication);
            }
            tracing::warn!("{} has {bytes} bytes, more than the broker takes; it is not published", publication.leaf);
        }
        None
    }

    /// Whether we are there, then answers that somebody waits for, then what informs.
    fn choose(&mut self, now: Instant) -> Option<(What, Publication)> {
        let publication = |leaf, retain, body| Publication { leaf, retain, body };
        if let Some(body) = self.live.take() {
            return Some((What::Live, publication("live", true, body)));
        }
        if let Some((key, revision, body)) = self.acks.pop_front() {
            return Some((What::Ack { key, revision }, publication("ack", false, body)));
        }
        if let Some(body) = self.node.take(now, self.interval) {
            return Some((What::Node, publication("node", true, body)));
        }
        let body = self.state.take(now, self.interval)?;
        Some((What::State, publication("state", true, body)))
    }

    /// When to look again though nothing happened; `take` has just given none.
    pub fn due(&self) -> Option<Instant> {
        match &self.under_way {
            Some((_, since)) => Some(*since + ANSWER_WAIT),
            None => [self.node.due(), self.state.due()].into_iter().flatten().min(),
        }
    }

    /// The broker owes an answer for too long.
    pub fn is_overdue(&self, now: Instant) -> bool {
        self.under_way.as_ref().is_some_and(|(_, since)| now >= *since + ANSWER_WAIT)
    }

    /// The broker answered for the publication that is under way.
    pub fn answered(&mut self, refusal: Option<&str>) -> Option<LinkSeen> {
        let (what, _) = self.under_way.take()?;
        match (what, refusal) {
            (What::Ack { key, revision }, None) => Some(LinkSeen::Delivered { key, revision }),
            (What::Live | What::Node | What::State, None) => None,
            (what, Some(refusal)) => {
                tracing::warn!("the broker refuses what this node says ({what:?}): {refusal}; check its access rules");
                None
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::model::Kind;

    const INTERVAL: Duration = Duration::from_secs(5);

    fn connected() -> (Outbox, Instant) {
        let mut outbox = Outbox::new(INTERVAL);
        outbox.connected(&json!("online"));
        (outbox, Instant::now())
    }

    fn key(name: &str) -> Key {
        Key::new(Kind::Ack, "", name)
    }

    /// Leaf and body of the next publication, answered at once.
    fn step(outbox: &mut Outbox, now: Instant) -> Option<(&'static str, String)> {
        let publication = outbox.take(now)?;
        assert_eq!(publication.retain, publication.leaf != "ack");
        outbox.answered(None);
        Some((publication.leaf, String::from_utf8(publication.body.to_vec()).unwrap()))
    }

    fn all(outbox: &mut Outbox, now: Instant) -> Vec<String> {
        std::iter::from_fn(|| step(outbox, now)).map(|(leaf, body)| format!("{leaf} {body}")).collect()
    }

    #[test]
    fn presence_first_then_answers_then_documents_and_one_at_a_time() {
        let (mut outbox, now) = connected();
        outbox.state(&json!(1));
        outbox.node(&json!(2));
        outbox.ack(key("b"), 5, &json!(4));
        outbox.ack(key("a"), 4, &json!(3));
        assert_eq!(outbox.take(now).unwrap().leaf, "live");
        assert_eq!(outbox.take(now), None, "one is under way");
        assert_eq!(outbox.answered(None), None);
        assert_eq!(outbox.take(now).unwrap().leaf, "ack");
        assert_eq!(outbox.answered(None), Some(LinkSeen::Delivered { key: key("b"), revision: 5 }));
        assert_eq!(outbox.answered(None), None, "an answer to nothing is nothing");
        assert_eq!(all(&mut outbox, now), ["ack 3", "node 2", "state 1"]);
        assert!(outbox.is_idle());
    }

    #[test]
    fn a_document_goes_out_at_once_then_once_an_interval_and_never_twice_the_same() {
        let (mut outbox, now) = connected();
        step(&mut outbox, now);
        outbox.state(&json!(1));
        assert_eq!(all(&mut outbox, now), ["state 1"]);
        outbox.state(&json!(2));
        outbox.state(&json!(3));
        assert_eq!(all(&mut outbox, now), [""; 0]);
        assert_eq!(outbox.due(), Some(now + INTERVAL));
        assert_eq!(all(&mut outbox, now + INTERVAL), ["state 3"]);
        outbox.state(&json!(4));
        outbox.state(&json!(3));
        assert_eq!(outbox.due(), None, "back to what is published");
        assert_eq!(all(&mut outbox, now + 9 * INTERVAL), [""; 0]);
    }

    #[test]
    fn a_new_session_hears_everything_again() {
        let (mut outbox, now) = connected();
        outbox.state(&json!(1));
        outbox.node(&json!(2));
        all(&mut outbox, now);
        outbox.ack(key("a"), 1, &json!(0));
        outbox.lost();
        outbox.connected(&json!("again"));
        assert_eq!(all(&mut outbox, now), ["live \"again\"", "node 2", "state 1"]);
    }

    #[test]
    fn the_latest_answer_of_a_row_counts() {
        let (mut outbox, now) = connected();
        step(&mut outbox, now);
        outbox.ack(key("a"), 1, &json!("old"));
        outbox.ack(key("a"), 2, &json!("new"));
        assert_eq!(outbox.take(now).unwrap().body, "\"new\"");
        outbox.ack(key("a"), 3, &json!("newer"));
        assert_eq!(outbox.answered(None), Some(LinkSeen::Delivered { key: key("a"), revision: 2 }));
        assert_eq!(outbox.take(now).unwrap().body, "\"newer\"");
        assert_eq!(outbox.answered(Some("not authorised")), None, "a refused answer is not delivered");
        assert_eq!(outbox.take(now), None, "and not tried again in this session");
    }

    #[test]
    fn answers_are_bounded_and_the_newest_stay() {
        let (mut outbox, now) = connected();
        step(&mut outbox, now);
        for n in 0..=ANSWERS_MAX {
            outbox.ack(key(&n.to_string()), 1, &json!(n));
        }
        let said = all(&mut outbox, now);
        assert_eq!((said.len(), said[0].as_str()), (ANSWERS_MAX, "ack 1"));
    }

    #[test]
    fn a_silent_broker_is_noticed() {
        let (mut outbox, now) = connected();
        outbox.take(now);
        assert_eq!(outbox.due(), Some(now + ANSWER_WAIT));
        assert!(!outbox.is_overdue(now + ANSWER_WAIT - Duration::from_millis(1)));
        assert!(outbox.is_overdue(now + ANSWER_WAIT));
    }

    #[test]
    fn what_the_broker_cannot_take_is_left_out_and_the_rest_goes_on() {
        let (mut outbox, now) = connected();
        outbox.limit(2048);
        outbox.node(&json!("x".repeat(2000)));
        outbox.state(&json!(1));
        assert_eq!(all(&mut outbox, now), ["live \"online\"", "state 1"]);
    }

    #[test]
    fn the_last_word_is_the_last() {
        let (mut outbox, now) = connected();
        outbox.state(&json!(1));
        outbox.ack(key("a"), 1, &json!(0));
        outbox.farewell(&json!("off"));
        assert_eq!(all(&mut outbox, now), ["live \"off\""]);
        assert!(outbox.is_idle());
    }
}
