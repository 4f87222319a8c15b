//! The daemon, where one runs: its socket, its process, what it says of itself and whether it would take anything.

use std::io;
use std::path::Path;

use serde_json::Value;

use super::{Answer, Check, Host, Subject, fail, ok, skipped, warn};
use crate::config::Config;
use crate::model::Timestamp;

/// Of the daemon itself, and for each pod its log, its claim and what waits.
const FILES_BASE: u64 = 256;
const FILES_A_POD: u64 = 4;
/// A daemon with this score or less is spared as long as anything else can go.
const SPARED: i64 = -500;
/// So many sessions an hour are no accident of the network.
const SESSIONS_AN_HOUR_MAX: f64 = 20.0;
/// Fewer say nothing.
const SESSIONS_MIN: u64 = 5;

/// What was seen of the node before anything is judged.
pub(super) struct Seen {
    /// The answer to `/readyz`.
    ready: io::Result<Answer>,
    metrics: String,
    /// Its own record: from the daemon, else from the store.
    record: Option<Value>,
    user: Option<u32>,
}

impl Seen {
    pub(super) fn of(host: &dyn Host, config: &Config) -> Seen {
        let socket = config.socket();
        let ready = host.ask(&socket, "/readyz");
        let get = |path: &str| host.ask(&socket, path).ok().filter(|a| a.code == 200).map(|a| a.body);
        let (metrics, lines) = match &ready {
            Ok(_) => (get("/metrics").unwrap_or_default(), get("/apis/pinnace.dev/v1/dump")),
            Err(_) => (String::new(), host.stored(&config.data_dir).ok()),
        };
        let record = lines.as_deref().and_then(node_record);
        let user = match &ready {
            Ok(answer) => user_of(host, answer.pid),
            // A daemon of somebody else: its socket is its user's.
            Err(e) if e.kind() == io::ErrorKind::PermissionDenied => host.stat(&socket).ok().map(|stat| stat.user),
            Err(_) => None,
        };
        Seen { ready, metrics, record, user }
    }

    /// Whose daemon it is.
    pub(super) fn user(&self) -> Option<u32> {
        self.user
    }

    pub(super) fn runs(&self) -> bool {
        self.ready.is_ok()
    }

    /// None runs; a socket that may not be used tells nothing.
    pub(super) fn is_absent(&self) -> bool {
        let kind = self.ready.as_ref().err().map(io::Error::kind);
        matches!(kind, Some(io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused))
    }

    /// What the daemon that runs has found out about the host.
    pub(super) fn facts(&self) -> Option<&Value> {
        self.record.as_ref().filter(|_| self.runs()).map(|record| &record["status"]["facts"])
    }

    pub(super) fn boot(&self) -> Option<&str> {
        self.record.as_ref()?["status"]["boot"].as_str()
    }

    pub(super) fn time_floor(&self) -> Option<Timestamp> {
        Timestamp::parse(self.record.as_ref()?["status"]["time_floor"].as_str()?).ok()
    }

    pub(super) fn metric(&self, name: &str) -> Option<u64> {
        self.metrics.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' ')?.parse().ok())
    }

    /// Its session comes and goes, as with two clients of one id.
    pub(super) fn sessions_flap(&self) -> Option<(u64, u64)> {
        let sessions = self.metric("pinnace_link_sessions_total")?;
        let age_s = self.metric("pinnace_uptime_seconds")?.max(1);
        let an_hour = sessions as f64 * 3600.0 / age_s as f64;
        (sessions >= SESSIONS_MIN && an_hour > SESSIONS_AN_HOUR_MAX).then_some((sessions, age_s))
    }
}

pub(super) fn checks(host: &dyn Host, subject: &Subject, node: &Seen) -> Vec<Check> {
    vec![socket(host, &subject.config, node), policy(subject, node), memory(host, node), files(host, subject, node)]
}

fn socket(host: &dyn Host, config: &Config, node: &Seen) -> Check {
    let socket = config.socket();
    let shown = socket.display();
    match &node.ready {
        Ok(answer) if answer.code == 200 => {
            ok("socket", format!("the node answers at {shown} (process {})", answer.pid))
        }
        Ok(answer) => {
            fail("socket", format!("the node at {shown} is not ready: {}", answer.body.trim()), "journalctl -u pinnace")
        }
        Err(e) if e.kind() == io::ErrorKind::NotFound => skipped(
            "socket",
            format!("no node runs ({shown} is not there); what only a running one can tell is left out"),
        ),
        Err(e) if e.kind() == io::ErrorKind::PermissionDenied => {
            warn("socket", format!("{shown}: {e}"), "sudo, or join the group that ls -l shows")
        }
        Err(e) if e.kind() == io::ErrorKind::ConnectionRefused => {
            let is_socket = host.stat(&socket).is_ok_and(|stat| stat.is_socket);
            let what = if is_socket { "left by a daemon that was killed" } else { "no socket" };
            fail(
                "socket",
                format!("nobody listens at {shown}: {what}"),
                "systemctl restart pinnace; journalctl -u pinnace",
            )
        }
        Err(e) => fail(
            "socket",
            format!("the node at {shown} does not answer: {e}"),
            "journalctl -u pinnace; systemctl restart pinnace",
        ),
    }
}

