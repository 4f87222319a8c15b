//! Figures of this node in Prometheus' text format, below `/metrics`.

use std::cell::Cell;
use std::fmt::Write as _;
use std::time::Duration;

use crate::model::pod::Phase;
use crate::model::{Kind, LinkSeen, Plan, Seen, State};

use super::wear::Wear;

/// Counted by the loop since the daemon started.
#[derive(Debug, Default)]
pub struct Counters {
    steps: Cell<u64>,
    commits: Cell<u64>,
    rows: Cell<u64>,
    quiet_rows: Cell<u64>,
    effects: Cell<u64>,
    connected: Cell<bool>,
    /// Sessions that came about.
    sessions: Cell<u64>,
    /// Scopes that may not be heard, as the fleet was last told.
    pub unheard: Cell<u64>,
    /// Sets that wait for room on the disk, likewise.
    pub waiting: Cell<u64>,
}

impl Counters {
    pub fn stepped(&self, plan: &Plan) {
        let add = |cell: &Cell<u64>, n: usize| cell.set(cell.get() + n as u64);
        add(&self.steps, 1);
        add(&self.effects, plan.effects.len());
        if plan.durable {
            add(&self.commits, 1);
            add(&self.rows, plan.writes.len());
        } else {
            add(&self.quiet_rows, plan.writes.len());
        }
    }

    /// Whether there is a session with the broker.
    pub fn is_connected(&self) -> bool {
        self.connected.get()
    }

    pub fn connected_as_seen(&self, seen: &Seen) {
        if let Seen::Link(link) = seen {
            match link {
                LinkSeen::Connected => {
                    self.connected.set(true);
                    self.sessions.set(self.sessions.get() + 1);
                }
                LinkSeen::Lost => self.connected.set(false),
                LinkSeen::Delivered { .. } => {}
            }
        }
    }
}

/// `uptime`: of the machine.
pub fn text(state: &State, counters: &Counters, wear: &Wear, uptime: Duration) -> String {
    let mut out = String::new();
    let mut figure = |name: &str, kind: &str, help: &str, values: &[(&str, u64)]| {
        let _ = writeln!(out, "# HELP pinnace_{name} {help}\n# TYPE pinnace_{name} {kind}");
        for (labels, value) in values {
            let _ = writeln!(out, "pinnace_{name}{labels} {value}");
        }
    };
    figure("steps_total", "counter", "Turns of the loop.", &[("", counters.steps.get())]);
    figure("commits_total", "counter", "Durable commits, each one fsync.", &[("", counters.commits.get())]);
    let help = "Bytes that this daemon has sent to the medium (write_bytes of /proc/self/io).";
    figure("store_bytes_written_total", "counter", help, &[("", wear.by_daemon())]);
    if let Some(bytes) = wear.on_disk() {
        let help = "Bytes written since boot to the device that holds the data directory, by everybody.";
        figure("disk_bytes_written_total", "counter", help, &[("", bytes)]);
    }
    let rows = [("{durable=\"true\"}", counters.rows.get()), ("{durable=\"false\"}", counters.quiet_rows.get())];
    figure("rows_total", "counter", "Records written.", &rows);
    figure("effects_total", "counter", "Effects carried out.", &[("", counters.effects.get())]);
    figure("link_connected", "gauge", "1 while a broker is connected.", &[("", u64::from(counters.connected.get()))]);
    figure("link_sessions_total", "counter", "Sessions with a broker.", &[("", counters.sessions.get())]);
    let help = "Scopes below which a message is too large to be read, so that others there may not be heard.";
    figure("link_scopes_unheard", "gauge", help, &[("", counters.unheard.get())]);
    figure("sets_waiting", "gauge", "Sets that wait for room on the disk.", &[("", counters.waiting.get())]);
    figure("uptime_seconds", "gauge", "Age of the daemon.", &[("", wear.age(uptime).as_secs())]);
    figure("boot_seconds", "gauge", "Time since boot.", &[("", uptime.as_secs())]);
    figure("revision", "gauge", "Revision of the last commit.", &[("", state.revision)]);
    let phases = [
        ("{phase=\"Pending\"}", count(state, Phase::Pending)),
        ("{phase=\"Running\"}", count(state, Phase::Running)),
        ("{phase=\"Succeeded\"}", count(state, Phase::Succeeded)),
        ("{phase=\"Failed\"}", count(state, Phase::Failed)),
    ];
    figure("pods", "gauge", "Pods by phase.", &phases);
    let pods = || state.of_kind(Kind::Pod).filter_map(|record| record.as_pod());
    let restarts = pods().flat_map(|pod| pod.statuses()).map(|c| u64::from(c.restarts)).sum();
    figure("container_restarts", "gauge", "Restarts of the containers that exist.", &[("", restarts)]);
    let held = state.node().is_some_and(|node| node.status.clock_held);
    figure(
        "clock_held",
        "gauge",
        "1 while the wall clock is not trusted and CronJobs are held.",
        &[("", u64::from(held))],
    );
    let refused = state.of_kind(Kind::Set).filter(|r| r.as_set().is_some_and(|set| set.rejected.is_some())).count();
    figure("sets_rejected", "gauge", "Slots whose newest message was refused.", &[("", refused as u64)]);
    out
}

fn count(state: &State, phase: Phase) -> u64 {
    state.of_kind(Kind::Pod).filter(|record| record.as_pod().is_some_and(|pod| pod.status.phase == phase)).count()
        as u64
}
