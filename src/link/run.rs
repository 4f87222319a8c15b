//! The link's own loop: connect, hear, decode beside the loop, hand on, publish, and wait when the broker is gone. All that
//! is decided here is when; what is said is in `outbox`, what is read is in `decode`.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::future::pending;
use std::rc::Rc;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::sync::mpsc;
use tokio::task::{JoinHandle, spawn_blocking};
use tokio::time::{Instant, sleep_until, timeout_at};

use crate::model::{LinkSeen, Push, PushId, Seen};

use super::backoff::{Backoff, Choice, Dialect, random};
use super::decode::{Memory, Message, Reader};
use super::outbox::Outbox;
use super::session::{Connect, Ended, Heard, Incoming, Receipt, Session, Why};
use super::suspects::{Suspects, Unheard};
use super::topic::{Place, Topics};
use super::{Before, LinkSettings, Up};

/// Messages that were read and not yet handed on; beyond it nothing more is read.
const HELD_MAX: usize = 16;
/// Beside a set's own bytes: topic, properties, the packet's head.
const PACKET_MARGIN_BYTES: usize = 64 << 10;
/// A broker that cannot be told our bound may send as much, so that the sender of a large set hears why it is rejected.
const LARGEST_READ_FACTOR: usize = 4;
/// A node that always has something to say does not keep a scope from being heard for longer.
const LATER_WAIT: Duration = Duration::from_secs(10);
/// The good-bye takes so long at most.
const FAREWELL_WAIT: Duration = Duration::from_secs(3);

/// Runs until it is told to stop; gives how far its numbers have come.
pub async fn run(
    settings: LinkSettings,
    ups: mpsc::UnboundedReceiver<Up>,
    seen: mpsc::Sender<Seen>,
    unheard: Rc<RefCell<Unheard>>,
) -> Before {
    let mut link = Link::new(settings, ups, seen, unheard);
    loop {
        let begun = Instant::now();
        let Some(ended) = link.one_session().await else { return link.numbers() };
        let held = if link.was_connected { begun.elapsed() } else { Duration::ZERO };
        link.after(&ended);
        if ended.why == Why::Refused && link.choice.refused() {
            continue;
        }
        let wait = link.backoff.next(held, random());
        tracing::info!(
            "no MQTT session with {}: {}; next attempt in {:.1} s",
            link.settings.mqtt.broker,
            ended.text,
            wait.as_secs_f64()
        );
        if !link.wait(Instant::now() + wait).await {
            return link.numbers();
        }
    }
}

struct Link {
    settings: LinkSettings,
    topics: Topics,
    ups: mpsc::UnboundedReceiver<Up>,
    seen: mpsc::Sender<Seen>,
    outbox: Outbox,
    choice: Choice,
    backoff: Backoff,
    /// Connections begun in this life.
    connections: u64,
    was_connected: bool,
    /// Large packets came though they were not wanted: read them, so that they can be rejected.
    reads_large: bool,
    suspects: Suspects,
    /// Filters that this session has not subscribed yet, and when it does at the latest.
    later: (Vec<String>, Instant),
    unheard: Rc<RefCell<Unheard>>,
    reader: Reader,
    memory: Memory,
    pushes: u64,
    /// Read from the broker, to be decoded in this order.
    inbox: VecDeque<Message>,
    decoding: Option<JoinHandle<Push>>,
    /// To be handed on in this order.
    outgoing: VecDeque<Seen>,
    /// What this session's broker waits for, in the order in which it sent: acknowledgements must keep that order, or a
    /// broker may end the connection (MQTT-4.6.0-2).
    unacknowledged: VecDeque<Owed>,
}

/// An acknowledgement that is owed to the broker.
struct Owed {
    push: PushId,
    receipt: Receipt,
    settled: bool,
}

/// One thing that happened.
enum Turn {
    Heard(Heard),
    Up(Option<Up>),
    Decoded(Option<Push>),
    /// There was room to hand something on; none: nobody takes anything any more.
    HandedOn(Option<()>),
    Due,
}

