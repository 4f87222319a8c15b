//! How attempts end, and that all of them ends.

use std::fs;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use pinnace::model::{Effect, HowEnded, Launch, Limits};

use crate::Case;
use crate::world::{Mode, World, launch, lives, parent, query, script, sleeper};

pub const CASES: &[Case] = &[
    Case { name: "exit_codes_and_signals", run: exit_codes_and_signals, root: false },
    Case { name: "what_cannot_run", run: what_cannot_run, root: false },
    Case { name: "descendants_end_with_the_first", run: descendants_end_with_the_first, root: false },
    Case { name: "terminate_reaches_the_first_alone", run: terminate_reaches_the_first_alone, root: false },
    Case { name: "a_shutdown_is_told_apart", run: a_shutdown_is_told_apart, root: false },
    Case { name: "kill_reaches_all", run: kill_reaches_all, root: false },
    Case { name: "a_signal_waits_for_the_shim", run: a_signal_waits_for_the_shim, root: false },
    Case { name: "a_killed_shim_is_a_loss", run: a_killed_shim_is_a_loss, root: false },
    Case { name: "a_limit_the_kernel_refuses", run: a_limit_the_kernel_refuses, root: true },
    Case { name: "no_room_for_the_record", run: no_room_for_the_record, root: true },
];

fn exit_codes_and_signals(world: &mut World) {
    let check = |world: &mut World, number: u32, program: &str, expected: HowEnded| {
        let mut launch = script("codes", program);
        launch.attempt.number = number;
        let attempt = world.start(&launch);
        world.started(&attempt);
        let exit = world.ended();
        assert_eq!((&exit.attempt, exit.how), (&attempt, expected), "{program}");
        let started = exit.started.unwrap();
        assert!(started.up_ms <= exit.finished.up_ms && started.boot == exit.finished.boot);
        assert!(!exit.oom_killed);
    };
    check(world, 0, "true", HowEnded::Code(0));
    check(world, 1, "exit 7", HowEnded::Code(7));
    check(world, 2, "exit 255", HowEnded::Code(255));
    check(world, 3, "kill -TERM $$", HowEnded::Signal(15));
    check(world, 4, "kill -KILL $$", HowEnded::Signal(9));
    check(world, 5, "kill -40 $$", HowEnded::Signal(40));
    check(world, 6, "kill -PIPE $$", HowEnded::Signal(13));
}

