//! The node: what it is, what it offers, and what its pods ask of it.

use std::collections::BTreeMap;

use serde_json::Value;

use super::page::Page;
use crate::cli::duration::{age, human, rfc1123z};
use crate::cli::json::{bool_at, entries_at, list_at, plain, text_at};
use crate::model::Quantity;

const ROLE: &str = "node-role.kubernetes.io/";

/// Of `/metrics`, by name.
pub type Figures = BTreeMap<String, u64>;

pub fn describe(page: &mut Page, node: &Value, pods: &[Value], figures: &Figures) {
    page.field(0, "Name", text_at(node, "/metadata/name"));
    let labels = entries_at(node, "/metadata/labels");
    let roles: Vec<&str> = labels.iter().filter_map(|(key, _)| key.strip_prefix(ROLE)).collect();
    page.field(0, "Roles", if roles.is_empty() { "<none>".to_string() } else { roles.join(",") });
    page.labels(0, "Labels", node, "/metadata/labels");
    page.annotations(0, node);
    page.time_if(0, "CreationTimestamp", node, "/metadata/creationTimestamp");
    let taints: Vec<String> = list_at(node, "/spec/taints").iter().map(taint).collect();
    page.lines(0, "Taints", &taints);
    page.field(0, "Unschedulable", bool_at(node, "/spec/unschedulable").unwrap_or(false));
    if bool_at(node, "/spec/drained").unwrap_or(false) {
        page.field(0, "Drained", "true (no pod runs until `pinnace uncordon`)");
    }
    conditions(page, node);
    page.line(0, "Addresses:");
    for address in list_at(node, "/status/addresses") {
        page.field(1, text_at(address, "/type"), text_at(address, "/address"));
    }
    for (title, pointer) in [("Capacity:", "/status/capacity"), ("Allocatable:", "/status/allocatable")] {
        page.line(0, title);
        entries_at(node, pointer).iter().for_each(|(name, amount)| page.field(1, name, plain(amount)));
    }
    system(page, node);
    unheard(page, figures);
    flash(page, figures);
    let pods: Vec<&Value> =
        pods.iter().filter(|p| !matches!(text_at(p, "/status/phase"), "Succeeded" | "Failed")).collect();
    requests(page, node, &pods);
}

fn taint(taint: &Value) -> String {
    let text = |pointer| text_at(taint, pointer);
    match (text("/key"), text("/value"), text("/effect")) {
        (key, "", effect) => format!("{key}:{effect}"),
        (key, value, effect) => format!("{key}={value}:{effect}"),
    }
}

fn conditions(page: &mut Page, node: &Value) {
    page.line(0, "Conditions:");
    page.line(1, "Type\tStatus\tLastHeartbeatTime\tLastTransitionTime\tReason\tMessage");
    page.line(1, "----\t------\t-----------------\t------------------\t------\t-------");
    for condition in list_at(node, "/status/conditions") {
        let text = |pointer| text_at(condition, pointer);
        let (heartbeat, since) = (rfc1123z(text("/lastHeartbeatTime")), rfc1123z(text("/lastTransitionTime")));
        let (kind, status) = (text("/type"), text("/status"));
        let line = format!("{kind} \t{status} \t{heartbeat} \t{since} \t{} \t{}", text("/reason"), text("/message"));
        page.line(1, &line);
    }
}

fn system(page: &mut Page, node: &Value) {
    page.line(0, "System Info:");
    for (label, field) in [
        ("Machine ID", "machineID"),
        ("System UUID", "systemUUID"),
        ("Boot ID", "bootID"),
        ("Kernel Version", "kernelVersion"),
        ("OS Image", "osImage"),
        ("Operating System", "operatingSystem"),
        ("Architecture", "architecture"),
        ("Container Runtime Version", "containerRuntimeVersion"),
        ("Kubelet Version", "kubeletVersion"),
    ] {
        page.field(1, label, text_at(node, &format!("/status/nodeInfo/{field}")));
    }
}

/// Over MQTT 3.1.1 a message that is too large ends each session.
fn unheard(page: &mut Page, figures: &Figures) {
    if figures.get("pinnace_link_scopes_unheard").is_some_and(|scopes| *scopes > 0) {
        page.field(
            0,
            "Not heard",
            "a message of the fleet is too large to be read and hides others: the node's log says where",
        );
    }
}

/// What wears the medium: bytes, since when, and what that comes to in a day.
fn flash(page: &mut Page, figures: &Figures) {
    let figure = |name: &str| figures.get(&format!("pinnace_{name}")).copied();
    let rows = [
        ("By this daemon", "store_bytes_written_total", "uptime_seconds", "it started"),
        ("By everybody on its disk", "disk_bytes_written_total", "boot_seconds", "boot"),
    ];
    let known = rows.iter().filter_map(|(who, bytes, age, since)| {
        let (bytes, age) = (figure(bytes)?, figure(age)?);
        let a_day = bytes as f64 * 86_400.0 / age.max(1) as f64;
        let text = format!("{} in {} since {since}", megabytes(bytes as f64), human(i64::try_from(age).ok()?));
        // Of the first minutes a day cannot be told.
        Some((who, if age < 3600 { text } else { format!("{text}, {} a day", megabytes(a_day)) }))
    });
    let known: Vec<_> = known.collect();
    if !known.is_empty() {
        page.line(0, "Written to flash:");
        known.iter().for_each(|(who, text)| page.field(1, who, text));
    }
}

