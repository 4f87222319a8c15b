//! The containers of a pod or of a template.

use serde_json::Value;

use super::page::Page;
use crate::cli::json::{bool_at, entries_at, int_at, list_at, plain, text_at};

/// Containers under a title. A template's have no status, and `statuses` is none; a pod's may not have one yet.
pub fn describe(page: &mut Page, level: usize, title: &str, containers: &[Value], statuses: Option<&[Value]>) {
    if containers.is_empty() {
        return page.field(level, title, "<none>");
    }
    page.line(level, &format!("{title}:"));
    for container in containers {
        let name = text_at(container, "/name");
        let status = statuses.unwrap_or_default().iter().find(|s| text_at(s, "/name") == name);
        // kubectl indents a template's containers by one space only.
        let inner = level + 1;
        page.line(0, &format!("{}{name}:", if level == 0 { "  " } else { "   " }));
        one(page, inner + 1, container, status);
    }
}

fn one(page: &mut Page, level: usize, container: &Value, status: Option<&Value>) {
    if let Some(status) = status {
        page.field(level, "Container ID", text_at(status, "/containerID"));
    }
    page.field(level, "Image", text_at(container, "/image"));
    if let Some(status) = status {
        page.field(level, "Image ID", text_at(status, "/imageID"));
    }
    ports(page, level, list_at(container, "/ports"));
    words(page, level, "Command", list_at(container, "/command"));
    words(page, level, "Args", list_at(container, "/args"));
    if let Some(status) = status {
        state(page, level, "State", &status["state"]);
        if status.pointer("/lastState/terminated").is_some() {
            state(page, level, "Last State", &status["lastState"]);
        }
        let ready = bool_at(status, "/ready").unwrap_or(false);
        page.field(level, "Ready", if ready { "True" } else { "False" });
        page.field(level, "Restart Count", int_at(status, "/restartCount").unwrap_or(0));
    }
    resources(page, level, "Limits", container, "/resources/limits");
    resources(page, level, "Requests", container, "/resources/requests");
    probe(page, level, "Liveness", &container["livenessProbe"]);
    probe(page, level, "Readiness", &container["readinessProbe"]);
    probe(page, level, "Startup", &container["startupProbe"]);
    env_from(page, level, list_at(container, "/envFrom"));
    env(page, level, list_at(container, "/env"));
    mounts(page, level, list_at(container, "/volumeMounts"));
}

fn ports(page: &mut Page, level: usize, ports: &[Value]) {
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
            text if text.is_empty() => page.field(level, label, "<none>"),
            text if text.contains(',') => page.field(level, &format!("{label}s"), text),
            text => page.field(level, label, text),
        }
    }
}

fn words(page: &mut Page, level: usize, title: &str, words: &[Value]) {
    if words.is_empty() {
        return;
    }
    page.line(level, &format!("{title}:"));
    for word in words {
        plain(word).split('\n').for_each(|line| page.line(level + 1, line));
    }
}

fn state(page: &mut Page, level: usize, label: &str, state: &Value) {
    let text = |pointer| text_at(state, pointer);
    if state.get("running").is_some() {
        page.field(level, label, "Running");
        page.time_if(level + 1, "Started", state, "/running/startedAt");
    } else if state.get("terminated").is_some() {
        page.field(level, label, "Terminated");
        page.field_if(level + 1, "Reason", text("/terminated/reason"));
        page.field_if(level + 1, "Message", text("/terminated/message"));
        page.field(level + 1, "Exit Code", int_at(state, "/terminated/exitCode").unwrap_or(0));
        if let Some(signal) = int_at(state, "/terminated/signal").filter(|n| *n > 0) {
            page.field(level + 1, "Signal", signal);
        }
        page.time_if(level + 1, "Started", state, "/terminated/startedAt");
        page.time_if(level + 1, "Finished", state, "/terminated/finishedAt");
    } else {
        page.field(level, label, "Waiting");
        page.field_if(level + 1, "Reason", text("/waiting/reason"));
    }
}

fn resources(page: &mut Page, level: usize, title: &str, container: &Value, pointer: &str) {
    let entries = entries_at(container, pointer);
    if entries.is_empty() {
        return;
    }
    page.line(level, &format!("{title}:"));
    entries.iter().for_each(|(name, amount)| page.field(level + 1, name, plain(amount)));
}

/// Source: `DescribeProbe`.
fn probe(page: &mut Page, level: usize, label: &str, probe: &Value) {
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
    page.field(level, label, format!("{what} {numbers}"));
}

fn env_from(page: &mut Page, level: usize, sources: &[Value]) {
    if sources.is_empty() {
        return;
    }
    page.line(level, "Environment Variables from:");
    for source in sources {
        let (kind, reference) = match source.get("configMapRef") {
            Some(reference) => ("ConfigMap", reference),
            None => ("Secret", &source["secretRef"]),
        };
        let prefix = text_at(source, "/prefix");
        let prefix = if prefix.is_empty() { String::new() } else { format!(" with prefix '{prefix}'") };
        let optional = bool_at(reference, "/optional").unwrap_or(false);
        let name = text_at(reference, "/name");
        page.line(level + 1, &format!("{name}\t{kind}{prefix}\tOptional: {optional}"));
    }
}

fn env(page: &mut Page, level: usize, variables: &[Value]) {
    if variables.is_empty() {
        return page.field(level, "Environment", "<none>");
    }
    page.line(level, "Environment:");
    for variable in variables {
        let name = text_at(variable, "/name");
        match variable.get("valueFrom") {
            Some(source) => page.field(level + 1, name, value_from(source)),
            None => {
                let mut lines = text_at(variable, "/value").split('\n');
                page.field(level + 1, name, lines.next().unwrap_or_default());
                lines.for_each(|line| page.line(level + 1, &format!("\t{line}")));
            }
        }
    }
}

fn value_from(source: &Value) -> String {
    let key = |reference: &Value| (text_at(reference, "/key").to_string(), text_at(reference, "/name").to_string());
    let optional = |reference: &Value| bool_at(reference, "/optional").unwrap_or(false);
    if let Some(field) = source.get("fieldRef") {
        let version = Some(text_at(field, "/apiVersion")).filter(|v| !v.is_empty()).unwrap_or("v1");
        return format!(" ({version}:{})", text_at(field, "/fieldPath"));
    }
    if let Some(resource) = source.get("resourceFieldRef") {
        return format!(" ({})", text_at(resource, "/resource"));
    }
    if let Some(reference) = source.get("secretKeyRef") {
        let (key, name) = key(reference);
        return format!("<set to the key '{key}' in secret '{name}'>\tOptional: {}", optional(reference));
    }
    let reference = &source["configMapKeyRef"];
    let (key, name) = key(reference);
    format!("<set to the key '{key}' of config map '{name}'>\tOptional: {}", optional(reference))
}

fn mounts(page: &mut Page, level: usize, mounts: &[Value]) {
    if mounts.is_empty() {
        return page.field(level, "Mounts", "<none>");
    }
    page.line(level, "Mounts:");
    for mount in mounts {
        let access = if bool_at(mount, "/readOnly").unwrap_or(false) { "ro" } else { "rw" };
        page.line(level + 1, &format!("{} from {} ({access})", text_at(mount, "/mountPath"), text_at(mount, "/name")));
    }
}
