//! A step in the making: the state as it would be if what was decided so far were committed. Controllers read and
//! write it in turn until nothing changes any more; then it becomes a plan.

use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use super::push;
use crate::model::{
    AtRest, Effect, Event, EventType, Job, Key, Kind, Meta, Node, Now, ObjectRef, Plan, Pod, Record, Settings, State,
    Timestamp, Uid, Wake, Write, id,
};

pub struct Draft<'a> {
    state: &'a State,
    now: &'a Now,
    /// What differs from the state; none: deleted.
    changed: BTreeMap<Key, Option<Arc<Record>>>,
    /// The kinds of what differs; most reads are of others.
    changed_kinds: BTreeSet<Kind>,
    effects: Vec<Effect>,
    wake: Wake,
    durable: bool,
    /// Rises with every effective change.
    version: u64,
    /// Numbers the uids derived in this step.
    uids: u64,
}

impl<'a> Draft<'a> {
    pub fn new(state: &'a State, now: &'a Now) -> Draft<'a> {
        Draft {
            state,
            now,
            changed: BTreeMap::new(),
            changed_kinds: BTreeSet::new(),
            effects: Vec::new(),
            wake: Wake::default(),
            durable: false,
            version: 0,
            uids: 0,
        }
    }

    pub fn now(&self) -> &'a Now {
        self.now
    }

    pub fn settings(&self) -> &'a Settings {
        &self.state.settings
    }

    pub fn version(&self) -> u64 {
        self.version
    }

    /// The revision that this step's writes will carry.
    pub fn next_revision(&self) -> u64 {
        self.state.revision + 1
    }

    // ---- reading -------------------------------------------------------------------------------------------------

    pub fn get(&self, key: &Key) -> Option<&Arc<Record>> {
        match self.changed.get(key) {
            Some(changed) => changed.as_ref(),
            None => self.state.get(key),
        }
    }

    pub fn find(&self, kind: Kind, namespace: &str, name: &str) -> Option<&Arc<Record>> {
        self.get(&Key::new(kind, namespace, name))
    }

    /// The revision that the record has, or will have when this step is committed; none when it is not there.
    pub fn revision_of(&self, key: &Key) -> Option<u64> {
        let record = self.get(key)?;
        let is_as_before = self.state.get(key).is_some_and(|before| before == record);
        Some(if is_as_before { record.meta().revision } else { self.next_revision() })
    }

    /// All records of a kind, by namespace and name.
    pub fn records(&self, kind: Kind) -> impl Iterator<Item = &Arc<Record>> {
        self.over(kind, self.state.entries(kind))
    }

    /// As `records`, in a list of its own, so that the draft may be changed meanwhile.
    pub fn list(&self, kind: Kind) -> Vec<Arc<Record>> {
        self.records(kind).cloned().collect()
    }

    /// As `list`, of the records that `wanted` picks; cheaper where few are.
    pub fn select(&self, kind: Kind, mut wanted: impl FnMut(&Record) -> bool) -> Vec<Arc<Record>> {
        self.records(kind).filter(|record| wanted(record)).cloned().collect()
    }

    /// What was changed of a kind, by key; none: deleted.
    fn changed(&self, kind: Kind) -> impl Iterator<Item = (&Key, &Option<Arc<Record>>)> {
        let of_kind = || self.changed.range(Key::new(kind, "", "")..).take_while(move |(key, _)| key.kind == kind);
        self.wrote(kind).then(of_kind).into_iter().flatten()
    }

    /// Lays what was changed of a kind over records as the state has them. Both come by key, so one pass merges them.
    fn over<'d>(
        &'d self,
        kind: Kind,
        unchanged: impl Iterator<Item = (&'d Key, &'d Arc<Record>)>,
    ) -> impl Iterator<Item = &'d Arc<Record>> {
        let (mut changed, mut unchanged) = (self.changed(kind).peekable(), unchanged.peekable());
        std::iter::from_fn(move || {
            loop {
                let order = match (changed.peek(), unchanged.peek()) {
                    (Some((new, _)), Some((old, _))) => new.cmp(old),
                    (Some(_), None) => Ordering::Less,
                    (None, _) => Ordering::Greater,
                };
                if order == Ordering::Greater {
                    return unchanged.next().map(|(_, record)| record);
                }
                if order == Ordering::Equal {
                    unchanged.next();
                }
                if let Some((_, Some(record))) = changed.next() {
                    return Some(record);
                }
            }
        })
    }

    /// Records whose owners, together, are all the owners that any record names; the owners may be gone.
    pub fn one_of_each_owner(&self) -> impl Iterator<Item = &Arc<Record>> {
        let changed = self.changed.values().flatten().filter(|record| record.meta().owner.is_some());
        self.state.one_of_each_owner().chain(changed)
    }

    /// Whether this step has written or deleted a record of that kind so far.
    pub fn wrote(&self, kind: Kind) -> bool {
        self.changed_kinds.contains(&kind)
    }

    /// Whether this step takes away something of a record of that kind, as `is_less` says of the old and the new one; none:
    /// deleted.
    pub fn lost_any(&self, kind: Kind, is_less: impl Fn(&Record, Option<&Record>) -> bool) -> bool {
        let known = self.changed(kind).filter_map(|(key, new)| Some((self.state.get(key)?, new)));
        known.into_iter().any(|(old, new)| is_less(old, new.as_deref()))
    }

    /// How many records of a kind there are.
    pub fn count(&self, kind: Kind) -> usize {
        self.records(kind).count()
    }

    /// What the object of this uid owns, of one kind.
    pub fn owned(&self, owner: &Uid, kind: Kind) -> Vec<Arc<Record>> {
        self.over_owned(owner, kind).cloned().collect()
    }

    /// One of `owned`, if there is any.
    pub fn any_owned(&self, owner: &Uid, kind: Kind) -> Option<Arc<Record>> {
        self.over_owned(owner, kind).next().cloned()
    }

    fn over_owned<'d>(&'d self, owner: &'d Uid, kind: Kind) -> impl Iterator<Item = &'d Arc<Record>> {
        let before = self.state.owned_entries(owner).filter(move |(key, _)| key.kind == kind);
        self.over(kind, before).filter(|record| record.meta().is_owned_by(owner))
    }

    /// All pods that are not at rest; those that are may be many.
    pub fn pods_in_hand(&self) -> Vec<Arc<Record>> {
        self.over(Kind::Pod, self.state.in_hand()).filter(|record| is_in_hand(record)).cloned().collect()
    }

    /// The pods that the object of this uid owns and that are not at rest.
    pub fn owned_in_hand(&self, owner: &Uid) -> Vec<Arc<Record>> {
        let owned = self.over(Kind::Pod, self.state.owned_in_hand(owner));
        owned.filter(|record| is_in_hand(record) && record.meta().is_owned_by(owner)).cloned().collect()
    }

    /// What the pods come to that the object of this uid owns and that are at rest.
    pub fn at_rest(&self, owner: &Uid) -> AtRest {
        fn own<'r>(record: &'r Record, owner: &Uid) -> Option<&'r Pod> {
            record.as_pod().filter(|pod| pod.meta.is_owned_by(owner))
        }
        let mut at_rest = self.state.at_rest(owner);
        for (key, record) in self.changed(Kind::Pod) {
            self.state.get(key).and_then(|old| own(old, owner)).into_iter().for_each(|old| at_rest.take(old));
            record.as_ref().and_then(|new| own(new, owner)).into_iter().for_each(|new| at_rest.add(new));
        }
        at_rest
    }

    /// How many pods are kept for reading only.
    pub fn kept_pods(&self) -> usize {
        let is_kept = |record: &Record| record.as_pod().is_some_and(Pod::is_kept_for_reading);
        self.recount(Kind::Pod, self.state.kept_pods(), is_kept)
    }

    pub fn events(&self) -> usize {
        self.recount(Kind::Event, self.state.events(), |_| true)
    }

    /// No event that this step did not tell was told before this time.
    pub fn oldest_event(&self) -> Option<Timestamp> {
        self.state.oldest_event()
    }

    /// Brings a number of records that the state knows up to what was changed.
    fn recount(&self, kind: Kind, before: usize, counts: impl Fn(&Record) -> bool) -> usize {
        let (mut gone, mut come) = (0, 0);
        for (key, record) in self.changed(kind) {
            gone += usize::from(self.state.get(key).is_some_and(|old| counts(old)));
            come += usize::from(record.as_ref().is_some_and(|new| counts(new)));
        }
        before + come - gone
    }

    pub fn pod_by_uid(&self, uid: &Uid) -> Option<Arc<Record>> {
        let is_it = |record: &&Arc<Record>| record.meta().uid == *uid;
        let before = self.state.pod_by_uid(uid).and_then(|record| self.get(&record.key())).filter(is_it);
        let made_now = || self.changed(Kind::Pod).filter_map(|(_, record)| record.as_ref()).find(is_it);
        before.or_else(made_now).cloned()
    }

    /// This node; none before the first `Booted`.
    pub fn node(&self) -> Option<&Node> {
        if !self.wrote(Kind::Node) {
            return self.state.node();
        }
        self.records(Kind::Node).find_map(|record| record.as_node())
    }

    // ---- writing -------------------------------------------------------------------------------------------------

    /// Writes a record that a promise rests on. Writing what is there already changes nothing.
    pub fn put(&mut self, record: impl Into<Record>) {
        if self.write(record.into()) {
            self.durable = true;
        }
    }

    /// Writes a record that merely informs: it waits in memory for the next commit that a promise forces.
    pub fn put_quietly(&mut self, record: impl Into<Record>) {
        self.write(record.into());
    }

    fn write(&mut self, record: Record) -> bool {
        let key = record.key();
        if self.get(&key).is_some_and(|old| **old == record) {
            return false;
        }
        self.change(key, Some(Arc::new(record)));
        true
    }

    /// Removes a record and nothing else; pods go through `pod::remove`, which counts them first.
    pub fn delete(&mut self, key: &Key) {
        if let Some(record) = self.get(key).cloned() {
            push::remember_if_finished(self, &record);
            self.change(key.clone(), None);
            self.durable = true;
        }
    }

    fn change(&mut self, key: Key, record: Option<Arc<Record>>) {
        self.changed_kinds.insert(key.kind);
        self.changed.insert(key, record);
        self.version += 1;
    }

    pub fn delete_quietly(&mut self, key: &Key) {
        let durable = self.durable;
        self.delete(key);
        self.durable = durable;
    }

    pub fn effect(&mut self, effect: Effect) {
        self.effects.push(effect);
    }

    /// The writes of this step must be durable before its effects, though they only inform.
    pub fn force(&mut self) {
        self.durable = true;
    }

    /// Look again at this time of the wall clock.
    pub fn wake_at(&mut self, t: Timestamp) {
        self.wake.at_wall(t);
    }

    /// Look again when `delay` has passed since now, in boot time.
    pub fn wake_in(&mut self, delay: Duration) {
        self.wake.at_uptime(self.now.uptime + delay);
    }

    /// Deadlines are found anew in each round.
    pub fn forget_wakes(&mut self) {
        self.wake = Wake::default();
    }

    // ---- making --------------------------------------------------------------------------------------------------

    /// A uid that no other object of this node has or had.
    pub fn new_uid(&mut self, key: &Key) -> Uid {
        let identity = self.node().and_then(|n| n.status.identity.clone());
        let identity = identity.as_ref().map_or("", |uid| uid.as_str());
        self.uids += 1;
        let (revision, number) = (self.next_revision().to_string(), self.uids.to_string());
        Uid::derive(&[identity, &revision, &number, key.kind.names().kind, &key.namespace, &key.name])
    }

    /// Metadata of an object that is being made now: uid, creation time, generation 1, and its name where it is generated.
    pub fn new_meta(&mut self, kind: Kind, mut meta: Meta) -> Meta {
        if meta.name.is_empty() {
            (meta.uid, meta.name) = self.generate_name(kind, &meta);
        } else {
            meta.uid = self.new_uid(&Key::new(kind, &meta.namespace, &meta.name));
        }
        meta.created = self.now.wall;
        meta.generation = 1;
        meta.deleting = None;
        meta.revision = 0;
        meta
    }

    /// Five letters are few: among a thousand pods two would meet once in a while, so a name that is taken is passed over.
    fn generate_name(&mut self, kind: Kind, meta: &Meta) -> (Uid, String) {
        let base = Key::new(kind, &meta.namespace, &meta.generate_name);
        loop {
            let uid = self.new_uid(&base);
            let name = uid.generated_name(&meta.generate_name);
            if self.find(kind, &meta.namespace, &name).is_none() {
                return (uid, name);
            }
        }
    }

    /// Tells a person something about an object. The same words about the same object are counted in one event.
    pub fn event(&mut self, about: &ObjectRef, kind: EventType, reason: &str, message: &str, source: &str) {
        let wall = self.now.wall;
        let key = event_key(about, reason, message, source);
        let known = self.get(&key).and_then(|record| record.as_event()).cloned();
        let event = match known {
            Some(event) => Event { count: event.count.saturating_add(1), last: wall, ..event },
            None => Event {
                meta: Meta { uid: self.new_uid(&key), created: wall, ..Meta::named(&key.namespace, &key.name) },
                about: about.clone(),
                kind,
                reason: reason.to_string(),
                message: message.to_string(),
                source: source.to_string(),
                count: 1,
                first: wall,
                last: wall,
            },
        };
        self.put_quietly(event);
    }

    /// As `event`, for a state that lasts: said when it begins, not again at each step while the event is kept.
    pub fn event_once(&mut self, about: &ObjectRef, kind: EventType, reason: &str, message: &str, source: &str) {
        if self.get(&event_key(about, reason, message, source)).is_none() {
            self.event(about, kind, reason, message, source);
        }
    }

    /// The end of the step. Every record written carries the revision that the commit will have.
    pub fn finish(self) -> Plan {
        #[cfg(test)]
        self.check_counts();
        let revision = self.state.revision + 1;
        let mut writes = Vec::with_capacity(self.changed.len());
        for (key, record) in self.changed {
            let before = self.state.get(&key);
            match record {
                Some(record) if before.is_some_and(|old| old == &record) => {}
                Some(mut record) => {
                    Arc::make_mut(&mut record).meta_mut().revision = revision;
                    writes.push(Write::Put(record));
                }
                None if before.is_some() => writes.push(Write::Delete(key)),
                None => {}
            }
        }
        Plan { durable: self.durable && !writes.is_empty(), writes, effects: self.effects, wake: self.wake }
    }
}

