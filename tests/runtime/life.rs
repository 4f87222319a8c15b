//! Daemons come and go; attempts start once and are found again.

use std::fs;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use pinnace::model::{AttemptId, Effect, FoundState, HowEnded, Seen, Uid};

use crate::Case;
use crate::world::{World, launch, lives, parent, query, record_name, script, sleeper, state_of};

pub const CASES: &[Case] = &[
    Case { name: "an_attempt_starts_once", run: an_attempt_starts_once, root: false },
    Case { name: "a_living_attempt_is_not_started_again", run: a_living_attempt_is_not_started_again, root: false },
    Case { name: "a_new_daemon_finds_all", run: a_new_daemon_finds_all, root: false },
    Case { name: "orders_of_a_dead_daemon_are_seen", run: orders_of_a_dead_daemon_are_seen, root: false },
    Case { name: "what_lies_there_from_before", run: what_lies_there_from_before, root: false },
    Case { name: "forgotten_is_forgotten", run: forgotten_is_forgotten, root: false },
    Case { name: "removed_is_gone", run: removed_is_gone, root: false },
    Case { name: "a_dead_spawner_is_told", run: a_dead_spawner_is_told, root: false },
    Case { name: "many_at_once", run: many_at_once, root: false },
];

/// Adds a line to a file at each start.
fn counter(world: &World, number: u32) -> pinnace::model::Launch {
    let file = world.scratch.join("count");
    let mut launch = script("once", &format!("echo x >> {}", file.display()));
    launch.attempt.number = number;
    launch
}

fn an_attempt_starts_once(world: &mut World) {
    let once = counter(world, 0);
    let fence = |world: &mut World, number: u32| {
        // Orders are worked off in turn: when this one has ended, the one before was looked at.
        let mut fence = launch("fence", &["true"]);
        fence.attempt.number = number;
        let attempt = world.start(&fence);
        // That it ended before may be told once more.
        while world.ended().attempt != attempt {}
    };
    world.start(&once);
    world.start(&once);
    assert_eq!(world.ended().attempt, once.attempt);
    world.start(&once);
    fence(world, 0);
    world.die();
    world.daemon();
    world.start(&once);
    fence(world, 1);
    assert_eq!(fs::read_to_string(world.scratch.join("count")).unwrap(), "x\n");
    // The record alone is proof enough that it ran.
    fs::remove_file(world.claim(&once.attempt)).unwrap();
    world.die();
    world.daemon();
    world.start(&once);
    fence(world, 2);
    assert_eq!(fs::read_to_string(world.scratch.join("count")).unwrap(), "x\n");
}

/// Only the claim can tell a spawner that an attempt lives: there is no record yet, and the daemon knows nothing.
fn a_living_attempt_is_not_started_again(world: &mut World) {
    let file = world.scratch.join("count");
    let launch = script("living", &format!("echo x >> {}; echo up; exec sleep 1000", file.display()));
    let attempt = world.start(&launch);
    world.lines(&attempt, 1);
    world.die();
    world.blind_daemon();
    world.start(&launch);
    let fence = self::launch("fence", &["true"]);
    world.start(&fence);
    assert_eq!(world.ended().attempt, fence.attempt);
    assert_eq!(fs::read_to_string(&file).unwrap(), "x\n");
    world.act(Effect::Kill(attempt.clone()));
    let exit = world.ended();
    assert_eq!((exit.attempt, exit.how), (attempt, HowEnded::Signal(9)), "the first one is still in charge");
}

fn a_new_daemon_finds_all(world: &mut World) {
    let [lives_on, ends, lost] = ["lives", "ends", "lost"].map(sleeper);
    let mut pids = Vec::new();
    for launch in [&lives_on, &ends, &lost] {
        let attempt = world.start(launch);
        pids.push(world.started(&attempt));
    }
    world.die();
    assert!(pids.iter().all(|pid| lives(*pid)), "the daemon is not the pods' life line");
    kill(Pid::from_raw(pids[1]), Signal::SIGINT).unwrap();
    world.wait_for_shim(&ends.attempt);
    kill(Pid::from_raw(parent(pids[2])), Signal::SIGKILL).unwrap();
    world.wait_for_shim(&lost.attempt);

    let (found, pods) = world.daemon();
    assert_eq!(found.len(), 3);
    match state_of(&found, &lives_on.attempt) {
        Some(FoundState::Live { pid, started: Some(_) }) => assert_eq!(*pid, Some(pids[0] as u32)),
        state => panic!("{state:?}"),
    }
    match state_of(&found, &ends.attempt) {
        Some(FoundState::Exited(exit)) => assert_eq!(exit.how, HowEnded::Signal(2)),
        state => panic!("{state:?}"),
    }
    // Its process lives on without a shim, and has to go first.
    assert!(matches!(state_of(&found, &lost.attempt), Some(FoundState::Live { .. })));
    let exit = world.ended();
    assert_eq!((exit.attempt, exit.how), (lost.attempt, HowEnded::Lost));
    assert!(!lives(pids[2]));
    for launch in [&lives_on, &ends] {
        assert!(pods.contains(&launch.attempt.pod));
    }
    // Nothing of its output is lost, and it can be ended.
    assert_eq!(world.lines(&lives_on.attempt, 1), [pids[0].to_string()]);
    world.act(Effect::Terminate(lives_on.attempt.clone()));
    let exit = world.ended();
    assert_eq!((exit.attempt, exit.how), (lives_on.attempt, HowEnded::Signal(15)));
}

