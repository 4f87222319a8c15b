//! Images on a device: brought from a file, fetched from a registry, run in a file system of their own, kept and removed.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::device::Device;
use crate::registry::Registry;
use crate::{AGENT, needs_root};

/// The tutorial's images as archives, built as its reader builds them.
fn build(into: &Path) -> PathBuf {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/images/build");
    let built = Command::new(script).arg(into).env("BATCH_SECONDS", "0").output().unwrap();
    assert!(built.status.success(), "{}", String::from_utf8_lossy(&built.stderr));
    into.join("batch-job.tar")
}

/// A node that has `luksa/batch-job`, which is done at once.
fn with_batch_job() -> Device {
    let device = Device::start(&[]);
    let archive = build(device.path());
    let said = device.ok(&["image", "import", archive.to_str().unwrap()]);
    assert!(said.starts_with("image luksa/batch-job:latest imported ("), "{said}");
    device
}

fn job(name: &str, image: &str, more: &str) -> String {
    format!(
        "apiVersion: batch/v1\nkind: Job\nmetadata: {{name: {name}}}\nspec:\n  backoffLimit: 0\n  template:\n    spec:\n      restartPolicy: Never\n      containers:\n      - {{name: main, image: {image}{more}}}\n"
    )
}

#[track_caller]
fn run(device: &Device, name: &str, image: &str, more: &str) -> String {
    device.apply(&job(name, image, more));
    device.wait_for("condition=complete", &format!("job/{name}"));
    device.ok(&["logs", &format!("job/{name}")])
}

#[test]
fn an_imported_image_runs_the_tutorials_manifest_as_it_stands() {
    if !needs_root("an_imported_image_runs_the_tutorials_manifest_as_it_stands") {
        return;
    }
    let device = with_batch_job();
    device.ok(&["create", "-f", "examples/batch-job.yaml"]);
    device.wait_for("condition=complete", "job/batch-job");
    let log = device.ok(&["logs", "job/batch-job"]);
    let lines: Vec<&str> = log.lines().collect();
    assert!(lines.len() == 2 && lines[0].ends_with("Batch job starting"), "{log}");
    assert!(lines[1].ends_with("Finished succesfully"), "{log}");
    let pod = &device.items(&["pods", "-l", "app=batch-job"])[0];
    let id = pod["status"]["containerStatuses"][0]["imageID"].as_str().unwrap().to_string();
    assert!(device.ok(&["image", "inspect", "luksa/batch-job"]).contains(&id), "{id}");
}

#[test]
fn a_container_sees_its_own_system_and_not_the_devices() {
    if !needs_root("a_container_sees_its_own_system_and_not_the_devices") {
        return;
    }
    let device = with_batch_job();
    let secret = device.path().join("secret");
    fs::write(&secret, "of the device").unwrap();
    let program = format!(
        ", command: [sh, -c, 'cat {} || echo hidden; echo x >/bin/new && cat /bin/new; id; ps']",
        secret.display()
    );
    let said = run(&device, "look", "luksa/batch-job", &program);
    assert!(said.contains("hidden") && said.contains("\nx\n") && said.contains("uid=0(root)"), "{said}");
    let again = run(&device, "again", "luksa/batch-job", ", command: [sh, -c, 'ls /bin/new || echo gone']");
    assert!(again.contains("gone"), "what one container writes is not seen by the next: {again}");
}

#[test]
fn images_outlive_the_daemon_and_its_database() {
    if !needs_root("images_outlive_the_daemon_and_its_database") {
        return;
    }
    let mut device = with_batch_job();
    device.crash();
    device.boot();
    assert!(device.ok(&["image", "list"]).contains("luksa/batch-job:latest"));
    device.stop();
    let files = fs::read_dir(device.data()).unwrap().flatten().map(|entry| entry.path());
    for file in files.filter(|path| path.is_file() && path.extension().is_some_and(|e| e == "redb")) {
        fs::remove_file(file).unwrap();
    }
    device.boot();
    assert!(run(&device, "after", "luksa/batch-job", "").contains("Finished"), "a lost database is not lost images");
    device.ok(&["delete", "job", "after"]);
    device.ok(&["image", "rm", "luksa/batch-job"]);
    device.crash();
    device.boot();
    assert_eq!(device.ok(&["image", "list"]), "", "what was removed does not come back");
    device.eventually("its layers go", |device| {
        fs::read_dir(device.data().join("images/layers")).unwrap().next().is_none().then_some(())
    });
}