#[cfg(test)]
impl Draft<'_> {
    /// What is counted and picked by the state's index is what a walk through all records gives.
    fn check_counts(&self) {
        let pods: Vec<&Pod> = self.records(Kind::Pod).filter_map(|record| record.as_pod()).collect();
        let names = |of: Vec<Arc<Record>>| of.iter().map(|record| record.key()).collect::<Vec<Key>>();
        let in_hand = |pod: &&Pod| !pod.is_at_rest();
        let key = |pod: &Pod| Key::new(Kind::Pod, &pod.meta.namespace, &pod.meta.name);
        assert_eq!(names(self.pods_in_hand()), pods.iter().copied().filter(in_hand).map(key).collect::<Vec<Key>>());
        assert_eq!(self.kept_pods(), pods.iter().filter(|pod| pod.is_kept_for_reading()).count());
        assert_eq!(self.events(), self.records(Kind::Event).count());
        for owner in pods.iter().filter_map(|pod| pod.meta.owner.as_ref()).map(|owner| &owner.uid) {
            let own: Vec<&Pod> = pods.iter().copied().filter(|pod| pod.meta.is_owned_by(owner)).collect();
            let expected: Vec<Key> = own.iter().copied().filter(in_hand).map(key).collect();
            assert_eq!(names(self.owned_in_hand(owner)), expected);
            let mut at_rest = AtRest::default();
            own.into_iter().for_each(|pod| at_rest.add(pod));
            assert_eq!(self.at_rest(owner), at_rest);
        }
    }
}

