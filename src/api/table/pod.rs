//! A pod's row: the one place where kubectl says in a word what goes on in several containers.

use serde_json::Value;

use super::{AGE, Column, NAME, age, or_none};
use crate::model::{ContainerState, ContainerStatus, Ended, Moment, Node, Now, Pod};

pub(super) const COLUMNS: &[Column] = &[
    NAME,
    Column("Ready", "string", "", 0, "Containers that are ready, of all that it has."),
    Column("Status", "string", "", 0, "What its containers are doing, in a word."),
    Column("Restarts", "string", "", 0, "Restarts of its containers, and when the last one ended."),
    AGE,
    Column("IP", "string", "", 1, "Its address: the node's, as it has the node's network."),
    Column("Node", "string", "", 1, "The node that it runs on."),
    Column("Nominated Node", "string", "", 1, "Always none: nothing is preempted."),
    Column("Readiness Gates", "string", "", 1, "Always none."),
];

pub(super) fn cells(pod: &Pod, node: Option<&Node>, now: &Now) -> Vec<Value> {
    let node = node.filter(|_| pod.status.started.is_some());
    let summary = summarize(pod);
    let ip = node.map_or(String::new(), |n| n.status.facts.internal_ip.clone());
    let name = node.map_or(pod.spec.node_name.clone(), |n| n.meta.name.clone());
    vec![
        pod.meta.name.as_str().into(),
        format!("{}/{}", summary.ready, pod.spec.containers.len()).into(),
        summary.status.into(),
        restarts(summary.restarts, summary.last_end, now).into(),
        age::since(pod.meta.created, now.wall).into(),
        or_none(ip).into(),
        or_none(name).into(),
        "<none>".into(),
        "<none>".into(),
    ]
}

fn restarts(count: u32, last_end: Option<&Moment>, now: &Now) -> String {
    match last_end.filter(|_| count > 0) {
        Some(end) => format!("{count} ({} ago)", age::human(now.since(end))),
        None => count.to_string(),
    }
}

struct Summary<'a> {
    ready: usize,
    status: String,
    restarts: u32,
    /// When the last attempt before a present one ended.
    last_end: Option<&'a Moment>,
}

/// Source: `printPod`.
fn summarize(pod: &Pod) -> Summary<'_> {
    let s = &pod.status;
    let of_phase = || if s.reason.is_empty() { s.phase.as_str().to_string() } else { s.reason.clone() };
    // A pod that no node has taken up has no containers to tell of.
    let (init, main): (&[ContainerStatus], &[ContainerStatus]) =
        if s.started.is_some() { (&s.init, &s.containers) } else { (&[], &[]) };
    let mut summary = match init_status(init) {
        Some(status) => Summary { ready: 0, status, restarts: sum(init), last_end: last_end(init) },
        None => Summary {
            ready: main.iter().filter(|c| runs(c)).count(),
            status: main_status(main, s.ready.is).unwrap_or_else(of_phase),
            restarts: sum(main),
            last_end: last_end(main),
        },
    };
    if pod.meta.deleting.is_some() && !s.phase.is_terminal() {
        summary.status = "Terminating".into();
    }
    summary
}

fn sum(statuses: &[ContainerStatus]) -> u32 {
    statuses.iter().fold(0, |sum, c| sum.saturating_add(c.restarts))
}

fn last_end(statuses: &[ContainerStatus]) -> Option<&Moment> {
    statuses.iter().filter_map(|c| c.last.as_ref()).map(|e| &e.finished).max_by_key(|m| m.wall)
}

fn runs(status: &ContainerStatus) -> bool {
    matches!(status.state, ContainerState::Running { .. })
}

/// What the first init container that is not done is doing; none when all are done.
fn init_status(init: &[ContainerStatus]) -> Option<String> {
    let is_done = |c: &ContainerStatus| c.state.ended().is_some_and(|e| e.exit_code == 0);
    let (index, first) = init.iter().enumerate().find(|(_, c)| !is_done(c))?;
    let progress = || format!("Init:{index}/{}", init.len());
    Some(match &first.state {
        ContainerState::Ended(ended) => format!("Init:{}", ended_status(ended)),
        ContainerState::Waiting { reason, .. } if reason.is_empty() || reason == "PodInitializing" => progress(),
        ContainerState::Waiting { reason, .. } => format!("Init:{reason}"),
        ContainerState::Starting { .. } | ContainerState::Running { .. } => progress(),
    })
}

/// The first container that waits or has ended speaks for all; when that is `Completed` and another still runs, the pod
/// runs. None when all run.
fn main_status(main: &[ContainerStatus], ready: bool) -> Option<String> {
    let status = main.iter().find_map(|c| match &c.state {
        ContainerState::Waiting { reason, .. } if reason.is_empty() => None,
        ContainerState::Waiting { reason, .. } => Some(reason.clone()),
        ContainerState::Starting { .. } => Some("ContainerCreating".to_string()),
        ContainerState::Ended(ended) => Some(ended_status(ended)),
        ContainerState::Running { .. } => None,
    })?;
    if status == "Completed" && main.iter().any(runs) {
        return Some(if ready { "Running" } else { "NotReady" }.into());
    }
    Some(status)
}

fn ended_status(ended: &Ended) -> String {
    if ended.reason.is_empty() { format!("ExitCode:{}", ended.exit_code) } else { ended.reason.clone() }
}