/// A node that runs and would take nothing.
fn policy(subject: &Subject, node: &Seen) -> Check {
    let spec = node.record.as_ref().map(|record| &record["spec"]).unwrap_or(&Value::Null);
    if spec["drained"].as_bool() == Some(true) {
        return warn("policy", "the node is drained: it starts no pod", "pinnace uncordon");
    }
    if spec["unschedulable"].as_bool() == Some(true) {
        return warn("policy", "the node is cordoned: it starts no pod but those of DaemonSets", "pinnace uncordon");
    }
    if let Some(taint) = spec["taints"].as_array().and_then(|taints| taints.iter().find(|t| t["effect"] == "NoExecute"))
    {
        let key = taint["key"].as_str().unwrap_or_default();
        return warn(
            "policy",
            format!("the taint {key}:NoExecute keeps every pod away that does not tolerate it"),
            format!("pinnace taint {key}-"),
        );
    }
    match node.metric("pinnace_sets_rejected") {
        Some(n) if n > 0 => warn(
            "policy",
            format!("the newest message of {n} sets was refused"),
            "pinnace get sets; pinnace get set NAME -o yaml says why",
        ),
        _ if subject.config.mqtt.is_none() => ok("policy", "no broker: only what is applied on the device is run"),
        _ => ok(
            "policy",
            format!(
                "sets for fleet {}, node {}, groups {}",
                subject.config.fleet,
                subject.config.name,
                groups(subject)
            ),
        ),
    }
}

fn groups(subject: &Subject) -> String {
    if subject.config.groups.is_empty() { "none".into() } else { subject.config.groups.join(",") }
}

fn memory(host: &dyn Host, node: &Seen) -> Check {
    let Some(pid) = pid(node) else { return skipped("oom", "no node runs") };
    let score =
        host.read(Path::new(&format!("/proc/{pid}/oom_score_adj"))).ok().and_then(|t| t.trim().parse::<i64>().ok());
    match score {
        None => skipped("oom", "the daemon's score cannot be read"),
        Some(score) if score <= SPARED => {
            ok("oom", format!("the daemon is among the last to go when memory runs out ({score})"))
        }
        Some(score) => warn(
            "oom",
            format!(
                "the daemon may be killed when memory runs out (score {score}); pods run on and it is started again"
            ),
            "OOMScoreAdjust=-900 in its unit",
        ),
    }
}

/// Source: proc_pid_limits(5).
fn files(host: &dyn Host, subject: &Subject, node: &Seen) -> Check {
    let pid = pid(node).map_or("self".to_string(), |pid| pid.to_string());
    let limits = host.read(Path::new(&format!("/proc/{pid}/limits"))).unwrap_or_default();
    let soft = limits.lines().find_map(|l| l.strip_prefix("Max open files")).and_then(|l| l.split_whitespace().next());
    let Some(soft) = soft.map(|text| text.parse().unwrap_or(u64::MAX)) else {
        return skipped("files", "the limit on open files cannot be read");
    };
    let pods = subject.config.settings.pods_max as u64;
    let wanted = FILES_BASE + FILES_A_POD * pods;
    if soft < wanted {
        return warn(
            "files",
            format!("{soft} open files, {wanted} may be needed for {pods} pods"),
            "LimitNOFILE=65536 in its unit; ulimit -n",
        );
    }
    ok("files", format!("{soft} open files, {wanted} may be needed for {pods} pods"))
}

fn pid(node: &Seen) -> Option<i32> {
    node.ready.as_ref().ok().map(|answer| answer.pid).filter(|pid| *pid > 0)
}

fn user_of(host: &dyn Host, pid: i32) -> Option<u32> {
    let status = host.read(Path::new(&format!("/proc/{pid}/status"))).ok()?;
    status.lines().find_map(|line| line.strip_prefix("Uid:"))?.split_whitespace().nth(1)?.parse().ok()
}

/// The node's record among the lines of a dump.
fn node_record(lines: &str) -> Option<Value> {
    let candidates = lines.lines().filter(|line| line.contains("\"record\":\"Node\""));
    candidates.filter_map(|line| serde_json::from_str(line).ok()).find(|value: &Value| value["record"] == "Node")
}
