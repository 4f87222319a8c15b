//! A pod, and the template of one.

use serde_json::Value;

use crate::model::sorted;

use super::page::Page;
use super::{container, volume};
use crate::cli::duration;
use crate::cli::json::{int_at, list_at, text_at};

pub fn describe(page: &mut Page, pod: &Value) {
    let text = |pointer| text_at(pod, pointer);
    page.field(0, "Name", text("/metadata/name"));
    page.field(0, "Namespace", text("/metadata/namespace"));
    page.value_if("Priority", pod, "/spec/priority");
    page.field_if(0, "Priority Class Name", text("/spec/priorityClassName"));
    page.field_if(0, "Service Account", text("/spec/serviceAccountName"));
    match text("/spec/nodeName") {
        "" => page.field(0, "Node", "<none>"),
        node => page.field(0, "Node", format!("{node}/{}", text("/status/hostIP"))),
    }
    page.time_if(0, "Start Time", pod, "/status/startTime");
    page.labels(0, "Labels", pod, "/metadata/labels");
    page.annotations(0, pod);
    status(page, pod);
    addresses(page, pod);
    page.controlled_by(pod);
    let statuses = |pointer| list_at(pod, pointer);
    if !list_at(pod, "/spec/initContainers").is_empty() {
        let (specs, statuses) = (list_at(pod, "/spec/initContainers"), statuses("/status/initContainerStatuses"));
        container::describe(page, 0, "Init Containers", specs, Some((pod, statuses)));
    }
    let (specs, statuses) = (list_at(pod, "/spec/containers"), statuses("/status/containerStatuses"));
    container::describe(page, 0, "Containers", specs, Some((pod, statuses)));
    conditions(page, pod);
    volume::describe(page, 0, &pod["spec"]);
    page.field_if(0, "QoS Class", text("/status/qosClass"));
    page.labels(0, "Node-Selectors", pod, "/spec/nodeSelector");
    tolerations(page, 0, list_at(pod, "/spec/tolerations"));
}

fn status(page: &mut Page, pod: &Value) {
    let deleted = text_at(pod, "/metadata/deletionTimestamp");
    if deleted.is_empty() {
        page.field(0, "Status", text_at(pod, "/status/phase"));
    } else {
        page.field(0, "Status", format!("Terminating (lasts {})", duration::age(deleted)));
        let grace = int_at(pod, "/metadata/deletionGracePeriodSeconds").unwrap_or(0);
        page.field(0, "Termination Grace Period", format!("{grace}s"));
    }
    page.field_if(0, "Reason", text_at(pod, "/status/reason"));
    page.field_if(0, "Message", text_at(pod, "/status/message"));
}

fn addresses(page: &mut Page, pod: &Value) {
    page.field(0, "IP", text_at(pod, "/status/podIP"));
    match list_at(pod, "/status/podIPs") {
        [] => page.field(0, "IPs", "<none>"),
        ips => {
            page.line(0, "IPs:");
            ips.iter().for_each(|ip| page.field(1, "IP", text_at(ip, "/ip")));
        }
    }
}

fn conditions(page: &mut Page, pod: &Value) {
    let conditions = list_at(pod, "/status/conditions");
    if conditions.is_empty() {
        return;
    }
    page.line(0, "Conditions:");
    page.line(1, "Type\tStatus");
    for condition in conditions {
        page.line(1, &format!("{} \t{} ", text_at(condition, "/type"), text_at(condition, "/status")));
    }
}

fn tolerations(page: &mut Page, level: usize, tolerations: &[Value]) {
    let mut tolerations: Vec<&Value> = tolerations.iter().collect();
    sorted::by_key(&mut tolerations, |t| text_at(t, "/key"));
    let lines: Vec<String> = tolerations.into_iter().map(toleration).collect();
    page.lines(level, "Tolerations", &lines);
}

fn toleration(toleration: &Value) -> String {
    let text = |pointer| text_at(toleration, pointer);
    let (key, value, effect) = (text("/key"), text("/value"), text("/effect"));
    let mut out = key.to_string();
    if !value.is_empty() {
        out.push_str(&format!("={value}"));
    }
    if !effect.is_empty() {
        out.push_str(&format!(":{effect}"));
    }
    if text("/operator") == "Exists" && value.is_empty() {
        out.push_str(if out.is_empty() { "op=Exists" } else { " op=Exists" });
    }
    if let Some(seconds) = int_at(toleration, "/tolerationSeconds") {
        out.push_str(&format!(" for {seconds}s"));
    }
    out
}

/// `Pod Template:` and what is in it.
pub fn template(page: &mut Page, template: &Value) {
    page.line(0, "Pod Template:");
    page.labels(1, "Labels", template, "/metadata/labels");
    if template.pointer("/metadata/annotations").and_then(Value::as_object).is_some_and(|a| !a.is_empty()) {
        page.annotations(1, template);
    }
    let spec = &template["spec"];
    page.field_if(1, "Service Account", text_at(spec, "/serviceAccountName"));
    if !list_at(spec, "/initContainers").is_empty() {
        container::describe(page, 1, "Init Containers", list_at(spec, "/initContainers"), None);
    }
    container::describe(page, 1, "Containers", list_at(spec, "/containers"), None);
    volume::describe(page, 1, spec);
    page.field_if(1, "Priority Class Name", text_at(spec, "/priorityClassName"));
    page.labels(1, "Node-Selectors", spec, "/nodeSelector");
    tolerations(page, 1, list_at(spec, "/tolerations"));
}
