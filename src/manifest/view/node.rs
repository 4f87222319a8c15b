//! This device as Kubernetes would list it, with two conditions of our own that say what it cannot do.

use serde_json::{Value, json};

use super::{Condition, Fields, KUBERNETES_VERSION, time};
use crate::model::node::Facts;
use crate::model::{Node, Settings};

pub(super) fn node(shown: Fields, node: &Node, settings: &Settings) -> Fields {
    shown.put("spec", spec(node)).put("status", status(node, settings))
}

fn spec(node: &Node) -> Value {
    Fields::new()
        .some("taints", json!(node.spec.taints))
        .some("unschedulable", node.spec.unschedulable)
        .some("drained", node.spec.drained)
        .done()
}

fn status(node: &Node, settings: &Settings) -> Value {
    let facts = &node.status.facts;
    let capacity = json!({
        "cpu": facts.cpus.to_string(),
        "memory": format!("{}Ki", facts.memory_bytes / 1024),
        "pods": settings.pods_max.to_string(),
    });
    Fields::new()
        .put("capacity", capacity.clone())
        .put("allocatable", capacity)
        .put("conditions", conditions(node))
        .put("addresses", addresses(facts))
        .put("nodeInfo", info(node))
        .done()
}

/// The node is ready because it answers; there is no heartbeat that could stop, so the times are those of its start.
fn conditions(node: &Node) -> Vec<Value> {
    let since = time(node.status.started.as_ref());
    let shortcomings = &node.status.facts.shortcomings;
    let held = node.status.clock_held;
    // A kubelet also reports pressure on memory and pids. Nothing here watches for it, so nothing is said of it.
    let rows: [(&str, bool, &str, String); 4] = [
        ("Ready", true, "KubeletReady", "pinnace is running".into()),
        if shortcomings.is_empty() {
            ("LimitsEnforced", true, "HostEnforcesLimits", "requests and limits of pods are enforced".into())
        } else {
            ("LimitsEnforced", false, "HostLacksSupport", shortcomings.join("; "))
        },
        match &node.status.facts.disk_pressure {
            Some(why) => ("DiskPressure", true, "KubeletHasDiskPressure", why.clone()),
            None => ("DiskPressure", false, "ReserveIsKept", "the store has its reserve of disk".into()),
        },
        if held {
            ("ClockTrusted", false, "ClockNotSet", "the wall clock is not set: CronJobs are held until it is".into())
        } else {
            ("ClockTrusted", true, "ClockSet", kept_right(node.status.facts.clock_synchronised).into())
        },
    ];
    rows.into_iter()
        .map(|(kind, is, reason, message)| {
            Condition { kind, is, since: since.clone(), reason, message }.show("lastHeartbeatTime", since.clone())
        })
        .collect()
}

fn kept_right(synchronised: Option<bool>) -> &'static str {
    match synchronised {
        Some(true) => "the wall clock is trusted and synchronised",
        Some(false) => "the wall clock is trusted; the kernel says that it is not synchronised (NTP)",
        None => "the wall clock is trusted; whether it is synchronised is not known",
    }
}

fn addresses(facts: &Facts) -> Value {
    [("InternalIP", &facts.internal_ip), ("Hostname", &facts.hostname)]
        .into_iter()
        .filter(|(_, address)| !address.is_empty())
        .map(|(kind, address)| json!({ "type": kind, "address": address }))
        .collect()
}

fn info(node: &Node) -> Value {
    let facts = &node.status.facts;
    json!({
        "machineID": facts.machine_id,
        "systemUUID": "",
        "bootID": node.status.boot.as_ref().map_or("", |b| b.as_str()),
        "kernelVersion": facts.kernel,
        "osImage": facts.os_image,
        "containerRuntimeVersion": concat!("pinnace://", env!("CARGO_PKG_VERSION")),
        "kubeletVersion": KUBERNETES_VERSION,
        "kubeProxyVersion": "",
        "operatingSystem": "linux",
        "architecture": facts.architecture,
    })
}
