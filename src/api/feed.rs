//! The last changes of the state, kept for watches. Knows no client: a watch asks for what comes after the place it has
//! reached, and one that falls too far behind is told so.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::rc::Rc;
use std::sync::Arc;

use tokio::sync::watch;

use crate::model::{Record, State, Write};

/// So many changes are remembered.
pub const CHANGES_MAX: usize = 512;

/// One record before and after one step; none before: it is new; none after: it is gone.
#[derive(Debug)]
pub struct Change {
    pub revision: u64,
    pub before: Option<Arc<Record>>,
    pub after: Option<Arc<Record>>,
}

/// A bounded ring of changes. Lives on one thread.
pub struct Feed {
    ring: RefCell<Ring>,
    /// The number of the change that comes next; changes wake whoever waits.
    end: watch::Sender<u64>,
}

struct Ring {
    changes: VecDeque<Rc<Change>>,
    changes_max: usize,
    /// The number of the oldest change that is kept; they are numbered from 0.
    first: u64,
    /// Everything after this revision is kept.
    complete_since: u64,
}

/// What lies at a place.
#[derive(Debug)]
pub enum Next {
    Change(Rc<Change>),
    /// Nothing yet.
    Nothing,
    /// It is forgotten already.
    Forgotten,
}

impl Feed {
    /// An empty feed that begins where the state is: changes up to `revision` are not remembered.
    pub fn new(revision: u64) -> Feed {
        Feed::bounded(revision, CHANGES_MAX)
    }

    fn bounded(revision: u64, changes_max: usize) -> Feed {
        let ring = Ring { changes: VecDeque::new(), changes_max, first: 0, complete_since: revision };
        Feed { ring: RefCell::new(ring), end: watch::Sender::new(0) }
    }

    /// Takes up what a step wrote. `before` is the state that `writes` are about to be applied to: call this, then
    /// `State::apply`, with no await between.
    pub fn push(&self, before: &State, writes: &[Write]) {
        if writes.is_empty() {
            return;
        }
        let mut ring = self.ring.borrow_mut();
        for write in writes {
            let old = before.get(&write.key()).cloned();
            let new = match write {
                Write::Put(record) => Some(record.clone()),
                Write::Delete(_) => None,
            };
            ring.add(Change { revision: before.revision + 1, before: old, after: new });
        }
        self.end.send_replace(ring.end());
    }

    /// The place after everything that has happened.
    pub fn end(&self) -> u64 {
        self.ring.borrow().end()
    }

    /// The place of the first change after `revision`; none when some of those are forgotten, or when the revision
    /// lies ahead of `current`, the state's: it is of another life of the store.
    pub fn after(&self, revision: u64, current: u64) -> Option<u64> {
        let ring = self.ring.borrow();
        if revision < ring.complete_since || revision > current {
            return None;
        }
        Some(ring.first + ring.changes.partition_point(|c| c.revision <= revision) as u64)
    }

    pub fn at(&self, place: u64) -> Next {
        let ring = self.ring.borrow();
        let Some(index) = place.checked_sub(ring.first) else { return Next::Forgotten };
        let change = usize::try_from(index).ok().and_then(|i| ring.changes.get(i));
        change.map_or(Next::Nothing, |change| Next::Change(change.clone()))
    }

    /// Wakes when something is pushed after this call.
    pub fn news(&self) -> watch::Receiver<u64> {
        self.end.subscribe()
    }
}

impl Ring {
    fn end(&self) -> u64 {
        self.first + self.changes.len() as u64
    }

    fn add(&mut self, change: Change) {
        if self.changes.len() >= self.changes_max
            && let Some(oldest) = self.changes.pop_front()
        {
            self.first += 1;
            self.complete_since = oldest.revision;
        }
        self.changes.push_back(Rc::new(change));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Key, Kind, Meta, Namespace, Settings};

    fn put(name: &str, revision: u64) -> Write {
        let meta = Meta { revision, ..Meta::named("", name) };
        Write::Put(Arc::new(Record::from(Namespace { meta })))
    }

    fn step(feed: &Feed, state: &mut State, writes: &[Write]) {
        feed.push(state, writes);
        state.apply(writes);
    }

    #[test]
    fn a_change_knows_what_was_before() {
        let (feed, mut state) = (Feed::new(7), State::new(7, [], Settings::default()));
        step(&feed, &mut state, &[put("a", 8)]);
        step(&feed, &mut state, &[put("a", 9)]);
        step(&feed, &mut state, &[Write::Delete(Key::new(Kind::Namespace, "", "a"))]);
        let seen: Vec<(u64, bool, bool)> = (0..3)
            .map(|place| match feed.at(place) {
                Next::Change(c) => (c.revision, c.before.is_some(), c.after.is_some()),
                other => panic!("{other:?}"),
            })
            .collect();
        assert_eq!(seen, [(8, false, true), (9, true, true), (10, true, false)]);
        assert!(matches!(feed.at(3), Next::Nothing));
    }

    #[test]
    fn a_watch_begins_after_its_revision_or_is_told_that_it_is_too_old() {
        let (feed, mut state) = (Feed::bounded(0, 3), State::default());
        step(&feed, &mut state, &[put("a", 1), put("b", 1)]);
        step(&feed, &mut state, &[put("a", 2)]);
        assert_eq!(feed.after(0, 2), Some(0));
        assert_eq!(feed.after(1, 2), Some(2));
        assert_eq!(feed.after(2, 2), Some(3));
        assert_eq!(feed.after(3, 2), None, "a revision that was never given");
        step(&feed, &mut state, &[put("a", 3)]);
        // One of revision 1's two changes is forgotten: from 0 it is incomplete, from 1 it is not.
        assert_eq!(feed.after(0, 3), None);
        assert_eq!(feed.after(1, 3), Some(2));
        assert!(matches!(feed.at(0), Next::Forgotten));
        assert!(matches!(feed.at(1), Next::Change(_)));
        assert_eq!(feed.end(), 4);
    }

    #[test]
    fn a_new_feed_remembers_nothing_of_before() {
        let feed = Feed::new(40);
        assert_eq!(feed.after(39, 40), None);
        assert_eq!(feed.after(40, 40), Some(0));
    }
}