#[test]
fn an_image_in_use_is_kept_and_what_nobody_names_is_pruned() {
    if !needs_root("an_image_in_use_is_kept_and_what_nobody_names_is_pruned") {
        return;
    }
    let device = with_batch_job();
    let monitor = device.path().join("ssd-monitor.tar");
    device.ok(&["image", "import", monitor.to_str().unwrap()]);
    device.apply(&AGENT.replace("{name: main, command", "{name: main, image: luksa/batch-job, command"));
    device.ok(&["rollout", "status", "--timeout=60s", "ds/agent"]);
    let said = device.say(&["image", "rm", "luksa/batch-job"]);
    assert!(said.code == 1 && said.err.contains("is used by pod default/agent-"), "{said:?}");
    let said = device.ok(&["image", "prune"]);
    assert!(said.starts_with("image luksa/ssd-monitor:latest removed\n") && said.ends_with(" freed\n"), "{said}");
    let listed = device.ok(&["image", "list"]);
    assert!(listed.contains("luksa/batch-job:latest") && !listed.contains("ssd-monitor"), "{listed}");
}

#[test]
fn an_exported_image_comes_back_the_same() {
    if !needs_root("an_exported_image_comes_back_the_same") {
        return;
    }
    let device = with_batch_job();
    let archive = device.path().join("out.tar");
    device.ok(&["image", "export", "luksa/batch-job", archive.to_str().unwrap()]);
    let other = Device::start(&[]);
    let said = other.ok(&["image", "import", archive.to_str().unwrap(), "--name", "acme/again:2"]);
    assert!(said.starts_with("image acme/again:2 imported"), "{said}");
    assert!(run(&other, "again", "acme/again:2", "").contains("Finished"));
}

#[test]
fn a_root_file_system_becomes_an_image_through_a_pipe() {
    if !needs_root("a_root_file_system_becomes_an_image_through_a_pipe") {
        return;
    }
    let device = Device::start(&[]);
    build(device.path());
    let said = device.shell(
        "mkdir $WORK/root && tar -C $WORK -xf $WORK/batch-job.tar layer.tar && gzip -n <$WORK/layer.tar |
         pinnace image import - --name acme/tool:1 --entrypoint 'echo from the' --cmd pipe --env A=b",
    );
    assert!(said.code == 0 && said.out.starts_with("image acme/tool:1 imported"), "{said:?}");
    assert_eq!(run(&device, "tool", "acme/tool:1", ""), "from the pipe\n");
}

#[test]
fn what_is_no_image_is_refused_and_leaves_nothing() {
    if !needs_root("what_is_no_image_is_refused_and_leaves_nothing") {
        return;
    }
    let device = with_batch_job();
    let before = device.shell("cd $WORK/data/images && find . | sort").out;
    let archive = device.path().join("batch-job.tar");
    let whole = fs::read(&archive).unwrap();
    for (name, bytes) in [("cut", &whole[..whole.len() / 2]), ("empty", &[][..]), ("noise", &[7; 5000][..])] {
        let file = device.path().join(name);
        fs::write(&file, bytes).unwrap();
        let said = device.say(&["image", "import", file.to_str().unwrap()]);
        assert!(said.code == 1 && said.err.len() > 20, "{name}: {said:?}");
        assert_eq!(device.shell("cd $WORK/data/images && find . | sort").out, before, "{name}");
    }
    let said = device.say(&["image", "import", "/no/such/file"]);
    assert_eq!(said.err, "error: open /no/such/file: No such file or directory (os error 2)\n");
}

/// An import that gets no further holds up nothing else.
#[test]
fn pods_run_while_an_import_waits_for_its_next_byte() {
    if !needs_root("pods_run_while_an_import_waits_for_its_next_byte") {
        return;
    }
    let device = with_batch_job();
    let whole = fs::read(device.path().join("batch-job.tar")).unwrap();
    let mut importer = device.command(&["image", "import", "-", "--name", "late"]);
    let mut importer = importer.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let mut pipe = importer.stdin.take().unwrap();
    pipe.write_all(&whole[..whole.len() / 2]).unwrap();
    assert!(run(&device, "meanwhile", "luksa/batch-job", "").contains("Finished"));
    pipe.write_all(&whole[whole.len() / 2..]).unwrap();
    drop(pipe);
    let ended = importer.wait_with_output().unwrap();
    assert!(ended.status.success() && ended.stdout.starts_with(b"image late:latest imported"), "{ended:?}");
}

