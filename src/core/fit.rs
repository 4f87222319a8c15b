//! Whether a pod fits this node: name, labels, affinity, taints, cordon, ports. Knows nothing of how pods are run.

use std::collections::BTreeSet;

use crate::model::node::TaintEffect;
use crate::model::pod::{NodeSelectorTerm, PodSpec, Toleration};
use crate::model::{Node, Taint, sorted};

/// The taint that a cordon stands for; DaemonSet pods tolerate it (`pkg/controller/daemon`).
pub const UNSCHEDULABLE_TAINT: &str = "node.kubernetes.io/unschedulable";

/// Why a pod cannot be taken up by the node, in the order in which the scheduler's filters ask.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Misfit {
    /// Cordoned or drained.
    Unschedulable,
    /// `spec.nodeName` names another node.
    OtherNode,
    Taint(Taint),
    /// `nodeSelector` or the required node affinity does not match.
    Affinity,
    /// An active pod has one of its host ports.
    Ports,
    /// `pods_max` is reached.
    TooManyPods,
}

impl Misfit {
    /// The scheduler's words. Source: `pkg/scheduler/framework/plugins/*`, the `ErrReason` constants.
    pub fn message(&self) -> String {
        let why = match self {
            Misfit::Unschedulable => "1 node(s) were unschedulable".to_string(),
            Misfit::OtherNode => "1 node(s) didn't match the requested node name".to_string(),
            Misfit::Taint(taint) => format!("1 node(s) had untolerated taint {{{}: {}}}", taint.key, taint.value),
            Misfit::Affinity => "1 node(s) didn't match Pod's node affinity/selector".to_string(),
            Misfit::Ports => "1 node(s) didn't have free ports for the requested pod ports".to_string(),
            Misfit::TooManyPods => "1 Too many pods".to_string(),
        };
        format!("0/1 nodes are available: {why}.")
    }
}

/// What of the node itself speaks against the pod; ports and room are the caller's to ask, it knows the other pods.
/// A drained node takes no pod at all, a cordoned one only those that tolerate it.
pub fn misfit(spec: &PodSpec, node: &Node) -> Option<Misfit> {
    if node.spec.drained || (node.spec.unschedulable && !tolerates_cordon(&spec.tolerations)) {
        return Some(Misfit::Unschedulable);
    }
    if !is_named(spec, node) {
        return Some(Misfit::OtherNode);
    }
    let taint = [TaintEffect::NoSchedule, TaintEffect::NoExecute]
        .into_iter()
        .find_map(|effect| untolerated(&spec.tolerations, node, effect));
    if let Some(taint) = taint {
        return Some(Misfit::Taint(taint.clone()));
    }
    (!node_matches(spec, node)).then_some(Misfit::Affinity)
}

/// `spec.nodeName` is empty or names this node.
pub fn is_named(spec: &PodSpec, node: &Node) -> bool {
    spec.node_name.is_empty() || spec.node_name == node.meta.name
}

/// `nodeSelector` and the required node affinity match the node. Terms are alternatives; a term without any line, and
/// an affinity without terms, match nothing (`component-helpers/scheduling/corev1/nodeaffinity`).
pub fn node_matches(spec: &PodSpec, node: &Node) -> bool {
    let selected = spec.node_selector.iter().all(|(k, v)| node.meta.labels.get(k) == Some(v));
    let required = spec.affinity.node_affinity.required.as_ref();
    selected && required.is_none_or(|r| r.node_selector_terms.iter().any(|term| term_matches(term, node)))
}

fn term_matches(term: &NodeSelectorTerm, node: &Node) -> bool {
    if term.match_expressions.is_empty() && term.match_fields.is_empty() {
        return false;
    }
    let fields = sorted::map([("metadata.name".to_string(), node.meta.name.clone())]);
    term.match_expressions.iter().all(|r| r.matches(&node.meta.labels))
        && term.match_fields.iter().all(|r| r.matches(&fields))
}

/// The first taint of that effect which no toleration covers.
pub fn untolerated<'a>(tolerations: &[Toleration], node: &'a Node, effect: TaintEffect) -> Option<&'a Taint> {
    node.spec.taints.iter().find(|taint| taint.effect == effect && !tolerations.iter().any(|t| t.tolerates(taint)))
}

/// Cordoned nodes still take such a pod.
pub fn tolerates_cordon(tolerations: &[Toleration]) -> bool {
    let cordon = Taint { key: UNSCHEDULABLE_TAINT.to_string(), value: String::new(), effect: TaintEffect::NoSchedule };
    tolerations.iter().any(|t| t.tolerates(&cordon))
}

/// Protocol and number of each port of the host that a pod claims. A container port without `hostPort` only informs.
pub type HostPorts = BTreeSet<(String, u16)>;