fn megabytes(bytes: f64) -> String {
    format!("{:.1} MB", bytes / 1e6)
}

/// One resource: thousandths of a CPU, or bytes.
#[derive(Clone, Copy, PartialEq, Eq)]
enum What {
    Cpu,
    Memory,
}

impl What {
    fn name(self) -> &'static str {
        match self {
            What::Cpu => "cpu",
            What::Memory => "memory",
        }
    }

    fn amount(self, text: &str) -> i64 {
        let Ok(quantity) = Quantity::parse(text) else { return 0 };
        match self {
            What::Cpu => quantity.milli(),
            What::Memory => quantity.value(),
        }
    }

    fn show(self, amount: i64) -> String {
        match self {
            What::Cpu if amount % 1000 == 0 => (amount / 1000).to_string(),
            What::Cpu => format!("{amount}m"),
            What::Memory => bytes(amount),
        }
    }

    /// What the containers of a pod ask for, or may have at most. Init containers run before the others, one at a time.
    fn of_pod(self, pod: &Value, which: &str) -> i64 {
        let of = |container: &Value| {
            let amount = container.pointer(&format!("/resources/{which}/{}", self.name()));
            amount.map_or(0, |amount| self.amount(&plain(amount)))
        };
        let main: i64 = list_at(pod, "/spec/containers").iter().map(of).fold(0, i64::saturating_add);
        list_at(pod, "/spec/initContainers").iter().map(of).fold(main, i64::max)
    }
}

/// The greatest binary unit that leaves a whole number.
fn bytes(amount: i64) -> String {
    let units = ["Ei", "Pi", "Ti", "Gi", "Mi", "Ki"];
    let fitting =
        units.iter().zip((1..=6).rev()).find(|(_, power)| amount != 0 && amount % (1i64 << (10 * power)) == 0);
    fitting.map_or_else(|| amount.to_string(), |(unit, power)| format!("{}{unit}", amount >> (10 * power)))
}

const COLUMNS: [(What, &str); 4] =
    [(What::Cpu, "requests"), (What::Cpu, "limits"), (What::Memory, "requests"), (What::Memory, "limits")];

fn requests(page: &mut Page, node: &Value, pods: &[&Value]) {
    let allocatable = |what: What| {
        let amount = node.pointer(&format!("/status/allocatable/{}", what.name()));
        amount.map_or(0, |amount| what.amount(&plain(amount)))
    };
    let shown = |what: What, amount: i64| {
        let share = amount.saturating_mul(100).checked_div(allocatable(what)).unwrap_or(0);
        format!("{} ({share}%)", what.show(amount))
    };
    page.field(0, "Non-terminated Pods", format!("({} in total)", pods.len()));
    page.line(1, "Namespace\tName\t\tCPU Requests\tCPU Limits\tMemory Requests\tMemory Limits\tAge");
    page.line(1, "---------\t----\t\t------------\t----------\t---------------\t-------------\t---");
    for pod in pods {
        let cells = COLUMNS.map(|(what, which)| shown(what, what.of_pod(pod, which))).join("\t");
        let (namespace, name) = (text_at(pod, "/metadata/namespace"), text_at(pod, "/metadata/name"));
        page.line(1, &format!("{namespace}\t{name}\t\t{cells}\t{}", age(text_at(pod, "/metadata/creationTimestamp"))));
    }
    page.line(0, "Allocated resources:");
    page.line(1, "(Total limits may be over 100 percent, i.e., overcommitted.)");
    page.line(1, "Resource\tRequests\tLimits");
    page.line(1, "--------\t--------\t------");
    for what in [What::Cpu, What::Memory] {
        let sum = |which| pods.iter().map(|pod| what.of_pod(pod, which)).fold(0, i64::saturating_add);
        page.line(1, &format!("{}\t{}\t{}", what.name(), shown(what, sum("requests")), shown(what, sum("limits"))));
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn amounts_read_as_kubernetes_writes_them() {
        for (amount, expected) in
            [(0, "0"), (1, "1"), (64 << 20, "64Mi"), (1536 << 20, "1536Mi"), (1 << 40, "1Ti"), (1025, "1025")]
        {
            assert_eq!(bytes(amount), expected);
        }
        assert_eq!(What::Cpu.show(250), "250m");
        assert_eq!(What::Cpu.show(2000), "2");
    }

    #[test]
    fn a_pod_asks_for_its_containers_together_or_for_its_greatest_init_container() {
        let container = |cpu: &str| json!({"resources": {"requests": {"cpu": cpu}}});
        let pod = |init: &str| json!({"spec": {"containers": [container("100m"), container("200m")], "initContainers": [container(init)]}});
        assert_eq!(What::Cpu.of_pod(&pod("250m"), "requests"), 300);
        assert_eq!(What::Cpu.of_pod(&pod("1"), "requests"), 1000);
        assert_eq!(What::Memory.of_pod(&pod("1"), "requests"), 0);
        assert_eq!(What::Cpu.of_pod(&json!({}), "limits"), 0);
    }
}