#[test]
fn an_ordinary_users_node_says_why_it_runs_no_image() {
    if !needs_root("an_ordinary_users_node_says_why_it_runs_no_image") {
        return;
    }
    let device = Device::of_user(65_534, &[]);
    let archive = build(device.path());
    let said = device.say(&["image", "import", archive.to_str().unwrap()]);
    assert!(said.code == 1 && said.err.contains("root"), "{said:?}");
    let layers = device.data().join("images/layers");
    assert!(!layers.exists() || fs::read_dir(layers).unwrap().next().is_none());
}

// ---- registries ----------------------------------------------------------------------------------------------------

/// A node that asks this registry where a manifest names docker.io, and a registry that has `luksa/batch-job`.
fn with_registry(locked: bool) -> (Device, Registry) {
    let registry = Registry::start(locked);
    let mut device = Device::prepare(&[]);
    let archive = build(device.path());
    registry.push(&archive, "luksa/batch-job:latest");
    let config = device.path().join("config.yaml");
    let host = registry.host();
    let text =
        format!("images:\n  registries:\n    docker.io: {{mirrors: ['{host}']}}\n    '{host}': {{insecure: true}}\n");
    fs::write(&config, text).unwrap();
    device.add_arguments(&["--config", config.to_str().unwrap()]);
    device.boot();
    (device, registry)
}

#[test]
fn a_pods_image_is_fetched_and_then_there_for_good() {
    if !needs_root("a_pods_image_is_fetched_and_then_there_for_good") {
        return;
    }
    let (mut device, registry) = with_registry(false);
    // No tag means `Always`: the registry is asked for each attempt.
    assert!(run(&device, "first", "luksa/batch-job", "").contains("Finished"));
    let events = device.ok(&["events"]);
    assert!(events.contains("Pulling image \"luksa/batch-job\""), "{events}");
    assert!(events.contains("Successfully pulled image \"luksa/batch-job\""), "{events}");
    drop(registry);
    assert!(run(&device, "offline", "luksa/batch-job", "").contains("Finished"), "a lost registry stops nothing");
    device.crash();
    device.boot();
    assert!(run(&device, "rebooted", "luksa/batch-job", "").contains("Finished"));
}

#[test]
fn a_pull_by_hand_says_what_it_got_or_why_not() {
    if !needs_root("a_pull_by_hand_says_what_it_got_or_why_not") {
        return;
    }
    let (device, registry) = with_registry(false);
    let said = device.ok(&["image", "pull", &format!("{}/luksa/batch-job", registry.host())]);
    assert!(said.starts_with(&format!("image {}/luksa/batch-job:latest pulled (", registry.host())), "{said}");
    let said = device.say(&["image", "pull", &format!("{}/luksa/nothing", registry.host())]);
    assert!(said.code == 1 && said.err.contains("luksa/nothing"), "{said:?}");
    let said = device.say(&["image", "pull", "UPPER/case"]);
    assert!(said.code == 1 && said.err.contains("UPPER/case"), "{said:?}");
}

#[test]
fn a_pull_secret_opens_a_registry_that_asks_for_a_password() {
    if !needs_root("a_pull_secret_opens_a_registry_that_asks_for_a_password") {
        return;
    }
    let (device, registry) = with_registry(true);
    let image = format!("{}/luksa/batch-job", registry.host());
    device.apply(&job("locked", &image, ""));
    let why = device.eventually("it is refused", |device| {
        let pod = device.items(&["pods", "-l", "job-name=locked"]).into_iter().next()?;
        let waiting = pod["status"]["containerStatuses"][0]["state"]["waiting"].clone();
        (waiting["reason"] == "ErrImagePull").then(|| waiting["message"].as_str().unwrap_or_default().to_string())
    });
    assert!(!why.is_empty() && !why.contains("geheim"), "{why}");
    let config =
        format!("{{\"auths\": {{\"{}\": {{\"username\": \"tester\", \"password\": \"geheim\"}}}}}}", registry.host());
    device.apply(&format!(
        "apiVersion: v1\nkind: Secret\nmetadata: {{name: reg}}\ntype: kubernetes.io/dockerconfigjson\nstringData:\n  .dockerconfigjson: '{config}'\n"
    ));
    let manifest = job("open", &image, "")
        .replace("      containers:", "      imagePullSecrets: [{name: reg}]\n      containers:");
    device.apply(&manifest);
    device.wait_for("condition=complete", "job/open");
    assert!(!device.log().contains("geheim"), "a password is not logged");
}