fn orders_of_a_dead_daemon_are_seen(world: &mut World) {
    let launches: Vec<_> = (0..20).map(|n| sleeper(&format!("many-{n}"))).collect();
    for launch in &launches {
        world.start(launch);
    }
    // The orders are on their way when the first has started; none of the rest is waited for.
    world.next();
    world.die();
    let (found, _) = world.daemon();
    for launch in &launches {
        let state = state_of(&found, &launch.attempt);
        // An order that had not left the daemon is not there and can be given again; no order is half there.
        assert!(matches!(state, Some(FoundState::Live { .. }) | None), "{state:?}");
        world.start(launch);
        world.act(Effect::Kill(launch.attempt.clone()));
    }
    let mut ended: Vec<AttemptId> = launches.iter().map(|_| world.ended().attempt).collect();
    ended.sort();
    ended.dedup();
    assert_eq!(ended.len(), launches.len());
}

fn what_lies_there_from_before(world: &mut World) {
    let [old, torn, empty, odd] = ["old", "torn", "empty", "odd"].map(|name| launch(name, &["true"]).attempt);
    let exit = |attempt: &AttemptId| {
        let stamp = r#"{"wall":"2026-01-01T00:00:00Z","boot":"earlier","up_ms":5}"#;
        let id = serde_json::to_string(attempt).unwrap();
        format!(r#"{{"attempt":{id},"how":{{"Code":4}},"oom_killed":false,"started":{stamp},"finished":{stamp}}}"#)
    };
    world.die();
    fs::write(world.record(&old), exit(&old) + "\n").unwrap();
    fs::write(world.record(&torn), exit(&torn)).unwrap();
    fs::write(world.record(&empty), "").unwrap();
    fs::write(world.dirs.data.join("exits/no record"), "x").unwrap();
    let claims = world.dirs.run.join("attempts");
    fs::write(claims.join(format!("{}_earlier", record_name(&odd))), "{\"shim\":1}\n").unwrap();
    fs::write(claims.join("no claim"), "x").unwrap();

    let (found, pods) = world.daemon();
    assert_eq!(found.len(), 1, "{found:?}");
    match state_of(&found, &old) {
        Some(FoundState::Exited(exit)) => assert_eq!((&exit.how, exit.finished.up_ms), (&HowEnded::Code(4), 5)),
        state => panic!("{state:?}"),
    }
    assert_eq!(pods, std::slice::from_ref(&old.pod));
    let left = |directory: &str| fs::read_dir(directory).unwrap().count();
    assert_eq!(left(claims.to_str().unwrap()), 1, "claims of earlier boots are cleared away");
    assert!(!world.record(&torn).exists() && !world.record(&empty).exists());
    fs::remove_file(world.record(&old)).unwrap();
}

fn forgotten_is_forgotten(world: &mut World) {
    let launch = script("forget", "echo kept");
    world.run(&launch);
    let attempt = &launch.attempt;
    assert!(world.claim(attempt).exists() && world.record(attempt).exists());
    for _ in 0..2 {
        world.act(Effect::Forget(attempt.clone()));
        assert!(!world.claim(attempt).exists() && !world.record(attempt).exists());
    }
    world.die();
    let (found, pods) = world.daemon();
    assert_eq!((found, pods), (vec![], vec![attempt.pod.clone()]), "the log stays until the pod goes");
    assert_eq!(world.read(&query(attempt)), b"kept\n");
}

fn removed_is_gone(world: &mut World) {
    let launch = sleeper("remove");
    let attempt = world.start(&launch);
    let pid = world.started(&attempt);
    world.die();
    let (_, pods) = world.daemon();
    assert_eq!(pods, std::slice::from_ref(&attempt.pod));
    // Without a record of the pod, the core has it removed; that it lives is no hindrance.
    world.remove(&attempt.pod);
    assert!(!lives(pid));
    world.die();
    assert_eq!(world.daemon(), (vec![], vec![]));
    world.act(Effect::Remove(Uid::new("../..")));
    world.act(Effect::Remove(attempt.pod));
}

fn a_dead_spawner_is_told(world: &mut World) {
    let attempt = world.start(&sleeper("spawner"));
    let pid = world.started(&attempt);
    kill(Pid::from_raw(spawner_of(pid)), Signal::SIGKILL).unwrap();
    let e = world.failure();
    assert!(e.contains("the process that starts containers is gone"), "{e}");
    assert!(lives(pid));
    world.die();
    let (found, _) = world.daemon();
    assert!(matches!(state_of(&found, &attempt), Some(FoundState::Live { .. })));
}

/// A shim's parent, as long as it lives.
fn spawner_of(first: i32) -> i32 {
    parent(parent(first))
}

fn many_at_once(world: &mut World) {
    let launches: Vec<_> = (0..100).map(|n| script(&format!("many-{n}"), &format!("exit {n}"))).collect();
    for launch in &launches {
        world.start(launch);
    }
    let (mut started, mut ended) = (0, 0);
    while ended < launches.len() {
        match world.next() {
            Seen::Started { .. } => started += 1,
            Seen::Exited(exit) => {
                let number = launches.iter().position(|launch| launch.attempt == exit.attempt).unwrap();
                assert_eq!(exit.how, HowEnded::Code(number as i32));
                ended += 1;
            }
            seen => panic!("{seen:?}"),
        }
    }
    assert_eq!(started, launches.len());
}
