//! Security contexts: users and groups, privileges, capabilities, seccomp.
//! (`pkg/apis/core/validation/validation.go`, `ValidateSecurityContext`)

use crate::model::Cause;
use crate::model::capability;

use super::pod::INT32_MAX;
use super::{At, shown};

pub(super) fn of_pod(wrong: &mut Vec<Cause>, security: &At<'_>) {
    user_and_group(wrong, security);
    for group in security.get("supplementalGroups").items() {
        group.between(wrong, 0, INT32_MAX);
    }
    security.get("fsGroup").between(wrong, 0, INT32_MAX);
    security.get("fsGroupChangePolicy").one_of(wrong, &["Always", "OnRootMismatch"]);
    seccomp(wrong, &security.get("seccompProfile"));
}

pub(super) fn of_container(wrong: &mut Vec<Cause>, security: &At<'_>) {
    user_and_group(wrong, security);
    seccomp(wrong, &security.get("seccompProfile"));
    let capabilities = security.get("capabilities");
    for list in ["add", "drop"] {
        capabilities.get(list).items().for_each(|name| capability(wrong, &name));
    }
    if security.get("allowPrivilegeEscalation").value.as_bool() == Some(false) {
        no_escalation(wrong, security, &capabilities.get("add"));
    }
}

fn user_and_group(wrong: &mut Vec<Cause>, security: &At<'_>) {
    security.get("runAsUser").between(wrong, 0, INT32_MAX);
    security.get("runAsGroup").between(wrong, 0, INT32_MAX);
}

/// A profile without a type says nothing.
fn seccomp(wrong: &mut Vec<Cause>, profile: &At<'_>) {
    let kind = profile.get("type");
    if !profile.is_absent() && kind.filled().is_none() {
        wrong.push(kind.required("type is required when seccompProfile is set"));
    }
}

/// Kubernetes takes any name, and the container fails to start; here the manifest is told at once.
fn capability(wrong: &mut Vec<Cause>, name: &At<'_>) {
    if name.text().is_some_and(|text| capability::known(text).is_none()) {
        wrong.push(name.invalid("not a capability of Linux (such as NET_ADMIN, or ALL)"));
    }
}

fn no_escalation(wrong: &mut Vec<Cause>, security: &At<'_>, added: &At<'_>) {
    let cannot = |what: &str| {
        let detail = format!("cannot set `allowPrivilegeEscalation` to false and {what}");
        Cause::invalid(security.path.clone(), shown(security.value), &detail)
    };
    if security.get("privileged").is_true() {
        wrong.push(cannot("`privileged` to true"));
    }
    // Kubernetes looks for this very spelling, and so lets `SYS_ADMIN` through.
    if added.items().any(|name| name.text() == Some("CAP_SYS_ADMIN")) {
        wrong.push(cannot("`capabilities.Add` CAP_SYS_ADMIN"));
    }
}
