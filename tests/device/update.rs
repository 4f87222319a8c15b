//! Another version of the program takes over, or gives way, while pods go on. Another version is the same program with some
//! bytes behind its end: another file with another hash that runs as well.

use std::fs;
use std::io::{Read, Write};
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use pinnace::model::Timestamp;
use pinnace::model::update::{Installed, Outcome, Program, Trial, Versions, Which};
use pinnace::update::{Home, decide, mark_of, probe, sha256_of};

use crate::device::{Device, lives, signal};
use crate::mosquitto::{Mosquitto, free_port};
use crate::{AGENT, needs_root};

fn program(mark: &str) -> Vec<u8> {
    let mut bytes = fs::read(env!("CARGO_BIN_EXE_pinnace")).unwrap();
    bytes.extend(mark.as_bytes());
    bytes
}

fn file(device: &Device, name: &str, content: &[u8]) -> PathBuf {
    let path = device.path().join(name);
    fs::write(&path, content).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    path
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

/// A device with a program of its own, prepared.
fn prepared(arguments: &[&str]) -> Device {
    let mut device = Device::prepare(arguments);
    device.install(&program(""));
    device
}

fn started(arguments: &[&str]) -> Device {
    let mut device = prepared(arguments);
    device.boot();
    device
}

fn home(device: &Device) -> Home {
    Home::of(&device.data())
}

fn versions(device: &Device) -> Versions {
    home(device).read().unwrap().expect("there was an update")
}

fn why_returned(device: &Device) -> String {
    match versions(device).last.expect("a trial has ended").outcome {
        Outcome::Returned(why) => why,
        Outcome::Confirmed => panic!("it was confirmed: {:?}", versions(device)),
    }
}

/// The agent's first process.
fn agent(device: &Device) -> u64 {
    device.eventually("the agent runs", |device| {
        let dump = device.ok(&["store", "dump"]);
        let pods = dump.lines().filter(|line| line.contains("\"record\":\"Pod\""));
        let pid = |line: &str| {
            let pod: serde_json::Value = serde_json::from_str(line).unwrap();
            pod["status"]["containers"][0]["state"]["Running"]["pid"].as_u64()
        };
        pods.filter_map(pid).next()
    })
}

/// Waits until nothing is on trial; what is in force.
fn settled(device: &Device) -> Which {
    device.eventually("the trial is over", |device| {
        let versions = home(device).read().unwrap()?;
        versions.trial.is_none().then_some(versions.in_force.which)
    })
}

fn events(device: &Device, reason: &str) -> Vec<String> {
    let events = device.items(&["events", "-A"]);
    let of = events.iter().filter(|event| event["reason"] == reason);
    of.map(|event| event["message"].as_str().unwrap().to_string()).collect()
}

/// As an update leaves it that was killed when it had written down its trial: nothing has been started yet.
fn put_on_trial(device: &Device, content: &[u8], needs_broker: bool) -> Which {
    let home = home(device);
    fs::create_dir_all(device.data()).unwrap();
    home.make().unwrap();
    let staged = file(device, "staged", content);
    let which = Which::Version(sha256_of(&staged).unwrap());
    home.keep(&which, &staged).unwrap();
    let binary = device.binary();
    let installed = Installed {
        version: probe(binary).unwrap(),
        sha256: sha256_of(binary).unwrap(),
        mark: mark_of(binary).unwrap(),
    };
    let trial = Trial {
        program: Program { which: which.clone(), version: "9.9.9".into() },
        starts: 0,
        within_s: 4,
        needs_broker,
        begun: Timestamp::EPOCH,
    };
    home.write(&decide::begin(home.read().unwrap().as_ref(), installed, trial).unwrap()).unwrap();
    which
}

#[test]
fn a_good_version_takes_over_in_place_and_pods_and_fleet_do_not_notice() {
    let broker = Mosquitto::start();
    let mut device = started(&["--broker", &broker.url()]);
    device.apply(AGENT);
    let (agent_pid, daemon) = (agent(&device), device.pid());
    device.eventually("a session", |device| (device.metric("pinnace_link_connected") == 1).then_some(()));
    let new = file(&device, "new", &program("new"));
    let which = Which::Version(sha256_of(&new).unwrap());
    let said = device.say(&["update", "--from", text(&new), "--within", "8s"]);
    assert_eq!(said.code, 0, "{said:?}\n{}", device.log());
    assert!(said.out.ends_with("is in force; 1 container kept its process\n"), "{said:?}");
    assert_eq!(device.metric("pinnace_link_connected"), 1);
    assert_eq!((agent(&device), device.pid()), (agent_pid, daemon));
    let (written, size) = (device.metric("pinnace_store_bytes_written_total"), fs::metadata(&new).unwrap().len());
    assert!(written < size, "{written} bytes: the {size} of the program were written by the daemon before");
    let kept = home(&device).program(&which).unwrap();
    assert_eq!(device.running(), kept);
    assert_eq!(fs::metadata(kept.parent().unwrap()).unwrap().permissions().mode() & 0o777, 0o700);
    assert_eq!(fs::read(device.binary()).unwrap(), program(""), "the package's file is not touched");
    assert_eq!((events(&device, "UpdateStarted").len(), events(&device, "Updated").len()), (1, 1));
    assert!(versions(&device).last.unwrap().told);
    let shown = device.ok(&["update", "status"]);
    assert!(shown.contains("In force: ") && shown.contains("Before:   0.1.0 (installed)"), "{shown}");
    let again = device.ok(&["update", "--from", text(&new)]);
    assert!(again.contains("is in force already"), "{again}");
    // No child of the daemon before is left, and no file of it is open.
    let children = fs::read_to_string(format!("/proc/{daemon}/task/{daemon}/children")).unwrap();
    assert_eq!(children.split_whitespace().count(), 1, "the spawner alone: {children}");
    // It is in force at each start from now on.
    device.crash();
    device.boot();
    assert_eq!((device.running(), agent(&device)), (kept, agent_pid));
    assert_eq!(events(&device, "Updated").len(), 1, "told once");
    assert_eq!(device.stop(), 0);
    assert!(lives(agent_pid));
}

#[test]
fn undo_goes_back_and_forth_and_a_package_wins() {
    let mut device = started(&[]);
    device.apply(AGENT);
    let agent_pid = agent(&device);
    let said = device.say(&["update", "--undo"]);
    assert!(said.code == 1 && said.err.contains("no version before"), "{said:?}");
    let new = file(&device, "new", &program("new"));
    device.ok(&["update", "--from", text(&new), "--within", "4s"]);
    let kept = device.running();
    let said = device.ok(&["update", "--undo", "--within", "4s"]);
    assert!(said.contains("the installed pinnace 0.1.0 is in force; 1 container kept its process"), "{said}");
    assert_eq!(device.running(), device.binary());
    device.ok(&["update", "--undo", "--within", "4s"]);
    assert_eq!(device.running(), kept);
    // The installed one, given as a file, is the installed one.
    let same = file(&device, "same", &program(""));
    device.ok(&["update", "--from", text(&same), "--within", "4s"]);
    assert_eq!((device.running().as_path(), &versions(&device).in_force.which), (device.binary(), &Which::Installed));
    device.ok(&["update", "--undo", "--within", "4s"]);

    device.install(&program("package"));
    device.crash();
    device.boot();
    assert_eq!(device.running(), device.binary());
    assert!(home(&device).read().unwrap().is_none() && device.log().contains("the installed program has changed"));
    device.eventually("versions are swept", |_| (!kept.exists()).then_some(()));
    assert_eq!(agent(&device), agent_pid);
    // The same program at the same place, copied anew, is no other package.
    device.ok(&["update", "--from", text(&new), "--within", "4s"]);
    device.install(&program("package"));
    device.crash();
    device.boot();
    assert_eq!(device.running(), kept);
}

#[test]
fn a_version_that_dies_at_once_gives_way_under_any_service_manager() {
    let mut device = prepared(&[]);
    put_on_trial(&device, &fs::read("/bin/false").unwrap(), false);
    for start in 1..=decide::STARTS_MAX {
        assert_eq!(device.fail_to_boot().0, 1);
        assert_eq!(versions(&device).trial.unwrap().starts, start);
    }
    device.boot();
    assert_eq!(device.running(), device.binary());
    assert!(why_returned(&device).contains("did not come up"));
    assert_eq!(events(&device, "UpdateReturned").len(), 1);
    let shown = device.ok(&["update"]);
    assert!(shown.contains("gave way to 0.1.0 (installed): it was started 2 times"), "{shown}");
}

#[test]
fn what_is_no_program_gives_way_within_one_start() {
    let mut device = prepared(&[]);
    put_on_trial(&device, b"\x7fELF but no more", false);
    device.boot();
    assert_eq!(device.running(), device.binary());
    assert!(why_returned(&device).contains("Exec format error"), "{}", why_returned(&device));
    device.stop();
    // A flipped bit in the file of the one in force.
    let which = put_on_trial(&device, &program("new"), false);
    device.boot();
    assert_eq!(settled(&device), which);
    device.stop();
    let kept = home(&device).program(&which).unwrap();
    let mut bytes = fs::read(&kept).unwrap();
    bytes[1000] ^= 1;
    fs::write(&kept, &bytes).unwrap();
    device.boot();
    assert_eq!(device.running(), device.binary());
    assert!(why_returned(&device).contains("damaged"));
    device.stop();
    // And one that is gone.
    let which = put_on_trial(&device, &program("new"), false);
    fs::remove_file(home(&device).program(&which).unwrap()).unwrap();
    device.boot();
    assert!(why_returned(&device).contains("No such file"));
}

#[test]
fn a_version_that_cannot_open_the_store_gives_way_at_once() {
    let mut device = prepared(&[]);
    device.boot();
    device.stop();
    put_on_trial(&device, &program("new"), false);
    // A format that it does not know. The one before does not know it either, which is seen by its words.
    let store = device.data().join("pinnace.redb");
    let good = fs::read(&store).unwrap();
    let mut newer = good.clone();
    (newer[64], newer[192]) = (99, 99);
    fs::write(&store, newer).unwrap();
    let (code, log) = device.fail_to_boot();
    assert!(code == 1 && log.contains("gives way") && log.contains("pinnace node: cannot open the store"), "{log}");
    assert!(why_returned(&device).contains("it has format 99"));
    fs::write(&store, good).unwrap();
    device.boot();
    assert_eq!(device.running(), device.binary());
    let told = events(&device, "UpdateReturned");
    assert!(told.len() == 1 && told[0].contains("cannot open the store"), "{told:?}");
}

#[test]
fn a_version_that_does_not_understand_the_settings_gives_way_at_once() {
    let config = tempfile::NamedTempFile::new().unwrap();
    fs::write(config.path(), "later_setting: 1\n").unwrap();
    let device = prepared(&["--config", text(config.path())]);
    put_on_trial(&device, &program("new"), false);
    assert_eq!(device.fail_to_boot().0, 1);
    assert!(why_returned(&device).contains("later_setting"));
    fs::write(config.path(), "").unwrap();
}

/// The installed program has nobody to give way to: it ends, and is not executed again and again.
#[test]
fn an_installed_program_that_cannot_start_ends_whatever_the_list_of_versions_says() {
    let config = tempfile::NamedTempFile::new().unwrap();
    let mut device = prepared(&["--config", text(config.path())]);
    let home = home(&device);
    fs::create_dir_all(device.data()).unwrap();
    home.make().unwrap();
    fs::write(home.dir().join("state.json"), "garbage").unwrap();
    fs::write(config.path(), "later_setting: 1\n").unwrap();
    let (code, log) = device.fail_to_boot();
    assert!(code == 1 && log.contains("later_setting"), "{code}: {log}");
    assert_eq!(log.matches("the installed program runs").count(), 1, "{log}");
    fs::write(config.path(), "images: {pull: false}\n").unwrap();
    device.boot();
    assert_eq!(device.running(), device.binary());
}

#[test]
fn another_program_that_is_started_beside_the_node_drops_nothing() {
    let mut device = started(&[]);
    let new = file(&device, "new", &program("new"));
    device.ok(&["update", "--from", text(&new), "--within", "4s"]);
    let (kept, noted) = (device.running(), versions(&device));
    device.install(&program("by hand"));
    assert!(device.fail_to_boot().1.contains("another pinnace node is using it"));
    assert_eq!((home(&device).read().unwrap().as_ref(), kept.exists()), (Some(&noted), true));
    device.install(&program(""));
    device.crash();
    device.boot();
    assert_eq!(device.running(), kept);
}

#[test]
fn a_package_with_the_size_inode_and_time_of_the_one_before_wins_too() {
    let mut device = prepared(&[]);
    device.install(&program("one"));
    device.boot();
    let new = file(&device, "new", &program("new"));
    device.ok(&["update", "--from", text(&new), "--within", "4s"]);
    device.crash();
    let (time, noted) = (fs::metadata(device.binary()).unwrap().modified().unwrap(), versions(&device));
    let mut installed = fs::OpenOptions::new().write(true).open(device.binary()).unwrap();
    installed.write_all(&program("two")).unwrap();
    installed.set_modified(time).unwrap();
    drop(installed);
    assert_eq!(mark_of(device.binary()).unwrap(), noted.installed.mark);
    device.boot();
    assert_eq!(device.running(), device.binary());
}

#[test]
fn a_version_that_loses_the_broker_gives_way() {
    let mut broker = Mosquitto::start();
    let mut device = started(&["--broker", &broker.url()]);
    device.apply(AGENT);
    let agent_pid = agent(&device);
    device.eventually("a session", |device| (device.metric("pinnace_link_connected") == 1).then_some(()));
    let new = file(&device, "new", &program("new"));
    device.ok(&["update", "--from", text(&new), "--within", "8s", "--no-wait"]);
    broker.kill();
    assert_eq!(settled(&device), Which::Installed);
    assert!(why_returned(&device).contains("no session with the broker"));
    device.eventually("the one before runs", |device| (device.running() == device.binary()).then_some(()));
    device.eventually("and tells", |device| {
        device.say(&["get", "nodes"]).ok()?;
        (events(device, "UpdateReturned").len() == 1).then_some(())
    });
    assert_eq!(agent(&device), agent_pid);
    assert_eq!(device.stop(), 0);
}

#[test]
fn without_a_broker_before_none_is_asked_for() {
    let url = format!("mqtt://127.0.0.1:{}", free_port());
    let device = started(&["--broker", &url]);
    let new = file(&device, "new", &program("new"));
    let said = device.ok(&["update", "--from", text(&new), "--within", "4s"]);
    assert!(said.contains("is in force"), "{said}");
}

#[test]
fn a_trial_is_given_up_when_somebody_asks() {
    let broker = Mosquitto::start();
    let device = started(&["--broker", &broker.url()]);
    device.eventually("a session", |device| (device.metric("pinnace_link_connected") == 1).then_some(()));
    let new = file(&device, "new", &program("new"));
    device.ok(&["update", "--from", text(&new), "--within", "1h", "--no-wait"]);
    let trial = device.eventually("the trial answers", |device| {
        let shown = device.say(&["update"]).ok()?;
        (shown.contains("On trial") && !shown.contains("start 0")).then_some(shown)
    });
    assert!(trial.contains("must reach the broker"), "{trial}");
    let said = device.say(&["update", "--from", text(&new)]);
    assert!(said.code == 1 && said.err.contains("is on trial already"), "{said:?}");
    // A second daemon on the same data is no start of the trial.
    assert!(device.fail_to_boot().1.contains("another pinnace node is using it"));
    assert_eq!(versions(&device).trial.unwrap().starts, 1);
    let said = device.ok(&["update", "--undo"]);
    assert!(said.contains("the installed pinnace 0.1.0 is in force"), "{said}");
    assert!(why_returned(&device).contains("an operator asked"));
    assert_eq!(device.running(), device.binary());
}

/// Killed at many moments of an update, and left as a kill between two writes leaves it: a node comes up, old or new, and
/// nothing stays undecided.
#[test]
fn a_kill_at_any_moment_of_an_update_leaves_a_node_that_runs() {
    let mut device = started(&[]);
    device.apply(AGENT);
    let agent_pid = agent(&device);
    let candidates = [file(&device, "a", &program("a")), file(&device, "b", &program("b"))];
    let reached = std::cell::Cell::new(0);
    // On a busy machine the first write comes later.
    for kill in (0..120u64).take_while(|kill| *kill < 12 || reached.get() == 0) {
        let candidate = &candidates[(kill % 2) as usize];
        let mut update = device.command(&["update", "--from", text(candidate), "--within", "2s", "--no-wait"]);
        let mut update =
            update.stdout(std::process::Stdio::null()).stderr(std::process::Stdio::null()).spawn().unwrap();
        std::thread::sleep(std::time::Duration::from_millis(100 * kill));
        device.crash();
        update.wait().unwrap();
        device.boot();
        assert_eq!(agent(&device), agent_pid, "kill {kill}");
        if home(&device).read().unwrap().is_some() {
            settled(&device);
            reached.update(|times| times + 1);
        }
    }
    assert!(reached.get() > 0, "no kill fell behind the first write");
    device.crash();

    // Staged and not noted; half a note beside the whole one; a trial that is noted and not begun.
    let home = home(&device);
    let which = put_on_trial(&device, &program("c"), false);
    let noted = home.read().unwrap().unwrap();
    home.write(&Versions { trial: None, ..noted.clone() }).unwrap();
    for left in ["state.json.new", "upload", "staged"] {
        fs::write(home.dir().join(left), "{\"installed").unwrap();
    }
    fs::write(home.dir().join("partial"), "the beginning of a download").unwrap();
    device.boot();
    device.eventually("what nobody noted is swept", |_| (!home.program(&which).unwrap().exists()).then_some(()));
    device.eventually("and so is what lies about", |_| (!home.dir().join("upload").exists()).then_some(()));
    assert!(home.dir().join("partial").exists() && !home.dir().join("state.json.new").exists());
    device.crash();
    put_on_trial(&device, &program("c"), false);
    device.boot();
    assert_eq!((settled(&device), agent(&device)), (which, agent_pid));
    device.crash();
    // A note that says nothing: the installed one runs.
    fs::write(home.dir().join("state.json"), "garbage").unwrap();
    device.boot();
    assert_eq!((device.running().as_path(), agent(&device)), (device.binary(), agent_pid));
    set_aside(&device, "garbage");
    // One that is damaged while a daemon runs does not stand in the way of the next update either.
    fs::write(home.dir().join("state.json"), "{\"installed").unwrap();
    let new = file(&device, "new", &program("new"));
    device.ok(&["update", "--from", text(&new), "--within", "4s"]);
    set_aside(&device, "{\"installed");
    assert_eq!((device.running() != device.binary(), agent(&device)), (true, agent_pid));
}

fn set_aside(device: &Device, what: &str) {
    assert_eq!(fs::read_to_string(home(device).dir().join("state.json.damaged")).unwrap(), what);
}

#[test]
fn what_may_not_be_tried_is_refused_with_its_reason() {
    let device = started(&[]);
    let pid = device.pid();
    let refused = |arguments: &[&str], why: &str| {
        let said = device.say(&[&["update", "--from"], arguments].concat());
        assert!(said.code == 1 && said.err.contains(why), "{arguments:?}: {said:?}");
    };
    let script = file(&device, "script", b"#!/bin/sh\nexit 1\n");
    refused(&[text(&script)], "is no program");
    let mut other = program("");
    other[18] = if other[18] == 183 { 62 } else { 183 };
    refused(&[text(&file(&device, "other", &other))], "for another machine");
    refused(&["/bin/true"], "the program is not pinnace");
    refused(&["/bin/false"], "the program cannot be run on this machine");
    refused(&[text(&script), "--sha256", &"0".repeat(64)], "another SHA-256 than the one given");
    refused(&[text(&script), "--sha256", "0"], "64 hexadecimal digits");
    refused(&["http://127.0.0.1:1/x"], "give --sha256");
    refused(&["/nowhere/x"], "open /nowhere/x");
    refused(&["ftp://127.0.0.1/x"], "an address begins with http:// or https://");
    // The reason and no broken connection, also while megabytes are under way.
    for _ in 0..10 {
        refused(&[text(device.binary()), "--sha256", "abc"], "64 hexadecimal digits");
        refused(&[text(device.binary()), "--within", "1s"], "from 2 to");
    }
    refused(&[text(device.path())], "is a directory");
    refused(&[text(&script), "--within", "1s"], "from 2 to");
    refused(&[text(&script), "--signature", text(&script)], "no update_keys");
    let empty = file(&device, "empty.tar.gz", b"\x1f\x8bgarbage");
    refused(&[text(&empty)], "the archive cannot be read");
    assert!(home(&device).read().unwrap().is_none());
    let left: Vec<_> = fs::read_dir(home(&device).dir()).unwrap().flatten().map(|entry| entry.file_name()).collect();
    assert!(left.is_empty(), "{left:?}");
    assert_eq!(device.pid(), pid);
}

/// Serves files of a directory and ranges of them; a connection for a long one is cut.
fn serve(dir: PathBuf) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let Ok(mut stream) = stream else { return };
            let mut request = Vec::new();
            let mut byte = [0];
            while !request.ends_with(b"\r\n\r\n") && stream.read(&mut byte).unwrap_or(0) == 1 {
                request.push(byte[0]);
            }
            let request = String::from_utf8_lossy(&request).into_owned();
            let path = request.split(' ').nth(1).unwrap_or_default().trim_start_matches('/').to_string();
            let Ok(content) = fs::read(dir.join(path)) else {
                let _ = stream.write_all(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n");
                continue;
            };
            let range =
                request.lines().find_map(|line| line.to_lowercase().strip_prefix("range: bytes=").map(String::from));
            let from: usize = range.and_then(|range| range.trim_end_matches('-').parse().ok()).unwrap_or(0);
            let last = content.len() - 1;
            let status = if from > 0 {
                format!("206 Partial Content\r\nContent-Range: bytes {from}-{last}/{}", content.len())
            } else {
                "200 OK".into()
            };
            let rest = &content[from..];
            let _ = write!(stream, "HTTP/1.1 {status}\r\nETag: \"x\"\r\nContent-Length: {}\r\n\r\n", rest.len());
            let _ = stream.write_all(&rest[..rest.len().min((content.len() / 3).max(4096))]);
        }
    });
    port
}

