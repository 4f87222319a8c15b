//! Which clock a thing is due on. Delays count in time since boot, suspended time included; schedules are of the wall clock.

use std::collections::BTreeMap;
use std::fs;
use std::time::Duration;

use crate::AGENT;
use crate::device::{Device, say_past_the_harness};

/// Due once a year: not while a test runs.
const YEARLY: &str = "
apiVersion: batch/v1
kind: CronJob
metadata: {name: yearly}
spec:
  schedule: '0 0 1 1 *'
  jobTemplate:
    spec:
      template:
        spec:
          restartPolicy: Never
          containers:
          - {name: main, command: ['true']}
";

fn job(name: &str, limits: &str, program: &str) -> String {
    format!(
        "apiVersion: batch/v1\nkind: Job\nmetadata: {{name: {name}}}\nspec:\n  {limits}\n  template:\n    spec:\n      restartPolicy: Never\n      terminationGracePeriodSeconds: 1\n      containers:\n      - {{name: main, command: [{program}]}}\n"
    )
}

/// The daemon's timers as the kernel has them: of each clock the flags of its setting, and whether it is to expire.
fn timers(device: &Device) -> BTreeMap<u64, (u64, bool)> {
    let process = format!("/proc/{}", device.pid());
    let texts = fs::read_dir(format!("{process}/fdinfo")).unwrap().flatten();
    let texts = texts.filter_map(|entry| fs::read_to_string(entry.path()).ok());
    texts.filter(|text| text.contains("clockid:")).map(|text| timer(&text)).collect()
}

/// Source: proc_pid_fdinfo(5): `settime flags` is octal, `it_value` the time that is left.
fn timer(text: &str) -> (u64, (u64, bool)) {
    let field = |name: &str| text.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_else(|| panic!("{text}"));
    let clock = field("clockid:").trim().parse().unwrap();
    let flags = u64::from_str_radix(field("settime flags:").trim(), 8).unwrap();
    (clock, (flags, field("it_value:").trim() != "(0, 0)"))
}

#[test]
fn timers_are_on_the_clocks_that_go_on_in_suspend_and_tell_of_steps() {
    const ABSOLUTE: u64 = 1;
    const CANCEL_ON_SET: u64 = 2;
    let (boottime, realtime) = (libc::CLOCK_BOOTTIME as u64, libc::CLOCK_REALTIME as u64);
    let device = Device::start(&[]);
    device.apply(YEARLY);
    device.apply(&job("long", "activeDeadlineSeconds: 100000", "sleep, '100000'"));
    device.wait_for("jsonpath={.status.ready}=1", "job/long");
    let expected = BTreeMap::from([(boottime, (ABSOLUTE, true)), (realtime, (ABSOLUTE | CANCEL_ON_SET, true))]);
    device.eventually("a timer runs on each clock, and there is no other", |device| {
        (timers(device) == expected).then_some(())
    });
}

/// As a daemon finds it that is started after a long suspend: the same boot, and the delays of a year are over. The wall
/// clock is not moved here, so no schedule may have noticed.
#[test]
fn suspended_time_counts_for_delays_and_not_for_schedules() {
    const YEAR: Duration = Duration::from_secs(366 * 86_400);
    if !Device::can_sleep() {
        say_past_the_harness("NOT RUN (needs time namespaces): suspended_time_counts_for_delays_and_not_for_schedules");
        return;
    }
    let mut device = Device::start(&[]);
    let boot = device.json(&["nodes"])["items"][0]["status"]["nodeInfo"]["bootID"].clone();
    assert!(boot.is_string(), "{boot}");
    device.apply(AGENT);
    device.apply(YEARLY);
    device.apply(&job("long", "activeDeadlineSeconds: 100000", "sleep, '100000'"));
    device.apply(&job("within", "activeDeadlineSeconds: 100000000", "sleep, '100000'"));
    device.apply(&job("done", "ttlSecondsAfterFinished: 100000", "'true'"));
    device.apply(&job("again", "backoffLimit: 1", "'false'"));
    device.wait_for("condition=complete", "job/done");
    device.wait_for("jsonpath={.status.ready}=1", "job/long");
    device.wait_for("jsonpath={.status.ready}=1", "job/within");
    device.wait_for("jsonpath={.status.numberReady}=1", "daemonset/agent");
    device.wait_for("jsonpath={.status.failed}=1", "job/again");
    let agent = device.items(&["pods", "-l", "app=agent"])[0]["status"]["containerStatuses"][0].clone();
    device.stop();
    device.sleep(YEAR);
    device.boot();
    assert_eq!(device.json(&["nodes"])["items"][0]["status"]["nodeInfo"]["bootID"], boot, "it is no reboot");
    device.wait_for("condition=failed", "job/long");
    let late = device.json(&["job", "long"]);
    assert!(late["status"]["conditions"].to_string().contains("DeadlineExceeded"), "{late}");
    device.ok(&["wait", "--for=delete", "job/done", "--timeout=60s"]);
    // The back-off of its first failure is over, and the second failure is its last.
    device.wait_for("condition=failed", "job/again");
    let within = device.json(&["job", "within"]);
    assert_eq!((&within["status"]["ready"], &within["status"]["failed"]), (&1.into(), &serde_json::Value::Null));
    let after = device.items(&["pods", "-l", "app=agent"])[0]["status"]["containerStatuses"][0].clone();
    assert_eq!(after["containerID"], agent["containerID"], "what ran goes on");
    assert_eq!(after["restartCount"], 0);
    assert!(!device.ok(&["get", "jobs", "-o", "name"]).contains("yearly"), "the wall clock has not moved");
}