impl Link {
    fn new(
        settings: LinkSettings,
        ups: mpsc::UnboundedReceiver<Up>,
        seen: mpsc::Sender<Seen>,
        unheard: Rc<RefCell<Unheard>>,
    ) -> Link {
        let mqtt = &settings.mqtt;
        let topics = Topics::new(&mqtt.topic_root, &settings.fleet, &settings.node);
        Link {
            outbox: Outbox::new(Duration::from_secs(mqtt.state_interval_s)),
            choice: Choice::new(mqtt.protocol),
            backoff: Backoff::new(Duration::from_secs(mqtt.reconnect_max_s)),
            reader: Reader {
                topics: topics.clone(),
                fleet: settings.fleet.clone(),
                set_bytes_max: mqtt.set_bytes_max,
                decode: settings.decode.clone(),
            },
            topics,
            ups,
            seen,
            connections: 0,
            was_connected: false,
            reads_large: false,
            suspects: Suspects::default(),
            later: (Vec::new(), Instant::now()),
            unheard,
            memory: Memory::default(),
            pushes: settings.before.pushes,
            inbox: VecDeque::new(),
            decoding: None,
            outgoing: VecDeque::new(),
            unacknowledged: VecDeque::new(),
            settings,
        }
    }

    /// From the attempt to connect to the end; none: the link is to stop.
    async fn one_session(&mut self) -> Option<Ended> {
        self.connections += 1;
        self.was_connected = false;
        let connect = Connect {
            mqtt: &self.settings.mqtt,
            dialect: self.choice.dialect(),
            packet_bytes_max: self.packet_bytes_max(),
            will: Some((self.topics.up("live"), self.presence("lost"))),
        };
        let mut session = match Session::begin(&connect) {
            Ok(session) => session,
            Err(text) => return Some(Ended { why: Why::Lost, text }),
        };
        loop {
            self.work(&session);
            let due = self.outbox.due().filter(|_| self.was_connected);
            match self.turn(Some(&mut session), due).await {
                Turn::Heard(Heard::Ended(ended)) => return Some(ended),
                Turn::Heard(heard) => self.hear(heard, &session),
                Turn::Due if self.outbox.is_overdue(Instant::now()) => {
                    return Some(Ended { why: Why::Lost, text: "the broker does not answer".into() });
                }
                Turn::Up(Some(Up::Stop)) => {
                    self.farewell(session).await;
                    return None;
                }
                Turn::Up(None) | Turn::HandedOn(None) => return None,
                turn => self.take(turn),
            }
        }
    }

    /// Without a session: what was read is still decoded and handed on. False: the link is to stop.
    async fn wait(&mut self, until: Instant) -> bool {
        loop {
            self.decode_next();
            match self.turn(None, Some(until)).await {
                Turn::Due => return true,
                Turn::Up(None | Some(Up::Stop)) | Turn::HandedOn(None) => return false,
                turn => self.take(turn),
            }
        }
    }

    async fn turn(&mut self, session: Option<&mut Session>, due: Option<Instant>) -> Turn {
        let Link { ups, seen, outgoing, decoding, inbox, .. } = self;
        let room = inbox.len() + outgoing.len() < HELD_MAX;
        tokio::select! {
            up = ups.recv() => Turn::Up(up),
            permit = seen.reserve(), if !outgoing.is_empty() => Turn::HandedOn(permit.ok().map(|permit| {
                if let Some(seen) = outgoing.pop_front() {
                    permit.send(seen);
                }
            })),
            push = decoded(decoding) => Turn::Decoded(push),
            heard = heard(session), if room => Turn::Heard(heard),
            () = until(due) => Turn::Due,
        }
    }

    /// What a turn means whether there is a session or not.
    fn take(&mut self, turn: Turn) {
        match turn {
            Turn::Up(Some(up)) => self.up(up),
            Turn::Decoded(push) => {
                self.decoding = None;
                if let Some(push) = push {
                    self.memory.remember(&push);
                    self.outgoing.push_back(Seen::Pushed(Box::new(push)));
                }
            }
            Turn::Heard(_) | Turn::Up(None) | Turn::HandedOn(_) | Turn::Due => {}
        }
    }

