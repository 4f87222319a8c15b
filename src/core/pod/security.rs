//! As whom a container runs and what it may do: user, groups, privileges, capabilities, seccomp.
//! Source: `pkg/securitycontext/util.go`, `pkg/kubelet/kuberuntime/security_context.go`.

use crate::model::attempt::{Capabilities, Seccomp};
use crate::model::image::ImageSpec;
use crate::model::security::SeccompProfile;
use crate::model::{Container, Pod, capability};

use super::refusal::Refusal;
use super::shown;

pub struct Identity {
    /// From the manifest; goes before the image's.
    pub user: Option<u32>,
    pub must_not_be_root: bool,
    pub groups: Vec<u32>,
    /// It runs as user 0, as far as can be told without looking into the image.
    pub is_root: bool,
}

/// What the container runs from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ground<'i> {
    /// The host's file system: without a user the container runs as the daemon does.
    Host {
        daemon_is_root: bool,
    },
    Image(&'i ImageSpec),
}

/// The container's word goes before the pod's, and that before the image's.
///
/// # Errors
/// `runAsNonRoot`, and it would be root or nobody can tell.
pub fn identity(pod: &Pod, container: &Container, ground: Ground) -> Result<Identity, Refusal> {
    let (own, common) = (&container.security_context, &pod.spec.security_context);
    let user = own.run_as_user.or(common.run_as_user);
    let must_not_be_root = own.run_as_non_root.or(common.run_as_non_root).unwrap_or(false);
    let found = match (user, ground) {
        (Some(user), _) => User::Number(user),
        (None, Ground::Host { daemon_is_root: true }) => User::Number(0),
        (None, Ground::Host { daemon_is_root: false }) => User::Daemon,
        (None, Ground::Image(image)) => image_user(&image.user),
    };
    if let Some(why) = unfit(found, user.is_some()).filter(|_| must_not_be_root) {
        return Err(Refusal::Config(format!("{why} (pod: \"{}\", container: {})", shown(pod), container.name)));
    }
    let groups = common.supplemental_groups.iter().chain(&common.fs_group).copied().collect();
    let is_root = matches!(found, User::Number(0) | User::Name("root"));
    Ok(Identity { user, must_not_be_root, groups, is_root })
}

#[derive(Clone, Copy)]
enum User<'i> {
    /// Who the daemon is, and not root.
    Daemon,
    Number(u32),
    Name(&'i str),
}

/// `USER` of an image: `user`, `uid`, `user:group`; nothing means root.
fn image_user(user: &str) -> User<'_> {
    let user = user.split(':').next().unwrap_or_default();
    match user.parse() {
        Ok(number) => User::Number(number),
        Err(_) if user.is_empty() => User::Number(0),
        Err(_) => User::Name(user),
    }
}

/// Why it cannot be said not to be root.
fn unfit(user: User, was_said: bool) -> Option<String> {
    match user {
        User::Number(0) if was_said => Some("container's runAsUser breaks non-root policy".to_string()),
        User::Number(0) => Some("container has runAsNonRoot and image will run as root".to_string()),
        User::Number(_) | User::Daemon => None,
        User::Name(name) => Some(format!(
            "container has runAsNonRoot and image has non-numeric user ({name}), cannot verify user is non-root"
        )),
    }
}

/// A container of an image may not gain privileges unless the manifest lets it (Kubernetes: unless it forbids it): nothing
/// on a device should come to be root by a setuid program that nobody thought of.
pub fn no_new_privileges(container: &Container, ground: Ground) -> bool {
    let security = &container.security_context;
    let gains =
        security.privileged || capabilities(container).add.iter().any(|name| name == "SYS_ADMIN" || name == "ALL");
    match (security.allow_privilege_escalation, ground) {
        (Some(allowed), _) => !allowed,
        (None, Ground::Host { .. }) => false,
        (None, Ground::Image(_)) => !gains,
    }
}

/// In one spelling. What is no capability is refused by `manifest`.
pub fn capabilities(container: &Container) -> Capabilities {
    let known = |names: &[String]| names.iter().filter_map(|name| capability::known(name)).map(String::from).collect();
    let wished = &container.security_context.capabilities;
    Capabilities { add: known(&wished.add), drop: known(&wished.drop) }
}

pub fn seccomp(pod: &Pod, container: &Container) -> Seccomp {
    match (container.security_context.seccomp_profile, pod.spec.security_context.seccomp_profile) {
        (SeccompProfile { kind: Seccomp::Unset }, common) => common.kind,
        (own, _) => own.kind,
    }
}
