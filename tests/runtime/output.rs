//! What containers write, as it is read back: whole, in order, while it comes and when it is long over.

use std::fs;

use bytes::Bytes;
use pinnace::model::{AttemptId, Effect, HowEnded, Launch, LogQuery, Timestamp};
use tokio::sync::mpsc;

use crate::Case;
use crate::world::{World, query, script};

pub const CASES: &[Case] = &[
    Case { name: "output_is_read_as_written", run: output_is_read_as_written, root: false },
    Case { name: "following_loses_nothing", run: following_loses_nothing, root: false },
    Case { name: "following_ends_with_the_attempt", run: following_ends_with_the_attempt, root: false },
    Case { name: "old_logs_go", run: old_logs_go, root: false },
    Case { name: "two_streams", run: two_streams, root: false },
];

fn output_is_read_as_written(world: &mut World) {
    let check = |world: &mut World, number: u32, program: &str, expected: &[u8]| {
        let mut launch = script("written", program);
        launch.attempt.number = number;
        assert_eq!(world.run(&launch), HowEnded::Code(0));
        assert_eq!(world.read(&query(&launch.attempt)), expected, "{program}");
    };
    check(world, 0, "true", b"");
    check(world, 1, "echo a; echo b", b"a\nb\n");
    check(world, 2, "printf 'no end'", b"no end");
    check(world, 3, "printf '\\377\\000\\n\\376'", b"\xff\0\n\xfe");
    let long = [&[b'x'; 100_000][..], b"\n"].concat();
    check(world, 4, "head -c 100000 /dev/zero | tr '\\0' x; echo", &long);
    let numbers: String = (1..=50_000).map(|n| format!("{n}\n")).collect();
    check(world, 5, "seq 50000", numbers.as_bytes());

    let attempt = AttemptId { number: 5, ..script("written", "").attempt };
    let tail = LogQuery { tail: Some(2), ..query(&attempt) };
    assert_eq!(world.read(&tail), b"49999\n50000\n");
    let limited = LogQuery { limit_bytes: Some(5), ..tail.clone() };
    assert_eq!(world.read(&limited), b"49999");
    let times = String::from_utf8(world.read(&LogQuery { timestamps: true, ..tail })).unwrap();
    for line in times.lines() {
        Timestamp::parse(line.split_once(' ').unwrap().0).unwrap();
    }
    let future = LogQuery { since: Some(Timestamp::from_secs(10_000_000_000)), ..query(&attempt) };
    assert_eq!(world.read(&future), b"");
    let past = LogQuery { since: Some(Timestamp::EPOCH), ..query(&attempt) };
    assert_eq!(world.read(&past), numbers.as_bytes());
    let never = AttemptId { number: 99, ..attempt };
    for follow in [false, true] {
        assert_eq!(world.read(&LogQuery { follow, ..query(&never) }), b"");
    }
}

/// The log is rotated many times while it is read; the reader is always in time because the container waits for it.
fn following_loses_nothing(world: &mut World) {
    let fifo = world.scratch.join("go");
    nix::unistd::mkfifo(&fifo, nix::sys::stat::Mode::from_bits_truncate(0o644)).unwrap();
    let program = format!("exec 3< {}; seq 1 300; while read -r n <&3; do seq $n $((n + 299)); done", fifo.display());
    let launch = Launch { log_bytes_max: 4000, log_files_max: 9, ..script("follow", &program) };
    let attempt = world.start(&launch);
    let logs = world.logs();
    let mut go = world
        .block_on(async { tokio::task::spawn_blocking(move || fs::File::options().write(true).open(fifo)).await })
        .unwrap()
        .unwrap();
    world.started(&attempt);
    let text = world.block_on(async {
        let (out, mut pieces) = mpsc::channel::<Bytes>(1);
        let follow = LogQuery { follow: true, ..query(&attempt) };
        let gather = async {
            let mut text = String::new();
            let mut next = 301;
            while let Some(piece) = pieces.recv().await {
                text.push_str(std::str::from_utf8(&piece).unwrap());
                if text.ends_with(&format!("\n{}\n", next - 1)) && next < 3000 {
                    std::io::Write::write_all(&mut go, format!("{next}\n").as_bytes()).unwrap();
                    next += 300;
                } else if text.ends_with(&format!("\n{}\n", next - 1)) {
                    // The end of the file ends the container.
                    go = fs::File::open("/dev/null").unwrap();
                }
            }
            text
        };
        let (read, text) = tokio::join!(logs.read(follow, out), gather);
        read.unwrap();
        text
    });
    let last: usize = text.lines().last().unwrap().parse().unwrap();
    assert!(last >= 3000);
    assert_eq!(text, (1..=last).map(|n| format!("{n}\n")).collect::<String>());
    assert_eq!(world.ended().how, HowEnded::Code(0));
    let files = fs::read_dir(world.dirs.data.join("pods").join(attempt.pod.as_str()).join("main")).unwrap().count();
    assert_eq!(files, 9, "the oldest have gone");
}

fn following_ends_with_the_attempt(world: &mut World) {
    let launch = script("quiet", "echo a; read -r x");
    let attempt = world.start(&launch);
    world.started(&attempt);
    // Standard input is empty, so it ends by itself; whenever the follower comes, it gets all and ends.
    for _ in 0..3 {
        assert_eq!(world.read(&LogQuery { follow: true, ..query(&attempt) }), b"a\n");
    }
    world.ended();
    world.act(Effect::Forget(attempt.clone()));
    assert_eq!(world.read(&LogQuery { follow: true, ..query(&attempt) }), b"a\n");
}

fn old_logs_go(world: &mut World) {
    let numbered = |number: u32| {
        let mut launch = script("old", "echo $0");
        launch.attempt.number = number;
        launch
    };
    for number in 0..4 {
        assert_eq!(world.run(&numbered(number)), HowEnded::Code(0));
    }
    let directory = world.dirs.data.join("pods").join(numbered(0).attempt.pod.as_str()).join("main");
    for number in 0..2 {
        let path = directory.join(format!("{number}.0.log"));
        crate::world::wait_gone(&path);
    }
    for number in 2..4 {
        assert_eq!(world.read(&query(&numbered(number).attempt)), b"sh\n");
    }
}

fn two_streams(world: &mut World) {
    let launch = script("streams", "echo out; echo err >&2");
    world.run(&launch);
    let path = world.dirs.data.join("pods").join(launch.attempt.pod.as_str()).join("main/0.0.log");
    let text = fs::read_to_string(path).unwrap();
    let mut records: Vec<&str> = text.lines().map(|line| line.split_once(' ').unwrap().1).collect();
    records.sort_unstable();
    assert_eq!(records, ["stderr F err", "stdout F out"]);
}