/// The same words about the same object are one event.
fn event_key(about: &ObjectRef, reason: &str, message: &str, source: &str) -> Key {
    let words = format!("{}\0{}\0{reason}\0{message}\0{source}", about.uid, about.field_path);
    let namespace = if about.namespace.is_empty() { "default" } else { &about.namespace };
    Key::new(Kind::Event, namespace, &format!("{}.{}", about.name, &id::sha256_hex(words.as_bytes())[..16]))
}

fn is_in_hand(record: &Record) -> bool {
    record.as_pod().is_some_and(|pod| !pod.is_at_rest())
}

/// What an event is about.
pub fn about(record: &Record) -> ObjectRef {
    let meta = record.meta();
    ObjectRef {
        kind: record.kind(),
        namespace: meta.namespace.clone(),
        name: meta.name.clone(),
        uid: meta.uid.clone(),
        field_path: String::new(),
    }
}

/// The Job that owns a pod, if one does and is there.
pub fn owning_job(draft: &Draft, meta: &Meta) -> Option<Job> {
    let owner = meta.owner.as_ref().filter(|owner| owner.kind == Kind::Job)?;
    let job = draft.find(Kind::Job, &meta.namespace, &owner.name)?.as_job()?;
    (job.meta.uid == owner.uid).then(|| job.clone())
}
