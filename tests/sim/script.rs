//! What people and the fleet do to the device: manifests drawn from a small alphabet, so that one seed differs from the
//! next in features as well as in moments; and the short scripts in which every crash point is tried.

use pinnace::model::{Scope, SetKey};

use crate::crash_backend::Random;
use crate::manifests::{self as say, Cron, Daemons, Work};

#[derive(Debug, Clone, PartialEq)]
pub enum Act {
    /// A new content of a slot; empty: the slot is cleared.
    Publish {
        set: SetKey,
        text: String,
    },
    Reconnect,
    WipeBroker,
    Scale {
        job: &'static str,
        parallelism: u32,
    },
    Suspend {
        job: &'static str,
        suspend: bool,
    },
    SuspendCron {
        suspend: bool,
    },
    /// Of another than the steady Job.
    DeletePod,
    DeleteJob {
        job: &'static str,
    },
    DeleteSet,
    ChangeMap {
        value: u64,
    },
    Drain,
    Uncordon,
    StepClock {
        seconds: i64,
    },
    SetClock,
    /// In a script; by chance it is a fault like others.
    CutPower,
}

/// The slot of a Job that is disturbed by faults alone, never by people: its ledger must be exact.
pub const STEADY: &str = "steady";
/// The group that the device is in.
pub const GROUP: &str = "till";

pub fn all(slot: &str) -> SetKey {
    SetKey { scope: Scope::All, slot: slot.into() }
}

pub fn of_group(slot: &str) -> SetKey {
    SetKey { scope: Scope::Group(GROUP.into()), slot: slot.into() }
}

pub fn of_node(slot: &str) -> SetKey {
    SetKey { scope: Scope::Node, slot: slot.into() }
}

fn publish(set: SetKey, text: impl Into<String>) -> Act {
    Act::Publish { set, text: text.into() }
}

pub fn steady(random: &mut Random) -> String {
    let program = if random.chance(2) { "work" } else { "flaky" };
    let command = format!("[\"{program}\", \"{}\", \"0\"]", 1 + random.next() % 20);
    let policy = if random.chance(2) { "Never" } else { "OnFailure" };
    let work = Work { name: STEADY, policy, command: &command, backoff: 30, ..Work::default() };
    say::job(&Work { completions: Some(1 + random.next() % 6), parallelism: 1 + random.next() % 3, ..work })
}

fn pick<'a>(random: &mut Random, from: &[&'a str]) -> &'a str {
    from[random.next() as usize % from.len()]
}

/// One thing that happens, drawn with weights. `turn` rises, so that a revision made of it does too.
pub fn draw(random: &mut Random, turn: u64) -> Act {
    match random.next() % 30 {
        0..=3 => publish(all("jobs"), jobs(random)),
        4..=6 => publish(all("agents"), agents(random)),
        7 | 8 => publish(all("cron"), cron(random)),
        9 => publish(all(pick(random, &["jobs", "agents", "cron", "maps"])), ""),
        10 => publish(all("broken"), pick(random, &["kind: Job\n: [", "apiVersion: v1\nkind: Nope\n", ""])),
        11 => Act::Reconnect,
        12 => Act::WipeBroker,
        13 => Act::Scale { job: "batch", parallelism: (random.next() % 5) as u32 },
        14 => Act::Suspend { job: "batch", suspend: random.chance(2) },
        15 => Act::DeletePod,
        16 => Act::DeleteJob { job: "batch" },
        17 => {
            if random.chance(2) {
                Act::Drain
            } else {
                Act::Uncordon
            }
        }
        18 => Act::StepClock { seconds: (random.next() % 20_000) as i64 - 10_000 },
        19 | 20 => maps(random, turn),
        21 => Act::ChangeMap { value: random.next() % 9 },
        22 => Act::DeleteSet,
        23 => Act::SuspendCron { suspend: random.chance(2) },
        25 => publish(all("readers"), say::reader(random.next() % 3)),
        26 | 27 => publish(all("conf"), change(random, say::map("conf", turn))),
        28 => publish(all("key"), change(random, say::secret("key", turn))),
        24 => Act::StepClock { seconds: if random.chance(2) { 189_000_000 } else { -189_000_000 } },
        _ => Act::SetClock,
    }
}

