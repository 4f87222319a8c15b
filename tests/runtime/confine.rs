//! What a container with an image may and may not: users, capabilities, system calls, devices, the kernel's files.

use pinnace::model::attempt::{Capabilities, Root, Seccomp};
use pinnace::model::{HowEnded, Launch};

use crate::Case;
use crate::images::{argv, image};
use crate::world::{World, script};

pub const CASES: &[Case] = &[
    Case { name: "confine_users", run: users, root: true },
    Case { name: "confine_users_that_are_not_there", run: users_that_are_not_there, root: true },
    Case { name: "confine_capabilities", run: capabilities, root: true },
    Case { name: "confine_system_calls", run: system_calls, root: true },
    Case { name: "confine_devices", run: devices, root: true },
    Case { name: "confine_kernel_files", run: kernel_files, root: true },
    Case { name: "confine_privileged", run: privileged, root: true },
    Case { name: "confine_host_root", run: host_root, root: true },
];

fn users(world: &mut World) {
    let mut number = 0;
    let mut check = |world: &mut World, image_user: &str, user: Option<u32>, group: Option<u32>, expected: &str| {
        let env = vec![("PATH".into(), "/bin".into())];
        let launch =
            Launch { image_user: image_user.into(), user, group, groups: vec![7], env, ..image(world, number, "") };
        let launch = Launch { argv: argv("echo $(id -u) $(id -g) $(id -G) $HOME"), ..launch };
        number += 1;
        assert_eq!(world.output(&launch), format!("{expected}\n"), "{image_user:?} {user:?} {group:?}");
    };
    check(world, "", None, None, "0 0 0 7 /root");
    check(world, "alice", None, None, "1000 1001 1001 7 44 /home/alice");
    check(world, "1000", None, None, "1000 1001 1001 7 44 /home/alice");
    check(world, "alice:mail", None, None, "1000 8 8 7 /home/alice");
    check(world, "alice:77", None, None, "1000 77 77 7 /home/alice");
    check(world, "4000:", None, None, "4000 0 0 7 /");
    check(world, "alice", Some(0), None, "0 0 0 7 /root");
    check(world, "root", Some(1000), None, "1000 1001 1001 7 44 /home/alice");
    check(world, "alice", None, Some(5), "1000 5 5 7 44 /home/alice");
    check(world, "alice:mail", Some(4000), Some(5), "4000 5 5 7 /");
}

fn users_that_are_not_there(world: &mut World) {
    let mut number = 0;
    let mut check = |world: &mut World, image_user: &str, must_not_be_root: bool, expected: &str| {
        let launch = Launch { image_user: image_user.into(), must_not_be_root, ..image(world, number, "true") };
        number += 1;
        let how = world.run(&launch);
        assert!(matches!(&how, HowEnded::NotStarted(why) if why.contains(expected)), "{how:?}");
    };
    check(world, "bob", false, "user \"bob\" is not in its /etc/passwd");
    check(world, "alice:nobody", false, "group \"nobody\" is not in its /etc/group");
    check(world, "-1", false, "user \"-1\" is not");
    check(world, "4294967296", false, "is not in its /etc/passwd");
    check(world, ":", true, "runAsNonRoot");
    check(world, "root", true, "runAsNonRoot");
    check(world, "0:5", true, "runAsNonRoot");
}

const STATUS: &str = "grep -E '^(Cap(Inh|Prm|Eff|Bnd|Amb)|NoNewPrivs|Seccomp):' /proc/self/status";

fn status(sets: [&str; 5], no_new_privileges: bool, seccomp: u32) -> String {
    let [inheritable, permitted, effective, bounding, ambient] = sets.map(|set| format!("{set:0>16}"));
    format!(
        "CapInh:\t{inheritable}\nCapPrm:\t{permitted}\nCapEff:\t{effective}\nCapBnd:\t{bounding}\nCapAmb:\t{ambient}\n\
         NoNewPrivs:\t{}\nSeccomp:\t{seccomp}\n",
        u32::from(no_new_privileges)
    )
}

fn words(words: &[&str]) -> Vec<String> {
    words.iter().map(|w| w.to_string()).collect()
}

fn capabilities(world: &mut World) {
    // What `docker run` shows.
    const USUAL: &str = "a80425fb";
    let mut number = 0;
    let mut check = |world: &mut World, user: &str, add: &[&str], drop: &[&str], sets: [&str; 5]| {
        let capabilities = Capabilities { add: words(add), drop: words(drop) };
        let launch = Launch { image_user: user.into(), capabilities, ..image(world, number, STATUS) };
        let launch = Launch { no_new_privileges: number % 2 == 1, ..launch };
        number += 1;
        let expected = status(sets, launch.no_new_privileges, 2);
        assert_eq!(world.output(&launch), expected, "{user:?} {add:?} {drop:?}");
    };
    check(world, "", &[], &[], ["0", USUAL, USUAL, USUAL, "0"]);
    check(world, "alice", &[], &[], ["0", "0", "0", USUAL, "0"]);
    check(world, "", &[], &["ALL"], ["0"; 5]);
    check(world, "", &["NET_ADMIN"], &["ALL"], ["0", "1000", "1000", "1000", "0"]);
    check(world, "", &["SYS_TIME"], &["KILL"], ["0", "aa0425db", "aa0425db", "aa0425db", "0"]);
    let launch =
        Launch { capabilities: Capabilities { add: words(&["FLY"]), drop: vec![] }, ..image(world, 9, "true") };
    let how = world.run(&launch);
    assert!(matches!(&how, HowEnded::NotStarted(why) if why.contains("unknown capability \"FLY\"")), "{how:?}");
}

