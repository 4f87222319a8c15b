//! The machine: processes that outlive the daemon and die with the power, the shims' claims and exit records, two
//! clocks. It keeps a ledger of all that ever ran.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use pinnace::model::attempt::{Stamp, VolumeContent, VolumeOrder};
use pinnace::model::{AttemptId, BootId, Exit, Found, FoundState, HowEnded, Launch, Timestamp, Uid};

use crate::crash_backend::Random;

#[derive(Debug, Clone)]
pub struct Process {
    pub pid: u32,
    pub started: Stamp,
    ends_at: Option<Duration>,
    code: i32,
    stubborn: bool,
}

/// What the kernel tells the daemon of, when there is one.
#[derive(Debug, Clone)]
pub enum News {
    Started(AttemptId, u32, Stamp),
    Exited(Exit),
}

pub struct Kernel {
    pub boots: u64,
    pub uptime: Duration,
    /// Time with the power on, over all boots.
    pub lived: Duration,
    pub wall: Timestamp,
    /// A device without a battery-backed clock: it shows 1970 after a power cut, until it is set.
    pub clock_is_set: bool,
    pub live: BTreeMap<AttemptId, Process>,
    /// Claims of this boot: an attempt is begun at most once.
    claims: BTreeSet<AttemptId>,
    /// On disk.
    pub exits: BTreeMap<AttemptId, Exit>,
    pub pods_on_disk: BTreeSet<Uid>,
    /// Exits of this instant: a power cut may come before their records are on disk.
    fresh: Vec<AttemptId>,
    pub started: BTreeMap<AttemptId, u32>,
    /// Exit records that a power cut took: their work may be done again.
    pub unrecorded: BTreeSet<AttemptId>,
    /// Attempts that did their work: the ledger against which Jobs are held.
    pub done: BTreeSet<AttemptId>,
    pids: u32,
    pub claims_hold: bool,
    /// What the pods' volumes of files hold, in memory as the runtime keeps them: a path's data in base64.
    pub volumes: BTreeMap<(Uid, String), Files>,
    pub volumes_go: bool,
}

pub type Files = BTreeMap<String, String>;

impl Kernel {
    pub fn new() -> Kernel {
        Kernel {
            boots: 1,
            uptime: Duration::from_secs(20),
            lived: Duration::ZERO,
            wall: Timestamp::from_secs(1_790_000_000),
            clock_is_set: true,
            live: BTreeMap::new(),
            claims: BTreeSet::new(),
            exits: BTreeMap::new(),
            pods_on_disk: BTreeSet::new(),
            fresh: Vec::new(),
            started: BTreeMap::new(),
            unrecorded: BTreeSet::new(),
            done: BTreeSet::new(),
            pids: 100,
            claims_hold: true,
            volumes: BTreeMap::new(),
            volumes_go: true,
        }
    }

    pub fn boot(&self) -> BootId {
        BootId::new(format!("boot-{}", self.boots))
    }

    fn stamp(&self) -> Stamp {
        Stamp { wall: self.wall, boot: self.boot(), up_ms: self.uptime.as_millis() as u64 }
    }

    /// Begins an attempt as a shim does: the claim first, so that a second order does nothing.
    pub fn start(&mut self, launch: &Launch, random: &mut Random) -> Option<News> {
        let attempt = launch.attempt.clone();
        let begun = self.claims.contains(&attempt) || self.exits.contains_key(&attempt);
        if self.claims_hold && begun {
            return None;
        }
        self.claims.insert(attempt.clone());
        for volume in &launch.volumes {
            if let Some(files) = files(volume) {
                // One that was made before is kept.
                self.volumes.entry((attempt.pod.clone(), volume.name.clone())).or_insert(files);
            }
        }
        self.pods_on_disk.insert(attempt.pod.clone());
        *self.started.entry(attempt.clone()).or_default() += 1;
        self.pids += 1;
        let work = Work::of(&launch.argv, launch.attempt.number, random);
        let process = Process {
            pid: self.pids,
            started: self.stamp(),
            ends_at: work.seconds.map(|s| self.uptime + Duration::from_secs(s)),
            code: work.code,
            stubborn: work.stubborn,
        };
        let news = News::Started(attempt.clone(), process.pid, process.started.clone());
        self.live.insert(attempt, process);
        Some(news)
    }

    pub fn terminate(&mut self, attempt: &AttemptId) -> Option<News> {
        let process = self.live.get(attempt)?;
        if process.stubborn { None } else { self.end(attempt, HowEnded::Signal(15)) }
    }