/// A content, or now and then none: the slot is cleared and what was in it pruned.
fn change(random: &mut Random, text: String) -> String {
    if random.chance(4) { String::new() } else { text }
}

/// A Job of any mode, and a map beside it: another content of the set under the same Job is taken or refused as a whole.
fn jobs(random: &mut Random) -> String {
    let work = Work {
        name: "batch",
        policy: if random.chance(2) { "Never" } else { "OnFailure" },
        command: pick(
            random,
            &["[\"work\", \"2\", \"1\"]", "[\"flaky\", \"7\"]", "[\"flaky\", \"7\"]", "[\"forever\"]"],
        ),
        completions: (!random.chance(4)).then(|| 1 + random.next() % 8),
        parallelism: 1 + random.next() % 4,
        backoff: random.next() % 7,
        deadline: random.chance(3).then(|| 20 + random.next() % 200),
        ttl: random.chance(3).then(|| random.next() % 300),
        suspend: random.chance(6),
        waits: random.chance(4),
    };
    format!("{}{}", say::job(&work), say::map("settings", random.next() % 3))
}

fn agents(random: &mut Random) -> String {
    say::daemon_set(&Daemons {
        version: random.next() % 3,
        strategy: pick(random, &["RollingUpdate", "RollingUpdate", "Surge", "OnDelete"]),
        command: pick(random, &["[\"forever\"]", "[\"stubborn\"]", "[\"work\", \"30\", \"1\"]"]),
    })
}

fn cron(random: &mut Random) -> String {
    say::cron_job(&Cron {
        policy: pick(random, &["Allow", "Forbid", "Replace"]),
        schedule: pick(random, &["* * * * *", "*/2 * * * *", "@every 30s", "0,15,30,45 * * * *", "*/10 * * * *"]),
        deadline: random.chance(3).then(|| 10 + random.next() % 200),
        seconds: 1 + random.next() % 100,
        history: random.chance(2).then(|| random.next() % 3),
    })
}

/// The same maps wished by several sets, with revisions, tombstones, and sets that leave others' objects alone.
fn maps(random: &mut Random, turn: u64) -> Act {
    let set = match random.next() % 3 {
        0 => all("maps"),
        1 => of_group("maps"),
        _ => of_node("maps"),
    };
    let text = match random.next() % 6 {
        0 => say::header(turn, true, true),
        1 => format!("{}{}", say::header(turn, false, false), say::map("alone", turn)),
        2 => format!("{}{}{}", say::header(turn, false, true), say::map("shared", turn), say::map("other", turn)),
        _ => format!("{}{}", say::header(turn, false, true), say::map("shared", random.next() % 3)),
    };
    publish(set, text)
}

// ---- short scripts --------------------------------------------------------------------------------------------------

/// A life without chance: what happens, and how many seconds pass after it.
pub struct Script {
    pub name: &'static str,
    pub acts: Vec<(Act, u64)>,
}