fn what_cannot_run(world: &mut World) {
    let plain = world.scratch.join("plain");
    fs::write(&plain, "#!/bin/sh\n").unwrap();
    let plain = plain.to_str().unwrap();
    let orphan = world.scratch.join("orphan");
    fs::write(&orphan, "#!/no/such/interpreter\n").unwrap();
    fs::set_permissions(&orphan, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    let orphan = orphan.to_str().unwrap();
    let with_path = |path: &str| Launch { env: vec![("PATH".into(), path.into())], ..launch("x", &["plain"]) };
    let scratch = world.scratch.to_str().unwrap().to_string();
    let table = [
        (launch("x", &["nope"]), "exec: \"nope\": executable file not found in $PATH".to_string()),
        (launch("x", &["/no/such"]), "exec: \"/no/such\": stat /no/such: no such file or directory".into()),
        (launch("x", &["/etc"]), "exec: \"/etc\": permission denied".into()),
        (launch("x", &[plain]), format!("exec: {plain:?}: permission denied")),
        (with_path(&scratch), "exec: \"plain\": permission denied".into()),
        (with_path("/no/such"), "exec: \"plain\": executable file not found in $PATH".into()),
        (
            launch("x", &[orphan]),
            format!(
                "exec: {orphan:?}: the interpreter or loader that it names is not there: no such file or directory"
            ),
        ),
        (launch("x", &[]), "no command: the container has neither a command nor an image with one".into()),
        (launch("x", &["a\0b"]), "a NUL byte in the command or in the environment".into()),
        (launch("x", &["true", &"x".repeat(200_000)]), "exec: \"true\": argument list too long".into()),
        (
            Launch { cwd: "/no/such".into(), ..launch("x", &["true"]) },
            "chdir to working directory \"/no/such\": no such file or directory".into(),
        ),
    ];
    for (number, (mut launch, expected)) in table.into_iter().enumerate() {
        launch.attempt.number = number as u32;
        world.start(&launch);
        let exit = world.ended();
        assert_eq!(exit.how, HowEnded::NotStarted(expected), "{:?}", launch.argv.first());
        assert_eq!(exit.started, None);
    }
    let mut odd = launch("x", &["true"]);
    odd.attempt.container = "../../x".into();
    assert!(matches!(world.run(&odd), HowEnded::NotStarted(why) if why.contains("cannot be the name of a file")));
    let mut big = launch("x", &["true"]);
    big.attempt.container = "big".into();
    big.env = (0..100).map(|n| (format!("V{n}"), "x".repeat(200_000))).collect();
    assert!(matches!(world.run(&big), HowEnded::NotStarted(why) if why.contains("too big")));
    big.attempt.container = "less-big".into();
    big.env.truncate(50);
    assert!(matches!(world.run(&big), HowEnded::NotStarted(why) if why.contains("argument list too long")));
}

/// Writes the pid of a process that has left the session and has no parent, and that no SIGTERM or SIGHUP ends.
const DAEMONISE: &str = "(setsid sh -c 'trap : TERM HUP; echo $$; while :; do sleep 1000; done' &)";

fn descendants_end_with_the_first(world: &mut World) {
    let launch = script("daemons", &format!("{DAEMONISE}; {DAEMONISE}; read -r x < {}/go; exit 5", scratch(world)));
    nix::unistd::mkfifo(&world.scratch.join("go"), nix::sys::stat::Mode::from_bits_truncate(0o644)).unwrap();
    let attempt = world.start(&launch);
    let pids = pids(world, &attempt, 2);
    assert!(pids.iter().all(|pid| lives(*pid)));
    fs::write(world.scratch.join("go"), "\n").unwrap();
    assert_eq!(world.ended().how, HowEnded::Code(5));
    assert!(!pids.iter().any(|pid| lives(*pid)), "all are gone before the end is told");
}

fn terminate_reaches_the_first_alone(world: &mut World) {
    let program = "sh -c 'trap \"echo no\" TERM; echo ready; while :; do sleep 1000; done' & \
                   trap 'echo got; exit 3' TERM; echo ready; while :; do wait; done";
    let attempt = world.start(&script("term", program));
    world.lines(&attempt, 2);
    world.act(Effect::Terminate(attempt.clone()));
    assert_eq!(world.ended().how, HowEnded::Code(3));
    assert_eq!(world.read(&query(&attempt)), b"ready\nready\ngot\n");
}

/// As an init system ends the processes of a machine that goes down, one after the other.
fn a_shutdown_is_told_apart(world: &mut World) {
    for (number, to_shim) in [true, false].into_iter().enumerate() {
        let mut launch = script("down", "trap 'exit 3' TERM; echo $$; while :; do sleep 1000 & wait; done");
        launch.attempt.number = number as u32;
        let attempt = world.start(&launch);
        let first = pids(world, &attempt, 1)[0];
        if to_shim {
            kill(Pid::from_raw(parent(first)), Signal::SIGTERM).unwrap();
        }
        kill(Pid::from_raw(first), Signal::SIGTERM).unwrap();
        let exit = world.ended();
        assert_eq!((exit.how, exit.told_from_outside), (HowEnded::Code(3), to_shim));
    }
}

fn kill_reaches_all(world: &mut World) {
    let program = format!("trap : TERM; {DAEMONISE}; {DAEMONISE}; echo $$; while :; do sleep 1000; done");
    let attempt = world.start(&script("kill", &program));
    let pids = pids(world, &attempt, 3);
    world.act(Effect::Kill(attempt));
    assert_eq!(world.ended().how, HowEnded::Signal(9));
    assert!(!pids.iter().any(|pid| lives(*pid)));
}

fn a_signal_waits_for_the_shim(world: &mut World) {
    for (number, effect) in [Effect::Terminate as fn(_) -> _, Effect::Kill].into_iter().enumerate() {
        let mut launch = launch("early", &["sleep", "1000"]);
        launch.attempt.number = number as u32;
        let attempt = world.start(&launch);
        world.act(effect(attempt.clone()));
        // The stronger one is not forgotten for a weaker one.
        world.act(Effect::Terminate(attempt.clone()));
        let expected = if number == 0 { 15 } else { 9 };
        assert_eq!(world.ended().how, HowEnded::Signal(expected));
    }
}

fn a_killed_shim_is_a_loss(world: &mut World) {
    let attempt = world.start(&script("lost", &format!("{DAEMONISE}; echo $$; exec sleep 1000")));
    let pids = pids(world, &attempt, 2);
    let first = world.started(&attempt);
    kill(Pid::from_raw(parent(first)), Signal::SIGKILL).unwrap();
    let exit = world.ended();
    assert_eq!((exit.how, exit.attempt), (HowEnded::Lost, attempt));
    assert!(exit.started.is_some());
    assert!(!pids.iter().any(|pid| lives(*pid)));
}

fn a_limit_the_kernel_refuses(world: &mut World) {
    let mut launch = launch("limit", &["true"]);
    launch.limits = Limits { cpu_quota_us: Some(u64::MAX), ..Limits::default() };
    // Without the controller a limit is left out: the core tells the user.
    let enforced = world.runtime().facts().controllers.contains(&"cpu".to_string());
    let how = world.run(&launch);
    assert_eq!(matches!(how, HowEnded::NotStarted(_)), enforced, "{how:?}");
}

fn no_room_for_the_record(world: &mut World) {
    if world.mode != Mode::Descent {
        return;
    }
    let attempt = world.start(&sleeper("full"));
    world.started(&attempt);
    fs::rename(world.dirs.data.join("exits"), world.dirs.data.join("away")).unwrap();
    world.act(Effect::Kill(attempt));
    assert_eq!(world.ended().how, HowEnded::Signal(9), "told by the claim where the disk did not take it");
    fs::rename(world.dirs.data.join("away"), world.dirs.data.join("exits")).unwrap();
}

fn pids(world: &mut World, attempt: &pinnace::model::AttemptId, count: usize) -> Vec<i32> {
    let pids = world.lines(attempt, count).iter().map(|line| line.parse().unwrap()).collect::<Vec<i32>>();
    assert!(pids.iter().all(|pid| lives(*pid)));
    pids
}

fn scratch(world: &World) -> String {
    world.scratch.to_str().unwrap().to_string()
}