/// What a pod claims of the host's ports, its init containers included.
pub fn host_ports(spec: &PodSpec) -> HostPorts {
    let all = spec.init_containers.iter().chain(&spec.containers).flat_map(|c| &c.ports);
    sorted::set(all.filter(|port| port.host_port != 0).map(|port| {
        let protocol = if port.protocol.is_empty() { "TCP" } else { &port.protocol };
        (protocol.to_string(), port.host_port)
    }))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::model::node::{NodeSpec, NodeStatus};
    use crate::model::{Labels, Meta, PodSpec};

    fn node(spec: Value) -> Node {
        let mut meta = Meta::named("", "gw-7");
        meta.labels = Labels::from([("disk".into(), "ssd".into()), ("cores".into(), "4".into())]);
        Node { meta, spec: serde_json::from_value::<NodeSpec>(spec).unwrap(), status: NodeStatus::default() }
    }

    fn pod(spec: Value) -> PodSpec {
        serde_json::from_value(spec).unwrap()
    }

    #[track_caller]
    fn check(node_spec: Value, pod_spec: Value, expected: Result<(), &str>) {
        let found = misfit(&pod(pod_spec), &node(node_spec)).map_or(Ok(()), |m| Err(m.message()));
        let expected = expected.map_err(|why| format!("0/1 nodes are available: {why}."));
        assert_eq!(found, expected);
    }

    const AFFINITY: Result<(), &str> = Err("1 node(s) didn't match Pod's node affinity/selector");
    const CORDON: Result<(), &str> = Err("1 node(s) were unschedulable");

    fn affinity(terms: Value) -> Value {
        json!({"affinity": {"nodeAffinity": {
            "requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": terms}}}})
    }

    #[test]
    fn names_selectors_and_affinity() {
        check(json!({}), json!({}), Ok(()));
        check(json!({}), json!({"nodeName": "gw-7"}), Ok(()));
        let other = Err("1 node(s) didn't match the requested node name");
        check(json!({}), json!({"nodeName": "gw-8"}), other);
        check(json!({}), json!({"nodeSelector": {"disk": "ssd"}}), Ok(()));
        check(json!({}), json!({"nodeSelector": {"disk": "ssd", "gpu": "yes"}}), AFFINITY);
        let fits = json!([{"matchExpressions": [{"key": "cores", "operator": "Gt", "values": ["3"]}]}]);
        check(json!({}), affinity(fits), Ok(()));
        let both = json!([{"matchExpressions": [
            {"key": "disk", "operator": "Exists"}, {"key": "cores", "operator": "Lt", "values": ["3"]}]}]);
        check(json!({}), affinity(both), AFFINITY);
        let either = json!([{"matchExpressions": [{"key": "gpu", "operator": "Exists"}]},
            {"matchFields": [{"key": "metadata.name", "operator": "In", "values": ["gw-7"]}]}]);
        check(json!({}), affinity(either), Ok(()));
        let named = json!([{"matchFields": [{"key": "metadata.name", "operator": "In", "values": ["gw-8"]}]}]);
        check(json!({}), affinity(named), AFFINITY);
        check(json!({}), affinity(json!([])), AFFINITY);
        check(json!({}), affinity(json!([{}])), AFFINITY);
    }

    #[test]
    fn taints_and_cordons() {
        let taint = |effect: &str| json!({"taints": [{"key": "k", "value": "v", "effect": effect}]});
        let refused = Err("1 node(s) had untolerated taint {k: v}");
        check(taint("NoSchedule"), json!({}), refused);
        check(taint("NoExecute"), json!({}), refused);
        check(taint("PreferNoSchedule"), json!({}), Ok(()));
        check(taint("NoSchedule"), json!({"tolerations": [{"key": "k", "value": "v"}]}), Ok(()));
        check(taint("NoSchedule"), json!({"tolerations": [{"key": "k", "value": "w"}]}), refused);
        check(taint("NoSchedule"), json!({"tolerations": [{"operator": "Exists", "effect": "NoExecute"}]}), refused);
        let daemon = json!({"tolerations":
            [{"key": "node.kubernetes.io/unschedulable", "operator": "Exists", "effect": "NoSchedule"}]});
        check(json!({"unschedulable": true}), json!({}), CORDON);
        check(json!({"unschedulable": true}), daemon.clone(), Ok(()));
        check(json!({"drained": true}), daemon, CORDON);
    }

    #[test]
    fn only_host_ports_are_claimed() {
        let spec = pod(json!({"containers": [{"name": "a", "ports": [
            {"containerPort": 80}, {"containerPort": 81, "hostPort": 8081}]}],
            "initContainers": [{"name": "i", "ports": [{"containerPort": 1, "hostPort": 53, "protocol": "UDP"}]}]}));
        assert_eq!(host_ports(&spec), HostPorts::from([("TCP".into(), 8081), ("UDP".into(), 53)]));
    }
}