/// Each of them is about one part of what a node does; together they use all of it.
pub fn scripts() -> Vec<Script> {
    let work = Work::default;
    let job = |work: Work| publish(all("jobs"), say::job(&work));
    let agents = |set: &Daemons| publish(all("agents"), say::daemon_set(set));
    let daemons = |version, strategy| agents(&Daemons { version, strategy, command: "[\"forever\"]" });
    let ends = |command| agents(&Daemons { version: 1, strategy: "RollingUpdate", command });
    let cron = |policy, schedule, seconds| {
        let cron = Cron { policy, schedule, deadline: Some(100), seconds, history: Some(1) };
        publish(all("cron"), say::cron_job(&cron))
    };
    let map = |rev, name, value| format!("{}{}", say::header(rev, false, true), say::map(name, value));
    let script = |name, acts: Vec<(Act, u64)>| Script { name, acts };
    vec![
        script("never", vec![(job(Work { completions: Some(3), parallelism: 2, ..work() }), 30)]),
        script(
            "on-failure",
            vec![(job(Work { policy: "OnFailure", command: "[\"work\", \"3\", \"1\"]", backoff: 2, ..work() }), 90)],
        ),
        script(
            "back-off",
            vec![(job(Work { command: "[\"work\", \"1\", \"1\"]", backoff: 2, ttl: Some(30), ..work() }), 120)],
        ),
        script(
            "queue",
            vec![
                (job(Work { completions: None, parallelism: 2, command: "[\"work\", \"9\", \"0\"]", ..work() }), 3),
                (Act::Scale { job: "batch", parallelism: 3 }, 2),
                (Act::Suspend { job: "batch", suspend: true }, 8),
                (Act::Suspend { job: "batch", suspend: false }, 30),
            ],
        ),
        script(
            "deadline",
            vec![
                (job(Work { command: "[\"stubborn\"]", deadline: Some(20), ttl: Some(10), waits: true, ..work() }), 10),
                (Act::Drain, 3),
                (Act::Uncordon, 60),
            ],
        ),
        script(
            "cron",
            vec![
                (cron("Forbid", "* * * * *", 70), 130),
                (cron("Replace", "* * * * *", 70), 70),
                (Act::StepClock { seconds: -7200 }, 70),
                (Act::StepClock { seconds: 10_800 }, 70),
                (Act::SuspendCron { suspend: true }, 90),
            ],
        ),
        script(
            "daemons",
            vec![
                (daemons(1, "RollingUpdate"), 3),
                (daemons(2, "RollingUpdate"), 10),
                (daemons(3, "Surge"), 10),
                (daemons(4, "OnDelete"), 3),
                (Act::DeletePod, 10),
                (Act::DeleteSet, 10),
            ],
        ),
        script(
            "volumes",
            vec![
                (publish(all("readers"), say::reader(1)), 3),
                (publish(all("conf"), say::map("conf", 1)), 2),
                (publish(all("key"), say::secret("key", 1)), 3),
                (publish(all("conf"), say::map("conf", 2)), 2),
                (Act::ChangeMap { value: 8 }, 2),
                (publish(all("key"), say::secret("key", 2)), 2),
                (publish(all("readers"), say::reader(2)), 10),
                (publish(all("conf"), ""), 2),
                (Act::DeletePod, 10),
                (publish(all("conf"), say::map("conf", 3)), 3),
            ],
        ),
        script(
            "crashes",
            vec![(ends("[\"work\", \"1\", \"1\"]"), 3100), (Act::Drain, 5), (Act::Uncordon, 30), (Act::DeletePod, 20)],
        ),
        // The seventh attempt has begun with a number that was reserved, and no record of it is anywhere.
        script("reserved", vec![(ends("[\"work\", \"100\", \"1\"]"), 1350), (Act::CutPower, 200)]),
        script("updates", vec![(daemons(1, "RollingUpdate"), 3), (daemons(2, "RollingUpdate"), 10)]),
        script(
            "sets",
            vec![
                (publish(all("maps"), map(1, "shared", 1)), 1),
                (publish(of_node("maps"), map(2, "shared", 2)), 1),
                (publish(of_group("maps"), map(3, "shared", 3)), 1),
                (Act::ChangeMap { value: 8 }, 1),
                (publish(of_node("maps"), say::header(4, true, true)), 1),
                (publish(all("maps"), map(5, "other", 5)), 1),
                (publish(all("broken"), "kind: Job\n: ["), 1),
                (Act::WipeBroker, 1),
                (Act::Reconnect, 1),
                (publish(of_group("maps"), ""), 1),
            ],
        ),
        script(
            "deletes",
            vec![
                (job(Work { completions: Some(4), parallelism: 2, command: "[\"stubborn\"]", ..work() }), 3),
                (daemons(1, "RollingUpdate"), 3),
                (Act::DeletePod, 2),
                (Act::DeleteJob { job: "batch" }, 12),
                (publish(all("agents"), ""), 12),
            ],
        ),
    ]
}