fn system_calls(world: &mut World) {
    let user_namespace = "unshare -U true 2>/dev/null; echo $?; mount -t tmpfs x /tmp 2>/dev/null; echo $?";
    let mut number = 0;
    let mut check = |world: &mut World, seccomp: Seccomp, add: &[&str], expected: &str| {
        let capabilities = Capabilities { add: words(add), drop: vec![] };
        let launch = Launch { seccomp, capabilities, ..image(world, number, user_namespace) };
        number += 1;
        assert_eq!(world.output(&launch), expected, "{seccomp:?} {add:?}");
    };
    // A namespace of users takes no capability: it is the filter that refuses it.
    check(world, Seccomp::Unset, &[], "1\n1\n");
    check(world, Seccomp::RuntimeDefault, &[], "1\n1\n");
    check(world, Seccomp::Unconfined, &[], "0\n1\n");
    check(world, Seccomp::Unset, &["SYS_ADMIN"], "0\n0\n");
}

fn devices(world: &mut World) {
    let script = "echo x > /dev/null && head -c 3 /dev/zero | wc -c; head -c 3 /dev/urandom | wc -c; echo x > /dev/full; \
                  chmod 600 /dev/null; mknod /tmp/kmsg c 1 11 && cat /tmp/kmsg; mknod /dev/zero2 c 1 5 && cat /dev/zero2; \
                  ls -l /dev/fd /dev/stdout | wc -l; stat -f -c %T /dev/shm; stat -c %a /dev/shm";
    let output = world.output(&image(world, 0, &format!("{{ {script}; }} 2>&1")));
    let expected = "3\n3\nsh: write error: No space left on device\nchmod: /dev/null: Read-only file system\n\
                    cat: can't open '/tmp/kmsg': Permission denied\ncat: can't open '/dev/zero2': Permission denied\n\
                    2\ntmpfs\n1777\n";
    assert_eq!(output, expected);
}

/// Which of them there are depends on the kernel; what is there must be closed.
fn kernel_files(world: &mut World) {
    let script = "for f in kcore keys timer_list sched_debug latency_stats; do cat /proc/$f; done 2>/dev/null; \
                  ls -A /proc/scsi /proc/acpi /proc/asound /sys/firmware 2>/dev/null | grep -v ':$' | grep .; \
                  for f in sys/kernel/hostname sysrq-trigger irq/default_smp_affinity fs/new bus/new timer_list; do \
                  [ -e ${f%/*} ] && chmod 777 /proc/$f; done 2>&1 | grep -v 'Read-only\\|No such'; \
                  chmod 777 /sys/power /sys/fs/cgroup; echo x > /proc/sys/kernel/hostname; umount /proc/timer_list; cat /proc/sys/kernel/hostname";
    let output = world.output(&image(world, 0, &format!("cd /proc; {{ {script}; }} 2>&1")));
    let expected = "chmod: /sys/power: Read-only file system\nchmod: /sys/fs/cgroup: Read-only file system\n\
                    sh: can't create /proc/sys/kernel/hostname: Read-only file system\n\
                    umount: can't unmount /proc/timer_list: Operation not permitted\nimage\n";
    assert_eq!(output, expected);
}

fn privileged(world: &mut World) {
    let own = std::fs::read_to_string("/proc/self/status").unwrap();
    let own = own.lines().find_map(|line| line.strip_prefix("CapBnd:\t")).unwrap();
    let script = format!(
        "{STATUS}; mount -t tmpfs x /tmp && echo mounted; [ -c /dev/console ] && [ -c /dev/kmsg ] && echo devices; hostname"
    );
    let output = world.output(&Launch { privileged: true, ..image(world, 0, &script) });
    assert_eq!(output, format!("{}mounted\ndevices\nimage\n", status(["0", own, own, own, "0"], false, 0)));
}

fn host_root(world: &mut World) {
    let own = std::fs::read_to_string("/proc/self/status").unwrap();
    let own = own.lines().find_map(|line| line.strip_prefix("CapBnd:\t")).unwrap();
    let launch = |number, drop: &[&str], seccomp| {
        let mut launch = script("host", STATUS);
        launch.attempt.number = number;
        Launch { capabilities: Capabilities { add: vec![], drop: words(drop) }, seccomp, ..launch }
    };
    let all = ["0", own, own, own, "0"];
    assert_eq!(world.output(&launch(0, &[], Seccomp::Unset)), status(all, false, 0));
    assert_eq!(world.output(&launch(1, &["ALL"], Seccomp::Unset)), status(["0"; 5], false, 0));
    assert_eq!(world.output(&launch(2, &[], Seccomp::RuntimeDefault)), status(all, false, 2));
    assert_eq!(launch(0, &[], Seccomp::Unset).root, Root::Host);
}
