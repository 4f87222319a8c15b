//! What the node has come to so far, as one line that changes on a terminal, or a line a change in a file.

use std::io::{IsTerminal, Write};
use std::time::{Duration, Instant};

use jiff::Timestamp;
use serde_json::Value;

use crate::node::Node;

pub struct Progress<'a> {
    node: &'a Node,
    until: Instant,
    last: String,
}

impl<'a> Progress<'a> {
    pub fn new(node: &'a Node, patience: Duration) -> Progress<'a> {
        Progress { node, until: Instant::now() + patience, last: String::new() }
    }

    /// Waits until each Job is complete, the DaemonSet's pod is ready and a CronJob has fired and its Job is complete.
    pub fn until_done(mut self, jobs: &[&str]) -> Result<(), String> {
        loop {
            let all = self.node.get("daemonsets,jobs,cronjobs")?;
            let items = all["items"].as_array().map(Vec::as_slice).unwrap_or_default();
            let of = |kind: &'static str| items.iter().filter(move |item| item["kind"] == kind);
            let ready: u64 = of("DaemonSet").map(|d| d["status"]["numberReady"].as_u64().unwrap_or(0)).sum();
            let fired = of("CronJob").filter(|c| c["status"]["lastSuccessfulTime"].is_string()).count();
            let done = |name: &str| of("Job").any(|job| job["metadata"]["name"] == name && is_complete(job));
            let mut line = format!("DaemonSet {ready}/1 ready");
            for name in jobs {
                let job = of("Job").find(|job| job["metadata"]["name"] == *name);
                let (have, want) = job
                    .map_or((0, 0), |job| (number(&job["status"]["succeeded"]), number(&job["spec"]["completions"])));
                line.push_str(&format!(", {name} {have}/{want}"));
            }
            line.push_str(if fired > 0 { ", CronJob fired" } else { ", CronJob waits for its time" });
            self.show(&line);
            if ready >= 1 && fired > 0 && jobs.iter().all(|name| done(name)) {
                println!();
                return Ok(());
            }
            if Instant::now() > self.until {
                return Err(format!("this did not come to its end in time: {line}"));
            }
            std::thread::sleep(Duration::from_millis(250));
        }
    }

    fn show(&mut self, line: &str) {
        if line == self.last {
            return;
        }
        let mut out = std::io::stdout();
        if out.is_terminal() {
            print!("\r\x1b[K   {line}");
            let _ = out.flush();
        } else {
            println!("   {line}");
        }
        self.last = line.to_string();
    }
}

fn number(value: &Value) -> u64 {
    value.as_u64().unwrap_or(0)
}

fn is_complete(job: &Value) -> bool {
    let conditions = job["status"]["conditions"].as_array().map(Vec::as_slice).unwrap_or_default();
    conditions.iter().any(|c| c["type"] == "Complete" && c["status"] == "True")
}

/// How many pods of a Job ran at the same time at most, by the times in their status (whole seconds: an end and a start
/// in the same second count as one after the other).
pub fn most_at_a_time(node: &Node, job: &str) -> Result<usize, String> {
    let text = node.pinnace(&["get", "pods", "-l", &format!("job-name={job}"), "-o", "json"])?;
    let pods: Value = serde_json::from_str(&text).map_err(|e| format!("the pods of {job}: {e}"))?;
    let time = |value: &Value| value.as_str().and_then(|text| text.parse::<Timestamp>().ok());
    let mut spans = Vec::new();
    for pod in pods["items"].as_array().map(Vec::as_slice).unwrap_or_default() {
        let ended = &pod["status"]["containerStatuses"][0]["state"]["terminated"];
        if let (Some(from), Some(to)) = (time(&ended["startedAt"]), time(&ended["finishedAt"])) {
            spans.push((from, to));
        }
    }
    if spans.is_empty() {
        return Err(format!("no pod of {job} has a start and an end"));
    }
    Ok(spans
        .iter()
        .map(|(at, _)| spans.iter().filter(|(from, to)| from <= at && at < to).count().max(1))
        .max()
        .unwrap_or(0))
}

/// What this host cannot enforce, in the node's own words.
pub fn limits(node: &Node) -> Result<String, String> {
    let nodes = node.get("nodes")?;
    let conditions = nodes["items"][0]["status"]["conditions"].as_array().cloned().unwrap_or_default();
    let limits = conditions.iter().find(|c| c["type"] == "LimitsEnforced");
    Ok(match limits {
        Some(condition) if condition["status"] == "True" => {
            "Limits of pods (cpu, memory, pids) are enforced on this host.".into()
        }
        Some(condition) => {
            format!("Not enforced on this host: {}", condition["message"].as_str().unwrap_or("limits of pods"))
        }
        None => "The node does not say whether limits are enforced on this host.".into(),
    })
}