    pub fn kill(&mut self, attempt: &AttemptId) -> Option<News> {
        self.end(attempt, HowEnded::Signal(9))
    }

    /// Replaces the content of a volume.
    pub fn project(&mut self, pod: &Uid, volume: &VolumeOrder) {
        if let Some(files) = files(volume) {
            self.volumes.insert((pod.clone(), volume.name.clone()), files);
        }
    }

    pub fn remove(&mut self, pod: &Uid) {
        if self.volumes_go {
            self.volumes.retain(|(of, _), _| of != pod);
        }
        self.live.retain(|attempt, _| attempt.pod != *pod);
        self.exits.retain(|attempt, _| attempt.pod != *pod);
        self.pods_on_disk.remove(pod);
    }

    pub fn forget(&mut self, attempt: &AttemptId) {
        self.exits.remove(attempt);
    }

    fn end(&mut self, attempt: &AttemptId, how: HowEnded) -> Option<News> {
        let process = self.live.remove(attempt)?;
        if how == HowEnded::Code(0) {
            self.done.insert(attempt.clone());
        }
        let exit = Exit {
            attempt: attempt.clone(),
            how,
            oom_killed: false,
            told_from_outside: false,
            started: Some(process.started),
            finished: self.stamp(),
        };
        self.exits.insert(attempt.clone(), exit.clone());
        self.fresh.push(attempt.clone());
        Some(News::Exited(exit))
    }

    pub fn next_end(&self) -> Option<Duration> {
        self.live.values().filter_map(|process| process.ends_at).min()
    }

    /// Time passes; processes whose work is done end.
    pub fn advance(&mut self, by: Duration) -> Vec<News> {
        self.fresh.clear();
        self.uptime += by;
        self.lived += by;
        self.wall = self.wall.plus(by);
        let done = |process: &Process| process.ends_at.is_some_and(|at| at <= self.uptime);
        let ended: Vec<(AttemptId, i32)> =
            self.live.iter().filter(|(_, p)| done(p)).map(|(id, p)| (id.clone(), p.code)).collect();
        ended.into_iter().filter_map(|(id, code)| self.end(&id, HowEnded::Code(code))).collect()
    }

    /// The power goes and comes back. Records of this instant may not have reached the disk.
    pub fn power_cut(&mut self, away: Duration, random: &mut Random) {
        for attempt in std::mem::take(&mut self.fresh) {
            if random.chance(2) && self.exits.remove(&attempt).is_some() {
                self.unrecorded.insert(attempt);
            }
        }
        self.live.clear();
        self.claims.clear();
        self.volumes.clear();
        self.boots += 1;
        self.uptime = Duration::from_secs(5);
        self.wall = self.wall.plus(away);
    }

    /// What a daemon that starts finds.
    pub fn found(&self) -> Vec<Found> {
        let live = self.live.iter().map(|(attempt, process)| Found {
            attempt: attempt.clone(),
            state: FoundState::Live { pid: Some(process.pid), started: Some(process.started.clone()) },
        });
        let exited = self
            .exits
            .iter()
            .map(|(attempt, exit)| Found { attempt: attempt.clone(), state: FoundState::Exited(exit.clone()) });
        live.chain(exited).collect()
    }
}

fn files(volume: &VolumeOrder) -> Option<Files> {
    match &volume.content {
        VolumeContent::Empty { .. } => None,
        VolumeContent::Files(files) => Some(files.iter().map(|file| (file.path.clone(), file.data.clone())).collect()),
    }
}

/// What a program does, by its name in the manifest: `work SECONDS CODE`, `flaky SECONDS`, `forever`, `stubborn`.
struct Work {
    seconds: Option<u64>,
    code: i32,
    stubborn: bool,
}

impl Work {
    fn of(argv: &[String], number: u32, random: &mut Random) -> Work {
        let word = |i: usize| argv.get(i).map_or("", String::as_str);
        let seconds = word(1).parse().ok();
        match word(0) {
            "work" => Work { seconds, code: word(2).parse().unwrap_or(0), stubborn: false },
            // Fails now and then, but not for ever.
            "flaky" => Work { seconds, code: i32::from(number < 3 && random.chance(3)), stubborn: false },
            "stubborn" => Work { seconds: None, code: 0, stubborn: true },
            _ => Work { seconds: None, code: 0, stubborn: false },
        }
    }
}
