//! The containers of a pod or of a template.

use serde_json::Value;

use super::page::Page;
use crate::cli::json::{bool_at, entries_at, int_at, list_at, plain, text_at};
use crate::cli::jsonpath::Template;
use crate::model::Quantity;
use crate::model::sorted;

/// The level of a container's fields, also in a template.
const LEVEL: usize = 2;

/// Containers under a title. A template's have no status and nothing to resolve references with, and `pod` is none; a
/// pod's containers may not have a status yet.
pub fn describe(page: &mut Page, level: usize, title: &str, containers: &[Value], pod: Option<(&Value, &[Value])>) {
    if containers.is_empty() {
        return page.field(level, title, "<none>");
    }
    page.line(level, &format!("{title}:"));
    for container in containers {
        let name = text_at(container, "/name");
        let status = pod.and_then(|(_, statuses)| statuses.iter().find(|s| text_at(s, "/name") == name));
        // A template's names stand one column further in, and its fields no deeper: so does kubectl.
        page.line(1, &format!("{}{name}:", " ".repeat(level)));
        one(page, container, status, pod.map(|(pod, _)| pod));
    }
}

fn one(page: &mut Page, container: &Value, status: Option<&Value>, pod: Option<&Value>) {
    if let Some(status) = status {
        page.field(LEVEL, "Container ID", text_at(status, "/containerID"));
    }
    page.field(LEVEL, "Image", text_at(container, "/image"));
    if let Some(status) = status {
        page.field(LEVEL, "Image ID", text_at(status, "/imageID"));
    }
    ports(page, list_at(container, "/ports"));
    words(page, "Command", list_at(container, "/command"));
    words(page, "Args", list_at(container, "/args"));
    if let Some(status) = status {
        state(page, "State", &status["state"]);
        if status.pointer("/lastState/terminated").is_some() {
            state(page, "Last State", &status["lastState"]);
        }
        let ready = bool_at(status, "/ready").unwrap_or(false);
        page.field(LEVEL, "Ready", if ready { "True" } else { "False" });
        page.field(LEVEL, "Restart Count", int_at(status, "/restartCount").unwrap_or(0));
    }
    resources(page, "Limits", container, "/resources/limits");
    resources(page, "Requests", container, "/resources/requests");
    probe(page, "Liveness", &container["livenessProbe"]);
    probe(page, "Readiness", &container["readinessProbe"]);
    probe(page, "Startup", &container["startupProbe"]);
    env_from(page, list_at(container, "/envFrom"));
    env(page, container, pod);
    mounts(page, list_at(container, "/volumeMounts"));
}

fn ports(page: &mut Page, ports: &[Value]) {
    let shown = |pointer: &str| -> String {
        let port = |port: &Value| {
            let protocol = text_at(port, "/protocol");
            let protocol = if protocol.is_empty() { "TCP" } else { protocol };
            format!("{}/{protocol}", int_at(port, pointer).unwrap_or(0))
        };
        ports.iter().map(port).collect::<Vec<_>>().join(", ")
    };
    for (label, text) in [("Port", shown("/containerPort")), ("Host Port", shown("/hostPort"))] {
        match text {
            text if text.is_empty() => page.field(LEVEL, label, "<none>"),
            text if text.contains(',') => page.field(LEVEL, &format!("{label}s"), text),
            text => page.field(LEVEL, label, text),
        }
    }
}

fn words(page: &mut Page, title: &str, words: &[Value]) {
    if words.is_empty() {
        return;
    }
    page.line(LEVEL, &format!("{title}:"));
    for word in words {
        plain(word).split('\n').for_each(|line| page.line(LEVEL + 1, line));
    }
}

fn state(page: &mut Page, label: &str, state: &Value) {
    let text = |pointer| text_at(state, pointer);
    if state.get("running").is_some() {
        page.field(LEVEL, label, "Running");
        page.time_if(LEVEL + 1, "Started", state, "/running/startedAt");
    } else if state.get("terminated").is_some() {
        page.field(LEVEL, label, "Terminated");
        page.field_if(LEVEL + 1, "Reason", text("/terminated/reason"));
        page.field_if(LEVEL + 1, "Message", text("/terminated/message"));
        page.field(LEVEL + 1, "Exit Code", int_at(state, "/terminated/exitCode").unwrap_or(0));
        if let Some(signal) = int_at(state, "/terminated/signal").filter(|n| *n > 0) {
            page.field(LEVEL + 1, "Signal", signal);
        }
        page.time_if(LEVEL + 1, "Started", state, "/terminated/startedAt");
        page.time_if(LEVEL + 1, "Finished", state, "/terminated/finishedAt");
    } else {
        page.field(LEVEL, label, "Waiting");
        page.field_if(LEVEL + 1, "Reason", text("/waiting/reason"));
    }
}

fn resources(page: &mut Page, title: &str, container: &Value, pointer: &str) {
    let entries = entries_at(container, pointer);
    if entries.is_empty() {
        return;
    }
    page.line(LEVEL, &format!("{title}:"));
    entries.iter().for_each(|(name, amount)| page.field(LEVEL + 1, name, plain(amount)));
}

