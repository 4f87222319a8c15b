//! What a container's process is: user, root, directory, environment, and nothing of the daemon's.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use pinnace::model::attempt::Root;
use pinnace::model::{HowEnded, Launch};

use crate::Case;
use crate::world::{Mode, World, launch, script};

pub const CASES: &[Case] = &[
    Case { name: "nothing_of_the_daemon_leaks", run: nothing_of_the_daemon_leaks, root: false },
    Case { name: "environment_and_directory", run: environment_and_directory, root: false },
    Case { name: "users_and_groups", run: users_and_groups, root: true },
    Case { name: "an_ordinary_user_stays_itself", run: an_ordinary_user_stays_itself, root: false },
    Case { name: "another_root", run: another_root, root: true },
    Case { name: "facts", run: facts, root: false },
];

fn nothing_of_the_daemon_leaks(world: &mut World) {
    let program = "ls /proc/self/fd; grep -E 'Sig(Blk|Ign)|NoNewPrivs' /proc/self/status; ulimit -Sn; umask; \
                   cat /proc/self/oom_score_adj; readlink /proc/self/fd/0; test $(cut -d' ' -f6 /proc/self/stat) = $$";
    let output = world.output(&Launch { no_new_privileges: true, ..script("leak", program) });
    // Descriptor 3 is the listing's own.
    let expected = "0\n1\n2\n3\nSigBlk:\t0000000000000000\nSigIgn:\t0000000000000000\nNoNewPrivs:\t1\n1024\n0022\n1000\n/dev/null\n";
    assert_eq!(output, expected);
}

fn environment_and_directory(world: &mut World) {
    let directory = world.scratch.join("a b");
    fs::create_dir(&directory).unwrap();
    let env = [("A", "1"), ("B", "x=y z"), ("EMPTY", ""), ("PATH", "/usr/bin:/bin")];
    let env = env.iter().map(|(k, v)| (k.to_string(), v.to_string())).collect();
    let cwd = directory.to_str().unwrap().to_string();
    let output = world.output(&Launch { env, cwd: cwd.clone(), ..launch("env", &["env"]) });
    assert_eq!(output, "A=1\nB=x=y z\nEMPTY=\nPATH=/usr/bin:/bin\n", "these and no others");
    let mut pwd = Launch { cwd: cwd.clone(), ..launch("env", &["pwd", "-P"]) };
    pwd.attempt.number = 1;
    assert_eq!(world.output(&pwd), format!("{cwd}\n"));
}

fn users_and_groups(world: &mut World) {
    let mut number = 0;
    let mut check = |world: &mut World, user: Option<u32>, group: Option<u32>, groups: &[u32], expected: &str| {
        let mut launch = script("user", "echo $(id -u) $(id -g) $(id -G)");
        launch.attempt.number = number;
        number += 1;
        let launch = Launch { user, group, groups: groups.to_vec(), ..launch };
        assert_eq!(world.output(&launch), format!("{expected}\n"), "{user:?} {group:?} {groups:?}");
    };
    check(world, Some(4_000_000), Some(4_000_001), &[7, 8], "4000000 4000001 4000001 7 8");
    check(world, Some(4_000_000), None, &[], "4000000 0 0");
    check(world, None, Some(5), &[], "0 5 5");
    let bin: u32 = id(&["-g", "daemon"]);
    check(world, Some(id(&["-u", "daemon"])), None, &[], &format!("{0} {bin} {bin}", id(&["-u", "daemon"])));

    let mut launch = Launch { must_not_be_root: true, ..script("user", "true") };
    launch.attempt.number = 100;
    let how = world.run(&launch);
    assert!(matches!(&how, HowEnded::NotStarted(why) if why.contains("runAsNonRoot")), "{how:?}");
    launch.attempt.number = 101;
    assert_eq!(world.run(&Launch { user: Some(1), ..launch }), HowEnded::Code(0));
}

fn id(args: &[&str]) -> u32 {
    let output = Command::new("id").args(args).output().unwrap();
    String::from_utf8(output.stdout).unwrap().trim().parse().unwrap()
}

fn an_ordinary_user_stays_itself(world: &mut World) {
    if world.mode != Mode::User {
        return;
    }
    let own = nix::unistd::geteuid().as_raw();
    let same = Launch { user: Some(own), must_not_be_root: true, ..script("self", "id -u") };
    assert_eq!(world.output(&same), format!("{own}\n"));
    for (number, wrong) in [
        Launch { user: Some(0), ..script("self", "true") },
        Launch { group: Some(0), ..script("self", "true") },
        Launch { groups: vec![0], ..script("self", "true") },
        Launch { root: Root::Directory("/tmp".into()), ..script("self", "true") },
    ]
    .into_iter()
    .enumerate()
    {
        let mut wrong = wrong;
        wrong.attempt.number = 1 + number as u32;
        let how = world.run(&wrong);
        assert!(matches!(&how, HowEnded::NotStarted(why) if why.contains("pinnace")), "{how:?}");
    }
}

fn another_root(world: &mut World) {
    let root = world.scratch.join("root");
    copy_program("/bin/cat", &root);
    fs::write(root.join("where"), "inside\n").unwrap();
    let inside = |argv: &[&str], number| {
        let mut launch = launch("root", argv);
        launch.attempt.number = number;
        Launch { root: Root::Directory(root.to_str().unwrap().into()), ..launch }
    };
    assert_eq!(world.output(&inside(&["cat", "where"], 0)), "inside\n");
    let how = world.run(&inside(&["sh"], 1));
    assert_eq!(how, HowEnded::NotStarted("exec: \"sh\": executable file not found in $PATH".into()));
    let missing = Launch { root: Root::Directory("/no/such".into()), ..inside(&["cat"], 2) };
    let expected = "use \"/no/such\" as root directory: No such file or directory";
    assert_eq!(world.run(&missing), HowEnded::NotStarted(expected.into()));
}

/// A program and the libraries that it needs.
fn copy_program(program: &str, root: &Path) {
    let libraries = Command::new("ldd").arg(program).output().unwrap().stdout;
    let libraries = String::from_utf8(libraries).unwrap();
    let paths = libraries.split_whitespace().filter(|word| word.starts_with('/'));
    for path in paths.chain([program]) {
        let to: PathBuf = root.join(path.trim_start_matches('/'));
        fs::create_dir_all(to.parent().unwrap()).unwrap();
        fs::copy(path, to).unwrap();
    }
}

fn facts(world: &mut World) {
    let mode = world.mode;
    let facts = world.runtime().facts();
    assert_eq!(facts.cgroup, mode == Mode::Groups);
    let missing = ["cpu", "memory", "pids"].iter().filter(|c| !facts.controllers.iter().any(|have| have == *c));
    match mode {
        Mode::Groups => assert_eq!(facts.shortcomings.len(), missing.count().min(1), "{:?}", facts.shortcomings),
        Mode::Descent | Mode::User => {
            assert!(facts.shortcomings[0].contains("by descent"), "{:?}", facts.shortcomings);
            assert!(facts.controllers.is_empty());
        }
    }
    assert_eq!(facts.root, mode != Mode::User && nix::unistd::geteuid().is_root());
}