#[test]
fn a_signed_release_is_fetched_over_a_bad_line() {
    let config = tempfile::NamedTempFile::new().unwrap();
    let mut device = prepared(&["--config", text(config.path())]);
    let dir = device.path().join("www");
    fs::create_dir_all(dir.join("pinnace-9")).unwrap();
    let key = dir.join("key");
    let run = |program: &str, arguments: &[&str]| {
        assert!(
            Command::new(program).args(arguments).current_dir(&dir).output().unwrap().status.success(),
            "{program}"
        );
    };
    run("ssh-keygen", &["-q", "-t", "ed25519", "-N", "", "-C", "release key", "-f", text(&key)]);
    let new = program("released");
    fs::write(dir.join("pinnace-9/pinnace"), &new).unwrap();
    fs::write(dir.join("pinnace-9/README.md"), "read me").unwrap();
    run("tar", &["-czf", "release.tar.gz", "pinnace-9"]);
    run("ssh-keygen", &["-q", "-Y", "sign", "-n", "pinnace", "-f", "key", "release.tar.gz"]);
    let public = fs::read_to_string(dir.join("key.pub")).unwrap();
    fs::write(config.path(), format!("update_keys:\n- {public}images: {{pull: false}}\n")).unwrap();
    let port = serve(dir.clone());
    device.boot();
    let url = |name: &str| format!("http://127.0.0.1:{port}/{name}");
    let (release, signature) = (url("release.tar.gz"), url("release.tar.gz.sig"));
    let refused = |arguments: &[&str], why: &str| {
        let said = device.say(&[&["update", "--from"], arguments].concat());
        assert!(said.code == 1 && said.err.contains(why), "{arguments:?}: {said:?}");
    };
    let sha256 = sha256_of(&dir.join("release.tar.gz")).unwrap();
    refused(&[&release, "--sha256", &sha256], "a signature is needed");
    refused(&[&release, "--signature", &url("nothing")], "404");
    refused(&[&url("key.pub"), "--signature", &signature], "is not of this file");
    assert!(home(&device).read().unwrap().is_none());

    let said = device.ok(&["update", "--from", &release, "--signature", &signature, "--within", "4s"]);
    assert!(said.contains("signed by \"release key\"") && said.contains(&sha256), "{said}");
    assert_eq!(fs::read(device.running()).unwrap(), new);
    // The signature as a file of the operator.
    let plain = file(&device, "plain", &program("plain"));
    run("ssh-keygen", &["-q", "-Y", "sign", "-n", "pinnace", "-f", "key", text(&plain)]);
    let own = format!("{}.sig", plain.display());
    device.ok(&["update", "--from", text(&plain), "--signature", &own, "--within", "4s"]);
}

#[test]
fn the_node_of_an_ordinary_user_is_updated_as_well() {
    if !needs_root("the_node_of_an_ordinary_user_is_updated_as_well") {
        return;
    }
    let mut device = Device::of_user(12345, &[]);
    // A program that this user may read.
    device.stop();
    device.install(&program(""));
    device.boot();
    device.apply(AGENT);
    let agent_pid = agent(&device);
    let new = file(&device, "new", &program("new"));
    let said = device.ok(&["update", "--from", text(&new), "--within", "4s"]);
    assert!(said.contains("is in force; 1 container kept its process"), "{said}");
    assert_eq!(agent(&device), agent_pid);
    let cannot = device.say(&["update", "--from", "/nowhere"]);
    assert_eq!(cannot.code, 1);
    signal(device.pid(), nix::sys::signal::Signal::SIGHUP);
    device.ok(&["update", "--undo", "--within", "4s"]);
    assert_eq!(agent(&device), agent_pid);
}
