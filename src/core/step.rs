//! One step: everything that was seen goes into the draft, then every controller in turn, until nothing changes.

use crate::model::{Now, Observed, Plan, Seen, State};

use super::draft::Draft;
use super::{admit, cronjob, daemonset, gc, image, job, node, pod, push};

/// A step that has not settled after this many rounds is a defect: each round must come nearer to the fixpoint.
const ROUNDS_MAX: u32 = 64;

/// Decides what to write and what to do. At a fixpoint (nothing seen, nothing due) the plan is empty but for its wake-up.
pub fn step(state: &State, observed: &Observed, now: &Now) -> Plan {
    let mut draft = Draft::new(state, now);
    for seen in &observed.seen {
        take(&mut draft, seen);
    }
    for round in 0.. {
        assert!(round < ROUNDS_MAX, "the step has not settled after {ROUNDS_MAX} rounds");
        let before = draft.version();
        draft.forget_wakes();
        reconcile(&mut draft);
        if draft.version() == before {
            break;
        }
    }
    image::sweep(&mut draft);
    draft.finish()
}

fn take(draft: &mut Draft, seen: &Seen) {
    match seen {
        Seen::Booted(booted) => {
            image::booted(draft, booted);
            node::booted(draft, booted);
            pod::booted(draft, booted);
            push::booted(draft);
        }
        Seen::Configured(configured) => {
            node::configured(draft, configured);
            push::booted(draft);
        }
        Seen::Asked { id, ask, dry_run } => admit::asked(draft, *id, ask, *dry_run),
        Seen::Pushed(message) => push::pushed(draft, message),
        Seen::NoRoom(message, lack) => push::no_room(draft, message, lack),
        Seen::Started { attempt, pid, at } => pod::started(draft, attempt, *pid, at),
        Seen::Exited(exit) => pod::exited(draft, exit),
        Seen::Pulled(pulled) => {
            image::pulled(draft, pulled);
            pod::pulled(draft, pulled);
        }
        Seen::Outgrown { pod, volume } => pod::outgrown(draft, pod, volume),
        Seen::Link(link) => push::link(draft, link),
        Seen::ClockSynchronised(is) => node::clock_synchronised(draft, *is),
        Seen::Disk { pressure } => node::disk(draft, pressure.as_deref()),
        Seen::Update(update) => node::updated(draft, update),
        Seen::StopPods => pod::stop_all(draft),
    }
}

/// Owners before what they own: a new CronJob time has its first process started in the step that made the Job.
fn reconcile(draft: &mut Draft) {
    node::sync(draft);
    push::sync(draft);
    cronjob::sync(draft);
    daemonset::sync(draft);
    job::sync(draft);
    gc::sync(draft);
    pod::sync(draft);
}
