//! What an attempt is started with: program, environment, user, root directory and bounds.

use crate::core::draft::Draft;
use crate::model::image::{ImageSpec, normal_reference};
use crate::model::pod::PullPolicy;
use crate::model::{AttemptId, Container, Kind, Launch, Pod};

use super::env::{self, Vars};
use super::expand::expand;
use super::refusal::Refusal;
use super::{resources, shown};

/// `image` of a container that has the host's own file system, beside an empty one.
const HOST: &str = "host";

/// The launch of the attempt with that number, and sentences about what of it was left out.
///
/// # Errors
/// Why it cannot be started now. Asked again in every step, so what was missing is used as soon as it is there.
pub fn launch(draft: &Draft, pod: &Pod, container: &Container, number: u32) -> Result<(Launch, Vec<String>), Refusal> {
    let (spec, settings) = (&pod.spec, draft.settings());
    let facts = draft.node().map(|node| node.status.facts.clone()).unwrap_or_default();
    let missing = resources::missing_controllers(spec, &facts, settings);
    if settings.limits_required && !missing.is_empty() {
        return Err(Refusal::Limits(missing.join(", ")));
    }
    let image = image(draft, container)?;
    let identity = identity(pod, container, facts.root)?;
    let (declared, skipped) = env::declared(draft, pod, container, number)?;
    let argv = argv(container, &image, &declared).ok_or(Refusal::NoCommand)?;
    let is_root = facts.root && identity.user.is_none_or(|user| user == 0);
    let launch = Launch {
        attempt: AttemptId { pod: pod.meta.uid.clone(), container: container.name.clone(), number },
        namespace: pod.meta.namespace.clone(),
        pod_name: pod.meta.name.clone(),
        qos: spec.qos(),
        argv,
        env: declared.over(env::defaults(pod, &image.env, is_root)).into_pairs(),
        cwd: directory(container, &image),
        root: if image.directory.is_empty() { "/".to_string() } else { image.directory },
        user: identity.user,
        group: container.security_context.run_as_group.or(spec.security_context.run_as_group),
        groups: spec.security_context.supplemental_groups.clone(),
        must_not_be_root: identity.must_not_be_root,
        no_new_privileges: container.security_context.allow_privilege_escalation == Some(false),
        pod_limits: resources::pod(spec, settings),
        limits: resources::container(container),
        oom_score_adj: resources::oom_score_adj(spec, container, &facts),
        log_bytes_max: settings.log_bytes_max,
        log_files_max: settings.log_files_max,
    };
    Ok((launch, skipped))
}

/// The image of a container; the host's file system is the one without a directory of its own.
fn image(draft: &Draft, container: &Container) -> Result<ImageSpec, Refusal> {
    if container.image.is_empty() || container.image == HOST {
        return Ok(ImageSpec::default());
    }
    let wanted = normal_reference(&container.image);
    let known = draft.list(Kind::Image);
    let found = known.iter().filter_map(|r| r.as_image()).find(|i| normal_reference(&i.spec.reference) == wanted);
    match (found, container.image_pull_policy) {
        (Some(image), _) => Ok(image.spec.clone()),
        (None, PullPolicy::Never) => Err(Refusal::ImageNeverPulled(container.image.clone())),
        (None, PullPolicy::Always | PullPolicy::IfNotPresent) => Err(Refusal::ImageMissing(container.image.clone())),
    }
}

/// What to run; none when nothing says it. A command drops the image's arguments too. What the image says is not
/// expanded.
fn argv(container: &Container, image: &ImageSpec, vars: &Vars) -> Option<Vec<String>> {
    let expanded = |words: &[String]| words.iter().map(|w| expand(w, |name| vars.get(name))).collect::<Vec<_>>();
    let (mut argv, args) = match (container.command.is_empty(), container.args.is_empty()) {
        (true, true) => (image.entrypoint.clone(), image.cmd.clone()),
        (true, false) => (image.entrypoint.clone(), expanded(&container.args)),
        (false, _) => (expanded(&container.command), expanded(&container.args)),
    };
    argv.extend(args);
    (!argv.is_empty()).then_some(argv)
}

fn directory(container: &Container, image: &ImageSpec) -> String {
    let wished = container.working_dir.as_deref().filter(|dir| !dir.is_empty()).unwrap_or(&image.working_dir);
    if wished.is_empty() { "/".to_string() } else { wished.to_string() }
}

struct Identity {
    user: Option<u32>,
    must_not_be_root: bool,
}

/// The container's word goes before the pod's. Without a user the container runs as the daemon does.
fn identity(pod: &Pod, container: &Container, daemon_is_root: bool) -> Result<Identity, Refusal> {
    let (own, common) = (&container.security_context, &pod.spec.security_context);
    let user = own.run_as_user.or(common.run_as_user);
    let must_not_be_root = own.run_as_non_root.or(common.run_as_non_root).unwrap_or(false);
    let is_root = user.map_or(daemon_is_root, |user| user == 0);
    if must_not_be_root && is_root {
        return Err(Refusal::Config(format!(
            "container has runAsNonRoot and image will run as root (pod: \"{}\", container: {})",
            shown(pod),
            container.name
        )));
    }
    Ok(Identity { user, must_not_be_root })
}