    fn up(&mut self, up: Up) {
        match up {
            Up::Settle(id) => {
                self.unacknowledged.iter_mut().filter(|owed| owed.push == id).for_each(|o| o.settled = true)
            }
            Up::Ack { key, revision, body } => self.outbox.ack(key, revision, &body),
            Up::Node(document) => self.outbox.node(&document),
            Up::State(document) => self.outbox.state(&document),
            Up::Stop => {}
        }
    }

    fn hear(&mut self, heard: Heard, session: &Session) {
        match heard {
            Heard::Connected { packet_bytes_max } => self.connected(packet_bytes_max, session),
            Heard::Message(incoming) => self.message(*incoming),
            Heard::Answered { refusal } => {
                let delivered = self.outbox.answered(refusal.as_deref());
                self.outgoing.extend(delivered.map(Seen::Link));
            }
            // A broker that refuses a subscription says so once; the node runs on with what it may hear.
            Heard::Subscribed { refusal: Some(why) } => {
                self.suspects.granted();
                tracing::warn!("the broker refuses a subscription: {why}; see its ACL, and pinnace doctor");
            }
            Heard::Subscribed { refusal: None } => self.suspects.granted(),
            Heard::Ended(_) => {}
        }
    }

    fn connected(&mut self, packet_bytes_max: Option<usize>, session: &Session) {
        self.was_connected = true;
        self.choice.connected();
        let version = match self.choice.dialect() {
            Dialect::V5 => "5",
            Dialect::V3 => "3.1.1",
        };
        tracing::info!("MQTT {version} session with {}", self.settings.mqtt.broker);
        self.outbox.connected(&self.presence("online"));
        packet_bytes_max.into_iter().for_each(|most| self.outbox.limit(most));
        let mut filters = self.topics.filters(&self.settings.groups);
        if self.reads_large {
            // A message that ends every session must not keep the other scopes from being heard: begin with another.
            let turns = usize::try_from(self.connections).unwrap_or_default() % filters.len();
            filters.rotate_left(turns);
        }
        let (later, first): (Vec<String>, Vec<String>) =
            filters.into_iter().partition(|filter| self.suspects.places().contains(filter));
        self.suspects.connected(&[first.as_slice(), later.as_slice()].concat());
        self.unheard.borrow_mut().connected(Instant::now());
        self.subscribe(session, &first);
        self.later = (later, Instant::now() + LATER_WAIT);
        self.outgoing.push_back(Seen::Link(LinkSeen::Connected));
    }

    fn subscribe(&self, session: &Session, filters: &[String]) {
        if !session.subscribe(filters) {
            tracing::warn!("not all of {} subscriptions could be made; give the node fewer groups", filters.len());
        }
    }

    fn message(&mut self, incoming: Incoming) {
        self.unheard.borrow_mut().heard(&incoming.topic);
        self.pushes += 1;
        let id = PushId(self.pushes);
        let place = self.topics.place(&incoming.topic);
        self.unacknowledged.push_back(Owed { push: id, receipt: incoming.receipt, settled: place == Place::Other });
        let (set, bad_slot) = match place {
            Place::Set(set) => (set, false),
            Place::BadSlot(set) => (set, true),
            Place::Other => return,
        };
        self.inbox.push_back(Message { id, set, bad_slot, payload: incoming.payload });
    }

    /// Everything that can be done without waiting.
    fn work(&mut self, session: &Session) {
        while self.unacknowledged.front().is_some_and(|owed| owed.settled && session.acknowledge(&owed.receipt)) {
            self.unacknowledged.pop_front();
        }
        if self.was_connected
            && let Some(publication) = self.outbox.take(Instant::now())
            && !session.publish(&self.topics.up(publication.leaf), publication.retain, publication.body)
        {
            // The queue of a broker that does not listen; it will be overdue.
            tracing::debug!("the queue to the broker is full");
        }
        self.subscribe_later(session);
        self.decode_next();
    }