/// Source: `DescribeProbe`.
fn probe(page: &mut Page, label: &str, probe: &Value) {
    if !probe.is_object() {
        return;
    }
    let number = |field: &str, default: i64| probe[field].as_i64().unwrap_or(default);
    let what = if let Some(command) = probe.pointer("/exec/command").and_then(Value::as_array) {
        format!("exec [{}]", command.iter().map(plain).collect::<Vec<_>>().join(" "))
    } else if let Some(get) = probe.get("httpGet") {
        let scheme = Some(text_at(get, "/scheme")).filter(|s| !s.is_empty()).unwrap_or("HTTP").to_ascii_lowercase();
        let (host, port) = (text_at(get, "/host"), plain(&get["port"]));
        format!("http-get {scheme}://{host}:{port}{}", text_at(get, "/path"))
    } else if let Some(socket) = probe.get("tcpSocket") {
        format!("tcp-socket {}:{}", text_at(socket, "/host"), plain(&socket["port"]))
    } else {
        "unknown".to_string()
    };
    let numbers = format!(
        "delay={}s timeout={}s period={}s #success={} #failure={}",
        number("initialDelaySeconds", 0),
        number("timeoutSeconds", 1),
        number("periodSeconds", 10),
        number("successThreshold", 1),
        number("failureThreshold", 3)
    );
    page.field(LEVEL, label, format!("{what} {numbers}"));
}

fn env_from(page: &mut Page, sources: &[Value]) {
    if sources.is_empty() {
        return;
    }
    page.line(LEVEL, "Environment Variables from:");
    for source in sources {
        let (kind, reference) = match source.get("configMapRef") {
            Some(reference) => ("ConfigMap", reference),
            None => ("Secret", &source["secretRef"]),
        };
        let prefix = text_at(source, "/prefix");
        let prefix = if prefix.is_empty() { String::new() } else { format!(" with prefix '{prefix}'") };
        let optional = bool_at(reference, "/optional").unwrap_or(false);
        let name = text_at(reference, "/name");
        page.line(LEVEL + 1, &format!("{name}\t{kind}{prefix}\tOptional: {optional}"));
    }
}

fn env(page: &mut Page, container: &Value, pod: Option<&Value>) {
    let variables = list_at(container, "/env");
    if variables.is_empty() {
        return page.field(LEVEL, "Environment", "<none>");
    }
    page.line(LEVEL, "Environment:");
    for variable in variables {
        let name = text_at(variable, "/name");
        match variable.get("valueFrom") {
            Some(source) => page.field(LEVEL + 1, name, value_from(source, container, pod)),
            None => {
                let mut lines = text_at(variable, "/value").split('\n');
                page.field(LEVEL + 1, name, lines.next().unwrap_or_default());
                lines.for_each(|line| page.line(LEVEL + 1, &format!("\t{line}")));
            }
        }
    }
}

fn value_from(source: &Value, container: &Value, pod: Option<&Value>) -> String {
    let optional = |reference: &Value| bool_at(reference, "/optional").unwrap_or(false);
    if let Some(field) = source.get("fieldRef") {
        let version = Some(text_at(field, "/apiVersion")).filter(|v| !v.is_empty()).unwrap_or("v1");
        let path = text_at(field, "/fieldPath");
        let value = pod.and_then(|pod| Template::parse_relaxed(path).ok()?.render(pod).ok());
        return format!("{} ({version}:{path})", value.unwrap_or_default());
    }
    if let Some(reference) = source.get("resourceFieldRef") {
        let resource = text_at(reference, "/resource");
        return format!("{} ({resource})", amount(container, resource, &reference["divisor"]));
    }
    if let Some(reference) = source.get("secretKeyRef") {
        let (key, name) = (text_at(reference, "/key"), text_at(reference, "/name"));
        return format!("<set to the key '{key}' in secret '{name}'>\tOptional: {}", optional(reference));
    }
    let reference = &source["configMapKeyRef"];
    let (key, name) = (text_at(reference, "/key"), text_at(reference, "/name"));
    format!("<set to the key '{key}' of config map '{name}'>\tOptional: {}", optional(reference))
}

/// `limits.cpu` of a container in whole divisors, rounded up. Where it has no limit, the node's is what it gets.
fn amount(container: &Value, resource: &str, divisor: &Value) -> String {
    let found = container.pointer(&format!("/resources/{}", resource.replace('.', "/")));
    let Some(amount) = found.and_then(|amount| Quantity::parse(&plain(amount)).ok()) else {
        let of_node = ["limits.cpu", "limits.memory"].contains(&resource);
        return if of_node { "node allocatable" } else { "0" }.to_string();
    };
    let divisor = Quantity::parse(&plain(divisor)).ok().map(|d| d.milli()).filter(|d| *d > 0).unwrap_or(1000);
    let whole = amount.milli() / divisor + i64::from(amount.milli() % divisor != 0);
    whole.to_string()
}

fn mounts(page: &mut Page, mounts: &[Value]) {
    if mounts.is_empty() {
        return page.field(LEVEL, "Mounts", "<none>");
    }
    page.line(LEVEL, "Mounts:");
    let mut mounts: Vec<&Value> = mounts.iter().collect();
    sorted::by_key(&mut mounts, |mount| text_at(mount, "/mountPath"));
    for mount in mounts {
        let access = if bool_at(mount, "/readOnly").unwrap_or(false) { "ro" } else { "rw" };
        let part = Some(text_at(mount, "/subPath")).filter(|part| !part.is_empty());
        let part = part.map_or(String::new(), |part| format!(",path={part:?}"));
        let (path, name) = (text_at(mount, "/mountPath"), text_at(mount, "/name"));
        page.line(LEVEL + 1, &format!("{path} from {name} ({access}{part})"));
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_container_without_a_limit_may_have_what_the_node_has() {
        let container = json!({"resources": {"limits": {"cpu": "1500m"}, "requests": {"memory": "2Ki"}}});
        let check = |resource: &str, divisor: Value, expected: &str| {
            assert_eq!(amount(&container, resource, &divisor), expected, "{resource}");
        };
        check("limits.cpu", Value::Null, "2");
        check("limits.memory", Value::Null, "node allocatable");
        check("requests.memory", json!("1Ki"), "2");
        check("requests.cpu", Value::Null, "0");
    }
}