    /// What most likely ends the session comes when all else was heard and said.
    fn subscribe_later(&mut self, session: &Session) {
        let (later, at) = &mut self.later;
        if self.was_connected && !later.is_empty() && (self.outbox.has_said_all() || *at <= Instant::now()) {
            let later = std::mem::take(later);
            self.subscribe(session, &later);
        }
    }

    /// One at a time, so that the order on a slot stays, and beside the loop, so that a slow one stops nothing.
    fn decode_next(&mut self) {
        while self.decoding.is_none() {
            let Some(message) = self.inbox.pop_front() else { return };
            if let Some(push) = self.memory.recall(&message) {
                self.outgoing.push_back(Seen::Pushed(Box::new(push)));
                continue;
            }
            let reader = self.reader.clone();
            self.decoding = Some(spawn_blocking(move || reader.read(&message)));
        }
    }

    fn after(&mut self, ended: &Ended) {
        // The broker sends what was not acknowledged again, and knows these receipts no more.
        self.unacknowledged.clear();
        self.outbox.lost();
        let mut is_blamed = false;
        if ended.why == Why::TooLarge {
            let bytes_max = self.packet_bytes_max();
            match self.reads_large || self.choice.dialect() == Dialect::V3 {
                true => {
                    tracing::warn!("{}", self.suspects.blame(bytes_max));
                    is_blamed = true;
                }
                false => {
                    tracing::warn!("the broker sent more than {bytes_max} bytes, though it was told: more is read now")
                }
            }
            self.reads_large = true;
        }
        let suspects = is_blamed.then(|| self.suspects.places());
        self.unheard.borrow_mut().ended(Instant::now(), suspects);
        if self.was_connected {
            self.outgoing.push_back(Seen::Link(LinkSeen::Lost));
        }
    }

    fn packet_bytes_max(&self) -> usize {
        let set = self.settings.mqtt.set_bytes_max;
        // MQTT 3.1.1 has no way to tell the broker.
        let large = self.reads_large || self.choice.dialect() == Dialect::V3;
        (if large { set * LARGEST_READ_FACTOR } else { set }) + PACKET_MARGIN_BYTES
    }

    async fn farewell(&mut self, mut session: Session) {
        if !self.was_connected {
            return;
        }
        let until = Instant::now() + FAREWELL_WAIT;
        self.outbox.farewell(&self.presence("off"));
        while !self.outbox.is_idle() {
            self.work(&session);
            match timeout_at(until, session.next()).await {
                Ok(Heard::Answered { refusal }) => drop(self.outbox.answered(refusal.as_deref())),
                Ok(Heard::Ended(_)) | Err(_) => return,
                Ok(Heard::Connected { .. } | Heard::Message(_) | Heard::Subscribed { .. }) => {}
            }
        }
        session.disconnect();
        while let Ok(heard) = timeout_at(until, session.next()).await {
            if matches!(heard, Heard::Ended(_)) {
                return;
            }
        }
    }

    fn numbers(&self) -> Before {
        Before { connections: self.settings.before.connections.saturating_add(self.connections), pushes: self.pushes }
    }

    /// The `live` document. Will and birth of one connection have the same `c`.
    fn presence(&self, word: &str) -> Value {
        let connection = self.numbers().connections;
        json!({"s": word, "boot": self.settings.boot.as_str(), "c": connection})
    }
}

async fn heard(session: Option<&mut Session>) -> Heard {
    match session {
        Some(session) => session.next().await,
        None => pending().await,
    }
}

/// None: the decoder died of the message. The message is not acknowledged, and the log says so.
async fn decoded(decoding: &mut Option<JoinHandle<Push>>) -> Option<Push> {
    match decoding {
        Some(task) => task.await.map_err(|e| tracing::error!("a set could not be decoded: {e}")).ok(),
        None => pending().await,
    }
}

async fn until(due: Option<Instant>) {
    match due {
        Some(at) => sleep_until(at).await,
        None => pending().await,
    }
}
